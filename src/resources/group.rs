//! `group`: a group of users of a machine. Who is in it is `user`'s.

use std::borrow::Cow;

use super::accounts;
use crate::command::{Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};

/// A group of users.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number; `None`: not managed.
    pub gid: Option<u32>,
    /// A system group, when it is made.
    pub system: bool,
}

/// Words: options, the name.
const ADD: &str = r#"groupadd "$@""#;
const REMOVE: &str = r#"groupdel -- "$1""#;

impl Kind for Group {
    const NAME: &'static str = "group";
    const QUESTION: Question = accounts::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn item(&self) -> Cow<'_, str> {
        Cow::Owned(format!("g:{}", self.name))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = accounts::of(rows, "group") else {
            return Ok(None);
        };
        Ok(Some(Group {
            name: self.name.clone(),
            gid: Some(accounts::number(row)?),
            system: self.system,
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        // Files belong to numbers: those of the old one would be nobody's, or somebody else's.
        let number = self.gid.map(|gid| {
            let found = found.and_then(|found| found.gid);
            let found = found.map(|gid| gid.to_string());
            Field::new("gid", found, gid.to_string(), Impact::DataRisk)
        });
        number.into_iter().collect()
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() {
            return Vec::new();
        }
        let mut words = Vec::new();
        if self.system {
            words.push("--system".to_owned());
        }
        words.extend(self.gid.map(|gid| format!("--gid={gid}")));
        words.push(self.name.clone());
        let words = words.into_iter().map(Text::plain);
        vec![Step::script("make the group", ADD, words)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(Group {
            name: key.to_owned(),
            ..Group::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Steps(vec![Step::script(
            "remove the group",
            REMOVE,
            [Text::plain(&self.name)],
        )])
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        let (Some(old), Some(new)) = (found.gid, self.gid) else {
            return Vec::new();
        };
        vec![
            format!(
                "its files keep the number {old}: `sudo groupmod -g {new} {}`, then `sudo find / -xdev -gid {old} -exec chgrp -h {new} {{}} +`",
                crate::quote::word(&self.name)
            ),
            format!("or take `gid` from the file, and it stays {old}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::tests::rows;
    use super::*;

    #[test]
    fn the_number_of_a_group_is_not_altered() {
        let devs = Group {
            name: "devs".to_owned(),
            gid: Some(1500),
            ..Group::default()
        };
        let rows = rows("devs\tgroup\t1001\ndevs\tuser\t7\tdevs");
        let found = devs.read(rows.of("devs")).unwrap();
        let fields = devs.fields(found.as_ref());
        assert_eq!(fields[0].from.as_deref(), Some("1001"));
        assert_eq!(fields[0].impact, Impact::DataRisk);
        assert!(devs.steps(found.as_ref()).is_empty());
        assert!(devs.read(rows.of("ops")).unwrap().is_none());
    }
}
