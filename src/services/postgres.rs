//! `[postgres.NAME]`: a PostgreSQL server, its settings, roles, databases, grants and init scripts.

use crate::declaration::{Key, Table, Type};

/// `[postgres.NAME]`.
pub static TABLE: Table = Table {
    name: "postgres.NAME",
    doc: "A PostgreSQL server with its roles, databases and grants.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry that was inherited.").default("true"),
        Key::new("on", Type::Either(&Type::Name, &Type::List(&Type::Name)), "The host, group or hosts it runs on; not used on a Docker engine.").later(),
        Key::new("external", Type::Table(&EXTERNAL), "A managed server that is only configured, not installed.").later(),
        Key::new("version", Type::Word(&["15"]), "Major version.").default("\"15\""),
        Key::new("image", Type::Text, "Image on a Docker engine. Debian's family, since a volume keeps the family of the image that made it.").default("\"postgres:15-bookworm\""),
        Key::new("pull", Type::Word(&["auto", "always", "never"]), "`auto`: the registry where it answers, else built from Debian's packages; `always`: the registry or an error; `never`: what the engine has, else built.").default("\"auto\""),
        Key::new("superuser", Type::Identifier, "The superuser we come in as, over the local socket; nobody knows a password of it.").default("\"postgres\""),
        Key::new("settings", Type::Map(&Type::Setting), "Server settings by their PostgreSQL name; set with `ALTER SYSTEM`."),
        Key::new("init", Type::List(&Type::Path), "SQL files (globs allowed), each run once a content, remembered in the database itself."),
        Key::new("init_database", Type::Identifier, "The database `init` runs in; needed where there is more than one."),
        Key::new("role", Type::Named(&ROLE), "Roles by name."),
        Key::new("database", Type::Named(&DATABASE), "Databases by name."),
        Key::new("grant", Type::Many(&GRANT), "What roles may do; exact for each role and database named."),
    ],
};

/// `[postgres.NAME.role.NAME]`.
pub static ROLE: Table = Table {
    name: "postgres.NAME.role.NAME",
    doc: "A role. Attributes that are not named have PostgreSQL's default, and are put back to it.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry that was inherited.").default("true"),
        Key::new("password", Type::Secret, "Absent: the password is not managed."),
        Key::new("login", Type::Bool, "May log in.").default("true"),
        Key::new("superuser", Type::Bool, "Passes every permission check.").default("false"),
        Key::new("createdb", Type::Bool, "May create databases.").default("false"),
        Key::new("createrole", Type::Bool, "May create roles.").default("false"),
        Key::new("inherit", Type::Bool, "Has the rights of the roles it is a member of.").default("true"),
        Key::new("replication", Type::Bool, "May stream the write-ahead log.").default("false"),
        Key::new("bypassrls", Type::Bool, "Passes row-level security.").default("false"),
        Key::new("connection_limit", Type::Int(-1, 1_000_000), "Connections at once; -1 is no limit.").default("-1"),
        Key::new("valid_until", Type::Text, "When its password ends, as PostgreSQL reads a timestamp with time zone; `infinity` is never.").default("\"infinity\""),
        Key::new("member_of", Type::List(&Type::Identifier), "Roles it is a member of; exact.").default("[]"),
        Key::new("settings", Type::Map(&Type::Setting), "Settings of its sessions (`ALTER ROLE ... SET`); exact once named."),
    ],
};

/// `[postgres.NAME.database.NAME]`.
pub static DATABASE: Table = Table {
    name: "postgres.NAME.database.NAME",
    doc: "A database. Holds data: it is never dropped as a side effect of an edit.",
    keys: &[
        Key::new(
            "enabled",
            Type::Bool,
            "`false` drops an entry that was inherited.",
        )
        .default("true"),
        Key::new(
            "owner",
            Type::Identifier,
            "A declared role, or the superuser. Absent: not managed.",
        ),
        Key::new(
            "encoding",
            Type::Text,
            "As in `UTF8`; cannot be altered. Absent: not managed, `UTF8` when created.",
        ),
        Key::new(
            "locale",
            Type::Text,
            "As in `C.UTF-8`, for collation and character type; cannot be altered. Absent: not managed, the server's when created.",
        ),
        Key::new(
            "connection_limit",
            Type::Int(-1, 1_000_000),
            "Connections at once; -1 is no limit.",
        )
        .default("-1"),
        Key::new(
            "extensions",
            Type::List(&Type::Either(&Type::Identifier, &Type::Table(&EXTENSION))),
            "Extensions: a name, or `{ name, version, schema }`.",
        )
        .default("[]"),
    ],
};

/// An item of `extensions`.
pub static EXTENSION: Table = Table {
    name: "postgres.NAME.database.NAME.extensions",
    doc: "An extension with a version.",
    keys: &[
        Key::new("name", Type::Identifier, "Its name.").required(),
        Key::new(
            "version",
            Type::Text,
            "Its version; absent: not managed. Extensions cannot go down.",
        ),
        Key::new(
            "schema",
            Type::Identifier,
            "The schema it is made in; absent: the database's default.",
        ),
    ],
};

/// `[[postgres.NAME.grant]]`.
pub static GRANT: Table = Table {
    name: "postgres.NAME.grant",
    doc: "What a role may do in a database. All entries of one role and database together are its exact rights there.",
    keys: &[
        Key::new("enabled", Type::Bool, "`false` drops an entry.").default("true"),
        Key::new("role", Type::Identifier, "A declared role, or `PUBLIC`.").required(),
        Key::new("database", Type::Identifier, "A declared database.").required(),
        Key::new("connect", Type::Bool, "CONNECT on the database. PUBLIC has it unless it was revoked.").default("true"),
        Key::new("privileges", Type::List(&Type::Word(&["CREATE", "TEMPORARY"])), "More rights on the database itself.").default("[]"),
        Key::new("schema", Type::Identifier, "The schema that `tables`, `sequences` and `schema_privileges` are about.").default("\"public\""),
        Key::new("schema_privileges", Type::List(&Type::Word(&["USAGE", "CREATE"])), "Rights on the schema; USAGE is added where `tables` or `sequences` are named.").default("[]"),
        Key::new("tables", Type::List(&Type::Word(&["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "ALL"])), "Rights on every table and view of the schema.").default("[]"),
        Key::new("sequences", Type::List(&Type::Word(&["USAGE", "SELECT", "UPDATE", "ALL"])), "Rights on every sequence of the schema.").default("[]"),
        Key::new("future", Type::Bool, "The same rights on tables and sequences made tomorrow, by the database's owner and every declared role that can create there.").default("false"),
        Key::new("exact", Type::Bool, "`false`: rights that are there and not declared stay.").default("true"),
    ],
};

/// `[postgres.NAME.external]`.
pub static EXTERNAL: Table = Table {
    name: "postgres.NAME.external",
    doc: "A managed server.",
    keys: &[
        Key::new("host", Type::Text, "Its address.").required(),
        Key::new("port", Type::Int(1, 65535), "Its port.").default("5432"),
        Key::new(
            "admin",
            Type::Identifier,
            "The login that may create roles and databases.",
        )
        .required(),
        Key::new("password", Type::Secret, "Its password.").required(),
    ],
};
