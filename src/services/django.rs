//! `[django.NAME]`: a Django application.

use crate::declaration::{Key, Table, Type};

/// `[django.NAME]`.
pub static TABLE: Table = Table {
    name: "django.NAME",
    doc: "A Django application, served by gunicorn (or by `runserver` where its source is mounted).",
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
        Key::new(
            "source",
            Type::Either(&Type::Path, &Type::Table(&GIT)),
            "The folder that holds `manage.py`, or `{ git, ref }`.",
        )
        .required(),
        Key::new(
            "mount",
            Type::Bool,
            "The source is mounted, and the server reloads when a file is saved.",
        )
        .default("false"),
        Key::new("image", Type::Text, "The base image.").default("\"python:3.11-slim-bookworm\""),
        Key::new(
            "pull",
            Type::Word(&["auto", "always", "never"]),
            "As for PostgreSQL, for the base image.",
        )
        .default("\"auto\""),
        Key::new(
            "requirements",
            Type::Text,
            "The requirements file, relative to the source.",
        )
        .default("\"requirements.txt\""),
        Key::new(
            "packages",
            Type::List(&Type::Text),
            "Debian packages the application needs at run time.",
        )
        .default("[]"),
        Key::new(
            "build_packages",
            Type::List(&Type::Text),
            "Debian packages needed while its requirements are built.",
        )
        .default("[]"),
        Key::new("settings", Type::Text, "The settings module.").required(),
        Key::new(
            "wsgi",
            Type::Text,
            "The WSGI application; absent: `wsgi:application` beside the settings module.",
        ),
        Key::new(
            "port",
            Type::Int(1, 65535),
            "The port it listens on inside its container.",
        )
        .default("8000"),
        Key::new("workers", Type::Int(1, 1024), "gunicorn workers.").default("2"),
        Key::new(
            "health",
            Type::Text,
            "A path that answers 200 when the application works.",
        )
        .default("\"/\""),
        Key::new(
            "health_host",
            Type::Text,
            "The Host header of the health check; one that `ALLOWED_HOSTS` allows.",
        )
        .default("\"localhost\""),
        Key::new(
            "migrate",
            Type::Bool,
            "`manage.py migrate` before it serves.",
        )
        .default("false"),
        Key::new(
            "static",
            Type::Bool,
            "`manage.py collectstatic` before it serves.",
        )
        .default("false"),
        Key::new(
            "env",
            Type::Map(&Type::Template),
            "Its environment; templates over `vars` and the endpoints of other services.",
        )
        .default("{}"),
    ],
};

/// `source = { git, ref }`.
pub static GIT: Table = Table {
    name: "django.NAME.source",
    doc: "A source that is checked out.",
    keys: &[
        Key::new("git", Type::Text, "The repository.")
            .required()
            .later(),
        Key::new("ref", Type::Text, "Branch, tag or commit.").required(),
    ],
};
