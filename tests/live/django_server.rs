//! The sample application on a server: gunicorn behind nginx, with both of its databases.

use std::path::Path;

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{copy, engine};

/// As `environments/prod.toml`, on one server.
const TEXT: &str = r#"
extends = "base.toml"
[environment]
project = "iact"
stage = "dev"
[target]
driver = "ssh"
[vars]
domain = "iact.example.com"
[postgres.analytics]
on = "s1"
[postgres.analytics.role]
django_user.password = "django-canary-pass"
reporting.password = "reporting-canary-pass"
etl.password = "etl-canary-pass"
[mariadb.ivr]
on = "s1"
[mariadb.ivr.user]
"django_user@%".password = "ivr-canary-pass"
"etl@%".password = "ivr-etl-canary-pass"
[django.iact]
on = "s1"
CA
SOURCE
health_host = "{{ vars.domain }}"
[django.iact.env]
DJANGO_SECRET_KEY = "secret-canary-pass \"quoted\" $HOME 100% \\ # no comment"
"#;

/// The environment, its source said so.
fn said(server: &Server, source: &str) -> String {
    let ca = "/etc/ssl/certs/ca-certificates.crt";
    let ca = match Path::new(ca).exists() {
        true => format!("ca = \"{ca}\""),
        false => String::new(),
    };
    let text = TEXT.replace("CA\n", &format!("{ca}\n"));
    let text = text.replace("SOURCE\n", &format!("{source}\n"));
    format!("{text}{}", server.host("s1"))
}

/// Status and body of a page through nginx, as a visitor gets it.
fn page(server: &Server, path: &str) -> String {
    server.sh(&format!(
        "curl -s -m 20 -w ' %{{http_code}}' -H 'Host: iact.example.com' http://127.0.0.1{path}"
    ))
}

#[test]
fn the_application_answers_through_nginx_with_both_databases_and_stays_as_declared() {
    if !engine() {
        return;
    }
    let server = Server::up("django", Image::Full);
    let lab = ServerLab::with("");
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("environments");
    lab.write(
        "base.toml",
        &std::fs::read_to_string(real.join("base.toml")).unwrap(),
    );
    let folder = lab.folder.path().join("environments/iact");
    copy(&real.join("iact"), &folder);
    lab.write("servers.toml", &said(&server, ""));
    lab.apply();

    let healthy = "{\"status\": \"ok\", \"databases\": {\"default\": \"ok\", \"ivr\": \"ok\"}} 200";
    assert_eq!(page(&server, "/health"), healthy);
    assert!(page(&server, "/").ends_with(" 200"));
    let css = server.sh("cd /srv/iact/static/calls && ls iact.*.css");
    assert!(page(&server, &format!("/static/calls/{css}")).ends_with(" 200"));

    // It may do little, and nobody else may read what it knows.
    let exposure = server.sh("systemd-analyze security iact.service | tail -n 1");
    let level: f64 = exposure
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap();
    assert!(level <= 2.0, "{exposure}");
    for look in [
        "systemctl show iact.service iact.socket nginx.service",
        "systemctl cat iact.service",
        "cat /proc/[0-9]*/cmdline",
        "runuser -u deploy -- cat /etc/iact/iact.env 2>&1 || :",
        "journalctl --no-pager",
        "cat /var/log/iact/*.log",
    ] {
        assert!(!server.sh(look).contains("canary"), "{look}");
    }
    let key = server.sh("pid=$(systemctl show -p MainPID --value iact.service); tr '\\0' '\\n' < /proc/$pid/environ | grep ^DJANGO_SECRET_KEY=");
    assert_eq!(
        key,
        "DJANGO_SECRET_KEY=secret-canary-pass \"quoted\" $HOME 100% \\ # no comment"
    );
    let writes =
        "runuser -u iact -- sh -c 'echo x >> /srv/iact/app/manage.py' 2>&1 || echo refused";
    assert!(server.sh(writes).ends_with("refused"));

    lab.nothing_to_do();
    let before = server.snapshot();
    lab.apply();
    assert_eq!(before, server.snapshot(), "a second apply changes nothing");

    // What was changed by hand is seen and put back, and the application runs from what is there then.
    let main_pid = "systemctl show -p MainPID --value iact.service";
    let first = server.sh(main_pid);
    server.sh("echo '# by hand' >> /srv/iact/app/iact/urls.py; chmod 0755 /etc/iact/iact.env; rm /srv/iact/venv/lib/python3*/site-packages/whitenoise-*.dist-info -r");
    let changed: Vec<String> = lab.plan().into_iter().map(|(id, _)| id).collect();
    assert_eq!(
        changed,
        [
            "file.s1:/etc/iact/iact.env",
            "source_tree.s1:/srv/iact/app",
            "venv.s1:/srv/iact/venv"
        ]
    );
    lab.apply();
    assert_ne!(first, server.sh(main_pid));
    assert_eq!(page(&server, "/health"), healthy);
    lab.nothing_to_do();

    // A site that nginx does not accept never takes the place of the one that works.
    let site = server.sh("sha256sum /etc/nginx/conf.d/iact.conf");
    lab.write(
        "templates/server/nginx.conf.j2",
        "server { listen 80; nonsense on; }\n",
    );
    let ran = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("nonsense") && !all.contains("canary"), "{all}");
    assert_eq!(server.sh("sha256sum /etc/nginx/conf.d/iact.conf"), site);
    assert_eq!(page(&server, "/health"), healthy);
    std::fs::remove_file(
        lab.folder
            .path()
            .join("environments/templates/server/nginx.conf.j2"),
    )
    .unwrap();
    lab.nothing_to_do();

    // A source that does not start is not a success, and the next one that does is.
    let wsgi = folder.join("app/iact/wsgi.py");
    let good = std::fs::read_to_string(&wsgi).unwrap();
    std::fs::write(&wsgi, format!("raise RuntimeError('planted')\n{good}")).unwrap();
    let ran = lab.provision(&["apply", "servers", "--yes"]);
    assert!(matches!(ran.code, 1 | 9), "{ran:?}");
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("canary"));
    std::fs::write(&wsgi, &good).unwrap();
    lab.apply();
    assert_eq!(page(&server, "/health"), healthy);

    // The same from a repository: a tag, then another.
    server.sh("mkdir /root/repository && cp -r /srv/iact/app/. /root/repository && cd /root/repository && git init -q -b main . \
               && git config user.name test && git config user.email test@example.com && git add -A && git commit -qm one && git tag v1 \
               && echo '# two' >> iact/urls.py && git commit -qam two && git tag v2");
    for tag in ["v1", "v2"] {
        let source = format!("source = {{ git = \"file:///root/repository\", ref = \"{tag}\" }}");
        lab.write("servers.toml", &said(&server, &source));
        lab.apply();
        assert_eq!(page(&server, "/health"), healthy);
        lab.nothing_to_do();
        let commit = server.sh(&format!("git -C /root/repository rev-parse {tag}"));
        assert!(server.sh("cat /srv/iact/app.resolved").starts_with(&commit));
    }
    assert_eq!(server.sh("tail -n 1 /srv/iact/app/iact/urls.py"), "# two");
}
