//! The tables that are no services: what an environment is, what it is applied to, and the plain resources of servers.

use crate::declaration::{Environment, Key, Table, Type};
use crate::error::Problem;

/// A key that every droppable entry has.
const ENABLED: Key = Key::new(
    "enabled",
    Type::Bool,
    "`false` drops an entry that was inherited.",
)
.default("true");

/// The hosts a plain resource is on.
const ON: Key = Key::new(
    "on",
    Type::Either(&Type::Name, &Type::List(&Type::Name)),
    "The host, group of hosts, or list of them it is on; not needed where `driver = \"local\"`.",
);

const OWNER: Key =
    Key::new("owner", Type::Identifier, "The user that owns it.").default("\"root\"");
const GROUP_OWNER: Key =
    Key::new("group", Type::Identifier, "The group that owns it.").default("\"root\"");

const fn mode(default: &'static str) -> Key {
    Key::new(
        "mode",
        Type::Text,
        "Its mode in octal digits, as in `\"0644\"`.",
    )
    .default(default)
}

/// `extends`.
pub const EXTENDS: Key = Key::new(
    "extends",
    Type::Either(&Type::Text, &Type::List(&Type::Text)),
    "A file that this one builds on, or a list of them, relative to this file. Tables merge deeply and what comes later wins; lists replace, and a key with `+` in front (`\"+init\"`) appends to the inherited list; `enabled = false` drops an inherited entry. Every file counts once. `name` and `abstract` of `[environment]` are not inherited.",
);

/// `[environment]`.
pub static ENVIRONMENT: Table = Table {
    name: "environment",
    doc: "What the environment is.",
    keys: &[
        Key::new(
            "name",
            Type::Name,
            "Its name. Absent: the name of its file.",
        ),
        Key::new(
            "project",
            Type::Name,
            "What it is an environment of; the name of the Compose project.",
        )
        .required(),
        Key::new(
            "stage",
            Type::Word(&["dev", "staging", "prod"]),
            "`dev` allows plain passwords in the file; `prod` protects data.",
        )
        .default("\"dev\""),
        Key::new(
            "abstract",
            Type::Bool,
            "Only for others to extend: validated, never planned, and nothing in it is required.",
        )
        .default("false"),
    ],
};

/// `[target]`.
pub static TARGET: Table = Table {
    name: "target",
    doc: "What the environment is applied to.",
    keys: &[
        Key::new(
            "driver",
            Type::Word(&["docker", "ssh", "local", "auto"]),
            "`docker`: a Docker engine; `ssh`: the servers of `[host.NAME]`; `local`: this machine; `auto`: an engine if one answers, else this machine.",
        )
        .default("\"docker\""),
        Key::new(
            "host",
            Type::Name,
            "The host whose Docker engine it is, reached over SSH. Absent: the engine of this machine.",
        ),
    ],
};

/// The type of `[vars]`.
pub const VARS: Type = Type::Map(&Type::Either(
    &Type::Text,
    &Type::Either(&Type::Int(i64::MIN, i64::MAX), &Type::Bool),
));

/// `[host.NAME]`.
pub static HOST: Table = Table {
    name: "host.NAME",
    doc: "A server that is reached over SSH.",
    keys: &[
        ENABLED,
        Key::new(
            "address",
            Type::Text,
            "Its address, or its name in `~/.ssh/config`.",
        )
        .required(),
        Key::new(
            "port",
            Type::Int(1, 65535),
            "The port of its SSH server. Absent: as `~/.ssh/config` says, or 22.",
        ),
        Key::new(
            "user",
            Type::Identifier,
            "The user to log in as. Absent: as `~/.ssh/config` says.",
        ),
        Key::new(
            "identity",
            Type::Text,
            "The private key's file, as in `~/.ssh/id_ed25519`. Absent: as `~/.ssh/config` and the agent say.",
        ),
        Key::new(
            "jump",
            Type::Text,
            "A host, or `USER@ADDRESS`, that the connection goes through.",
        ),
        Key::new(
            "host_key",
            Type::Text,
            "Its public host key, as in `ssh-ed25519 AAAA...`. Absent: `known_hosts` knows it.",
        ),
        Key::new(
            "sudo",
            Type::Either(&Type::Bool, &Type::Table(&SUDO)),
            "Whether root is had by sudo: `true` without a password, or `{ password = ... }`.",
        )
        .default("false"),
        Key::new(
            "engine",
            Type::Table(&ENGINE),
            "Its Docker engine, where `[target]` names this host and it is not found at its usual place.",
        ),
        Key::new(
            "private_address",
            Type::Text,
            "Its address as the other servers see it. Absent: `address`.",
        ),
        Key::new(
            "groups",
            Type::List(&Type::Name),
            "The groups of hosts it is in.",
        )
        .default("[]"),
        Key::new(
            "vars",
            VARS,
            "Values of this host, in place of those of `[vars]`.",
        )
        .default("{}"),
    ],
};

