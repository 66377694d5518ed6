//! Databases on bad days: a server of its own for each row that needs one, with the real PostgreSQL 15 and MariaDB.

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lab::server::{Image, Server, ServerLab};
use crate::lab::{Ran, free_port, run, until};
use crate::quoting::quoting;
use crate::table::{How, Row, row};
use crate::trial::{Trial, that};

pub const ROWS: &[Row] = &[
    row(
        "F70",
        "odd values in each target format",
        How::Tried(quoting),
    ),
    row(
        "F71",
        "PostgreSQL stopped, starting, in recovery, full",
        How::Tried(states),
    ),
    row(
        "F72",
        "connection dies between statements",
        How::Tried(between_statements),
    ),
    row(
        "F73",
        "roles and databases of somebody else",
        How::Tried(of_somebody_else),
    ),
    row(
        "F74",
        "password changed, statement failed: nothing in the logs",
        How::TestedBy(&[
            "live::canary::no_secret_is_anywhere_it_does_not_belong",
            "live::stack::the_project_runs_answers_and_is_developed_with",
        ]),
    ),
    row(
        "F76",
        "change needs a restart, restart fails",
        How::TestedBy(&["live::database_days::databases_of_a_server_are_put_back"]),
    ),
    row(
        "F77",
        "MariaDB: no socket, root by password, killed half way",
        How::Tried(mariadb_days),
    ),
    row(
        "F78",
        "versions that do not match",
        How::TestedBy(&["live::bad_days::data_of_another_major_version_is_refused"]),
    ),
    row(
        "F79",
        "another database behind the port",
        How::Tried(another_behind_the_port),
    ),
    row("F84", "odd secrets", How::Tried(odd_secrets)),
];

const POSTGRES: &str = r#"
[postgres.analytics]
on = "s1"
[postgres.analytics.settings]
shared_buffers = "32MB"
max_connections = 12
[postgres.analytics.role.app]
password = "first"
[postgres.analytics.database.data]
owner = "app"
"#;

const MARIADB: &str = r#"
[mariadb.ivr]
on = "s1"
[mariadb.ivr.database.calls]
[mariadb.ivr.user."caller@%"]
password = "third"
grants = { "calls.*" = ["SELECT"] }
"#;

/// What the rows that change PostgreSQL and MariaDB add.
const MORE: &str = r#"
[postgres.analytics.role.more]
password = "fourth"
[postgres.analytics.database.more]
owner = "more"
extensions = ["citext"]
[[postgres.analytics.grant]]
role = "app"
database = "more"
tables = ["SELECT"]
future = true
"#;
const MORE_MARIADB: &str = r#"
[mariadb.ivr.database.more]
[mariadb.ivr.user."more@%"]
password = "fifth"
grants = { "more.*" = ["SELECT", "INSERT"], "calls.*" = ["SELECT"] }
"#;

/// A server with both databases, as declared, for all rows of this file and the values of F70.
pub struct Databases {
    pub server: Server,
    lab: ServerLab,
}

/// The one server, for one row at a time.
pub fn databases() -> MutexGuard<'static, Databases> {
    static ONE: OnceLock<Mutex<Databases>> = OnceLock::new();
    let one = ONE.get_or_init(|| {
        let server = Server::up("databases", Image::Full);
        let databases = Databases {
            lab: ServerLab::with(""),
            server,
        };
        databases.say("");
        databases.apply().ends(0);
        Mutex::new(databases)
    });
    let one = one.lock().unwrap_or_else(PoisonError::into_inner);
    one.heal();
    one
}

impl Databases {
    /// The environment: what is always declared, and more.
    pub fn say(&self, more: &str) {
        self.only(&format!("{POSTGRES}{MARIADB}{more}"));
    }

    pub fn only(&self, text: &str) {
        self.lab.say(&format!("{}{text}", self.server.host("s1")));
    }

    pub fn command(&self) -> Command {
        self.lab.command(&["apply", "servers", "--yes"])
    }

    pub fn apply(&self) -> Ran {
        run(&mut self.command())
    }

    pub fn plan(&self) -> Ran {
        self.lab
            .provision(&["plan", "servers", "--detailed-exitcode"])
    }

