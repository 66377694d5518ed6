//! Real servers: throwaway Debian 12 machines with systemd, sshd and a user who may sudo, on the Docker engine of this machine.
//! Their images are made from Debian's packages once, on the same base as the binary's own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::{Ran, canary, docker, provision, run};

/// What is on a server before anybody touches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// systemd, sshd, sudo, nothing else.
    Bare,
    /// The packages of a database and web server besides, none of them running.
    Full,
    /// Every login shell besides, and users of each.
    Shells,
    /// A Docker engine besides, which the user may reach by sudo only. It wants a volume for `/var/lib/docker` and `SYS_PTRACE`, without
    /// which nothing is executed in its containers.
    Engine,
    /// Debian and nothing more: no systemd, no sshd.
    Plain,
    /// The same with the packages of a database and web server, none of them ever started.
    Stocked,
}

/// The base is an argument: the one that the binary made, or the registry's where it pulled its images.
const BARE: &str = r#"ARG BASE
FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update -q && apt-get install -yq --no-install-recommends \
      systemd systemd-sysv openssh-server sudo dbus ca-certificates iproute2 procps \
 && rm -f /usr/sbin/policy-rc.d /etc/ssh/ssh_host_* && : > /etc/machine-id && apt-get clean \
 && useradd -m -s /bin/bash deploy && install -d -m 700 -o deploy -g deploy /home/deploy/.ssh \
 && printf 'deploy ALL=(ALL:ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/deploy && chmod 440 /etc/sudoers.d/deploy \
 && systemctl mask getty.target console-getty.service systemd-udevd.service systemd-udev-trigger.service \
 && systemctl disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
ENV container=docker
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
"#;

const FULL: &str = r#"ARG BASE
FROM ${BASE}
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get install -yq --no-install-recommends postgresql-15 mariadb-server nginx-light cron logrotate rsync git \
      python3-venv htop less vim-tiny jq unzip curl gcc libc6-dev pkg-config libmariadb-dev python3-dev \
 && rm -f /usr/sbin/policy-rc.d && apt-get clean \
 && systemctl disable postgresql mariadb nginx cron
"#;

const SHELLS: &str = r#"ARG BASE
FROM ${BASE}
RUN apt-get install -yq --no-install-recommends zsh ksh fish tcsh busybox && apt-get clean \
 && printf '#!/bin/sh\nexec busybox sh "$@"\n' > /usr/bin/busyboxsh && chmod 755 /usr/bin/busyboxsh \
 && for shell in bash dash zsh ksh fish tcsh; do useradd -m -s "/usr/bin/$shell" "s-$shell"; done \
 && useradd -m -s /usr/bin/busyboxsh s-busybox && useradd -m -s /usr/sbin/nologin s-nologin && useradd -m -s /bin/false s-false \
 && useradd -m -s /bin/bash s-word && useradd -m -s /bin/bash s-none
"#;

const STOCKED: &str = r#"ARG BASE
FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get update -q && apt-get install -yq --no-install-recommends \
      postgresql-15 mariadb-server nginx logrotate ca-certificates python3 python3-venv \
 && rm -f /usr/sbin/policy-rc.d && apt-get clean
"#;

const ENGINE: &str = r#"ARG BASE
FROM ${BASE}
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get install -yq --no-install-recommends docker.io iptables procps \
 && rm -f /usr/sbin/policy-rc.d && apt-get clean
"#;

impl Image {
    /// Whether nothing runs in it, not even systemd.
    fn sleeps(self) -> bool {
        matches!(self, Image::Plain | Image::Stocked)
    }

    /// Its name on the engine, after it has been made: the tag is a digest of its recipe, so a changed recipe is a new image.
    #[track_caller]
    fn tag(self) -> &'static str {
        static TAGS: [OnceLock<String>; 6] = [const { OnceLock::new() }; 6];
        let (number, recipe) = match self {
            Image::Plain => (0, None),
            Image::Bare => (1, Some((BARE, Image::Plain))),
            Image::Full => (2, Some((FULL, Image::Bare))),
            Image::Shells => (3, Some((SHELLS, Image::Bare))),
            Image::Engine => (5, Some((ENGINE, Image::Bare))),
            Image::Stocked => (4, Some((STOCKED, Image::Plain))),
        };
        TAGS[number].get_or_init(|| match recipe {
            None => base(),
            Some((recipe, base)) => build(recipe, base.tag()),
        })
    }
}

