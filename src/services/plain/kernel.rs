//! Not written yet.

use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::services::Project;

pub(super) fn hosts_entry(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn sysctl(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn swap(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn check_hosts_entry(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
pub(super) fn check_swap(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
