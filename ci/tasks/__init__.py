"""The verbs of `invoke` and `windlass`: parse, call, print, exit."""

from .deploy import main, ns

__all__ = ["main", "ns"]
