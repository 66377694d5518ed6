//! Templates, strict and without escaping: a template lays out, a value enters a file only through the filter of its format,
//! which quotes or refuses. Two sorts: strings of an environment file (expressions only), and whole files.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use crate::command::Text;
use crate::quote;
use crate::secret::Secret;

/// The templates that come with the program, by name; a user may lay a file of the same name beside the environment.
pub const BUILT_IN: &[(&str, &str)] = &[
    (
        "docker-compose.yml.j2",
        include_str!("../templates/docker-compose.yml.j2"),
    ),
    (
        "provision.cnf.j2",
        include_str!("../templates/provision.cnf.j2"),
    ),
    ("pgdg.asc", include_str!("../templates/pgdg.asc")),
    (
        "server/gunicorn.service.j2",
        include_str!("../templates/server/gunicorn.service.j2"),
    ),
    (
        "server/gunicorn.socket.j2",
        include_str!("../templates/server/gunicorn.socket.j2"),
    ),
    (
        "server/gunicorn.conf.py.j2",
        include_str!("../templates/server/gunicorn.conf.py.j2"),
    ),
    (
        "server/nginx.conf.j2",
        include_str!("../templates/server/nginx.conf.j2"),
    ),
    (
        "server/logrotate.j2",
        include_str!("../templates/server/logrotate.j2"),
    ),
    (
        "images/postgres.Dockerfile",
        include_str!("../templates/images/postgres.Dockerfile"),
    ),
    (
        "images/postgres-entrypoint.sh",
        include_str!("../templates/images/postgres-entrypoint.sh"),
    ),
    (
        "images/mariadb.Dockerfile",
        include_str!("../templates/images/mariadb.Dockerfile"),
    ),
    (
        "images/mariadb-entrypoint.sh",
        include_str!("../templates/images/mariadb-entrypoint.sh"),
    ),
    (
        "images/mariadb-healthcheck.sh",
        include_str!("../templates/images/mariadb-healthcheck.sh"),
    ),
    (
        "images/python.Dockerfile",
        include_str!("../templates/images/python.Dockerfile"),
    ),
    (
        "images/django.Dockerfile.j2",
        include_str!("../templates/images/django.Dockerfile.j2"),
    ),
    (
        "images/django-entrypoint.sh",
        include_str!("../templates/images/django-entrypoint.sh"),
    ),
];

/// Instructions that a string may take, and a file: a Compose file of 10,000 services takes a tenth of it.
const VALUE_FUEL: u64 = 100_000;
const FILE_FUEL: u64 = 100_000_000;
/// The same where the user wrote that template: fuel bounds memory too, at 64 bytes each.
const OWN_FILE_FUEL: u64 = 20_000_000;
/// Those that a user's own file may take: some 100,000 lines.
const WRITTEN_FUEL: u64 = 2_000_000;
/// How deep an expression may nest: a call goes down for each level before any limit is asked, and the stack has an end.
const DEEPEST: usize = 400;
/// Fuel does not bound sums and products of lists: one that takes longer than this has no end.
const PATIENCE: Duration = Duration::from_secs(3);
/// The stack of what is not waited for: that of a main thread.
const STACK: usize = 8 * 1024 * 1024;

/// A value that strings of an environment file may name.
#[derive(Clone, Debug)]
pub enum Datum {
    /// A string.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A boolean.
    Bool(bool),
    /// A secret: what touches it is one.
    Secret(Secret),
    /// Values by name.
    Map(Arc<BTreeMap<String, Datum>>),
}

impl Datum {
    /// Values by name.
    pub fn map(entries: impl IntoIterator<Item = (String, Datum)>) -> Self {
        Datum::Map(Arc::new(entries.into_iter().collect()))
    }
}

/// What a string became.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The text; a secret as a whole if it touched one.
    pub text: Text,
    /// The first two names of every path it looked up: `("postgres", "analytics")`.
    pub touched: BTreeSet<(String, String)>,
}

impl Rendered {
    fn new(text: String, touch: &Touch) -> Self {
        let secret = touch.has_secret();
        let touch = touch.0.lock().unwrap_or_else(PoisonError::into_inner);
        Rendered {
            text: match secret {
                true => Text::secret(Secret::new(text)),
                false => Text::plain(text),
            },
            touched: touch.services.clone(),
        }
    }
}

/// Why a template cannot be rendered; holds no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// One sentence.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Byte range in the template.
    pub range: Range<usize>,
}

