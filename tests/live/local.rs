//! This machine as a target: the same role comes out the same on a server with systemd, in a container without, and in databases of
//! an engine; and from bare Debian, without any of these, the project's own environment becomes healthy and goes again.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use crate::lab::server::{Image, Server};
use crate::lab::{Change, Lab, Ran, docker, engine, run};

const DATABASES: &str = r#"
[postgres.analytics]
[postgres.analytics.role.app]
password = "first-pass 'a\\\""
[postgres.analytics.role.reader]
password = "second-pass"
connection_limit = 5
[postgres.analytics.database.facts]
owner = "app"
extensions = ["citext"]
[[postgres.analytics.grant]]
role = "reader"
database = "facts"
tables = ["SELECT"]
future = true
[mariadb.ivr]
[mariadb.ivr.database.call_log]
charset = "utf8mb4"
[mariadb.ivr.user."caller@%"]
password = "third-pass $HOME"
grants = { "call_log.*" = ["SELECT", "INSERT"] }
"#;

const MACHINE: &str = r#"
[vars]
team = "crew"
[group.crew]
gid = 2500
[user.maria]
uid = 2400
groups = ["crew"]
shell = "/bin/sh"
[directory."/srv/reports"]
owner = "maria"
group = "crew"
mode = "2750"
[file."/srv/reports/about"]
template = "about.j2"
owner = "maria"
mode = "0640"
[link."/srv/latest"]
to = "/srv/reports"
[systemd_unit."beat.service"]
content = """
[Service]
User=maria
ExecStart=/bin/sh -c 'while :; do sleep 1; done'
[Install]
WantedBy=multi-user.target
"""
"#;

/// Where the role is brought to.
enum Spot {
    /// This machine, which is a throwaway one; the program runs on it.
    Machine(Server),
    /// Containers of an engine.
    Engine(Lab),
}

impl Spot {
    /// A machine with the program and an environment.
    fn machine(name: &str, image: Image, text: &str) -> Spot {
        let program = format!(
            "{}:/usr/local/bin/provision:ro",
            env!("CARGO_BIN_EXE_provision")
        );
        let server = Server::up_with(name, image, &["-v", &program]);
        let folder = tempfile::tempdir().unwrap();
        let templates = folder.path().join("environments/templates");
        std::fs::create_dir_all(&templates).unwrap();
        std::fs::write(templates.join("about.j2"), "Reports of {{ vars.team }}.\n").unwrap();
        std::fs::write(folder.path().join("environments/local.toml"), text).unwrap();
        server.put(folder.path(), "/root/e");
        Spot::Machine(server)
    }

    fn provision(&self, words: &[&str]) -> Ran {
        match self {
            Spot::Engine(lab) => lab.provision(words),
            Spot::Machine(server) => provision(server, words),
        }
    }

    fn psql(&self, database: &str, sql: &str) -> String {
        match self {
            Spot::Engine(lab) => lab.psql(database, sql),
            Spot::Machine(server) => docker(&[
                "exec",
                "-u",
                "postgres",
                &server.container,
                "psql",
                "-XAtqv",
                "ON_ERROR_STOP=1",
                "-d",
                database,
                "-c",
                sql,
            ]),
        }
    }

    fn mariadb(&self, sql: &str) -> String {
        match self {
            Spot::Engine(lab) => lab.mariadb(sql),
            Spot::Machine(server) => {
                docker(&["exec", &server.container, "mariadb", "-N", "-e", sql])
            }
        }
    }

    /// The changes of its plan in the databases.
    #[track_caller]
    fn plan(&self) -> BTreeSet<Change> {
        let plan = self.provision(&["plan", "local", "--json"]).ends(0);
        let all = plan.changes().into_iter();
        all.filter(|(id, ..)| of_databases(id)).collect()
    }

    #[track_caller]
    fn applied(&self) {
        self.provision(&["apply", "local", "--yes"]).ends(0);
        self.provision(&["plan", "local", "--detailed-exitcode"])
            .has_nothing_to_do();
        self.provision(&["verify", "local"]).ends(0);
    }

