//! Repositories of packages, on a mirror that signs them: what is declared becomes so and stays so, a wrong key changes nothing, and
//! what waits there is found. PostgreSQL's own repository is asked by its real name, for a server whose distribution has none.

use super::kinds::check_all;
use super::memory::findings;
use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{docker, engine};

/// What every script on a mirror begins with.
const MIRROR: &str = include_str!("mirror.sh");

/// A mirror with a key, and another key that nothing is signed with.
fn mirror() -> Server {
    let mirror = Server::up("mirror", Image::Full);
    told(
        &mirror,
        r#"
        apt-get install -yqq --no-install-recommends gpg gpg-agent apt-utils > /dev/null 2>&1
        install -d -m 700 /root/keys
        install -d /srv/www/debian /srv/www/flat
        for key in lab other; do
            gpg -q --batch --passphrase '' --quick-gen-key "$key@example.com" rsa2048 sign never 2> /dev/null
            gpg -q --armor --export "$key@example.com" > "/srv/www/$key.asc"
            gpg -q --export "$key@example.com" > "/srv/www/$key.gpg"
        done
        printf 'server { listen 80; root /srv/www; }\n' > /etc/nginx/sites-enabled/default
        systemctl start nginx
        "#,
    );
    mirror
}

/// A script on a mirror.
#[track_caller]
fn told(mirror: &Server, script: &str) -> String {
    mirror.sh(&format!("set -eu\n{MIRROR}\n{script}"))
}

/// Files that it serves, beside the environment.
fn brought(mirror: &Server, lab: &ServerLab, files: &[&str]) {
    for file in files {
        let to = lab.folder.path().join("environments").join(file);
        let from = format!("{}:/srv/www/{file}", mirror.container);
        docker(&["cp", &from, &to.display().to_string()]);
    }
}