    pub fn psql(&self, sql: &str) -> String {
        self.server
            .sh(&format!("runuser -u postgres -- psql -XAtqc \"{sql}\""))
    }

    /// What PostgreSQL has logged since a mark was set.
    fn log(&self, from: usize) -> String {
        let log = self
            .server
            .sh("cat /var/log/postgresql/postgresql-15-main.log");
        log.get(from..).unwrap_or_default().to_owned()
    }

    fn logged(&self) -> usize {
        self.log(0).len()
    }

    /// PostgreSQL as it was, whatever a case that failed has left.
    fn heal(&self) {
        for (path, _) in CLIENTS {
            self.server
                .sh(&format!("[ ! -e {path}.real ] || mv -f {path}.real {path}"));
        }
        self.server.sh(
            "cd /var/lib/postgresql/15/main
             if [ -e recovery.signal ] || [ -e standby.signal ] || [ -e /etc/postgresql/15/main/conf.d/lab.conf ]; then
                 systemctl stop postgresql@15-main
                 rm -f recovery.signal standby.signal /etc/postgresql/15/main/conf.d/lab.conf
             fi
             systemctl reset-failed postgresql@15-main; systemctl start postgresql@15-main
             n=0; until runuser -u postgres -- psql -qc 'select 1' > /dev/null 2>&1 || [ $n = 300 ]; do n=$((n + 1)); sleep 0.2; done",
        );
        self.server.try_sh(UNDO);
        self.server.try_sh(UNDO_MARIADB);
        self.say("");
    }

    /// That everything is as declared again, however it got there.
    pub fn converges(&self) -> Result<(), String> {
        let ran = self.apply();
        that(ran.code == 0, || format!("the next run: {ran:?}"))?;
        let plan = self.plan();
        that(plan.code == 0, || format!("still to do: {plan:?}"))
    }
}

