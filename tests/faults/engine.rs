//! The Docker engine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Lab, SMALL, docker, free_port, provision};
use crate::second::Second;
use crate::table::{How, Row, row};
use crate::trial::{Trial, begin, ended, that, within};

pub const ROWS: &[Row] = &[
    row(
        "F35",
        "somebody else's container, volume or network has our name",
        How::TestedBy(&["live::bad_days::foreign_things_with_our_names_are_never_touched"]),
    ),
    row(
        "F36",
        "port taken",
        How::TestedBy(&[
            "live::bad_days::a_busy_port_is_found_while_planning_and_its_holder_named",
            "live::bad_days::auto_correct_takes_the_next_free_port_and_keeps_it",
        ]),
    ),
    row(
        "F37",
        "image missing, no registry, disk full",
        How::TestedBy(&["live::bad_days::an_image_that_does_not_exist_stops_nothing"]),
    ),
    row(
        "F38",
        "new container exits, loops, is never healthy",
        How::TestedBy(&[
            "live::bad_days::a_container_that_never_gets_up_is_shown_with_its_last_log_lines",
        ]),
    ),
    row(
        "F39",
        "container killed while it is made anew, engine restarted",
        How::Tried(killed),
    ),
    row(
        "F40",
        "definition of a volume changed",
        How::TestedBy(&["live::bad_days::data_of_another_major_version_is_refused"]),
    ),
    row(
        "F41",
        "resource taken out of the file",
        How::TestedBy(&[
            "live::stack::what_is_taken_out_of_the_file_goes_and_data_stays_until_named",
        ]),
    ),
    row(
        "F42",
        "socket gone, forbidden, garbage from the engine",
        How::Tried(socket),
    ),
];

/// Id and whether it runs.
fn state(container: &str) -> String {
    docker(&["inspect", "-f", "{{.Id}} {{.State.Running}}", container])
}