/// Whether a string has anything to render.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Renders a string of an environment file: `{{ expressions }}` over `names`, nothing else.
///
/// # Errors
/// The first mistake: a name that is not there, a block, wrong syntax.
pub fn value(template: &str, names: &BTreeMap<String, Datum>) -> Result<Rendered, Mistake> {
    if !is_template(template) {
        let text = Text::plain(template);
        return Ok(Rendered {
            text,
            touched: BTreeSet::new(),
        });
    }
    if let Some(at) = template.find("{%") {
        return Err(Mistake {
            message: "a value holds expressions only, no `{% %}`".to_owned(),
            line: 1,
            range: at..at + 2,
        });
    }
    let touch = Touch::default();
    let context = Value::from_object(Names {
        entries: Arc::new(names.clone()),
        path: Vec::new(),
        touch: touch.clone(),
    });
    let whole = |message: &str| Mistake {
        message: message.to_owned(),
        line: 1,
        range: 0..template.len(),
    };
    let shape = Shape::of(template);
    if shape.is_too_deep() {
        return Err(whole(TOO_DEEP));
    }
    let (text, touched) = (template.to_owned(), touch.clone());
    let render = move || {
        let rendered = environment().render_str(&text, context);
        rendered.map_err(|error| mistake(&error, &text, touched.has_secret()))
    };
    let rendered = shape.render(render).unwrap_or(Err(whole(ENDLESS)))?;
    Ok(Rendered::new(rendered, &touch))
}

/// Renders a file that the user wrote as a template of a name, over `names`: blocks, loops and includes of its neighbours too.
///
/// # Errors
/// A sentence that names the template and its line; never a value.
pub fn written(
    name: &str,
    templates: &BTreeMap<String, Arc<str>>,
    names: &BTreeMap<String, Datum>,
) -> Result<Rendered, String> {
    let source = templates
        .get(name)
        .ok_or_else(|| format!("there is no template `{name}`"))?;
    let touch = Touch::default();
    let context = Value::from_object(Names {
        entries: Arc::new(names.clone()),
        path: Vec::new(),
        touch: touch.clone(),
    });
    let mut shape = Shape::of(source);
    if shape.is_too_deep() {
        return Err(format!("template `{name}`: {TOO_DEEP}"));
    }
    if ["include", "import", "extends"]
        .iter()
        .any(|word| source.contains(word))
    {
        shape.grows |= templates.values().any(|text| Shape::of(text).grows);
    }
    let mut environment = environment();
    environment.set_fuel(Some(WRITTEN_FUEL));
    formats(&mut environment);
    let neighbours = templates.clone();
    environment.set_loader(move |name| match neighbours.get(name) {
        Some(text) if Shape::of(text).is_too_deep() => Err(refused(TOO_DEEP)),
        text => Ok(text.map(|text| text.to_string())),
    });
    let (of, text, neighbours) = (name.to_owned(), Arc::clone(source), templates.clone());
    let touched = touch.clone();
    let render = move || {
        environment
            .render_named_str(&of, &text, context)
            .map_err(|error| {
                let inner = innermost(&error);
                let at = inner.name().unwrap_or(&of);
                let text = neighbours.get(at).map_or("", |text| text);
                let mistake = mistake(&error, text, touched.has_secret());
                format!(
                    "template `{at}`, line {}: {}",
                    mistake.line, mistake.message
                )
            })
    };
    let endless = || Err(format!("template `{name}`: {ENDLESS}"));
    let rendered = shape.render(render).unwrap_or_else(endless)?;
    Ok(Rendered::new(rendered, &touch))
}

const TOO_DEEP: &str = "an expression is nested too deep, or too long";
const ENDLESS: &str = "it takes too long: a sum or product of lists grows without end";

/// What a template could do before any limit of minijinja's own is asked.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// How deep its deepest expression could nest.
    depth: usize,
    /// Whether something in it is added or multiplied.
    grows: bool,
}

impl Shape {
    /// Looks at the tags of a template. What may go a level down is counted, so a depth is rather too large than too small.
    fn of(template: &str) -> Self {
        let mut shape = Shape::default();
        let (mut rest, mut elifs) = (template, 0);
        while let Some(at) = rest.find('{') {
            rest = rest.get(at + 1..).unwrap_or_default();
            if let Some(comment) = rest.strip_prefix('#') {
                rest = comment.split_once("#}").map_or("", |(_, after)| after);
            } else if let Some(tag) = rest.strip_prefix(['{', '%']) {
                let word = tag.trim_start_matches(['-', '+']).trim_start();
                if word.starts_with("raw") {
                    rest = tag.split_once("endraw").map_or("", |(_, after)| after);
                    continue;
                }
                elifs += usize::from(word.starts_with("elif"));
                rest = shape.tag(tag);
            }
        }
        shape.depth = shape.depth.max(elifs);
        shape
    }

