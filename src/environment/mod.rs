//! Environment files: read, merged and checked into an [`Environment`], every problem at once. The one place that reads the
//! user's files.

mod check;
mod merge;
mod names;
mod paths;
mod read;
mod schema;
mod secret;
mod vars;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::declaration::{
    Driver, Entry, Environment, Generated, Node, Origin, SecretSource, Stage, Value,
};
use crate::error::{Failure, Kind, Level, Problem};
use crate::secret::{Secret, sha256};
use crate::services;

pub use schema::{reference, schema};

/// The most problems that are told at once.
const TOLD: usize = 1000;

/// The names of the environments of a folder, sorted: every `NAME.toml`.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| !name.is_empty() && !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// Loads an environment by its name in the folder, or by a path to its file. Offline: secrets are not had yet.
///
/// # Errors
/// Every mistake in every file, as problems.
pub fn load(dir: &Path, name: &str) -> Result<Environment, Failure> {
    let path = if name.contains('/') || name.ends_with(".toml") {
        PathBuf::from(name)
    } else {
        dir.join(format!("{name}.toml"))
    };
    let shown = path.display().to_string();
    let bytes = read::bytes(&path).map_err(|why| unreadable(dir, name, &path, &why))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| unreadable(dir, name, &path, &read::trouble(&error)))?;
    let file = folder.join(path.file_name().unwrap_or_default());
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    build(&file, &shown, stem.unwrap_or_default(), &folder, bytes)
}

/// Checks a text as the file it would be, without writing it. Paths in it are relative to that file's folder.
///
/// # Errors
/// Every mistake in it, as problems; also what it means is asked.
pub fn check(file: &Path, text: &str) -> Result<Environment, Failure> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let folder = folder
        .canonicalize()
        .or_else(|_| std::path::absolute(folder))
        .unwrap_or_else(|_| folder.to_owned());
    let file = folder.join(file.file_name().unwrap_or_default());
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let shown = file.display().to_string();
    let stem = stem.unwrap_or_default().to_owned();
    let environment = build(&file, &shown, &stem, &folder, text.as_bytes().to_vec())?;
    if !environment.is_abstract {
        let told = |problems| Failure::problems(format!("`{shown}` cannot be used"), problems);
        services::meaning(&environment, &services::Ports::new()).map_err(told)?;
    }
    Ok(environment)
}

fn unreadable(dir: &Path, name: &str, path: &Path, why: &str) -> Failure {
    let shown = path.display();
    if why != "does not exist" {
        return Failure::new(Kind::Usage, format!("`{shown}` {why}"));
    }
    let names = names(dir);
    let mut failure = Failure::new(
        Kind::Usage,
        format!("there is no environment `{name}`: `{shown}` does not exist"),
    );
    if let Some(close) = crate::error::nearest(name, names.iter().map(String::as_str)) {
        failure = failure.hint(format!("did you mean `{close}`?"));
    } else if !names.is_empty() {
        failure = failure.hint(format!("`{}` has {}", dir.display(), names.join(", ")));
    }
    failure
        .hint(format!(
            "`provision init {name}` writes a first environment file"
        ))
        .hint("`provision doctor` says what is missing on this machine")
}

