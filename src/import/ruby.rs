//! Ruby, read and not run: a small evaluator of what people write in a Vagrantfile. The one room of the Ruby parser.
//!
//! It knows variables, strings, lists, hashes, conditions and loops over them; whatever else would be computed at run time becomes
//! [`Value::Unknown`], with its reason, and so does all that is made of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use lib_ruby_parser::nodes;
use lib_ruby_parser::{Node, Parser, ParserOptions};

use crate::import::account::{Account, Key};

/// The largest text.
const LARGEST: usize = 256 * 1024;
/// A tree is as deep as its text is long at worst: each level takes less than this of the stack.
const STACK: usize = 1 << 30;
/// How much is evaluated.
const STEPS: usize = 200_000;
/// How deep expressions and calls are followed.
const DEEPEST: usize = 300;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    /// A text, and the line of the file that its first line is, where it stands there as it is.
    Text(String, Option<usize>),
    List(Vec<Value>),
    Hash(Vec<(String, Value)>),
    Object(Object),
    /// Why it is not known.
    Unknown(String),
}

/// A part of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    pub machine: Option<String>,
    pub path: Vec<String>,
}

/// Something that was said of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub machine: Option<String>,
    /// As in `vm.network`.
    pub name: String,
    pub args: Vec<Value>,
    pub key: Key,
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into(), None)
    }

    /// As it reads within a string.
    pub fn shown(&self) -> Option<String> {
        match self {
            Value::Nil => Some(String::new()),
            Value::Bool(word) => Some(word.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Text(text, _) => Some(text.clone()),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Hash(pairs) => pairs
                .iter()
                .find(|(own, _)| own == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    fn holds(&self) -> Option<bool> {
        match self {
            Value::Nil | Value::Bool(false) => Some(false),
            Value::Unknown(_) => None,
            _ => Some(true),
        }
    }

    /// Why it, or a part of it, is not known.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Value::Unknown(reason) => Some(reason),
            Value::List(all) => all.iter().find_map(Value::unknown),
            Value::Hash(pairs) => pairs.iter().find_map(|(_, value)| value.unknown()),
            _ => None,
        }
    }
}

fn unknown(reason: impl Into<String>) -> Value {
    Value::Unknown(reason.into())
}

/// What a text says of the configuration, in order. Every statement is a key of the account.
///
/// # Errors
/// Where it is no Ruby: `LINE: message`.
pub(super) fn read(
    text: &str,
    shown: &str,
    folder: &Path,
    account: &mut Account,
) -> Result<Vec<Call>, String> {
    if text.len() > LARGEST {
        return Err(format!(
            ": is larger than {} KiB, the most that is read",
            LARGEST >> 10
        ));
    }
    std::thread::scope(|scope| {
        let work = || parse(text, shown, folder, account);
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(": the parser gave up".to_owned()),
            Err(error) => Err(format!(": cannot be parsed: {error}")),
        }
    })
}

fn parse(
    text: &str,
    shown: &str,
    folder: &Path,
    account: &mut Account,
) -> Result<Vec<Call>, String> {
    let options = ParserOptions {
        buffer_name: shown.to_owned(),
        record_tokens: false,
        ..ParserOptions::default()
    };
    let result = Parser::new(text.as_bytes().to_vec(), options).do_parse();
    let starts: Vec<usize> = std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let line = |at: usize| starts.partition_point(|start| *start <= at).max(1);
    if let Some(wrong) = result.diagnostics.iter().find(|one| one.is_error()) {
        // The message is the parser's own words, with names of tokens in it and no text of the file.
        return Err(format!(
            ":{}: Ruby cannot be read: {}",
            line(wrong.loc.begin),
            wrong.message.render()
        ));
    }
    let Some(root) = result.ast else {
        return Ok(Vec::new());
    };
    let mut run = Run {
        shown,
        folder: folder.to_owned(),
        starts: &starts,
        text,
        account,
        keys: HashMap::new(),
        scope: BTreeMap::new(),
        methods: BTreeMap::new(),
        calls: Vec::new(),
        steps: 0,
        depth: 0,
        counted: 0,
    };
    run.register(&root);
    run.statement(&root);
    Ok(run.calls)
}

struct Run<'a> {
    shown: &'a str,
    folder: PathBuf,
    starts: &'a [usize],
    text: &'a str,
    account: &'a mut Account,
    /// Keys of statements, by where they begin.
    keys: HashMap<usize, Key>,
    scope: BTreeMap<String, Value>,
    methods: BTreeMap<String, (Vec<String>, Node)>,
    calls: Vec<Call>,
    steps: usize,
    depth: usize,
    counted: usize,
}

