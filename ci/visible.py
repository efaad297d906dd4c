"""A text from outside as people see it: nothing in it steers a terminal, or hides. Pure."""

import re

LONGEST = 100_000  # characters of one text; a server's message may have a billion
# Control characters but tab and line feed, those that turn the order of a line or do not show,
# and halves of characters, which no stream takes.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""Return a text with what does not show, or steers a terminal, by its number: `\x1b`."""
    return HIDDEN.sub(_number, text.replace("\r\n", "\n"))


def in_one_line(text: str) -> str:
    r"""Return a name or another short text on one line: a line break is shown as `\n`."""
    return visible(text).replace("\n", "\\n")


def shortened(text: str, most: int = LONGEST) -> str:
    """Return the beginning of a text that is too long to be read. Redact first: it may cut."""
    excess = len(text) - most
    return text if excess <= 0 else f"{text[:most]}… ({excess:,} more characters)"


def as_json_escapes(document: str) -> str:
    """Return the same JSON document with what does not show escaped: only its strings have any."""
    return HIDDEN.sub(_json_escape, document)


def _number(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(match: re.Match[str]) -> str:
    raw = match[0].encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{raw[i : i + 2].hex()}" for i in range(0, len(raw), 2))