fn build(
    file: &Path,
    shown: &str,
    stem: &str,
    folder: &Path,
    bytes: Vec<u8>,
) -> Result<Environment, Failure> {
    let mut book = read::Book::default();
    let merged = merge::load(&mut book, file, shown, bytes);
    if merged.empty {
        book.error(check::ROOT_AT, "the file is empty").help = Some(format!(
            "`provision init {stem}` writes a first environment file"
        ));
        return Err(told(shown, book, Vec::new()));
    }
    let mut checker = check::Checker {
        book: &mut book,
        names: BTreeMap::new(),
        stage: None,
        complete: !merged.broken,
        warnings: Vec::new(),
        paths: HashMap::new(),
        path: Vec::new(),
        dropped: 0,
        defaults: HashMap::new(),
    };
    let tree = checker.root(merged.table);
    let warnings = checker.warnings;
    let (stage, named) = (checker.stage, checker.paths);
    let mut environment = Environment {
        name: stem.to_owned(),
        project: String::new(),
        stage: stage.unwrap_or(Stage::Prod),
        driver: Driver::Docker,
        engine_host: None,
        is_abstract: false,
        file: shown.to_owned(),
        dir: folder.to_owned(),
        folder: PathBuf::new(),
        tree,
        texts: BTreeMap::new(),
        folders: BTreeMap::new(),
        owners: BTreeMap::new(),
        files: BTreeMap::new(),
        templates: BTreeMap::new(),
        warnings,
        generated: Vec::new(),
    };
    identify(&mut environment, &mut book, folder);
    environment.driver = driver(&environment.tree);
    environment.engine_host = match environment.driver {
        Driver::Docker => host(&environment.tree),
        _ => None,
    };
    fetch(&mut environment, &mut book, folder, &named);
    // An abstract one may name what only its children declare.
    if !merged.broken && !environment.is_abstract {
        let (mut errors, warnings): (Vec<_>, Vec<_>) = services::check(&environment)
            .into_iter()
            .partition(|problem| problem.level == Level::Error);
        // What cannot be meant is told by whoever asks for the meaning; here only where that is not reached.
        if !errors.is_empty() || !book.problems.is_empty() {
            errors.extend(services::mistakes(&environment));
        }
        let told: Vec<Origin> = book.problems.iter().map(|one| one.origin.clone()).collect();
        let fresh = |one: &Problem| one.origin.is_none() || !told.contains(&one.origin);
        book.problems.extend(errors.into_iter().filter(fresh));
        environment.warnings.extend(warnings);
    }
    if book.problems.is_empty() {
        veil(&mut environment.warnings, &book);
        sort(&mut environment.warnings);
        return Ok(environment);
    }
    Err(told(shown, book, environment.warnings))
}

/// Name, project and folder.
fn identify(environment: &mut Environment, book: &mut read::Book, folder: &Path) {
    let none = Node {
        value: Value::Table(Default::default()),
        origin: Origin::NONE,
    };
    let table = environment.tree.get("environment").unwrap_or(&none);
    let own = table.text("name").map(str::to_owned);
    let project = table.text("project").unwrap_or_default().to_owned();
    environment.is_abstract = table.bool("abstract").unwrap_or(false);
    if own.is_none()
        && !environment.is_abstract
        && let Err(rule) = names::name(&environment.name)
    {
        let name = read::shorten(&environment.name);
        let message = format!("an environment cannot be called `{name}`, as its file is");
        book.error(check::ROOT_AT, message).help =
            Some(format!("{rule}; or say `name` in `[environment]`"));
    }
    environment.name = own.unwrap_or(std::mem::take(&mut environment.name));
    environment.project = project;
    let root = folder.parent().unwrap_or(folder);
    environment.folder = root.join(".provision").join(&environment.name);
}

/// The driver of `[target]`.
fn driver(tree: &Node) -> Driver {
    match tree.get("target").and_then(|target| target.text("driver")) {
        Some("ssh") => Driver::Ssh,
        Some("local") => Driver::Local,
        Some("auto") => Driver::Auto,
        _ => Driver::Docker,
    }
}

/// The host of `[target]`.
fn host(tree: &Node) -> Option<Arc<str>> {
    Some(tree.get("target")?.text("host")?.into())
}

