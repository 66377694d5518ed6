//! Whose a thing of the Docker engine is. A project may have several environments on one engine, so the project's name alone
//! says too little: each thing carries the name of its environment, too.

use serde_json::Value;

use crate::command::Row;
use crate::resource::Foreign;
use crate::secret::sha256;

/// The label that names the environment, beside Compose's own that names the project.
pub const ENVIRONMENT: &str = "provision.environment";

const PROJECT: &str = "com.docker.compose.project";
const FOLDER: &str = "com.docker.compose.project.working_dir";

/// The environment that a thing belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The Compose project; empty where no label says so.
    pub project: String,
    /// The environment; empty where nobody wrote it down, as builds before this label did.
    pub environment: String,
}

impl Owner {
    /// An environment of a project.
    pub fn new(project: &str, environment: &str) -> Self {
        Owner {
            project: project.to_owned(),
            environment: environment.to_owned(),
        }
    }

    /// What the labels of a thing say. A container without our label still names the folder of its environment's generated files.
    pub fn of(labels: &Value) -> Self {
        let label = |name: &str| labels[name].as_str().unwrap_or_default();
        let environment = match label(ENVIRONMENT) {
            "" => folder_of(label(FOLDER)).unwrap_or_default(),
            name => name,
        };
        Owner::new(label(PROJECT), environment)
    }

    /// Whether a thing of this owner belongs to another environment than the one that asks. One that names no environment is the
    /// project's, and so whoever's asks.
    pub fn is_other(&self, asked_by: &Owner) -> bool {
        self.project != asked_by.project
            || (!self.environment.is_empty() && self.environment != asked_by.environment)
    }

    /// How the ledger of a database server names this environment, beside what it made: at most 64 characters.
    pub fn mark(&self) -> String {
        let mut mark = format!("{}.{}", self.project, self.environment);
        if mark.len() > 64 {
            mark = sha256(&mark);
            mark.truncate(64);
        }
        mark
    }

    /// The environment that made what an entry of a ledger is about, if it is another one. An entry without a mark is of a build
    /// that wrote none, and so whoever's asks.
    pub fn other_in<'a>(&self, row: &'a Row) -> Option<&'a str> {
        let mark = row.get("digest")?.as_str()?;
        (!mark.is_empty() && mark != self.mark()).then_some(mark)
    }

    /// Why a thing of this owner is not to be touched by the one that asks; `what` is as in `volume`.
    pub fn foreign(&self, asked_by: &Owner, what: &str, name: &str) -> Option<Foreign> {
        if !self.is_other(asked_by) {
            return None;
        }
        Some(if self.project != asked_by.project {
            Foreign {
                message: format!(
                    "a {what} `{name}` is there that is not of project `{}`",
                    asked_by.project
                ),
                owner: None,
            }
        } else {
            Foreign {
                message: format!(
                    "the {what} `{name}` belongs to environment `{}` of project `{}`, and this is environment `{}`",
                    self.environment, self.project, asked_by.environment
                ),
                owner: Some(self.environment.clone()),
            }
        })
    }
}

/// The environment whose folder of generated files a path is: `.provision/NAME`.
fn folder_of(path: &str) -> Option<&str> {
    let (above, name) = path.rsplit_once('/')?;
    (above == ".provision" || above.ends_with("/.provision")).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_thing_says_whose_it_is_by_its_label_or_by_its_folder() {
        let of = |labels: Value| Owner::of(&labels);
        assert_eq!(
            of(json!({ PROJECT: "shop", ENVIRONMENT: "one", FOLDER: "/srv/.provision/two" })),
            Owner::new("shop", "one")
        );
        assert_eq!(
            of(json!({ PROJECT: "shop", FOLDER: "/srv/.provision/two" })),
            Owner::new("shop", "two")
        );
        assert_eq!(
            of(json!({ PROJECT: "shop", FOLDER: "/srv/shop" })),
            Owner::new("shop", "")
        );
        assert_eq!(of(json!({})), Owner::new("", ""));
        assert_eq!(of(Value::Null), Owner::new("", ""));
    }

    #[test]
    fn another_environment_of_the_same_project_is_named() {
        let one = Owner::new("shop", "one");
        let foreign = Owner::new("shop", "two").foreign(&one, "volume", "shop_db_data");
        let foreign = foreign.map(|foreign| (foreign.message, foreign.owner));
        let message = "the volume `shop_db_data` belongs to environment `two` of project `shop`, and this is environment `one`";
        assert_eq!(foreign, Some((message.to_owned(), Some("two".to_owned()))));
        assert_eq!(Owner::new("shop", "").foreign(&one, "volume", "x"), None);
        assert_eq!(one.foreign(&one, "volume", "x"), None);
        let other = Owner::new("", "").foreign(&one, "volume", "x");
        assert_eq!(other.map(|foreign| foreign.owner), Some(None));
    }
}
