"""Pages."""

from datetime import timedelta

from django.shortcuts import render
from django.utils import timezone

from calls.models import DailyCalls

SPANS = [7, 30, 365]


def daily(request):
    """The daily figures of the last days; how many is remembered in the session."""
    asked = request.GET.get("days", "")
    if asked.isdecimal() and int(asked) in SPANS:
        request.session["days"] = int(asked)
    days = request.session.get("days", SPANS[-1])
    first = timezone.localdate() - timedelta(days=days)
    context = {"rows": DailyCalls.objects.filter(day__gte=first), "days": days, "spans": SPANS}
    return render(request, "calls/daily.html", context)
