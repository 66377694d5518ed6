"""The telephone system's table is not ours to migrate, so the tests make it, and fill it past the router."""

from datetime import datetime, timezone

import pytest
from django.db import connections

from ivr.models import Call


@pytest.fixture
def ivr_calls(db_both):
    with connections["ivr"].cursor() as cursor:

        def add(day, queue="sales", answered=True, wait=10, talk=60):
            at = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
            cursor.execute(
                "INSERT INTO calls (started_at, queue, agent, answered, wait_seconds, talk_seconds)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [at.replace(tzinfo=None), queue, "ana" if answered else None, answered, wait, talk if answered else 0],
            )

        yield add


@pytest.fixture
def db_both(transactional_db, django_db_blocker):
    with connections["ivr"].schema_editor() as editor:
        editor.create_model(Call)
    yield
    with connections["ivr"].schema_editor() as editor:
        editor.delete_model(Call)
