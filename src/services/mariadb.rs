//! `[mariadb.NAME]`: a MariaDB server, its settings, databases, users with grants, and init scripts.

use crate::declaration::{Key, Table, Type};

/// `[mariadb.NAME]`.
pub static TABLE: Table = Table {
    name: "mariadb.NAME",
    doc: "A MariaDB server with its databases and users.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "on",
            Type::Either(&Type::Name, &Type::List(&Type::Name)),
            "The host, group or hosts it runs on; not used on a Docker engine.",
        )
        .later(),
        Key::new("version", Type::Word(&["10.11"]), "Version.").default("\"10.11\""),
        Key::new("image", Type::Text, "Image on a Docker engine.").default("\"mariadb:10.11\""),
        Key::new(
            "pull",
            Type::Word(&["auto", "always", "never"]),
            "As for PostgreSQL.",
        )
        .default("\"auto\""),
        Key::new(
            "settings",
            Type::Map(&Type::Setting),
            "Server settings by their MariaDB name; kept in `provision.cnf`.",
        ),
        Key::new(
            "init",
            Type::List(&Type::Path),
            "SQL files (globs allowed), each run once a content, remembered in the server itself.",
        ),
        Key::new(
            "init_database",
            Type::Identifier,
            "The database `init` runs in; needed where there is more than one.",
        ),
        Key::new("database", Type::Named(&DATABASE), "Databases by name."),
        Key::new(
            "user",
            Type::Named(&USER),
            "Users, named `NAME@HOST`; without a host, `@%`.",
        ),
    ],
};

/// `[mariadb.NAME.database.NAME]`.
pub static DATABASE: Table = Table {
    name: "mariadb.NAME.database.NAME",
    doc: "A database. Holds data: it is never dropped as a side effect of an edit.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "charset",
            Type::Text,
            "Default character set of new tables. Absent: not managed.",
        ),
        Key::new(
            "collation",
            Type::Text,
            "Default collation of new tables. Absent: not managed.",
        ),
    ],
};

/// `[mariadb.NAME.user."NAME@HOST"]`.
pub static USER: Table = Table {
    name: "mariadb.NAME.user.NAME",
    doc: "A user with its exact rights.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry that was inherited.").default("true"),
        Key::new("password", Type::Secret, "Absent: the password is not managed; without one nobody can log in."),
        Key::new("grants", Type::Map(&Type::List(&Type::Text)), "Privileges by `database.*`, `database.table` or `*.*`. Names are literal: `_` and `%` are escaped.").default("{}"),
        Key::new("exact", Type::Bool, "`false`: rights that are there and not declared stay.").default("true"),
        Key::new("max_connections", Type::Int(0, 1_000_000), "Connections at once; 0 is no limit.").default("0"),
        Key::new("locked", Type::Bool, "May not log in.").default("false"),
    ],
};