    /// Looks at a tag; what stands after it.
    fn tag<'a>(&mut self, tag: &'a str) -> &'a str {
        // How far down each bracket that is open has gone by now: what stands beside a comma stands beside each other.
        let (mut open, mut here, mut outside) = (Vec::new(), 0, 0);
        let mut chars = tag.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' | '\'' => {
                    while let Some((_, inner)) = chars.next() {
                        match inner {
                            '\\' => drop(chars.next()),
                            inner if inner == c => break,
                            _ => {}
                        }
                    }
                }
                '%' | '}'
                    if chars.peek().is_some_and(|(_, next)| *next == '}')
                        && (c == '%' || open.is_empty()) =>
                {
                    return tag.get(at + 2..).unwrap_or_default();
                }
                '(' | '[' | '{' => {
                    here += 1;
                    open.push(here);
                    outside += here;
                    here = 0;
                }
                ')' | ']' | '}' => {
                    here = open.pop().unwrap_or(here);
                    outside -= here.min(outside);
                }
                ',' => here = 0,
                c if c.is_alphabetic() => {
                    let end = chars
                        .clone()
                        .find(|(_, c)| !c.is_alphanumeric() && *c != '_');
                    let end = end.map_or(tag.len(), |(at, _)| at);
                    while chars.next_if(|(at, _)| *at < end).is_some() {}
                    let word = tag.get(at..end).unwrap_or_default();
                    here += usize::from(matches!(
                        word,
                        "not" | "and" | "or" | "is" | "in" | "if" | "else"
                    ));
                }
                c if c.is_ascii_punctuation() => {
                    self.grows |= matches!(c, '+' | '*');
                    here += 1;
                }
                _ => {}
            }
            self.depth = self.depth.max(outside + here);
        }
        ""
    }

    fn is_too_deep(self) -> bool {
        self.depth > DEEPEST
    }

    /// Renders; `None` if it has no end.
    fn render<T: Send + 'static>(self, render: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if !self.grows {
            return Some(render());
        }
        let (sender, receiver) = mpsc::channel();
        // Nothing can stop it. It holds little memory, and ends with us.
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || drop(sender.send(render())))
            .ok()?;
        receiver.recv_timeout(PATIENCE).ok()
    }
}

/// The filters of formats that a value of a file may have to be written in.
fn formats(environment: &mut Environment<'_>) {
    environment.add_filter("yaml", yaml);
    environment.add_filter("compose", compose);
    environment.add_filter("cnf", cnf);
    environment.add_filter("sh", sh);
    environment.add_filter("python", python);
    for (format, quote) in FORMATS {
        let quoted = move |value: &Value| carried(format, *quote, value);
        environment.add_filter(*format, quoted);
    }
    environment.add_filter("unit", unit);
    environment.add_filter("exec", exec);
    environment.add_filter("env", env);
}

/// Marks an error as one in our own words, which hold no value.
#[derive(Debug)]
struct Ours;

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Ours {}

fn refused(why: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why).with_source(Ours)
}

/// A value of a unit file of systemd.
fn unit(value: &Value) -> Result<String, Error> {
    quote::unit_value(&value.to_string()).ok_or_else(|| {
        refused("a unit cannot carry a value with a control character, a backslash at its end or spaces around it")
    })
}

/// The words of an `Exec` line of a unit of systemd, the program with its absolute path first: a list, or the program alone.
fn exec(value: &Value) -> Result<String, Error> {
    let words: Vec<String> = match value.as_str() {
        Some(program) => vec![program.to_owned()],
        None => value.try_iter()?.map(|word| word.to_string()).collect(),
    };
    quote::exec_line(&words).ok_or_else(|| {
        refused("a unit runs a program by its absolute path, and no word of it has a NUL byte")
    })
}

/// A value of an `EnvironmentFile=` of systemd.
fn env(value: &Value) -> Result<String, Error> {
    quote::env_value(&value.to_string())
        .ok_or_else(|| refused("an environment file cannot carry a value with a control character"))
}

