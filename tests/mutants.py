"""`make mutants`: how many changes of the pure modules do the unit tests notice?

mutmut names a module by its path, and the folder ci/ is the package pgwindlass. So it is given a
copy of both under build/mutants, where the folder has the package's name, with the unit tests alone
and nothing of tests/conftest.py, whose plugins start the real parts. It changes functions and
methods, not the tables of a module or the defaults of a class, and learns which test calls which
function. tests/each_mutant.py then runs the tests of each mutant: mutmut itself starts pytest for
every one, and nine in ten of its seconds are those of pytest's own start.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

from tests.unit.pure import ROOT, file_of_tests, pure_modules

PLACE = ROOT / "build" / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")  # that no caller can tell
EACH = Path(__file__).with_name("each_mutant.py")
LEAST = 92  # percent of all mutants
KILLED = frozenset(
    {-signal.SIGALRM}
    | {code for code, status in status_by_exit_code.items() if status in ("killed", "timeout")}
)
SMALL = "pgwindlass.parser.once.*"  # mutmut runs these itself, and learns which test calls what
QUIETLY = ("-qs", "--assert=plain", "--tb=native", "--rootdir=.")
SETTINGS = """\
[tool.mutmut]
source_paths = ["pgwindlass"]
only_mutate = [{modules}]
pytest_add_cli_args = ["--assert=plain"]
pytest_add_cli_args_test_selection = ["tests/unit"]
also_copy = ["deploy.yml", "docs"]
track_dependencies = false
timeout_constant = 5.0

[tool.pytest.ini_options]
addopts = ["--strict-markers", "--import-mode=importlib", "-p", "no:cacheprovider"]
pythonpath = ["."]
markers = ["unit"]
filterwarnings = ["error"]
tmp_path_retention_policy = "none"
"""


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed: the function, and the line as it was and as it became."""

    function: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return it as a difference."""
        return f"{self.function}\n  - {self.before}\n  + {self.after}"


@dataclass(frozen=True)
class Module:
    """What became of the mutants of a module."""

    name: str
    mutants: int
    survivors: tuple[Survivor, ...]
    equivalent: int

    @property
    def percent(self) -> float:
        """How many of a hundred were killed, of those that change something."""
        counted = self.mutants - self.equivalent
        return 100 * (counted - len(self.survivors)) / counted if counted else 100.0


def prepare(modules: Iterable[Path], *, anew: bool) -> None:
    """Copy the package and the unit tests; unless `anew`, what was killed before stays killed."""
    if anew:
        shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    left_out = shutil.ignore_patterns("__pycache__", "test_every_pure_module_has_its_tests.py")
    shutil.rmtree(PLACE / "mutants" / "tests", ignore_errors=True)
    for source, copy in (("ci", "pgwindlass"), ("tests/unit", "tests/unit"), ("docs", "docs")):
        shutil.rmtree(PLACE / copy, ignore_errors=True)
        shutil.copytree(ROOT / source, PLACE / copy, ignore=left_out)
    (PLACE / "tests" / "__init__.py").touch()
    shutil.copy2(EACH, PLACE / "tests" / EACH.name)
    shutil.copy2(ROOT / "deploy.yml", PLACE / "deploy.yml")
    names = ", ".join(f'"pgwindlass/{module}"' for module in modules)
    (PLACE / "pyproject.toml").write_text(SETTINGS.format(modules=names))


def run(modules: Iterable[Path], children: int, names: list[str]) -> None:
    """Let mutmut change the modules and learn; then run each mutant that has no result."""
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    change = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children), SMALL]
    (PLACE / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    subprocess.run(change, cwd=PLACE, check=True, env=environment)
    forget_survivors()
    files = {module_name(module): f"tests/unit/{file_of_tests(module)}" for module in modules}
    program = [sys.executable, "-m", "pytest", *QUIETLY, "-p", "tests.each_mutant"]
    program += [f"--children={children}", f"--near={json.dumps(files)}"]
    program += [f"--mutants={name}" for name in names]
    place = PLACE / "mutants"
    subprocess.run([*program, "tests/unit"], cwd=place, check=True, env=environment)


def module_name(module: Path) -> str:
    """Return the name of a module, as it is imported."""
    parts = module.with_suffix("").parts
    return ".".join(["pgwindlass", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def forget_survivors() -> None:
    """Have the next run try again what has not been killed."""
    for record in PLACE.rglob("*.meta"):
        content = json.loads(record.read_text())
        codes = content["exit_code_by_key"]
        codes |= {name: None for name, code in codes.items() if code not in KILLED}
        record.write_text(json.dumps(content))


def read(modules: Iterable[Path], equivalent: frozenset[tuple[str, str]]) -> tuple[Module, ...]:
    """Return what mutmut recorded of each module; a mutant that no test reached has survived."""
    results = []
    for module in modules:
        record = PLACE / "mutants" / "pgwindlass" / f"{module}.meta"
        codes = json.loads(record.read_text())["exit_code_by_key"] if record.exists() else {}
        alive = [survivor(name) for name, code in codes.items() if code not in KILLED]
        counted = tuple(each for each in alive if (each.function, each.after) not in equivalent)
        results.append(Module(str(module), len(codes), counted, len(alive) - len(counted)))
    return tuple(results)


def survivor(name: str) -> Survivor:
    """Return what a mutant changes, of a name such as pgwindlass.policy.x_proof__mutmut_7."""
    with contextlib.chdir(PLACE):
        lines = get_diff_for_mutant(name).splitlines()[3:]
    before, after = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    function = name.removeprefix("pgwindlass.").rpartition("__mutmut_")[0]
    return Survivor(function, before, after)


def known_equivalents() -> frozenset[tuple[str, str]]:
    """Return function and changed line of the mutants that the list says are equivalent."""
    entries = tomllib.loads(EQUIVALENT.read_text())["mutant"]
    return frozenset((entry["function"], entry["becomes"]) for entry in entries)


def table(results: Iterable[Module]) -> str:
    """Return a line for each module, and one for all."""
    modules = [*results]
    total = Module(
        "all",
        sum(module.mutants for module in modules),
        tuple(each for module in modules for each in module.survivors),
        sum(module.equivalent for module in modules),
    )
    lines = [f"{'module':<34}{'mutants':>8}{'killed':>8}{'equal':>7}{'survived':>10}{'percent':>9}"]
    for module in (*modules, total):
        killed = module.mutants - module.equivalent - len(module.survivors)
        lines.append(
            f"{module.name:<34}{module.mutants:>8}{killed:>8}{module.equivalent:>7}"
            f"{len(module.survivors):>10}{module.percent:>9.1f}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the mutants, print the table and the survivors; 1 where too many survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="patterns of mutants: pgwindlass.plan.gate.*")
    parser.add_argument("--children", type=int, default=2, help="processes at once")
    parser.add_argument("--survivors", action="store_true", help="try the last run's alone")
    options = parser.parse_args()
    modules = pure_modules()
    prepare(modules, anew=not options.survivors)
    run(modules, options.children, options.names)
    results = read(modules, known_equivalents())
    survivors = [str(each) for module in results for each in module.survivors]
    sys.stdout.write("\n".join([*survivors, table(results), ""]))
    counted = sum(module.mutants - module.equivalent for module in results)
    return 0 if len(survivors) <= counted * (100 - LEAST) / 100 else 1


if __name__ == "__main__":
    sys.exit(main())
