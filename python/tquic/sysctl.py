"""System-wide settings under the names of the TQUIC kernel module: ``net.tquic.*``.

They are kept in files of lines ``name = value``; later files come before earlier ones:

1. ``/etc/tquic/sysctl.conf``, for all users;
2. ``tquic/sysctl.conf`` in ``$XDG_CONFIG_HOME`` (default ``~/.config``), for one, or the file that
   the variable ``TQUIC_SYSCTL`` names instead.

`Config.load`, so every command, and new sockets of `tquic.socket` and of C programs read them each
time; variables ``TQUIC_...`` and what a program says come before them. Programs that make a
`Config` by calling it are left alone.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, get_args

from tquic import _engine
from tquic.errors import ConfigError

__all__ = ["PARAMETERS", "PREFIX", "Parameter", "files", "get", "parameter", "read", "write"]

PREFIX: Final = "net.tquic."
"""What all names begin with; it may be left out."""

Value: TypeAlias = "int | str"

# Paths where the switch for multipath is on.
_PATHS: Final = 8
_EVERYTHING: Final = 0xFFFF_FFFF_FFFF_FFFF


class _Known(NamedTuple):
    """A value, and where it stands."""

    value: Value
    place: str


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One of `PARAMETERS`."""

    name: str
    """Its name, without `PREFIX`."""
    default: Value
    """Its value as long as nobody sets it."""
    summary: str
    """What it does, in a few words."""
    setting: str | None
    """The setting of `Config` that it gives; `None`: it is for the engine, or for another one."""
    _parse: Callable[[str], Value]
    _convert: Callable[[Value], Any]

    def parse(self, text: str) -> Value:
        """The value that a text means.

        Raises:
            ConfigError: it means none.
        """
        try:
            return self._parse(text.strip())
        except ValueError as error:
            raise ConfigError(f"{PREFIX}{self.name}: {error}") from None


def _whole(low: int, high: int) -> Callable[[str], Value]:
    def parse(text: str) -> Value:
        try:
            value = int(text, 0)
        except ValueError:
            raise ValueError(f"must be a whole number, not {text!r}") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}, not {value}")
        return value

    return parse


def _one_of(kind: Any) -> Callable[[str], Value]:
    known = get_args(kind)

    def parse(text: str) -> Value:
        text = text.strip("\"'")
        if text not in known:
            raise ValueError(f"must be one of {', '.join(known)}, not {text!r}")
        return text

    return parse


def _seconds(value: Value) -> float:
    return int(value) / 1000


def _events(value: Value) -> tuple[str, ...]:
    mask = int(value)
    return tuple(name.lower() for name, bit in _engine.qlog_kinds() if bit & mask)


def _retry(value: Value) -> str:
    return "always" if value else "when-busy"


def _versions(value: Value) -> tuple[str, ...]:
    return ("v1", "v2") if value == "v1" else ("v2", "v1")


def _paths(value: Value) -> int:
    return _PATHS if value else 1


def _same(value: Value) -> Value:
    return value


_FLAG: Final = _whole(0, 1)


def _make() -> dict[str, Parameter]:
    from tquic.config import Congestion, QlogMode, Scheduler, Version

    made: dict[str, Parameter] = {}

    def add(
        name: str,
        default: Value,
        setting: str | None,
        parse: Callable[[str], Value],
        summary: str,
        convert: Callable[[Value], Any] = _same,
    ) -> None:
        made[name] = Parameter(
            name=name,
            default=default,
            summary=summary,
            setting=setting,
            _parse=parse,
            _convert=convert,
        )

    # Those of the guide.
    add("max_connections", 100_000, "max_connections", _whole(1, 1 << 24), "of a listener")
    add("default_congestion", "cubic", "congestion", _one_of(Congestion), "congestion controller")
    add("multipath_default", 0, "max_paths", _FLAG, "offer multipath, with 8 paths", _paths)
    add("ecn_enable", 1, "ecn", _FLAG, "explicit congestion notification", bool)
    add("gso_enable", 1, None, _FLAG, "send trains of packets in one piece")
    add("gro_enable", 1, None, _FLAG, "receive them so")
    add("qlog_enable", 0, None, _FLAG, "qlog of every connection, see qlog_mode")
    add("qlog_mode", "file", None, _one_of(QlogMode), "where it goes, see qlog_folder")
    mask = _whole(0, _EVERYTHING)
    add("qlog_mask", 0x31FC1FFFC3F, "qlog_events", mask, "bits of the events to write", _events)
    # Those of the module that the engine has, too.
    add("zerocopy_enable", 0, None, _FLAG, "lend the kernel trains of packets (MSG_ZEROCOPY)")
    add("max_paths", 1, "max_paths", _whole(1, 16), "paths; more than 1 offers multipath")
    add("scheduler", "minrtt", "scheduler", _one_of(Scheduler), "what puts paths in order")
    time = _whole(0, 86_400_000)
    add("idle_timeout_ms", 30_000, "idle_timeout", time, "silence that ends connections", _seconds)
    rtt = _whole(1, 60_000)
    add("initial_rtt_ms", 333, "initial_rtt", rtt, "assumed before the first sample", _seconds)
    delay = _whole(0, 16_383)
    add("max_ack_delay_ms", 25, "max_ack_delay", delay, "that ACKs are held back", _seconds)
    add("pacing_enabled", 1, "pacing", _FLAG, "spread packets over the round trip", bool)
    add("grease_enabled", 1, "grease", _FLAG, "send reserved values now and then", bool)
    add("pmtud_enabled", 1, "mtu_discovery", _FLAG, "search for the largest packet", bool)
    add("ack_frequency_enabled", 1, "ack_frequency", _FLAG, "ask for fewer ACKs", bool)
    add("retry_required", 0, "retry", _FLAG, "clients always prove their address", _retry)
    add("zero_rtt_enabled", 0, "early_data", _FLAG, "early data, which can be replayed", bool)
    add("preferred_version", "v1", "versions", _one_of(Version), "QUIC version", _versions)
    return made


