//! Changes that could lock us out: each really does it, and the machine is as it was before the timer is over.

use std::time::Duration;

use crate::databases::databases;
use crate::lab::server::{Image, Server, ServerLab, new_key};
use crate::lab::{Ran, run, until};
use crate::table::{How, Row, row};
use crate::trial::{Trial, begin, ended, that};

pub const ROWS: &[Row] = &[
    row(
        "F75",
        "`pg_hba.conf` with a broken line, or that shuts us out",
        How::Tried(rules),
    ),
    row(
        "F88",
        "link dies while sshd, firewall or sudoers change",
        How::Tried(cut),
    ),
];

/// Seconds after which the machine takes back what nobody confirmed, in a sample. All of it is tried with the default, too.
const GRACE: u64 = 8;

/// A change that lets nobody in any more.
#[derive(Clone, Copy, Debug)]
struct Change {
    name: &'static str,
    /// What is there before, applied and confirmed.
    before: &'static str,
    /// What bars the way.
    bad: &'static str,
    /// A line of shell whose words show whether the old state is there.
    state: &'static str,
}

const SSHD: Change = Change {
    name: "sshd lets us in no more",
    before: "[file.\"/etc/ssh/sshd_config.d/10-lab.conf\"]\non = \"s1\"\ncontent = \"PrintMotd no\\n\"\n",
    bad: "[file.\"/etc/ssh/sshd_config.d/10-lab.conf\"]\non = \"s1\"\ncontent = \"DenyUsers deploy\\n\"\n",
    state: "cat /etc/ssh/sshd_config.d/10-lab.conf; sshd -T | grep -i denyusers",
};
const MUTE: Change = Change {
    // Not refused but never answered: time to kill somebody.
    name: "sshd gives us no shell",
    before: SSHD.before,
    bad: "[file.\"/etc/ssh/sshd_config.d/10-lab.conf\"]\non = \"s1\"\ncontent = \"ForceCommand /bin/sleep 100\\n\"\n",
    state: "cat /etc/ssh/sshd_config.d/10-lab.conf; sshd -T | grep -i forcecommand",
};
const BROKEN: Change = Change {
    name: "sshd does not understand it",
    before: SSHD.before,
    bad: "[file.\"/etc/ssh/sshd_config.d/10-lab.conf\"]\non = \"s1\"\ncontent = \"NoSuchWord yes\\n\"\n",
    state: SSHD.state,
};
const SUDO: Change = Change {
    name: "sudo lets us do nothing any more",
    before: "",
    bad: "[file.\"/etc/sudoers.d/zz-lab\"]\non = \"s1\"\nmode = \"0440\"\ncontent = \"deploy ALL=(ALL:ALL) !ALL\\n\"\nvalidate = [\"visudo\", \"-cf\", \"{}\"]\n",
    state: "ls /etc/sudoers.d",
};
const PAM: Change = Change {
    name: "PAM refuses everybody",
    before: "[file.\"/etc/pam.d/sshd\"]\non = \"s1\"\ncontent = \"account required pam_permit.so\\nsession required pam_permit.so\\n\"\n",
    bad: "[file.\"/etc/pam.d/sshd\"]\non = \"s1\"\ncontent = \"account required pam_deny.so\\n\"\n",
    state: "sha256sum /etc/pam.d/sshd",
};
const KEYS: Change = Change {
    name: "our own key is gone",
    before: "[user.deploy]\non = \"s1\"\n",
    bad: "[user.deploy]\non = \"s1\"\nexclusive_keys = true\nauthorized_keys = [\"other.pub\"]\n",
    state: "cat /home/deploy/.ssh/authorized_keys; stat -c '%U %a' /home/deploy/.ssh/authorized_keys",
};
const STOPPED: Change = Change {
    name: "the unit of sshd is stopped",
    before: "[systemd_unit.\"ssh.service\"]\non = \"s1\"\nrunning = true\nstart = true\n",
    bad: "[systemd_unit.\"ssh.service\"]\non = \"s1\"\nrunning = false\nstart = false\n",
    state: "systemctl is-active ssh; systemctl is-enabled ssh",
};
/// The file alone does no harm: the unit that loads it does.
const LOADED: Change = Change {
    name: "a unit of the network loads what bars the way",
    before: "[file.\"/etc/nftables.conf\"]\non = \"s1\"\ncontent = \"rm -f /etc/ssh/sshd_config.d/net.conf; kill -HUP $(cat /run/sshd.pid)\\n\"\n[systemd_unit.\"nftables.service\"]\non = \"s1\"\nrunning = true\nstart = false\nreads = [\"/etc/nftables.conf\"]\ncontent = \"[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh /etc/nftables.conf\\n\"\n",
    bad: "[file.\"/etc/nftables.conf\"]\non = \"s1\"\ncontent = \"echo DenyUsers deploy > /etc/ssh/sshd_config.d/net.conf; kill -HUP $(cat /run/sshd.pid); sleep 1\\n\"\n[systemd_unit.\"nftables.service\"]\non = \"s1\"\nrunning = true\nstart = false\nreads = [\"/etc/nftables.conf\"]\ncontent = \"[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh /etc/nftables.conf\\n\"\n",
    state: "cat /etc/nftables.conf; ls /etc/ssh/sshd_config.d/net.conf",
};