    /// What the role came to: roles with their verifiers, owners, rights of today and tomorrow, accounts with their hashes.
    fn role(&self) -> Vec<String> {
        vec![
            self.psql("postgres", "SELECT rolname, rolsuper, rolcanlogin, rolcreatedb, rolcreaterole, rolconnlimit, rolpassword FROM pg_authid WHERE rolname IN ('app', 'reader') ORDER BY 1"),
            self.psql("postgres", "SELECT datname, datdba::regrole, pg_encoding_to_char(encoding), (SELECT array_agg(a::text ORDER BY a::text COLLATE \"C\") FROM unnest(datacl) a) FROM pg_database WHERE datname = 'facts'"),
            self.psql("facts", "SELECT nspname, (SELECT array_agg(a::text ORDER BY a::text COLLATE \"C\") FROM unnest(nspacl) a) FROM pg_namespace WHERE nspname = 'public'"),
            self.psql("facts", "SELECT defaclrole::regrole, defaclobjtype, (SELECT array_agg(a::text ORDER BY a::text COLLATE \"C\") FROM unnest(defaclacl) a) FROM pg_default_acl ORDER BY 1"),
            self.psql("facts", "SELECT extname FROM pg_extension ORDER BY 1"),
            self.mariadb("SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'call_log'; SHOW GRANTS FOR caller@'%'"),
        ]
    }
}

/// `provision` on a machine.
fn provision(server: &Server, words: &[&str]) -> Ran {
    let mut command = std::process::Command::new("docker");
    command.args(["exec", "-w", "/root/e", &server.container, "provision"]);
    run(command.args(words))
}

/// What lies in databases, but for settings: where a server listens is a setting of a machine's alone.
fn of_databases(id: &str) -> bool {
    let kind = id.split('.').next().unwrap_or_default();
    matches!(
        kind,
        "postgres_role" | "postgres_database" | "postgres_extension" | "postgres_grant"
    ) || matches!(kind, "mariadb_database" | "mariadb_user" | "mariadb_grant")
}

#[test]
fn the_same_role_comes_out_the_same_with_systemd_without_and_in_containers() {
    if !engine() {
        return;
    }
    let lab = Lab::with(
        "role",
        &format!(
            "[environment]\nproject = \"PROJECT\"\n[target]\ndriver = \"docker\"\n{DATABASES}"
        ),
    );
    let text = format!(
        "[environment]\nproject = \"{}\"\n[target]\ndriver = \"local\"\n{DATABASES}{MACHINE}",
        lab.project
    );
    let (machine, bare) = thread::scope(|scope| {
        let machine = scope.spawn(|| Spot::machine("role", Image::Full, &text));
        let bare = Spot::machine("plain", Image::Stocked, &text);
        (machine.join().unwrap(), bare)
    });
    let spots = [machine, bare, Spot::Engine(lab)];
    let on_each = |work: fn(&Spot)| {
        thread::scope(|scope| {
            let all: Vec<_> = spots
                .iter()
                .map(|spot| scope.spawn(move || work(spot)))
                .collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    };
    let same_ids = || {
        let ids = spots.iter().map(|spot| {
            let plan = spot.plan().into_iter();
            plan.map(|(id, ..)| id).collect::<BTreeSet<String>>()
        });
        let ids: Vec<_> = ids.collect();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[0], ids[2]);
        assert_eq!(ids[0].len(), 8, "{ids:?}");
    };
    same_ids();
    on_each(Spot::applied);
    let role = spots[0].role();
    assert!(
        role[0].contains("app|f|t|f|f|-1|SCRAM-SHA-256$"),
        "{role:?}"
    );
    assert_eq!(role, spots[1].role());
    assert_eq!(role, spots[2].role());
    let [Spot::Machine(machine), Spot::Machine(bare), _] = &spots else {
        unreachable!()
    };
    let stands = |server: &Server| {
        server.sh("id maria; getent passwd maria; getent group crew; stat -c '%n %A %U %G' /srv/reports /srv/reports/about; readlink /srv/latest; cat /srv/reports/about; pgrep -fu maria 'while :' > /dev/null && echo beats")
    };
    let wanted = stands(machine);
    assert!(
        wanted.contains("/srv/reports drwxr-s--- maria crew"),
        "{wanted}"
    );
    assert_eq!(wanted, stands(bare));

    // The same by hand everywhere is named the same everywhere.
    on_each(|spot| {
        spot.psql(
            "facts",
            "ALTER ROLE reader PASSWORD 'other' CONNECTION LIMIT 9; ALTER ROLE app CREATEDB; ALTER DATABASE facts OWNER TO postgres; \
             ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public REVOKE SELECT ON TABLES FROM reader; DROP EXTENSION citext",
        );
        spot.mariadb("ALTER USER caller@'%' IDENTIFIED BY 'other'; GRANT DELETE ON `call\\_log`.* TO caller@'%'; ALTER DATABASE call_log CHARACTER SET latin1");
        if let Spot::Machine(server) = spot {
            server.sh("chmod 755 /srv/reports; echo more >> /srv/reports/about; usermod -s /bin/bash maria; ln -sfn /tmp /srv/latest; pkill -u maria || :");
        }
    });
    let drift = spots[0].plan();
    let named: Vec<String> = drift
        .iter()
        .map(|(id, action, fields)| format!("{id} {action} {}", fields.join(",")))
        .collect();
    assert_eq!(
        named,
        [
            "mariadb_database.ivr:call_log update charset",
            "mariadb_grant.ivr:caller@% update call_log.*",
            "mariadb_user.ivr:caller@% update password",
            "postgres_database.analytics:facts update owner",
            "postgres_extension.analytics:facts/citext create ",
            "postgres_grant.analytics:facts/reader update future tables public by app",
            "postgres_role.analytics:app update createdb",
            "postgres_role.analytics:reader update password,connection_limit",
        ]
    );
    assert_eq!(drift, spots[1].plan());
    assert_eq!(drift, spots[2].plan());
    let of_machine = |spot: &Spot| {
        let plan = spot.provision(&["plan", "local", "--json"]).ends(0);
        let changes = plan.changes().into_iter();
        let changes = changes.filter(|(id, ..)| !of_databases(id));
        // Where no systemd runs, a supervisor may have started it again by now.
        let changes = changes.filter(|(id, ..)| !id.ends_with("beat.service"));
        changes.collect::<BTreeSet<Change>>()
    };
    let drift = of_machine(&spots[0]);
    let ids: Vec<&str> = drift.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "directory.local:/srv/reports",
            "file.local:/srv/reports/about",
            "link.local:/srv/latest",
            "user.local:maria"
        ]
    );
    assert_eq!(drift, of_machine(&spots[1]));

    on_each(Spot::applied);
    for spot in &spots {
        assert_eq!(role, spot.role());
    }
    assert_eq!(wanted, stands(machine));
    assert_eq!(wanted, stands(bare));
}

