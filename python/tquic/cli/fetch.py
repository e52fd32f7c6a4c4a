"""How ``tquic get`` fetches: one connection for each server, all at the same time."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from tquic._engine import Engine, HqFetch, HqPipe
from tquic.cli import client
from tquic.cli.client import Address
from tquic.cli.download import Download
from tquic.cli.failure import CommandError
from tquic.cli.output import STEP, note, print_json, progress
from tquic.cli.values import show_address, show_rate, show_size
from tquic.config import Config
from tquic.session import SessionStore

ALPN = "hq-interop"
PROTOCOL = "hq-interop (HTTP/0.9)"
# Results are shown one by one up to this number of files.
SHOWN = 10
# Seconds for CONNECTION_CLOSE to leave.
HURRY = 2.0
# Seconds between two looks while several servers are asked.
LOOK = 0.02
# Seconds of silence after which the server is asked for a sign: a slow reader of standard output
# may keep a connection waiting for longer than idle connections live.
KEEP_ALIVE = 10.0


class ServerRun:
    """The downloads of one server: one connection, or with ``--0rtt`` two, one after another."""

    def __init__(
        self, options: argparse.Namespace, server: Address, downloads: list[Download]
    ) -> None:
        self.server = server
        self.target: Address = options.connect_to or server
        self.keeps_tickets = options.tickets is not None
        # Of its own: a claim for one server gives back what was claimed for another.
        self.store = SessionStore(path=options.tickets)
        self.config = _config(options, self.store)
        self.batches = self._batches(options, downloads)
        self.batch: list[Download] = []
        self.fetch: HqFetch | None = None
        self.connections: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.bytes = 0
        self.files = 0

    def _batches(
        self, options: argparse.Namespace, downloads: list[Download]
    ) -> list[list[Download]]:
        if not options.early or self.store.knows(self.server[0]):
            return [downloads]
        if len(downloads) == 1:
            if not self.keeps_tickets:
                note(
                    "--0rtt: with one URL of a server nothing can be sent early, unless tickets "
                    "are kept from one run to the next (--tickets FILE)"
                )
            return [downloads]
        return [downloads[:1], downloads[1:]]

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
        addresses = client.resolve(*self.target)
        self.store._claim(self.server[0], self.server)
        wants_ticket = self.keeps_tickets or bool(self.batches)
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


def _config(options: argparse.Namespace, store: SessionStore) -> Config:
    config = client.client_config(
        options,
        ALPN,
        handshake_timeout=options.connect_timeout,
        session_store=store,
        early_data=options.early,
    )
    if config.keep_alive is None:
        config = config.replace(keep_alive=KEEP_ALIVE)
    # Wrong files are found before anything is fetched.
    client.check(options, config)
    return config


class Run:
    """One call of the command."""

    def __init__(self, options: argparse.Namespace, downloads: list[Download]) -> None:
        self.options = options
        self.downloads = downloads
        groups: dict[Address, list[Download]] = {}
        for download in downloads:
            groups.setdefault(download.server, []).append(download)
        self.servers = [ServerRun(options, server, group) for server, group in groups.items()]
        self.engine = Engine()
        self.output_failures: list[str] = []
        self.seconds = 0.0
        self._bar = progress(len(downloads), wanted=not options.json and options.output != "-")

    def run(self) -> int:
        """Fetches and reports; the exit status."""
        interrupted: KeyboardInterrupt | None = None
        started = time.monotonic()
        try:
            self._fetch()
        except KeyboardInterrupt as error:
            interrupted = error
            self._give_up()
        finally:
            self.seconds = time.monotonic() - started
            self._bar.close()
            self.engine.shutdown()
            for server in self.servers:
                server.store.save()
        self._report(interrupted=interrupted is not None)
        if interrupted is not None:
            raise interrupted
        return 1 if self.failures or any(d.error is not None for d in self.downloads) else 0

    @property
    def failures(self) -> list[str]:
        """Sentences that concern more than one file."""
        own = [why for server in self.servers for why in server.failures]
        return list(dict.fromkeys(self.output_failures + own))

    @property
    def bytes(self) -> int:
        """Received so far."""
        return sum(server.progress()[0] for server in self.servers)

    def _fetch(self) -> None:
        active = [server for server in self.servers if server.advance(self.engine)]
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
                if server.advance(self.engine, wait)
            ]
            self._bar.show(self.bytes, sum(server.progress()[1] for server in self.servers))

    def _print(self, pipe: HqPipe) -> None:
        while (data := pipe.read(STEP)) != b"":
            if data is None:
                # A second connection may have to begin before more can come.
                for server in self.servers:
                    server.advance(self.engine)
                continue
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                self._nobody_reads()
                return
            except OSError as error:
                self._nobody_reads()
                self.output_failures = [f"cannot write the output: {error.strerror}"]
                return

    def _nobody_reads(self) -> None:
        for server in self.servers:
            server.cancel()
        for download in self.downloads:
            if download.pipe is not None:
                download.pipe.abandon()
        # Nothing more can be written, not even when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        self.output_failures.append("nobody reads the output any more")

    def _give_up(self) -> None:
        for server in self.servers:
            server.cancel()
        deadline = time.monotonic() + HURRY
        for server in self.servers:
            if server.fetch is not None:
                server.fetch.wait(max(deadline - time.monotonic(), 0.0))
            server.collect()

    def _report(self, *, interrupted: bool) -> None:
        if self.options.json:
            self._report_json(interrupted=interrupted)
            return
        failures = self.failures
        for why in failures:
            note(why)
        for problem in {server.store.problem for server in self.servers} - {None}:
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
        if not shown or (failed and (len(self.downloads) > 1 or self.bytes)):
            whole = len(self.downloads) - failed
            total = self.bytes
            note(
                f"{whole} of {len(self.downloads)} files, {show_size(total)} in "
                f"{self.seconds:.2f} s ({show_rate(total / max(self.seconds, 1e-9))})"
            )

    def _report_json(self, *, interrupted: bool) -> None:
        files = [download.report() for download in self.downloads]
        print_json(
            {
                "ok": not interrupted and all(file["error"] is None for file in files),
                "bytes": self.bytes,
                "seconds": self.seconds,
                "gbps": self.bytes * 8 / max(self.seconds, 1e-9) / 1e9,
                "protocol": ALPN,
                "files": files,
                "connections": [each for server in self.servers for each in server.connections],
            }
        )
