//! `[[postgres.NAME.hba]]`: rules as they are declared, what is wrong with them, and which logins they let try.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;

use crate::declaration::{Node, Origin};
use crate::error::{Problem, did_you_mean};
use crate::resources::hba::{
    Answer, Column, Login, Memberships, Network, Rule, Word, answer, length_of, lets_try,
};
use crate::secret::Secret;
use crate::services::postgres::{is_predefined, logins};

/// Options whose value is a secret, which a file of rules would show.
const SECRET_OPTIONS: [&str; 3] = ["ldapbindpasswd", "radiussecrets", "radiussecret"];

/// A declared rule.
pub(super) fn declared(node: &Node) -> Rule {
    let text = |key, default| node.text(key).unwrap_or(default);
    let list = |key, column| {
        let words = listed(node, key).into_iter();
        let words: Vec<String> = words
            .map(|(word, _)| Word::declared(column, word).to_string())
            .collect();
        words.join(",")
    };
    let mut method = text("method", "scram-sha-256").to_owned();
    for (name, entry) in node.named("options") {
        let option = format!("{name}={}", entry.node.as_text().unwrap_or_default());
        method.push_str(&match option.contains([' ', '\t', ',', '#', '"']) {
            true => format!(" \"{}\"", option.replace('"', "\"\"")),
            false => format!(" {option}"),
        });
    }
    Rule {
        kind: text("type", "host").to_owned(),
        database: list("database", Column::Database),
        role: list("role", Column::Role),
        address: node.text("address").map(str::to_owned),
        method,
    }
}

/// The words of a key that is one text or a list of them, and where each stands.
fn listed<'n>(node: &'n Node, key: &str) -> Vec<(&'n str, Origin)> {
    let Some(value) = node.get(key) else {
        return vec![("all", Origin::NONE)];
    };
    match value.as_text() {
        Some(text) => vec![(text, value.origin.clone())],
        None => node
            .list(key)
            .iter()
            .filter_map(|item| Some((item.as_text()?, item.origin.clone())))
            .collect(),
    }
}

/// What is wrong with the rules of a server.
pub(super) fn check(name: &str, node: &Node, problems: &mut Vec<Problem>) {
    let superuser = node.text("superuser").unwrap_or("postgres");
    let roles: BTreeSet<&str> = node
        .named("role")
        .map(|(role, _)| role)
        .chain([superuser])
        .collect();
    let databases = node.named("database").map(|(database, _)| database);
    let databases: BTreeSet<&str> = databases.chain(["postgres"]).collect();
    for rule in node.list("hba") {
        check_names(name, rule, Column::Role, &roles, problems);
        check_names(name, rule, Column::Database, &databases, problems);
        check_address(rule, problems);
        check_method(rule, problems);
        check_options(rule, problems);
    }
}

fn check_names(
    service: &str,
    rule: &Node,
    column: Column,
    known: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    let (key, keywords): (_, &[&str]) = match column {
        Column::Role => ("role", &["all"]),
        Column::Database => ("database", &["all", "sameuser", "samerole", "replication"]),
    };
    let words = listed(rule, key);
    if words.is_empty() {
        let message = format!("this rule names no {key}, so it would match nothing");
        problems.push(Problem::error(message, &rule.origin(key)));
    }
    for (text, origin) in words {
        let word = Word::declared(column, text);
        let group = matches!(word, Word::Group(_));
        let Some(name) = word.name() else { continue };
        if known.contains(name) || (group && is_predefined(name)) {
            continue;
        }
        let message = format!("the {key} `{name}` is not declared in `postgres.{service}`");
        let problem = Problem::error(message, &origin);
        let words = known.iter().copied().chain(keywords.iter().copied());
        problems.push(match (column, name.strip_prefix('+')) {
            (Column::Role, Some(group)) if known.contains(group) => problem.help(format!(
                "the members of `{group}` are `+{group}`, without quotes"
            )),
            _ => did_you_mean(problem, name, words),
        });
    }
}

fn check_address(rule: &Node, problems: &mut Vec<Problem>) {
    let local = rule.text("type") == Some("local");
    let Some(address) = rule.get("address") else {
        if !local {
            let problem = Problem::error("this rule says no address".to_owned(), &rule.origin);
            problems.push(problem.help("say `address = \"10.0.0.0/8\"`, or `type = \"local\"`"));
        }
        return;
    };
    if local {
        let message = "connections over the local socket have no address".to_owned();
        problems.push(Problem::error(message, &address.origin));
        return;
    }
    let text = address.as_text().unwrap_or_default();
    if let Err(help) = address_form(text) {
        let message = format!("`{text}` is no network, address or host name that a rule can have");
        problems.push(Problem::error(message, &address.origin).help(help));
    }
}

/// Whether the server reads an address as one; else what to say instead.
fn address_form(text: &str) -> Result<(), String> {
    const FORMS: &str =
        "say a network as in `10.0.0.0/8`, a host name, `all`, `samehost` or `samenet`";
    if let Ok(address) = text.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Err(format!("did you mean `{text}/{bits}`?"));
    }
    if let Some((address, length)) = text.split_once(['/', ' ']) {
        return network_form(text, address, length).unwrap_or_else(|| Err(FORMS.to_owned()));
    }
    match crate::error::nearest(text, ["samehost", "samenet"]) {
        Some(close) if close != text && !text.contains('.') => {
            Err(format!("did you mean `{close}`?"))
        }
        _ if is_host_name(text) => Ok(()),
        _ => Err(FORMS.to_owned()),
    }
}