/// What services want to know of the user's files.
fn fetch(
    environment: &mut Environment,
    book: &mut read::Book,
    folder: &Path,
    named: &HashMap<PathBuf, Origin>,
) {
    let reads = services::reads(environment);
    let mut problem = |path: &Path, why: String| {
        let origin = named.get(path).cloned().unwrap_or_default();
        let message = format!("`{}` {why}", path.display());
        book.push(Problem::error(message, &origin));
    };
    for path in reads.texts {
        match paths::text(&path) {
            Ok(text) => drop(environment.texts.insert(path, text)),
            Err(why) => problem(&path, why),
        }
    }
    for path in reads.folders {
        match paths::digest(&path) {
            Ok(digest) => drop(environment.folders.insert(path, digest)),
            Err(why) => problem(&path, why),
        }
    }
    for path in reads.owners {
        match paths::owner(&path) {
            Ok(owner) => drop(environment.owners.insert(path, owner)),
            Err(why) => problem(&path, why),
        }
    }
    for path in reads.files {
        match paths::digest_of_file(&path) {
            Ok(digest) => drop(environment.files.insert(path, digest)),
            Err(why) => problem(&path, why),
        }
    }
    match paths::templates(&folder.join("templates")) {
        Ok(templates) => environment.templates = templates,
        Err(why) => {
            book.push(Problem::error(why, &Origin::NONE));
        }
    }
}

/// A failure made of all problems of a book.
fn told(shown: &str, mut book: read::Book, warnings: Vec<Problem>) -> Failure {
    let mut problems = std::mem::take(&mut book.problems);
    let count = problems.len();
    problems.extend(warnings);
    sort(&mut problems);
    if problems.len() > TOLD {
        let more = problems.len() - TOLD;
        problems.truncate(TOLD);
        problems.push(Problem::error(format!("and {more} more"), &Origin::NONE));
    }
    veil(&mut problems, &book);
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    Failure::problems(
        format!("`{shown}` cannot be used: {count} {mistakes}"),
        problems,
    )
}

/// Marks problems whose line holds a secret, or a part of one.
fn veil(problems: &mut [Problem], book: &read::Book) {
    let mut secrets = book.secrets.clone();
    secrets.sort_by_key(|at| (at.file, at.start));
    for problem in problems {
        let span = problem.origin.span();
        let Some(file) = problem.origin.source().and_then(|source| {
            let is = |page: &read::Page| {
                std::ptr::eq::<crate::declaration::Source>(&*page.source, source)
            };
            book.pages.iter().position(is)
        }) else {
            continue;
        };
        let text = &book.pages[file].source.text;
        let start = text
            .get(..span.start)
            .and_then(|text| text.rfind('\n'))
            .map_or(0, |at| at + 1);
        let end = text
            .get(span.start..)
            .and_then(|text| text.find('\n'))
            .map_or(text.len(), |at| span.start + at);
        // They may contain one another, so all that begin before the line's end are looked at, nearest first.
        let file = read::narrow(file);
        let first = secrets.partition_point(|at| at.file < file);
        let last = secrets.partition_point(|at| (at.file, at.start) <= (file, read::narrow(end)));
        problem.secret |= secrets[first..last]
            .iter()
            .rev()
            .any(|at| at.end >= read::narrow(start));
    }
}

/// By file and position; what has none comes last.
fn sort(problems: &mut [Problem]) {
    problems.sort_by(|one, other| place(one).cmp(&place(other)));
}

fn place(problem: &Problem) -> (bool, &str, usize) {
    let path = problem.origin.source().map(|source| source.path.as_str());
    (
        path.is_none(),
        path.unwrap_or_default(),
        problem.origin.span().start,
    )
}

