"""What ``tquic get`` is to fetch: URLs, where they go, and what lies there already."""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tquic._engine import HqPipe
from tquic.cli.client import Address
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import note
from tquic.cli.values import show_address, show_rate, show_size

PORT = 443
# Left alone in a URL's path: RFC 3986 section 3.3, and percent signs.
SAFE = "/%:@!$&'()*+,;=~-._"
# The extended attribute in which the engine says what a partial file is a part of.
ORIGIN = "user.tquic.origin"
SUFFIX = ".part"


@dataclass
class Download:
    """One URL."""

    url: str
    server: Address
    request: str
    # A path, or None for nowhere.
    target: Path | None
    sha256: bytes | None = None
    # It goes to standard output; with HTTP/0.9 through this pipe.
    to_stdout: bool = False
    pipe: HqPipe | None = None
    result: dict[str, Any] = field(default_factory=dict)
    # Bytes that are there, while it is under way.
    received: Callable[[], int] = lambda: 0

    def as_file(self) -> tuple[str, Path | HqPipe | None, bytes | None]:
        """What the engine wants to know."""
        return self.request, self.pipe or self.target, self.sha256

    @property
    def origin(self) -> str:
        """What a partial file is known by; a hash, for URLs may have secrets in them."""
        url = f"https://{show_address(*self.server)}{self.request}"
        return hashlib.sha256(url.encode()).hexdigest()

    @property
    def error(self) -> str | None:
        """Why it is not there, if it is not."""
        error: str | None = self.result.get("error", "not begun")
        return error

    def report(self) -> dict[str, Any]:
        """What JSON says about it."""
        result = self.result
        return {
            "url": self.url,
            "path": None if self.target is None else str(self.target),
            "bytes": result.get("bytes", 0),
            "seconds": result.get("seconds", 0.0),
            "sha256": result.get("sha256"),
            "verified": bool(self.sha256) and self.error is None,
            "error": self.error,
            **{key: result[key] for key in ("status", "headers", "resumed_at") if key in result},
        }

    def success(self) -> str:
        """A line for people."""
        size, seconds = self.result["bytes"], self.result["seconds"]
        speed = show_rate(size / max(seconds, 1e-9))
        line = f"{self.target}  {show_size(size)} in {seconds:.2f} s ({speed})"
        return line + (", SHA-256 verified" if self.sha256 else "")

    @property
    def part(self) -> Path | None:
        """The name of the file while bytes are missing; None if it goes into no file."""
        if self.target is None or self.to_stdout:
            return None
        return self.target.with_name(self.target.name + SUFFIX)


def plan(options: argparse.Namespace) -> list[Download]:
    """What goes where; wrong usage is found before anything is fetched."""
    digests: list[bytes] = options.sha256 or []
    if digests and len(digests) != len(options.urls):
        raise UsageError(
            f"{len(options.urls)} URLs, {len(digests)} --sha256: give one for each URL"
        )
    downloads = [Download(url, *locate(url), target=None) for url in options.urls]
    for download, digest in zip(downloads, digests, strict=False):
        download.sha256 = digest
    output: str | None = options.output
    if options.head_only:
        # There is nothing to be stored.
        return downloads
    if output == "-":
        for download in downloads:
            download.target, download.to_stdout = Path("-"), True
            download.pipe = HqPipe() if options.hq else None
    elif output is None or output.endswith("/") or Path(output).is_dir():
        _into_folder(downloads, Path(output or ""))
    elif output != os.devnull:
        if len(downloads) > 1:
            raise UsageError(f"-o {output}: several URLs need a folder; end its name with a slash")
        downloads[0].target = _writable(Path(output))
    for download in downloads:
        _spare(download)
    return downloads


def _into_folder(downloads: Iterable[Download], folder: Path) -> None:
    named = [(download, folder / _name(download.url)) for download in downloads]
    taken: dict[Path, str] = {}
    for download, target in named:
        for path in (target, target.with_name(target.name + SUFFIX)):
            if other := taken.get(path):
                raise UsageError(f"{other} and {download.url} would both become {path}")
            taken[path] = download.url
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {folder}: {error.strerror}") from None
    for download, target in named:
        download.target = _writable(target)


def locate(url: str) -> tuple[Address, str]:
    """The server of a URL, and what to ask it for."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        why = "the port is no number from 1 to 65535" if "ort" in str(error) else str(error)
        raise UsageError(f"{url}: {why}") from None
    if parts.scheme != "https":
        rest = url.removeprefix("http://")
        hint = "" if "://" in rest else f"; did you mean https://{rest}?"
        raise UsageError(f"{url}: QUIC has https:// URLs only{hint}")
    if not parts.hostname or "@" in parts.netloc:
        raise UsageError(f"{url}: a URL here is https://HOST[:PORT]/PATH")
    if port == 0:
        raise UsageError(f"{url}: nobody can listen at port 0")
    query = f"?{quote(parts.query, safe=SAFE + '?')}" if parts.query else ""
    request = (quote(parts.path, safe=SAFE) or "/") + query
    return (parts.hostname, PORT if port is None else port), request


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
    if not os.access(path.parent, os.W_OK):
        raise CommandError(f"cannot write to the folder {path.parent}: permission denied")
    return path


def _spare(download: Download) -> None:
    """Refuses to throw away what may be a part of something else."""
    part = download.part
    if part is None or not part.exists():
        return
    if not part.is_file():
        raise CommandError(f"{part} is in the way: a download is called so until it is whole")
    if part.stat().st_size == 0:
        return
    try:
        origin = os.getxattr(part, ORIGIN).decode()
    except AttributeError:
        origin = download.origin
        note(f"{part} was there already; its place is taken from the first byte on")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM):
            origin = download.origin
            note(f"{part} was there already; its place is taken from the first byte on")
        else:
            origin = ""
    if origin != download.origin:
        whose = "a part of another URL's file" if origin else "not known to be a part of this URL's"
        raise CommandError(
            f"{part} is in the way and {whose}: move or delete it, or choose another name with -o"
        )