struct Lab {
    server: Server,
    lab: ServerLab,
}

impl Lab {
    fn say(&self, change: &str) {
        self.lab.say(&format!("{}{change}", self.server.host("s1")));
    }

    fn command(&self, words: &[&str], grace: Option<u64>) -> std::process::Command {
        let mut command = self.lab.command(words);
        if let Some(seconds) = grace {
            command.env("PROVISION_GUARD_SECONDS", seconds.to_string());
        }
        command
    }

    fn apply(&self, grace: Option<u64>) -> Ran {
        run(&mut self.command(&["apply", "servers", "--yes"], grace))
    }

    fn state(&self, change: Change) -> String {
        self.server.try_sh(change.state).stdout
    }
}

/// What all of it has to come to: the old state, a way in, no trace of the guard, and a next run that goes on.
fn over(lab: &Lab, change: Change, before: &str) -> Result<(), String> {
    let after = lab.state(change);
    that(after == before, || {
        format!("before:\n{before}\nafter:\n{after}")
    })?;
    lab.say(change.before);
    let ran = lab.apply(None);
    that(ran.code == 0, || format!("the next run: {ran:?}"))?;
    lab.lab.nothing_to_do();
    let left = lab
        .server
        .sh("ls -A /run/provision | grep -e armed -e fired -e undo -e old -e untold || :");
    that(left.is_empty(), || format!("left: {left}"))
}

fn cut(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let lab = Lab {
        server: Server::up("lockout", Image::Bare),
        lab: ServerLab::with(""),
    };
    let other = lab.lab.folder.path().join("environments/other");
    new_key(&other);
    let short = Some(GRACE);
    let all = [SSHD, MUTE, BROKEN, SUDO, PAM, KEYS, STOPPED, LOADED];

    for change in trial.sample(&all, 2) {
        trial.case(format!("{}, not confirmed", change.name), || {
            lab.say(change.before);
            lab.apply(None).ends(0);
            let before = lab.state(change);
            lab.say(change.bad);
            let ran = lab.apply(None);
            that(ran.code == 1, || format!("{ran:?}"))?;
            let says = if change.name == BROKEN.name {
                "does not accept it"
            } else {
                "the old state was put back"
            };
            that(ran.stderr.contains(says), || ran.stderr.clone())?;
            over(&lab, change, &before)
        });
    }

    let mut graces = vec![short];
    if trial.all {
        graces.push(None);
    }
    for grace in graces {
        for (name, killer) in trial.sample(&KILLERS, 1) {
            trial.case(format!("{name}, {} s", grace.unwrap_or(60)), || {
                lab.say(MUTE.before);
                lab.apply(None).ends(0);
                let before = lab.state(MUTE);
                lab.say(MUTE.bad);
                killer(&lab, grace)?;
                if grace.is_none() {
                    std::thread::sleep(Duration::from_secs(60));
                }
                until("the old state is back", || lab.state(MUTE) == before);
                lab.say(MUTE.before);
                let told = lab.apply(None);
                that(
                    told.code == 1
                        && told
                            .stderr
                            .contains("has put back `/etc/ssh/sshd_config.d/10-lab.conf` at "),
                    || format!("the next run does not say so: {told:?}"),
                )?;
                over(&lab, MUTE, &before)
            });
        }
    }
    trial.note(format!(
        "{} of {} changes",
        trial.size(2, all.len()),
        all.len()
    ));
}

