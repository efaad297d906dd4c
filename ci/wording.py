"""Two wordings of one expression: the server words some anew once they were dumped and restored.

`x in ('a', 'b')` on a varchar is stored as `(x)::text = any ((array['a'::character varying,
…])::text[])`, and read back from there as `(x)::text = any (array[('a'::character
varying)::text, …])`. Casts and brackets move; nothing else does. Pure.
"""

import re

# ::text, ::character varying(20), ::"Mood"[], ::public.mood, ::timestamp(3) without time zone
CAST = re.compile(
    r'::(?:"[^"]+"|[a-z_][a-z0-9_]*)(?:\.(?:"[^"]+"|[a-z_][a-z0-9_]*))?'
    r"(?: varying| precision)?(?:\(\d+(?:, ?\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*"
)
STRINGS = re.compile(r"('(?:[^']|'')*')")


def plain(text: str) -> str:
    """Return a definition without its casts, brackets and line ends; strings stay as they are."""
    parts = STRINGS.split(text)
    return "".join(part if at % 2 else _bare(part) for at, part in enumerate(parts))


def _bare(part: str) -> str:
    """Return what stands between two strings, its words apart by one blank."""
    without = re.sub(r"[()\s]+", " ", CAST.sub("", part))
    return re.sub(r" *([^\w ]) *", r"\1", CAST.sub("", without)).strip()


def alike(one: str, other: str) -> bool:
    """Tell whether two definitions say the same, however the server words them."""
    return one == other or plain(one) == plain(other)
