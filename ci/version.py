"""The version, apart from the package itself, which offers everything above."""

__version__ = "0.1.0"