/// A state that PostgreSQL is brought to, and what has to come of it.
type State = (&'static str, fn(&Databases) -> Result<(), String>);

const STATES: [State; 8] = [
    ("stopped", |on| {
        on.server.sh("systemctl stop postgresql@15-main");
        on.converges()
    }),
    ("killed", |on| {
        on.server.sh("systemctl kill -s KILL postgresql@15-main");
        on.converges()
    }),
    // It asks for files of an archive that has none, and each time that takes a while.
    ("starting", |on| {
        on.server.sh(
            "systemctl stop postgresql@15-main
             cd /var/lib/postgresql/15/main && runuser -u postgres -- touch recovery.signal
             printf \"restore_command = 'sleep 3; false'\\n\" > /etc/postgresql/15/main/conf.d/lab.conf
             systemctl start --no-block postgresql@15-main
             n=0; until runuser -u postgres -- psql -c 'select 1' 2>&1 | grep -q 'starting up' || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done",
        );
        let seen = on
            .server
            .try_sh("runuser -u postgres -- psql -c 'select 1'");
        that(seen.stderr.contains("starting up"), || {
            format!("it does not start slowly: {seen:?}")
        })?;
        let plan = on.plan();
        that(plan.code == 0, || {
            format!("a start that passes by itself was not waited for: {plan:?}")
        })
    }),
    ("stopping", |on| {
        let mut held = session(on, "app");
        on.server
            .sh("kill -TERM $(head -n 1 /var/lib/postgresql/15/main/postmaster.pid); sleep 0.5");
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_secs(4));
                let _ = held.kill();
                let _ = held.wait();
                on.server.try_sh("pkill -f 'select pg_sleep'");
            });
            on.converges()
        })
    }),
    ("full", |on| {
        let mark = on.logged();
        on.server.sh(
            "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do runuser -u postgres -- psql -qc 'select pg_sleep(6)' > /dev/null 2>&1 & done
             n=0; until runuser -u postgres -- psql -c 'select 1' 2>&1 | grep -q 'too many clients' || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done",
        );
        let plan = on.plan();
        that(plan.code == 0, || {
            format!("that it is full was not waited for: {plan:?}")
        })?;
        let refused = on.log(mark).matches("too many clients").count();
        that(refused < 120, || {
            format!("{refused} tries in some seconds are a storm")
        })
    }),
    ("no way in", |on| {
        let hba = "/etc/postgresql/15/main/pg_hba.conf";
        on.server.sh(&format!("cp -p {hba} /root/hba && sed -i '1i local all postgres reject' {hba} && systemctl reload postgresql@15-main && sleep 0.5"));
        let mark = on.logged();
        let ran = on.apply();
        let refused = on.log(mark).matches("pg_hba.conf rejects").count();
        on.server.sh(&format!(
            "cp -p /root/hba {hba} && systemctl reload postgresql@15-main && sleep 0.5"
        ));
        that(ran.code != 0, || format!("{ran:?}"))?;
        that(ran.stderr.contains("let us in"), || ran.stderr.clone())?;
        that(refused <= 20, || format!("{refused} tries"))?;
        on.converges()
    }),
    ("a standby that nobody may read", |on| {
        on.server.sh(
            "systemctl stop postgresql@15-main
             cd /var/lib/postgresql/15/main && runuser -u postgres -- touch standby.signal
             printf 'hot_standby = off\\n' > /etc/postgresql/15/main/conf.d/lab.conf
             systemctl start --no-block postgresql@15-main
             n=0; until runuser -u postgres -- psql -c 'select 1' 2>&1 | grep -q 'Hot standby' || [ $n = 100 ]; do n=$((n + 1)); sleep 0.1; done",
        );
        let mark = on.logged();
        let ran = on.plan();
        let refused = on.log(mark).matches("not accepting connections").count();
        on.heal();
        that(ran.code != 0, || format!("{ran:?}"))?;
        that(refused <= 20, || {
            format!("{refused} tries of what does not pass")
        })?;
        on.converges()
    }),
    ("read only", |on| {
        on.psql("ALTER SYSTEM SET default_transaction_read_only = on");
        on.psql("SELECT pg_reload_conf()");
        on.say(MORE);
        thread::sleep(Duration::from_millis(500));
        let mark = on.logged();
        let ran = on.apply();
        let refused = on.log(mark).matches("read-only transaction").count();
        on.say("");
        on.server.sh("PGOPTIONS='-c default_transaction_read_only=off' runuser -w PGOPTIONS -u postgres -- psql -qc 'ALTER SYSTEM RESET default_transaction_read_only' -c 'SELECT pg_reload_conf()'; sleep 0.5");
        that(ran.code == 1, || format!("{ran:?}"))?;
        that(ran.stderr.contains("is a standby"), || ran.stderr.clone())?;
        that(refused == 1, || format!("{refused} statements were tried"))?;
        on.converges()
    }),
];

fn states(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    for (name, state) in trial.sample(&STATES, 2) {
        trial.case(name, || state(&on));
        on.heal();
    }
    trial.note(format!(
        "{} of {} states",
        trial.size(2, STATES.len()),
        STATES.len()
    ));
}

