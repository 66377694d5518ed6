"""The daily figures."""

from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DailyCalls",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("queue", models.CharField(max_length=64)),
                ("calls", models.PositiveIntegerField()),
                ("answered", models.PositiveIntegerField()),
                ("wait_seconds", models.PositiveBigIntegerField()),
                ("talk_seconds", models.PositiveBigIntegerField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "db_table": "daily_calls",
                "ordering": ["-day", "queue"],
                "constraints": [models.UniqueConstraint(fields=("day", "queue"), name="daily_calls_day_queue")],
            },
        ),
    ]
