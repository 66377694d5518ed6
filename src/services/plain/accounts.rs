//! Not written yet.

use std::sync::Arc;

use crate::declaration::Entry;
use crate::services::{Project, Reads};

pub(super) fn group(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn user(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn reads(_: &Entry, _: &mut Reads) {}
