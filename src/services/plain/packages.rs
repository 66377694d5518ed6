//! Not written yet.

use std::sync::Arc;

use crate::declaration::Entry;
use crate::services::{Project, Reads};

pub(super) fn apt_repository(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn packages(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn reads(_: &Entry, _: &mut Reads) {}
