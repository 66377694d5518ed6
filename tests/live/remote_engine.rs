//! The repository's own staging: containers on the engine of a server, which is reached over SSH and only by sudo.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::server::{Image, Server, key};
use crate::lab::{Lab, Ran, docker, engine, free_port, run};

/// What the staging file wants from the environment of its operator.
const SECRETS: [(&str, &str); 4] = [
    ("IACT_STAGING_DJANGO_PASSWORD", "staging-django-1"),
    ("IACT_STAGING_REPORTING_PASSWORD", "staging-reporting-1"),
    ("IACT_STAGING_IVR_PASSWORD", "staging-ivr-1"),
    ("IACT_STAGING_SECRET_KEY", "staging-secret-key-of-the-tests"),
];

/// A server with an engine of its own and Compose, which has our images: there is no registry to pull them from.
fn server() -> Server {
    let server = Server::up_with(
        "engine",
        Image::Engine,
        &["-v", "/var/lib/docker", "--cap-add=SYS_PTRACE"],
    );
    let images = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let ours = ["postgres:", "mariadb:", "python:", "provision/"];
    let images: Vec<&str> = images
        .lines()
        .filter(|image| ours.iter().any(|ours| image.starts_with(ours)))
        .collect();
    let mut save = Command::new("docker")
        .arg("save")
        .args(&images)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let load = Command::new("docker")
        .args(["exec", "-i", &server.container, "docker", "load", "-q"])
        .stdin(save.stdout.take().unwrap())
        .output()
        .unwrap();
    Ran::of(load).ends(0);
    assert!(save.wait().unwrap().success());
    let plugin = crate::lab::compose::v2().join("cli-plugins/docker-compose");
    server.sh("mkdir -p /usr/libexec/docker/cli-plugins");
    server.put(&plugin, "/usr/libexec/docker/cli-plugins/docker-compose");
    server
}

/// The staging environment on a server, as an operator has it.
fn operator(server: &Server, project: &str, web: u16) -> Lab {
    let lab = Lab::new("staging");
    lab.edit("base.toml", &lab.project, project);
    let host = format!(
        "address = \"{}\"\nidentity = \"{}\"\nhost_key = \"{}\"",
        server.address,
        key().display(),
        server.host_key
    );
    lab.edit(
        "staging.toml",
        "address = \"staging.iact.example.com\"",
        &host,
    );
    lab.edit(
        "staging.toml",
        "127.0.0.1:8000",
        &format!("127.0.0.1:{web}"),
    );
    let secrets = lab.path("iact/secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    for name in ["staging-etl-password", "staging-ivr-etl-password"] {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = file.open(secrets.join(name)).unwrap();
        std::io::Write::write_all(&mut file, b"staging-etl-canary-1").unwrap();
    }
    lab
}

fn command(lab: &Lab, words: &[&str]) -> Command {
    let mut command = lab.command(words);
    command.envs(SECRETS);
    command
}

fn say(lab: &Lab, words: &[&str]) -> Ran {
    run(&mut command(lab, words))
}

fn apply(lab: &Lab) -> Ran {
    say(lab, &["apply", "staging", "--yes"])
}

fn nothing_to_do(lab: &Lab) {
    say(lab, &["plan", "staging", "--detailed-exitcode"]).has_nothing_to_do();
}

/// The ids of a plan's changes, but what only waits.
fn changes(lab: &Lab) -> Vec<String> {
    let changes = say(lab, &["plan", "staging", "--json"]).changes();
    let mut ids: Vec<String> = changes
        .into_iter()
        .filter(|(_, action, _)| action != "wait")
        .map(|(id, ..)| id)
        .collect();
    ids.sort();
    ids
}

#[test]
fn staging_is_on_the_engine_of_a_server() {
    if !engine() {
        return;
    }
    let server = server();
    let web = free_port();
    let project = format!("remote{}", std::process::id());
    let lab = operator(&server, &project, web);
    let folder = format!("/var/lib/provision/{project}.staging");

    cut_off(&server, &lab);
    nothing_to_do(&lab);
    let verified = say(&lab, &["verify", "staging"]).ends(0);
    assert!(
        verified.stdout.contains("answers /health with 200"),
        "{}",
        verified.stdout
    );

    // Nothing of it is here, and nobody but root reads what is there.
    assert_eq!(
        docker(&[
            "ps",
            "-aq",
            "--filter",
            &format!("label=com.docker.compose.project={project}")
        ]),
        ""
    );
    assert_eq!(server.sh(&format!("stat -c '%U %a' {folder}")), "root 700");
    assert_eq!(server.sh("id -nG deploy"), "deploy");
    let open = format!("find {folder} -type f -name '*.yml' ! -perm 600");
    assert_eq!(server.sh(&open), "");

    seen_by_compose(&server, &folder);
    drifts(&server, &lab, &project, &folder);
    second_operator(&server, &lab, &project, web);
    used(&lab, web);

    say(&lab, &["destroy", "staging", "--yes"]).ends(0);
    assert_eq!(
        server.sh("docker ps -aq; docker network ls -q --filter type=custom"),
        ""
    );
    let volumes = server.sh("docker volume ls -q");
    assert_eq!(
        volumes,
        format!("{project}_analytics_data\n{project}_ivr_data")
    );
    assert_eq!(server.sh(&format!("ls {folder} 2> /dev/null || :")), "");
}

