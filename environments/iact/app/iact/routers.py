"""Which database a model lives in."""

from django.db import DatabaseError


class IvrRouter:
    """Models of `ivr` are read from the telephone system's database and never written; all others live in `default`."""

    def db_for_read(self, model, **hints):
        return "ivr" if model._meta.app_label == "ivr" else "default"

    def db_for_write(self, model, **hints):
        if model._meta.app_label == "ivr":
            raise DatabaseError(f"{model._meta.label} is read-only: it belongs to the telephone system")
        return "default"

    def allow_relation(self, one, other, **hints):
        return (one._meta.app_label == "ivr") == (other._meta.app_label == "ivr")

    def allow_migrate(self, db, app_label, **hints):
        return db == "default" and app_label != "ivr"
