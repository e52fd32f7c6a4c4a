"""The file of a `SessionStore`."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, NamedTuple

try:
    import fcntl
except ImportError:
    # Windows has none, and a module's name cannot be declared to be perhaps nothing.
    fcntl = None  # type: ignore[assignment]

__all__ = ["Claim", "Claimed", "StoreFile", "Ticket"]

_FORMAT: Final = 1
_TICKETS_PER_SERVER: Final = 8
_TOKENS_PER_SERVER: Final = 4
# A larger file is none of ours: 256 servers with 8 tickets of 4 KiB each.
_MAX_SIZE: Final = 32 << 20
# Another process holds the lock for some milliseconds.
_PATIENCE: Final = 1.0
_STEP: Final = 0.002

_logger = logging.getLogger("tquic.session")

_Address = tuple[str, int]


class Ticket(NamedTuple):
    """A session ticket."""

    server: str
    version: int
    # Seconds since 1970.
    expires: int
    content: bytes


class Claim(NamedTuple):
    """What one connection wants: tickets for a name, tokens for an address."""

    server_name: str | None
    server: _Address | None


class Claimed(NamedTuple):
    """What it gets."""

    tickets: list[Ticket]
    tokens: dict[_Address, list[bytes]]


class _Content:
    """What stands in the file, oldest first."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.tokens: dict[_Address, list[bytes]] = {}

    @classmethod
    def decode(cls, text: bytes) -> _Content:
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError("it is not of this format")
        content = cls()
        for row in document["tickets"]:
            server, version, expires = row["server"], row["version"], row["expires"]
            if not isinstance(server, str) or not isinstance(version, int):
                raise ValueError("a ticket is damaged")
            ticket = base64.b64decode(row["ticket"], validate=True)
            content.tickets.append(Ticket(server, version, int(expires), ticket))
        for row in document["tokens"]:
            token = base64.b64decode(row["token"], validate=True)
            content.tokens.setdefault((str(row["host"]), int(row["port"])), []).append(token)
        return content

    def encode(self) -> bytes:
        tickets = [
            {
                "server": ticket.server,
                "version": ticket.version,
                "expires": ticket.expires,
                "ticket": base64.b64encode(ticket.content).decode(),
            }
            for ticket in self.tickets
        ]
        tokens = [
            {"host": host, "port": port, "token": base64.b64encode(token).decode()}
            for (host, port), queue in self.tokens.items()
            for token in queue
        ]
        document: dict[str, Any] = {"format": _FORMAT, "tickets": tickets, "tokens": tokens}
        return json.dumps(document, indent=1).encode()

    def add(self, tickets: list[Ticket], tokens: dict[_Address, list[bytes]]) -> None:
        self.tickets += tickets
        for address, queue in tokens.items():
            # The server that was used last comes last.
            self.tokens[address] = self.tokens.pop(address, []) + queue

    def shrink(self, servers: int, now: float) -> None:
        """Leaves out what is too old or too much."""
        kept: list[Ticket] = []
        counts: dict[tuple[str, int], int] = {}
        names: dict[str, None] = {}
        for ticket in reversed(self.tickets):
            key = (ticket.server, ticket.version)
            counts[key] = counts.get(key, 0) + 1
            if ticket.server not in names and len(names) >= servers:
                continue
            if ticket.expires > now and counts[key] <= _TICKETS_PER_SERVER:
                names[ticket.server] = None
                kept.append(ticket)
        self.tickets = kept[::-1]
        for address in list(self.tokens)[:-servers]:
            del self.tokens[address]
        for queue in self.tokens.values():
            del queue[:-_TOKENS_PER_SERVER]

    def take(self, claim: Claim) -> Claimed:
        """The newest ticket of each QUIC version, and a token."""
        taken: dict[int, Ticket] = {}
        for ticket in self.tickets:
            if ticket.server == claim.server_name:
                taken[ticket.version] = ticket
        for ticket in taken.values():
            self.tickets.remove(ticket)
        tokens: dict[_Address, list[bytes]] = {}
        if claim.server is not None and (queue := self.tokens.get(claim.server)):
            tokens[claim.server] = [queue.pop()]
            if not queue:
                del self.tokens[claim.server]
        return Claimed(list(taken.values()), tokens)


class StoreFile:
    """Reads and replaces the file; every method may fail without harm, see `problem`."""

    def __init__(self, path: str | os.PathLike[str], servers: int) -> None:
        # Whoever changes the directory later means this file still.
        self.path = Path(path).absolute()
        self.problem: str | None = None
        self._servers = servers

    def count(self) -> int:
        """Tickets in it."""
        return len(self._read().tickets)

    def knows(self, server_name: str) -> bool:
        """Whether there is a ticket for this server."""
        now = time.time()
        tickets = self._read().tickets
        return any(t.server == server_name and t.expires > now for t in tickets)

    def clear(self) -> None:
        """Empties it."""
        with self._locked() as locked:
            if locked and self.path.exists():
                self._write(_Content())

    def exchange(
        self,
        tickets: list[Ticket],
        tokens: dict[_Address, list[bytes]],
        claim: Claim,
        now: float,
    ) -> Claimed:
        """Puts something in and takes something out, in one step for all processes."""
        with self._locked() as locked:
            if not locked:
                # What is in the file may be in use elsewhere.
                return Claimed(tickets, tokens)
            content = self._read()
            before = content.encode()
            content.add(tickets, tokens)
            content.shrink(self._servers, now)
            claimed = content.take(claim)
            if content.encode() != before and not self._write(content):
                return Claimed(tickets, tokens)
            return claimed

    @contextlib.contextmanager
    def _locked(self) -> Generator[bool, None, None]:
        """The lock lies beside the file, for that is replaced."""
        if fcntl is None:
            yield True
            return
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._warn(f"cannot open {lock}: {error.strerror}")
            yield False
            return
        try:
            yield self._acquire(descriptor)
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int) -> bool:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                assert fcntl is not None
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    self._warn(f"another process does not let go of {self.path}")
                    return False
                time.sleep(_STEP)
            except OSError as error:
                self._warn(f"{self.path} cannot be locked: {error.strerror}")
                return False
            else:
                return True

    def _read(self) -> _Content:
        try:
            with self.path.open("rb") as file:
                text = file.read(_MAX_SIZE + 1)
            if len(text) > _MAX_SIZE:
                raise ValueError("it is too large")
            return _Content.decode(text)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._warn(f"cannot read {self.path}: {error.strerror}")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = str(error) if isinstance(error, ValueError) else "something is missing"
            self._warn(f"{self.path} holds no session tickets and is taken for empty: {why}")
        return _Content()

    def _write(self, content: _Content) -> bool:
        temporary = None
        try:
            # Made for its owner only (mode 0600).
            descriptor, temporary = tempfile.mkstemp(
                prefix=f".{self.path.name}.", dir=self.path.parent
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode())
            Path(temporary).replace(self.path)
        except OSError as error:
            self._warn(f"cannot write {self.path}: {error.strerror}")
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            return False
        return True

    def _warn(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            _logger.warning("%s", problem)