/// The first apply loses its connections again and again, and whatever runs it there; in the end all is there.
fn cut_off(server: &Server, lab: &Lab) {
    for pause in [800, 4_000, 12_000, 25_000] {
        let run = command(lab, &["apply", "staging", "--yes"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        server.sh("pkill -9 -f '[s]shd: deploy' || :");
        let ran = Ran::of(run.wait_with_output().unwrap());
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    let begun = Instant::now();
    loop {
        let ran = apply(lab);
        if ran.code == 0 {
            return;
        }
        let refused = ran.stdout.contains("refused");
        let late = begun.elapsed() > Duration::from_secs(300);
        if refused || late {
            let there = server.sh("docker ps -a; docker volume inspect $(docker volume ls -q)");
            panic!("{ran:?}\n{there}");
        }
    }
}

/// Compose on the server sees its own project there, and has nothing to recreate.
fn seen_by_compose(server: &Server, folder: &str) {
    let ids = || server.sh(&format!("cd {folder} && docker compose ps -q | sort"));
    let before = ids();
    assert_eq!(before.lines().count(), 3, "{before}");
    server.sh(&format!(
        "cd {folder} && docker compose up -d --no-build 2>&1"
    ));
    assert_eq!(ids(), before);
    let said = server.sh(&format!(
        "cd {folder} && docker compose exec -T analytics id -un"
    ));
    assert_eq!(said, "root");
}

/// What is changed by hand there is what the plan names, and is healed.
fn drifts(server: &Server, lab: &Lab, project: &str, folder: &str) {
    let compose = "generated_file.docker-compose.yml";
    let psql =
        |sql: &str| format!("docker exec {project}-analytics-1 psql -U postgres -qc '{sql}'");
    let drifts = [
        (format!("echo '#' >> {folder}/docker-compose.yml"), compose),
        (format!("chmod 644 {folder}/docker-compose.yml"), compose),
        (
            format!(
                "rm {folder}/docker-compose.yml && ln -s /etc/passwd {folder}/docker-compose.yml"
            ),
            compose,
        ),
        (
            psql("ALTER ROLE reporting CONNECTION LIMIT 3"),
            "postgres_role.analytics:reporting",
        ),
        (
            format!("docker exec {project}-ivr-1 mariadb -e \"ALTER USER 'etl'@'%' ACCOUNT LOCK\""),
            "mariadb_user.ivr:etl@%",
        ),
        (format!("docker stop {project}-iact-1"), "container.iact"),
    ];
    for (by_hand, id) in drifts {
        server.sh(&by_hand);
        assert_eq!(changes(lab), [id], "{by_hand}");
        apply(lab).ends(0);
        nothing_to_do(lab);
    }
    assert!(server.sh("cat /etc/passwd").contains("deploy"));
}

/// Somebody else with the same files sees the same; while one applies, the other is told by whom it is locked.
fn second_operator(server: &Server, lab: &Lab, project: &str, web: u16) {
    let other = operator(server, project, web);
    nothing_to_do(&other);
    let status = say(&other, &["status", "staging"]).ends(0);
    assert!(
        status.stdout.contains("all of it done"),
        "{}",
        status.stdout
    );

    server.sh(&format!(
        "docker rm -f {project}-analytics-1 {project}-iact-1"
    ));
    let mut first = command(lab, &["apply", "staging", "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    // Two that begin on one machine meet there already; the lock on the server is for those on others.
    let locked = loop {
        let ran = say(&other, &["lock", "staging"]);
        if ran.stdout.matches("apply staging").count() == 2 {
            break say(&other, &["apply", "staging", "--yes"]);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{ran:?}");
    };
    // Nobody waits for a run that is over by now.
    if first.try_wait().unwrap().is_none() || locked.code != 0 {
        let named = locked.stderr.contains("locked") && locked.stderr.contains("apply staging");
        assert!(named, "{locked:?}");
    }
    assert!(first.wait().unwrap().success());
    nothing_to_do(&other);
}

/// Its commands work from here.
fn used(lab: &Lab, web: u16) {
    let mut exec = command(
        lab,
        &[
            "exec",
            "staging",
            "analytics",
            "--",
            "sh",
            "-c",
            "cat; exit 7",
        ],
    );
    exec.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = exec.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"over there").unwrap();
    let said = Ran::of(child.wait_with_output().unwrap()).ends(7);
    assert_eq!(said.stdout, "over there");
    let logs = say(lab, &["logs", "staging", "analytics", "--tail", "50"]).ends(0);
    assert!(
        logs.stdout.contains("ready to accept connections"),
        "{}",
        logs.stdout
    );
    let fetch = "exec 3<>/dev/tcp/${PROVISION_FORWARD_WEB/:/\\/} && \
        printf 'GET /health HTTP/1.0\\r\\nHost: staging.iact.example.com\\r\\n\\r\\n' >&3 && cat <&3";
    let page = say(
        lab,
        &["forward", "staging", "web", "--exec", "bash", "-c", fetch],
    )
    .ends(0);
    assert!(page.stdout.contains("200 OK"), "{page:?}");
    assert!(
        page.stderr.contains(&format!("127.0.0.1:{web}")),
        "{}",
        page.stderr
    );
}
