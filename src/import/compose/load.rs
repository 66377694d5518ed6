//! Compose files become one model: variables, `include`, several files, `extends`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{Failure, Kind};
use crate::import::account::{Account, Key};
use crate::import::connection::Value as Text;
use crate::import::dotenv;
use crate::import::input;
use crate::import::yaml::{self, Node, Pair, Value};

/// The most nodes that merging makes.
const MERGED: usize = 500_000;

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub shown: String,
    /// The folder that relative paths in it are seen from.
    pub base: PathBuf,
}

/// The files of an import.
pub(super) struct Book<'a> {
    pub account: &'a mut Account,
    pub files: Vec<File>,
    variables: BTreeMap<String, (String, Option<Key>)>,
    read: BTreeMap<PathBuf, Rc<Node>>,
    dotenvs: Vec<PathBuf>,
    merged: usize,
}

impl<'a> Book<'a> {
    pub fn new(account: &'a mut Account) -> Self {
        Book {
            account,
            files: Vec::new(),
            variables: BTreeMap::new(),
            read: BTreeMap::new(),
            dotenvs: Vec::new(),
            merged: 0,
        }
    }

    /// The folder that relative paths of a node are seen from.
    pub fn base(&self, node: &Node) -> PathBuf {
        self.files
            .get(node.file)
            .map_or_else(PathBuf::new, |file| file.base.clone())
    }

    /// A place for people, as in `compose.yml:3`.
    pub fn place(&self, node: &Node) -> String {
        let shown = self
            .files
            .get(node.file)
            .map_or("", |file| file.shown.as_str());
        format!("{shown}:{}", node.line)
    }

    fn wrong(&self, node: &Node, message: &str) -> Failure {
        Failure::new(Kind::Usage, format!("{}: {message}", self.place(node)))
    }

    /// The `.env` file of a folder, where there is one.
    pub fn dotenv(&mut self, path: &Path) {
        if self.dotenvs.contains(&path.to_owned()) {
            return;
        }
        self.dotenvs.push(path.to_owned());
        let Ok(text) = input::text(path) else { return };
        for one in dotenv::read(&text, &input::shown(path), self.account) {
            self.variables
                .entry(one.name)
                .or_insert((one.value, Some(one.key)));
        }
    }

    /// A text with its variables replaced.
    pub fn expand(&mut self, node: &Node, text: &str) -> Text {
        let keys: Vec<Key> = node.key.into_iter().collect();
        let known = |name: &str| self.variables.get(name).map(|(value, _)| value.clone());
        match dotenv::expand(text, &known) {
            Ok(expanded) => {
                let mut keys = keys;
                for name in &expanded.names {
                    if let Some((_, Some(key))) = self.variables.get(name) {
                        self.account.used(*key);
                        keys.push(*key);
                    }
                }
                keys.dedup();
                Text {
                    text: expanded.text,
                    var: expanded.only,
                    unset: expanded.unset,
                    keys,
                }
            }
            Err(why) => {
                keys.iter()
                    .for_each(|key| self.account.insist(*key, why.clone()));
                Text {
                    keys,
                    ..Text::default()
                }
            }
        }
    }

    /// A single value.
    pub fn text(&mut self, node: &Node) -> Text {
        self.expand(node, node.text().unwrap_or_default())
    }

