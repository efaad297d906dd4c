"""Strict YAML with the line of every value: no duplicate keys, no `no` that means False."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from .. import files
from ..errors import ConfigError, Place

Data = str | int | float | bool | None | list["Data"] | dict[str, "Data"]
Path_ = tuple[str | int, ...]

LARGEST = 1024**2  # bytes of a file
DEEPEST = 40  # mappings and lists in one another
VALUES = 20_000  # in one file, aliases counted where they are used
TOO_DEEP = f"more than {DEEPEST} mappings and lists in one another"
KNOWN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")
)


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's idea of what is not a string.

    PyYAML's own (1.1) reads `no` as False, `022` as 18 and `1:30` as 90, silently.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own form
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; PyYAML itself calls this once more for each bracket, without end."""
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's own
            raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", "~n"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, ""]
    )


@dataclass(frozen=True)
class YamlFile:
    """A parsed file. `lines` gives the 1-based line of a path such as ("environments", "uat")."""

    path: Path
    data: Data
    lines: dict[Path_, int]

    def where(self, path: Path_) -> Place:
        """Return file and line of the path, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return Place(str(self.path), self.lines.get(path, 1))


def read_yaml(path: Path) -> YamlFile:
    """Parse a file.

    Raises:
        ConfigError: it is missing, not YAML, or says one key twice; with file and line.

    """
    text = ""
    try:
        text = files.read(path, at_most=LARGEST).decode("utf-8-sig")
        root = yaml.compose(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}",
            next_step="run in the directory of deploy.yml, or write one; docs/configuration.md "
            "shows every key",
        ) from error
    except yaml.YAMLError as error:
        raise _not_yaml(path, text, error) from error
    lines: dict[Path_, int] = {}
    builder = _Builder(path, lines)
    return YamlFile(path, builder.build(root, ()) if root is not None else {}, lines)


def _not_yaml(path: Path, text: str, error: yaml.YAMLError) -> ConfigError:
    """Return what is wrong, with its line: also of a character that YAML does not allow."""
    line, problem = 1, str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        problem = error.problem or problem
        line = error.problem_mark.line + 1 if error.problem_mark else 1
    elif isinstance(error, yaml.reader.ReaderError):
        problem = f"the character U+{error.character:04X}"
        line = text[: error.position].count("\n") + 1
    return ConfigError(
        f"not valid YAML: {problem}",
        place=Place(str(path), line),
        next_step="mend the line; indentation is two spaces",
    )


class _Builder:
    """Turns composed nodes into plain data and notes where each came from."""

    def __init__(self, path: Path, lines: dict[Path_, int]) -> None:
        self.path, self.lines = path, lines
        self.scalars = _Loader("")
        self.values, self.depth = 0, 0

    def build(self, node: yaml.Node, at: Path_) -> Data:
        self.lines[at] = node.start_mark.line + 1
        self.values, self.depth = self.values + 1, self.depth + 1
        if self.values > VALUES:
            raise self.wrong(node, f"more than {VALUES} values", "write fewer, or fewer aliases")
        if self.depth > DEEPEST:  # an alias within what it stands for
            raise self.wrong(node, TOO_DEEP, "take the alias to what it is in out")
        if node.tag not in KNOWN_TAGS:
            raise self.wrong(
                node,
                f"the tag {node.tag} is not read here",
                "write plain text, numbers and mappings",
            )
        data = self.data(node, at)
        self.depth -= 1
        return data

    def data(self, node: yaml.Node, at: Path_) -> Data:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*at, i)) for i, item in enumerate(node.value)]
        try:
            value: Data = self.scalars.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError) as error:
            # A number of 5000 digits, or a text whose tag says that it is a number.
            raise self.wrong(node, f"no {node.tag[18:]}: {error}", "write another value") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise self.wrong(node, "a number without end", "write another value")
        return value

    def wrong(self, node: yaml.Node, problem: str, next_step: str) -> ConfigError:
        """Return an error at a node."""
        place = Place(str(self.path), node.start_mark.line + 1)
        return ConfigError(problem, place=place, next_step=next_step)

    def mapping(self, node: yaml.MappingNode, at: Path_) -> Data:
        merged: dict[str, Data] = {}
        own: dict[str, Data] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged |= self.merge(value, at)
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(key, "a key that is no text", "write a name before the colon")
            if key.value in own:
                raise ConfigError(
                    f'key "{key.value}" is written twice',
                    place=Place(str(self.path), key.start_mark.line + 1),
                    next_step="keep one of the two; YAML would silently take the last",
                )
            own[key.value] = self.build(value, (*at, key.value))
            self.lines[(*at, key.value)] = key.start_mark.line + 1
        return merged | own

    def merge(self, node: yaml.Node, at: Path_) -> dict[str, Data]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Data] = {}
        for source in sources:
            mapping = self.build(source, at)
            if not isinstance(mapping, dict):
                raise ConfigError(
                    "<< needs a mapping to merge",
                    place=Place(str(self.path), node.start_mark.line + 1),
                    next_step="point it at an anchored mapping: <<: *name",
                )
            result = mapping | result
        return result
