"""What every way of fetching for ``tquic get`` has in common: one run, and what it reports."""

from __future__ import annotations

import argparse
import sys
import time
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from tquic.cli import client, service
from tquic.cli.client import Address
from tquic.cli.download import Download
from tquic.cli.output import abandon, note, print_json, progress
from tquic.cli.values import show_rate, show_size
from tquic.config import Config
from tquic.session import SessionStore

# Results are shown one by one up to this number of files.
SHOWN = 10
# Seconds of silence after which the server is asked for a sign: a slow reader of standard output
# may keep a connection waiting for longer than idle connections live.
KEEP_ALIVE = 10.0


class ServerRun:
    """The downloads of one server: one connection, or with ``--0rtt`` two, one after another."""

    def __init__(
        self, options: argparse.Namespace, server: Address, downloads: list[Download], alpn: str
    ) -> None:
        self.options = options
        self.server = server
        self.target: Address = options.connect_to or server
        # Of its own: a claim for one server gives back what was claimed for another.
        self.store = SessionStore(path=options.tickets)
        self.config = run_config(options, alpn, self.store)
        self.batches = self._batches(downloads)
        self.connections: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def _batches(self, downloads: list[Download]) -> list[list[Download]]:
        if not self.options.early or self.store.knows(self.server[0]):
            return [downloads]
        if len(downloads) == 1:
            if self.options.tickets is None:
                note(
                    "--0rtt: with one URL of a server nothing can be sent early, unless tickets "
                    "are kept from one run to the next (--tickets FILE)"
                )
            return [downloads]
        return [downloads[:1], downloads[1:]]


Server = TypeVar("Server", bound=ServerRun)


class Run(ABC, Generic[Server]):
    """One call of the command."""

    alpn: str
    servers: list[Server]

    def __init__(self, options: argparse.Namespace, downloads: list[Download]) -> None:
        self.options = options
        self.downloads = downloads
        self.engine = service.begin_engine()
        self.output_failures: list[str] = []
        self.seconds = 0.0
        self.bar = progress(len(downloads), wanted=not options.json and options.output != "-")

    @property
    @abstractmethod
    def received(self) -> int:
        """Bytes, so far."""

    def by_server(self) -> dict[Address, list[Download]]:
        """What is to be fetched from whom."""
        groups: dict[Address, list[Download]] = {}
        for download in self.downloads:
            groups.setdefault(download.server, []).append(download)
        return groups

    @property
    def failures(self) -> list[str]:
        """Sentences that concern more than one file."""
        own = [why for server in self.servers for why in server.failures]
        return list(dict.fromkeys(self.output_failures + own))

    @property
    def connections(self) -> list[dict[str, Any]]:
        """What JSON says about them."""
        return [each for server in self.servers for each in server.connections]

    @property
    def problems(self) -> set[str]:
        """What was wrong with files of tickets."""
        return {problem for server in self.servers if (problem := server.store.problem)}

    @abstractmethod
    def fetch(self) -> None:
        """Fetches everything."""

    @abstractmethod
    def give_up(self) -> None:
        """Ctrl-C: ends what is under way."""

    def end(self) -> None:
        """Shuts the engine down, and writes session tickets down."""
        self.engine.shutdown()
        for server in self.servers:
            server.store.save()

    def run(self) -> int:
        """Fetches and reports; the exit status."""
        interrupted: KeyboardInterrupt | None = None
        started = time.monotonic()
        try:
            self.fetch()
        except KeyboardInterrupt as error:
            interrupted = error
            self.give_up()
        finally:
            self.seconds = time.monotonic() - started
            self.bar.close()
            self.end()
        self._report(interrupted=interrupted is not None)
        if interrupted is not None:
            raise interrupted
        return 1 if self.failures or any(d.error is not None for d in self.downloads) else 0

    def nobody_reads(self) -> None:
        """Gives standard output up."""
        abandon()
        self.output_failures.append("nobody reads the output any more")

    def _report(self, *, interrupted: bool) -> None:
        if self.options.json:
            self._report_json(interrupted=interrupted)
            return
        failures = self.failures
        for why in failures:
            note(why)
        for problem in self.problems:
            note(f"--tickets: {problem}")
        shown = len(self.downloads) <= SHOWN
        failed = 0
        for download in self.downloads:
            error = download.error
            failed += error is not None
            if error is None:
                if shown and download.part is not None:
                    print(download.success(), file=sys.stderr)
            elif not (failures and self.options.output == "-") and error not in failures:
                note(f"{download.url}: {error}")
            if error is not None and (part := download.part) and part.exists():
                note(f"{part} keeps the {show_size(download.result.get('bytes', 0))} that came")
        if not shown or (failed and (len(self.downloads) > 1 or self.received)):
            whole = len(self.downloads) - failed
            total = self.received
            note(
                f"{whole} of {len(self.downloads)} files, {show_size(total)} in "
                f"{self.seconds:.2f} s ({show_rate(total / max(self.seconds, 1e-9))})"
            )

    def _report_json(self, *, interrupted: bool) -> None:
        files = [download.report() for download in self.downloads]
        print_json(
            {
                "ok": not interrupted and all(file["error"] is None for file in files),
                "bytes": self.received,
                "seconds": self.seconds,
                "gbps": self.received * 8 / max(self.seconds, 1e-9) / 1e9,
                "protocol": self.alpn,
                "files": files,
                "connections": self.connections,
            }
        )


def run_config(options: argparse.Namespace, alpn: str, store: SessionStore) -> Config:
    """What the connections to one server are made with."""
    config = client.client_config(
        options,
        alpn,
        handshake_timeout=options.connect_timeout,
        session_store=store,
        early_data=options.early,
    )
    if config.keep_alive is None:
        config = config.replace(keep_alive=KEEP_ALIVE)
    # Wrong files are found before anything is fetched.
    client.check(options, config)
    return config
