"""Which extensions a migration creates, by its text: SQL, or a program that sends SQL. Pure."""

import re

COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
CREATES = re.compile(
    r"\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?(?:\\?\"([^\"\\]+)\\?\"|([a-z_][\w$]*))",
    re.IGNORECASE,
)


def created_extensions(text: str) -> tuple[str, ...]:
    """Return the names, each once, in the order of the text."""
    matches = CREATES.finditer(COMMENT.sub(" ", text))
    return tuple(dict.fromkeys(match[1] or match[2].lower() for match in matches))
