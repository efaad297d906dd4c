"""`deploy.yml` as data: strict, typed, with the file, line and path of every mistake.

Defaults live in the types below and nowhere else. A variable in `${…}` is read when the
environment that uses it is used. What a tier insists on is `policy`'s business.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..errors import ConfigError, Place
from ..model import Tier
from ..secret import OptionalSecret, Secret
from .convert import VARIABLE, convert, expand, nearest, needed
from .duration import DURATION, Duration
from .sections import (
    ApprovalConfig,
    DeployFile,
    Environment,
    MigrationsConfig,
    SandboxSetting,
    Shared,
)
from .yamlfile import Data, YamlFile, read_yaml

ENVIRONMENT_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One environment and what it shares with the others: all a deployment asks of `deploy.yml`.

    `written` is the environment as the file has it, variables unexpanded: what a plan may show.
    """

    name: str
    root: Path  # the directory of deploy.yml; relative paths start here
    shared: Shared
    environment: Environment
    written: dict[str, Any]
    file: YamlFile
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # that were read for it

    @property
    def tier(self) -> Tier:
        """The environment's tier."""
        return self.environment.tier

    def where(self, *path: str | int) -> Place:
        """Return file and line of a key of this environment."""
        return self.file.where(("environments", self.name, *path))


@dataclass(frozen=True)
class Config:
    """A `deploy.yml` that parsed; each environment is checked when it is asked for."""

    file: YamlFile

    @property
    def root(self) -> Path:
        """The directory of the file; relative paths in it start here."""
        return self.file.path.resolve().parent

    @property
    def names(self) -> tuple[str, ...]:
        """The environments' names, as written."""
        environments = _section(self.file, "environments")
        return tuple(environments)

    def _top(self) -> dict[str, Data]:
        top = self.file.data if isinstance(self.file.data, dict) else {}
        return {key: value for key, value in top.items() if key != "environments"}

    def shared(self, variables: Mapping[str, str] = os.environ) -> Shared:
        """Return what all environments have in common, with variables expanded."""
        return convert(self.file, (), self._top(), Shared, variables, decode=_decode)

    def migrations(self, variables: Mapping[str, str] = os.environ) -> MigrationsConfig:
        """Return the section migrations; no variable of another section is read."""
        top = {key: value for key, value in self._top().items() if key in ("project", "migrations")}
        return convert(self.file, (), top, Shared, variables, decode=_decode).migrations

    def throwaway(self, variables: Mapping[str, str] = os.environ) -> Secret | None:
        """Return `backups.throwaway` alone; None: it is not named, or its variable is not set."""
        backups = self._top().get("backups")
        written = backups.get("throwaway") if isinstance(backups, dict) else None
        try:
            url = expand(self.file, ("backups", "throwaway"), written, variables)
        except ConfigError:
            return None
        return Secret(url) if isinstance(url, str) and url else None

    def sandbox(self) -> SandboxSetting:
        """Return `backups.sandbox` alone; auto where it is not written, or is no such word."""
        backups = self._top().get("backups")
        written = backups.get("sandbox") if isinstance(backups, dict) else None
        words: tuple[SandboxSetting, ...] = get_args(SandboxSetting)
        return next((word for word in words if word == written), "auto")

    def require(self, name: str) -> None:
        """Raise ConfigError where there is no environment of that name."""
        environments = _section(self.file, "environments")
        if name not in environments:
            raise ConfigError(
                f'"{name}" is not an environment of {self.file.path}{nearest(name, environments)}',
                next_step=f"use one of: {', '.join(environments)}",
            )

    def written(self, name: str) -> dict[str, Data]:
        """Return an environment as the file has it, variables unexpanded."""
        section = _section(self.file, "environments").get(name)
        return section if isinstance(section, dict) else {}

    def variables(self, name: str = "") -> tuple[str, ...]:
        """Return the variables without a default that an environment needs; empty: all share."""
        return tuple(dict.fromkeys(needed(self.written(name) if name else self._top())))

    def approval(
        self, name: str, variables: Mapping[str, str] = os.environ
    ) -> ApprovalConfig | None:
        """Return the approval of an environment alone: an approver has none of its secrets.

        Raises:
            ConfigError: there is no such environment, or a key or type of its approval is wrong.

        """
        self.require(name)
        own = self.written(name)
        bare: dict[str, Data] = {key: own[key] for key in ("tier", "approval") if key in own}
        at = ("environments", name)
        environment = convert(
            self.file, at, bare | {"database": "-"}, Environment, variables, decode=_decode
        )
        return environment.approval

    def environment(self, name: str, variables: Mapping[str, str] = os.environ) -> Settings:
        """Return one environment with its variables expanded.

        Raises:
            ConfigError: there is none of that name, or a key, type or variable is wrong.

        """
        environments = _section(self.file, "environments")
        self.require(name)
        if not ENVIRONMENT_NAME.fullmatch(name):
            raise ConfigError(
                f"environments.{name}: an environment name has lower-case letters, digits and "
                "dashes, and starts with a letter",
                place=self.file.where(("environments", name)),
                next_step="rename it; it becomes part of backup keys and GitHub's environment",
            )
        written = {"shared": self._top(), "environment": environments[name]}
        at = ("environments", name)
        environment = convert(
            self.file, at, environments[name], Environment, variables, decode=_decode
        )
        return Settings(
            name=name,
            root=self.root,
            shared=self.shared(variables),
            environment=environment,
            written=written,
            file=self.file,
            variables=variables,
        )


def load(path: Path) -> Config:
    """Read `deploy.yml`; ConfigError with file and line where it is no strict YAML mapping."""
    return Config(read_yaml(path))


def _section(file: YamlFile, key: str) -> dict[str, Data]:
    top = file.data
    section = top.get(key) if isinstance(top, dict) else None
    if not isinstance(section, dict) or not section:
        raise ConfigError(
            f"{key}: missing or empty; expected a mapping of environments",
            place=file.where((key,)),
            next_step="write at least one environment; docs/configuration.md shows every key",
        )
    return section


def _decode(kind: type, value: object) -> object:
    if kind is Duration:
        return Duration.parse(value)
    if kind is Secret and isinstance(value, str) and value:
        return Secret(value)
    if kind is OptionalSecret and isinstance(value, str):
        return OptionalSecret(value)
    raise ValueError(f"expected text, got {type(value).__name__}")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `deploy.yml`, for editors."""

    def hook(kind: type) -> dict[str, Any]:
        if kind is Duration:
            return {"type": "string", "pattern": f"^({DURATION.pattern}|{VARIABLE.pattern})$"}
        return {"type": "string"}

    document = msgspec.json.schema(DeployFile, schema_hook=hook)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "deploy.yml",
    } | document
