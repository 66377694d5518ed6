//! The whole of `environments/prod.toml` on two bare servers, and what the README says of it. Addresses are the lab's, the checkout
//! comes from a repository on the server, and `pass` is a program of the test: everything else is as it stands, line for line.

use std::path::{Path, PathBuf};

use crate::lab::server::{self, Image, Server, key};
use crate::lab::{copy, engine, run};
use crate::readme;

/// A throwaway copy of the production environment.
pub struct Production {
    folder: tempfile::TempDir,
    servers: Vec<Server>,
}

impl Production {
    fn new() -> Self {
        let servers = server::several("prod", Image::Bare, 2);
        let folder = tempfile::Builder::new()
            .prefix("provision-lab-")
            .tempdir()
            .unwrap();
        let production = Production { folder, servers };
        let root = production.folder.path();
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("environments"),
            &root.join("environments"),
        );
        let pass = root.join("bin/pass");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(&pass, "#!/bin/sh\nprintf 'secret of %s\\n' \"$2\"\n").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&pass, std::fs::Permissions::from_mode(0o755)).unwrap();
        production.repository();
        for (server, name, group) in [(0, "db1", "database"), (1, "web1", "web")] {
            production.place(&production.servers[server], name, group);
        }
        production.edit(
            "git = \"https://git.example.com/iact/iact.git\"",
            "git = \"file:///opt/iact.git\"",
        );
        // Where a proxy stands in front of PyPI, its certificate is this machine's to lend.
        let ca = "/etc/ssl/certs/ca-certificates.crt";
        if Path::new(ca).exists() {
            production.edit(
                "health_host = \"{{ vars.domain }}\"\n\n",
                &format!("health_host = \"{{{{ vars.domain }}}}\"\nca = \"{ca}\"\n"),
            );
        }
        production
    }

    fn toml(&self) -> PathBuf {
        self.folder.path().join("environments/prod.toml")
    }

    #[track_caller]
    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.toml()).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from}");
        std::fs::write(self.toml(), text.replace(from, to)).unwrap();
    }

    /// Puts a server in the place of a declared one; every line stays where it is.
    #[track_caller]
    fn place(&self, server: &Server, name: &str, group: &str) {
        let declared = format!(
            "[host.{name}]\naddress = \"{name}.iact.example.com\"\nuser = \"deploy\"\nsudo = true\ngroups = [\"{group}\"]\n"
        );
        let ours = format!(
            "{name} = {{ address = \"{}\", user = \"deploy\", sudo = true, groups = [\"{group}\"], identity = \"{}\", host_key = \"{}\" }}\n",
            server.address,
            key().display(),
            server.host_key
        );
        // The second one stands in the table of the first.
        let head = if name == "db1" { "[host]\n" } else { "#\n" };
        self.edit(&declared, &format!("{head}{ours}#\n#\n#\n"));
    }

    /// The application in a repository on its server, as a commit with a tag.
    fn repository(&self) {
        let root = self.folder.path();
        let (work, bare) = (root.join("work"), root.join("iact.git"));
        copy(&root.join("environments/iact/app"), &work);
        let git = |words: &[&str]| {
            let mut command = std::process::Command::new("git");
            command
                .current_dir(&work)
                .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
                .args(words);
            run(&mut command).ends(0);
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["add", "-A"]);
        git(&["commit", "-qm", "First release"]);
        git(&["tag", "v1.0.0"]);
        git(&["clone", "-q", "--bare", ".", &bare.display().to_string()]);
        self.servers[1].put(&bare, "/opt/iact.git");
        self.servers[1].sh("chown -R root:root /opt/iact.git");
    }

    /// A line of shell in the folder; `ssh NAME` is the server of that name, as root.
    fn shell(&self, line: &str) -> std::process::Command {
        let line = line
            .replace(
                "ssh db1 ",
                &format!("docker exec {} ", self.servers[0].container),
            )
            .replace(
                "ssh web1 ",
                &format!("docker exec {} ", self.servers[1].container),
            );
        let program = crate::lab::BINARY;
        let own = Path::new(&program).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap();
        let folders = [own, self.folder.path().join("bin")];
        let path = folders.into_iter().chain(std::env::split_paths(&path));
        let mut command = std::process::Command::new("sh");
        command
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "120")
            .env("IACT_PROD_DJANGO_PASSWORD", "secret of django")
            .env("IACT_PROD_REPORTING_PASSWORD", "secret of reporting")
            .env("IACT_PROD_IVR_PASSWORD", "secret of ivr")
            .stdin(std::process::Stdio::null())
            .args(["-c", &line]);
        command
    }

    /// What is said, with the names that the README has for this lab's own.
    fn out_of_lab(&self, text: &str) -> String {
        text.replace(&self.servers[0].address, "10.0.0.11")
            .replace(&self.servers[1].address, "10.0.0.12")
            .replace(
                "file:///opt/iact.git",
                "https://git.example.com/iact/iact.git",
            )
    }
}

/// From bare servers to an application that answers through nginx with both databases, in the words of the README; then nothing
/// is left to do, and a second apply changes not one file, unit, right or row.
#[test]
fn production_comes_up_from_bare_servers_and_stays_as_it_is() {
    if !engine() {
        return;
    }
    let lab = Production::new();
    let mistakes = readme::tell("console server", &|line| {
        let ran = run(&mut lab.shell(line));
        (lab.out_of_lab(&ran.stdout), ran.stderr)
    });
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    let web = &lab.servers[1];
    let asked = web.sh(
        "python3 -c 'import urllib.request as r; print(r.urlopen(r.Request(\"http://127.0.0.1/health\", \
         headers={\"Host\": \"iact.example.com\"})).read().decode())'",
    );
    assert!(
        asked.contains("\"default\": \"ok\"") && asked.contains("\"ivr\": \"ok\""),
        "{asked}"
    );
    let exposure = web.sh("systemd-analyze security --no-pager iact.service | tail -1");
    let level: f64 = exposure
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{exposure}"));
    assert!(level <= 2.0, "{exposure}");
    let before: Vec<_> = lab.servers.iter().map(Server::snapshot).collect();
    run(&mut lab.shell("provision apply prod --yes")).ends(0);
    let after: Vec<_> = lab.servers.iter().map(Server::snapshot).collect();
    for (before, after) in before.iter().zip(&after) {
        let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
        let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        assert!(
            gone.is_empty() && new.is_empty(),
            "gone: {gone:#?}\nnew: {new:#?}"
        );
    }
    run(&mut lab.shell("provision plan prod --detailed-exitcode")).ends(0);
    run(&mut lab.shell("provision verify prod")).ends(0);
    run(&mut lab.shell("provision audit prod")).ends(0);
}