/// Statements that hold others, and are no keys themselves.
fn children(node: &Node) -> Option<Vec<&Node>> {
    match node {
        Node::Begin(one) => Some(one.statements.iter().collect()),
        Node::KwBegin(one) => Some(one.statements.iter().collect()),
        Node::If(one) => Some(
            [&one.if_true, &one.if_false]
                .into_iter()
                .flatten()
                .map(|one| &**one)
                .collect(),
        ),
        Node::IfMod(one) => Some(
            [&one.if_true, &one.if_false]
                .into_iter()
                .flatten()
                .map(|one| &**one)
                .collect(),
        ),
        Node::Case(one) => {
            let bodies = one.when_bodies.iter().filter_map(|when| match when {
                Node::When(when) => when.body.as_deref(),
                _ => None,
            });
            Some(bodies.chain(one.else_body.as_deref()).collect())
        }
        Node::Def(one) => Some(one.body.as_deref().into_iter().collect()),
        Node::For(one) => Some(one.body.as_deref().into_iter().collect()),
        _ => None,
    }
}

/// Blocks that only repeat or hold what is in them.
const LOOPS: &[&str] = &[
    "each",
    "each_with_index",
    "each_pair",
    "times",
    "each_key",
    "each_value",
    "upto",
    "map",
    "select",
    "tap",
    "configure",
];

