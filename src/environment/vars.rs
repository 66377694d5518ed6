//! Strings: templates over `vars`, rendered, and then what their type says of them.

use std::collections::BTreeMap;

use crate::declaration::{Node, Type, Value};
use crate::environment::check::Checker;
use crate::environment::names as rules;
use crate::environment::read::{At, shorten};
use crate::template::{self, Datum};

/// `vars` as names for templates.
pub(super) fn names(vars: Option<&Node>) -> BTreeMap<String, Datum> {
    let named = vars.into_iter().flat_map(Node::entries);
    let named = named.filter_map(|(name, entry)| {
        let datum = match &entry.node.value {
            Value::Bool(value) => Datum::Bool(*value),
            Value::Int(value) => Datum::Int(*value),
            Value::Text(text) => Datum::Text(text.clone()),
            _ => return None,
        };
        Some((name.to_owned(), datum))
    });
    BTreeMap::from([("vars".to_owned(), Datum::map(named))])
}

impl Checker<'_> {
    /// A string with `vars` put in. `None`: it cannot be, and that is among the problems.
    pub fn rendered(&mut self, text: &str, key: &str, at: At) -> Option<String> {
        if !template::is_template(text) {
            return Some(text.to_owned());
        }
        match template::value(text, &self.names) {
            Ok(rendered) => Some(rendered.text.shown()),
            Err(mistake) => {
                if text.contains('=') {
                    self.book.secrets.push(at); // a missing quote may have joined it with a password's line
                }
                let words = text.get(mistake.range.clone()).unwrap_or_default();
                let unknown = mistake.message.ends_with("is not defined");
                let help = unknown.then(|| self.known(words)).flatten();
                let spot = self.inside(text, mistake.range, at);
                let message = format!("`{}` cannot be rendered: {}", shorten(key), mistake.message);
                self.book.error(spot, message).help = help;
                None
            }
        }
    }

    /// What could have been meant by a name that is not there.
    fn known(&self, words: &str) -> Option<String> {
        let Some(Datum::Map(vars)) = self.names.get("vars") else {
            return Some("a value of `vars` cannot use another".to_owned());
        };
        let vars: Vec<String> = vars.keys().map(|name| format!("vars.{name}")).collect();
        if let Some(close) = crate::error::nearest(words.trim(), vars.iter().map(String::as_str)) {
            return Some(format!("did you mean `{close}`?"));
        }
        Some(match vars.is_empty() {
            true => "there are no `vars`: they are declared in `[vars]`".to_owned(),
            false => format!("only `vars` can be used here: {}", vars.join(", ")),
        })
    }

    /// The place of a part of a string, where the file has the string as it is.
    fn inside(&self, text: &str, range: std::ops::Range<usize>, at: At) -> At {
        let page = self.book.pages.get(at.file as usize);
        let written =
            page.and_then(|page| page.source.text.get(at.start as usize..at.end as usize));
        let offset = written
            .and_then(|written| written.find(text))
            .map(|offset| at.start as usize + offset);
        match offset {
            Some(offset) if range.end <= text.len() && !range.is_empty() => At {
                file: at.file,
                start: super::read::narrow(offset + range.start),
                end: super::read::narrow(offset + range.end),
            },
            _ => at,
        }
    }

    /// A string of a type.
    pub fn text(&mut self, text: &str, of: &Type, key: &str, at: At) -> Option<Node> {
        let text = self.rendered(text, key, at)?;
        let checked = match of {
            Type::Path => {
                let text = self.path(&text, key, at)?;
                return Some(self.text_node(text, at));
            }
            Type::Name => rules::name(&text),
            Type::Identifier => rules::identifier(&text),
            Type::PostgresName => rules::postgres(&text),
            Type::Listen => rules::listen(&text),
            Type::Service => rules::service(&text),
            Type::Word(words) if !words.contains(&text.as_str()) => {
                Err(
                    crate::error::nearest(&text, words.iter().copied()).map_or_else(
                        || super::check::says(of),
                        |close| format!("did you mean `{close}`?"),
                    ),
                )
            }
            Type::Text if text.contains('\0') => Err("a string holds no NUL character".to_owned()),
            _ => Ok(()),
        };
        if let Err(rule) = checked {
            // A missing quote may have joined it with a password's line: only what looks like a word is repeated.
            let odd = text.len() > 64 || text.contains(|c: char| c.is_control() || c == '=');
            let said = if odd {
                "...".to_owned()
            } else {
                shorten(&text)
            };
            let message = match of {
                Type::Word(_) => {
                    let words = super::check::says(of);
                    format!("`{key}` is `\"{said}\"`, and has to be {words}")
                }
                Type::Text => format!("`{}` cannot be used", shorten(key)),
                Type::Listen => format!("`{key}` is no address with a port: `{said}`"),
                Type::Service => format!("`{key}` names no service: `{said}`"),
                _ => format!("`{key}` is no name: `{said}`"),
            };
            let help = (rule != super::check::says(of)).then_some(rule);
            self.book.error(at, message).help = help;
            return None;
        }
        Some(self.text_node(text, at))
    }

    pub fn text_node(&self, text: String, at: At) -> Node {
        Node {
            value: Value::Text(text),
            origin: self.book.origin(at),
        }
    }
}
