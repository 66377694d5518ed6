//! One question sheet for all resources, and what it is answered.

use crate::command::Sheet;
use crate::resource::Resource;

/// Everything there is to ask about some resources of a project, each question once.
pub fn sheet(_project: &str, _resources: &[Resource]) -> Sheet {
    Sheet::default()
}
