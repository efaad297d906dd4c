"""Which files of a project its revisions run, read from their texts and never by running them."""

import ast
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

# Not the project's own: what is installed there has a version.
INSTALLED = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__", ".git"})


def closure(start: Iterable[Path], roots: Collection[Path]) -> tuple[Path, ...]:
    """Return every file that these files import or name as data, and those in turn, by path.

    Modules are looked for below each of `roots`; a constant text that is a module's name or a
    file's path counts as well, as `import_module` and `read_text` take them. What is put
    together while it runs is not seen.
    """
    seen: dict[Path, None] = {}
    waiting = [Path(os.path.normpath(path)) for path in start]
    while waiting:
        path = waiting.pop()
        if path in seen or INSTALLED & set(path.parts) or _of_environment(path):
            continue
        seen[path] = None
        if path.suffix == ".py":
            waiting += _named_in(path, roots)
    return tuple(sorted(seen))


def _of_environment(path: Path) -> bool:
    """Tell whether a file is in a virtual environment, whatever its name."""
    return any((parent / "pyvenv.cfg").exists() for parent in path.parents)


def _named_in(path: Path, roots: Collection[Path]) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # it runs nowhere either; its content still counts
        return
    places = (*roots, path.parent)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield from _modules(name.name, roots)
            case ast.ImportFrom(module=module, names=names, level=level):
                bases = [path.parents[level - 1]] if level else roots
                inner = [f"{module or ''}.{name.name}".strip(".") for name in names]
                for dotted in (module or "", *inner):
                    yield from _modules(dotted, bases)
            case ast.Constant(value=str() as text) if 0 < len(text) < 200 and "\n" not in text:
                yield from _modules(text, roots)
                yield from _data(text, places)


def _modules(dotted: str, roots: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that an import of this name runs: the packages above it, and itself."""
    parts = dotted.split(".")
    if not all(part.isidentifier() for part in parts):
        return
    for root in roots:
        for length in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:length])
            yield from (
                file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()
            )


def _data(text: str, places: Iterable[Path]) -> Iterator[Path]:
    """Yield the files below these places that a text names."""
    if "\0" in text or "." not in text:
        return
    for place in places:
        path = Path(os.path.normpath(place / text))
        if path.is_relative_to(place) and path.is_file():
            yield path
