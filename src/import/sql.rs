//! Statements that make roles, users, databases, extensions and rights, read into the environment's own words.

use crate::command::Dialect;
use crate::import::account::{Account, Key};
use crate::import::draft::{Draft, Toml};
use crate::secret::Secret;
use crate::services::postgres;
use crate::statement;

/// A server that statements are for.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub dialect: Dialect,
    /// As in `db` of `[postgres.db]`.
    pub name: String,
}

impl Server {
    pub fn table(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => "postgres",
            Dialect::MariaDb => "mariadb",
        }
    }
}

/// A statement of a text.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub line: usize,
    /// Its first words, for the account; never a value.
    pub head: String,
    pub what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// `\connect NAME`, `USE NAME`.
    Database(String),
    /// A command of the client that means nothing for the server.
    Nothing(&'static str),
    Statement(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// A name between quotes.
    Name(String),
    Text(String),
    Sign(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own.eq_ignore_ascii_case(word))
    }
}

/// The statements of a text. Commands of `psql` among them are read as such.
pub(super) fn read(dialect: Dialect, text: &str) -> Vec<Said> {
    let mut said = Vec::new();
    let mut part = String::new();
    let mut begun = 1;
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let command = dialect == Dialect::Postgres && trimmed.starts_with('\\');
        if !command {
            // `SELECT '...' \gexec` runs what it selects.
            match line.split_once("\\gexec") {
                Some((before, _)) => part.push_str(&format!("{before};\n")),
                None => part.push_str(&format!("{line}\n")),
            }
            continue;
        }
        if trimmed.starts_with("\\gexec") {
            part.push_str(";\n");
            continue;
        }
        statements(dialect, &part, begun, &mut said);
        part.clear();
        begun = at + 2;
        let mut words = trimmed.split_whitespace();
        let first = words.next().unwrap_or_default();
        let head = first.to_owned();
        let what = match first {
            "\\c" | "\\connect" => {
                let name = words
                    .next()
                    .unwrap_or_default()
                    .trim_matches(['"', '\'', ';']);
                What::Database(name.to_owned())
            }
            _ => What::Nothing("a command of the client"),
        };
        said.push(Said {
            line: at + 1,
            head,
            what,
        });
    }
    statements(dialect, &part, begun, &mut said);
    said
}

fn statements(dialect: Dialect, text: &str, begun: usize, said: &mut Vec<Said>) {
    for one in statement::split(dialect, text).0 {
        let tokens = tokens(dialect, one.text);
        let Some(first) = tokens.first() else {
            continue;
        };
        let line = begun + one.first - 1;
        // The usual way to make what may be there already.
        if first.is("do") {
            let body = tokens.iter().find_map(|token| match token {
                Token::Text(body) => Some(body.as_str()),
                _ => None,
            });
            let found = body.map(|body| inside(dialect, body)).unwrap_or_default();
            if !found.is_empty() {
                for statement in found {
                    said.push(Said {
                        line,
                        head: head(&statement),
                        what: What::Statement(statement),
                    });
                }
                continue;
            }
        }
        if first.is("select")
            && let Some(Token::Text(body)) = tokens.get(1)
            && body
                .trim_start()
                .to_ascii_uppercase()
                .starts_with("CREATE ")
        {
            let inner = self::tokens(dialect, body);
            said.push(Said {
                line,
                head: head(&inner),
                what: What::Statement(inner),
            });
            continue;
        }
        if first.is("use") {
            let name = tokens.get(1).and_then(name).unwrap_or_default();
            said.push(Said {
                line,
                head: "USE".to_owned(),
                what: What::Database(name),
            });
            continue;
        }
        said.push(Said {
            line,
            head: head(&tokens),
            what: What::Statement(tokens),
        });
    }
}

/// Statements within the body of a `DO` block that make something.
fn inside(dialect: Dialect, body: &str) -> Vec<Vec<Token>> {
    let mut found = Vec::new();
    let all = tokens(dialect, body);
    let mut at = 0;
    while at < all.len() {
        let starts = all[at].is("create") || all[at].is("alter") || all[at].is("grant");
        if starts {
            let end = all
                .iter()
                .skip(at)
                .position(|token| *token == Token::Sign(';'));
            let end = end.map_or(all.len(), |more| at + more);
            found.push(all.get(at..end).unwrap_or_default().to_vec());
            at = end;
        }
        at += 1;
    }
    found
}

fn head(tokens: &[Token]) -> String {
    let words = tokens.iter().take(2).map_while(|token| match token {
        Token::Word(word) => Some(word.to_ascii_uppercase()),
        _ => None,
    });
    let head: Vec<String> = words.collect();
    match head.is_empty() {
        true => "statement".to_owned(),
        false => head.join(" "),
    }
}

fn name(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.to_lowercase()),
        Token::Name(name) | Token::Text(name) => Some(name.clone()),
        Token::Sign(_) => None,
    }
}

