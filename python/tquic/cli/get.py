"""``tquic get``: downloads."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tquic._engine import Engine, HqFetch, HqPipe
from tquic.cli import client
from tquic.cli.client import Address
from tquic.cli.failure import CommandError, UsageError, not_yet
from tquic.cli.output import STEP, Progress, note, print_json, progress
from tquic.cli.values import argument, duration, show_address, show_rate, show_size
from tquic.config import Config
from tquic.errors import ConfigError
from tquic.session import SessionStore

ALPN = "hq-interop"
PROTOCOL = "hq-interop (HTTP/0.9)"
PORT = 443
# Left alone in a URL's path: RFC 3986 section 3.3, and percent signs.
SAFE = "/%:@!$&'()*+,;=~-._"
# Results are shown one by one up to this number of files.
SHOWN = 10
# Seconds for CONNECTION_CLOSE to leave.
HURRY = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("urls", nargs="+", metavar="URL", help="https://HOST[:PORT]/PATH")
    parser.add_argument(
        "-o",
        dest="output",
        metavar="FILE|DIR|-",
        help="file, folder, or - for standard output (default: here, named as in the URL); a file "
        "is called NAME.part until it is whole",
    )
    parser.add_argument(
        "--sha256",
        action="append",
        type=argument(_sha256),
        metavar="HEX",
        help="what the content must be; once for each URL",
    )
    client.add_trust_options(parser)
    client.add_connect_to_option(parser)
    parser.add_argument(
        "--hq",
        action="store_true",
        help=f"speak {PROTOCOL}; the only protocol there is until HTTP/3 has come",
    )
    parser.add_argument(
        "--0rtt",
        dest="early",
        action="store_true",
        help="fetch the first file of each server over one connection, and ask for the others in "
        "the first packets of a second one that resumes its session",
    )
    parser.add_argument(
        "--tickets",
        type=Path,
        metavar="FILE",
        help="keep session tickets in this file for later runs, which resume the sessions; with "
        "--0rtt their first packets ask already",
    )
    client.add_congestion_option(parser)
    parser.add_argument(
        "--connect-timeout",
        type=argument(duration),
        default=10.0,
        metavar="TIME",
        help="give up when the server has not answered for this long (default: 10s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("-C", dest="resume", action="store_true", help=argparse.SUPPRESS)
    not_yet(parser, "HTTP/3", "-I", "-i", values=False)
    not_yet(parser, "HTTP/3", "-H")
    not_yet(parser, "multipath", "--path", "--scheduler")
    not_yet(parser, "qlog", "--qlog")


def _sha256(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ValueError(f"{text!r} is no SHA-256: write 64 hexadecimal digits")
    return digest


@dataclass
class Download:
    """One URL."""

    url: str
    server: Address
    request: str
    # A path, or None for nowhere.
    target: Path | None
    sha256: bytes | None = None
    pipe: HqPipe | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def as_file(self) -> tuple[str, Path | HqPipe | None, bytes | None]:
        """What the engine wants to know."""
        return self.request, self.pipe or self.target, self.sha256

    def report(self) -> dict[str, Any]:
        """What JSON says about it."""
        result = self.result
        return {
            "url": self.url,
            "path": None if self.target is None else str(self.target),
            "bytes": result.get("bytes", 0),
            "seconds": result.get("seconds", 0.0),
            "sha256": result.get("sha256"),
            "verified": bool(self.sha256) and result.get("error", "") is None,
            "error": result.get("error", "not begun"),
        }


def run(options: argparse.Namespace) -> int:
    """Fetches every URL."""
    if options.resume:
        raise UsageError(
            "-C goes on with a partial file, which needs HTTP/3: HTTP/0.9 has no ranges. Without "
            "-C the file is fetched from its beginning"
        )
    if options.json and options.output == "-":
        raise UsageError("--json and -o - both want standard output")
    downloads = plan(options)
    store = SessionStore(path=options.tickets)
    config = client.client_config(
        options,
        ALPN,
        handshake_timeout=options.connect_timeout,
        session_store=store,
        early_data=options.early,
    )
    try:
        tls = config._client_tls
    except ConfigError as error:
        raise CommandError(str(error)) from None
    del tls
    return _Run(options, config, store).run(downloads)


def plan(options: argparse.Namespace) -> list[Download]:
    """What goes where; wrong usage is found before anything is fetched."""
    digests: list[bytes] = options.sha256 or []
    if digests and len(digests) != len(options.urls):
        raise UsageError(
            f"{len(options.urls)} URLs, {len(digests)} --sha256: give one for each URL"
        )
    downloads = [_parse(url, options.connect_to) for url in options.urls]
    for download, digest in zip(downloads, digests, strict=False):
        download.sha256 = digest
    output: str | None = options.output
    if output == "-":
        for download in downloads:
            download.target, download.pipe = Path("-"), HqPipe()
        return downloads
    if output == os.devnull:
        for download in downloads:
            download.target = None
        return downloads
    if output is not None and not output.endswith("/") and not Path(output).is_dir():
        if len(downloads) > 1:
            raise UsageError(f"-o {output}: several URLs need a folder; end its name with a slash")
        downloads[0].target = _writable(Path(output))
        return downloads
    folder = Path(output or "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {folder}: {error.strerror}") from None
    taken: dict[Path, str] = {}
    for download in downloads:
        target = _writable(folder / _name(download.url))
        if other := taken.get(target):
            raise UsageError(f"{other} and {download.url} would both become {target}")
        taken[target] = download.url
        download.target = target
    return downloads


def _parse(url: str, connect_to: Address | None) -> Download:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None
    if parts.scheme != "https":
        raise UsageError(f"{url}: QUIC has https:// URLs only")
    if not parts.hostname or "@" in parts.netloc:
        raise UsageError(f"{url}: a URL here is https://HOST[:PORT]/PATH")
    query = f"?{quote(parts.query, safe=SAFE + '?')}" if parts.query else ""
    request = (quote(parts.path, safe=SAFE) or "/") + query
    host = parts.hostname
    return Download(url, (host, PORT if port is None else port), request, None)


def _name(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2], errors="surrogateescape")
    if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
        raise UsageError(f"{url} names no file: say with -o FILE what to call it")
    return name


def _writable(path: Path) -> Path:
    if path.is_dir():
        raise UsageError(f"-o {path} is a folder")
    if path.exists() and not path.is_file():
        raise UsageError(f"-o {path} is no ordinary file; use -o - and a pipe")
    if not path.parent.is_dir():
        raise CommandError(f"there is no folder {path.parent}")
    return path


class _Run:
    """One call of the command."""

    def __init__(self, options: argparse.Namespace, config: Config, store: SessionStore) -> None:
        self.options = options
        self.config = config
        self.store = store
        self.engine = Engine()
        self.connections: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.bytes = 0
        self.seconds = 0.0

    def run(self, downloads: list[Download]) -> int:
        """Fetches and reports; the exit status."""
        interrupted: KeyboardInterrupt | None = None
        started = time.monotonic()
        bar = progress(len(downloads), wanted=not self.options.json)
        try:
            for server, group in _by_server(downloads).items():
                for batch in self._batches(server, group):
                    self._fetch(server, batch, bar, last=batch[-1] is group[-1])
        except KeyboardInterrupt as error:
            interrupted = error
        finally:
            self.seconds = time.monotonic() - started
            bar.close()
            self.engine.shutdown()
            self.store.save()
        self._report(downloads, interrupted=interrupted is not None)
        if interrupted is not None:
            raise interrupted
        return 1 if self.failures or any(d.result.get("error", "") for d in downloads) else 0

    def _batches(self, server: Address, group: list[Download]) -> list[list[Download]]:
        if not self.options.early or self.store.knows(server[0]):
            return [group]
        if len(group) == 1:
            if self.options.tickets is None:
                note(
                    "--0rtt: with one URL of a server nothing can be sent early, unless tickets "
                    "are kept from one run to the next (--tickets FILE)"
                )
            return [group]
        return [group[:1], group[1:]]

    def _fetch(self, server: Address, batch: list[Download], bar: Progress, *, last: bool) -> None:
        target: Address = self.options.connect_to or server
        try:
            addresses = client.resolve(*target)
        except CommandError as error:
            for download in batch:
                download.result = {"error": str(error)}
            self.failures.append(str(error))
            return
        self.store._claim(server[0], server)
        keep = self.options.tickets is not None
        fetch = HqFetch(
            self.engine,
            tls=self.config._client_tls,
            transport=self.config._transport,
            server_name=server[0],
            addresses=addresses,
            files=[download.as_file() for download in batch],
            # Output in the order of the URLs: what cannot be printed yet would only fill windows.
            parallel=1 if batch[0].pipe else 128,
            await_ticket=None if last and not keep else self.store._tickets,
        )
        try:
            self._watch(fetch, batch, bar)
        except KeyboardInterrupt:
            fetch.cancel()
            fetch.wait(HURRY)
            raise
        finally:
            self.bytes += fetch.progress()[0]
            self._collect(fetch, batch, target)

    def _watch(self, fetch: HqFetch, batch: list[Download], bar: Progress) -> None:
        for download in batch:
            if download.pipe is not None:
                self._print(fetch, download.pipe)
        while not fetch.wait(STEP):
            received, done = fetch.progress()
            bar.show(self.bytes + received, done)

    def _print(self, fetch: HqFetch, pipe: HqPipe) -> None:
        while (data := pipe.read(STEP)) != b"":
            if data is None:
                continue
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                pipe.abandon()
                # Nothing more can be written, not even when Python closes the stream.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                self.failures.append("nobody reads the output any more")
                return

    def _collect(self, fetch: HqFetch, batch: list[Download], target: Address) -> None:
        for download, result in zip(batch, fetch.results(), strict=True):
            download.result = result or {"error": "interrupted"}
        ending = fetch.ending()
        if ending is None:
            return
        error = ending.pop("error")
        if error is not None:
            why = client.explain(error, target, PROTOCOL)
            self.failures.append(why)
            for download in batch:
                if download.result["error"] is not None:
                    download.result["error"] = why
        host, port = ending.pop("remote")
        self.connections.append(
            {
                "server": show_address(*target),
                "remote": show_address(host, port),
                "error": None if error is None else self.failures[-1],
                **ending,
            }
        )

    def _report(self, downloads: list[Download], *, interrupted: bool) -> None:
        if self.options.json:
            self._report_json(downloads, interrupted=interrupted)
            return
        for why in dict.fromkeys(self.failures):
            note(why)
        if self.store.problem is not None:
            note(f"--tickets: {self.store.problem}")
        shown = len(downloads) <= SHOWN
        failed = 0
        for download in downloads:
            error = download.result.get("error", "not begun")
            failed += error is not None
            if error is None:
                if shown and download.target is not None and download.pipe is None:
                    print(_success(download), file=sys.stderr)
            elif error not in self.failures:
                note(f"{download.url}: {error}")
            if interrupted and (part := _part(download)):
                note(f"{part} keeps the {show_size(download.result.get('bytes', 0))} that came")
        if not shown or failed:
            whole = len(downloads) - failed
            note(
                f"{whole} of {len(downloads)} files, {show_size(self.bytes)} in "
                f"{self.seconds:.2f} s ({show_rate(self.bytes / max(self.seconds, 1e-9))})"
            )

    def _report_json(self, downloads: list[Download], *, interrupted: bool) -> None:
        files = [download.report() for download in downloads]
        print_json(
            {
                "ok": not interrupted and all(file["error"] is None for file in files),
                "bytes": self.bytes,
                "seconds": self.seconds,
                "gbps": self.bytes * 8 / max(self.seconds, 1e-9) / 1e9,
                "protocol": ALPN,
                "files": files,
                "connections": self.connections,
            }
        )


def _by_server(downloads: Iterable[Download]) -> dict[Address, list[Download]]:
    groups: dict[Address, list[Download]] = {}
    for download in downloads:
        groups.setdefault(download.server, []).append(download)
    return groups


def _success(download: Download) -> str:
    result = download.result
    speed = show_rate(result["bytes"] / max(result["seconds"], 1e-9))
    line = f"{download.target}  {show_size(result['bytes'])} in {result['seconds']:.2f} s ({speed})"
    return line + (", SHA-256 verified" if download.sha256 else "")


def _part(download: Download) -> Path | None:
    if download.target is None or download.pipe is not None:
        return None
    part = download.target.with_name(download.target.name + ".part")
    return part if part.exists() else None
