"""Settings from text: variables and TOML files."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tquic._kinds import check_kind
from tquic._units import duration, host_and_port, size
from tquic.errors import ConfigError
from tquic.session import SessionStore

if TYPE_CHECKING:
    from tquic.config import Config

    _C = TypeVar("_C", bound=Config)

__all__ = ["Setting", "build", "environment", "of_environ", "of_keywords", "of_sysctl", "of_toml"]

PREFIX: Final = "TQUIC_"
# Variables that say something else.
OTHERS: Final = frozenset(
    {
        "TQUIC_CERT_FILE",
        "TQUIC_CONFIG",
        "TQUIC_CRYPTO",
        "TQUIC_DEBUG",
        "TQUIC_KEY_FILE",
        "TQUIC_LIVE",
        "TQUIC_RUNTIME_DIR",
        "TQUIC_SHARDS",
        "TQUIC_SOCKET_DEBUG",
        "TQUIC_SPIN",
        "TQUIC_SYSCTL",
        "TQUIC_XDP",
    }
)
# Those of tests and tools.
OTHER_PREFIXES: Final = ("TQUIC_TEST_", "TQUIC_INTEROP_", "TQUIC_SIM_", "TQUIC_BENCH_")

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class Setting(NamedTuple):
    """A value, and where it stands: for messages."""

    value: Any
    place: str


Settings = dict[str, Setting]


def environment(given: object) -> Mapping[str, str]:
    """The variables that were given, or those of the process."""
    if given is None:
        return os.environ
    if not isinstance(given, Mapping) or not all(
        isinstance(text, str) for pair in given.items() for text in pair
    ):
        raise TypeError(f"environ must be a mapping of texts, not {given!r}")
    return given


def of_environ(cls: type[Config], environ: Mapping[str, str]) -> Settings:
    """The settings in variables."""
    kinds = _kinds(cls)
    settings = {}
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(PREFIX) or not text:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in kinds and variable.isupper():
            settings[name] = Setting(_parse(kinds[name], text, variable, Path()), variable)
        elif variable not in OTHERS and not variable.startswith(OTHER_PREFIXES):
            known = [kind.upper() for kind in kinds]
            hint = _similar(variable.removeprefix(PREFIX).upper(), known, PREFIX)
            raise ConfigError(f"{variable}: there is no such setting{hint}")
    return settings


def of_sysctl(environ: Mapping[str, str]) -> Settings:
    """What the files of `tquic.sysctl` say."""
    # Not above: it needs the names of `Config`, which is made of what is here.
    from tquic import sysctl

    return {name: Setting(*found) for name, found in sysctl.settings_of(environ).items()}


def of_keywords(cls: type[Config], changes: Mapping[str, Any]) -> Settings:
    """The settings in a program; numbers may be texts."""
    kinds = _kinds(cls)
    settings = {}
    for name, value in changes.items():
        if name not in kinds:
            raise ConfigError(f"{name}: there is no such setting{_similar(name, kinds)}")
        if isinstance(value, str) and kinds[name] in ("int", "float"):
            value = _parse(kinds[name], value, name, Path())
        settings[name] = Setting(value, "")
    return settings


def of_toml(cls: type[Config], source: str | os.PathLike[str], section: str | None) -> Settings:
    """The settings in a table of a TOML file."""
    if section is not None:
        check_kind("section", section, str)
    label, text, folder = _read(source)
    try:
        table: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{label}: {error}") from None
    for part in section.split(".") if section else ():
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{label}: {section} is no table")
    kinds = _kinds(cls)
    settings = {}
    for name, value in table.items():
        place = f"{label}, line {_line(text, section, name)}"
        if name not in kinds:
            raise ConfigError(f"{place}: {name}: there is no such setting{_similar(name, kinds)}")
        settings[name] = Setting(_convert(kinds[name], value, f"{place}: {name}", folder), place)
    return settings


def build(cls: type[_C], base: _C | None, settings: Settings) -> _C:
    """The configuration; what is wrong with it names the place where that stands."""
    changes = {name: setting.value for name, setting in settings.items()}
    try:
        return cls(**changes) if base is None else replace(base, **changes)
    except ConfigError as error:
        subject = re.match(r"\w+", str(error))
        guilty = settings.get(subject[0]) if subject else None
        places = {setting.place for setting in settings.values() if setting.place}
        place = guilty.place if guilty else places.pop() if len(places) == 1 else ""
        raise ConfigError(f"{place}: {error}" if place else str(error)) from None


def _kinds(cls: type[Config]) -> dict[str, str]:
    """What each setting is: its annotation, as it stands in the source."""
    return {field.name: str(field.type).removesuffix(" | None") for field in fields(cls)}


def _similar(name: str, known: Iterable[str], prefix: str = "") -> str:
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def _read(source: str | os.PathLike[str]) -> tuple[str, str, Path]:
    if isinstance(source, str) and ("\n" in source or "=" in source):
        return "TOML text", source, Path()
    path = Path(source)
    try:
        return str(path), path.read_text(encoding="utf-8"), path.parent
    except (OSError, ValueError) as error:
        # ValueError: no UTF-8, or a path with a null byte.
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(f"cannot read {path}: {reason}") from None


def _line(text: str, section: str | None, name: str) -> int:
    """Where the name stands in its table; the table's own line if it is written another way."""
    inside, start = section is None, 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]*?)\s*\]+", line):
            heading = header[1].replace('"', "").replace(" ", "")
            inside = heading == (section or "")
            own = f"{section}.{name}" if section else name
            if inside:
                start = number
            elif heading == own:
                return number
        elif inside and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[=.]", line):
            return number
    return start


