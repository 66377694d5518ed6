//! `user`: a user of a machine. The keys that let it in are `authorized_key`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::accounts;
use crate::command::{Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step, few_bits};
use crate::secret::Secret;

/// A user of a machine. What is `None` is not managed.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Option<u32>,
    /// Its primary group.
    pub group: Option<String>,
    /// Its other groups, all of them.
    pub groups: Option<BTreeSet<String>>,
    /// Its home folder.
    pub home: Option<String>,
    /// Its login shell.
    pub shell: Option<String>,
    /// Its full name.
    pub comment: Option<String>,
    /// A system user, when it is made.
    pub system: bool,
    /// May not log in by password.
    pub locked: bool,
    /// Its password in clear as wanted.
    pub password: Option<Secret>,
    /// What the salt of its password is made from: rendering twice gives the same bytes, and no two machines have the same.
    pub seed: String,
    /// Of a found one: the hash the machine keeps.
    pub stored: Option<Secret>,
    /// Of a found one: anybody comes in with an empty password.
    pub open: bool,
}

/// Words: the name, `own` where it gets a group of its own, options. Its own group may be there already, declared or not.
const ADD: &str = r#"
name=$1 own=$2
shift 2
if [ "$own" = own ] && getent group "$name" > /dev/null; then set -- "--gid=$name" "$@"; fi
useradd "$@" -- "$name" 9>&-
"#;

/// Words: options, the name.
const CHANGE: &str = r#"usermod "$@""#;

/// Words: the name, the hash.
const PASSWORD: &str = r#"printf '%s:%s\n' "$1" "$2" | chpasswd -e"#;

const REMOVE: &str = r#"userdel --remove -- "$1" 2> /dev/null || userdel -- "$1""#;

impl User {
    /// Options of `useradd` and `usermod` that say the same to both.
    fn options(&self, field: &str) -> Option<String> {
        match field {
            "group" => self.group.as_ref().map(|group| format!("--gid={group}")),
            "groups" => self.groups.as_ref().map(|groups| {
                let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
                format!("--groups={}", groups.join(","))
            }),
            "home" => self.home.as_ref().map(|home| format!("--home={home}")),
            "shell" => self.shell.as_ref().map(|shell| format!("--shell={shell}")),
            "comment" => self.comment.as_ref().map(|text| format!("--comment={text}")),
            _ => None,
        }
    }

    fn add(&self) -> Step {
        let own = match self.group {
            Some(_) => "named",
            None => "own",
        };
        let mut words = vec![self.name.clone(), own.to_owned()];
        // A system user's home is some service's folder, made as that wants it.
        words.push(
            match self.system {
                true => "--system",
                false => "--create-home",
            }
            .to_owned(),
        );
        words.extend(self.uid.map(|uid| format!("--uid={uid}")));
        for field in ["group", "groups", "home", "shell", "comment"] {
            words.extend(self.options(field));
        }
        Step::script("make the user", ADD, words.into_iter().map(Text::plain))
    }

    fn set_password(&self, password: &Secret) -> Step {
        let words = [
            Text::plain(&self.name),
            Text::secret(password.crypt_hash(&self.seed)),
        ];
        Step::script("set the password", PASSWORD, words)
    }

    fn change(&self, says: &str, options: impl IntoIterator<Item = String>) -> Step {
        let words = options.into_iter().chain([self.name.clone()]);
        Step::script(says, CHANGE, words.map(Text::plain))
    }

    fn lock(&self) -> Step {
        match self.locked {
            true => self.change("lock the password", ["--lock".to_owned()]),
            false => self.change("unlock the password", ["--unlock".to_owned()]),
        }
    }

    /// Members of the groups, one field each.
    fn memberships(&self, found: Option<&Self>) -> Vec<Field> {
        let Some(wanted) = &self.groups else {
            return Vec::new();
        };
        let none = BTreeSet::new();
        let found = found.and_then(|found| found.groups.as_ref());
        let member = |group: &String| {
            let from = found.is_some_and(|found| found.contains(group));
            let from = from.then(|| "member".to_owned());
            Field::new(format!("groups {group}"), from, "member", Impact::None)
        };
        let extra = found.unwrap_or(&none).difference(wanted);
        let extra =
            extra.map(|group| Field::extra(format!("groups {group}"), "member", Impact::None));
        wanted.iter().map(member).chain(extra).collect()
    }

