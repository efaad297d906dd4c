"""Data of a YAML file as typed structs: variables expanded, every mistake with its line and path.

msgspec validates and says one sentence of a mistake; file, line and the nearest key come from here.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from ..errors import ConfigError
from .secretplaces import remember_userinfo, remember_value, require_long
from .yamlfile import Data, Path_, YamlFile

T = TypeVar("T")

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
ANY_KEY = "*"  # msgspec does not say which key of a mapping it means


def convert(
    file: YamlFile,
    at: Path_,
    data: Data,
    kind: type[T],
    variables: Mapping[str, str],
    *,
    decode: Callable[[type, object], object],
) -> T:
    """Return data of a file as a type, with its variables expanded.

    Args:
        file: where the data is from.
        at: its path there.
        data: as it was read.
        kind: a struct.
        variables: the values of ${NAME}.
        decode: returns the values of types that msgspec does not know.

    Raises:
        ConfigError: a key, type or variable is wrong; says file, line, path and what is known.

    """
    expanded = expand(file, at, data, variables)
    try:
        return msgspec.convert(expanded, kind, dec_hook=decode)
    except msgspec.ValidationError as error:
        raise _explain(file, at, expanded, kind, str(error)) from None


def expand(file: YamlFile, at: Path_, data: Data, variables: Mapping[str, str]) -> Data:
    """Return the data with every ${VARIABLE} replaced; a missing one is an error with its line."""
    if isinstance(data, dict):
        return {k: expand(file, (*at, k), v, variables) for k, v in data.items()}
    if isinstance(data, list):
        return [expand(file, (*at, i), v, variables) for i, v in enumerate(data)]
    if not isinstance(data, str):
        return data

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        text = variables.get(name)
        if text:
            remember_value(name, text, at, data[: match.start()])
            _require_long(file, name, text, at)
            return text
        if default is None:
            raise ConfigError(
                f"{_dotted(at)}: the variable {name} is not set",
                place=file.where(at),
                next_step=f"export {name}=…, or write ${{{name}:-default}}",
            )
        return str(default)

    expanded = VARIABLE.sub(value, data)
    remember_userinfo(expanded)
    return expanded


def _require_long(file: YamlFile, name: str, value: str, at: Path_) -> None:
    """Refuse a secret above development that is too short to be taken out of a text."""
    environments = file.data.get("environments") if isinstance(file.data, dict) else None
    own = environments.get(str(at[1])) if isinstance(environments, dict) and at[1:] else None
    if at[:1] == ("environments",) and isinstance(own, dict) and own.get("tier") != "development":
        require_long(name, value, at, file.where(at))


def needed(data: Data) -> list[str]:
    """Return the names of every ${NAME} without a default."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return [name for item in data for name in needed(item)]
    matches = VARIABLE.finditer(data) if isinstance(data, str) else ()
    return [match[1] for match in matches if match[2] is None]


def values_of(data: Data, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what each ${NAME} stands for, its default where it is not set."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return {name: value for item in data for name, value in values_of(item, variables).items()}
    values: dict[str, str] = {}
    for name, default in VARIABLE.findall(data) if isinstance(data, str) else ():
        values[name] = variables.get(name) or default
    return values


def _explain(file: YamlFile, at: Path_, data: Data, kind: type, problem: str) -> ConfigError:
    """Turn msgspec's one sentence, which is all it gives, into file, line, path and repair."""
    problem, _, tail = problem.partition(" - at `")
    path = tuple(
        int(number) if number else name
        for name, number in re.findall(
            r"\.([^.\[\]`]+)|\[(\d+)\]", tail.replace("[...]", f".{ANY_KEY}")
        )
    )
    known = _known_at(msgspec.inspect.type_info(kind), data, path)
    next_step = f"known here: {', '.join(known)}" if known else "mend the line"
    if unknown := re.search(r"unknown field `(.+)`", problem):
        path = (*path, unknown[1])
        problem = f"unknown key{nearest(unknown[1], known)}"
    elif missing := re.search(r"missing required field `(.+)`", problem):
        problem = f'the key "{missing[1]}" is missing'
    elif known:
        problem = f"{problem.replace('`', '')}{nearest(_value_in(problem), known)}"
        next_step = f"expected one of: {', '.join(known)}"
    else:
        problem = problem.replace("`", "")
    full = tuple(part for part in (*at, *path) if part != ANY_KEY)
    return ConfigError(
        f"{_dotted(full) or 'top level'}: {problem}", place=file.where(full), next_step=next_step
    )


def _value_in(problem: str) -> str:
    match = re.search(r"'([^']*)'", problem)
    return match[1] if match else ""


def _known_at(info: msgspec.inspect.Type, data: Data, path: Path_) -> tuple[str, ...]:
    """Return the keys, or the values, that may be at a path of the data."""
    if isinstance(info, msgspec.inspect.UnionType):
        return _known_in_union(info, data, path)
    if isinstance(info, msgspec.inspect.StructType):
        fields = {field.encode_name: field.type for field in info.fields}
        if not path:
            return tuple(fields)
        inner = data.get(str(path[0])) if isinstance(data, dict) else None
        known = fields.get(str(path[0]))
        return _known_at(known, inner, path[1:]) if known else ()
    if isinstance(info, msgspec.inspect.VarTupleType) and path:
        inner = data[int(path[0])] if isinstance(data, list) else None
        return _known_at(info.item_type, inner, path[1:])
    if isinstance(info, msgspec.inspect.DictType):
        return _known_at(info.value_type if path else info.key_type, None, path[1:])
    if isinstance(info, msgspec.inspect.LiteralType):
        return tuple(str(value) for value in info.values)
    if isinstance(info, msgspec.inspect.EnumType):
        return tuple(member.value for member in info.cls)
    return ()


def _known_in_union(info: msgspec.inspect.UnionType, data: Data, path: Path_) -> tuple[str, ...]:
    structs = [t for t in info.types if isinstance(t, msgspec.inspect.StructType)]
    tagged = [t for t in structs if t.tag_field]
    if tagged and path == (tagged[0].tag_field,):
        return tuple(str(t.tag) for t in tagged)
    if tagged:  # of a value that is no mapping nobody knows which one is meant
        tag = data.get(str(tagged[0].tag_field)) if isinstance(data, dict) else None
        structs = [t for t in tagged if t.tag == tag]
    for struct in structs:
        return _known_at(struct, data, path)
    others = (t for t in info.types if not isinstance(t, msgspec.inspect.StructType))
    return tuple(known for other in others for known in _known_at(other, data, path))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question after the known name that is most like this one; empty: none is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f'; did you mean "{close[0]}"?' if close else ""


def _dotted(path: Path_) -> str:
    return ".".join(str(part) for part in path)
