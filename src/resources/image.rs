//! `image`: an image of the Docker engine, pulled from its registry or built here.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::command::{Ask, EngineAction, EngineQuestion, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// An image under a tag, and how it is had.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Its tag, as in `postgres:15-bookworm`.
    pub tag: String,
    /// The registry it may be pulled from, and when.
    pub pull: Pull,
    /// How it is built here, if it can be.
    pub build: Option<Build>,
    /// Of a found one: whether the engine has it.
    pub present: bool,
    /// Of a found one that the engine does not have: what its registry says.
    pub registry: Registry,
}

/// Whether the registry is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// The registry where it answers, else built.
    Auto,
    /// The registry, or an error.
    Always,
    /// What the engine has, else built.
    Never,
}

/// What a registry says about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// It was not asked.
    NotAsked,
    /// It has it.
    Has,
    /// It has no such image, in its words.
    Lacks(String),
    /// It cannot be reached, and why.
    Unreachable(String),
}

/// How an image is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// What is built, for people: `from Debian packages`.
    pub says: String,
    /// Needs the bare Debian image of this suite first.
    pub bootstrap: Option<String>,
    /// Paths in the context with their contents.
    pub context: Vec<(String, Text)>,
    /// A folder of the user copied into the context under a path.
    pub folder: Option<(String, PathBuf)>,
    /// Whether the machine's CA bundle goes along.
    pub ca: bool,
}

/// The bare Debian image the recipes stand on.
pub const BASE: &str = "provision/debian:bookworm";

impl Image {
    fn way(&self, found: Option<&Self>) -> Way {
        let registry = found.map_or(&Registry::NotAsked, |f| &f.registry);
        match (self.pull, registry, &self.build) {
            (Pull::Auto | Pull::Always, Registry::Has, _) => Way::Pull,
            (Pull::Auto, Registry::Unreachable(why), Some(build)) => Way::Build(format!("build {}, since {why}", build.says)),
            (Pull::Never, _, Some(build)) => Way::Build(format!("build {}", build.says)),
            (Pull::Auto, Registry::NotAsked, Some(build)) => Way::Build(format!("build {}", build.says)),
            (_, Registry::Lacks(why), _) => Way::Cannot(format!("its registry has no such image: {why}")),
            (_, Registry::Unreachable(why), _) => Way::Cannot(format!("{why}, and nothing here can build it")),
            (Pull::Never, _, None) => Way::Cannot("the engine does not have it, and `pull` is `never`".to_owned()),
            (_, Registry::NotAsked, _) => Way::Pull,
        }
    }

    /// Why it cannot be had, if it cannot.
    pub fn cannot(&self, found: Option<&Self>) -> Option<String> {
        match self.way(found) {
            Way::Cannot(why) if !found.is_some_and(|f| f.present) => Some(why),
            _ => None,
        }
    }
}

enum Way {
    Pull,
    Build(String),
    Cannot(String),
}

impl Kind for Image {
    const NAME: &'static str = "image";
    const QUESTION: Question = Question { name: "images", ask: Ask::Engine(EngineQuestion::Images) };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.tag)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else { return Ok(None) };
        let said = |key: &str| row.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let registry = match (said("registry").as_deref(), said("why").unwrap_or_default()) {
            (Some("has"), _) => Registry::Has,
            (Some("lacks"), why) => Registry::Lacks(why),
            (Some("unreachable"), why) => Registry::Unreachable(why),
            _ => Registry::NotAsked,
        };
        Ok(Some(Image { present: row.contains_key("inspect"), registry, ..self.clone() }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let to = match self.way(found) {
            Way::Pull => "pulled from its registry".to_owned(),
            Way::Build(how) => how,
            Way::Cannot(why) => format!("cannot be had: {why}"),
        };
        if found.is_some_and(|f| f.present) {
            return vec![Field::new("image", Some("present".to_owned()), "present", Impact::None)];
        }
        vec![Field { name: "image".into(), from: None, to: Some(to), same: crate::resource::Same::No, impact: Impact::None }]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some_and(|f| f.present) {
            return Vec::new();
        }
        match (self.way(found), &self.build) {
            (Way::Pull, _) => {
                let action = EngineAction::Pull { image: self.tag.clone() };
                vec![Step::engine("pull the image", action, Impact::None, 1800)]
            }
            (Way::Build(how), Some(build)) => {
                let mut steps = Vec::new();
                if let Some(suite) = &build.bootstrap {
                    let action = EngineAction::Bootstrap { image: BASE.to_owned(), suite: suite.clone() };
                    steps.push(Step::engine("make the bare Debian image", action, Impact::None, 600));
                }
                let action = EngineAction::Build {
                    image: self.tag.clone(),
                    context: build.context.clone(),
                    args: Vec::new(),
                    folder: build.folder.clone(),
                    ca: build.ca,
                };
                steps.push(Step::engine(how, action, Impact::None, 1800));
                steps
            }
            _ => Vec::new(),
        }
    }

    fn named(_key: &str) -> Option<Self> {
        None
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }

    fn exists(&self) -> bool {
        self.present
    }
}