PARAMETERS: Final[Mapping[str, Parameter]] = _make()
"""Every parameter by its name without `PREFIX`."""


def files(environ: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """The files: that of the system, and that of the user."""
    environ = os.environ if environ is None else environ
    if named := environ.get("TQUIC_SYSCTL"):
        own = Path(named)
    else:
        home = environ.get("XDG_CONFIG_HOME")
        folder = Path(home) if home else Path(environ.get("HOME") or "/nonexistent") / ".config"
        own = folder / "tquic" / "sysctl.conf"
    return Path("/etc/tquic/sysctl.conf"), own


def read(environ: Mapping[str, str] | None = None) -> dict[str, Value]:
    """All parameters, as they are now.

    Raises:
        ConfigError: a file has an unknown name, or a value that cannot be used; it names the line.
    """
    known = _known(environ)
    return {
        name: known[name].value if name in known else one.default
        for name, one in PARAMETERS.items()
    }


def get(name: str, environ: Mapping[str, str] | None = None) -> Value:
    """One parameter.

    Raises:
        ConfigError: there is none of this name; and see `read`.
    """
    return read(environ)[parameter(name).name]


def write(values: Mapping[str, str], path: str | os.PathLike[str] | None = None) -> None:
    """Sets parameters in a file; all of them, or none.

    Args:
        values: texts by names.
        path: the file. Default that of the user, see `files`.

    Raises:
        ConfigError: there is no such parameter, or the value cannot be used.
        OSError: the file cannot be written.
    """
    changes: dict[str, Value] = {}
    for name, text in values.items():
        wanted = parameter(name)
        changes[wanted.name] = wanted.parse(text)
    target = files()[1] if path is None else Path(path)
    lines = target.read_text().splitlines() if target.exists() else []
    kept = [line for line in lines if _name_in(line) not in changes]
    kept += [f"{PREFIX}{name} = {value}" for name, value in changes.items()]
    target.parent.mkdir(parents=True, exist_ok=True)
    # In one step: others read while we write.
    with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False) as file:
        file.write("".join(f"{line}\n" for line in kept))
    made = Path(file.name)
    made.chmod(0o644)
    made.replace(target)


def settings_of(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """What is set, as settings of `Config`, each with its place."""
    settings = {}
    known = _known(environ)
    for name, (value, place) in known.items():
        one = PARAMETERS[name]
        if one.setting is not None:
            settings[one.setting] = (one._convert(value), place)
    enable = known.get("qlog_enable")
    if enable is not None and enable.value:
        mode = known.get("qlog_mode")
        if mode is not None:
            settings["qlog_mode"] = (mode.value, mode.place)
        if mode is None or mode.value in ("file", "ring"):
            settings["qlog"] = (str(qlog_folder(environ)), enable.place)
    return settings


def qlog_folder(environ: Mapping[str, str]) -> Path:
    """Where qlog files go if they are on and nobody says where."""
    if named := environ.get("QLOGDIR"):
        return Path(named)
    home = environ.get("XDG_STATE_HOME")
    folder = Path(home) if home else Path(environ.get("HOME") or "/tmp") / ".local" / "state"
    return folder / "tquic" / "qlog"


def _known(environ: Mapping[str, str] | None) -> dict[str, _Known]:
    """What the files say."""
    known: dict[str, _Known] = {}
    for path in files(environ):
        try:
            text = path.read_text()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise ConfigError(f"cannot read {path}: {reason}") from None
        for number, line in enumerate(text.splitlines(), 1):
            if _name_in(line) is None:
                if line.split("#", 1)[0].strip():
                    raise ConfigError(f"{path}, line {number}: write name = value")
                continue
            name, _, value = line.split("#", 1)[0].partition("=")
            place = f"{path}, line {number}"
            try:
                wanted = parameter(name.strip())
                known[wanted.name] = _Known(wanted.parse(value), place)
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from None
    return known


def _name_in(line: str) -> str | None:
    match = re.match(r"\s*([\w./]+)\s*=", line)
    return match[1].removeprefix(PREFIX) if match else None


def parameter(name: str) -> Parameter:
    """The parameter of a name, with `PREFIX` or without.

    Raises:
        ConfigError: there is none.
    """
    short = name.removeprefix(PREFIX)
    if short in PARAMETERS:
        return PARAMETERS[short]
    near = difflib.get_close_matches(short, PARAMETERS, 1)
    hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
    raise ConfigError(f"there is no parameter {name}{hint}")
