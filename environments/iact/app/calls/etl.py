"""From the telephone system's calls to our daily figures."""

from datetime import datetime, time, timezone as zones

from django.db import transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from calls.models import DailyCalls
from ivr.models import Call

FIGURES = ["calls", "answered", "wait_seconds", "talk_seconds"]


def daily_figures(since=None):
    """One row a day and queue, added up by the telephone system's database."""
    calls = Call.objects.all()
    if since:
        calls = calls.filter(started_at__gte=datetime.combine(since, time.min, zones.utc))
    return (
        calls.values("queue", day=TruncDate("started_at"))
        .annotate(
            calls=Count("id"),
            answers=Count("id", filter=Q(answered=True)),
            waited=Sum("wait_seconds"),
            talked=Sum("talk_seconds"),
        )
        .order_by("day", "queue")
    )


def process(since=None):
    """Writes the figures; a second run over the same calls changes nothing but `updated_at`. Returns what it did."""
    now = timezone.now()
    rows = [
        DailyCalls(
            day=row["day"],
            queue=row["queue"],
            calls=row["calls"],
            answered=row["answers"],
            wait_seconds=row["waited"],
            talk_seconds=row["talked"],
            updated_at=now,
        )
        for row in daily_figures(since)
    ]
    with transaction.atomic():
        DailyCalls.objects.bulk_create(
            rows,
            batch_size=1000,
            update_conflicts=True,
            unique_fields=["day", "queue"],
            update_fields=[*FIGURES, "updated_at"],
        )
    return {"rows": len(rows), "days": len({row.day for row in rows}), "calls": sum(row.calls for row in rows)}