/// The same of an address and its length; `None` where it is no address.
fn network_form(text: &str, address: &str, length: &str) -> Option<Result<(), String>> {
    let of: IpAddr = address.parse().ok()?;
    let mask = length.trim().parse::<IpAddr>();
    Some(match mask.map(length_of) {
        Ok(Some(bits)) => Err(format!("did you mean `{address}/{bits}`?")),
        Err(_) if Network::read(text).is_some() => Ok(()),
        _ if of.is_ipv4() => Err("behind an IPv4 address stand 0 to 32 bits".to_owned()),
        _ => Err("behind an IPv6 address stand 0 to 128 bits".to_owned()),
    })
}

/// A host name, or the end of one, which begins with a dot; also `all`, `samehost` and `samenet`.
fn is_host_name(text: &str) -> bool {
    let host = text.strip_prefix('.').unwrap_or(text);
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.chars().all(fits)
    };
    // What ends with a number is an address that somebody mistyped.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|c| c.is_ascii_digit());
    !numeric && host.len() <= 253 && host.split('.').all(label)
}

fn check_method(rule: &Node, problems: &mut Vec<Problem>) {
    let kind = rule.text("type").unwrap_or("host");
    let method = rule.text("method").unwrap_or("scram-sha-256");
    let why = match (method, kind) {
        ("peer", kind) if kind != "local" => {
            "`peer` asks who a local socket belongs to: its type is `local`"
        }
        ("ident", "local") => "`ident` asks another machine: over the local socket it is `peer`",
        ("cert", kind) if kind != "hostssl" => {
            "`cert` wants a certificate of the client: its type is `hostssl`"
        }
        ("gss", "local") => "`gss` is for connections over the network",
        _ => return,
    };
    problems.push(Problem::error(why.to_owned(), &rule.origin("method")));
}

fn check_options(rule: &Node, problems: &mut Vec<Problem>) {
    for (name, entry) in rule.named("options") {
        if SECRET_OPTIONS.contains(&name) {
            let message = format!("`{name}` is a secret, and rules are shown in plans");
            problems.push(Problem::error(message, &entry.key));
        } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{name}` is no option of a rule");
            problems.push(Problem::error(message, &entry.key));
        } else if entry
            .node
            .as_text()
            .is_none_or(|text| text.is_empty() || text.chars().any(char::is_control))
        {
            let message = format!("the option `{name}` needs a value in one line");
            problems.push(Problem::error(message, &entry.node.origin));
        }
    }
}

/// Who is declared to be a member of what.
pub(super) fn memberships(node: &Node) -> Memberships {
    let roles = node.named("role");
    Memberships::new(roles.map(|(role, entry)| {
        (
            role.to_owned(),
            entry.node.texts("member_of").into_iter().collect(),
        )
    }))
}

/// Logins from the server's own machine, by what its rules say.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// Those that a rule lets try: role and database.
    pub succeed: Vec<(String, String)>,
    /// Those that are refused.
    pub refused: Vec<(String, String)>,
    /// Roles without whose memberships the server would not refuse them.
    pub through_groups: BTreeSet<String>,
}

/// What the rules say about each login that is known: of those that may log in, to the database that each is known to enter.
pub(super) fn tried(node: &Node, rules: &[Rule]) -> Tried {
    let members = memberships(node);
    let nobody = Memberships::default();
    let mut tried = Tried::default();
    for (role, database, _) in logins(node) {
        let database = database.unwrap_or_else(|| "postgres".to_owned());
        let login = at_home(&role, &database);
        match lets_try(rules, &login, &members) {
            Some(Ok(rule)) if asks_password(rule) => tried.succeed.push((role, database)),
            Some(Err(_)) => {
                // As long as it is no member the server lets it try.
                if !matches!(lets_try(rules, &login, &nobody), Some(Err(_))) {
                    tried.through_groups.insert(role.clone());
                }
                tried.refused.push((role, database));
            }
            _ => {}
        }
    }
    tried
}

fn at_home<'a>(role: &'a str, database: &'a str) -> Login<'a> {
    Login {
        role,
        database: Some(database),
        from: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        tls: true,
    }
}

fn asks_password(rule: &Rule) -> bool {
    matches!(rule.method_name(), "scram-sha-256" | "md5" | "password")
}

/// The roles that the rules let try a password from the server's own machine, without TLS, as logins are tried there.
pub(super) fn without_tls(node: &Node, rules: &[Rule]) -> Vec<String> {
    let members = memberships(node);
    let lets = |(role, database, _): &(String, Option<String>, Secret)| {
        let login = Login {
            tls: false,
            ..at_home(role, database.as_deref().unwrap_or("postgres"))
        };
        matches!(answer(rules, &login, &members), Answer::Rule(rule) if asks_password(rule))
    };
    let logins = logins(node).into_iter().filter(lets);
    logins.map(|(role, ..)| role).collect()
}
