"""What we make of the telephone system's calls."""

from django.db import models


class DailyCalls(models.Model):
    """The calls of a day in a queue."""

    day = models.DateField()
    queue = models.CharField(max_length=64)
    calls = models.PositiveIntegerField()
    answered = models.PositiveIntegerField()
    wait_seconds = models.PositiveBigIntegerField()
    talk_seconds = models.PositiveBigIntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "daily_calls"
        ordering = ["-day", "queue"]
        constraints = [models.UniqueConstraint(fields=["day", "queue"], name="daily_calls_day_queue")]

    def __str__(self):
        return f"{self.day} {self.queue}"

    @property
    def answered_percent(self):
        return round(100 * self.answered / self.calls) if self.calls else 0
