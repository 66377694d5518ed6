//! The kinds of things, one file each. A new kind is a file of pure functions and a row in the table below; nothing else
//! lists them.

mod accounts;
mod apt;
pub mod hba;
mod mariadb;
pub mod owner;
mod paths;
mod postgres;
mod systemd;
mod tree;

use std::borrow::Cow;

use crate::command::{Question, Row};
use crate::resource::{Awaited, Field, Foreign, Kind, Removal, Step};

/// The questions about what others make, by which it is seen whether what waits for it can be had.
pub const AWAITED: &[Question] = &[mariadb_grant::TABLES, postgres_grant::SCHEMAS];

/// What we write where Compose writes its version: the format of its labels, which has not changed since 2.0.
pub const COMPOSE_VERSION: &str = "2.26.1";

macro_rules! kinds {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// A thing of any kind.
        #[derive(Clone, Debug)]
        pub enum Thing {
            $(#[doc = stringify!($module)] $name(Box<$module::$name>),)*
        }

        $(impl From<$module::$name> for Thing {
            fn from(thing: $module::$name) -> Thing { Thing::$name(Box::new(thing)) }
        })*

        /// All questions, one a kind; equal ones are asked once.
        pub const QUESTIONS: &[Question] = &[$(<$module::$name as Kind>::QUESTION),*];

        /// The nouns of all kinds, what holds others before what lies inside.
        pub const NAMES: &[&str] = &[$(<$module::$name as Kind>::NAME),*];

        impl Thing {
            /// The kind's noun.
            pub fn kind(&self) -> &'static str {
                match self { $(Thing::$name(_) => <$module::$name as Kind>::NAME,)* }
            }

            /// What its kind asks.
            pub fn question(&self) -> &'static str {
                match self { $(Thing::$name(_) => <$module::$name as Kind>::QUESTION.name,)* }
            }

            /// See [`Kind::key`].
            pub fn key(&self) -> Cow<'_, str> {
                match self { $(Thing::$name(thing) => thing.key(),)* }
            }

            /// See [`Kind::row_key`].
            pub fn row_key(&self) -> Cow<'_, str> {
                match self { $(Thing::$name(thing) => thing.row_key(),)* }
            }

            /// See [`Kind::item`].
            pub fn item(&self) -> Cow<'_, str> {
                match self { $(Thing::$name(thing) => thing.item(),)* }
            }

            /// See [`Kind::was`].
            pub fn was(&self) -> Option<Cow<'_, str>> {
                match self { $(Thing::$name(thing) => thing.was(),)* }
            }

            /// See [`Kind::read`].
            ///
            /// # Errors
            /// A sentence that says what could not be understood.
            pub fn read(&self, rows: &[Row]) -> Result<Option<Thing>, String> {
                match self { $(Thing::$name(thing) => Ok(thing.read(rows)?.map(Thing::from)),)* }
            }

            /// See [`Kind::fields`].
            pub fn fields(&self, found: Option<&Thing>) -> Vec<Field> {
                match (self, found) {
                    $((Thing::$name(thing), Some(Thing::$name(found))) => thing.fields(Some(found)),)*
                    $((Thing::$name(thing), _) => thing.fields(None),)*
                }
            }

            /// See [`Kind::steps`].
            pub fn steps(&self, found: Option<&Thing>) -> Vec<Step> {
                match (self, found) {
                    $((Thing::$name(thing), Some(Thing::$name(found))) => thing.steps(Some(found)),)*
                    $((Thing::$name(thing), _) => thing.steps(None),)*
                }
            }

            /// See [`Kind::named`]: by the kind's noun and the ledger's key.
            pub fn named(kind: &str, key: &str) -> Option<Thing> {
                $(if kind == <$module::$name as Kind>::NAME {
                    return <$module::$name as Kind>::named(key).map(Thing::from);
                })*
                None
            }

            /// See [`Kind::waits_for`].
            pub fn waits_for(&self, found: Option<&Thing>) -> Vec<Awaited> {
                match (self, found) {
                    $((Thing::$name(thing), Some(Thing::$name(found))) => thing.waits_for(Some(found)),)*
                    $((Thing::$name(thing), _) => thing.waits_for(None),)*
                }
            }

            /// See [`Kind::without`].
            pub fn without(&self, missing: &[Awaited], found: Option<&Thing>) -> Thing {
                match (self, found) {
                    $((Thing::$name(thing), Some(Thing::$name(found))) => thing.without(missing, Some(found)).into(),)*
                    $((Thing::$name(thing), _) => thing.without(missing, None).into(),)*
                }
            }

            /// See [`Kind::remove`].
            pub fn remove(&self) -> Removal {
                match self { $(Thing::$name(thing) => thing.remove(),)* }
            }

            /// See [`Kind::exists`].
            pub fn exists(&self) -> bool {
                match self { $(Thing::$name(thing) => thing.exists(),)* }
            }

            /// See [`Kind::rendered`].
            pub fn rendered(&self) -> Option<crate::command::File> {
                match self { $(Thing::$name(thing) => thing.rendered(),)* }
            }

            /// See [`Kind::foreign`].
            pub fn foreign(&self) -> Option<Foreign> {
                match self { $(Thing::$name(thing) => thing.foreign(),)* }
            }

            /// See [`Kind::mark`].
            pub fn mark(&self, field: &str) -> Option<String> {
                match self { $(Thing::$name(thing) => thing.mark(field),)* }
            }

            /// See [`Kind::changed`].
            pub fn changed(&self, field: &str) -> Option<i64> {
                match self { $(Thing::$name(thing) => thing.changed(field),)* }
            }

            /// See [`Kind::texts`].
            pub fn texts(&self, field: &str, found: &Thing) -> Option<(String, String)> {
                match (self, found) {
                    $((Thing::$name(thing), Thing::$name(found)) => thing.texts(field, found),)*
                    _ => None,
                }
            }

            /// See [`Kind::recipe`].
            pub fn recipe(&self, found: &Thing) -> Vec<String> {
                match (self, found) {
                    $((Thing::$name(thing), Thing::$name(found)) => thing.recipe(found),)*
                    _ => Vec::new(),
                }
            }
        }
    };
}

