"""Reads qlog files: JSON text sequences (RFC 7464), and plain JSON files with traces."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tquic.errors import QuicError

__all__ = ["Log", "QlogError", "read", "records"]

Record: TypeAlias = dict[str, Any]

# RFC 7464 section 2.2.
_SEPARATOR = b"\x1e"


class QlogError(QuicError, ValueError):
    """A file is no qlog file."""


@dataclass(frozen=True)
class Log:
    """One connection as one end saw it."""

    path: Path
    """The file."""
    header: Record
    """Its first record; in plain JSON files, everything around the events."""
    events: list[Record]
    """The events, in order."""
    problems: list[str]
    """What could not be read: the end of the file of a program that was killed."""

    @property
    def is_old(self) -> bool:
        """Whether the file follows qlog 0.3 or one like it, with ``qlog_version`` in its header."""
        return "qlog_version" in self.header

    @property
    def vantage_point(self) -> str:
        """``"client"``, ``"server"`` or what else wrote the file."""
        point = _trace(self.header).get("vantage_point")
        return str(point.get("type", "unknown")) if isinstance(point, dict) else "unknown"


def read(path: str | os.PathLike[str]) -> Log:
    """Reads a file.

    Raises:
        QlogError: it is no qlog file at all.
        OSError: it cannot be read.
    """
    path = Path(path)
    return parse(path, path.read_bytes())


def parse(path: Path, content: bytes) -> Log:
    """Reads what a file of this name would contain."""
    problems: list[str] = []
    if content.startswith(_SEPARATOR):
        found = records(content, problems)
        if not found:
            raise QlogError(f"{path}: no record can be read")
        header, *events = found
    else:
        header, events = _contained(path, content)
    if "qlog_version" not in header and "file_schema" not in header:
        raise QlogError(f"{path}: the first record has neither file_schema nor qlog_version")
    return Log(path, header, events, problems)


def records(content: bytes, problems: list[str] | None = None) -> list[Record]:
    """The records of a JSON text sequence; what cannot be read is added to ``problems``."""
    found = []
    problems = [] if problems is None else problems
    for number, text in enumerate(content.split(_SEPARATOR)[1:], 1):
        try:
            record = json.loads(text)
        except ValueError as error:
            problems.append(f"record {number} is no JSON: {error}")
            continue
        if isinstance(record, dict):
            found.append(record)
        else:
            problems.append(f"record {number} is no object")
    return found


def _contained(path: Path, content: bytes) -> tuple[Record, list[Record]]:
    try:
        header = json.loads(content)
    except ValueError as error:
        raise QlogError(f"{path}: neither JSON text sequences nor JSON: {error}") from None
    traces = header.get("traces") if isinstance(header, dict) else None
    if not isinstance(traces, list) or not traces or not isinstance(traces[0], dict):
        raise QlogError(f"{path}: there is no trace in it")
    events = traces[0].get("events")
    return header, [event for event in events or [] if isinstance(event, dict)]


def _trace(header: Record) -> Record:
    trace = header.get("trace") or (header.get("traces") or [{}])[0]
    return trace if isinstance(trace, dict) else {}


def times(log: Log) -> Iterator[tuple[float, Record]]:
    """The events with their times in seconds from the first on."""
    common = _trace(log.header).get("common_fields")
    form = common.get("time_format") if isinstance(common, dict) else None
    now, first = 0.0, None
    for event in log.events:
        at = float(event.get("time", 0)) / 1000
        now = now + at if form in ("delta", "relative_to_previous_event") else at
        first = now if first is None else first
        yield now - first, event