/// Renders a file from the template of a name: the user's own in `overrides`, or ours.
///
/// # Errors
/// A sentence that names the template and its line; never a value.
pub fn file(
    name: &str,
    overrides: &BTreeMap<String, Arc<str>>,
    context: impl Serialize,
) -> Result<String, String> {
    let source = text(name, overrides).ok_or_else(|| format!("there is no template `{name}`"))?;
    // Our own have no limits but fuel.
    let (fuel, shape) = match overrides.contains_key(name) {
        true => (OWN_FILE_FUEL, Shape::of(source)),
        false => (FILE_FUEL, Shape::default()),
    };
    if shape.is_too_deep() {
        return Err(format!("template `{name}`: {TOO_DEEP}"));
    }
    let mut environment = environment();
    environment.set_fuel(Some(fuel));
    formats(&mut environment);
    let context = Value::from(minijinja::value::Serde(context));
    let (of, text) = (name.to_owned(), source.to_owned());
    shape
        .render(move || environment.render_named_str(&of, &text, context))
        .ok_or_else(|| format!("template `{name}`: {ENDLESS}"))?
        .map_err(|error| {
            // What a file is made of may be secret, and nothing notes what is touched.
            let mistake = mistake(&error, source, true);
            format!(
                "template `{name}`, line {}: {}",
                mistake.line, mistake.message
            )
        })
}

/// The text of a template or recipe, as the user laid it down or as it comes with the program.
pub fn text<'a>(name: &str, overrides: &'a BTreeMap<String, Arc<str>>) -> Option<&'a str> {
    overrides.get(name).map(|text| &**text).or_else(|| {
        BUILT_IN
            .iter()
            .find(|(built_in, _)| *built_in == name)
            .map(|(_, text)| *text)
    })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_debug(false); // with it errors print the values of variables
    environment.set_fuel(Some(VALUE_FUEL));
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment
}

/// The error that the others are about.
fn innermost(error: &Error) -> &Error {
    let mut innermost = error;
    while let Some(source) =
        std::error::Error::source(innermost).and_then(|source| source.downcast_ref::<Error>())
    {
        innermost = source;
    }
    innermost
}

/// What an error says. Once a template touched a secret, minijinja's own words may hold it: a name that is not there, a number
/// that is none.
fn mistake(error: &Error, template: &str, touched: bool) -> Mistake {
    let innermost = innermost(error);
    let range = innermost.range().unwrap_or(0..0);
    let words = template.get(range.clone()).unwrap_or_default();
    let ours = std::error::Error::source(innermost).is_some_and(|source| source.is::<Ours>());
    let message = match (innermost.kind(), innermost.detail()) {
        // What is no path of names, as in `'x' ~ nope`, may hold a password.
        (ErrorKind::UndefinedError, _) if words.contains(['\'', '"']) && words.contains(' ') => {
            "a name in it is not defined".to_owned()
        }
        (ErrorKind::UndefinedError, _) if !words.is_empty() => format!("`{words}` is not defined"),
        (kind, Some(_)) if touched && !ours => kind.to_string(),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    };
    Mistake {
        message,
        line: innermost.line().unwrap_or(1),
        range,
    }
}

/// Formats that cannot carry every text: their filter quotes or refuses.
type Quote = fn(&str) -> Option<String>;
const FORMATS: &[(&str, Quote)] = &[("word", quote::unit_word), ("nginx", quote::nginx)];

fn carried(format: &str, quote: Quote, value: &Value) -> Result<String, Error> {
    let refused = || {
        refused(format!(
            "the filter `{format}` refuses a value: the format cannot carry it"
        ))
    };
    match value.as_str() {
        Some(text) => quote(text).ok_or_else(refused),
        None if value.is_integer() => quote(&value.to_string()).ok_or_else(refused),
        None => Err(refused()),
    }
}

/// A string of Python.
fn python(value: &Value) -> Result<String, Error> {
    let text = value
        .as_str()
        .ok_or_else(|| refused("a value is no string of Python"))?;
    Ok(quote::python(text))
}

/// What rendering looked up.
#[derive(Clone, Debug, Default)]
struct Touch(Arc<Mutex<Touched>>);

#[derive(Debug, Default)]
struct Touched {
    secret: bool,
    services: BTreeSet<(String, String)>,
}

impl Touch {
    fn has_secret(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).secret
    }
}

