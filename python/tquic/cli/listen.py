"""``tquic qlog listen``."""

from __future__ import annotations

import argparse
import errno
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tquic.cli.failure import CommandError
from tquic.cli.values import count
from tquic.qlog import Heard, Listener

# What stands in front of each record of a file (RFC 7464).
_SEPARATOR = "\x1e"


def listen(options: argparse.Namespace) -> int:
    """Prints or keeps what comes, until Ctrl-C or the number asked for."""
    book = _Book(options)
    with _listener(options) as listener:
        where = "the netlink group" if options.netlink else "the socket"
        print(f"listening at {where}; Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            for heard in listener:
                book.take(heard)
                if listener.lost > book.lost:
                    book.lose(listener.lost)
                if options.most is not None and book.events >= options.most:
                    break
        except KeyboardInterrupt:
            pass
    print(book.summary(), file=sys.stderr)
    return 0


def _listener(options: argparse.Namespace) -> Listener:
    try:
        return Listener.netlink() if options.netlink else Listener.unix(options.unix)
    except PermissionError as error:
        if options.netlink:
            raise CommandError("the netlink group is for root (CAP_NET_ADMIN) only") from None
        raise CommandError(f"cannot listen at {error.filename or options.unix}: {error}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                "another listener is there; --unix PATH names another place"
            ) from None
        raise CommandError(f"cannot listen: {error.strerror or error}") from None


class _Book:
    """What was heard so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._dropped: dict[tuple[int, str, str], int] = {}
        self.events = 0
        self.lost = 0

    def take(self, heard: Heard) -> None:
        key = (heard.process, heard.id, heard.role)
        events = heard.events
        if self._options.most is not None:
            events = events[: self._options.most - self.events]
        self.events += len(events)
        if self._options.folder is not None:
            self._keep(heard, events, begins=key not in self._dropped)
        elif self._options.json:
            name = {"pid": heard.process, "group_id": heard.id, "role": heard.role}
            _print(json.dumps({**name, **event}, separators=(",", ":")) for event in events)
        else:
            _print(_line(heard, event) for event in events)
        before = self._dropped.get(key, 0)
        self._dropped[key] = heard.dropped
        if heard.dropped > before:
            gone = count(heard.dropped - before, "event")
            print(f"{heard.id} {heard.role}: {gone} dropped", file=sys.stderr)

    def lose(self, lost: int) -> None:
        print(f"{count(lost - self.lost, 'event')} came too fast and got lost", file=sys.stderr)
        self.lost = lost

    def _keep(self, heard: Heard, events: list[dict[str, Any]], *, begins: bool) -> None:
        folder: Path = self._options.folder
        path = folder / f"{heard.id}_{heard.role}.sqlog"
        records = list(events)
        if heard.header is not None:
            # A process tells the header again when its listener was another one before.
            if begins and not path.exists():
                records.insert(0, heard.header)
        elif begins and not path.exists():
            records.insert(0, _made_header(heard))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                for record in records:
                    file.write(f"{_SEPARATOR}{json.dumps(record, separators=(',', ':'))}\n")
        except OSError as error:
            raise CommandError(f"cannot write {path}: {error.strerror}") from None

    def summary(self) -> str:
        dropped = sum(self._dropped.values())
        lost = f", {self.lost} lost" if self.lost else ""
        return (
            f"{count(self.events, 'event')} of {count(len(self._dropped), 'connection')} heard, "
            f"{dropped} dropped by their processes{lost}"
        )


def _print(lines: Any) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _line(heard: Heard, event: dict[str, Any]) -> str:
    name = str(event.get("name", "?"))
    data = json.dumps(event.get("data", {}), separators=(",", ":"))
    line = f"{heard.id[:8]} {heard.role} {float(event.get('time', 0)):12.3f}  {name:<30} {data}"
    return line[: shutil.get_terminal_size().columns] if sys.stdout.isatty() else line


def _made_header(heard: Heard) -> dict[str, Any]:
    """For the log of a connection that had begun before anybody listened."""
    return {
        "file_schema": "urn:ietf:params:qlog:file:sequential",
        "serialization_format": "application/qlog+json-seq",
        "title": f"tquic {heard.role} {heard.id}, from the middle on",
        "trace": {
            "vantage_point": {"name": "tquic", "type": heard.role},
            "common_fields": {"group_id": heard.id, "time_format": "relative_to_epoch"},
            "event_schemas": [
                "urn:ietf:params:qlog:events:quic-13",
                "urn:ietf:params:qlog:events:loglevel-14",
                "urn:x-tquic:qlog:events",
            ],
        },
    }