    /// Reads a file, once; what it includes is merged in.
    ///
    /// # Errors
    /// Where it cannot be read or is in a circle.
    pub fn load(
        &mut self,
        path: &Path,
        base: &Path,
        chain: &[PathBuf],
    ) -> Result<Rc<Node>, Failure> {
        let whole = path.canonicalize().unwrap_or_else(|_| input::plain(path));
        if chain.contains(&whole) {
            let names: Vec<String> = chain
                .iter()
                .chain([&whole])
                .map(|path| input::shown(path))
                .collect();
            let message = format!(
                "`{}` includes itself: {}",
                input::shown(path),
                names.join(" -> ")
            );
            return Err(Failure::new(Kind::Usage, message));
        }
        if let Some(known) = self.read.get(&whole) {
            return Ok(Rc::clone(known));
        }
        if self.files.len() >= input::MOST {
            return Err(Failure::new(
                Kind::Usage,
                format!("more than {} files belong together", input::MOST),
            ));
        }
        let text = input::needed(path)?;
        let number = self.files.len();
        let shown = input::shown(path);
        self.files.push(File {
            shown: shown.clone(),
            base: base.to_owned(),
        });
        let documents = yaml::read(&text, &shown, number, self.account).map_err(|broken| {
            let place = format!("{shown}:{}:{}", broken.line, broken.column);
            Failure::new(Kind::Usage, format!("{place}: {}", broken.message))
        })?;
        let mut root = None;
        for document in documents {
            if !matches!(document.value, Value::Map(_)) {
                return Err(self.wrong(
                    &document,
                    &format!(
                        "a Compose file is a mapping, and this is {}",
                        document.kind()
                    ),
                ));
            }
            root = Some(match root {
                None => document,
                Some(before) => self.merge(&before, &document, "")?,
            });
        }
        let root = root.ok_or_else(|| Failure::new(Kind::Usage, format!("`{shown}` is empty")))?;
        let mut chain = chain.to_vec();
        chain.push(whole.clone());
        let root = self.included(root, base, &chain)?;
        self.read.insert(whole, Rc::clone(&root));
        Ok(root)
    }

    fn included(
        &mut self,
        root: Rc<Node>,
        base: &Path,
        chain: &[PathBuf],
    ) -> Result<Rc<Node>, Failure> {
        let Some(include) = root.get("include").cloned() else {
            return Ok(root);
        };
        let mut all: Option<Rc<Node>> = None;
        for item in include.items() {
            let paths: Vec<Rc<Node>> = match item.get("path") {
                Some(path) if path.text().is_some() => vec![Rc::clone(path)],
                Some(path) => path.items().to_vec(),
                None => vec![Rc::clone(item)],
            };
            let mut folder = None;
            if let Some(node) = item.get("project_directory") {
                let text = self.text(node);
                text.keys.iter().for_each(|key| self.account.used(*key));
                folder = Some(base.join(text.text));
            }
            if let Some(node) = item.get("env_file") {
                for node in either(node) {
                    let text = self.text(&node);
                    text.keys.iter().for_each(|key| self.account.used(*key));
                    self.dotenv(&base.join(text.text));
                }
            }
            let mut one: Option<Rc<Node>> = None;
            for node in &paths {
                let text = self.text(node);
                if text.text.is_empty() {
                    return Err(self.wrong(node, "`include` names a file"));
                }
                text.keys.iter().for_each(|key| self.account.used(*key));
                let path = base.join(&text.text);
                let own = path.parent().unwrap_or(base).to_owned();
                let own = folder.clone().unwrap_or(own);
                self.dotenv(&own.join(".env"));
                let more = self
                    .load(&path, &own, chain)
                    .map_err(|failure| failure.hint(format!("{} includes it", self.place(node))))?;
                one = Some(match one {
                    None => more,
                    Some(before) => self.merge(&before, &more, "")?,
                });
            }
            if let Some(one) = one {
                all = Some(match all {
                    None => one,
                    Some(before) => self.merge(&before, &one, "")?,
                });
            }
        }
        match all {
            None => Ok(root),
            Some(all) => self.merge(&all, &root, ""),
        }
    }