#[test]
fn repositories_become_so_and_stay_so_and_a_wrong_key_changes_nothing() {
    if !engine() {
        return;
    }
    let cases: toml::Table = include_str!("../cases/repository_drifts.toml")
        .parse()
        .unwrap();
    let (mirror, server) = (mirror(), Server::up("packages", Image::Bare));
    told(
        &mirror,
        "made greeting 1.0 /srv/www/debian/pool; suite /srv/www/debian lab Lab pool; made farewell 1.0 /srv/www/flat; flat /srv/www/flat",
    );
    let text = cases["environment"].as_str().unwrap();
    let text = text.replace("MIRROR", &mirror.address);
    let lab = ServerLab::new([&server], &text);
    brought(&mirror, &lab, &["lab.asc", "lab.gpg", "other.asc"]);
    lab.apply();
    lab.nothing_to_do();
    check_all(&lab, &server, &cases);
    // With another's key nothing of the repository can be believed: what was there goes on.
    let files = "sha256sum /etc/apt/sources.list.d/* /etc/apt/keyrings/*; ls -A /etc/apt/keyrings";
    let before = server.sh(files);
    let of_server = server.host("s1");
    lab.say(&format!(
        "{of_server}{}",
        text.replace("lab.asc", "other.asc")
    ));
    let refused = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    for word in ["apt_repository.s1:lab", "NO_PUBKEY"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    assert_eq!(before, server.sh(files));
    server.sh("apt-get update -qq -o APT::Update::Error-Mode=any");
    // So it is where the mirror no longer answers under that address.
    lab.say(&format!(
        "{of_server}{}",
        text.replace("/debian", "/nothing")
    ));
    let refused = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    assert!(refused.stderr.contains("/nothing"), "{refused:?}");
    assert_eq!(before, server.sh(files));
    lab.say(&format!("{of_server}{text}"));
    lab.nothing_to_do();
    waits(&mirror, &server, &lab);
    lab.say(&of_server);
    let gone = lab.apply();
    assert!(gone.stdout.contains("apt_repository"), "{gone:?}");
    let left = server.sh(
        "ls -A /etc/apt/keyrings /etc/apt/sources.list.d | grep -e lab -e flat -e provision || :",
    );
    assert_eq!(left, "");
}

/// An update that waits is found, and whether it is for security.
fn waits(mirror: &Server, server: &Server, lab: &ServerLab) {
    server.sh("apt-get update -qq && apt-get -qqy upgrade > /dev/null 2>&1");
    lab.provision(&["audit", "servers"]).ends(0);
    let told_of = |severity: &str, says: &str| {
        let said = lab.provision(&["audit", "servers"]).ends(2).stdout;
        let finding = format!("{severity:<8}audit.updates.s1:packages");
        assert!(said.contains(&finding), "{said}");
        assert!(said.contains(says), "{said}");
    };
    told(
        mirror,
        "made greeting 1.1 /srv/www/debian/pool; suite /srv/www/debian lab Lab pool; flat /srv/www/flat",
    );
    server.sh("apt-get update -qq");
    told_of(
        "low",
        "1 package of `s1` has an update, 0 for security: greeting",
    );
    told(
        mirror,
        "made greeting 1.2 /srv/www/debian/urgent; suite /srv/www/debian lab Lab-Security urgent",
    );
    server.sh("apt-get update -qq --allow-releaseinfo-change");
    told_of(
        "medium",
        "1 package of `s1` has an update, 1 for security: greeting",
    );
    assert_eq!(findings(lab), [], "nothing else was found");
}

/// The server's distribution may not give it PostgreSQL, as where there is another version.
const NOT_DEBIANS: &str = r#"
printf 'Package: postgresql-15 postgresql-client-15\nPin: release o=Debian\nPin-Priority: -1\n' > /etc/apt/preferences.d/not-debians
update-ca-certificates > /dev/null 2>&1
! apt-get install -s postgresql-15 > /dev/null 2>&1
"#;

const PGDG: &str = r#"
[postgres.db]
on = "s1"
packages = "pgdg"
[postgres.db.role.app]
password = { generate = true }
[postgres.db.database.data]
owner = "app"
"#;

#[test]
fn postgresql_comes_from_its_own_repository() {
    if !engine() {
        return;
    }
    let mirror = mirror();
    // What it holds are Debian's own packages under a name by which they are told apart.
    told(
        &mirror,
        r#"
        pool=/srv/www/pub/repos/apt/pool
        mkdir -p "$pool" /root/debs
        cd /root/debs
        apt-get download -qq postgresql-15 postgresql-client-15 2> /dev/null
        for deb in *.deb; do
            rm -rf whole && dpkg-deb -R "$deb" whole
            sed -i 's/^Version: .*/&.pgdg12+1/; s/\(postgresql-client-15\) ([^)]*)/\1/' whole/DEBIAN/control
            dpkg-deb -Znone -b whole "$pool/${deb%%_*}.deb" > /dev/null
        done
        suite /srv/www/pub/repos/apt bookworm-pgdg apt.postgresql.org pool
        openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/tls.key -out /srv/www/tls.crt -days 30 \
            -subj /CN=apt.postgresql.org -addext subjectAltName=DNS:apt.postgresql.org 2> /dev/null
        printf 'server { listen 80; listen 443 ssl; ssl_certificate /srv/www/tls.crt; ssl_certificate_key /root/tls.key; root /srv/www; }\n' \
            > /etc/nginx/sites-enabled/default
        systemctl reload nginx
        "#,
    );
    let host = format!("--add-host=apt.postgresql.org:{}", mirror.address);
    let server = Server::up_with("pgdg", Image::Bare, &[&host]);
    let lab = ServerLab::new([&server], PGDG);
    brought(&mirror, &lab, &["lab.asc", "tls.crt"]);
    let folder = lab.folder.path().join("environments");
    server.put(
        &folder.join("tls.crt"),
        "/usr/local/share/ca-certificates/lab.crt",
    );
    server.sh(NOT_DEBIANS);
    // Signed by somebody else than by whom PostgreSQL's packages are: nothing of it is installed.
    let refused = lab.provision(&["apply", "servers", "--yes"]).ends(1);
    for word in ["apt_repository.s1:pgdg", "NO_PUBKEY"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    assert_eq!(
        server.sh("dpkg-query -W 'postgresql-15*' 2> /dev/null || :"),
        ""
    );
    let key = std::fs::read_to_string(folder.join("lab.asc")).unwrap();
    lab.write("templates/pgdg.asc", &key);
    lab.apply();
    lab.nothing_to_do();
    let version = server.sh("dpkg-query -W -f '${Version}' postgresql-15");
    assert!(version.ends_with(".pgdg12+1"), "{version}");
    lab.provision(&["verify", "servers"]).ends(0);
}
