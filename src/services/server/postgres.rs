//! Not written yet.

use crate::declaration::Entry;
use crate::services::Project;

pub(in crate::services) fn expand(_: &mut Project<'_>, _: &str, _: &Entry) {}
