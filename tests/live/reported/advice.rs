//! What to try when a step fails: hints that name the key of the environment file, and layers of an application's image that a later
//! change leaves alone.

use std::path::Path;

use provision::advice::{self, Owner};

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Lab, Ran, docker, engine};

/// An application that is broken in the way that `FAULT` says.
const SETTINGS: &str = r#"
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
FAULT = os.environ.get("FAULT", "")
SECRET_KEY = "tests only"
ALLOWED_HOSTS = ["shop.example.com"] if FAULT == "hosts" else ["localhost"]
ROOT_URLCONF = "site1.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin", "django.contrib.messages", "django.contrib.staticfiles"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]
STATIC_URL = "static/"
STATIC_ROOT = {"static": BASE_DIR / "staticfiles", "no-static": None}.get(FAULT, os.environ["DJANGO_STATIC_ROOT"])
if FAULT == "variable":
    SHOP_PAYMENT_TOKEN = os.environ["SHOP_PAYMENT_TOKEN"]
if FAULT == "libpq":
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "x"}}
"#;

const FILES: [(&str, &str); 5] = [
    ("site1/__init__.py", ""),
    (
        "manage.py",
        "import os, sys\nos.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"site1.settings\")\n\
         from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
    ),
    (
        "site1/urls.py",
        "from django.http import HttpResponse\nfrom django.urls import path\n\
         urlpatterns = [path(\"\", lambda request: HttpResponse(\"ok\"))]\n",
    ),
    (
        "site1/wsgi.py",
        "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    ),
    ("requirements.txt", "Django==5.2.8\npsycopg==3.2.12\n"),
];

fn application(folder: &Path) {
    std::fs::create_dir_all(folder.join("site1")).unwrap();
    for (file, text) in FILES {
        std::fs::write(folder.join(file), text).unwrap();
    }
    std::fs::write(folder.join("site1/settings.py"), SETTINGS).unwrap();
}

/// Each way to break it, the words that its hint has to have, and whether it fails while its steps run or only when it is asked.
const FAULTS: [(&str, &[&str]); 5] = [
    (
        "static",
        &["DJANGO_STATIC_ROOT", "`static = false` in `[django.shop]`"],
    ),
    ("no-static", &["DJANGO_STATIC_ROOT", "`[django.shop]`"]),
    ("libpq", &["`packages = [\"libpq5\"]`", "`[django.shop]`"]),
    (
        "variable",
        &["`SHOP_PAYMENT_TOKEN`", "`env` table of `[django.shop]`"],
    ),
    ("hosts", &["`ALLOWED_HOSTS`", "`health_host`"]),
];

/// The hints of a run that failed: each on a line of its own.
#[track_caller]
fn has_hint(ran: &Ran, words: &[&str]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    let found = all
        .lines()
        .filter(|line| line.starts_with("  help: "))
        .any(|line| words.iter().all(|word| line.contains(word)));
    assert!(matches!(ran.code, 1 | 9), "{ran:?}");
    assert!(found, "no hint with {words:?}:\n{all}");
}

/// A3, A5: every text was said by the real program, and its hint names what mends it, on an engine as on a server.
#[test]
fn what_was_said_gets_a_hint_that_names_the_key() {
    let cases: toml::Table = include_str!("../../cases/advice.toml").parse().unwrap();
    let cases = cases["case"].as_array().unwrap();
    assert!(cases.len() > 70, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = |key: &str| {
            case.get(key)
                .and_then(|text| text.as_str())
                .unwrap_or_default()
        };
        for on_engine in [true, false] {
            let owner = Owner {
                application: "shop",
                settings: text("settings"),
                on_engine,
            };
            let hints = advice::hints(&owner, text("said"));
            let words = case["hints"].as_array().unwrap();
            let all = words.iter().all(|word| {
                hints
                    .iter()
                    .any(|hint| hint.contains(word.as_str().unwrap()))
            });
            let only = case.get("only").is_some() && hints.len() != 1;
            if !all || only || hints.len() > 3 {
                wrong.push(format!(
                    "{}: {words:?}\n  {}",
                    text("name"),
                    hints.join("\n  ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for silent in [
        "",
        "it ended with 1 and said nothing",
        "Traceback (most recent call last):\nValueError: x",
    ] {
        assert!(
            advice::hints(&Owner::default(), silent).is_empty(),
            "{silent}"
        );
    }
}

/// No package of a hint is guessed: each is in the distribution that the hint names.
#[test]
fn every_package_of_a_hint_is_in_the_distribution() {
    if !engine() {
        return;
    }
    for (release, suite) in [(12, "bookworm"), (13, "trixie")] {
        let names: Vec<&str> = advice::named()
            .into_iter()
            .filter(|(_, of)| *of == release)
            .map(|(package, _)| package)
            .collect();
        assert!(names.len() > 100, "{names:?}");
        let script = "printf 'deb http://deb.debian.org/debian %s main\\n' \"$1\" > /etc/apt/sources.list; shift; rm -rf /etc/apt/sources.list.d; \
                      apt-get update -q > /dev/null; apt-cache policy \"$@\"";
        let image = provision::resources::image::BASE;
        let words = [
            "run",
            "--rm",
            "--network",
            "host",
            image,
            "sh",
            "-euc",
            script,
            "sh",
            suite,
        ];
        let said = docker(&[&words[..], &names].concat());
        let has: Vec<&str> = said
            .split("\n")
            .collect::<Vec<_>>()
            .chunk_by(|_, next| next.starts_with(' '))
            .filter(|one| {
                one.iter()
                    .any(|line| line.starts_with("  Candidate: ") && !line.contains("(none)"))
            })
            .map(|one| one[0].trim_end_matches(':'))
            .collect();
        let missing: Vec<_> = names.iter().filter(|name| !has.contains(name)).collect();
        assert!(missing.is_empty(), "not in {suite}: {missing:?}");
    }
}

const ON_ENGINE: &str = r#"
[environment]
project = "PROJECT"
stage = "dev"
[target]
driver = "docker"
[django.shop]
source = "app"
mount = true
settings = "site1.settings"
migrate = MIGRATE
static = STATIC
[django.shop.env]
FAULT = "NOTHING"
"#;

fn broken(text: &str, fault: &str) -> String {
    text.replace("NOTHING", fault)
        .replace("MIGRATE", if fault == "libpq" { "true" } else { "false" })
        .replace(
            "STATIC",
            if fault.ends_with("static") || fault.is_empty() {
                "true"
            } else {
                "false"
            },
        )
}

#[test]
fn an_application_that_fails_in_a_container_gets_a_hint() {
    if !engine() {
        return;
    }
    let lab = Lab::with("advice", ON_ENGINE);
    application(&lab.path("app"));
    let text = std::fs::read_to_string(lab.path("local.toml")).unwrap();
    for (fault, words) in FAULTS {
        lab.write("local.toml", &broken(&text, fault));
        let ran = lab.provision(&["apply", "local", "--yes"]);
        has_hint(&ran, words);
    }
    lab.write("local.toml", &broken(&text, ""));
    lab.apply();
    lab.nothing_to_do();
}

const ON_SERVER: &str = r#"
[environment]
project = "PROJECT"
stage = "dev"
[target]
driver = "ssh"
[django.shop]
on = "s1"
source = "app"
settings = "site1.settings"
pip_index = "https://127.0.0.1:8443/simple"
CA
migrate = MIGRATE
static = STATIC
[django.shop.env]
FAULT = "NOTHING"
"#;

/// An index of packages behind TLS whose certificate nobody has signed but itself: what a proxy that opens TLS looks like.
const INDEX: &str = r#"
mkdir -p /root/index/simple && cd /root/index
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2> /dev/null
python3 -m venv /root/loader
PIP_CERT=/root/bundle.crt /root/loader/bin/pip download -q -d wheels Django==5.2.8 psycopg==3.2.12 gunicorn 2>&1
for wheel in wheels/*.whl; do
    name=${wheel##*/}
    name=$(printf '%s' "${name%%-*}" | tr 'A-Z_' 'a-z-')
    mkdir -p "simple/$name" && cp "$wheel" "simple/$name/"
done
cat > serve.py <<'END'
import http.server, ssl
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Quiet)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
END
systemd-run --quiet --unit=index --working-directory=/root/index python3 serve.py
"#;

/// A3, A5, A6 on a server.
#[test]
fn an_application_that_fails_on_a_server_gets_a_hint() {
    if !engine() {
        return;
    }
    let server = Server::up("advice", Image::Full);
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    match bundle.exists() {
        true => server.put(bundle, "/root/bundle.crt"),
        false => drop(server.sh("cp /etc/ssl/certs/ca-certificates.crt /root/bundle.crt")),
    }
    server.sh(INDEX);
    let lab = ServerLab::with("");
    application(&lab.folder.path().join("environments/app"));
    let project = format!("advice{}", std::process::id());
    let text = format!(
        "{}{}",
        ON_SERVER.replace("PROJECT", &project),
        server.host("s1")
    );
    let say = |fault: &str, ca: &str| {
        lab.write(
            "servers.toml",
            &broken(&text, fault).replace("CA\n", &format!("{ca}\n")),
        );
    };
    let apply = || lab.provision(&["apply", "servers", "--yes"]);

    say("", "");
    let ran = apply();
    has_hint(&ran, &["`ca` of `[django.shop]`"]);
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(all.matches("WARNING: Retrying").count(), 1, "{all}");
    assert!(
        all.contains("(5 times)") && !all.contains("No matching distribution"),
        "{all}"
    );

    lab.write("proxy-ca.pem", &server.sh("cat /root/index/cert.pem"));
    // The libpq of the server's own database is there.
    for (fault, words) in FAULTS.into_iter().filter(|(fault, _)| *fault != "libpq") {
        say(fault, "ca = \"proxy-ca.pem\"");
        has_hint(&apply(), words);
    }
    say("", "ca = \"proxy-ca.pem\"");
    lab.apply();
    lab.nothing_to_do();
}

const LAYERS: &str = r#"
[environment]
project = "PROJECT"
stage = "dev"
[target]
driver = "docker"
[django.shop]
source = "app"
settings = "site1.settings"
PACKAGES
"#;

/// A10: what is built from the requirements stays as it was built for another source, another start script and other `packages`.
///
/// Seconds of a whole apply before and after the layers were put in this order, on two busy cores: another source 32 and 12,
/// requirements 144 and 124, packages 112 and 67, without them again 64 and 54, start script 147 (Python packages built again) and 21,
/// certificates 174 and 120.
#[test]
fn python_packages_are_built_again_for_other_requirements_only() {
    if !engine() {
        return;
    }
    let lab = Lab::with("layers", LAYERS);
    application(&lab.path("app"));
    let text = std::fs::read_to_string(lab.path("local.toml")).unwrap();
    let say = |packages: &str| lab.write("local.toml", &text.replace("PACKAGES", packages));
    // When the environment was made: another build of it would say another time.
    let built = || {
        lab.apply();
        docker(&[
            "exec",
            &lab.container("shop"),
            "stat",
            "-c",
            "%Y",
            "/opt/venv/pyvenv.cfg",
            "/opt/venv/bin/gunicorn",
        ])
    };
    say("");
    let first = built();
    say("packages = [\"libmagic1\"]");
    assert_eq!(built(), first, "other packages");
    docker(&[
        "exec",
        &lab.container("shop"),
        "ls",
        "/usr/lib/x86_64-linux-gnu/libmagic.so.1",
    ]);
    std::fs::write(
        lab.path("app/site1/urls.py"),
        format!("# other\n{}", FILES[2].1),
    )
    .unwrap();
    assert_eq!(built(), first, "another source");
    let script = include_str!("../../../templates/images/django-entrypoint.sh");
    std::fs::create_dir_all(lab.path("templates/images")).unwrap();
    lab.write(
        "templates/images/django-entrypoint.sh",
        &format!("{script}# other\n"),
    );
    assert_eq!(built(), first, "another start script");
    std::fs::write(lab.path("app/requirements.txt"), "Django==5.2.8\n").unwrap();
    assert_ne!(built(), first, "other requirements");
    lab.nothing_to_do();
}
