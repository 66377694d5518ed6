//! Rights of a role on what belongs to the whole server: parameters and tablespaces. They are part of the role, since no database
//! holds them.

use std::collections::{BTreeMap, BTreeSet};

use super::{array, boolean, ident, maybe_text, text};
use crate::command::Row;
use crate::resource::{Field, Impact, Same};

/// What belongs to the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerClass {
    /// A setting that not everybody may change.
    Parameter,
    /// A tablespace.
    Tablespace,
}

impl ServerClass {
    /// Its key in the file.
    pub fn key(self) -> &'static str {
        match self {
            ServerClass::Parameter => "parameters",
            ServerClass::Tablespace => "tablespaces",
        }
    }

    /// What `ALL` stands for.
    pub fn privileges(self) -> &'static [&'static str] {
        match self {
            ServerClass::Parameter => &["SET", "ALTER SYSTEM"],
            ServerClass::Tablespace => &["CREATE"],
        }
    }

    fn read(word: &str) -> Option<Self> {
        match word {
            "parameter" => Some(ServerClass::Parameter),
            "tablespace" => Some(ServerClass::Tablespace),
            _ => None,
        }
    }

    /// As `GRANT` names one.
    fn sql(self, name: &str) -> String {
        match self {
            ServerClass::Parameter => {
                let parts: Vec<String> = name.split('.').map(ident).collect();
                format!("PARAMETER {}", parts.join("."))
            }
            ServerClass::Tablespace => format!("TABLESPACE {}", ident(name)),
        }
    }
}

/// In a query about the role `r`: its rights on what belongs to the whole server.
macro_rules! rights_on_server {
    () => {
        "(SELECT json_agg(json_build_object('class', x.class, 'name', x.name, 'privilege', a.privilege_type, \
         'option', a.is_grantable, 'grantor', CASE WHEN a.grantor <> x.owner THEN pg_get_userbyid(a.grantor) END)) \
         FROM (SELECT 'parameter' AS class, parname AS name, 10::oid AS owner, paracl AS acl FROM pg_parameter_acl \
         UNION ALL SELECT 'tablespace', spcname, spcowner, spcacl FROM pg_tablespace WHERE spcacl IS NOT NULL) x \
         CROSS JOIN LATERAL aclexplode(x.acl) a WHERE a.grantee = r.oid AND a.grantee <> x.owner)"
    };
}
pub(crate) use rights_on_server;

/// How a privilege is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Grant {
    option: bool,
    /// Who granted it, where that is not the owner; `None` is the owner.
    grantors: BTreeSet<Option<String>>,
}

/// Rights on what belongs to the whole server; exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerRights(BTreeMap<(ServerClass, String), BTreeMap<String, Grant>>);

impl ServerRights {
    /// Adds what is wanted on an object.
    pub fn want(&mut self, class: ServerClass, name: &str, privileges: BTreeSet<String>) {
        let name = match class {
            ServerClass::Parameter => name.to_ascii_lowercase(),
            ServerClass::Tablespace => name.to_owned(),
        };
        let wanted = privileges.into_iter().map(|one| (one, Grant::default()));
        self.0.entry((class, name)).or_default().extend(wanted);
    }

    /// Reads a column of a row that holds what [`rights_on_server`] found.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn read(row: &Row, column: &str) -> Result<Self, String> {
        let mut rights = ServerRights::default();
        for entry in array(row, column) {
            let entry = entry
                .as_object()
                .ok_or("a right in the server's answer is unreadable")?;
            let class = text(entry, "class")?;
            let class = ServerClass::read(class).ok_or_else(|| {
                format!("the server answered about `{class}`, which nobody asked")
            })?;
            let of = rights
                .0
                .entry((class, text(entry, "name")?.to_owned()))
                .or_default();
            let grant = of.entry(text(entry, "privilege")?.to_owned()).or_default();
            grant.option |= boolean(entry, "option")?;
            grant
                .grantors
                .insert(maybe_text(entry, "grantor").map(str::to_owned));
        }
        Ok(rights)
    }

    fn objects<'a>(&'a self, found: &'a Self) -> BTreeSet<&'a (ServerClass, String)> {
        self.0.keys().chain(found.0.keys()).collect()
    }

    fn of(&self, object: &(ServerClass, String)) -> BTreeMap<String, Grant> {
        self.0.get(object).cloned().unwrap_or_default()
    }

    /// One field an object.
    pub fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let none = ServerRights::default();
        let had = found.unwrap_or(&none);
        let objects = self.objects(had).into_iter();
        let field = |object: &(ServerClass, String)| {
            let (wanted, held) = (self.of(object), had.of(object));
            let shown = |(name, grant): (&String, &Grant)| match grant.option {
                true => format!("{name} with grant option"),
                false => name.clone(),
            };
            let list = |of: &BTreeMap<String, Grant>| {
                let words: Vec<String> = of.iter().map(shown).collect();
                Some(words.join(", ")).filter(|words| !words.is_empty())
            };
            let (from, to) = (list(&held), list(&wanted));
            Field {
                name: format!("{} {}", object.0.key(), object.1).into(),
                same: if from == to { Same::Yes } else { Same::No },
                from,
                to,
                impact: Impact::None,
            }
        };
        objects
            .map(field)
            .filter(|field| field.from.is_some() || field.to.is_some())
            .collect()
    }

    /// The statements that make these rights out of what was found, of a role by its quoted name.
    pub fn change(&self, role: &str, found: Option<&Self>) -> String {
        let none = ServerRights::default();
        let had = found.unwrap_or(&none);
        let mut sql = String::new();
        for object in self.objects(had) {
            let (wanted, held) = (self.of(object), had.of(object));
            let on = object.0.sql(&object.1);
            for privilege in wanted.keys().filter(|name| !held.contains_key(*name)) {
                sql.push_str(&format!("GRANT {privilege} ON {on} TO {role};\n"));
            }
            for (privilege, grant) in held {
                let of = match wanted.contains_key(&privilege) {
                    true if !grant.option => continue,
                    true => "GRANT OPTION FOR ",
                    false => "",
                };
                for grantor in &grant.grantors {
                    let revoke = format!("REVOKE {of}{privilege} ON {on} FROM {role} CASCADE;\n");
                    sql.push_str(&match grantor {
                        Some(grantor) => format!(
                            "SET LOCAL ROLE {};\n{revoke}SET LOCAL ROLE NONE;\n",
                            ident(grantor)
                        ),
                        None => revoke,
                    });
                }
            }
        }
        sql
    }
}