    fn password_field(&self, wanted: &Secret, found: Option<&Self>) -> Field {
        let stored = found.and_then(|found| found.stored.as_ref());
        let hash = stored.map(|stored| stored.expose().trim_start_matches('!'));
        let same = match hash {
            Some(hash) if wanted.matches_crypt(hash) => Same::Yes,
            _ => Same::No,
        };
        let mut field = Field::hidden("password", found.is_some(), same, Impact::None);
        if matches!(hash, Some("" | "*")) && same == Same::No {
            field.from = Some("no password".to_owned());
        }
        field
    }
}

impl Kind for User {
    const NAME: &'static str = "user";
    const QUESTION: Question = accounts::QUESTION;

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn item(&self) -> Cow<'_, str> {
        let flag = if self.password.is_some() { 'p' } else { 'u' };
        Cow::Owned(format!("{flag}:{}", self.name))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = accounts::of(rows, "user") else {
            return Ok(None);
        };
        let lock = accounts::of(rows, "lock").ok_or("whether it is locked cannot be read")?;
        let lock = accounts::text(lock, "a");
        let text = |column| Some(accounts::text(row, column).to_owned());
        let groups = accounts::all(rows, "member").map(|row| accounts::text(row, "a").to_owned());
        Ok(Some(User {
            name: self.name.clone(),
            uid: Some(accounts::number(row)?),
            group: text("b"),
            groups: Some(groups.collect()),
            // Office and telephone numbers follow after commas.
            comment: text("c").map(|text| text.trim_end_matches(',').to_owned()),
            home: text("d"),
            shell: text("e"),
            system: self.system,
            // Without a password it is as locked as it is declared.
            locked: match lock {
                "none" => self.locked,
                lock => lock == "locked",
            },
            open: lock == "empty",
            stored: accounts::of(rows, "hash").map(|row| Secret::new(accounts::text(row, "a"))),
            ..User::default()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(uid) = self.uid {
            // Files belong to numbers: those of the old one would be nobody's, or somebody else's.
            let from = found.and_then(|found| found.uid);
            let from = from.map(|uid| uid.to_string());
            fields.push(Field::new("uid", from, uid.to_string(), Impact::DataRisk));
        }
        let mut text = |name, wanted: &Option<String>, found: Option<&Option<String>>| {
            if let Some(wanted) = wanted {
                fields.push(Field::new(
                    name,
                    found.cloned().flatten(),
                    wanted,
                    Impact::None,
                ));
            }
        };
        text("group", &self.group, found.map(|f| &f.group));
        text("home", &self.home, found.map(|f| &f.home));
        text("shell", &self.shell, found.map(|f| &f.shell));
        text("comment", &self.comment, found.map(|f| &f.comment));
        fields.extend(self.memberships(found));
        let said = |user: &Self| match (user.open, user.locked) {
            (true, _) => "no password needed".to_owned(),
            (_, locked) => locked.to_string(),
        };
        // An empty password opens the account: where one is declared that is the password's to say.
        if self.password.is_none() || self.locked || !found.is_some_and(|found| found.open) {
            fields.push(Field::new(
                "locked",
                found.map(said),
                self.locked.to_string(),
                Impact::None,
            ));
        }
        if let Some(password) = &self.password {
            fields.push(self.password_field(password, found));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let mut steps = Vec::new();
        let fields = self.fields(found);
        let differs = |name: &str| {
            let own = |field: &&Field| field.name.split(' ').next() == Some(name);
            fields.iter().filter(own).any(Field::differs)
        };
        if found.is_none() {
            steps.push(self.add());
        } else {
            let changed = ["group", "groups", "home", "shell", "comment"];
            let changed: Vec<&str> = changed.into_iter().filter(|name| differs(name)).collect();
            if !changed.is_empty() {
                let options = changed.iter().filter_map(|name| self.options(name));
                steps.push(self.change(&format!("set {}", changed.join(", ")), options));
            }
        }
        if let (Some(password), true) = (&self.password, differs("password")) {
            steps.push(self.set_password(password));
        }
        match found {
            // A user is made without a password, and a new password is not locked.
            None if self.locked && self.password.is_some() => steps.push(self.lock()),
            // Nobody may come in without a password, whatever is declared.
            Some(found) if found.open && self.password.is_none() => {
                steps.push(self.change("take the empty password away", ["--lock".to_owned()]));
            }
            Some(_) if differs("locked") || self.locked && differs("password") => {
                steps.push(self.lock());
            }
            _ => {}
        }
        steps
    }

    fn named(key: &str) -> Option<Self> {
        Some(User {
            name: key.to_owned(),
            ..User::default()
        })
    }

    fn mark(&self, field: &str) -> Option<String> {
        let password = self.password.as_ref().filter(|_| field == "password")?;
        Some(few_bits(password.expose()))
    }

    fn remove(&self) -> Removal {
        Removal::HoldsData(vec![Step::script(
            "remove the user and its home folder",
            REMOVE,
            [Text::plain(&self.name)],
        )])
    }

    fn recipe(&self, found: &Self) -> Vec<String> {
        let (Some(old), Some(new)) = (found.uid, self.uid) else {
            return Vec::new();
        };
        vec![
            format!(
                "its files outside its home keep the number {old}: `sudo usermod -u {new} {}`, then `sudo find / -xdev -uid {old} -exec chown -h {new} {{}} +`",
                crate::quote::word(&self.name)
            ),
            format!("or take `uid` from the file, and it stays {old}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::accounts::tests::rows;
    use super::*;

    const ROWS: &str = "\
deploy\tmember\tsudo
deploy\tmember\tdevs
deploy\tgroup\t1000
deploy\tuser\t1000\tdeploy\tDeploy,,,\t/home/deploy\t/bin/bash
deploy\tlock\tlocked
deploy\thash\t!$6$rounds=5000$saltstring$x
fresh\tuser\t1001\tfresh\t\t/home/fresh\t/bin/sh
fresh\tlock\tnone
fresh\thash\t!
door\tuser\t1002\tdoor\t\t/home/door\t/bin/sh
door\tlock\tempty";

    fn user(name: &str) -> User {
        User {
            name: name.to_owned(),
            ..User::default()
        }
    }

    fn found(user: &User) -> Option<User> {
        user.read(rows(ROWS).of(&user.name)).unwrap()
    }

    fn differing(user: &User) -> Vec<String> {
        let fields = user.fields(found(user).as_ref());
        let fields = fields.into_iter().filter(Field::differs);
        fields
            .map(|field| {
                format!(
                    "{} {}",
                    field.name,
                    field.from.unwrap_or_else(|| "none".to_owned())
                )
            })
            .collect()
    }

    fn says(user: &User) -> Vec<String> {
        let steps = user.steps(found(user).as_ref());
        steps.into_iter().map(|step| step.says).collect()
    }

    #[test]
    fn each_drift_is_one_field() {
        let wanted = User {
            uid: Some(1000),
            shell: Some("/bin/zsh".to_owned()),
            comment: Some("Deploy".to_owned()),
            groups: Some(["sudo".to_owned(), "www-data".to_owned()].into()),
            ..user("deploy")
        };
        assert_eq!(
            differing(&wanted),
            [
                "shell /bin/bash",
                "groups www-data none",
                "groups devs member",
                "locked true"
            ]
        );
        assert_eq!(says(&wanted), ["set groups, shell", "unlock the password"]);
        assert_eq!(differing(&user("fresh")), Vec::<String>::new());
        assert!(found(&user("nobody")).is_none());
    }

    #[test]
    fn a_password_is_compared_where_it_is_known_and_set_where_it_is_not() {
        let with = |user: User, password: &str| User {
            password: Some(Secret::new(password)),
            seed: "web1/deploy".to_owned(),
            ..user
        };
        let wanted = with(user("fresh"), "pass");
        assert_eq!(differing(&wanted), ["password no password"]);
        assert_eq!(says(&wanted), ["set the password"]);
        let locked = User {
            locked: true,
            ..with(user("deploy"), "pass")
        };
        assert_eq!(differing(&locked), ["password differs"]);
        assert_eq!(says(&locked), ["set the password", "lock the password"]);
        let steps = wanted.steps(found(&wanted).as_ref());
        let crate::command::Do::Script(script) = &steps[0].does else {
            panic!("{steps:?}");
        };
        assert!(script.words[1].is_secret());
        let hash = script.words[1].expose();
        assert!(hash.expose().starts_with("$6$"));
        assert!(Secret::new("pass").matches_crypt(hash.expose()));
    }

    #[test]
    fn an_empty_password_is_taken_away() {
        assert_eq!(differing(&user("door")), ["locked no password needed"]);
        assert_eq!(says(&user("door")), ["take the empty password away"]);
    }

    #[test]
    fn a_user_is_made_with_what_is_declared() {
        let wanted = User {
            system: true,
            home: Some("/srv/app".to_owned()),
            ..user("app")
        };
        let steps = wanted.steps(None);
        let crate::command::Do::Script(script) = &steps[0].does else {
            panic!("{steps:?}");
        };
        let words: Vec<String> = script.words.iter().map(Text::shown).collect();
        assert_eq!(words, ["app", "own", "--system", "--home=/srv/app"]);
        assert_eq!(steps.len(), 1);
    }
}