    /// A later node over an earlier one, as Compose does; `at` is where in a service they are.
    ///
    /// # Errors
    /// Where that makes too much.
    pub fn merge(
        &mut self,
        under: &Rc<Node>,
        over: &Rc<Node>,
        at: &str,
    ) -> Result<Rc<Node>, Failure> {
        self.merged += 1;
        if self.merged > MERGED {
            return Err(self.wrong(over, "merging the files makes too much of them"));
        }
        match over.tag.as_deref() {
            Some("!reset") => {
                self.replaced(under, over);
                over.keys()
                    .into_iter()
                    .for_each(|key| self.account.used(key));
                return Ok(Rc::new(Node {
                    value: Value::Null,
                    file: over.file,
                    line: over.line,
                    key: None,
                    tag: None,
                }));
            }
            Some("!override") => {
                self.replaced(under, over);
                return Ok(Rc::clone(over));
            }
            _ => {}
        }
        let name = at.rsplit('.').next().unwrap_or_default();
        let field = at.matches('.').count() == 2 && at.starts_with("services.");
        if field
            && matches!(
                name,
                "environment" | "labels" | "extra_hosts" | "sysctls" | "depends_on" | "networks"
            )
            || name == "args"
        {
            let (one, other) = (pairs(under), pairs(over));
            return self.merge_pairs(one, other, over, at);
        }
        match (&under.value, &over.value) {
            (Value::Map(one), Value::Map(other)) => {
                self.merge_pairs(one.clone(), other.clone(), over, at)
            }
            (Value::List(one), Value::List(other))
                if !matches!(name, "command" | "entrypoint" | "test") =>
            {
                let mut items = one.clone();
                for item in other {
                    if name == "volumes"
                        && field
                        && let Some(target) = target(item)
                        && let Some(at) = items
                            .iter()
                            .position(|there| self::target(there).as_deref() == Some(&target))
                    {
                        let before = Rc::clone(&items[at]);
                        self.replaced(&before, item);
                        items[at] = Rc::clone(item);
                        continue;
                    }
                    match items
                        .iter()
                        .position(|there| there.text().is_some() && there.text() == item.text())
                    {
                        Some(at) => {
                            let before = Rc::clone(&items[at]);
                            self.replaced(&before, item);
                            items[at] = Rc::clone(item);
                        }
                        None => items.push(Rc::clone(item)),
                    }
                }
                Ok(Rc::new(Node {
                    value: Value::List(items),
                    file: over.file,
                    line: over.line,
                    key: None,
                    tag: None,
                }))
            }
            _ if Rc::ptr_eq(under, over) => Ok(Rc::clone(over)),
            (_, Value::Null) if !matches!(under.value, Value::Text(..)) => {
                over.keys()
                    .into_iter()
                    .for_each(|key| self.account.noted(key, "says nothing new"));
                Ok(Rc::clone(under))
            }
            _ => {
                self.replaced(under, over);
                Ok(Rc::clone(over))
            }
        }
    }

    fn merge_pairs(
        &mut self,
        one: Vec<Pair>,
        other: Vec<Pair>,
        over: &Rc<Node>,
        at: &str,
    ) -> Result<Rc<Node>, Failure> {
        let mut out = one;
        let mut places: BTreeMap<String, usize> = out
            .iter()
            .enumerate()
            .map(|(at, pair)| (pair.key.clone(), at))
            .collect();
        for pair in other {
            match places.get(&pair.key) {
                None => {
                    places.insert(pair.key.clone(), out.len());
                    out.push(pair);
                }
                Some(there) => {
                    let at = format!("{at}{}{}", if at.is_empty() { "" } else { "." }, pair.key);
                    let node = self.merge(&Rc::clone(&out[*there].node), &pair.node, &at)?;
                    out[*there] = Pair {
                        key: pair.key,
                        line: pair.line,
                        node,
                    };
                }
            }
        }
        Ok(Rc::new(Node {
            value: Value::Map(out),
            file: over.file,
            line: over.line,
            key: None,
            tag: None,
        }))
    }

    fn replaced(&mut self, under: &Node, over: &Node) {
        let reason = format!("`{}` says otherwise", self.place(over));
        let kept = over.keys();
        for key in under.keys() {
            if !kept.contains(&key) {
                self.account.noted(key, reason.clone());
            }
        }
    }