fn tokens(dialect: Dialect, text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            c if c.is_whitespace() => rest = after,
            '-' if after.starts_with('-') => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after);
            }
            '#' if dialect == Dialect::MariaDb => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after);
            }
            '/' if after.starts_with('*') => {
                rest = after.split_once("*/").map_or("", |(_, after)| after);
            }
            '\'' | '"' | '`' => {
                let (text, after) = quoted(dialect, after, c);
                let is_name = c == '`' || (c == '"' && dialect == Dialect::Postgres);
                out.push(if is_name {
                    Token::Name(text)
                } else {
                    Token::Text(text)
                });
                rest = after;
            }
            '$' if dialect == Dialect::Postgres => {
                let tag = after
                    .find('$')
                    .map(|end| after.get(..end).unwrap_or_default());
                let tag =
                    tag.filter(|tag| tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
                match tag {
                    Some(tag) => {
                        let mark = format!("${tag}$");
                        let body = rest.get(mark.len()..).unwrap_or_default();
                        let (body, after) = body.split_once(mark.as_str()).unwrap_or((body, ""));
                        out.push(Token::Text(body.to_owned()));
                        rest = after;
                    }
                    None => {
                        out.push(Token::Sign('$'));
                        rest = after;
                    }
                }
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                out.push(Token::Word(word.to_owned()));
                rest = after;
            }
            c => {
                out.push(Token::Sign(c));
                rest = after;
            }
        }
    }
    out
}

fn quoted(dialect: Dialect, text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
                out.push(quote);
                continue;
            }
            return (out, text.get(at + c.len_utf8()..).unwrap_or_default());
        }
        match c {
            '\\' if dialect == Dialect::MariaDb && quote != '`' => {
                if let Some((_, next)) = chars.next() {
                    out.push(next);
                }
            }
            c => out.push(c),
        }
    }
    (out, "")
}

/// Whether a text holds only statements that become declarations (`true`), none of them (`false`), or both.
pub(super) fn declares(said: &[Said]) -> Option<bool> {
    let mut some = (false, false);
    for one in said {
        match &one.what {
            What::Statement(tokens) if is_declaration(tokens) => some.0 = true,
            What::Statement(tokens) if tokens.first().is_some_and(|first| first.is("show")) => {}
            What::Statement(_) => some.1 = true,
            _ => {}
        }
    }
    match some {
        (true, true) => None,
        (declares, _) => Some(declares),
    }
}

fn is_declaration(tokens: &[Token]) -> bool {
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) => word.to_ascii_uppercase(),
        _ => String::new(),
    };
    let second = word(1);
    match word(0).as_str() {
        "CREATE" => matches!(second.as_str(), "DATABASE" | "ROLE" | "USER" | "EXTENSION"),
        "ALTER" => matches!(
            second.as_str(),
            "DATABASE" | "ROLE" | "USER" | "DEFAULT" | "SYSTEM"
        ),
        "GRANT" | "REVOKE" | "FLUSH" => true,
        "SET" => second == "PASSWORD",
        "DROP" => matches!(second.as_str(), "DATABASE" | "ROLE" | "USER"),
        "DELETE" | "UPDATE" => tokens.iter().any(|token| token.is("mysql")),
        _ => false,
    }
}

/// Puts statements into a draft. Each is a key of the account, in `shown`, `begun` lines below its beginning.
pub(super) fn declare(
    said: &[Said],
    server: &Server,
    database: &mut Option<String>,
    draft: &mut Draft,
    account: &mut Account,
    (shown, begun): (&str, usize),
) {
    for one in said {
        let key = account.add(shown, begun + one.line, one.head.clone());
        match &one.what {
            What::Database(name) => {
                *database = Some(name.clone());
                account.noted(key, "says in which database the next statements are");
            }
            What::Nothing(reason) => account.noted(key, *reason),
            What::Statement(tokens) => {
                let mut reader = Reader {
                    tokens,
                    at: 0,
                    server,
                    database: database.as_deref(),
                    draft,
                    key,
                };
                match reader.statement() {
                    Ok(()) => account.used(key),
                    Err(Unsaid::Noted(reason)) => account.noted(key, reason),
                    Err(Unsaid::Left(reason)) => account.left(key, reason),
                }
            }
        }
    }
}

/// Why a statement is in no table.
enum Unsaid {
    Noted(String),
    Left(String),
}

