"""The tasks of Windlass; another repository's tasks.py has the same line."""

from pgwindlass.tasks import ns

__all__ = ["ns"]
