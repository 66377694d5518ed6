//! The language of `pg_hba.conf`: rules, the words of their lists, and what a list of rules means for a login.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One rule, its words as `pg_hba.conf` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `local`, `host`, `hostssl`, ...
    pub kind: String,
    /// A list of databases.
    pub database: String,
    /// A list of roles.
    pub role: String,
    /// A network, an address or a name; none for `local`.
    pub address: Option<String>,
    /// Method and options, as in `scram-sha-256`.
    pub method: String,
}

impl Rule {
    /// Who it is about: everything but the method.
    pub fn whom(&self) -> String {
        let whom = format!("{} {} {}", self.kind, self.database, self.role);
        match &self.address {
            Some(address) => format!("{whom} {address}"),
            None => whom,
        }
    }

    /// The method without its options.
    pub fn method_name(&self) -> &str {
        self.method.split(' ').next().unwrap_or_default()
    }

    /// Whether whoever it matches is refused.
    pub fn rejects(&self) -> bool {
        self.method_name() == "reject"
    }

    /// The row that the server's view `pg_hba_file_rules` has for it, as [`VIEW`] writes one.
    pub fn viewed(&self) -> String {
        let list = |text: &str| {
            let words: Vec<String> = tokens(text).into_iter().map(|(word, _)| word).collect();
            serde_json::Value::from(words).to_string()
        };
        let mut row = vec![self.kind.clone(), list(&self.database), list(&self.role)];
        if let Some(address) = &self.address {
            row.push(match Network::read(address) {
                Some(network) => format!("{} {}", network.address, network.mask()),
                None => address.clone(),
            });
        }
        row.push(self.method_name().to_owned());
        row.join(" ")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.whom(), self.method)
    }
}

/// One line for each rule as the server reads the file, in order; a line that it cannot read has no type. Quotes do not show in the
/// view, so it tells which words were read and not how they were written.
pub const VIEW: &str = "SELECT concat_ws(' ', type, to_json(database), to_json(user_name), \
    address, netmask, auth_method) FROM pg_hba_file_rules ORDER BY line_number";

/// Which list of a rule a word is in; keywords differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The databases.
    Database,
    /// The roles.
    Role,
}

/// A word of a list of databases or roles, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `all`; of databases, it does not include replication.
    All,
    /// `sameuser`: the database is named as the role.
    SameUser,
    /// `samerole`: the role is a member of the role that the database is named as.
    SameRole,
    /// `replication`: a connection that streams the write-ahead log, of no database.
    Replication,
    /// `+name`: the members of a role, and the role itself.
    Group(String),
    /// A name.
    Name(String),
}

impl Word {
    /// A word as an environment file has it. As in `pg_hba.conf`, what stands between double quotes is a name and never a keyword.
    pub fn declared(column: Column, text: &str) -> Self {
        if let Some(name) = between_quotes(text) {
            return Word::Name(name);
        }
        match text.strip_prefix('+') {
            Some(group) if column == Column::Role && !group.is_empty() => {
                Word::Group(between_quotes(group).unwrap_or_else(|| group.to_owned()))
            }
            _ => Word::bare(column, text),
        }
    }

    /// A word that has no quotes.
    fn bare(column: Column, text: &str) -> Self {
        match (column, text) {
            (_, "all") => Word::All,
            (Column::Database, "sameuser") => Word::SameUser,
            (Column::Database, "samerole" | "samegroup") => Word::SameRole,
            (Column::Database, "replication") => Word::Replication,
            (Column::Role, text) if text.len() > 1 && text.starts_with('+') => {
                Word::Group(text.trim_start_matches('+').to_owned())
            }
            _ => Word::Name(text.to_owned()),
        }
    }

    /// What it names, if it is no keyword.
    pub fn name(&self) -> Option<&str> {
        match self {
            Word::Group(name) | Word::Name(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    /// As `pg_hba.conf` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::All => f.write_str("all"),
            Word::SameUser => f.write_str("sameuser"),
            Word::SameRole => f.write_str("samerole"),
            Word::Replication => f.write_str("replication"),
            Word::Group(name) if is_plain(name) => write!(f, "+{name}"),
            // A quote behind the first character keeps blanks together and leaves `+` its meaning.
            Word::Group(name) => write!(f, "+\"{}\"", name.replace('"', "\"\"")),
            Word::Name(name) => f.write_str(&name_word(name)),
        }
    }
}

/// A list of databases or roles, each meant literally.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(name_word).collect();
    names.join(",")
}

