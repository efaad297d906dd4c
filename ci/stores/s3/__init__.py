"""S3, or anything that speaks its protocol."""

from .store import S3Store

__all__ = ["S3Store"]