# ---- Values ----


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return word in _TRUE


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _addresses(text: str) -> tuple[tuple[str, int], ...]:
    return tuple(host_and_port(word) for word in _words(text))


def _secret(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("write the bytes as hexadecimal digits") from None


def _store(text: str) -> SessionStore:
    return SessionStore(path=text)


def _only_in_code(_: str) -> Any:
    raise ValueError("this can only be set in a program")


def _only_in_files(_: str) -> Any:
    raise ValueError("this can only be set in a program or a file")


# For each annotation of `Config`: how the value is read from a text.
PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "bool": _boolean,
    "int": size,
    "float": duration,
    "bytes": _secret,
    "str": str,
    "str | bytes": str,
    "Credential": str,
    "str | os.PathLike[str]": str,
    "SessionStore": _store,
    "SniCallback": _only_in_code,
    "ClientAuth": str,
    "Congestion": str,
    "QlogFormat": str,
    "QlogMode": str,
    "RetryPolicy": str,
    "SchedulerChoice": str,
    "Severity": str,
    "Version": str,
    "tuple[str, ...]": _words,
    "tuple[CipherSuite, ...]": _words,
    "tuple[Group, ...]": _words,
    "tuple[Version, ...]": _words,
    "tuple[tuple[str, int], ...]": _addresses,
    "tuple[tuple[str, Credential, Credential], ...]": _only_in_files,
}

# These are paths, as seen from the folder of the file.
_PATHS: Final = frozenset({"Credential", "str | os.PathLike[str]", "SessionStore"})


def _parse(kind: str, text: str, place: str, folder: Path) -> Any:
    if kind in _PATHS or (kind == "SchedulerChoice" and text.endswith(".o")):
        text = str(folder / Path(text).expanduser())
    try:
        return PARSERS[kind](text)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{place}: {error}") from None


def _convert(kind: str, value: Any, place: str, folder: Path) -> Any:
    """A value of TOML."""
    if isinstance(value, str):
        return _parse(kind, value, place, folder)
    if kind.startswith("tuple[tuple[str, Credential"):
        return tuple(_certificate(entry, place, folder) for entry in _list(value, place))
    if kind.startswith("tuple["):
        words = _list(value, place)
        if not all(isinstance(word, str) for word in words):
            raise ConfigError(f"{place}: must be a list of texts")
        return PARSERS[kind](",".join(words)) if words else ()
    if kind == "bool" and not isinstance(value, bool):
        raise ConfigError(f"{place}: must be true or false, not {value!r}")
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in ("bool", "int", "float"):
        # `Config` looks at the kind of numbers itself.
        return value
    raise ConfigError(f"{place}: must be a text, not {value!r}")


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{place}: must be a list")
    return value


def _certificate(entry: Any, place: str, folder: Path) -> tuple[str, str, str]:
    if not isinstance(entry, dict) or set(entry) != {"name", "cert", "key"}:
        raise ConfigError(f"{place}: each must have a name, a cert and a key")
    if not all(isinstance(value, str) for value in entry.values()):
        raise ConfigError(f"{place}: name, cert and key must be texts")
    return entry["name"], str(folder / entry["cert"]), str(folder / entry["key"])