/// A bare Debian 12: what the binary made for its own images, else the registry's.
fn base() -> String {
    assert!(super::engine(), "there is an engine");
    let own = provision::resources::image::BASE;
    match is_there(own) {
        true => own.to_owned(),
        false => "debian:bookworm-slim".to_owned(),
    }
}

fn is_there(image: &str) -> bool {
    run(Command::new("docker").args(["image", "inspect", image])).code == 0
}

fn build(recipe: &str, base: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(base);
    digest.update(recipe);
    let mut tag = "provision-tests/server:".to_owned();
    for byte in &digest.finalize()[..8] {
        write!(tag, "{byte:02x}").unwrap();
    }
    if !is_there(&tag) {
        let argument = format!("BASE={base}");
        let mut child = Command::new("docker")
            .args(["build", "-q", "--network", "host", "--build-arg", &argument])
            .args(["-t", &tag, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(recipe.as_bytes()).unwrap();
        drop(stdin);
        Ran::of(child.wait_with_output().unwrap()).ends(0);
    }
    tag
}

/// The label that all servers of this run have.
fn label() -> &'static str {
    static LABEL: OnceLock<String> = OnceLock::new();
    LABEL.get_or_init(|| format!("provision-tests.run={}-{}", std::process::id(), nonce()))
}

fn nonce() -> u32 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos()
}

/// Removes every server and the key of this run when this process is gone, however it went: a shell waits for the end of a pipe
/// that only we hold. Servers in statics are never dropped, and a killed test drops nothing.
fn guard() {
    static GUARD: OnceLock<Child> = OnceLock::new();
    GUARD.get_or_init(|| {
        use std::os::unix::process::CommandExt as _;
        const SCRIPT: &str = "cat > /dev/null; rm -rf -- \"$2\"; \
             docker ps -aq --filter \"label=$1\" | xargs -r docker rm -fv";
        Command::new("sh")
            .args(["-c", SCRIPT, "sh", label()])
            .arg(key().parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap()
    });
}

/// The key that every server of this run lets in, in a folder of its own.
pub fn key() -> &'static Path {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let name = label().rsplit('=').next().unwrap_or_default();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        new_key(&folder.join("operator"));
        folder.join("operator")
    })
}

/// Makes an ed25519 key.
pub fn new_key(path: &Path) {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path))
    .ends(0);
}

/// A throwaway server; gone when dropped.
#[derive(Debug)]
pub struct Server {
    /// Its container.
    pub container: String,
    /// Its address on the engine's network.
    pub address: String,
    /// Its public host key, as in `ssh-ed25519 AAAA...`; none where there is no sshd.
    pub host_key: String,
}

impl Server {
    /// Starts one and waits until it is up.
    #[track_caller]
    pub fn up(name: &str, image: Image) -> Self {
        Server::up_with(name, image, &[])
    }

