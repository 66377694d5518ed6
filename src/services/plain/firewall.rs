//! Not written yet.

use std::sync::Arc;

use crate::declaration::{Entry, Environment};
use crate::error::Problem;
use crate::services::Project;

pub(super) fn firewall(_: &mut Project<'_>, _: &Arc<str>, _: &str, _: &Entry) {}
pub(super) fn check(_: &Environment, _: &str, _: &Entry, _: &mut Vec<Problem>) {}
