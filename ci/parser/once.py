"""Parses each file once, however many ask for it: a tree costs far more than its text."""

from pathlib import Path

from .file import SqlFile, parse


class Parser:
    """Keeps what it parsed, by path and text. Trees are never changed."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[Path, str], SqlFile] = {}

    def parse(self, path: Path, text: str) -> SqlFile:
        """Return the parsed file; ConfigError as `file.parse`."""
        known = self._parsed.get((path, text))
        if known is None:
            known = self._parsed[path, text] = parse(path, text)
        return known