fn killed(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let lab = Lab::with("killed", SMALL);
    lab.apply();
    lab.psql("app", "CREATE TABLE kept AS SELECT 7 AS seven");
    let name = lab.container("analytics");
    let before = state(&name);
    let file = "local.toml";
    let deadline = Duration::from_secs(180);
    trial.case("the new image is nowhere: the old one runs on", || {
        let text = std::fs::read_to_string(lab.path(file)).unwrap();
        lab.edit(
            file,
            "[postgres.analytics]\n",
            "[postgres.analytics]\nimage = \"nowhere.invalid/pg:15\"\n",
        );
        let ran = within(&mut lab.command(&["apply", "local", "--yes"]), deadline)?;
        lab.write(file, &text);
        that(ran.code == 1, || format!("ends with {ran:#?}"))?;
        that(state(&name) == before, || {
            "it is another one, or does not run".to_owned()
        })
    });
    trial.case("the new port is taken: the old one runs on", || {
        let text = std::fs::read_to_string(lab.path(file)).unwrap();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap().port();
        lab.edit(
            file,
            &format!("127.0.0.1:{}", lab.postgres),
            &format!("127.0.0.1:{taken}"),
        );
        let ran = within(&mut lab.command(&["apply", "local", "--yes"]), deadline)?;
        lab.write(file, &text);
        that(ran.code == 1, || format!("ends with {ran:#?}"))?;
        that(state(&name) == before, || {
            "it is another one, or does not run".to_owned()
        })
    });
    let mut port = lab.postgres;
    for which in trial.sample(&["new", "old", "new, and removed"], 1) {
        trial.case(format!("the {which} one is killed"), || {
            let next = free_port();
            lab.edit(
                file,
                &format!("127.0.0.1:{port}"),
                &format!("127.0.0.1:{next}"),
            );
            port = next;
            let mut child = lab
                .command(&["apply", "local", "--yes"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| error.to_string())?;
            let begun = Instant::now();
            let filter = format!("name={name}");
            let new = loop {
                let there = docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
                if let Some(new) = there.lines().find(|one| *one != name) {
                    break new.to_owned();
                }
                let over = child.try_wait().map_err(|error| error.to_string())?;
                that(over.is_none() && begun.elapsed() < deadline, || {
                    "it never was made anew".to_owned()
                })?;
            };
            let hit = |words: &[&str], one: &str| {
                // It may be a moment too early or too late for it.
                let _ = Command::new("docker").args(words).arg(one).output();
            };
            match which {
                "old" => hit(&["kill"], &name),
                "new" => {
                    for _ in 0..40 {
                        hit(&["kill"], &new);
                        thread::sleep(Duration::from_millis(20));
                    }
                }
                _ => hit(&["rm", "-f"], &new),
            }
            let ran = ended(child, deadline)?;
            that(!ran.stderr.contains("panicked"), || format!("{ran:#?}"))?;
            converges(&name, &|words| lab.command(words), &|words| {
                Ok(docker(words))
            })
            .map_err(|why| format!("{why}, after {ran:#?}"))
        });
    }
    restarted(trial);
}

/// SQL as the superuser in a container, as words for `docker`.
fn sql<'a>(container: &'a str, sql: &'a str) -> Vec<&'a str> {
    let psql = ["psql", "-XAtqU", "postgres", "-d", "app", "-c", sql];
    [&["exec", container], &psql[..]].concat()
}

/// The next `apply` ends well, the one after has nothing to do, the data is what it was, and of the container there is one.
fn converges(
    name: &str,
    command: &dyn Fn(&[&str]) -> Command,
    docker: &dyn Fn(&[&str]) -> Result<String, String>,
) -> Result<(), String> {
    let deadline = Duration::from_secs(180);
    let next = within(&mut command(&["apply", "local", "--yes"]), deadline)?;
    that(next.code == 0, || {
        format!("the next apply ends with {next:#?}")
    })?;
    let plan = ["plan", "local", "--detailed-exitcode"];
    let plan = within(&mut command(&plan), deadline)?;
    that(plan.code == 0, || format!("still to do: {plan:#?}"))?;
    let kept = docker(&sql(name, "SELECT seven FROM kept"))?;
    that(kept == "7", || {
        format!("the data is not what it was: {kept}")
    })?;
    let filter = format!("name={name}");
    let all = docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"])?;
    that(all == name, || format!("left over: {all}"))
}

/// The engine itself ends, with what it runs or without, and comes back.
fn restarted(trial: &mut Trial) {
    let second = match Second::new("postgres:15-bookworm") {
        Ok(second) => second,
        Err(why) => {
            eprintln!("\n*** NOT TRIED: an engine that is restarted: {why} ***\n");
            trial.note(format!("an engine that is restarted is not tried: {why}"));
            return;
        }
    };
    let lab = Lab::with("second", SMALL);
    let deadline = Duration::from_secs(180);
    let command = |words: &[&str]| second.command(&lab, words);
    let name = lab.container("analytics");
    let converges = || converges(&name, &command, &|words| second.docker(words));
    trial.case("the engine is restarted", || {
        let first = within(&mut command(&["apply", "local", "--yes"]), deadline)?;
        that(first.code == 0, || format!("ends with {first:#?}"))?;
        second.docker(&sql(&name, "CREATE TABLE kept AS SELECT 7 AS seven"))?;
        second.end("TERM")?;
        let none = within(&mut command(&["plan", "local"]), deadline)?;
        that(none.code == 4, || {
            format!("without an engine plan ends with {none:#?}")
        })?;
        second.up()?;
        converges()
    });
    let mut port = lab.postgres;
    for signal in trial.sample(&["KILL", "TERM"], 1) {
        trial.case(
            format!("the engine hears SIG{signal} while a container is made anew"),
            || {
                let next = free_port();
                let [from, to] = [port, next].map(|port| format!("127.0.0.1:{port}"));
                lab.edit("local.toml", &from, &to);
                port = next;
                let mut child = begin(&mut command(&["apply", "local", "--yes"]))?;
                let begun = Instant::now();
                while !second
                    .docker(&["ps", "-a", "--format", "{{.Names}}"])?
                    .contains('\n')
                {
                    let over = child.try_wait().map_err(|error| error.to_string())?;
                    that(over.is_none() && begun.elapsed() < deadline, || {
                        "it never was made anew".to_owned()
                    })?;
                }
                second.end(signal)?;
                let ran = ended(child, deadline)?;
                second.up()?;
                that(matches!(ran.code, 1 | 4), || format!("ends with {ran:#?}"))?;
                converges()
            },
        );
    }
}

/// What a socket that is no engine answers.
const ANSWERS: &[(&str, &[u8])] = &[
    ("closes at once", b""),
    ("speaks something else", b"\x00\x01\x1b[31mSSH-2.0-x\r\n\r\n"),
    ("half of JSON", b"HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\": [1,"),
    ("JSON of another kind", b"HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"ApiVersion\": 5, \"Id\": [[]]}"),
    ("an error with escapes", b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n{\"message\": \"\\u001b]0;x\\u0007 no way\"}"),
    ("a version of long ago", b"HTTP/1.1 400 Bad Request\r\nApi-Version: 1.12\r\nContent-Type: application/json\r\nContent-Length: 81\r\n\r\n{\"message\":\"client version 1.44 is too new. Maximum supported API version is 1.12\"}"),
    ("an answer cut short", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[{"),
    ("a page", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"),
];

fn socket(trial: &mut Trial) {
    // No socket, and a file in its place: `live::bad_days::no_engine_at_the_socket`.
    let lab = Lab::with("socket", SMALL);
    let at = |folder: &std::path::Path| format!("unix://{}/docker.sock", folder.display());
    for (name, answer) in ANSWERS {
        trial.case(name, || {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    thread::spawn(move || {
                        let mut heard = [0; 4096];
                        while stream.read(&mut heard).is_ok_and(|read| read > 0) {
                            if stream.write_all(answer).is_err() || answer.is_empty() {
                                return;
                            }
                        }
                    });
                }
            });
            let mut command = lab.command(&["plan", "local"]);
            command.env("DOCKER_HOST", at(folder.path()));
            let ran = within(&mut command, Duration::from_secs(60))?;
            let said = format!("{}{}", ran.stdout, ran.stderr);
            that(ran.code == 4, || format!("ends with {ran:#?}"))?;
            that(!said.contains("panicked") && !said.contains('\x1b'), || {
                format!("{ran:#?}")
            })
        });
    }
    trial.case("a socket that we may not use", || {
        // Root may do everything, so somebody else asks, with a copy that he may read.
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open.clone()).unwrap();
        let program = folder.path().join("provision");
        std::fs::copy(provision().get_program(), &program).unwrap();
        std::fs::set_permissions(&program, open).unwrap();
        let dir = folder.path().join("environments");
        std::fs::create_dir(&dir).unwrap();
        let text = SMALL
            .replace("PROJECT", &lab.project)
            .replace("POSTGRES_PORT", "15999");
        std::fs::write(dir.join("local.toml"), text).unwrap();
        let _listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let shut = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.path().join("docker.sock"), shut).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["plan", "local"])
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("DOCKER_HOST", at(folder.path()));
        let ran = within(&mut command, Duration::from_secs(60))?;
        that(ran.code == 4 && ran.stderr.contains("docker.sock"), || {
            format!("ends with {ran:#?}")
        })
    });
}