fn name_word(name: &str) -> String {
    const KEYWORDS: [&str; 5] = ["all", "sameuser", "samerole", "samegroup", "replication"];
    match is_plain(name) && !KEYWORDS.contains(&name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

fn between_quotes(text: &str) -> Option<String> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.is_empty()).then(|| inside.replace("\"\"", "\""))
}

/// The words of a list as the server reads it, and whether each begins with a quote, which makes it a name.
fn tokens(list: &str) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    let (mut word, mut literal, mut quoted, mut after_quote) = (String::new(), false, false, false);
    for c in list.chars() {
        if c == ',' && !quoted {
            all.push((std::mem::take(&mut word), std::mem::take(&mut literal)));
            after_quote = false;
            continue;
        }
        if c != '"' || after_quote {
            word.push(c);
        }
        after_quote = quoted && c == '"' && !after_quote;
        if c == '"' {
            quoted = !quoted;
            literal |= word.is_empty();
        }
    }
    all.push((word, literal));
    all
}

fn words(column: Column, list: &str) -> Vec<Word> {
    let read = |(word, literal): (String, bool)| match literal {
        true => Word::Name(word),
        false => Word::bare(column, &word),
    };
    tokens(list).into_iter().map(read).collect()
}

/// An address with the bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address as written.
    pub address: IpAddr,
    /// How many of its bits count.
    pub bits: u32,
}

impl Network {
    /// `10.0.0.0/8`, `::1/128` or `10.0.0.0 255.0.0.0`; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once(['/', ' '])?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match length.trim().parse::<IpAddr>() {
            Ok(mask) if mask.is_ipv4() == address.is_ipv4() => length_of(mask)?,
            Ok(_) => return None,
            Err(_) if length.bytes().all(|digit| digit.is_ascii_digit()) => length.parse().ok()?,
            Err(_) => return None,
        };
        (bits <= most).then_some(Network { address, bits })
    }

    fn mask(self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => IpAddr::V4(
                u32::MAX
                    .checked_shl(32 - self.bits)
                    .unwrap_or_default()
                    .into(),
            ),
            IpAddr::V6(_) => IpAddr::V6(
                u128::MAX
                    .checked_shl(128 - self.bits)
                    .unwrap_or_default()
                    .into(),
            ),
        }
    }

    fn holds(self, other: IpAddr) -> bool {
        match (self.address, other, self.mask()) {
            (IpAddr::V4(one), IpAddr::V4(other), IpAddr::V4(mask)) => {
                one.to_bits() & mask.to_bits() == other.to_bits() & mask.to_bits()
            }
            (IpAddr::V6(one), IpAddr::V6(other), IpAddr::V6(mask)) => {
                one.to_bits() & mask.to_bits() == other.to_bits() & mask.to_bits()
            }
            _ => false,
        }
    }
}

/// How many bits a netmask has; `None` where they are not all at its beginning.
pub fn length_of(mask: IpAddr) -> Option<u32> {
    let (ones, all) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
    };
    (ones == all).then_some(ones)
}

/// Who is a member of what, by role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships(BTreeMap<String, BTreeSet<String>>);

impl Memberships {
    /// Of roles with the groups that each is a member of.
    pub fn new(of: impl IntoIterator<Item = (String, BTreeSet<String>)>) -> Self {
        Memberships(of.into_iter().collect())
    }

    /// Whether a role is a group or a member of it, through others too. A superuser is a member of those alone that it was made one
    /// of: so reads the server its rules.
    pub fn has(&self, role: &str, group: &str) -> bool {
        let mut seen = BTreeSet::from([role]);
        let mut left = vec![role];
        while let Some(one) = left.pop() {
            if one == group {
                return true;
            }
            let groups = self.0.get(one).into_iter().flatten().map(String::as_str);
            left.extend(groups.filter(|group| seen.insert(group)));
        }
        false
    }
}

/// A login that rules are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The role.
    pub role: &'a str,
    /// The database; `None` for a connection that streams the write-ahead log.
    pub database: Option<&'a str>,
    /// Where it comes from; `None` for the local socket.
    pub from: Option<IpAddr>,
    /// Whether the connection is encrypted by TLS.
    pub tls: bool,
}

