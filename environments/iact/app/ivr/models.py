"""Tables of the telephone system, as we read them."""

from django.db import models


class Call(models.Model):
    """A call that came in."""

    started_at = models.DateTimeField()
    queue = models.CharField(max_length=64)
    agent = models.CharField(max_length=64, null=True)
    answered = models.BooleanField()
    wait_seconds = models.PositiveIntegerField()
    talk_seconds = models.PositiveIntegerField()

    class Meta:
        db_table = "calls"
        managed = False