/// A map that notes what is looked up in it.
struct Names {
    entries: Arc<BTreeMap<String, Datum>>,
    path: Vec<String>,
    touch: Touch,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names")
    }
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        let datum = self.entries.get(key)?;
        let mut touched = self.touch.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let [table] = self.path.as_slice() {
            touched.services.insert((table.clone(), key.to_owned()));
        }
        Some(match datum {
            Datum::Text(text) => Value::from(text.as_str()),
            Datum::Int(number) => Value::from(*number),
            Datum::Bool(flag) => Value::from(*flag),
            Datum::Secret(secret) => {
                touched.secret = true;
                Value::from(secret.expose())
            }
            Datum::Map(entries) => {
                let mut path = self.path.clone();
                path.push(key.to_owned());
                Value::from_object(Names {
                    entries: Arc::clone(entries),
                    path,
                    touch: self.touch.clone(),
                })
            }
        })
    }

    /// What a loop runs over: the names, as over any map.
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.entries.keys().map(Value::from).collect())
    }

    /// A map as a whole is no text: naming one by mistake must not print what is in it.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.path.join("."))
    }
}

/// A YAML scalar, the same in YAML 1.1 and 1.2: a word as it is, any other string as JSON writes it, which YAML reads too.
fn yaml(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) if is_bare(text) => Ok(text.to_owned()),
        _ => serde_json::to_string(value)
            .map(|json| escaped(&json))
            .map_err(|_| refused("a value cannot be written as YAML")),
    }
}

