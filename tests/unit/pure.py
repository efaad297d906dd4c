"""Which modules are pure: those of the contract "decisions do no I/O" in pyproject.toml."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "ci"
CONTRACT = "decisions do no I/O"


def pure_modules(root: Path = ROOT) -> tuple[Path, ...]:
    """Return the files of the pure modules, from ci/; of a package all that are in it.

    A file without a function or class, such as an `__init__` of one sentence, is left out.
    """
    configuration = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each["name"] == CONTRACT)
    code = root / "ci"
    files = [
        file
        for name in contract["source_modules"]
        for file in _files(code.joinpath(*name.split(".")[1:]))
    ]
    return tuple(sorted(file.relative_to(code) for file in files if _says_something(file)))


def file_of_tests(module: Path) -> Path:
    """Return where the test file of a module is, from tests/unit/."""
    if module.name == "__init__.py":
        return module.parent / f"test_{module.parent.name}.py"
    return module.parent / f"test_{module.name}"


def _files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def _says_something(file: Path) -> bool:
    lines = file.read_text().splitlines()
    return any(line.lstrip().startswith(("def ", "class ")) for line in lines)
