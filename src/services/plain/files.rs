//! Not written yet.

use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::services::{Project, Reads};

pub(super) fn directory(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn file(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn link(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn reads(_: &Entry, _: &mut Reads) {}
pub(super) fn check_directory(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
pub(super) fn check_file(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
pub(super) fn check_link(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