/// What rules say about a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// This is the first rule that fits.
    Rule(&'a Rule),
    /// None fits: it is refused.
    Nothing,
    /// Whether this rule fits depends on names and networks that only the server knows.
    Unknown(&'a Rule),
}

/// The first rule that fits a login: it alone counts.
pub fn answer<'a>(rules: &'a [Rule], login: &Login<'_>, members: &Memberships) -> Answer<'a> {
    for rule in rules {
        if !fits_kind(rule, login) || !fits_names(rule, login, members) {
            continue;
        }
        match (login.from, &rule.address) {
            (None, _) => return Answer::Rule(rule),
            (Some(from), Some(address)) => match fits_address(address, from) {
                Some(true) => return Answer::Rule(rule),
                Some(false) => {}
                None => return Answer::Unknown(rule),
            },
            (Some(_), None) => {}
        }
    }
    Answer::Nothing
}

/// Whether a client that prefers TLS and does without where that is refused can prove who it is: the rules it meets. `None`: only the
/// server knows.
pub fn lets_try<'a>(
    rules: &'a [Rule],
    login: &Login<'_>,
    members: &Memberships,
) -> Option<Result<&'a Rule, Answer<'a>>> {
    let mut refused = Answer::Nothing;
    for tls in [true, false] {
        match answer(rules, &Login { tls, ..*login }, members) {
            Answer::Rule(rule) if !rule.rejects() => return Some(Ok(rule)),
            Answer::Unknown(_) => return None,
            no => refused = no,
        }
    }
    Some(Err(refused))
}

fn fits_kind(rule: &Rule, login: &Login<'_>) -> bool {
    match (rule.kind.as_str(), login.from) {
        ("local", from) => from.is_none(),
        (_, None) => false,
        ("hostssl", _) => login.tls,
        ("hostnossl", _) => !login.tls,
        ("hostgssenc", _) => false,
        (kind, _) => matches!(kind, "host" | "hostnogssenc"),
    }
}

fn fits_names(rule: &Rule, login: &Login<'_>, members: &Memberships) -> bool {
    let role = words(Column::Role, &rule.role)
        .into_iter()
        .any(|word| match word {
            Word::All => true,
            Word::Group(group) => members.has(login.role, &group),
            Word::Name(name) => name == login.role,
            _ => false,
        });
    role && words(Column::Database, &rule.database)
        .into_iter()
        .any(|word| match (word, login.database) {
            (Word::Replication, database) => database.is_none(),
            (_, None) => false,
            (Word::All, _) => true,
            (Word::SameUser, Some(database)) => database == login.role,
            (Word::SameRole, Some(database)) => members.has(login.role, database),
            (Word::Name(name) | Word::Group(name), Some(database)) => name == database,
        })
}