impl Thing {
    /// The units that it would write and that something else than us makes already: unit, file, and the package that ships that.
    pub(crate) fn taken(&self, found: &Thing) -> Vec<(String, String, String)> {
        match (self, found) {
            (Thing::SystemdUnit(unit), Thing::SystemdUnit(found)) => unit.taken(found),
            (Thing::Timer(timer), Thing::Timer(found)) => timer.taken(found),
            _ => Vec::new(),
        }
    }

    /// Whether a file of ours hides what something else ships: it is ours to remove, whatever was there before.
    pub(crate) fn hides(&self) -> bool {
        match self {
            Thing::SystemdUnit(unit) => unit.hides(),
            Thing::Timer(timer) => timer.hides(),
            _ => false,
        }
    }

    /// Its name in a ledger: `kind:key`. A kind that asks the ledger itself has such a key already.
    pub fn ledger_id(&self) -> String {
        let key = self.key();
        if key.starts_with(&format!("{}:", self.kind())) {
            key.into_owned()
        } else {
            crate::ledger::id(self.kind(), &key)
        }
    }
}
kinds! {
    image::Image,
    network::Network,
    volume::Volume,
    generated_file::RenderedFile,
    container::Container,
    apt_repository::AptRepository,
    packages::Packages,
    group::Group,
    user::User,
    authorized_key::AuthorizedKeys,
    directory::Directory,
    server_file::ServerFile,
    link::Link,
    postgres_cluster::PostgresCluster,
    postgres_hba::PostgresHba,
    postgres_role::PostgresRole,
    postgres_database::PostgresDatabase,
    postgres_extension::PostgresExtension,
    postgres_setting::PostgresSetting,
    postgres_grant::PostgresGrant,
    sql_script::SqlScript,
    mariadb_database::MariadbDatabase,
    mariadb_role::MariadbRole,
    mariadb_user::MariadbUser,
    mariadb_grant::MariadbGrant,
    mariadb_setting::MariadbSetting,
    mariadb_script::MariadbScript,
    hosts_entry::HostsEntry,
    sysctl::Sysctl,
    swap::Swap,
    git_checkout::GitCheckout,
    source_tree::SourceTree,
    venv::Venv,
    task::Task,
    systemd_unit::SystemdUnit,
    timer::Timer,
    firewall::Firewall,
}