/// A session that holds its connection.
fn session(on: &Databases, role: &str) -> Child {
    let client = "PGPASSWORD=first exec psql -qh localhost -d data -c 'select pg_sleep(60)'";
    let child = Command::new("docker")
        .args([
            "exec",
            "-e",
            &format!("PGUSER={role}"),
            &on.server.container,
            "sh",
            "-c",
            client,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("somebody works there", || {
        on.psql("select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%' and usename = 'app'") != "0"
    });
    child
}

/// Stands in for a database's client: counts the statements of whoever changes something, and once, behind the one whose number is in
/// `/run/lab/kill`, ends the session that they are said in. `/run/lab/cut`: the shells that we speak to the machine by, too.
const CLIENT: &str = r#"#!/bin/sh
real=$0.real
case "$PGOPTIONS $*" in
    *transaction_read_only* | *tx_read_only*) exec "$real" "$@" ;;
esac
echo run >> /run/lab/runs
count=0 kill=0
[ ! -e /run/lab/count ] || read -r count < /run/lab/count
[ ! -e /run/lab/kill ] || read -r kill < /run/lab/kill
[ ! -e /run/lab/wait ] || { mv /run/lab/wait /run/lab/now; sleep 3; }
awk -v n="$count" -v kill="$kill" -v end="END" '
    { print }
    /;$/ { n++; if (n == kill) { print end; fflush(); system("mv /run/lab/kill /run/lab/killed") } }
    END { print n > "/run/lab/count" }
' | "$real" "$@"
"#;

const CLIENTS: [(&str, &str); 2] = [
    (
        "/usr/lib/postgresql/15/bin/psql",
        "SELECT pg_terminate_backend(pg_backend_pid());",
    ),
    ("/usr/bin/mariadb", "KILL CONNECTION_ID();"),
];

impl Databases {
    /// Puts the stand-in in the place of a client, or takes it away again.
    fn stand_in(&self, (path, end): (&str, &str), there: bool) {
        self.server
            .sh(&format!("[ ! -e {path}.real ] || mv -f {path}.real {path}"));
        if there {
            let text = CLIENT.replace("\"END\"", &format!("\"{end}\""));
            let copy = self.lab.folder.path().join("client");
            std::fs::write(&copy, text).unwrap();
            self.server.sh(&format!(
                "mv {path} {path}.real; rm -rf /run/lab; mkdir -m 777 /run/lab"
            ));
            self.server.put(&copy, path);
            self.server.sh(&format!("chmod 755 {path}"));
        }
    }

    /// How many statements a change has, and that nothing is left of it afterwards.
    fn statements(&self, more: &str, undo: &str) -> u64 {
        self.say(more);
        self.server.sh("rm -f /run/lab/count /run/lab/kill");
        self.apply().ends(0);
        let count = self.server.sh("cat /run/lab/count");
        self.undo(undo);
        count.parse().unwrap()
    }

    /// Takes what was made away again, and what is remembered of it.
    fn undo(&self, undo: &str) {
        self.server.sh(undo);
        self.say("");
        self.apply().ends(0);
    }
}

const UNDO: &str = "runuser -u postgres -- psql -qX -c 'DROP DATABASE IF EXISTS more' -c 'DROP OWNED BY app' -c 'DROP ROLE IF EXISTS more' \
    -c \"DELETE FROM provision.entry WHERE id LIKE '%more%'\"";
const UNDO_MARIADB: &str = "mariadb -e \"DROP DATABASE IF EXISTS more; DROP USER IF EXISTS 'more'@'%'; DELETE FROM provision.entry WHERE id LIKE '%more%'\"";

/// Where one statement stops and the next has not begun: what was done stays whole, is seen again, and is said once.
fn killed_between(
    trial: &mut Trial,
    on: &Databases,
    client: (&str, &str),
    more: &str,
    undo: &str,
    few: usize,
) {
    on.stand_in(client, true);
    let count = on.statements(more, undo);
    for at in trial.numbers(1..count + 1, few) {
        trial.case(format!("killed behind statement {at} of {count}"), || {
            on.say(more);
            on.server.sh(&format!(
                "rm -f /run/lab/killed /run/lab/runs /run/lab/count; echo {at} > /run/lab/kill"
            ));
            let ran = on.apply();
            let killed = on.server.try_sh("test -e /run/lab/killed").code == 0;
            that(killed, || "nobody was killed".to_owned())?;
            that(ran.code != 0, || {
                format!("a killed session is no success: {ran:?}")
            })?;
            let plan = on.plan();
            that(matches!(plan.code, 0 | 2), || {
                format!("afterwards it cannot be seen: {plan:?}")
            })?;
            on.converges()?;
            on.undo(undo);
            Ok(())
        });
    }
    on.stand_in(client, false);
}

fn between_statements(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    killed_between(trial, &on, CLIENTS[0], MORE, UNDO, 1);
    trial.case("the way to the machine dies in the middle of SQL: it is sent once", || {
        on.stand_in(CLIENTS[0], true);
        on.server.sh("touch /run/lab/wait; chmod 666 /run/lab/wait");
        on.say(MORE);
        // While the client waits, the shells that we speak by are killed; it goes on without them.
        let kill = "timeout 90 sh -c 'until [ -e /run/lab/now ]; do sleep 0.05; done'; pkill -KILL -f '[I]FS= read -r b'";
        let ran = thread::scope(|scope| {
            scope.spawn(|| on.server.try_sh(kill));
            on.apply()
        });
        let runs = on.server.sh("cat /run/lab/runs | wc -l");
        that(runs == "1", || format!("sent {runs} times"))?;
        that(ran.code != 0, || format!("{ran:?}"))?;
        until("the client has ended", || {
            on.server.try_sh("pgrep -f '[p]ostgresql/15/bin/psql'").code != 0
        });
        on.say(MORE);
        on.converges()?;
        on.stand_in(CLIENTS[0], false);
        on.undo(UNDO);
        Ok(())
    });
    on.heal();
}

fn of_somebody_else(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    trial.case("a database of another owner, a role with other rights", || {
        on.server.sh("runuser -u postgres -- psql -qX -c 'CREATE ROLE more CREATEDB' -c 'CREATE ROLE other' -c 'CREATE DATABASE more OWNER other'");
        on.server.sh("runuser -u postgres -- psql -qXd more -c 'CREATE TABLE kept AS SELECT 7 AS n' -c 'ALTER TABLE kept OWNER TO other'");
        on.say(MORE);
        let plan = on.plan();
        that(plan.stdout.contains("owner") && plan.stdout.contains("createdb"), || plan.stdout.clone())?;
        on.converges()?;
        let kept = on.server.sh("runuser -u postgres -- psql -XAtqd more -c 'SELECT n FROM kept' -c \"SELECT tableowner FROM pg_tables WHERE tablename = 'kept'\"");
        that(kept == "7\nother", || format!("a table of somebody else is now: {kept}"))
    });
    trial.case("a role that still owns something is not dropped, and nothing is given to others", || {
        on.server.sh("runuser -u postgres -- psql -qXd data -c 'CREATE TABLE owned (n int)' -c 'ALTER TABLE owned OWNER TO more'");
        on.say("");
        let ran = on.apply();
        let owner = on.server.sh("runuser -u postgres -- psql -XAtqd data -c \"SELECT tableowner FROM pg_tables WHERE tablename = 'owned'\"");
        that(owner == "more", || format!("it is of `{owner}` now: {ran:?}"))?;
        that(on.psql("SELECT count(*) FROM pg_database WHERE datname = 'more'") == "1", || "the database is gone".to_owned())?;
        let kept = on.server.sh("runuser -u postgres -- psql -XAtqd more -c 'SELECT n FROM kept'");
        that(kept == "7", || "its table is gone".to_owned())
    });
    trial.case("sessions of a database that is to go stay, unless its data is named", || {
        let mut held = session(&on, "app");
        on.only(MARIADB);
        let ran = on.apply();
        let left = on.psql("select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%' and usename = 'app'");
        let there = on.psql("SELECT count(*) FROM pg_database WHERE datname = 'data'");
        let _ = held.kill();
        let _ = held.wait();
        on.server.try_sh("pkill -f 'select pg_sleep'");
        that(there == "1" && left == "1", || format!("{there} databases and {left} sessions are left: {ran:?}"))
    });
    on.server.sh(
        "runuser -u postgres -- psql -qXd data -c 'DROP TABLE IF EXISTS owned'; runuser -u postgres -- psql -qX -c 'DROP DATABASE IF EXISTS more' -c 'DROP OWNED BY app' -c 'DROP ROLE IF EXISTS more' -c 'DROP ROLE IF EXISTS other' \
         -c \"DELETE FROM provision.entry WHERE id LIKE '%more%'\"",
    );
    on.say("");
    trial.case("afterwards all is as declared", || on.converges());
}

const MARIADB_DAYS: [State; 4] = [
    ("stopped", |on| {
        on.server.sh("systemctl stop mariadb");
        on.converges()
    }),
    ("its socket is gone", |on| {
        on.server.sh("rm -f /run/mysqld/mysqld.sock");
        let ran = on.apply();
        // Nobody gets in, and it runs: said, and nothing is made of it.
        on.server.sh("systemctl restart mariadb");
        that(ran.code != 0 || ran.stdout.contains("restart"), || {
            format!("{ran:?}")
        })?;
        on.converges()
    }),
    ("root comes in by password only", |on| {
        on.server.sh("mariadb -e \"ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING PASSWORD('roots')\"");
        on.say(MORE_MARIADB);
        let ran = on.apply();
        on.server.sh("mariadb -uroot -proots -e \"ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket\"");
        on.say("");
        that(
            ran.code == 4 && ran.stdout.contains("does not let us in"),
            || format!("{ran:?}"),
        )?;
        let made = on
            .server
            .sh("mariadb -NBe \"SELECT count(*) FROM mysql.global_priv WHERE user = 'more'\"");
        that(made == "0", || "a user was made".to_owned())?;
        on.converges()
    }),
    // The folder of its data is full: what cannot be written is said, and what was there is there. Full of inodes, too, since a database
    // and a user find room in what the server's own files have left.
    ("no room", |on| {
        on.server.sh(
            "systemctl stop mariadb && mv /var/lib/mysql /var/lib/mysql.real && mkdir /var/lib/mysql
             mount -t tmpfs -o size=200m tmpfs /var/lib/mysql && cp -a /var/lib/mysql.real/. /var/lib/mysql/ && chown mysql: /var/lib/mysql
             systemctl start mariadb && (cat /dev/zero > /var/lib/mysql/filler 2> /dev/null || :)
             used=$(df --output=iused /var/lib/mysql | tail -n 1) && mount -o remount,nr_inodes=$((used)) /var/lib/mysql",
        );
        on.say(MORE_MARIADB);
        let ran = run(on.command().env("PROVISION_LAB", "full"));
        on.server
            .sh("rm -f /var/lib/mysql/filler; mount -o remount,nr_inodes=100000 /var/lib/mysql");
        let more = on.apply();
        on.say("");
        on.server.sh(
            "systemctl stop mariadb && umount /var/lib/mysql && rmdir /var/lib/mysql && mv /var/lib/mysql.real /var/lib/mysql && systemctl start mariadb",
        );
        that(ran.code != 0, || format!("there was no room: {ran:?}"))?;
        that(more.code == 0, || format!("with room again: {more:?}"))?;
        on.converges()
    }),
];

fn mariadb_days(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    for (name, state) in trial.sample(&MARIADB_DAYS, 1) {
        trial.case(name, || state(&on));
        on.say("");
    }
    killed_between(trial, &on, CLIENTS[1], MORE_MARIADB, UNDO_MARIADB, 1);
}

fn another_behind_the_port(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    let forward = "[forward.analytics]\nto = \"postgres.analytics\"\nlisten = \"127.0.0.1:0\"\n[forward.ivr]\nto = \"mariadb.ivr\"\nlisten = \"127.0.0.1:1\"\n";
    let (one, two) = (free_port().to_string(), free_port().to_string());
    on.say(
        &forward
            .replace(":0\"", &format!(":{one}\""))
            .replace(":1\"", &format!(":{two}\"")),
    );
    let open = |words: &[&str]| {
        let words: Vec<&str> = ["forward", "servers"]
            .into_iter()
            .chain(words.iter().copied())
            .chain(["--exec", "true"])
            .collect();
        on.lab.provision(&words)
    };
    trial.case("the right ones", || {
        let ran = open(&[]);
        that(ran.code == 0, || format!("{ran:?}"))
    });
    on.server.sh(
        "systemctl stop postgresql@15-main; printf '[mysqld]\\nport=5432\\n' > /etc/mysql/mariadb.conf.d/99-lab.cnf; systemctl restart mariadb",
    );
    trial.case("MariaDB where PostgreSQL should be", || {
        let ran = open(&["analytics"]);
        that(
            ran.code == 1 && ran.stderr.contains("is no PostgreSQL"),
            || format!("{ran:?}"),
        )
    });
    on.server.sh(
        "rm /etc/mysql/mariadb.conf.d/99-lab.cnf; systemctl stop mariadb
         printf 'port = 3306\\n' > /etc/postgresql/15/main/conf.d/zz.conf; systemctl start postgresql@15-main",
    );
    trial.case("PostgreSQL where MariaDB should be", || {
        let ran = open(&["ivr"]);
        that(
            ran.code == 1 && ran.stderr.contains("is no MariaDB"),
            || format!("{ran:?}"),
        )
    });
    on.server.sh("rm /etc/postgresql/15/main/conf.d/zz.conf; systemctl stop postgresql@15-main; systemctl start mariadb postgresql@15-main");
    on.say("");
    trial.case("afterwards all is as declared", || on.converges());
}

/// Each is refused before anything is done, and not shown, or lets exactly itself in.
fn odd_secrets(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    let long = "0123456789abcdef".repeat(4096);
    let odd: [(&str, &[u8]); 13] = [
        ("empty", b""),
        ("one character", b"a"),
        ("64 KiB", long.as_bytes()),
        ("more than 64 KiB", &[b'y'; 65537]),
        ("no text", &[0xff, 0xfe, b'k', 0x80]),
        ("a NUL", b"nul\0inside"),
        ("a newline inside", b"line\nbreak"),
        ("a newline at its end", b"ending\n"),
        ("a blank at its beginning", b" leading"),
        ("a blank at its end", b"trailing "),
        ("stars", b"***"),
        ("quotes and more", b"q'\"\\$`%{{x}};--"),
        ("other scripts", "pässwörd\u{202e}\u{2168}".as_bytes()),
    ];
    let file = |at: usize| on.lab.folder.path().join(format!("environments/odd{at}"));
    let entry = |at: usize| {
        format!(
            "[postgres.analytics.role.odd{at}]\npassword = {{ file = \"odd{at}\" }}\n[mariadb.ivr.user.\"odd{at}@%\"]\npassword = {{ file = \"odd{at}\" }}\n"
        )
    };
    let mut exact = Vec::new();
    for (at, (name, value)) in odd.iter().enumerate() {
        std::fs::write(file(at), value).unwrap();
        Command::new("chmod")
            .arg("600")
            .arg(file(at))
            .status()
            .unwrap();
        on.say(&entry(at));
        let ran = on.lab.provision(&["plan", "servers"]);
        if ran.code == 0 || !matches!(ran.code, 3 | 7) {
            exact.push(at);
            continue;
        }
        trial.case(format!("{name}, refused"), || {
            let shown = String::from_utf8_lossy(value);
            let inside = shown.len() > 3
                && format!("{}{}", ran.stdout, ran.stderr).contains(shown.trim_end());
            that(!inside, || format!("{ran:?}"))
        });
    }
    on.say(&exact.iter().map(|at| entry(*at)).collect::<String>());
    let ran = on.apply();
    trial.case("those that are taken are set", || {
        that(ran.code == 0, || format!("{exact:?}: {ran:?}"))
    });
    for at in exact {
        let (name, value) = odd[at];
        // One newline at the end is a file's own.
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let value = String::from_utf8_lossy(value).into_owned();
        let other = match value.strip_suffix(|_: char| true) {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => format!("{value}x"),
        };
        for (password, gets_in) in [(&value, true), (&other, false)] {
            trial.case(
                format!("{name}, {}", if gets_in { "exact" } else { "another" }),
                || {
                    let clients = [
                        (
                            "PGPASSWORD",
                            format!("psql -wXAtqh localhost -U odd{at} -d postgres -c 'select 1'"),
                        ),
                        (
                            "MYSQL_PWD",
                            format!("mariadb -h 127.0.0.1 -u odd{at} -NBe 'select 1'"),
                        ),
                    ];
                    for (variable, client) in clients {
                        let ran = run(Command::new("docker")
                            .args([
                                "exec",
                                "-e",
                                variable,
                                &on.server.container,
                                "sh",
                                "-c",
                                &client,
                            ])
                            .env(variable, password));
                        that((ran.code == 0) == gets_in, || format!("{client}: {ran:?}"))?;
                    }
                    Ok(())
                },
            );
        }
    }
    on.say("");
    let cleared = on.apply();
    that(cleared.code == 0, || format!("{cleared:?}")).unwrap();
}