/// `None`: only the server can tell.
fn fits_address(address: &str, from: IpAddr) -> Option<bool> {
    match address {
        "all" => Some(true),
        "samehost" | "samenet" => from.is_loopback().then_some(true),
        "localhost" => Some(from.is_loopback()),
        network => Network::read(network).map(|network| network.holds(from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(line: &str) -> Rule {
        let words: Vec<&str> = line.split(' ').collect();
        let address = (words[0] != "local").then(|| words[3].to_owned());
        Rule {
            kind: words[0].to_owned(),
            database: words[1].to_owned(),
            role: words[2].to_owned(),
            method: words.last().copied().unwrap_or_default().to_owned(),
            address,
        }
    }

    fn met(lines: &[&str], role: &str, database: Option<&str>, from: &str, tls: bool) -> String {
        let rules: Vec<Rule> = lines.iter().map(|line| rule(line)).collect();
        let login = Login {
            role,
            database,
            from: from.parse().ok(),
            tls,
        };
        let sets = [("app", "readers"), ("readers", "staff"), ("x", "+x")];
        let sets = sets.map(|(role, group)| (role.to_owned(), [group.to_owned()].into()));
        match answer(&rules, &login, &Memberships::new(sets)) {
            Answer::Rule(rule) => rule.method.clone(),
            Answer::Nothing => "nothing".to_owned(),
            Answer::Unknown(_) => "unknown".to_owned(),
        }
    }

    #[test]
    fn words_mean_what_postgresql_means_by_them() {
        let role = |text| Word::declared(Column::Role, text);
        let database = |text| Word::declared(Column::Database, text);
        for (word, written) in [
            (role("all"), "all"),
            (role("\"all\""), "\"all\""),
            (role("+readers"), "+readers"),
            (role("+Re aders"), "+\"Re aders\""),
            (role("+\"a\"\"b\""), "+\"a\"\"b\""),
            (role("\"+readers\""), "\"+readers\""),
            (role("sameuser"), "\"sameuser\""),
            (role("o'brien"), "\"o'brien\""),
            (role("\"\"\"x\"\"\""), "\"\"\"x\"\"\""),
            (role("+"), "\"+\""),
            (database("sameuser"), "sameuser"),
            (database("samegroup"), "samerole"),
            (database("replication"), "replication"),
            (database("\"replication\""), "\"replication\""),
            (database("+x"), "\"+x\""),
        ] {
            assert_eq!(word.to_string(), written);
        }
        assert_eq!(names(["all", "a", "+x"]), "\"all\",a,\"+x\"");
    }

    #[test]
    fn a_written_word_is_read_as_what_it_was() {
        for name in [
            "all",
            "+x",
            "a\"b",
            "\"x\"",
            "a,b",
            "a b",
            "#",
            "é",
            "replication",
            "\"",
        ] {
            for word in [Word::Name(name.to_owned()), Word::Group(name.to_owned())] {
                // A `+` of its own behind the one that means the members.
                if word == Word::Group("+x".to_owned()) {
                    continue;
                }
                assert_eq!(words(Column::Role, &word.to_string()), [word]);
            }
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let group = [
            "host all +staff 127.0.0.1/32 reject",
            "host all all 127.0.0.1/32 scram-sha-256",
        ];
        assert_eq!(met(&group, "app", Some("d"), "127.0.0.1", true), "reject");
        assert_eq!(
            met(&group, "other", Some("d"), "127.0.0.1", true),
            "scram-sha-256"
        );
        assert_eq!(met(&group, "other", Some("d"), "10.0.0.1", true), "nothing");
        let literal = ["host all \"+staff\" 127.0.0.1/32 reject", group[1]];
        assert_eq!(
            met(&literal, "app", Some("d"), "127.0.0.1", true),
            "scram-sha-256"
        );
        assert_eq!(
            met(
                &["host all \"+x\" all reject"],
                "+x",
                Some("d"),
                "::1",
                true
            ),
            "reject"
        );
        assert_eq!(
            met(&["local all all peer"], "app", Some("d"), "", false),
            "peer"
        );
    }

    #[test]
    fn keywords_of_databases_and_kinds_of_connections() {
        let same = [
            "host sameuser all all reject",
            "host samerole all all md5",
            "host all all all scram-sha-256",
        ];
        assert_eq!(met(&same, "app", Some("app"), "10.0.0.1", false), "reject");
        assert_eq!(met(&same, "app", Some("staff"), "10.0.0.1", false), "md5");
        assert_eq!(
            met(&same, "app", Some("d"), "10.0.0.1", false),
            "scram-sha-256"
        );
        // `all` is no replication.
        assert_eq!(met(&same, "app", None, "10.0.0.1", false), "nothing");
        assert_eq!(
            met(
                &["host replication app all md5"],
                "app",
                None,
                "10.0.0.1",
                false
            ),
            "md5"
        );
        let kinds = [
            "hostnossl all all all reject",
            "hostssl all all all cert",
            "hostgssenc all all all gss",
        ];
        assert_eq!(met(&kinds, "app", Some("d"), "10.0.0.1", false), "reject");
        assert_eq!(met(&kinds, "app", Some("d"), "10.0.0.1", true), "cert");
        let names = ["host all all db.example.com reject", "host all all all md5"];
        assert_eq!(met(&names, "app", Some("d"), "10.0.0.1", true), "unknown");
        assert_eq!(
            met(&["host all all samenet md5"], "app", Some("d"), "::1", true),
            "md5"
        );
    }

    #[test]
    fn a_rule_is_what_the_server_shows_of_it() {
        for (line, row) in [
            (
                "host all +readers 127.0.0.1/8 reject",
                r#"host ["all"] ["+readers"] 127.0.0.1 255.0.0.0 reject"#,
            ),
            (
                "host \"a\"\"b\",c all ::1/64 md5",
                r#"host ["a\"b","c"] ["all"] ::1 ffff:ffff:ffff:ffff:: md5"#,
            ),
            (
                "host all all 0.0.0.0/0 md5",
                r#"host ["all"] ["all"] 0.0.0.0 0.0.0.0 md5"#,
            ),
            (
                "hostssl all all .example.com cert",
                r#"hostssl ["all"] ["all"] .example.com cert"#,
            ),
            (
                "local all postgres peer",
                r#"local ["all"] ["postgres"] peer"#,
            ),
        ] {
            assert_eq!(rule(line).viewed(), row);
        }
        assert_eq!(Network::read("10.0.0.0/33"), None);
        assert_eq!(Network::read("10.0.0.0 255.0.255.0"), None);
        assert_eq!(Network::read("10.0.0.7"), None);
    }
}