/// The ids that `destroy` offers to name, as words.
fn offered(ran: &Ran) -> Vec<String> {
    let words = ran.stdout.split('`');
    let words = words.filter(|word| word.starts_with("--destroy-data="));
    words.map(str::to_owned).collect()
}

#[test]
fn bare_debian_becomes_healthy_by_the_projects_own_environment_and_is_bare_again() {
    if !engine() {
        return;
    }
    let program = format!(
        "{}:/usr/local/bin/provision:ro",
        env!("CARGO_BIN_EXE_provision")
    );
    let server = Server::up_with("fresh", Image::Stocked, &["-v", &program]);
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    server.sh("mkdir -p /root/e /usr/local/share/ca-certificates");
    server.put(&project.join("environments"), "/root/e/environments");
    // Where a proxy stands in front of PyPI, its certificate is this machine's to lend.
    let ca = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if ca.exists() {
        server.put(ca, &ca.display().to_string());
    }
    let paths = "find /etc /srv /usr/local /var/lib /var/log -xdev -printf '%p %y %m %u %g\\n' | grep -v -e postgresql -e /var/lib/mysql/ -e /var/log/ -e /var/lib/nginx/ | sort";
    let before = server.sh(paths);
    let plain = server.sh("getent passwd; getent group");

    let ran = provision(&server, &["apply", "local", "--yes"]).ends(0);
    let said = "no Docker engine answers at /var/run/docker.sock, so everything is set up on this machine itself";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
    provision(&server, &["plan", "local", "--detailed-exitcode"]).has_nothing_to_do();
    provision(&server, &["verify", "local"]).ends(0);
    let health = "python3 -c \"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/health', timeout=30).status)\"";
    assert_eq!(server.sh(health), "200");

    // What holds data stays, with what it needs; all else goes, and nginx knows.
    let ran = provision(&server, &["destroy", "local", "--yes"]).ends(0);
    let data = offered(&ran);
    assert!(
        data.contains(&"--destroy-data=postgres_database.analytics:iact_analytics".to_owned())
            && data.contains(&"--destroy-data=directory.local:/var/lib/iact".to_owned()),
        "{data:?}"
    );
    assert_ne!(server.try_sh(health).code, 0, "the site is gone");
    assert_eq!(
        server.sh("mariadb -N -e 'SELECT count(*) > 0 FROM iact_ivr.calls'"),
        "1"
    );
    // Each that is offered can be named.
    let mut words = vec!["destroy", "local", "--yes"];
    words.extend(data.iter().map(String::as_str));
    provision(&server, &words).ends(0);
    let ran = provision(&server, &["destroy", "local", "--yes"]).ends(0);
    assert!(ran.stdout.contains("is there to remove"), "{}", ran.stdout);
    assert_eq!(offered(&ran), Vec::<String>::new());
    assert_eq!(server.sh(paths), before);
    assert_eq!(server.sh("getent passwd; getent group"), plain);
    assert_eq!(server.sh("mariadb -N -e 'SELECT @@port'"), "3306");
}
