"""Checks qlog files against the drafts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tquic.qlog import _schema as schema
from tquic.qlog._read import Log

__all__ = ["Problem", "validate"]


@dataclass(frozen=True)
class Problem:
    """Something that the drafts do not allow."""

    record: int
    """Number of the record, the header being 1; 0 for the file as a whole."""
    name: str
    """Name of the event, if it has one."""
    what: str
    """What is wrong, and where in the record."""

    def __str__(self) -> str:
        where = f"record {self.record}" if self.record else "file"
        return f"{where}{f' ({self.name})' if self.name else ''}: {self.what}"


def validate(log: Log) -> list[Problem]:
    """Everything that is wrong with a file: unknown events and fields, missing ones, values of
    another type, times that go back. Of qlog 0.3 header, names and times are checked."""
    header = schema.OLD_HEADER if log.is_old else schema.HEADER
    problems = [Problem(0, "", what) for what in log.problems]
    problems += [Problem(1, "", what.lstrip(".")) for what in header(log.header)]
    last = -math.inf
    for number, event in enumerate(log.events, 2):
        name = event.get("name")
        shown = name if isinstance(name, str) else ""
        wrong = list(schema.EVENT(event))
        if not wrong:
            if event["time"] < last:
                wrong.append(f".time: {event['time']} is before {last}")
            last = event["time"]
            wrong += _data(log, shown, event["data"])
        problems += [Problem(number, shown, what.lstrip(".")) for what in wrong]
    return problems


def _data(log: Log, name: str, data: object) -> list[str]:
    if log.is_old:
        return [] if name in schema.OLD_NAMES else [".name: no event of qlog 0.3"]
    kind = schema.TYPES.get(name)
    if kind is None:
        return [".name: no event of the drafts"]
    return [f".data{wrong}" for wrong in kind(data)]