    /// The same with more words for `docker create`.
    #[track_caller]
    pub fn up_with(name: &str, image: Image, words: &[&str]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = image.tag();
        guard();
        let container = format!("provision-t{}x{number}{name}", std::process::id());
        let mut server = Server {
            container,
            address: String::new(),
            host_key: String::new(),
        };
        let mut create = vec![
            "create",
            "--name",
            &server.container,
            "--hostname",
            name,
            "--label",
            label(),
        ];
        if !image.sleeps() {
            create.extend(["--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN"]);
            create.extend(["--security-opt=seccomp=unconfined", "--cgroupns=host"]);
            create.extend(["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]);
            // A folder that may hold programs, as /tmp is on Debian.
            create.extend(["--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec"]);
        }
        create.extend(words);
        create.push(tag);
        if image.sleeps() {
            create.extend(["sleep", "infinity"]);
        }
        docker(&create);
        if !image.sleeps() {
            server.let_us_in();
        }
        docker(&["start", &server.container]);
        let format = "{{.NetworkSettings.IPAddress}}";
        server.address = docker(&["inspect", "-f", format, &server.container]);
        if !image.sleeps() {
            server.wait();
        }
        server
    }

    /// Waits until it is up: many that start at once on a small machine take their time.
    #[track_caller]
    fn wait(&self) {
        let begun = Instant::now();
        loop {
            let said = self.try_sh("systemctl is-system-running").stdout;
            if matches!(said.trim(), "running" | "degraded") {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(240),
                "{} does not start: {said}",
                self.container
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A host key of its own, and our key for its user.
    fn let_us_in(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        let host_key = folder.path().join("ssh_host_ed25519_key");
        new_key(&host_key);
        let public = std::fs::read_to_string(host_key.with_extension("pub")).unwrap();
        self.host_key = public
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let ours = std::fs::read(key().with_extension("pub")).unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content, mode, owner) in [
            (
                "etc/ssh/ssh_host_ed25519_key",
                std::fs::read(&host_key).unwrap(),
                0o600,
                0,
            ),
            (
                "etc/ssh/ssh_host_ed25519_key.pub",
                public.into_bytes(),
                0o644,
                0,
            ),
            ("home/deploy/.ssh/authorized_keys", ours, 0o600, 1000),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            header.set_uid(owner);
            header.set_gid(owner);
            archive
                .append_data(&mut header, path, content.as_slice())
                .unwrap();
        }
        self.unpack(archive.into_inner().unwrap());
    }

    /// Unpacks an archive at its root.
    fn unpack(&self, archive: Vec<u8>) {
        let mut child = Command::new("docker")
            .args(["cp", "-", &format!("{}:/", self.container)])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&archive).unwrap();
        drop(stdin);
        Ran::of(child.wait_with_output().unwrap()).ends(0);
    }

    /// Starts it anew, as a power cut does; its address may be another one then.
    #[track_caller]
    pub fn restart(&mut self) {
        docker(&["restart", "-t", "0", &self.container]);
        let format = "{{.NetworkSettings.IPAddress}}";
        self.address = docker(&["inspect", "-f", format, &self.container]);
        self.wait();
    }

    /// Copies a file or folder of this machine to it.
    #[track_caller]
    pub fn put(&self, from: &Path, to: &str) {
        let from = from.display().to_string();
        docker(&["cp", &from, &format!("{}:{to}", self.container)]);
    }

    /// A line of shell as root, by the engine and not by SSH; what it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).ends(0).stdout.trim_end().to_owned()
    }

    /// The same, whatever comes of it.
    pub fn try_sh(&self, script: &str) -> Ran {
        run(Command::new("docker").args(["exec", &self.container, "sh", "-c", script]))
    }

    /// Everything that an apply may touch: files with owner, mode, time and digest, packages, units, accounts, and what is inside
    /// the databases that run. Equal snapshots are a server that nobody changed.
    #[track_caller]
    pub fn snapshot(&self) -> Vec<String> {
        self.sh(SNAPSHOT).lines().map(str::to_owned).collect()
    }

    /// Its table of an environment file, under a name.
    pub fn host(&self, name: &str) -> String {
        format!(
            "[host.{name}]\naddress = \"{}\"\nuser = \"deploy\"\nidentity = \"{}\"\nhost_key = \"{}\"\nsudo = true\n",
            self.address,
            key().display(),
            self.host_key
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        canary::look_at_server(&self.container);
        let _ = Command::new("docker")
            .args(["rm", "-f", "-v", &self.container])
            .output();
    }
}

/// Several servers at once.
pub fn several(name: &str, image: Image, count: usize) -> Vec<Server> {
    image.tag();
    thread::scope(|scope| {
        let started: Vec<_> = (1..=count)
            .map(|number| scope.spawn(move || Server::up(&format!("{name}{number}"), image)))
            .collect();
        started.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

const SNAPSHOT: &str = r#"
export LC_ALL=C
for folder in /etc /srv /var/lib/provision /usr/local /home /root; do
    [ -d "$folder" ] || continue
    find "$folder" -xdev -printf 'path %p %y %u:%g %m %l %T@\n'
    find "$folder" -xdev -type f -exec sha256sum {} +
done | sort
dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Abbrev}\n'
apt-mark showhold
getent passwd; getent group; cat /etc/shadow
if [ -d /run/systemd/system ]; then
    systemctl list-unit-files --no-legend --no-pager | sort
    systemctl list-units --all --no-legend --no-pager --plain --type=service,socket,timer | awk '{print "unit", $1, $2, $3}' \
        | grep -v -e '\.scope' -e 'session-' -e 'user@' -e 'user-runtime-dir@' | sort
    systemctl show -p Id,MainPID,ActiveEnterTimestampMonotonic postgresql@15-main mariadb nginx cron ssh 2> /dev/null || :
fi
cat /proc/swaps
if runuser -u postgres -- psql -XAtqc 'select 1' > /dev/null 2>&1; then
    runuser -u postgres -- pg_dumpall --globals-only | grep -v -e '^--' -e '^.restrict' -e '^.unrestrict'
    runuser -u postgres -- psql -XAtqc "select 'database', datname, datdba::regrole, datacl, datconnlimit from pg_database order by 2"
    runuser -u postgres -- psql -XAtqc "select 'setting', name, setting, source, pending_restart from pg_settings where source in ('configuration file', 'command line') order by 2"
    for database in $(runuser -u postgres -- psql -XAtqc 'select datname from pg_database where datallowconn'); do
        runuser -u postgres -- psql -XAtqd "$database" -c "select 'extension', extname, extversion from pg_extension order by 2" \
            -c "select 'schema', nspname, nspowner::regrole, nspacl from pg_namespace where nspname !~ '^pg_(temp|toast)' order by 2" \
            -c "select 'relation', relname, relkind, relowner::regrole, relacl from pg_class where relnamespace > 16383 or relnamespace = 'public'::regnamespace order by 2" \
            -c "select 'default', defaclrole::regrole, defaclobjtype, defaclacl from pg_default_acl order by 2, 3"
    done
fi
if mariadb -e 'select 1' > /dev/null 2>&1; then
    mariadb -NBe 'select user, host, priv from mysql.global_priv order by 1, 2; select * from mysql.db order by 1, 2, 3; select * from mysql.tables_priv; select * from information_schema.schemata order by 2; select table_schema, table_name, table_collation from information_schema.tables where table_type = "BASE TABLE" order by 1, 2'
fi
"#;

/// A throwaway folder of environments for servers, with an operator's home of its own.
pub struct ServerLab {
    /// The folder that holds `environments`.
    pub folder: tempfile::TempDir,
    /// What it is an environment of: a server remembers what was applied by this name.
    pub project: String,
}

impl ServerLab {
    /// The environment `servers` whose hosts are `s1`, `s2` and so on, and what else it says.
    #[track_caller]
    pub fn new<'a>(servers: impl IntoIterator<Item = &'a Server>, text: &str) -> Self {
        let hosts = (1..)
            .zip(servers)
            .map(|(number, server)| server.host(&format!("s{number}")))
            .collect::<String>();
        ServerLab::with(&format!("{hosts}{text}"))
    }

    /// The environment `servers` that says nothing of hosts but what is written here.
    #[track_caller]
    pub fn with(text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let lab = ServerLab {
            project: format!(
                "lab{}x{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            ),
            folder: tempfile::Builder::new()
                .prefix("provision-lab-")
                .tempdir()
                .unwrap(),
        };
        std::fs::create_dir_all(lab.folder.path().join("environments/templates")).unwrap();
        lab.say(text);
        lab
    }

    /// Replaces the environment.
    #[track_caller]
    pub fn say(&self, text: &str) {
        let head = format!(
            "[environment]\nproject = \"{}\"\n[target]\ndriver = \"ssh\"\n",
            self.project
        );
        self.write("servers.toml", &format!("{head}{text}"));
    }

    /// Writes a file of the folder of environments.
    #[track_caller]
    pub fn write(&self, file: &str, text: &str) {
        canary::learn(text);
        let path = self.folder.path().join("environments").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `provision` in the lab's folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = provision();
        command.current_dir(self.folder.path()).args(words);
        command
    }

    #[track_caller]
    pub fn provision(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// `apply servers --yes`, which has to end well.
    #[track_caller]
    pub fn apply(&self) -> Ran {
        self.provision(&["apply", "servers", "--yes"]).ends(0)
    }

    /// The changes of `plan servers --json`: id and action.
    #[track_caller]
    pub fn plan(&self) -> Vec<(String, String)> {
        let plan = self.provision(&["plan", "servers", "--json"]);
        assert!(matches!(plan.code, 0 | 4 | 8), "{plan:?}");
        let changes = plan.changes().into_iter();
        changes.map(|(id, action, _)| (id, action)).collect()
    }

    #[track_caller]
    pub fn nothing_to_do(&self) {
        self.provision(&["plan", "servers", "--detailed-exitcode"])
            .has_nothing_to_do();
    }
}

impl Drop for ServerLab {
    fn drop(&mut self) {
        canary::look_at_folder(self.folder.path());
    }
}
