"""What the application promises."""

import json
import logging
from datetime import date

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections

from calls.models import DailyCalls
from ivr.models import Call

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ivr"])


def figures():
    return list(DailyCalls.objects.values_list("day", "queue", "calls", "answered", "wait_seconds", "talk_seconds"))


def test_etl_adds_up_by_day_and_queue_and_can_run_again(ivr_calls):
    ivr_calls("2025-11-01T09:00:00", talk=60)
    ivr_calls("2025-11-01T23:59:59", talk=30)
    ivr_calls("2025-11-01T10:00:00", answered=False)
    ivr_calls("2025-11-02T00:00:00", queue="support")
    wanted = [(date(2025, 11, 2), "support", 1, 1, 10, 60), (date(2025, 11, 1), "sales", 3, 2, 30, 90)]
    for _ in range(2):
        call_command("process_etl")
        assert figures() == wanted
    ivr_calls("2025-11-01T11:00:00", talk=10)
    call_command("process_etl")
    assert (date(2025, 11, 1), "sales", 4, 3, 40, 100) in figures()
    assert len(figures()) == 2


def test_etl_since_leaves_earlier_days_alone(ivr_calls):
    ivr_calls("2025-11-01T09:00:00")
    ivr_calls("2025-11-02T09:00:00")
    call_command("process_etl", "--since", "2025-11-02")
    assert [row[0] for row in figures()] == [date(2025, 11, 2)]


def test_etl_says_what_it_did_in_its_last_line(ivr_calls, caplog):
    ivr_calls("2025-11-01T09:00:00")
    with caplog.at_level(logging.INFO, logger="calls.etl"):
        call_command("process_etl")
    last = caplog.records[-1]
    assert (last.event, last.rows, last.days, last.calls) == ("etl_finished", 1, 1, 1)


def test_etl_without_the_telephone_system_fails():
    with pytest.raises(CommandError):
        call_command("process_etl")


def test_health_asks_both_databases(client, ivr_calls):
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["databases"]) == (200, {"default": "ok", "ivr": "ok"})


def test_health_names_what_failed_and_nothing_else(client):
    answer = client.get("/health")
    assert answer.status_code == 503
    assert json.loads(answer.content) == {"status": "failed", "databases": {"default": "ok", "ivr": "failed"}}


def test_page_remembers_the_span_in_the_database(client, ivr_calls):
    assert b"No figures yet" in client.get("/?days=30").content
    assert b"<strong>30 days</strong>" in client.get("/?days=nonsense").content
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_session")
        assert cursor.fetchone() == (1,)


def test_router_refuses_to_write_to_the_telephone_system(ivr_calls):
    with pytest.raises(DatabaseError, match="read-only"):
        Call.objects.create(queue="sales", answered=True, wait_seconds=0, talk_seconds=0)
