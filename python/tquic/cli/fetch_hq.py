"""``tquic get --hq``: HTTP/0.9, done by the engine. One connection for each server, all at the same
time."""

from __future__ import annotations

import argparse
import sys
import time

from tquic._engine import Engine, HqFetch, HqPipe
from tquic.cli import client, service
from tquic.cli.client import Address
from tquic.cli.download import Download
from tquic.cli.failure import CommandError
from tquic.cli.fetch import Run, ServerRun
from tquic.cli.output import STEP
from tquic.cli.values import show_address

ALPN = "hq-interop"
PROTOCOL = "hq-interop (HTTP/0.9)"
# Seconds for CONNECTION_CLOSE to leave.
HURRY = 2.0
# Seconds between two looks while several servers are asked.
LOOK = 0.02


class HqServerRun(ServerRun):
    """Over HTTP/0.9."""

    def __init__(
        self, options: argparse.Namespace, server: Address, downloads: list[Download]
    ) -> None:
        super().__init__(options, server, downloads, ALPN)
        self.batch: list[Download] = []
        self.fetch: HqFetch | None = None
        self.bytes = 0
        self.files = 0

    def advance(self, engine: Engine, patience: float = 0.0) -> bool:
        """Goes on as far as it can, after at most `patience` seconds; whether there is more."""
        if self.fetch is not None:
            if not self.fetch.wait(patience):
                return True
            self.collect()
        while self.fetch is None and self.batches:
            self.batch = self.batches.pop(0)
            try:
                self.fetch = self._begin(engine)
            except CommandError as error:
                self.failures.append(str(error))
                for download in self.batch:
                    download.result = {"error": str(error)}
                    if download.pipe is not None:
                        download.pipe.abandon()
        return self.fetch is not None

    def _begin(self, engine: Engine) -> HqFetch:
        addresses = client.resolve(*self.target, self.config)
        self.store._claim(self.server[0], self.server)
        wants_ticket = self.options.tickets is not None or bool(self.batches)
        return HqFetch(
            engine,
            tls=self.config._client_tls,
            transport=self.config._transport,
            server_name=self.server[0],
            addresses=addresses,
            files=[download.as_file() for download in self.batch],
            origins=[download.origin for download in self.batch],
            # Output in the order of the URLs: what cannot be printed yet would only fill windows.
            parallel=1 if self.batch[0].pipe else 128,
            await_ticket=self.store._tickets if wants_ticket else None,
        )

    def progress(self) -> tuple[int, int]:
        """Bytes received, and files that are whole or failed."""
        received, done = (0, 0) if self.fetch is None else self.fetch.progress()
        return self.bytes + received, self.files + done

    def cancel(self) -> None:
        """Begins to give up; what has come stays."""
        self.batches.clear()
        if self.fetch is not None:
            self.fetch.cancel()

    def collect(self) -> None:
        """Takes the results of the fetch."""
        fetch, self.fetch = self.fetch, None
        if fetch is None:
            return
        received, done = fetch.progress()
        self.bytes += received
        self.files += done
        for download, result in zip(self.batch, fetch.results(), strict=True):
            download.result = result or {"error": "interrupted"}
        ending = fetch.ending()
        if ending is None:
            return
        error = ending.pop("error")
        why = None if error is None else client.explain(error, self.target, PROTOCOL)
        if why is not None:
            self.failures.append(why)
            for download in self.batch:
                if download.error is not None:
                    download.result["error"] = why
        host, port = ending.pop("remote")
        self.connections.append(
            {
                "server": show_address(*self.target),
                "remote": show_address(host, port),
                "error": why,
                **ending,
            }
        )


class HqRun(Run[HqServerRun]):
    """One call of the command."""

    alpn = ALPN

    def __init__(self, options: argparse.Namespace, downloads: list[Download]) -> None:
        super().__init__(options, downloads)
        self.servers = [
            HqServerRun(options, server, group) for server, group in self.by_server().items()
        ]

    @property
    def received(self) -> int:
        return sum(server.progress()[0] for server in self.servers)

    def end(self) -> None:
        service.show_messages(self.engine._native)
        super().end()

    def fetch(self) -> None:
        active = [server for server in self.servers if server.advance(self.engine._native)]
        for download in self.downloads:
            if download.pipe is not None:
                self._print(download.pipe)
        while active:
            patience = STEP if len(active) == 1 else LOOK
            # One is waited for, the others are looked at.
            waits = [patience] + [0.0] * (len(active) - 1)
            active = [
                server
                for server, wait in zip(active, waits, strict=True)
                if server.advance(self.engine._native, wait)
            ]
            self.bar.show(self.received, sum(server.progress()[1] for server in self.servers))

    def _print(self, pipe: HqPipe) -> None:
        while (data := pipe.read(STEP)) != b"":
            if data is None:
                # A second connection may have to begin before more can come.
                for server in self.servers:
                    server.advance(self.engine._native)
                continue
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                self._abandon()
                return
            except OSError as error:
                self._abandon()
                self.output_failures = [f"cannot write the output: {error.strerror}"]
                return

    def _abandon(self) -> None:
        for server in self.servers:
            server.cancel()
        for download in self.downloads:
            if download.pipe is not None:
                download.pipe.abandon()
        self.nobody_reads()

    def give_up(self) -> None:
        for server in self.servers:
            server.cancel()
        deadline = time.monotonic() + HURRY
        for server in self.servers:
            if server.fetch is not None:
                server.fetch.wait(max(deadline - time.monotonic(), 0.0))
            server.collect()