const HBA: &str = "/etc/postgresql/15/main/pg_hba.conf";

/// Rules are looked at before they are read and tried afterwards; where nobody can try them any more, the machine has the old ones back.
fn rules(trial: &mut Trial) {
    if !trial.engine() {
        return;
    }
    let on = databases();
    let rules = || on.server.sh(&format!("cat {HBA}"));
    let before = rules();
    trial.case("a rule that the server does not understand", || {
        on.say("[[postgres.analytics.hba]]\naddress = \"10.0.0.0/8\"\noptions = { nonsense = \"1\" }\n");
        let ran = on.apply();
        that(ran.code == 1, || format!("{ran:?}"))?;
        that(ran.stderr.contains("the old ones stay"), || {
            ran.stderr.clone()
        })?;
        that(rules() == before, rules)?;
        on.say("");
        on.converges()
    });
    trial.case("everything that could confirm is killed", || {
        on.say("[[postgres.analytics.hba]]\naddress = \"10.0.0.0/8\"\n");
        // The server stands still from the moment on in which the way back is ready.
        let script = "until [ -e /run/provision/guard-postgres_hba.armed ]; do sleep 0.01; done
             pid=$(head -n 1 /var/lib/postgresql/15/main/postmaster.pid); kill -STOP \"$pid\"
             pkill -KILL -f '[I]FS= read -r b'; pkill -KILL -x psql; kill -CONT \"$pid\"";
        let (ran, killed) = std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                on.server.try_sh(&format!(
                    "timeout 90 sh -c '{}'",
                    script.replace('\'', "'\\''")
                ))
            });
            let ran = run(on
                .command()
                .env("PROVISION_GUARD_SECONDS", GRACE.to_string()));
            (ran, killer.join().unwrap())
        });
        that(killed.code != 124, || format!("nobody was killed: {ran:?}"))?;
        that(ran.code != 0, || format!("{ran:?}"))?;
        until("the old rules are back", || {
            on.server
                .try_sh("ls /run/provision/guard-postgres_hba.restored")
                .code
                == 0
        });
        that(rules() == before, rules)?;
        on.say("");
        let told = on.apply();
        that(
            told.code == 1 && told.stderr.contains(&format!("has put back `{HBA}` at ")),
            || format!("the next run does not say so: {told:?}"),
        )?;
        on.converges()
    });
}

type Killer = fn(&Lab, Option<u64>) -> Result<(), String>;

/// Who dies between the change and its confirmation.
const KILLERS: [(&str, Killer); 2] = [
    ("client killed before it confirms", |lab, grace| {
        let mut client = begun(lab, grace)?;
        client.kill().map_err(|error| error.to_string())?;
        client.wait().map_err(|error| error.to_string())?;
        Ok(())
    }),
    (
        "remote script killed before the confirmation",
        |lab, grace| {
            let client = begun(lab, grace)?;
            lab.server.sh("pkill -KILL -f '[I]FS= read -r b' || :");
            let ran = ended(client, Duration::from_secs(120))?;
            that(ran.code == 4 || ran.code == 1, || format!("{ran:?}"))?;
            that(
                ran.stderr.contains("puts the old state back by itself")
                    || ran.stderr.contains("the connection was lost"),
                || ran.stderr.clone(),
            )
        },
    ),
];

/// An apply whose change is there and not confirmed.
fn begun(lab: &Lab, grace: Option<u64>) -> Result<std::process::Child, String> {
    let client = begin(&mut lab.command(&["apply", "servers", "--yes"], grace))?;
    until("the change is there", || {
        let look = "test -e /run/provision/guard-access.armed && grep -q Force /etc/ssh/sshd_config.d/10-lab.conf";
        lab.server.try_sh(look).code == 0
    });
    Ok(client)
}
