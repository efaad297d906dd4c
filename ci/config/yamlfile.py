"""Strict YAML with the line of every value: no duplicate keys, no `no` that means False."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import ConfigError, Place

Data = str | int | float | bool | None | list["Data"] | dict[str, "Data"]
Path_ = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's idea of what is not a string.

    PyYAML's own (1.1) reads `no` as False, `022` as 18 and `1:30` as 90, silently.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own form


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
    try:
        text = path.read_text(encoding="utf-8-sig")
        root = yaml.compose(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}",
            next_step="run in the directory of deploy.yml, or write one; docs/configuration.md "
            "shows every key",
        ) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            f"not valid YAML: {error.problem}",
            place=Place(str(path), line),
            next_step="mend the line; indentation is two spaces",
        ) from error
    lines: dict[Path_, int] = {}
    builder = _Builder(path, lines)
    return YamlFile(path, builder.build(root, ()) if root is not None else {}, lines)


class _Builder:
    """Turns composed nodes into plain data and notes where each came from."""

    def __init__(self, path: Path, lines: dict[Path_, int]) -> None:
        self.path, self.lines = path, lines
        self.scalars = _Loader("")

    def build(self, node: yaml.Node, at: Path_) -> Data:
        self.lines[at] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*at, i)) for i, item in enumerate(node.value)]
        value: Data = self.scalars.construct_object(node)
        return value

    def mapping(self, node: yaml.MappingNode, at: Path_) -> Data:
        merged: dict[str, Data] = {}
        own: dict[str, Data] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged |= self.merge(value, at)
                continue
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
