//! Many hosts in one server: each is an account whose root sees folders of its own, so that what is done to one is not done to
//! another. sshd, sudo and the shell are real.

use std::time::Duration;

use crate::lab::server::{Image, Server, ServerLab, key};
use crate::lab::{Ran, run};
use crate::trial::within;

/// Steps into the folders of a host: `run`, `srv` and what is remembered are its own.
const INTO: &str = r#"#!/bin/sh
at=/hosts/$1 FARM=$1
export FARM
shift
mkdir -p "$at/run" "$at/srv" "$at/state"
exec unshare -m sh -c 'mount --bind "$0/run" /run && mount --bind "$0/srv" /srv && mount --bind "$0/state" /var/lib/provision && exec "$@"' "$at" "$@"
"#;

/// What the accounts find as `sudo`.
const SUDO: &str = r#"#!/bin/sh
shift
exec /usr/bin/sudo -n /usr/local/sbin/into "$LOGNAME" "$@"
"#;

/// A server with accounts `h1`, `h2` and so on.
pub struct Farm {
    pub server: Server,
    pub count: usize,
}

impl Farm {
    #[track_caller]
    pub fn new(name: &str, count: usize, sshd: &str) -> Self {
        // Programs of their own volume: an engine's file system may be a program that can have so many files open and no more, and a
        // thousand sessions have more.
        let words = ["--pids-limit=-1", "--volume=/usr"];
        let server = Server::up_with(name, Image::Bare, &words);
        let folder = tempfile::tempdir().unwrap();
        let put = |text: &str, to: &str| {
            let path = folder.path().join("file");
            std::fs::write(&path, text).unwrap();
            server.put(&path, to);
        };
        put(INTO, "/usr/local/sbin/into");
        put(SUDO, "/usr/local/bin/sudo");
        server.sh(&format!(
            "set -e; chmod 755 /usr/local/sbin/into /usr/local/bin/sudo; chown root:root /usr/local/sbin/into /usr/local/bin/sudo\n\
             install -m 644 -o root -g root /home/deploy/.ssh/authorized_keys /etc/ssh/hosts_keys\n\
             mkdir -p /hosts /var/lib/provision; printf '#!/bin/sh\\nexec sleep 600\\n' > /usr/local/bin/hangs; chmod 755 /usr/local/bin/hangs\n\
             for n in $(seq {count}); do echo \"h$n:x:1000:1000::/home/deploy:/bin/sh\"; echo \"m$n:x:1000:1000::/home/deploy:/usr/local/bin/hangs\"; done >> /etc/passwd\n\
             for n in $(seq {count}); do echo \"h$n:*:19000:0:99999:7:::\"; echo \"m$n:*:19000:0:99999:7:::\"; done >> /etc/shadow\n\
             :"
        ));
        let farm = Farm { server, count };
        farm.say(sshd);
        farm
    }

    /// Tells its sshd something in place of what it was told before.
    pub fn say(&self, sshd: &str) {
        self.server.sh(&format!(
            "printf '%b\\n' 'AuthorizedKeysFile /etc/ssh/hosts_keys' '{}' > /etc/ssh/sshd_config.d/farm.conf; systemctl restart ssh",
            sshd.replace('\n', "\\n")
        ));
    }

    /// The table of a host that is the account of a user; more lines go with it.
    pub fn host(&self, name: &str, user: &str, more: &str) -> String {
        format!(
            "[host.{name}]\naddress = \"{}\"\nuser = \"{user}\"\nidentity = \"{}\"\nhost_key = \"{}\"\nsudo = true\ngroups = [\"all\"]\n{more}",
            self.server.address,
            key().display(),
            self.server.host_key
        )
    }

    /// How many hosts have a file in their `/srv`.
    pub fn having(&self, file: &str) -> usize {
        let count = format!("ls /hosts/*/srv/{file} 2> /dev/null | wc -l");
        self.server.sh(&count).trim().parse().unwrap()
    }
}

/// An environment with connections of its own.
pub struct Own {
    pub lab: ServerLab,
    /// Where its control sockets are.
    pub sockets: tempfile::TempDir,
}

impl Own {
    #[track_caller]
    pub fn new(text: &str) -> Self {
        Own {
            lab: ServerLab::with(text),
            sockets: tempfile::Builder::new().prefix("pvs-").tempdir().unwrap(),
        }
    }

    pub fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.lab.command(words);
        command
            .env("XDG_RUNTIME_DIR", self.sockets.path())
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    pub fn run(&self, words: &[&str], seconds: u64) -> Result<Ran, String> {
        within(&mut self.command(words), Duration::from_secs(seconds))
    }

    /// `apply`, whatever comes of it, with connections that go with it.
    pub fn apply(&self, seconds: u64) -> Result<Ran, String> {
        self.run(&["apply", "servers", "--yes", "--no-persist"], seconds)
    }

    /// That the next `apply` ends well, and the one after has nothing to do.
    pub fn converges(&self) -> Result<(), String> {
        let next = self.apply(180)?;
        if next.code != 0 {
            return Err(format!("the next apply ends with {next:#?}"));
        }
        let after = self.run(
            &["plan", "servers", "--detailed-exitcode", "--no-persist"],
            120,
        )?;
        match after.code {
            0 => Ok(()),
            _ => Err(format!("there is still something to do: {after:#?}")),
        }
    }
}

impl Own {
    /// What runs have left in the folder of control sockets, or of ssh, that is not to stay: all but the keys of hosts.
    pub fn left(&self) -> Vec<String> {
        let folder = self.sockets.path().join("provision");
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let files = files.map(|file| file.path().display().to_string());
        let mut left: Vec<String> = files.filter(|file| !file.ends_with(".key")).collect();
        let socket = folder.display().to_string();
        let pids = run(std::process::Command::new("pgrep").args(["-f", &format!("ssh.*{socket}")]));
        left.extend(pids.stdout.lines().map(|pid| format!("process {pid}")));
        left
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Connections that a killed run has left.
        let folder = self.sockets.path().join("provision");
        for socket in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = socket.path();
            if path.extension().is_none() {
                let _ = std::process::Command::new("ssh")
                    .args(["-F", "none", "-O", "exit", "-S"])
                    .arg(&path)
                    .arg("machine")
                    .output();
            }
        }
    }
}

/// The ids that a report names behind a word: `done`, `not done`, `unknown`.
pub fn told<'a>(ran: &'a Ran, word: &str) -> Vec<&'a str> {
    let line = ran.stderr.lines().find_map(|line| {
        let rest = line.strip_prefix("  ")?.strip_prefix(word)?;
        rest.strip_prefix(':')
    });
    let ids = line.unwrap_or_default().split('`').skip(1).step_by(2);
    ids.collect()
}