fn left(reason: &str) -> Unsaid {
    Unsaid::Left(reason.to_owned())
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    server: &'a Server,
    database: Option<&'a str>,
    draft: &'a mut Draft,
    key: Key,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn eat(&mut self, word: &str) -> bool {
        let is = self.peek().is_some_and(|token| token.is(word));
        self.at += usize::from(is);
        is
    }

    fn eat_all(&mut self, words: &[&str]) -> bool {
        let begun = self.at;
        let all = words.iter().all(|word| self.eat(word));
        if !all {
            self.at = begun;
        }
        all
    }

    fn sign(&mut self, sign: char) -> bool {
        let is = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(is);
        is
    }

    fn name(&mut self) -> Option<String> {
        let name = self.peek().and_then(name)?;
        self.at += 1;
        Some(name)
    }

    fn text(&mut self) -> Option<String> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Some(text)
            }
            _ => None,
        }
    }

    fn postgres(&self) -> bool {
        self.server.dialect == Dialect::Postgres
    }

    fn statement(&mut self) -> Result<(), Unsaid> {
        if self.eat("create") {
            self.eat_all(&["or", "replace"]);
            if self.eat("database") || self.eat("schema") && !self.postgres() {
                return self.create_database();
            }
            if self.eat("role") || self.eat("user") {
                let user = self.tokens.get(1).is_some_and(|token| token.is("user"));
                return self.role(user);
            }
            if self.eat("extension") {
                return self.extension();
            }
        } else if self.eat("alter") {
            if self.eat("database") {
                return self.alter_database();
            }
            if self.eat("role") || self.eat("user") {
                return self.role(true);
            }
            if self.eat_all(&["default", "privileges"]) {
                return self.default_privileges();
            }
            if self.eat_all(&["system", "set"]) {
                return self.system_setting();
            }
        } else if self.eat("grant") {
            return match self.postgres() {
                true => self.grant_postgres(false),
                false => self.grant_mariadb(),
            };
        } else if self.eat("flush") {
            return Err(Unsaid::Noted("rights hold at once".to_owned()));
        } else if self.eat_all(&["set", "password", "for"]) {
            return self.set_password();
        } else if self.eat("drop") || self.eat("revoke") {
            let own = self.tokens.iter().any(|token| match token {
                Token::Word(word) => {
                    word.eq_ignore_ascii_case("test") || word.eq_ignore_ascii_case("public")
                }
                Token::Name(name) | Token::Text(name) => name == "test" || name.is_empty(),
                Token::Sign(_) => false,
            });
            return match own {
                true => Err(Unsaid::Noted(
                    "what nobody declares is named by `audit`".to_owned(),
                )),
                false => Err(left("what is taken away is not declared: rights are exact")),
            };
        } else if self.eat("select") || self.eat("show") {
            return Err(Unsaid::Noted("only asks".to_owned()));
        } else if (self.eat("delete") || self.eat("update"))
            && self.tokens.iter().any(|token| token.is("mysql"))
        {
            return Err(Unsaid::Noted(
                "accounts nobody declares are named by `audit`".to_owned(),
            ));
        }
        Err(left(
            "a statement that declares nothing: put it into a file of `init`, safe to run twice",
        ))
    }

    fn skip_exists(&mut self) {
        let _ = self.eat_all(&["if", "not", "exists"]) || self.eat_all(&["if", "exists"]);
    }

    fn create_database(&mut self) -> Result<(), Unsaid> {
        self.skip_exists();
        let name = self.name().ok_or_else(|| left("no name"))?;
        let mut wanted: Vec<(&str, String)> = Vec::new();
        self.eat("with");
        while self.at < self.tokens.len() {
            let _ = self.eat("default");
            let option = self.name().ok_or_else(|| left("not understood"))?;
            let option = match option.as_str() {
                "character" if self.eat("set") => "charset".to_owned(),
                _ => option,
            };
            let _ = self.sign('=');
            let value = self.name().unwrap_or_default();
            match option.as_str() {
                "owner" => wanted.push(("owner", value)),
                "encoding" => wanted.push(("encoding", value.to_uppercase())),
                "lc_collate" | "locale" | "lc_ctype" => wanted.push(("locale", value)),
                "charset" => wanted.push(("charset", value)),
                "collate" => wanted.push(("collation", value)),
                "template" | "tablespace" => {}
                "connection" => {}
                _ => return Err(left("an option of the database that is not understood")),
            }
        }
        let table = self
            .draft
            .table(&[self.server.table(), &self.server.name, "database", &name]);
        table.from.push(self.key);
        for (option, value) in wanted {
            table.set(option, Toml::Text(value), []);
        }
        Ok(())
    }

    fn alter_database(&mut self) -> Result<(), Unsaid> {
        let name = self.name().ok_or_else(|| left("no name"))?;
        if self.eat_all(&["owner", "to"]) {
            let owner = self.name().ok_or_else(|| left("no name"))?;
            let table =
                self.draft
                    .table(&[self.server.table(), &self.server.name, "database", &name]);
            table.set("owner", Toml::Text(owner), [self.key]);
            return Ok(());
        }
        Err(left("settings of a single database are not declared"))
    }

    /// `[CREATE|ALTER] [ROLE|USER] ...`, for either server.
    fn role(&mut self, login: bool) -> Result<(), Unsaid> {
        self.skip_exists();
        let name = self.name().ok_or_else(|| left("no name"))?;
        match self.postgres() {
            true => self.role_postgres(name, login),
            false => self.user_mariadb(name),
        }
    }

    fn role_postgres(&mut self, name: String, login: bool) -> Result<(), Unsaid> {
        let alters = self.tokens.first().is_some_and(|token| token.is("alter"));
        let server = self.server.name.clone();
        let path = ["postgres", server.as_str(), "role", name.as_str()];
        if self.eat("set") {
            let setting = self.name().ok_or_else(|| left("no name"))?;
            let _ = self.eat("to") || self.sign('=');
            let value = self.tokens.get(self.at..).unwrap_or_default();
            let value: Vec<String> = value.iter().filter_map(self::name).collect();
            let table = self.draft.table(&path);
            let mut pairs = match table.get("settings") {
                Some(Toml::Inline(pairs)) => pairs.clone(),
                _ => Vec::new(),
            };
            pairs.retain(|(known, _)| *known != setting);
            pairs.push((setting, Toml::Text(value.join(", "))));
            table.set("settings", Toml::Inline(pairs), [self.key]);
            return Ok(());
        }
        self.eat("with");
        let mut options: Vec<(&str, Toml)> = Vec::new();
        let mut logs_in = login;
        while self.at < self.tokens.len() {
            let option = self.name().ok_or_else(|| left("not understood"))?;
            let flag = |key: &'static str, on: bool| (key, Toml::Bool(on));
            match option.as_str() {
                "encrypted" | "unencrypted" => {}
                "password" => {
                    if self.eat("null") {
                        continue;
                    }
                    let password = self
                        .text()
                        .ok_or_else(|| left("its password is made at run time"))?;
                    let secret = self
                        .draft
                        .secret(&format!("{name}_PASSWORD"), Some(Secret::new(password)));
                    options.push(("password", secret));
                }
                "login" => logs_in = true,
                "nologin" => logs_in = false,
                "superuser" => options.push(flag("superuser", true)),
                "createdb" => options.push(flag("createdb", true)),
                "createrole" | "createuser" => options.push(flag("createrole", true)),
                "replication" => options.push(flag("replication", true)),
                "bypassrls" => options.push(flag("bypassrls", true)),
                "noinherit" => options.push(flag("inherit", false)),
                "nosuperuser" | "nocreatedb" | "nocreaterole" | "noreplication" | "nobypassrls"
                | "inherit" => {}
                "connection" if self.eat("limit") => {
                    let number = self.name().and_then(|number| number.parse().ok());
                    options.push((
                        "connection_limit",
                        Toml::Int(number.ok_or_else(|| left("not understood"))?),
                    ));
                }
                "valid" if self.eat("until") => {
                    options.push(("valid_until", Toml::Text(self.text().unwrap_or_default())));
                }
                "in" if self.eat("role") || self.eat("group") => {
                    let mut groups = Vec::new();
                    while let Some(group) = self.name() {
                        groups.push(group);
                        if !self.sign(',') {
                            break;
                        }
                    }
                    options.push(("member_of", Toml::texts(groups)));
                }
                _ => return Err(left("an option of the role that is not understood")),
            }
        }
        let table = self.draft.table(&path);
        table.from.push(self.key);
        if !logs_in && !alters {
            table.set("login", Toml::Bool(false), []);
        }
        for (option, value) in options {
            table.set(option, value, []);
        }
        Ok(())
    }

    fn host(&mut self) -> Option<String> {
        if !self.sign('@') {
            return Some("%".to_owned());
        }
        // An unquoted address is several tokens.
        let mut host = self.name()?;
        while self.sign('.') {
            host.push('.');
            host.push_str(&self.name()?);
        }
        Some(host)
    }

    fn user_mariadb(&mut self, name: String) -> Result<(), Unsaid> {
        let host = self.host().ok_or_else(|| left("not understood"))?;
        let password = self.identified(&name)?;
        if name == "root" {
            return Err(Unsaid::Noted(
                "`root` comes in over the socket, without a password".to_owned(),
            ));
        }
        let account = format!("{name}@{host}");
        let secret = password.map(|text| {
            self.draft
                .secret(&format!("{name}_PASSWORD"), Some(Secret::new(text)))
        });
        let table = self
            .draft
            .table(&["mariadb", &self.server.name, "user", &account]);
        table.from.push(self.key);
        if let Some(secret) = secret {
            table.set("password", secret, []);
        }
        Ok(())
    }

    /// `IDENTIFIED [WITH plugin] BY 'password'`.
    fn identified(&mut self, _name: &str) -> Result<Option<String>, Unsaid> {
        if !self.eat("identified") {
            return match self.at < self.tokens.len()
                && !self.peek().is_some_and(|token| token.is("with"))
            {
                true => Err(left("an option of the user that is not understood")),
                false => Ok(None),
            };
        }
        if self.eat("with") || self.eat("via") {
            let _ = self.name();
        }
        if self.eat("by") {
            if self.eat("password") {
                return Err(left("its password is given as a hash"));
            }
            return match self.text() {
                Some(text) => Ok(Some(text)),
                None => Err(left("its password is made at run time")),
            };
        }
        Err(left("how it proves who it is is not understood"))
    }

    fn set_password(&mut self) -> Result<(), Unsaid> {
        let name = self.name().ok_or_else(|| left("no name"))?;
        let host = self.host().unwrap_or_else(|| "%".to_owned());
        if name == "root" {
            return Err(Unsaid::Noted(
                "`root` comes in over the socket, without a password".to_owned(),
            ));
        }
        let password = self.tokens.iter().rev().find_map(|token| match token {
            Token::Text(text) => Some(text.clone()),
            _ => None,
        });
        let password = password.ok_or_else(|| left("not understood"))?;
        let secret = self
            .draft
            .secret(&format!("{name}_PASSWORD"), Some(Secret::new(password)));
        let table = self.draft.table(&[
            "mariadb",
            &self.server.name,
            "user",
            &format!("{name}@{host}"),
        ]);
        table.set("password", secret, [self.key]);
        Ok(())
    }

    fn extension(&mut self) -> Result<(), Unsaid> {
        self.skip_exists();
        let name = self.name().ok_or_else(|| left("no name"))?;
        let databases: Vec<String> = self
            .draft
            .tables()
            .iter()
            .filter(|table| {
                table.path.starts_with(&[
                    "postgres".to_owned(),
                    self.server.name.clone(),
                    "database".to_owned(),
                ])
            })
            .filter_map(|table| table.path.get(3).cloned())
            .collect();
        let database = match (self.database, databases.as_slice()) {
            (Some("postgres") | None, [one]) => one.clone(),
            (Some(name), _) => name.to_owned(),
            _ => return Err(left("which database it is in is not known")),
        };
        let table = self
            .draft
            .table(&["postgres", &self.server.name, "database", &database]);
        table.push("extensions", Toml::Text(name), [self.key]);
        Ok(())
    }

    fn system_setting(&mut self) -> Result<(), Unsaid> {
        let name = self.name().ok_or_else(|| left("no name"))?;
        let _ = self.eat("to") || self.sign('=');
        let value = self.tokens.get(self.at..).unwrap_or_default();
        let value: Vec<String> = value.iter().filter_map(self::name).collect();
        let value = setting(&name, &value.join(", "));
        let table = self
            .draft
            .table(&["postgres", &self.server.name, "settings"]);
        table.set(&name, value, [self.key]);
        Ok(())
    }

    fn list(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(mut name) = self.name() {
            if self.sign('.')
                && let Some(own) = self.name()
            {
                name = format!("{name}.{own}");
            }
            names.push(name);
            if !self.sign(',') {
                break;
            }
        }
        names
    }

    fn privileges(&mut self, until: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        let mut one = String::new();
        while let Some(token) = self.peek().cloned() {
            if until.iter().any(|word| token.is(word)) {
                break;
            }
            self.at += 1;
            match token {
                Token::Sign(',') => all.push(std::mem::take(&mut one)),
                Token::Sign(sign) => one.push(sign),
                Token::Word(word) => {
                    if !one.is_empty() {
                        one.push(' ');
                    }
                    one.push_str(&word.to_uppercase());
                }
                Token::Name(name) | Token::Text(name) => one.push_str(&name),
            }
        }
        all.push(one);
        all.into_iter()
            .map(|one| match one.as_str() {
                "ALL PRIVILEGES" => "ALL".to_owned(),
                _ => one,
            })
            .collect()
    }

    fn default_privileges(&mut self) -> Result<(), Unsaid> {
        if self.eat("for") {
            let _ = self.eat("role") || self.eat("user");
            let _ = self.list();
        }
        let schema = match self.eat_all(&["in", "schema"]) {
            true => self.name().unwrap_or_default(),
            false => "public".to_owned(),
        };
        match self.eat("grant") {
            true => self.grant_in(true, Some(schema)),
            false => Err(left(
                "default privileges that are taken away are not declared",
            )),
        }
    }

    fn grant_postgres(&mut self, future: bool) -> Result<(), Unsaid> {
        self.grant_in(future, None)
    }

    fn grant_in(&mut self, future: bool, in_schema: Option<String>) -> Result<(), Unsaid> {
        let privileges = self.privileges(&["on", "to"]);
        let server = self.server.name.clone();
        if self.eat("to") {
            // Roles, not rights: names are as the tokens have them.
            let groups: Vec<String> = privileges.iter().map(|name| name.to_lowercase()).collect();
            for role in self.list() {
                let key = self.key;
                let table = self.draft.table(&["postgres", &server, "role", &role]);
                for group in &groups {
                    table.push("member_of", Toml::Text(group.clone()), [key]);
                }
            }
            return Ok(());
        }
        self.eat("on");
        let mut schema = in_schema;
        let kind = if future {
            let kind = self.name().unwrap_or_default();
            match kind.as_str() {
                "tables" | "sequences" | "functions" | "types" => kind,
                _ => return Err(left("default privileges on this are not declared")),
            }
        } else if self.eat("database") {
            "database".to_owned()
        } else if self.eat("schema") {
            "schema".to_owned()
        } else if self.eat("all") {
            let kind = self.name().unwrap_or_default();
            if !self.eat_all(&["in", "schema"]) {
                return Err(left("not understood"));
            }
            schema = self.name();
            kind
        } else {
            return Err(left(
                "rights on single objects: write them as `tables = { NAME = [...] }`",
            ));
        };
        let objects = match kind.as_str() {
            "database" | "schema" => self.list(),
            _ => Vec::new(),
        };
        if !self.eat("to") {
            return Err(left("not understood"));
        }
        let roles = self.list();
        if kind == "database" {
            return self.grant_on_databases(&privileges, &objects, &roles);
        }
        let database = self.one_database()?;
        let allowed: &[&str] = match kind.as_str() {
            "tables" => postgres::TABLE_RIGHTS,
            "sequences" => postgres::SEQUENCE_RIGHTS,
            "functions" => postgres::FUNCTION_RIGHTS,
            "types" => postgres::TYPE_RIGHTS,
            "schema" => &["USAGE", "CREATE", "ALL"],
            _ => return Err(left("rights on this are not understood")),
        };
        if let Some(strange) = privileges
            .iter()
            .find(|one| !allowed.contains(&one.as_str()))
        {
            return Err(Unsaid::Left(format!("`{strange}` is not understood here")));
        }
        let schemas = match kind.as_str() {
            "schema" => objects,
            _ => vec![schema.unwrap_or_else(|| "public".to_owned())],
        };
        for role in &roles {
            let role = if role == "public" { "PUBLIC" } else { role };
            for schema in &schemas {
                let key = self.key;
                let table = self.entry(role, &database, schema);
                let name = if kind == "schema" {
                    "schema_privileges"
                } else {
                    kind.as_str()
                };
                for privilege in &privileges {
                    if kind == "schema" && privilege == "ALL" {
                        table.push(name, Toml::Text("USAGE".to_owned()), [key]);
                        table.push(name, Toml::Text("CREATE".to_owned()), [key]);
                    } else {
                        table.push(name, Toml::Text(privilege.clone()), [key]);
                    }
                }
                if future {
                    table.set("future", Toml::Bool(true), [key]);
                }
            }
        }
        Ok(())
    }

    /// The database that statements without one are about.
    fn one_database(&self) -> Result<String, Unsaid> {
        if let Some(name) = self.database.filter(|name| *name != "postgres") {
            return Ok(name.to_owned());
        }
        let declared: Vec<&String> = self
            .draft
            .tables()
            .iter()
            .filter(|table| {
                table.path.len() == 4
                    && table.path[0] == "postgres"
                    && table.path[1] == self.server.name
                    && table.path[2] == "database"
            })
            .filter_map(|table| table.path.get(3))
            .collect();
        match declared.as_slice() {
            [one] => Ok((*one).clone()),
            _ => Err(left("which database it is in is not known")),
        }
    }

    fn grant_on_databases(
        &mut self,
        privileges: &[String],
        databases: &[String],
        roles: &[String],
    ) -> Result<(), Unsaid> {
        for database in databases {
            for role in roles {
                let key = self.key;
                let role = if role == "public" { "PUBLIC" } else { role };
                let table = self.entry(role, database, "public");
                for privilege in privileges {
                    let all = ["CREATE", "TEMPORARY"];
                    match privilege.as_str() {
                        "ALL" => all.iter().for_each(|one| {
                            table.push("privileges", Toml::Text((*one).to_owned()), [key])
                        }),
                        "CREATE" => {
                            table.push("privileges", Toml::Text("CREATE".to_owned()), [key])
                        }
                        "TEMPORARY" | "TEMP" => {
                            table.push("privileges", Toml::Text("TEMPORARY".to_owned()), [key])
                        }
                        "CONNECT" => table.from.push(key),
                        _ => return Err(left("a right on the database that is not understood")),
                    }
                }
            }
        }
        Ok(())
    }

    /// The entry of a role, database and schema.
    fn entry(
        &mut self,
        role: &str,
        database: &str,
        schema: &str,
    ) -> &mut crate::import::draft::Table {
        let path = [
            "postgres".to_owned(),
            self.server.name.clone(),
            "grant".to_owned(),
        ];
        let text = |table: &crate::import::draft::Table,
                    name: &str,
                    wanted: &str,
                    default: &str| match table.get(name) {
            Some(Toml::Text(own)) => own == wanted,
            _ => wanted == default,
        };
        let there = self.draft.tables().iter().position(|table| {
            table.many
                && table.path == path
                && text(table, "role", role, "")
                && text(table, "database", database, "")
                && text(table, "schema", schema, "public")
        });
        match there {
            Some(at) => &mut self.draft.tables_mut()[at],
            None => {
                let table = self
                    .draft
                    .another(&["postgres", &self.server.name, "grant"]);
                table.set("role", Toml::Text(role.to_owned()), []);
                table.set("database", Toml::Text(database.to_owned()), []);
                if schema != "public" {
                    table.set("schema", Toml::Text(schema.to_owned()), []);
                }
                table
            }
        }
    }

    fn grant_mariadb(&mut self) -> Result<(), Unsaid> {
        let privileges = self.privileges(&["on", "to"]);
        if !self.eat("on") {
            return Err(left("roles of MariaDB are not read yet"));
        }
        self.eat("table");
        let mut level = String::new();
        while let Some(token) = self.peek().cloned() {
            if token.is("to") {
                break;
            }
            self.at += 1;
            match token {
                Token::Word(word) | Token::Name(word) | Token::Text(word) => {
                    level.push_str(&word.replace("\\_", "_"))
                }
                Token::Sign(sign) => level.push(sign),
            }
        }
        self.eat("to");
        if !level.contains('.') {
            return Err(left("which database it is about is not said"));
        }
        let mut accounts = Vec::new();
        loop {
            let name = self.name().ok_or_else(|| left("no name"))?;
            let host = self.host().ok_or_else(|| left("not understood"))?;
            let password = match self.peek().is_some_and(|token| token.is("identified")) {
                true => self.identified(&name)?,
                false => None,
            };
            accounts.push((name, host, password));
            if !self.sign(',') {
                break;
            }
        }
        let mut privileges: Vec<String> = privileges;
        if self.eat_all(&["with", "grant", "option"]) {
            privileges.push("GRANT OPTION".to_owned());
        }
        if self.at < self.tokens.len() {
            return Err(left("an option of the grant that is not understood"));
        }
        if accounts.iter().all(|(name, ..)| name == "root") {
            return Err(Unsaid::Noted(
                "`root` comes in over the socket and has every right".to_owned(),
            ));
        }
        for (name, host, password) in accounts {
            let secret = password.map(|text| {
                self.draft
                    .secret(&format!("{name}_PASSWORD"), Some(Secret::new(text)))
            });
            let key = self.key;
            let table = self.draft.table(&[
                "mariadb",
                &self.server.name,
                "user",
                &format!("{name}@{host}"),
            ]);
            if let Some(secret) = secret {
                table.set("password", secret, [key]);
            }
            grant(table, &level, &privileges, key);
        }
        Ok(())
    }
}

