"""Whether the application can do its work: one real question to each database."""

import logging

from django.db import Error
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from calls.models import DailyCalls
from ivr.models import Call

logger = logging.getLogger(__name__)

# Tables of our own and of theirs: a server that answers without them is of no use.
QUESTIONS = {"default": DailyCalls.objects.exists, "ivr": Call.objects.exists}


@never_cache
@require_safe
def health(request):
    """200, or 503 that names the databases that failed; why they failed is in the log."""
    databases = {alias: answer(alias, question) for alias, question in QUESTIONS.items()}
    works = all(state == "ok" for state in databases.values())
    return JsonResponse({"status": "ok" if works else "failed", "databases": databases}, status=200 if works else 503)


def answer(alias, question):
    try:
        question()
    except Error as error:
        logger.error("Database does not answer", extra={"database": alias, "error": str(error).strip()})
        return "failed"
    return "ok"
