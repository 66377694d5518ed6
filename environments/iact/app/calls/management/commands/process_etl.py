"""`manage.py process_etl [--since DAY]`: brings the daily figures up to date. Safe to run again."""

import logging
import time
from datetime import date

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from calls.etl import process

logger = logging.getLogger("calls.etl")


class Command(BaseCommand):
    help = "Adds up the calls of the telephone system by day and queue. Safe to run again."

    def add_arguments(self, parser):
        parser.add_argument("--since", type=date.fromisoformat, metavar="YYYY-MM-DD", help="only calls from this day on")

    def handle(self, *args, since=None, **options):
        start = time.monotonic()
        try:
            done = process(since)
        except Error as error:
            logger.error("ETL failed", extra={"event": "etl_failed", "error": str(error).strip()})
            raise CommandError("The ETL failed; nothing of this run was kept") from error
        seconds = round(time.monotonic() - start, 3)
        logger.info("ETL finished", extra={"event": "etl_finished", **done, "seconds": seconds})
