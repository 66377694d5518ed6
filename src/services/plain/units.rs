//! Not written yet.

use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::services::Project;

pub(super) fn systemd_unit(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn timer(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn check_unit(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
pub(super) fn check_timer(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
