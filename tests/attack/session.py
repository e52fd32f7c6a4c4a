"""Runs rows: each in full size against a server of its own, or small ones against the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .field import Field, Result
from .row import Row
from .server import Server, serving, visiting


class Site:
    """A server and its honest clients, which rows may share."""

    def __init__(self, server: Server, honest: Path) -> None:
        self.server, self._honest = server, honest

    def run(self, row: Row, size: int, seed: int) -> Result:
        """Does a row."""
        return Field(self.server, self._honest, seed).run(row, size)


@contextlib.contextmanager
def site(folder: Path, row: Row | None = None) -> Iterator[Site]:
    """A server, started as the row wants it."""
    options = tuple(one.format(folder=folder) for one in row.options) if row else ()
    with (
        serving(folder, options, row.settings if row else ()) as server,
        visiting(folder, server.address) as honest,
    ):
        yield Site(server, honest)
