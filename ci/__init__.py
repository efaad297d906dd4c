"""Carries a schema change, and the service that uses it, from a push to production."""

__version__ = "0.1.0"