/// What YAML does not take as it is, or takes for the end of a line.
fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// A string of JSON, which is one of YAML, with all of that as `\uXXXX`.
fn escaped(json: &str) -> String {
    let mut text = String::new();
    for c in json.chars() {
        if unprintable(c) {
            let code = u32::from(c);
            text.push_str(&match code {
                0..=0xffff => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            });
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a text is a string in every YAML without quotes: a word or a path that is none of YAML's own words.
fn is_bare(text: &str) -> bool {
    const OWN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !OWN.iter().any(|own| own.eq_ignore_ascii_case(text))
}

/// A YAML scalar in a Compose file, where `$` would begin a variable.
fn compose(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) if text.contains('\0') => Err(refused(
            "a value with a NUL byte cannot be carried by a Compose file",
        )),
        Some(text) => yaml(&Value::from(text.replace('$', "$$"))),
        None => yaml(value),
    }
}

/// A word of a POSIX shell.
fn sh(value: &Value) -> Result<String, Error> {
    let text = value.to_string();
    match text.contains('\0') {
        true => Err(refused(
            "a value with a NUL byte cannot be a word of a shell",
        )),
        false => Ok(quote::word(&text)),
    }
}

/// A value of MariaDB's option files.
fn cnf(value: &Value) -> Result<String, Error> {
    let text = value.to_string();
    if text.chars().any(char::is_control) {
        return Err(refused(
            "a value with a control character cannot be carried by an option file",
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text);
    }
    Ok(format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_stack_is_refused() {
        let many = |word: &str| word.repeat(DEEPEST + 1);
        for template in [
            format!("{{{{ {}1 }}}}", many("not ")),
            format!("{{{{ {}1 }}}}", many("-")),
            format!("{{{{ 1{} }}}}", many("+1")),
            format!("{{{{ a{} }}}}", many(".b")),
            format!("{{{{ a{} }}}}", many("[0]")),
            format!("{{{{ a{} }}}}", many("(1, 2)")),
            format!("{{{{ [1{}] }}}}", many("|abs")),
            format!("{{{{ 1{} }}}}", many(" if 1 else 1")),
            format!("{{% if 1 %}}{}{{% endif %}}", many("{% elif 1 %}")),
            format!("{{# {{{{ #}}{{{{ '}}}}' ~ 1{} }}}}", many(" or 1")),
        ] {
            assert!(Shape::of(&template).is_too_deep(), "{template}");
        }
        for template in [
            format!("{{% set a = [{}] %}}", many("'a', ")),
            format!("{{% set a = {{{}}} %}}", many("'a': 1, ")),
            many("{{ a.b|c(d[0], 1) }}"),
            many("---"),
            format!("{{# {} #}}", many("+")),
            format!("{{{{ \"\\\"{}\" }}}}", many("+")),
            format!("{{% raw %}}{{{{{}}}}}{{% endraw %}}", many("+")),
        ] {
            assert!(!Shape::of(&template).is_too_deep(), "{template}");
        }
        assert!(
            Shape::of("{{ a + b }}").grows
                && !Shape::of("a + {{ '+' }} {%- set b = a -%} * {# + #}").grows
        );
    }

    fn names() -> BTreeMap<String, Datum> {
        let role = Datum::map([("password".to_owned(), Datum::Secret(Secret::new("hunter2")))]);
        let analytics = Datum::map([
            ("host".to_owned(), Datum::Text("analytics".to_owned())),
            ("port".to_owned(), Datum::Int(5432)),
            (
                "role".to_owned(),
                Datum::map([("django_user".to_owned(), role)]),
            ),
        ]);
        let postgres = Datum::map([("analytics".to_owned(), analytics)]);
        BTreeMap::from([("postgres".to_owned(), postgres)])
    }

    #[test]
    fn what_touches_a_secret_is_one() {
        let plain = value(
            "{{ postgres.analytics.host }}:{{ postgres.analytics.port }}",
            &names(),
        )
        .unwrap();
        assert_eq!(plain.text, Text::plain("analytics:5432"));
        assert!(
            plain
                .touched
                .contains(&("postgres".to_owned(), "analytics".to_owned()))
        );
        let secret = value(
            "x{{ postgres.analytics.role.django_user.password }}",
            &names(),
        )
        .unwrap();
        assert!(secret.text.is_secret());
        assert_eq!(secret.text.expose(), Secret::new("xhunter2"));
        assert_eq!(secret.text.shown(), "[secret]");
    }

    #[test]
    fn a_wrong_name_is_said_without_values() {
        let mistake = value("{{ postgres.analytics.hots }}", &names()).unwrap_err();
        assert!(
            mistake.message.contains("postgres.analytics.hots"),
            "{mistake:?}"
        );
        assert_eq!(mistake.range, 3..26);
        assert!(value("{% for x in postgres %}{% endfor %}", &names()).is_err());
        assert!(
            value("{{ postgres.analytics }}", &names())
                .unwrap()
                .text
                .shown()
                == "[postgres.analytics]"
        );
    }

    #[test]
    fn a_written_file_may_loop_and_include_and_is_as_secret_as_what_it_touches() {
        let text = |text: &str| Arc::<str>::from(text);
        let templates = BTreeMap::from([
            (
                "hosts.j2".to_owned(),
                text(
                    "{% for name in postgres %}\n{{ name }} {{ postgres[name].port }}\n{% endfor %}\n{% include 'end.j2' %}\n",
                ),
            ),
            ("end.j2".to_owned(), text("# {{ 'a b' | sh }}")),
            (
                "env.j2".to_owned(),
                text("{% if postgres.analytics.role.django_user.password %}\nyes\n{% endif %}\n"),
            ),
            ("wrong.j2".to_owned(), text("one\n{% include 'bad.j2' %}\n")),
            (
                "bad.j2".to_owned(),
                text("one\ntwo\n{{ postgres.analitics }}\n"),
            ),
            ("ring.j2".to_owned(), text("{% include 'ring.j2' %}")),
            (
                "long.j2".to_owned(),
                text(
                    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
                ),
            ),
        ]);
        let rendered = |name: &str| written(name, &templates, &names());
        let hosts = rendered("hosts.j2").unwrap();
        assert_eq!(hosts.text, Text::plain("analytics 5432\n# 'a b'"));
        assert_eq!(hosts.touched.len(), 1);
        let env = rendered("env.j2").unwrap();
        assert!(env.text.is_secret());
        assert_eq!(env.text.expose(), Secret::new("yes\n"));
        assert_eq!(
            rendered("wrong.j2").unwrap_err(),
            "template `bad.j2`, line 3: `postgres.analitics` is not defined"
        );
        assert!(rendered("ring.j2").is_err());
        assert!(rendered("long.j2").is_err());
        assert_eq!(
            rendered("none.j2").unwrap_err(),
            "there is no template `none.j2`"
        );
    }

    #[test]
    fn compose_values_are_quoted() {
        let quoted = |text: &str| compose(&Value::from(text)).unwrap();
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("22:22"), "\"22:22\"");
        assert_eq!(quoted("a$b"), "\"a$$b\"");
        assert_eq!(quoted("1e3"), "\"1e3\"");
        assert_eq!(quoted("two\nlines"), "\"two\\nlines\"");
        assert_eq!(quoted("true"), "\"true\"");
        assert_eq!(cnf(&Value::from("a#b")).unwrap(), "\"a#b\"");
    }
}