    /// A service with all that it extends.
    ///
    /// # Errors
    /// A circle, or a service that is not there.
    pub fn extended(
        &mut self,
        root: &Rc<Node>,
        name: &str,
        service: &Rc<Node>,
        chain: &mut Vec<(usize, String)>,
    ) -> Result<Rc<Node>, Failure> {
        let Some(extends) = service.get("extends").cloned() else {
            return Ok(Rc::clone(service));
        };
        let link = (service.file, name.to_owned());
        if chain.contains(&link) || chain.len() > 100 {
            let names: Vec<&str> = chain
                .iter()
                .map(|(_, name)| name.as_str())
                .chain([name])
                .collect();
            return Err(self.wrong(
                &extends,
                &format!("`extends` goes in a circle: {}", names.join(" -> ")),
            ));
        }
        chain.push(link);
        let (of, file) = match extends.text() {
            Some(_) => (self.text(&extends), None),
            None => {
                let Some(of) = extends.get("service").cloned() else {
                    return Err(self.wrong(&extends, "`extends` names a `service`"));
                };
                let file = extends.get("file").cloned();
                (self.text(&of), file.map(|file| (self.text(&file), file)))
            }
        };
        let keys: Vec<Key> = extends.keys();
        keys.iter().for_each(|key| self.account.used(*key));
        let (root, fresh) = match file {
            None => (Rc::clone(root), false),
            Some((file, node)) => {
                let path = self.base(&node).join(&file.text);
                let base = path.parent().map(Path::to_owned).unwrap_or_default();
                let before = self.account.items().len();
                let known = self.files.len();
                let root = self.load(&path, &base, &[]).map_err(|failure| {
                    failure.hint(format!("{} extends a service of it", self.place(&node)))
                })?;
                let _ = before;
                (root, self.files.len() > known)
            }
        };
        let under = root
            .get("services")
            .and_then(|services| services.get(&of.text))
            .cloned();
        let Some(under) = under else {
            return Err(self.wrong(
                &extends,
                &format!("there is no service `{}` to extend", of.text),
            ));
        };
        let under = self.extended(&root, &of.text, &under, chain)?;
        if fresh {
            // Of another file only what is extended counts; the rest of it may be used by another service later.
            for pair in root.pairs() {
                let nodes: Vec<&Pair> = match pair.key.as_str() {
                    "services" => pair
                        .node
                        .pairs()
                        .iter()
                        .filter(|one| one.key != of.text)
                        .collect(),
                    _ => vec![pair],
                };
                for key in nodes.iter().flat_map(|pair| pair.node.keys()) {
                    self.account
                        .noted(key, format!("only `{}` of this file is extended", of.text));
                }
            }
        }
        let own: Vec<Pair> = service
            .pairs()
            .iter()
            .filter(|pair| pair.key != "extends")
            .cloned()
            .collect();
        let own = Rc::new(Node {
            value: Value::Map(own),
            file: service.file,
            line: service.line,
            key: None,
            tag: None,
        });
        let under: Vec<Pair> = under
            .pairs()
            .iter()
            .filter(|pair| pair.key != "extends")
            .cloned()
            .collect();
        let under = Rc::new(Node {
            value: Value::Map(under),
            file: service.file,
            line: service.line,
            key: None,
            tag: None,
        });
        self.merge(&under, &own, &format!("services.{name}"))
    }

    /// Ends: what no file named of the variables.
    pub fn close(&mut self) {
        let keys: Vec<Key> = self
            .variables
            .values()
            .filter_map(|(_, key)| *key)
            .collect();
        for key in keys {
            self.account.noted(key, "no file names it");
        }
    }
}

/// A node that may be one or a list of them.
pub(super) fn either(node: &Rc<Node>) -> Vec<Rc<Node>> {
    match &node.value {
        Value::List(items) => items.clone(),
        Value::Null => Vec::new(),
        _ => vec![Rc::clone(node)],
    }
}

/// A mapping, or a list of `NAME=value`, as pairs.
pub(super) fn pairs(node: &Rc<Node>) -> Vec<Pair> {
    match &node.value {
        Value::Map(pairs) => pairs.clone(),
        Value::List(items) => items
            .iter()
            .map(|item| {
                let text = item.text().unwrap_or_default();
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Value::Text(value.to_owned())),
                    None => (text, Value::Null),
                };
                let node = Node {
                    value,
                    file: item.file,
                    line: item.line,
                    key: item.key,
                    tag: item.tag.clone(),
                };
                Pair {
                    key: name.to_owned(),
                    line: item.line,
                    node: Rc::new(node),
                }
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Where in the container something is mounted.
fn target(node: &Rc<Node>) -> Option<String> {
    if let Some(target) = node.get("target") {
        return target.text().map(str::to_owned);
    }
    let (_, target, _) = mount(node.text()?)?;
    Some(target)
}

/// `SOURCE:TARGET:MODE` in parts; braces of variables hold their colons.
pub(super) fn mount(text: &str) -> Option<(Option<String>, String, String)> {
    let parts = colons(text);
    match parts.as_slice() {
        [target] => Some((None, target.clone(), String::new())),
        [source, target] => Some((Some(source.clone()), target.clone(), String::new())),
        [source, target, mode] => Some((Some(source.clone()), target.clone(), mode.clone())),
        _ => None,
    }
}

/// A text divided at colons that stand in no braces or brackets.
pub(super) fn colons(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ':' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}