/// `engine = { socket }`.
pub static ENGINE: Table = Table {
    name: "host.NAME.engine",
    doc: "The Docker engine of a host.",
    keys: &[
        Key::new(
            "socket",
            Type::Text,
            "Its socket, for one that listens elsewhere: a rootless engine's is `/run/user/UID/docker.sock`.",
        )
        .default("\"/var/run/docker.sock\""),
    ],
};

/// `sudo = { password }`.
pub static SUDO: Table = Table {
    name: "host.NAME.sudo",
    doc: "sudo with a password.",
    keys: &[Key::new("password", Type::Secret, "The password sudo asks for.").required()],
};

/// `[user.NAME]`.
pub static USER: Table = Table {
    name: "user.NAME",
    doc: "A user of a server.",
    keys: &[
        ENABLED,
        ON,
        Key::new(
            "uid",
            Type::Int(0, 4_294_967_294),
            "Its number. Absent: not managed.",
        ),
        Key::new(
            "group",
            Type::Identifier,
            "Its primary group. Absent: not managed.",
        ),
        Key::new(
            "groups",
            Type::List(&Type::Identifier),
            "Its other groups; exact.",
        ),
        Key::new("home", Type::Text, "Its home folder. Absent: not managed."),
        Key::new("shell", Type::Text, "Its login shell. Absent: not managed."),
        Key::new("comment", Type::Text, "Its full name. Absent: not managed."),
        Key::new("system", Type::Bool, "A system user, when it is made.").default("false"),
        Key::new("locked", Type::Bool, "May not log in by password.").default("false"),
        Key::new(
            "password",
            Type::Secret,
            "Absent: the password is not managed.",
        ),
        Key::new(
            "authorized_keys",
            Type::List(&Type::Path),
            "Files of public keys (globs allowed) that may log in.",
        ),
        Key::new(
            "exclusive_keys",
            Type::Bool,
            "Keys that are there and not declared are removed.",
        )
        .default("false"),
    ],
};

/// `[group.NAME]`.
pub static GROUP: Table = Table {
    name: "group.NAME",
    doc: "A group of a server's users.",
    keys: &[
        ENABLED,
        ON,
        Key::new(
            "gid",
            Type::Int(0, 4_294_967_294),
            "Its number. Absent: not managed.",
        ),
        Key::new("system", Type::Bool, "A system group, when it is made.").default("false"),
    ],
};

/// `[packages.NAME]`.
pub static PACKAGES: Table = Table {
    name: "packages.NAME",
    doc: "Packages of a server's distribution.",
    keys: &[
        ENABLED,
        ON,
        Key::new("names", Type::List(&Type::Identifier), "The packages.").required(),
        Key::new(
            "versions",
            Type::Map(&Type::Text),
            "Versions by package; a package without one is only there.",
        )
        .default("{}"),
        Key::new(
            "hold",
            Type::List(&Type::Identifier),
            "Packages that upgrades leave alone.",
        )
        .default("[]"),
    ],
};