/// Rights of a user of MariaDB, beside those that it has already.
pub(super) fn grant(
    table: &mut crate::import::draft::Table,
    level: &str,
    privileges: &[String],
    key: Key,
) {
    let mut pairs = match table.get("grants") {
        Some(Toml::Inline(pairs)) => pairs.clone(),
        _ => Vec::new(),
    };
    let at = pairs
        .iter()
        .position(|(known, _)| known == level)
        .unwrap_or_else(|| {
            pairs.push((level.to_owned(), Toml::List(Vec::new())));
            pairs.len() - 1
        });
    if let Some((_, Toml::List(list))) = pairs.get_mut(at) {
        for privilege in privileges {
            let privilege = Toml::Text(privilege.clone());
            if !list.contains(&privilege) {
                list.push(privilege);
            }
        }
    }
    let from: Vec<Key> = table
        .entries
        .iter()
        .filter(|entry| entry.name == "grants")
        .flat_map(|entry| entry.from.clone())
        .chain([key])
        .collect();
    table.set("grants", Toml::Inline(pairs), from);
}

/// The value of a setting of a server: a number, a boolean, a list, or a text.
pub(super) fn setting(name: &str, value: &str) -> Toml {
    let value = value.trim();
    let list = matches!(
        name,
        "shared_preload_libraries" | "search_path" | "session_preload_libraries"
    );
    match value {
        _ if list => Toml::texts(
            value
                .split(',')
                .map(|one| one.trim().to_owned())
                .filter(|one| !one.is_empty()),
        ),
        "on" | "ON" | "true" => Toml::Bool(true),
        "off" | "OFF" | "false" => Toml::Bool(false),
        _ => match value.parse::<i64>() {
            Ok(number) if !value.starts_with('0') || value == "0" => Toml::Int(number),
            _ => Toml::Text(value.to_owned()),
        },
    }
}

