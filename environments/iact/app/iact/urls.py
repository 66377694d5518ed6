"""Addresses."""

from django.urls import path

from calls.views import daily
from iact.health import health

urlpatterns = [
    path("", daily, name="daily"),
    path("health", health, name="health"),
]
