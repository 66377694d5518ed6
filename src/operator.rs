//! Who runs the program, for people who read a record, a journal or a lock.

use std::fs;

/// The longest name shown.
const MOST: usize = 64;

/// The user that this process belongs to: `ana`, `ana (root by sudo)`, `ana (GitHub run 42)`.
pub fn user() -> String {
    let uid = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| real_uid(&status));
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name(uid, &passwd, |variable| std::env::var(variable).ok())
}

/// The name from the real user id, the password file and the environment. A variable is only believed where the system does not
/// know better: anybody can set `USER`.
fn name(uid: Option<u32>, passwd: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let read = |name: &str| variable(name).and_then(|value| cleaned(&value));
    if let Some(job) = ci_job(&read) {
        return job;
    }
    let account = uid
        .and_then(|uid| account(passwd, uid))
        .or_else(|| read("USER"))
        .or_else(|| read("LOGNAME"))
        .or_else(|| uid.map(|uid| format!("uid {uid}")))
        .unwrap_or_else(|| "an unknown user".to_owned());
    match read("SUDO_USER") {
        Some(caller) if caller != account => format!("{caller} ({account} by sudo)"),
        _ => account,
    }
}

/// The job of a CI system. Forgejo and Gitea also set the variables of GitHub, so they come first.
fn ci_job(read: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let systems = [
        (
            "Forgejo",
            "FORGEJO_ACTIONS",
            "GITHUB_ACTOR",
            "GITHUB_RUN_ID",
        ),
        ("Gitea", "GITEA_ACTIONS", "GITHUB_ACTOR", "GITHUB_RUN_ID"),
        ("GitHub", "GITHUB_ACTIONS", "GITHUB_ACTOR", "GITHUB_RUN_ID"),
        ("GitLab", "GITLAB_CI", "GITLAB_USER_LOGIN", "CI_JOB_ID"),
    ];
    systems.iter().find_map(|(system, mark, actor, run)| {
        read(mark).filter(|value| value == "true")?;
        Some(format!("{} ({system} run {})", read(actor)?, read(run)?))
    })
}

/// The first number of the line `Uid:` of `/proc/self/status`: the real user id.
fn real_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The name of a user id in the password file.
fn account(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse::<u32>().ok()?;
        (id == uid).then(|| cleaned(name)).flatten()
    })
}

/// A name without anything that a terminal obeys or that looks like another field; none if nothing is left.
fn cleaned(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "._-+$@\\[]".contains(*c))
        .take(MOST)
        .collect();
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nana.gomez:x:1000:1000::/home/ana:/bin/sh\n";

    fn told(uid: Option<u32>, variables: &[(&str, &str)]) -> String {
        name(uid, PASSWD, |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_account_is_named_without_any_variable() {
        assert_eq!(told(Some(1000), &[]), "ana.gomez");
        assert_eq!(told(Some(1000), &[("USER", "root")]), "ana.gomez");
        assert_eq!(told(Some(4711), &[("LOGNAME", "ldap1")]), "ldap1");
        assert_eq!(told(Some(4711), &[]), "uid 4711");
        assert_eq!(told(None, &[]), "an unknown user");
    }

    #[test]
    fn the_caller_of_sudo_and_the_job_are_named() {
        assert_eq!(told(Some(0), &[("SUDO_USER", "ana")]), "ana (root by sudo)");
        assert_eq!(told(Some(0), &[("SUDO_USER", "root")]), "root");
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTOR", "eva"),
            ("GITHUB_RUN_ID", "42"),
        ];
        assert_eq!(told(Some(0), &github), "eva (GitHub run 42)");
        let mut gitea = github.to_vec();
        gitea.push(("GITEA_ACTIONS", "true"));
        assert_eq!(told(Some(0), &gitea), "eva (Gitea run 42)");
        let gitlab = [
            ("GITLAB_CI", "true"),
            ("GITLAB_USER_LOGIN", "bo"),
            ("CI_JOB_ID", "7"),
        ];
        assert_eq!(told(Some(0), &gitlab), "bo (GitLab run 7)");
    }

    #[test]
    fn hostile_values_are_cleaned() {
        let said = told(Some(0), &[("SUDO_USER", "a\x1b[2J\n\u{202e}b (c)")]);
        assert_eq!(said, "a[2Jbc (root by sudo)");
        assert_eq!(told(Some(0), &[("SUDO_USER", "\x1b\n")]), "root");
        let long = "x".repeat(5000);
        assert!(told(Some(0), &[("SUDO_USER", &long)]).len() < 100);
    }

    #[test]
    fn the_real_user_id_is_the_first() {
        assert_eq!(real_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(1000));
        assert_eq!(real_uid("Name:\tx\n"), None);
    }
}