/// `[apt_repository.NAME]`.
pub static APT_REPOSITORY: Table = Table {
    name: "apt_repository.NAME",
    doc: "A repository of packages, signed by a key.",
    keys: &[
        ENABLED,
        ON,
        Key::new("url", Type::Text, "Its address.").required(),
        Key::new("suite", Type::Text, "As in `bookworm-pgdg`.").required(),
        Key::new("components", Type::List(&Type::Identifier), "As in `main`.")
            .default("[\"main\"]"),
        Key::new("key", Type::Path, "The file of the key that signs it.").required(),
    ],
};

/// `[file."PATH"]`.
pub static FILE: Table = Table {
    name: "file.PATH",
    doc: "A file of a server, from exactly one of `content`, `template` and `source`.",
    keys: &[
        ENABLED,
        ON,
        Key::new("content", Type::Template, "What it holds."),
        Key::new(
            "template",
            Type::Text,
            "The template it is made from, a file in `templates/` beside the environment.",
        ),
        Key::new("source", Type::Path, "The file it is a copy of."),
        OWNER,
        GROUP_OWNER,
        mode("\"0644\""),
        Key::new(
            "validate",
            Type::List(&Type::Text),
            "A program that has to accept it before it takes the place of the old one; `{}` is its path.",
        ),
        Key::new(
            "restarts",
            Type::List(&Type::Text),
            "Units that are restarted when it changes.",
        )
        .default("[]"),
        Key::new(
            "reloads",
            Type::List(&Type::Text),
            "Units that are reloaded when it changes.",
        )
        .default("[]"),
    ],
};

/// `[directory."PATH"]`.
pub static DIRECTORY: Table = Table {
    name: "directory.PATH",
    doc: "A folder of a server.",
    keys: &[ENABLED, ON, OWNER, GROUP_OWNER, mode("\"0755\"")],
};

/// `[link."PATH"]`.
pub static LINK: Table = Table {
    name: "link.PATH",
    doc: "A symbolic link of a server.",
    keys: &[
        ENABLED,
        ON,
        Key::new("to", Type::Text, "Where it leads.").required(),
    ],
};

/// `[systemd_unit."UNIT"]`.
pub static SYSTEMD_UNIT: Table = Table {
    name: "systemd_unit.UNIT",
    doc: "A unit of systemd, named with its suffix, as in `\"nginx.service\"`.",
    keys: &[
        ENABLED,
        ON,
        Key::new("content", Type::Template, "What it says."),
        Key::new(
            "template",
            Type::Text,
            "The template it is made from. Without one and without `content` the unit is somebody else's, and only its state is managed.",
        ),
        Key::new("start", Type::Bool, "It starts with the machine.").default("true"),
        Key::new("running", Type::Bool, "It runs.").default("true"),
        Key::new(
            "reads",
            Type::List(&Type::Text),
            "Files that it reads: it is restarted when they change.",
        )
        .default("[]"),
    ],
};

/// `[timer.NAME]`.
pub static TIMER: Table = Table {
    name: "timer.NAME",
    doc: "A program that is run at times.",
    keys: &[
        ENABLED,
        ON,
        Key::new(
            "command",
            Type::List(&Type::Text),
            "The program and its arguments; it runs without a shell.",
        )
        .required(),
        Key::new(
            "calendar",
            Type::Text,
            "When, as systemd says it: `Mon..Fri 02:00`.",
        )
        .required(),
        Key::new("user", Type::Identifier, "The user it runs as.").default("\"root\""),
    ],
};

/// `[sysctl."KEY"]`.
pub static SYSCTL: Table = Table {
    name: "sysctl.KEY",
    doc: "A setting of a server's kernel, as in `\"vm.swappiness\"`.",
    keys: &[
        ENABLED,
        ON,
        Key::new("value", Type::Setting, "Its value.").required(),
    ],
};

/// `[hosts_entry."NAME"]`.
pub static HOSTS_ENTRY: Table = Table {
    name: "hosts_entry.HOST",
    doc: "A line of a server's `/etc/hosts`, by host name.",
    keys: &[
        ENABLED,
        ON,
        Key::new("address", Type::Text, "The address of that name.").required(),
    ],
};

