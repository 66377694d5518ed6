//! What to try when a step fails: one table from what was said to the key of the environment file that mends it.
//!
//! Asked in one place, by `apply`, about whatever failed: a build, a task, the start of a container or a unit. Nothing in the table
//! is guessed: the tests hold outputs that were really seen, and look every package up in the distribution.

mod packages;

use packages::{HEADERS, LIBRARIES, Lib, MODULES, PKG_CONFIG, PROGRAMS};

/// How many hints one failure gets.
const MOST: usize = 3;

/// How much of what was said is looked at: its end.
const READ: usize = 256 * 1024;

/// Whose step failed, as far as hints have to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    /// The application, as in `shop` of `[django.shop]`; empty where it is none.
    pub application: &'a str,
    /// Its settings module; empty where it has none.
    pub settings: &'a str,
    /// Whether it runs on a Docker engine.
    pub on_engine: bool,
}

/// A row of the table: what a line says, in words of [`seen`], and what to try. `LINE && TEXT` wants the text on any line besides.
struct Rule {
    /// One hint for each subject: the first row that fits.
    about: &'static str,
    says: &'static [&'static str],
    hint: Hint,
}

#[derive(Clone, Copy)]
enum Hint {
    /// For every place. `{}` is the word that was found, `[]` the table of the owner.
    Say(&'static str),
    /// On an engine, and on a server.
    Each(&'static str, &'static str),
    /// A shared library is missing: the word is its file or its name.
    Library,
    /// This shared library is missing.
    Needs(&'static str),
    /// A header is missing.
    Header,
    /// A description for pkg-config is missing.
    PkgConfig,
    /// A program is missing.
    Program,
    /// A Python module is missing.
    Module,
    /// A variable of the environment is missing.
    Variable,
}

const COMPILER: Hint = Hint::Say(
    "a Python package is compiled and there is no compiler: add `build_packages = [\"build-essential\", \"python3-dev\"]` to [], or require a version that comes as a wheel",
);
const MYSQL: Hint = Hint::Say(
    "`mysqlclient` is compiled: add `build_packages = [\"build-essential\", \"pkg-config\", \"python3-dev\", \"default-libmysqlclient-dev\"]` and `packages = [\"libmariadb3\"]` to []",
);
const LIBPQ: Hint = Hint::Say(
    "psycopg without its binary wheel needs `libpq`: add `packages = [\"libpq5\"]` to [], or require `psycopg[binary]`",
);
const STATIC_ROOT: Hint = Hint::Each(
    "`collectstatic` can write only to the folder that the variable `DJANGO_STATIC_ROOT` names: say `STATIC_ROOT = os.environ[\"DJANGO_STATIC_ROOT\"]` in the settings, or `static = false` in []",
    "the source belongs to root, so `collectstatic` can write only to the folder that the variable `DJANGO_STATIC_ROOT` names, from which nginx serves: say `STATIC_ROOT = os.environ[\"DJANGO_STATIC_ROOT\"]` in the settings, or `static = false` in []",
);
const CA: Hint = Hint::Say(
    "a certificate is signed by somebody who is not trusted there, as behind a TLS proxy: name the proxy's certificates in `ca` of [], as in `ca = \"proxy-ca.pem\"`",
);
const HOSTS: Hint = Hint::Say(
    "the health check sends the Host header that `health_host` of [] names, and Django refuses hosts that `ALLOWED_HOSTS` does not have: let `ALLOWED_HOSTS` allow it, or name an allowed one in `health_host`",
);
const PYTHON: Hint = Hint::Each(
    "a requirement wants another version of Python: name an image with it in `image` of [], or require a version for this Python",
    "a requirement wants another version of Python: name an interpreter in `python` of [], or require a version for this Python",
);
const NO_HOST: Hint = Hint::Each(
    "a name cannot be resolved: is this machine offline, or is the index or database of another name? The build uses this machine's network",
    "a name cannot be resolved on the server: is it offline, or is the name wrong? An index of your own goes into `pip_index` of []",
);
const DISK: Hint = Hint::Each(
    "the disk is full: `docker system df` says what uses it, and `docker image prune` removes images without a name",
    "the disk of the server is full: `df -h` and `journalctl --disk-usage` say where to look",
);
const MEMORY: Hint = Hint::Each(
    "it was killed, most often because the memory ran out: give the engine more, or take fewer `workers` in []",
    "it was killed, most often because the memory ran out: `journalctl -k` says so; take fewer `workers` in [], or add swap",
);
const PORT: Hint = Hint::Each(
    "somebody else listens on this port: name another one in `listen` of its `[forward.NAME]`, or set `auto_correct = true` there",
    "somebody else listens on this port: `ss -ltnp` on the server says who; stop that, or take another port",
);
const LOGIN: Hint = Hint::Say(
    "the database does not let it in: the user, password and database in the `env` table of [] have to be those of a declared service, as in `\"{{ postgres.NAME.role.USER.password }}\"`",
);
const NO_SERVER: Hint = Hint::Say(
    "the database cannot be reached: take its address in the `env` table of [] from the service, as in `\"{{ postgres.NAME.host }}\"` and `\"{{ postgres.NAME.port }}\"`",
);

/// Most specific first: of two rows that fit, the upper one is said first, and alone where they are about the same.
const RULES: &[Rule] = &[
    // What is certain by its words, whatever else is said.
    rule(
        "disk",
        &["no space left on device", "disk quota exceeded"],
        DISK,
    ),
    rule(
        "memory",
        &[
            "it ran out of memory",
            "out of memory: killed process",
            "status 137",
            "non-zero code: 137",
            "ended with 137",
            "ends with 137",
            "oom-kill",
            "killed signal terminated program",
            "perhaps out of memory",
            "was sent sigkill",
            "died with <signals.sigkill",
        ],
        MEMORY,
    ),
    // TLS before the names and versions that are not found because of it.
    rule(
        "index",
        &[
            "certificate_verify_failed",
            "sslcertverificationerror",
            "self-signed certificate",
            "self signed certificate",
            "unable to get local issuer certificate",
            "invalid peer certificate",
            "server certificate verification failed",
            "certificate verification failed",
            "unable to verify the first certificate",
            "certificate signed by unknown authority",
            "x509: certificate",
            "ssl certificate problem",
        ],
        CA,
    ),
    rule(
        "index",
        &[
            "name or service not known')': /simple*",
            "temporary failure in name resolution')': /*",
            "error resolving dns",
            "dns error",
            "temporary failure resolving",
            "could not resolve '{}'",
            "could not resolve host",
            "name resolution')': /*",
            "failed to resolve '{}'",
        ],
        NO_HOST,
    ),
    rule(
        "index",
        &[
            "newconnectionerror*connection refused",
            "proxyerror",
            "network is unreachable",
            "newconnectionerror*timed out",
            "connecttimeouterror",
            "read timed out",
        ],
        Hint::Each(
            "the package index cannot be reached from this machine: is it offline, or behind a proxy that the build does not know?",
            "the package index cannot be reached from the server: name one that can in `pip_index` of [], or open its way out",
        ),
    ),
    rule(
        "index",
        &[
            "401 client error",
            "403 client error",
            "401 unauthorized",
            "403 forbidden",
            "http error 407",
            "407 proxy authentication",
        ],
        Hint::Each(
            "the package index or a proxy refuses: it wants a login that the build does not have",
            "the package index or a proxy refuses: it wants a login, which goes into `pip_index` of [] as a secret",
        ),
    ),
    // Built while requirements are installed.
    rule(
        "mysqlclient",
        &[
            "can not find valid pkg-config name",
            "specify mysqlclient_cflags",
            "mysql_config: not found",
            "mysql_config: command not found",
            "oserror: mysql_config not found",
        ],
        MYSQL,
    ),
    rule(
        "pg_config",
        &[
            "pg_config executable not found",
            "pg_config is required to build psycopg2",
            "unable to run pg_config",
            "pg_config: not found",
            "no such file or directory: 'pg_config'",
        ],
        Hint::Say(
            "`psycopg2` is compiled: require `psycopg2-binary`, or add `build_packages = [\"build-essential\", \"python3-dev\", \"libpq-dev\"]` and `packages = [\"libpq5\"]` to []",
        ),
    ),
    rule(
        "mariadb",
        &["mariadb_config not found"],
        Hint::Say(
            "`mariadb` is compiled: add `build_packages = [\"build-essential\", \"python3-dev\", \"libmariadb-dev\"]` and `packages = [\"libmariadb3\"]` to []",
        ),
    ),
    rule(
        "lxml",
        &[
            "make sure the libxml2 and libxslt development packages are installed",
            "could not find function xmlcheckversion in library libxml2",
        ],
        Hint::Say(
            "`lxml` is compiled: add `build_packages = [\"build-essential\", \"python3-dev\", \"libxml2-dev\", \"libxslt1-dev\"]` and `packages = [\"libxml2\", \"libxslt1.1\"]` to [], or require a version that comes as a wheel",
        ),
    ),
    rule(
        "xmlsec",
        &["xmlsec1 is not installed or not in path"],
        Hint::Say(
            "`xmlsec` is compiled: add `build_packages = [\"build-essential\", \"pkg-config\", \"python3-dev\", \"libxmlsec1-dev\"]` to []; what it needs where it runs is said when it starts",
        ),
    ),
    rule(
        "rust",
        &[
            "can't find rust compiler",
            "rust compiler is not",
            "cargo, the rust package manager, is not installed",
            "rust not found, installing into a temporary directory",
            "this package requires rust",
            "no such file or directory: 'cargo'",
            "no such file or directory: 'rustc'",
        ],
        Hint::Say(
            "a Python package is compiled from Rust: add `build_packages = [\"build-essential\", \"python3-dev\", \"cargo\"]` to [], or require a version that comes as a wheel",
        ),
    ),
    rule(
        "jpeg",
        &[
            "requireddependencyexception: jpeg",
            "the headers or library files could not be found for jpeg",
        ],
        Hint::Say(
            "`Pillow` is compiled: add `build_packages = [\"build-essential\", \"python3-dev\", \"libjpeg-dev\", \"zlib1g-dev\"]` and `packages = [\"libjpeg62-turbo\"]` to [], or require a version that comes as a wheel",
        ),
    ),
    rule(
        "jpeg",
        &[
            "requireddependencyexception: zlib",
            "the headers or library files could not be found for zlib",
        ],
        Hint::Say(
            "`Pillow` is compiled: add `build_packages = [\"build-essential\", \"python3-dev\", \"zlib1g-dev\"]` to [], or require a version that comes as a wheel",
        ),
    ),
    rule(
        "header",
        &["fatal error: {}: no such file or directory"],
        Hint::Header,
    ),
    rule(
        "pkg-config",
        &[
            "unable to invoke pkg-config",
            "pkg-config: not found",
            "pkg-config: command not found",
            "please install pkg-config",
            "no such file or directory: 'pkg-config'",
            "did not find pkg-config",
        ],
        Hint::Say(
            "what a Python package is compiled with is looked up with `pkg-config`: add `build_packages = [\"build-essential\", \"pkg-config\"]` to [], and the `-dev` package of the library it names",
        ),
    ),
    rule(
        "pkg-config",
        &[
            "dependency \"{}\" not found",
            "package {} was not found in the pkg-config",
            "package '{}', required by",
            "no package '{}' found",
        ],
        Hint::PkgConfig,
    ),
    rule(
        "compiler",
        &[
            "'x86_64-linux-gnu-gcc'",
            "'x86_64-linux-gnu-g++'",
            "'aarch64-linux-gnu-gcc'",
            "'aarch64-linux-gnu-g++'",
            "no such file or directory: 'gcc'",
            "no such file or directory: 'g++'",
            "no such file or directory: 'cc'",
            "unable to execute 'gcc'",
            "gcc: not found",
            "gcc: command not found",
            "command 'gcc' failed: no such file",
            "gcc' failed: no such file or directory",
            "g++' failed: no such file or directory",
            "unknown compiler(s)",
            "need a c compiler",
            "no acceptable c compiler",
            "gcc failed: no such file",
        ],
        COMPILER,
    ),
    rule("compiler", &["linker `cc` not found"], COMPILER),
    // Missing where it runs.
    rule(
        "libpq",
        &[
            "libpq library not found",
            "no pq wrapper available",
            "libpq.so.5: cannot open shared object file",
        ],
        LIBPQ,
    ),
    rule(
        "libpq",
        &[
            "error loading psycopg2 or psycopg module",
            "error loading psycopg2 module",
        ],
        Hint::Say(
            "Django cannot load psycopg: require `psycopg[binary]`; if psycopg is required without `[binary]`, what is missing is libpq, with `packages = [\"libpq5\"]` in []",
        ),
    ),
    rule(
        "mysql",
        &["error loading mysqldb module"],
        Hint::Say(
            "Django cannot load `MySQLdb`: require `mysqlclient`, with `build_packages = [\"build-essential\", \"pkg-config\", \"python3-dev\", \"default-libmysqlclient-dev\"]` and `packages = [\"libmariadb3\"]` in []",
        ),
    ),
    rule(
        "libmagic",
        &["failed to find libmagic"],
        Hint::Needs("libmagic.so.1"),
    ),
    rule(
        "libgdal",
        &[
            "could not find the gdal library",
            "could not find gdal library",
        ],
        Hint::Needs("libgdal"),
    ),
    rule(
        "libgeos",
        &["could not find the geos library", "could not import lgeos"],
        Hint::Needs("libgeos_c.so.1"),
    ),
    rule(
        "spatialite",
        &[
            "unable to load the spatialite library",
            "unable to locate the spatialite library",
        ],
        Hint::Needs("mod_spatialite.so"),
    ),
    rule(
        "libzbar",
        &["unable to find zbar shared library"],
        Hint::Needs("libzbar.so.0"),
    ),
    rule(
        "imagemagick",
        &["magickwand shared library not found"],
        Hint::Needs("libMagickWand"),
    ),
    rule(
        "sndfile",
        &["sndfile library not found"],
        Hint::Needs("libsndfile.so.1"),
    ),
    rule(
        "portaudio",
        &["portaudio library not found"],
        Hint::Needs("libportaudio.so.2"),
    ),
    rule(
        "poppler",
        &["is poppler installed and in path"],
        Hint::Say("it runs programs of poppler: add `packages = [\"poppler-utils\"]` to []"),
    ),
    rule(
        "tesseract",
        &["tesseract is not installed or it's not in your path"],
        Hint::Say("it runs `tesseract`: add `packages = [\"tesseract-ocr\"]` to []"),
    ),
    rule(
        "gettext",
        &[
            "can't find msgfmt",
            "can't find msguniq",
            "can't find xgettext",
        ],
        Hint::Say("it runs programs of gettext: add `packages = [\"gettext\"]` to []"),
    ),
    rule(
        "library",
        &[
            "{}: cannot open shared object file",
            "cannot load library '{}'",
            "library not loaded: {}",
            "no library called \"{}\" was found",
        ],
        Hint::Library,
    ),
    // Static files.
    rule(
        "static",
        &["without having set the static_root setting"],
        STATIC_ROOT,
    ),
    rule(
        "static",
        &[
            "collectstatic failed: static_root must be",
            "permissionerror: && collectstatic",
            "read-only file system && collectstatic",
        ],
        STATIC_ROOT,
    ),
    rule(
        "static",
        &[
            "permissionerror: [errno 13] permission denied: '",
            "read-only file system: '",
            "unable to open database file",
            "attempt to write a readonly database",
        ],
        Hint::Each(
            "the source is root's, and the application writes below `/var/lib/app` only: let its settings take such a path from the `env` table of []",
            "the source is root's, and the application writes below `/var/lib/<>` only: let its settings take such a path from the `env` table of []",
        ),
    ),
    // Settings and environment.
    rule(
        "variable",
        &[
            "set the environment variable {}",
            "set the {} environment variable",
            "{} not found. declare it as envvar",
            "environment variable {} is not set",
            "environment variable '{}' is not set",
            "environment variable \"{}\" is not set",
            "environment variable \"{}\" not set",
            "environment variable '{}' not set",
            "environment variable {} not set",
            "{} environment variable is not set",
            "{} environment variable not set",
            "missing environment variable {}",
            "missing environment variable: {}",
            "missing required environment variable {}",
            "missing required environment variable: {}",
            "{} environment variable is required",
            "environment variable {} is required",
            "{} must be set in the environment",
            "keyerror: '{}'",
        ],
        Hint::Variable,
    ),
    rule(
        "variable",
        &["the secret_key setting must not be empty"],
        Hint::Say(
            "the settings take `SECRET_KEY` from a variable that is not set: add it to the `env` table of [], as in `DJANGO_SECRET_KEY = { generate = true }`, by the name that the settings read",
        ),
    ),
    rule(
        "hosts",
        &[
            "you must set settings.allowed_hosts",
            "invalid http_host header: '{}'",
            "disallowedhost",
            "http error 400",
            " answers 400",
        ],
        HOSTS,
    ),
    rule(
        "health",
        &["http error 404", " answers 404"],
        Hint::Say(
            "the health check finds nothing at its path: name one that answers 200 in `health` of []",
        ),
    ),
    rule(
        "health",
        &[
            "http error 401",
            "http error 403",
            " answers 401",
            " answers 403",
            " answers 301",
            " answers 302",
        ],
        Hint::Say(
            "the health check is sent away: name a path that answers 200 without a login in `health` of []",
        ),
    ),
    rule(
        "module",
        &["no module named '{}'", "no module named {}"],
        Hint::Module,
    ),
    // Databases.
    rule(
        "database",
        &[
            "password authentication failed for user",
            "access denied for user",
            "no pg_hba.conf entry for host",
            "fatal:  role \"{}\" does not exist",
            "fatal:  role \"{}\" is not permitted to log in",
            "fatal:  database \"{}\" does not exist",
            "unknown database '{}'",
            "permission denied for database",
            "no password supplied",
        ],
        LOGIN,
    ),
    rule(
        "database",
        &[
            "could not translate host name \"{}\"",
            "failed to resolve host '{}'",
            "unknown mysql server host '{}'",
            "unknown server host '{}'",
            "can't connect to mysql server on",
            "can't connect to server on",
            "can't connect to local server",
            "can't connect to local mysql server",
            "is the server running on that host and accepting",
            "is the server running locally and accepting",
        ],
        NO_SERVER,
    ),
    // Ports and versions.
    rule(
        "port",
        &[
            "address already in use",
            "port is already allocated",
            "connection in use: (",
            "that port is already in use",
            "ports are not available",
        ],
        PORT,
    ),
    rule(
        "python",
        &[
            "requires-python *",
            "requires a different python",
            "python version (*) does not satisfy",
            "is not in the supported python range",
            "requires python '*' but the running python",
        ],
        PYTHON,
    ),
    rule(
        "index",
        &["no matching distribution found for {}"],
        Hint::Say(
            "the index has no `{}` in the version that is required: look at its name and version in the requirements",
        ),
    ),
    rule(
        "venv",
        &[
            "ensurepip is not available",
            "no module named venv",
            "is its package with venv there",
        ],
        Hint::Say(
            "the interpreter cannot make an environment: add its package, as in `packages = [\"python3-venv\"]`, to []",
        ),
    ),
    rule(
        "program",
        &[
            "no such file or directory: '{}'",
            "{}: not found",
            "{}: command not found",
            "executable file not found in $path: {}",
            "unable to find program '{}'",
            "no {} executable found",
        ],
        Hint::Program,
    ),
];

const fn rule(about: &'static str, says: &'static [&'static str], hint: Hint) -> Rule {
    Rule { about, says, hint }
}

/// What to try after a failure that said this; nothing where nobody knows.
pub fn hints(owner: &Owner<'_>, said: &str) -> Vec<String> {
    let lines: Vec<(String, &str)> = tail(said)
        .lines()
        .map(|line| (line.to_ascii_lowercase(), line))
        .collect();
    let mut hints: Vec<String> = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for rule in RULES {
        if told.contains(&rule.about) || hints.len() >= MOST {
            continue;
        }
        // The last lines first: what ended it is said last.
        let words = lines.iter().rev().filter_map(|(low, line)| {
            rule.says.iter().find_map(|says| {
                let (says, also) = says.split_once(" && ").unwrap_or((says, ""));
                seen(says, low, line).filter(|_| lines.iter().any(|(low, _)| low.contains(also)))
            })
        });
        for word in words {
            let Some(hint) = say(owner, rule, word, said) else {
                continue;
            };
            if !told.contains(&rule.about) {
                told.push(rule.about);
            }
            // The same to do under another name of what is missing.
            let end = |hint: &str| hint.split_once(": ").map(|(_, end)| end.to_owned());
            let known = hints.iter().any(|known| {
                *known == hint || end(known).is_some_and(|known| end(&hint) == Some(known))
            });
            if !known && hints.len() < MOST {
                hints.push(hint);
            }
            // A second word is another library or header; all else is said once.
            if !matches!(rule.hint, Hint::Library | Hint::Header | Hint::PkgConfig) {
                break;
            }
        }
    }
    hints
}

/// The hint of a row for a word, empty where there is nothing to say; none where the row does not apply to that word.
fn say(owner: &Owner<'_>, rule: &Rule, word: &str, said: &str) -> Option<String> {
    let text = match rule.hint {
        Hint::Say(text) => text.replace("{}", word),
        Hint::Each(engine, server) => match owner.on_engine {
            true => engine.to_owned(),
            false => server.to_owned(),
        },
        Hint::Library => library(word)?,
        Hint::Needs(name) => library(name)?,
        Hint::Header => header(word),
        Hint::PkgConfig => pkg_config(word),
        Hint::Program => program(word)?,
        Hint::Module => return module(owner, word, said),
        Hint::Variable => variable(word)?,
    };
    let name = match owner.application {
        "" => "NAME",
        name => name,
    };
    Some(text.replace("[]", &table(owner)).replace("<>", name))
}

/// Its table of the environment file.
fn table(owner: &Owner<'_>) -> String {
    match owner.application {
        "" => "its table".to_owned(),
        name => format!("`[django.{name}]`"),
    }
}

fn tail(said: &str) -> &str {
    let mut from = said.len().saturating_sub(READ);
    while !said.is_char_boundary(from) {
        from += 1;
    }
    &said[from..]
}

/// Whether a line says what a pattern says; gives the word at `{}`, or an empty one. `*` is any text. Upper and lower case are the
/// same: `low` is the line in lower case, as patterns are written.
fn seen<'a>(pattern: &str, low: &str, line: &'a str) -> Option<&'a str> {
    let first = pattern.split(['{', '*']).next().unwrap_or_default();
    if !first.is_empty() {
        let mut from = 0;
        while let Some(at) = low[from..].find(first) {
            if let Some((start, end)) = here(pattern, low, from + at) {
                return line.get(start..end);
            }
            from += at + first.len();
        }
        return None;
    }
    let mut before = ' ';
    for (at, c) in low.char_indices() {
        let begins = !is_word(before) || before == '=';
        before = c;
        if begins && let Some((start, end)) = here(pattern, low, at) {
            return line.get(start..end);
        }
    }
    None
}

/// Whether a pattern fits from this place; gives where its word is.
fn here(pattern: &str, low: &str, at: usize) -> Option<(usize, usize)> {
    if let Some(rest) = pattern.strip_prefix("{}") {
        let text = low.get(at..)?;
        let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
        // A full stop ends a sentence as well as a word.
        let mut ends = vec![at + end];
        ends.extend(text[..end].ends_with('.').then(|| at + end - 1));
        return ends
            .into_iter()
            .find(|end| *end > at && here(rest, low, *end).is_some())
            .map(|end| (at, end));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let text = low.get(at..)?;
        let mut places = text.char_indices().map(|(place, _)| at + place);
        return match rest {
            "" => Some((at, at)),
            _ => places.find_map(|place| here(rest, low, place)),
        };
    }
    let end = pattern.find(['{', '*']).unwrap_or(pattern.len());
    let (literal, rest) = pattern.split_at(end);
    let after = low.get(at..)?.strip_prefix(literal)?;
    match rest {
        "" => Some((at, at)),
        _ => here(rest, low, low.len() - after.len()),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '/' | '@' | '=')
}

/// `libgobject-2.0.so.0` and `gobject-2.0-0` as `gobject-2.0`.
fn stem(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or_default();
    let name = name.split(".so").next().unwrap_or_default();
    let name = name.strip_prefix("lib").unwrap_or(name);
    match name.rsplit_once('-') {
        Some((stem, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            stem
        }
        _ => name,
    }
}

/// The package of a shared library that is missing where it runs.
fn library(name: &str) -> Option<String> {
    if [".dylib", ".dll", ".framework"]
        .iter()
        .any(|end| name.contains(end))
        || name.len() < 3
    {
        return None;
    }
    let file = name.rsplit('/').next().unwrap_or_default();
    let exact = LIBRARIES.iter().filter(|lib| lib.file == file);
    let like = || {
        LIBRARIES
            .iter()
            .filter(|lib| stem(lib.file).eq_ignore_ascii_case(stem(file)))
    };
    let versioned = file.contains(".so.");
    let (libs, whole): (Vec<&Lib>, bool) = match exact.clone().next() {
        Some(_) => (exact.collect(), true),
        None => (like().collect(), !versioned),
    };
    let of = |choose: fn(&Lib) -> &'static str| {
        libs.iter()
            .map(|lib| choose(lib))
            .find(|package| !package.is_empty())
    };
    let (twelve, thirteen) = (of(|lib| lib.twelve), of(|lib| lib.thirteen));
    if libs.is_empty() {
        // Some loaders try several spellings; one that is no file name says little by itself.
        return (versioned || file.ends_with(".so")).then(|| {
            format!(
                "`{file}` is missing: `apt-file search {file}` names its Debian package, which goes into `packages` of []"
            )
        });
    }
    if !whole {
        return Some(format!(
            "`{file}` is of another release: Debian 12 has `{}`{}, so what needs it has to be built there; require a newer version, or build it with `build_packages` of []",
            libs[0].file,
            twelve
                .map(|package| format!(" in `{package}`"))
                .unwrap_or_default(),
        ));
    }
    Some(match (twelve, thirteen) {
        (Some(one), Some(two)) if one != two => format!(
            "`{name}` is missing: add `packages = [\"{one}\"]` to [], or on Debian 13 `packages = [\"{two}\"]`"
        ),
        (Some(one), Some(_)) => format!("`{name}` is missing: add `packages = [\"{one}\"]` to []"),
        (Some(one), None) => format!(
            "`{name}` is missing: add `packages = [\"{one}\"]` to []; only Debian 12 has it"
        ),
        (None, Some(two)) => format!(
            "`{name}` is missing: add `packages = [\"{two}\"]` to []; only Debian 13 has it"
        ),
        (None, None) => return None,
    })
}

fn build(what: &str, packages: &[&str]) -> String {
    let list: Vec<String> = packages
        .iter()
        .map(|package| format!("\"{package}\""))
        .collect();
    format!(
        "{what}: add `build_packages = [{}]` to [], or require a version that comes as a wheel",
        list.join(", ")
    )
}

fn header(name: &str) -> String {
    let package = HEADERS
        .iter()
        .find(|(header, _)| *header == name || name.ends_with(&format!("/{header}")))
        .or_else(|| {
            let folder = name.split_once('/').map(|(folder, _)| folder)?;
            HEADERS.iter().find(|(header, _)| {
                header
                    .split_once('/')
                    .is_some_and(|(other, _)| other == folder)
            })
        });
    match package {
        Some((_, "python3-dev")) => build(
            "a Python package is compiled, and Python's headers are missing",
            &["build-essential", "python3-dev"],
        ),
        Some((_, package)) => build(
            &format!("`{name}` is missing where a Python package is compiled"),
            &["build-essential", "python3-dev", package],
        ),
        None => format!(
            "`{name}` is missing where a Python package is compiled: `apt-file search {name}` names its Debian package, which goes into `build_packages` of []"
        ),
    }
}

fn pkg_config(name: &str) -> String {
    let package = PKG_CONFIG.iter().find(|(known, _)| *known == name);
    match package {
        Some((_, package)) => build(
            &format!("the library `{name}` is missing where a Python package is compiled"),
            &["build-essential", "pkg-config", "python3-dev", package],
        ),
        None => format!(
            "the library `{name}` is missing where a Python package is compiled: `apt-file search {name}.pc` names its Debian package, which goes into `build_packages` of []"
        ),
    }
}

fn program(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or_default();
    let (_, package, builds) = PROGRAMS.iter().find(|(known, ..)| *known == name)?;
    Some(match builds {
        true => build(
            &format!("`{name}` is missing where a Python package is compiled"),
            &["build-essential", "python3-dev", package],
        ),
        false => format!("the program `{name}` is missing: add `packages = [\"{package}\"]` to []"),
    })
}

fn variable(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let first = chars
        .next()
        .is_some_and(|c| c.is_ascii_uppercase() || c == '_');
    // `KeyError: 'name'` is of any dictionary; variables are written in capitals.
    if !first
        || !chars.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        || name.len() < 3
    {
        return None;
    }
    let value = match ["SECRET", "KEY", "TOKEN", "SALT"]
        .iter()
        .any(|word| name.contains(word))
    {
        true => "{ generate = true }",
        false => "\"...\"",
    };
    Some(format!(
        "the variable `{name}` is not set: add it to the `env` table of [], as in `{name} = {value}`"
    ))
}

/// A module that is neither in the requirements nor in the source.
fn module(owner: &Owner<'_>, name: &str, said: &str) -> Option<String> {
    let table = table(owner);
    let settings = owner.settings;
    let is_settings =
        !settings.is_empty() && (settings == name || settings.starts_with(&format!("{name}.")));
    if is_settings {
        return Some(format!(
            "the source has no module `{name}`: `settings` of {table} says `{settings}`, and `source` has to name the folder that holds `manage.py`"
        ));
    }
    let top = name.split('.').next().unwrap_or(name);
    // psycopg and MySQLdb are tried by Django itself, which then says more.
    if matches!(top, "psycopg_c" | "psycopg_binary" | "psycopg2" | "MySQLdb")
        && said.to_ascii_lowercase().contains("error loading ")
        || said.contains("no pq wrapper available") && top.starts_with("psycopg")
    {
        return None;
    }
    let known = MODULES.iter().find(|(module, _)| *module == top);
    let wsgi = top == settings.split('.').next().unwrap_or_default() && !settings.is_empty();
    Some(match known {
        Some((_, package)) => format!(
            "the module `{top}` is not installed: add `{package}` to the file that `requirements` of {table} names"
        ),
        None if wsgi || name.ends_with(".wsgi") => {
            format!("the source has no module `{name}`: look at `wsgi` and `settings` of {table}")
        }
        None => format!(
            "the module `{top}` is neither in the source nor installed: add what brings it to the file that `requirements` of {table} names"
        ),
    })
}

/// The lines of a log without what only repeats, and without what follows from a cause that is said above it.
pub fn condensed(lines: &[String]) -> Vec<String> {
    let cut_off = lines.iter().any(|line| {
        let low = line.to_ascii_lowercase();
        [
            "certificate_verify_failed",
            "newconnectionerror",
            "proxyerror",
            "timeouterror",
        ]
        .iter()
        .any(|word| low.contains(word))
    });
    let follows = |line: &str| {
        let line = line.trim_start();
        cut_off
            && (line.starts_with("ERROR: No matching distribution found")
                || line.starts_with("ERROR: Could not find a version")
                    && line.ends_with("(from versions: none)"))
    };
    let mut kept: Vec<(String, &str, usize)> = Vec::new();
    for line in lines.iter().filter(|line| !follows(line)) {
        let key = shape(line);
        match kept.last_mut() {
            Some((known, _, count)) if *known == key => *count += 1,
            _ => kept.push((key, line, 1)),
        }
    }
    let told = kept.into_iter().map(|(_, line, count)| match count {
        1 => line.to_owned(),
        count => format!("{line} ({count} times)"),
    });
    told.collect()
}

/// A warning of pip without what differs from try to try; every other line is its own.
fn shape(line: &str) -> String {
    if !line.trim_start().starts_with("WARNING: Retrying (") {
        return line.to_owned();
    }
    let mut shape = String::new();
    let mut number = false;
    for c in line.chars() {
        let digit = c.is_ascii_hexdigit() && (number || c.is_ascii_digit());
        if !digit {
            shape.push(c);
        }
        number = digit || c == 'x' && number;
    }
    shape
}

/// Every Debian package that a hint may name, for Debian 12 and for Debian 13.
pub fn named() -> Vec<(&'static str, u8)> {
    let libraries = LIBRARIES
        .iter()
        .flat_map(|lib| [(lib.twelve, 12), (lib.thirteen, 13)]);
    let both = |package: &'static str| [(package, 12), (package, 13)];
    let headers = HEADERS
        .iter()
        .chain(PKG_CONFIG)
        .flat_map(|(_, package)| both(package));
    let programs = PROGRAMS.iter().flat_map(|(_, package, _)| both(package));
    let texts = RULES.iter().flat_map(|rule| match rule.hint {
        Hint::Say(text) => vec![text],
        Hint::Each(one, two) => vec![one, two],
        _ => Vec::new(),
    });
    let said = texts
        .flat_map(|text| text.split("packages = [").skip(1))
        .flat_map(|list| {
            let list = list.split(']').next().unwrap_or_default();
            list.split('"').skip(1).step_by(2).flat_map(both)
        });
    let mut all: Vec<_> = libraries
        .chain(headers)
        .chain(programs)
        .chain(said)
        .collect();
    all.retain(|(package, _)| !package.is_empty());
    all.sort_unstable();
    all.dedup();
    all
}
