"""Settings of the tests: both databases are SQLite in memory, so that `pytest` needs no server."""

import os

for name in ("SECRET_KEY", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"):
    os.environ.setdefault(f"DJANGO_{name}", "test")
for name in ("HOST", "PORT", "NAME", "USER", "PASSWORD"):
    os.environ.setdefault(f"DJANGO_IVR_{name}", "test")

from .settings import *  # noqa: E402, F403

DEBUG = False
ALLOWED_HOSTS = ["testserver"]
DATABASES = {alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for alias in ("default", "ivr")}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
