//! Templates, strict and without escaping: a template lays out, a value enters a file only through the filter of its format,
//! which quotes or refuses. Two sorts: strings of an environment file (expressions only), and whole files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

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
/// Those that a user's own file may take: some 100,000 lines.
const WRITTEN_FUEL: u64 = 2_000_000;

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
        let touch = touch.0.lock().unwrap_or_else(PoisonError::into_inner);
        Rendered {
            text: match touch.secret {
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
    let rendered = environment()
        .render_str(template, context)
        .map_err(|error| mistake(&error, template))?;
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
    let mut environment = environment();
    environment.set_fuel(Some(WRITTEN_FUEL));
    formats(&mut environment);
    let neighbours = templates.clone();
    environment.set_loader(move |name| Ok(neighbours.get(name).map(|text| text.to_string())));
    environment
        .render_named_str(name, source, context)
        .map(|text| Rendered::new(text, &touch))
        .map_err(|error| {
            let inner = innermost(&error);
            let at = inner.name().unwrap_or(name);
            let mistake = mistake(&error, templates.get(at).map_or("", |text| text));
            format!(
                "template `{at}`, line {}: {}",
                mistake.line, mistake.message
            )
        })
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

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
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
    let mut environment = environment();
    environment.set_fuel(Some(FILE_FUEL));
    formats(&mut environment);
    environment
        .render_named_str(name, source, minijinja::value::Serde(context))
        .map_err(|error| {
            let mistake = mistake(&error, source);
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

fn mistake(error: &Error, template: &str) -> Mistake {
    let innermost = innermost(error);
    let range = innermost.range().unwrap_or(0..0);
    let words = template.get(range.clone()).unwrap_or_default();
    let message = match (innermost.kind(), innermost.detail()) {
        (ErrorKind::UndefinedError, _) if !words.is_empty() => format!("`{words}` is not defined"),
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
        Error::new(
            ErrorKind::InvalidOperation,
            format!("the filter `{format}` refuses a value: the format cannot carry it"),
        )
    };
    match value.as_str() {
        Some(text) => quote(text).ok_or_else(refused),
        None if value.is_integer() => quote(&value.to_string()).ok_or_else(refused),
        None => Err(refused()),
    }
}

/// A string of Python.
fn python(value: &Value) -> Result<String, Error> {
    let text = value.as_str().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            "a value is no string of Python",
        )
    })?;
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
            .map_err(|_| {
                Error::new(
                    ErrorKind::InvalidOperation,
                    "a value cannot be written as YAML",
                )
            }),
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
        Some(text) if text.contains('\0') => Err(Error::new(
            ErrorKind::InvalidOperation,
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
        true => Err(Error::new(
            ErrorKind::InvalidOperation,
            "a value with a NUL byte cannot be a word of a shell",
        )),
        false => Ok(quote::word(&text)),
    }
}

/// A value of MariaDB's option files.
fn cnf(value: &Value) -> Result<String, Error> {
    let text = value.to_string();
    if text.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
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