/// `[swap."PATH"]`.
pub static SWAP: Table = Table {
    name: "swap.PATH",
    doc: "A swap file of a server.",
    keys: &[
        ENABLED,
        ON,
        Key::new("size", Type::Text, "Its size, as in `\"2G\"`.").required(),
    ],
};

/// `[firewall.NAME]`.
pub static FIREWALL: Table = Table {
    name: "firewall.NAME",
    doc: "What a server lets in; everything else is refused, SSH from the operator never.",
    keys: &[
        ENABLED,
        ON,
        Key::new("allow", Type::Many(&ALLOW), "What is let in.").required(),
    ],
};

/// `[[firewall.NAME.allow]]`.
pub static ALLOW: Table = Table {
    name: "firewall.NAME.allow",
    doc: "A port that is let in.",
    keys: &[
        Key::new("port", Type::Int(1, 65535), "The port.").required(),
        Key::new(
            "protocol",
            Type::Word(&["tcp", "udp"]),
            "Of which protocol.",
        )
        .default("\"tcp\""),
        Key::new(
            "from",
            Type::List(&Type::Text),
            "Networks it is let in from, as in `10.0.0.0/8`. Empty: from everywhere.",
        )
        .default("[]"),
    ],
};

/// `[[postgres.NAME.hba]]`.
pub static HBA: Table = Table {
    name: "postgres.NAME.hba",
    doc: "Who may connect to a PostgreSQL server from where, in the order of `pg_hba.conf`.",
    keys: &[
        Key::new(
            "type",
            Type::Word(&["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"]),
            "Kind of connection.",
        )
        .default("\"host\""),
        Key::new(
            "database",
            Type::Either(&Type::Text, &Type::List(&Type::Text)),
            "A declared database or a list of them, or what PostgreSQL has for it: `all` (not replication), `sameuser`, `samerole`, `replication`. Between double quotes it is always a name: `'\"all\"'`.",
        )
        .default("\"all\""),
        Key::new(
            "role",
            Type::Either(&Type::Text, &Type::List(&Type::Text)),
            "A declared role or a list of them, `all`, or `+readers` for `readers` and its members. Between double quotes it is always a name: `'\"all\"'`.",
        )
        .default("\"all\""),
        Key::new(
            "address",
            Type::Text,
            "A network as in `10.0.0.0/8`, one address as in `10.0.0.7/32`, a host name, the end of one as in `.example.com`, `all`, `samehost` or `samenet`; not for `local`.",
        ),
        Key::new(
            "method",
            Type::Word(&["scram-sha-256", "md5", "peer", "ident", "cert", "gss", "pam", "ldap", "reject"]),
            "How it is proved who they are.",
        )
        .default("\"scram-sha-256\""),
        Key::new(
            "options",
            Type::Map(&Type::Text),
            "Options of the method by their PostgreSQL name, as in `{ map = \"admins\" }`; none that is a secret.",
        ),
    ],
};

/// `[[exception]]`.
pub static EXCEPTION: Table = Table {
    name: "exception",
    doc: "A finding of `audit` that is known and accepted for a time.",
    keys: &[
        Key::new("id", Type::Text, "The finding, as `audit` names it.").required(),
        Key::new("reason", Type::Text, "Why it is accepted.").required(),
        Key::new("until", Type::Text, "The last day, as in `2026-12-31`.").required(),
    ],
};

/// Exceptions whose last day is none.
pub(super) fn check_exceptions(environment: &Environment) -> Vec<Problem> {
    let exceptions = environment.tree.list("exception").iter();
    exceptions
        .filter_map(|node| {
            let until = node.text("until")?;
            if until.parse::<jiff::civil::Date>().is_ok() {
                return None;
            }
            let message = format!("`{until}` is no day");
            let problem = Problem::error(message, &node.origin("until"));
            Some(problem.help("write it as in `2026-12-31`"))
        })
        .collect()
}