/// Databases and rights of a whole draft, put in order: who owns a database needs no rights in it, and who was given all of it owns it.
pub(super) fn tidy(draft: &mut Draft) {
    let path_of = |table: &crate::import::draft::Table| {
        (table.path.first().cloned(), table.path.get(1).cloned())
    };
    let text = |table: &crate::import::draft::Table, name: &str| match table.get(name) {
        Some(Toml::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let grants: Vec<(String, String, String, bool, Vec<Key>)> = draft
        .tables()
        .iter()
        .filter(|table| table.many)
        .filter_map(|table| {
            let (_, server) = path_of(table);
            let all = matches!(table.get("privileges"), Some(Toml::List(list)) if list.len() == 2);
            let keys = table
                .entries
                .iter()
                .flat_map(|entry| entry.from.clone())
                .collect();
            Some((
                server?,
                text(table, "role")?,
                text(table, "database")?,
                all,
                keys,
            ))
        })
        .collect();
    for (server, role, database, all, keys) in &grants {
        let sole = grants
            .iter()
            .filter(|one| one.0 == *server && one.2 == *database && one.3)
            .count()
            == 1;
        if !*all || !sole || role == "PUBLIC" {
            continue;
        }
        let table = draft.table(&["postgres", server, "database", database]);
        if table.get("owner").is_none() {
            table.set_with(
                "owner",
                Toml::Text(role.clone()),
                keys.clone(),
                "was given all of it",
            );
        }
    }
    let owned: Vec<(String, String, String, usize)> = draft
        .tables()
        .iter()
        .enumerate()
        .filter(|(_, table)| table.path.get(2).is_some_and(|part| part == "database"))
        .filter_map(|(at, table)| {
            Some((
                table.path.get(1)?.clone(),
                text(table, "owner")?,
                table.path.get(3)?.clone(),
                at,
            ))
        })
        .collect();
    for (server, role, database, _) in owned {
        let is_own = |table: &crate::import::draft::Table| {
            table.many
                && table.path.get(1) == Some(&server)
                && text(table, "role").as_ref() == Some(&role)
                && text(table, "database").as_ref() == Some(&database)
        };
        draft.remove_many(&is_own, &["postgres", &server, "database", &database]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::draft::Secrets;

    fn import(dialect: Dialect, text: &str) -> (String, Account) {
        let server = Server {
            dialect,
            name: "db".to_owned(),
        };
        let (mut draft, mut account) = (Draft::default(), Account::default());
        let said = read(dialect, text);
        declare(
            &said,
            &server,
            &mut None,
            &mut draft,
            &mut account,
            ("x.sql", 0),
        );
        tidy(&mut draft);
        account.close();
        let file = draft.render(Secrets::Env, &account).text;
        let bare: Vec<String> = file
            .lines()
            .map(|line| {
                line.split("  #")
                    .next()
                    .unwrap_or_default()
                    .split(" # ")
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .to_owned()
            })
            .collect();
        (bare.join("\n"), account)
    }

    #[test]
    fn postgresql_is_declared() {
        let text = "-- c\nCREATE USER app WITH ENCRYPTED PASSWORD 'p''w' CREATEDB;\nCREATE ROLE readers NOLOGIN;\nCREATE DATABASE shop OWNER app ENCODING 'utf8' TEMPLATE template0;\nGRANT ALL PRIVILEGES ON DATABASE shop TO app;\n\\c shop\nCREATE EXTENSION IF NOT EXISTS \"uuid-ossp\";\nGRANT SELECT ON ALL TABLES IN SCHEMA public TO readers;\nALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO readers;\nALTER ROLE app SET timezone TO 'UTC';\nDO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname='etl') THEN CREATE ROLE etl LOGIN PASSWORD 'x'; END IF; END $$;\nSELECT 'CREATE DATABASE more' WHERE NOT EXISTS (SELECT FROM pg_database)\\gexec\nCREATE TABLE t (i int);\n";
        let (file, account) = import(Dialect::Postgres, text);
        assert!(
            file.contains(
                "[postgres.db.role.app]\npassword = { env = \"APP_PASSWORD\" }\ncreatedb = true"
            ),
            "{file}"
        );
        assert!(file.contains("settings = { timezone = \"UTC\" }"), "{file}");
        assert!(
            file.contains("[postgres.db.role.readers]\nlogin = false"),
            "{file}"
        );
        assert!(
            file.contains("owner = \"app\"\nencoding = \"UTF8\"\nextensions = [\"uuid-ossp\"]"),
            "{file}"
        );
        assert!(
            file.contains(
                "role = \"readers\"\ndatabase = \"shop\"\ntables = [\"SELECT\"]\nfuture = true"
            ),
            "{file}"
        );
        assert!(
            !file.contains("role = \"app\""),
            "the owner needs none: {file}"
        );
        assert!(
            file.contains("[postgres.db.role.etl]") && file.contains("[postgres.db.database.more]"),
            "{file}"
        );
        assert!(!file.contains("p'w"));
        let count = account.count();
        assert_eq!(
            (count.used, count.noted, count.left),
            (10, 1, 1),
            "{:?}",
            account.items()
        );
    }

    #[test]
    fn mariadb_is_declared() {
        let text = "CREATE DATABASE IF NOT EXISTS `ivr` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\nCREATE USER IF NOT EXISTS 'u'@'%' IDENTIFIED BY 'p';\nGRANT ALL PRIVILEGES ON ivr.* TO 'u'@'%';\nGRANT SELECT, INSERT ON `ivr`.calls TO r@localhost IDENTIFIED BY 'q' WITH GRANT OPTION;\nALTER USER 'root'@'localhost' IDENTIFIED BY 'r';\nDELETE FROM mysql.user WHERE User='';\nDROP DATABASE IF EXISTS test;\nFLUSH PRIVILEGES;\nINSERT INTO x VALUES (1);\n";
        let (file, account) = import(Dialect::MariaDb, text);
        assert!(file.contains("[mariadb.db.database.ivr]\ncharset = \"utf8mb4\"\ncollation = \"utf8mb4_unicode_ci\""), "{file}");
        assert!(file.contains("[mariadb.db.user.\"u@%\"]\npassword = { env = \"U_PASSWORD\" }\ngrants = { \"ivr.*\" = [\"ALL\"] }"), "{file}");
        assert!(
            file.contains("\"ivr.calls\" = [\"SELECT\", \"INSERT\", \"GRANT OPTION\"]"),
            "{file}"
        );
        let count = account.count();
        assert_eq!(
            (count.used, count.noted, count.left),
            (4, 4, 1),
            "{:?}",
            account.items()
        );
    }

    #[test]
    fn a_script_is_declarations_or_not() {
        let is = |text: &str| declares(&read(Dialect::Postgres, text));
        assert_eq!(is("CREATE ROLE a; GRANT a TO b;"), Some(true));
        assert_eq!(is("CREATE TABLE a (b int);"), Some(false));
        assert_eq!(is("CREATE ROLE a; CREATE TABLE a (b int);"), None);
    }
}