impl Run<'_> {
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).max(1)
    }

    /// Makes each statement a key.
    fn register(&mut self, node: &Node) {
        if self.depth > DEEPEST {
            return;
        }
        self.depth += 1;
        if let Some(all) = children(node) {
            all.into_iter().for_each(|one| self.register(one));
        } else {
            let mut is_key = true;
            if let Node::Block(block) = node {
                let name = match &*block.call {
                    Node::Send(send) => send.method_name.as_str(),
                    _ => "",
                };
                is_key = !LOOPS.contains(&name) || name == "configure";
                if let Some(body) = &block.body {
                    // What a block computes is one with its statement.
                    if is_key
                        || matches!(
                            name,
                            "each"
                                | "each_with_index"
                                | "each_pair"
                                | "times"
                                | "each_key"
                                | "each_value"
                                | "upto"
                        )
                    {
                        self.register(body);
                    } else {
                        is_key = true;
                    }
                }
            }
            if is_key {
                let begin = node.expression().begin;
                let name = self.head(begin);
                let key = self.account.add(self.shown, self.line(begin), name);
                self.keys.insert(begin, key);
            }
        }
        self.depth -= 1;
    }

    /// The first words of a statement: names only, never a value.
    fn head(&self, begin: usize) -> String {
        let text = self.text.get(begin..).unwrap_or_default();
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && !"._@$?!".contains(c))
            .unwrap_or(text.len());
        let name = text
            .get(..end.min(60))
            .unwrap_or_default()
            .trim_end_matches('.');
        match name.is_empty() {
            true => "statement".to_owned(),
            false => name.to_owned(),
        }
    }

    fn key(&self, node: &Node) -> Option<Key> {
        self.keys.get(&node.expression().begin).copied()
    }

    fn left(&mut self, node: &Node, reason: &str) {
        for key in self.below(node) {
            self.account.left(key, reason);
        }
    }

    /// All keys of a node.
    fn below(&self, node: &Node) -> Vec<Key> {
        let range = node.expression();
        let mut keys: Vec<Key> = self
            .keys
            .iter()
            .filter(|(at, _)| (range.begin..range.end.max(range.begin + 1)).contains(at))
            .map(|(_, key)| *key)
            .collect();
        keys.sort();
        keys
    }

    fn statement(&mut self, node: &Node) {
        self.steps += 1;
        if self.steps > STEPS || self.depth > DEEPEST {
            self.left(node, "too much is computed to be read");
            return;
        }
        self.depth += 1;
        self.one(node);
        self.depth -= 1;
    }

    fn one(&mut self, node: &Node) {
        match node {
            Node::Begin(one) => one.statements.iter().for_each(|one| self.statement(one)),
            Node::KwBegin(one) => one.statements.iter().for_each(|one| self.statement(one)),
            Node::If(one) => {
                self.condition(&one.cond, one.if_true.as_deref(), one.if_false.as_deref())
            }
            Node::IfMod(one) => {
                self.condition(&one.cond, one.if_true.as_deref(), one.if_false.as_deref())
            }
            Node::Case(one) => {
                let value = one.expr.as_deref().map(|one| self.value(one));
                let mut done = false;
                for when in &one.when_bodies {
                    let Node::When(when) = when else { continue };
                    let fits = value.as_ref().is_some_and(|value| {
                        when.patterns.iter().any(|pattern| {
                            self.value(pattern)
                                .shown()
                                .is_some_and(|one| Some(one) == value.shown())
                        })
                    });
                    if let Some(body) = &when.body {
                        if fits && !done {
                            self.statement(body);
                        } else {
                            self.note(body, "a case that does not hold here");
                        }
                    }
                    done |= fits;
                }
                if let Some(body) = &one.else_body {
                    match done {
                        true => self.note(body, "a case that does not hold here"),
                        false => self.statement(body),
                    }
                }
            }
            Node::Lvasgn(one) => self.assign(node, &one.name, one.value.as_deref()),
            Node::Gvasgn(one) => self.assign(node, &one.name, one.value.as_deref()),
            Node::Ivasgn(one) => self.assign(node, &one.name, one.value.as_deref()),
            Node::Casgn(one) => self.assign(node, &one.name, one.value.as_deref()),
            Node::OrAsgn(one) => {
                if let Node::Lvasgn(name) = &*one.recv {
                    let known = self.scope.get(&name.name).and_then(Value::holds) == Some(true);
                    if known {
                        self.mark(node);
                    } else {
                        self.assign(node, &name.name, Some(&one.value));
                    }
                } else {
                    self.left(node, "an assignment that is not understood");
                }
            }
            Node::IndexAsgn(one) => {
                let (Node::Lvar(name), Some(index), Some(value)) =
                    (&*one.recv, one.indexes.first(), one.value.as_deref())
                else {
                    return self.left(node, "an assignment that is not understood");
                };
                let (index, value) = (self.value(index), self.value(value));
                match (self.scope.get_mut(&name.name), index.shown()) {
                    (Some(Value::Hash(pairs)), Some(index)) => {
                        pairs.retain(|(own, _)| *own != index);
                        pairs.push((index, value));
                        self.mark(node);
                    }
                    _ => self.left(node, "an assignment that is not understood"),
                }
            }
            Node::Def(one) => {
                let names = parameters(one.args.as_deref());
                if let Some(body) = &one.body {
                    self.methods
                        .insert(one.name.clone(), (names, (**body).clone()));
                }
            }
            Node::Block(one) => self.block(node, one),
            Node::Send(one) => self.send(node, one),
            Node::For(one) => {
                let Some(body) = &one.body else { return };
                let Node::Lvasgn(name) = &*one.iterator else {
                    return self.left(node, "a loop that is not understood");
                };
                let list = self.value(&one.iteratee);
                match list {
                    Value::List(items) => {
                        for item in items {
                            self.scope.insert(name.name.clone(), item);
                            self.statement(body);
                        }
                    }
                    other => self.left(
                        node,
                        &format!(
                            "a loop over what is not known: {}",
                            other.unknown().unwrap_or("no list")
                        ),
                    ),
                }
            }
            Node::OpAsgn(_) | Node::Masgn(_) => {
                self.left(node, "an assignment that is not understood")
            }
            _ => {
                let value = self.value(node);
                match value.unknown() {
                    Some(reason) => self.left(node, &format!("not understood: {reason}")),
                    None => self.mark(node),
                }
            }
        }
    }

    fn mark(&mut self, node: &Node) {
        if let Some(key) = self.key(node) {
            self.account.used(key);
        }
    }

    fn note(&mut self, node: &Node, reason: &str) {
        for key in self.below(node) {
            self.account.noted(key, reason);
        }
    }

    fn assign(&mut self, node: &Node, name: &str, value: Option<&Node>) {
        let value = value.map_or(Value::Nil, |one| self.value(one));
        match value.unknown() {
            Some(reason) => {
                let reason = format!("`{name}` is not known: {reason}");
                if let Some(key) = self.key(node) {
                    self.account.left(key, reason);
                }
            }
            None => self.mark(node),
        }
        self.scope.insert(name.to_owned(), value);
    }

    fn condition(&mut self, condition: &Node, then: Option<&Node>, other: Option<&Node>) {
        let value = self.value(condition);
        let (held, not) = match value.holds() {
            Some(true) => (then, other),
            Some(false) => (other, then),
            None => {
                let reason = format!(
                    "whether it holds is not known: {}",
                    value.unknown().unwrap_or_default()
                );
                for node in [then, other].into_iter().flatten() {
                    self.left(node, &reason);
                }
                return;
            }
        };
        if let Some(node) = not {
            self.note(node, "a condition that does not hold here");
        }
        if let Some(node) = held {
            self.statement(node);
        }
    }

    fn block(&mut self, node: &Node, block: &nodes::Block) {
        let names = parameters(block.args.as_deref());
        let Some(body) = block.body.as_deref() else {
            return self.mark(node);
        };
        let Node::Send(send) = &*block.call else {
            return self.left(node, "a block that is not understood");
        };
        let receiver = send.recv.as_deref();
        if send.method_name == "configure"
            && receiver
                .is_some_and(|one| matches!(one, Node::Const(name) if name.name == "Vagrant"))
        {
            self.mark(node);
            return self.with(&names, vec![Value::Object(Object::default())], body);
        }
        let receiver = receiver.map(|one| self.value(one));
        let over = |list: Vec<Vec<Value>>, run: &mut Self| {
            for values in list {
                run.with(&names, values, body);
            }
        };
        match (send.method_name.as_str(), receiver) {
            ("each" | "each_pair", Some(Value::Hash(pairs))) => over(
                pairs
                    .into_iter()
                    .map(|(key, value)| vec![Value::text(key), value])
                    .collect(),
                self,
            ),
            ("each", Some(Value::List(items))) => over(
                items
                    .into_iter()
                    .map(|item| match item {
                        Value::List(parts) if names.len() > 1 => parts,
                        item => vec![item],
                    })
                    .collect(),
                self,
            ),
            ("each_with_index", Some(Value::List(items))) => {
                let numbered = items.into_iter().enumerate();
                over(
                    numbered
                        .map(|(at, item)| vec![item, Value::Int(i64::try_from(at).unwrap_or(0))])
                        .collect(),
                    self,
                );
            }
            ("each_with_index", Some(Value::Hash(pairs))) => {
                let numbered = pairs.into_iter().enumerate();
                over(
                    numbered
                        .map(|(at, (key, value))| {
                            vec![
                                Value::List(vec![Value::text(key), value]),
                                Value::Int(i64::try_from(at).unwrap_or(0)),
                            ]
                        })
                        .collect(),
                    self,
                );
            }
            ("times", Some(Value::Int(number))) => over(
                (0..number.clamp(0, 1000))
                    .map(|at| vec![Value::Int(at)])
                    .collect(),
                self,
            ),
            (_, Some(Value::Object(object))) => self.configured(node, send, object, &names, body),
            (_, Some(Value::Unknown(reason))) => {
                self.left(node, &format!("a block over what is not known: {reason}"))
            }
            _ => self.left(node, "a block that is computed at run time"),
        }
    }

    /// `config.vm.define "db" do |db|` and the like.
    fn configured(
        &mut self,
        node: &Node,
        send: &nodes::Send,
        object: Object,
        names: &[String],
        body: &Node,
    ) {
        let args: Vec<Value> = send.args.iter().map(|one| self.value(one)).collect();
        let first = args.first().and_then(Value::shown);
        let Some(key) = self.key(node) else { return };
        if let Some(reason) = args.iter().find_map(Value::unknown) {
            let reason = format!("its name is not known: {reason}");
            return self.left(node, &reason);
        }
        self.counted += 1;
        let name = format!(
            "{}{}{}",
            object.path.join("."),
            if object.path.is_empty() { "" } else { "." },
            send.method_name
        );
        let inner = match (name.as_str(), first) {
            ("vm.define", Some(machine)) => Object {
                machine: Some(machine),
                path: Vec::new(),
            },
            ("vm.provision", _) => Object {
                machine: object.machine.clone(),
                path: vec![format!("provision#{}", self.counted)],
            },
            (_, Some(first)) => Object {
                machine: object.machine.clone(),
                path: vec![name.clone(), first],
            },
            _ => Object {
                machine: object.machine.clone(),
                path: vec![name.clone()],
            },
        };
        let mut args = args;
        if let [part] = inner.path.as_slice()
            && part.starts_with("provision#")
        {
            args.push(Value::Object(inner.clone()));
        }
        self.calls.push(Call {
            machine: object.machine,
            name,
            args,
            key,
        });
        self.with(
            names,
            vec![Value::Object(inner.clone()), Value::Object(inner)],
            body,
        );
    }

    fn with(&mut self, names: &[String], values: Vec<Value>, body: &Node) {
        let before: Vec<(String, Option<Value>)> = names
            .iter()
            .map(|name| (name.clone(), self.scope.get(name).cloned()))
            .collect();
        let mut values = values.into_iter();
        for name in names {
            match name
                .strip_prefix('(')
                .map(|inner| inner.trim_end_matches(')').split(','))
            {
                Some(parts) => {
                    if let Some(Value::List(items)) = values.next() {
                        for (part, item) in parts.zip(items) {
                            self.scope.insert(part.to_owned(), item);
                        }
                    }
                }
                None => drop(
                    self.scope
                        .insert(name.clone(), values.next().unwrap_or(Value::Nil)),
                ),
            }
        }
        self.statement(body);
        for (name, value) in before {
            match value {
                Some(value) => drop(self.scope.insert(name, value)),
                None => drop(self.scope.remove(&name)),
            }
        }
    }

    fn send(&mut self, node: &Node, send: &nodes::Send) {
        let key = self.key(node);
        if send.recv.is_none() {
            if let Some((names, body)) = self.methods.get(&send.method_name).cloned() {
                let args = send.args.iter().map(|one| self.value(one)).collect();
                self.mark(node);
                return self.with(&names, args, &body);
            }
            let reason = match send.method_name.as_str() {
                "require" | "require_relative" | "puts" | "p" | "print" | "private" => {
                    Ok("of no meaning for what is declared")
                }
                "abort" | "raise" | "exit" | "fail" => Ok("it only ends the program"),
                _ => Err("a method that is not understood"),
            };
            if let Some(key) = key {
                match reason {
                    Ok(reason) => self.account.noted(key, reason),
                    Err(reason) => self.account.left(key, reason),
                }
            }
            return;
        }
        let receiver = send
            .recv
            .as_deref()
            .map_or(Value::Nil, |one| self.value(one));
        match receiver {
            Value::Object(object) => {
                let args: Vec<Value> = send.args.iter().map(|one| self.value(one)).collect();
                let mut path = object.path;
                path.push(send.method_name.trim_end_matches('=').to_owned());
                let Some(key) = key else { return };
                self.calls.push(Call {
                    machine: object.machine,
                    name: path.join("."),
                    args,
                    key,
                });
            }
            _ => {
                if matches!(send.recv.as_deref(), Some(Node::Const(name)) if name.name == "Vagrant")
                {
                    if let Some(key) = key {
                        self.account.noted(key, "about Vagrant itself");
                    }
                    return;
                }
                let value = self.value(node);
                match value.unknown() {
                    Some(reason) => self.left(node, &format!("not understood: {reason}")),
                    None => self.mark(node),
                }
            }
        }
    }

    fn value(&mut self, node: &Node) -> Value {
        self.steps += 1;
        if self.steps > STEPS || self.depth > DEEPEST {
            return unknown("too much is computed");
        }
        self.depth += 1;
        let value = self.evaluated(node);
        self.depth -= 1;
        value
    }

    fn evaluated(&mut self, node: &Node) -> Value {
        match node {
            Node::Nil(_) => Value::Nil,
            Node::True(_) => Value::Bool(true),
            Node::False(_) => Value::Bool(false),
            Node::Int(one) => one
                .value
                .replace('_', "")
                .parse()
                .map_or_else(|_| unknown("a large number"), Value::Int),
            Node::Float(one) => Value::text(one.value.clone()),
            Node::Str(one) => Value::text(one.value.to_string_lossy()),
            Node::Sym(one) => Value::text(one.name.to_string_lossy()),
            Node::Dstr(one) => self.joined(&one.parts),
            Node::Heredoc(one) => {
                let line = self.line(one.heredoc_body_l.begin);
                match self.joined(&one.parts) {
                    Value::Text(text, _) => Value::Text(text, Some(line)),
                    other => other,
                }
            }
            Node::Array(one) => {
                let mut all = Vec::new();
                for element in &one.elements {
                    match element {
                        Node::Splat(splat) => {
                            match splat.value.as_deref().map(|one| self.value(one)) {
                                Some(Value::List(more)) => all.extend(more),
                                Some(other) => all.push(other),
                                None => {}
                            }
                        }
                        element => all.push(self.value(element)),
                    }
                }
                Value::List(all)
            }
            Node::Hash(one) => self.hash(&one.pairs),
            Node::Kwargs(one) => self.hash(&one.pairs),
            Node::Irange(one) => {
                let end = |one: &Option<Box<Node>>, run: &mut Self| {
                    one.as_deref().map(|one| run.value(one))
                };
                match (end(&one.left, self), end(&one.right, self)) {
                    (Some(Value::Int(from)), Some(Value::Int(to))) if to - from < 1000 => {
                        Value::List((from..=to).map(Value::Int).collect())
                    }
                    _ => unknown("a range that is computed"),
                }
            }
            Node::Erange(one) => {
                let end = |one: &Option<Box<Node>>, run: &mut Self| {
                    one.as_deref().map(|one| run.value(one))
                };
                match (end(&one.left, self), end(&one.right, self)) {
                    (Some(Value::Int(from)), Some(Value::Int(to))) if to - from < 1000 => {
                        Value::List((from..to).map(Value::Int).collect())
                    }
                    _ => unknown("a range that is computed"),
                }
            }
            Node::Lvar(one) => self.named(&one.name),
            Node::Gvar(one) => self.named(&one.name),
            Node::Ivar(one) => self.named(&one.name),
            Node::Const(one) => self.named(&one.name),
            Node::File(_) => Value::text("Vagrantfile"),
            Node::Begin(one) => {
                let mut last = Value::Nil;
                for one in &one.statements {
                    last = self.value(one);
                }
                last
            }
            Node::Or(one) => {
                let first = self.value(&one.lhs);
                match first.holds() {
                    Some(true) => first,
                    Some(false) => self.value(&one.rhs),
                    None => first,
                }
            }
            Node::And(one) => {
                let first = self.value(&one.lhs);
                match first.holds() {
                    Some(true) => self.value(&one.rhs),
                    _ => first,
                }
            }
            Node::IfTernary(one) => {
                let condition = self.value(&one.cond);
                match condition.holds() {
                    Some(true) => self.value(&one.if_true),
                    Some(false) => self.value(&one.if_false),
                    None => condition,
                }
            }
            Node::If(one) => {
                let condition = self.value(&one.cond);
                let branch = match condition.holds() {
                    Some(true) => one.if_true.as_deref(),
                    Some(false) => one.if_false.as_deref(),
                    None => return condition,
                };
                branch.map_or(Value::Nil, |one| self.value(one))
            }
            Node::Index(one) => {
                if is_env(&one.recv) {
                    return Value::Nil;
                }
                let receiver = self.value(&one.recv);
                let index = one
                    .indexes
                    .first()
                    .map(|one| self.value(one))
                    .unwrap_or(Value::Nil);
                at(&receiver, &index)
            }
            Node::Send(one) => self.called(one),
            Node::CSend(one) => {
                let receiver = self.value(&one.recv);
                match receiver {
                    Value::Nil => Value::Nil,
                    other => self.method(other, &one.method_name, &one.args),
                }
            }
            Node::Xstr(_) | Node::XHeredoc(_) => unknown("the output of a program"),
            Node::Defined(_) => unknown("`defined?`"),
            _ => unknown("Ruby that computes at run time"),
        }
    }

    fn named(&self, name: &str) -> Value {
        self.scope
            .get(name)
            .cloned()
            .unwrap_or_else(|| unknown(format!("`{name}` is set elsewhere")))
    }

    fn joined(&mut self, parts: &[Node]) -> Value {
        let mut text = String::new();
        for part in parts {
            let value = self.value(part);
            match value.shown() {
                Some(more) => text.push_str(&more),
                None => {
                    return unknown(
                        value
                            .unknown()
                            .unwrap_or("a string of something else")
                            .to_owned(),
                    );
                }
            }
        }
        Value::text(text)
    }

    fn hash(&mut self, pairs: &[Node]) -> Value {
        let mut all = Vec::new();
        for pair in pairs {
            match pair {
                Node::Pair(pair) => {
                    let (key, value) = (self.value(&pair.key), self.value(&pair.value));
                    match key.shown() {
                        Some(key) => all.push((key, value)),
                        None => return unknown("a key that is computed"),
                    }
                }
                _ => return unknown("keys that are computed"),
            }
        }
        Value::Hash(all)
    }

    fn called(&mut self, send: &nodes::Send) -> Value {
        let name = send.method_name.as_str();
        let Some(receiver) = send.recv.as_deref() else {
            return match name {
                "__dir__" => Value::text("."),
                _ => unknown(format!("`{name}` is a method that is not understood")),
            };
        };
        if is_env(receiver) {
            let default = send.args.get(1).map(|one| self.value(one));
            return match name {
                "fetch" => default
                    .unwrap_or_else(|| unknown("a variable of who runs it, without a default")),
                "key?" | "has_key?" | "include?" => Value::Bool(false),
                "[]" => Value::Nil,
                _ => unknown("variables of who runs it"),
            };
        }
        if let Node::Const(constant) = receiver {
            let args: Vec<Value> = send.args.iter().map(|one| self.value(one)).collect();
            let texts: Option<Vec<String>> = args.iter().map(Value::shown).collect();
            let reason = format!("`{}.{name}` is computed at run time", constant.name);
            return match (constant.name.as_str(), name, texts.as_deref()) {
                ("File", "join", Some(parts)) => Value::text(parts.join("/")),
                ("File", "expand_path" | "absolute_path" | "realpath", Some([path])) => {
                    Value::text(path.clone())
                }
                ("File", "expand_path", Some([path, base])) => match base.as_str() {
                    "Vagrantfile" => Value::text(path.trim_start_matches("../").to_owned()),
                    base => Value::text(format!("{base}/{path}")),
                },
                ("File", "dirname", Some([path])) => Value::text(
                    path.rsplit_once('/')
                        .map_or(".", |(folder, _)| folder)
                        .to_owned(),
                ),
                ("File", "basename", Some([path])) => {
                    Value::text(path.rsplit('/').next().unwrap_or_default().to_owned())
                }
                ("File", "exist?" | "exists?" | "file?", Some([path])) => {
                    Value::Bool(self.folder.join(path).exists())
                }
                ("File" | "Dir", "directory?", Some([path])) => {
                    Value::Bool(self.folder.join(path).is_dir())
                }
                ("File", "read", Some([path])) => match super::input::text(&self.folder.join(path))
                {
                    Ok(text) => Value::text(text),
                    Err(why) => unknown(format!("`{path}` {why}")),
                },
                ("Vagrant", "has_plugin?", _) => Value::Bool(false),
                ("Dir", "pwd", _) => Value::text("."),
                _ => match self.scope.get(&constant.name).cloned() {
                    Some(value) => self.method(value, name, &send.args),
                    None => unknown(reason),
                },
            };
        }
        let receiver = self.value(receiver);
        self.method(receiver, name, &send.args)
    }

    fn method(&mut self, receiver: Value, name: &str, args: &[Node]) -> Value {
        if let Value::Object(object) = &receiver {
            let mut path = object.path.clone();
            path.push(name.to_owned());
            return Value::Object(Object {
                machine: object.machine.clone(),
                path,
            });
        }
        let args: Vec<Value> = args.iter().map(|one| self.value(one)).collect();
        if let Value::Unknown(_) = receiver {
            return receiver;
        }
        if let Some(Value::Unknown(reason)) = args.first() {
            return unknown(reason.clone());
        }
        let shown = receiver.shown();
        match (name, &receiver, args.first()) {
            (
                "to_s" | "strip" | "chomp" | "freeze" | "to_sym" | "dup" | "lstrip" | "rstrip"
                | "itself" | "to_a",
                ..,
            ) => match (name, &receiver) {
                ("strip", Value::Text(text, line)) => Value::Text(text.trim().to_owned(), *line),
                ("to_s", _) => {
                    shown.map_or_else(|| unknown("a text of something else"), Value::text)
                }
                _ => receiver,
            },
            ("to_i", Value::Int(_), _) => receiver,
            ("to_i", Value::Text(text, _), _) => {
                let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
                Value::Int(digits.parse().unwrap_or(0))
            }
            ("to_i", Value::Nil, _) => Value::Int(0),
            ("downcase", Value::Text(text, _), _) => Value::text(text.to_lowercase()),
            ("upcase", Value::Text(text, _), _) => Value::text(text.to_uppercase()),
            ("+", Value::Int(one), Some(Value::Int(other))) => one
                .checked_add(*other)
                .map_or_else(|| unknown("a large number"), Value::Int),
            ("-", Value::Int(one), Some(Value::Int(other))) => one
                .checked_sub(*other)
                .map_or_else(|| unknown("a large number"), Value::Int),
            ("*", Value::Int(one), Some(Value::Int(other))) => one
                .checked_mul(*other)
                .map_or_else(|| unknown("a large number"), Value::Int),
            ("+", Value::Text(one, line), Some(Value::Text(other, _)))
                if one.len() + other.len() < 1 << 20 =>
            {
                Value::Text(format!("{one}{other}"), *line)
            }
            ("+", Value::List(one), Some(Value::List(other)))
                if one.len() + other.len() < 10_000 =>
            {
                Value::List(one.iter().chain(other).cloned().collect())
            }
            ("<<", Value::List(one), Some(other)) => {
                Value::List(one.iter().chain([other]).cloned().collect())
            }
            ("==", _, Some(other)) => {
                Value::Bool(shown.is_some() && shown == other.shown() || receiver == *other)
            }
            ("!=", _, Some(other)) => {
                Value::Bool(!(shown.is_some() && shown == other.shown() || receiver == *other))
            }
            (">", Value::Int(one), Some(Value::Int(other))) => Value::Bool(one > other),
            ("<", Value::Int(one), Some(Value::Int(other))) => Value::Bool(one < other),
            (">=", Value::Int(one), Some(Value::Int(other))) => Value::Bool(one >= other),
            ("<=", Value::Int(one), Some(Value::Int(other))) => Value::Bool(one <= other),
            ("!", ..) => receiver
                .holds()
                .map_or_else(|| unknown("a condition"), |holds| Value::Bool(!holds)),
            ("nil?", ..) => Value::Bool(receiver == Value::Nil),
            ("empty?", ..) => Value::Bool(match &receiver {
                Value::Text(text, _) => text.is_empty(),
                Value::List(all) => all.is_empty(),
                Value::Hash(all) => all.is_empty(),
                _ => false,
            }),
            ("key?" | "has_key?" | "include?", Value::Hash(_), Some(key)) => {
                Value::Bool(key.shown().is_some_and(|key| receiver.get(&key).is_some()))
            }
            ("include?", Value::List(all), Some(one)) => {
                Value::Bool(all.iter().any(|own| own.shown() == one.shown()))
            }
            ("include?", Value::Text(text, _), Some(one)) => {
                Value::Bool(one.shown().is_some_and(|one| text.contains(&one)))
            }
            ("fetch" | "dig", Value::Hash(_), Some(key)) => {
                match key.shown().and_then(|key| receiver.get(&key).cloned()) {
                    Some(value) => value,
                    None => args.get(1).cloned().unwrap_or(Value::Nil),
                }
            }
            ("join", Value::List(all), by) => {
                let by = by.and_then(Value::shown).unwrap_or_default();
                let texts: Option<Vec<String>> = all.iter().map(Value::shown).collect();
                texts.map_or_else(
                    || unknown("a text of something else"),
                    |texts| Value::text(texts.join(&by)),
                )
            }
            ("split", Value::Text(text, _), by) => {
                let parts: Vec<String> = match by.and_then(Value::shown) {
                    Some(by) => text.split(by.as_str()).map(str::to_owned).collect(),
                    None => text.split_whitespace().map(str::to_owned).collect(),
                };
                Value::List(parts.into_iter().map(Value::text).collect())
            }
            ("size" | "length" | "count", Value::List(all), _) => {
                Value::Int(i64::try_from(all.len()).unwrap_or(0))
            }
            ("first", Value::List(all), _) => all.first().cloned().unwrap_or(Value::Nil),
            ("last", Value::List(all), _) => all.last().cloned().unwrap_or(Value::Nil),
            ("keys", Value::Hash(all), _) => Value::List(
                all.iter()
                    .map(|(key, _)| Value::text(key.clone()))
                    .collect(),
            ),
            ("values", Value::Hash(all), _) => {
                Value::List(all.iter().map(|(_, value)| value.clone()).collect())
            }
            ("merge", Value::Hash(all), Some(Value::Hash(more))) => {
                let mut all: Vec<(String, Value)> = all
                    .iter()
                    .filter(|(key, _)| more.iter().all(|(own, _)| own != key))
                    .cloned()
                    .collect();
                all.extend(more.iter().cloned());
                Value::Hash(all)
            }
            ("%", Value::Text(..), _) | ("gsub" | "sub" | "tr" | "format", ..) => {
                unknown(format!("`{name}` is computed at run time"))
            }
            _ => unknown(format!("`{name}` is computed at run time")),
        }
    }
}