/// The same environment with its secrets: read, run, or made once.
///
/// # Errors
/// [`Kind::Secret`], naming every secret that cannot be had and where it is declared.
pub fn resolve(mut environment: Environment) -> Result<Environment, Failure> {
    let mut wanted = Vec::new();
    let mut origins = Vec::new();
    visit(&mut environment.tree, &mut Vec::new(), &mut |path, node| {
        if let Value::Secret(source, _) = &node.value {
            wanted.push(secret::Wanted {
                is_new: false,
                source: source.clone(),
                key: path.join("."),
                folder: folder_of(&node.origin),
            });
            origins.push(node.origin.clone());
        }
    });
    secret::see_new(&mut wanted, &environment.folder);
    let answers = secret::have(&wanted, &environment.folder);
    let mut had = Vec::new();
    let mut problems = Vec::new();
    let mut hints: Vec<String> = Vec::new();
    for ((answer, wanted), origin) in answers.into_iter().zip(&wanted).zip(&origins) {
        match answer {
            Ok(secret) => had.push(secret),
            Err(missing) => {
                let message = format!("the secret `{}` cannot be had: {}", wanted.key, missing.why);
                problems.push(
                    Problem::error(message, origin)
                        .help(missing.hint.clone())
                        .secret(),
                );
                if !hints.contains(&missing.hint) {
                    hints.push(missing.hint);
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(no_secrets(problems, hints));
    }
    environment.warnings.extend(open_files(&wanted, &origins));
    environment.generated = generated(&environment, &wanted, &origins, &had);
    let mut had = had.into_iter();
    visit(&mut environment.tree, &mut Vec::new(), &mut |_, node| {
        if let Value::Secret(_, slot) = &mut node.value {
            *slot = had.next().unwrap_or_else(|| Secret::new(""));
        }
    });
    Ok(environment)
}

/// Those of some secrets that were made for the environment, without their values.
fn generated(
    environment: &Environment,
    wanted: &[secret::Wanted],
    origins: &[Origin],
    had: &[Secret],
) -> Vec<Generated> {
    let rows = wanted.iter().zip(origins).zip(had);
    let made = rows.filter(|((wanted, _), _)| matches!(wanted.source, SecretSource::Generate));
    made.map(|((wanted, origin), secret)| {
        let salt = format!(
            "{}.{}:{}",
            environment.project, environment.name, wanted.key
        );
        let mut digest = sha256(format!("{salt}:{}", secret.expose()));
        digest.truncate(32);
        Generated {
            key: wanted.key.clone(),
            digest,
            path: secret::path(&environment.folder, &wanted.key),
            origin: origin.clone(),
            is_new: wanted.is_new,
        }
    })
    .collect()
}

/// Takes back secrets that were made just now and must not be used: the next run finds none, and not wrong ones.
pub fn forget_new(generated: &[Generated]) {
    for secret in generated.iter().filter(|secret| secret.is_new) {
        if let Err(error) = fs::remove_file(&secret.path) {
            tracing::warn!("`{}` cannot be removed: {error}", secret.path.display());
        }
    }
}

fn no_secrets(problems: Vec<Problem>, hints: Vec<String>) -> Failure {
    let message = match problems.as_slice() {
        [one] => format!("{} ({})", one.message, one.origin.short()),
        many => format!("{} secrets cannot be had", many.len()),
    };
    Failure {
        problems,
        hints,
        ..Failure::new(Kind::Secret, message)
    }
}

/// Files of secrets that everybody can read.
fn open_files(wanted: &[secret::Wanted], origins: &[Origin]) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (wanted, origin) in wanted.iter().zip(origins) {
        let (SecretSource::File(path) | SecretSource::Dotenv(path, _)) = &wanted.source else {
            continue;
        };
        let open = fs::metadata(path).is_ok_and(|seen| seen.permissions().mode() & 0o004 != 0);
        if open {
            let path = path.display();
            let message =
                format!("`{path}` holds a secret, and every user of this machine can read it");
            let warning = Problem::warning(message, origin).help(format!("`chmod 600 {path}`"));
            warnings.push(warning.secret());
        }
    }
    warnings
}

fn folder_of(origin: &Origin) -> PathBuf {
    let path = origin.source().map(|source| Path::new(&source.path));
    match path.and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Every node, with the keys that lead to it.
fn visit<'a>(
    node: &'a mut Node,
    path: &mut Vec<Cow<'a, str>>,
    each: &mut impl FnMut(&[Cow<'a, str>], &mut Node),
) {
    if !matches!(node.value, Value::Table(_) | Value::List(_)) {
        each(path, node);
    }
    match &mut node.value {
        Value::Table(entries) => {
            for (key, Entry { node, .. }) in &mut entries.0 {
                path.push(Cow::Borrowed(key.as_str()));
                visit(node, path, each);
                path.pop();
            }
        }
        Value::List(items) => {
            for (n, node) in items.iter_mut().enumerate() {
                path.push(Cow::Owned(n.to_string()));
                visit(node, path, each);
                path.pop();
            }
        }
        _ => {}
    }
}
