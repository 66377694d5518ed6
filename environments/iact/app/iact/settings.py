"""Settings. Everything that differs between environments comes from the environment; what is missing is named at start."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def required(name):
    value = os.environ.get(name, "")
    if not value:
        raise ImproperlyConfigured(f"Set the environment variable {name}")
    return value


def flag(name):
    return os.environ.get(name, "").lower() in {"1", "true", "yes", "on"}


SECRET_KEY = required("DJANGO_SECRET_KEY")
DEBUG = flag("DJANGO_DEBUG")
ALLOWED_HOSTS = [host.strip() for host in os.environ.get("DJANGO_ALLOWED_HOSTS", "").split(",") if host.strip()]

INSTALLED_APPS = [
    "whitenoise.runserver_nostatic",  # WhiteNoise serves static files under runserver, too
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "calls",
    "ivr",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "iact.urls"
WSGI_APPLICATION = "iact.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": required("DJANGO_DB_HOST"),
        "PORT": required("DJANGO_DB_PORT"),
        "NAME": required("DJANGO_DB_NAME"),
        "USER": required("DJANGO_DB_USER"),
        "PASSWORD": required("DJANGO_DB_PASSWORD"),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 3},
    },
    # The telephone system's database: read, never written (see iact/routers.py).
    "ivr": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": required("DJANGO_IVR_HOST"),
        "PORT": required("DJANGO_IVR_PORT"),
        "NAME": required("DJANGO_IVR_NAME"),
        "USER": required("DJANGO_IVR_USER"),
        # Bytes: PyMySQL would take a text as Latin-1, and what the server knows is UTF-8.
        "PASSWORD": required("DJANGO_IVR_PASSWORD").encode(),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "charset": "utf8mb4",
            "connect_timeout": 3,
            # Below gunicorn's 30 seconds; a long `process_etl` may be given more.
            "read_timeout": int(os.environ.get("DJANGO_IVR_TIMEOUT", "20")),
            "init_command": "SET SESSION TRANSACTION READ ONLY",
        },
    },
}
DATABASE_ROUTERS = ["iact.routers.IvrRouter"]
# Its tables are the telephone system's own: nothing here migrates them.
MIGRATION_MODULES = {"ivr": None}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_HTTPONLY = True
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = os.environ.get("DJANGO_STATIC_ROOT") or BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # File names with a digest need `collectstatic` to have run; while developing, files are found where they are.
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime}{levelname}{name}{message}",
            "style": "{",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "django.server": {"handlers": ["console"], "level": "INFO", "propagate": False},
    },
}