fn at(receiver: &Value, index: &Value) -> Value {
    match (receiver, index) {
        (Value::Hash(_), index) => index
            .shown()
            .and_then(|key| receiver.get(&key).cloned())
            .unwrap_or(Value::Nil),
        (Value::List(all), Value::Int(number)) => {
            let at = if *number < 0 {
                number + i64::try_from(all.len()).unwrap_or(0)
            } else {
                *number
            };
            usize::try_from(at)
                .ok()
                .and_then(|at| all.get(at).cloned())
                .unwrap_or(Value::Nil)
        }
        (Value::Unknown(reason), _) => unknown(reason.clone()),
        _ => unknown("an index that is computed at run time"),
    }
}

fn is_env(node: &Node) -> bool {
    matches!(node, Node::Const(name) if name.name == "ENV")
}

/// The names of a block's parameters; `(a,b)` where one is divided.
fn parameters(args: Option<&Node>) -> Vec<String> {
    let Some(Node::Args(args)) = args else {
        return Vec::new();
    };
    args.args
        .iter()
        .filter_map(|arg| match arg {
            Node::Arg(one) => Some(one.name.clone()),
            Node::Optarg(one) => Some(one.name.clone()),
            Node::Procarg0(one) => {
                let names = parameters_of(&one.args);
                Some(if names.len() == 1 {
                    names.concat()
                } else {
                    format!("({})", names.join(","))
                })
            }
            Node::Mlhs(one) => Some(format!("({})", parameters_of(&one.items).join(","))),
            _ => None,
        })
        .collect()
}

fn parameters_of(all: &[Node]) -> Vec<String> {
    all.iter()
        .filter_map(|arg| match arg {
            Node::Arg(one) => Some(one.name.clone()),
            _ => None,
        })
        .collect()
}
