"""Finds the sockets at which processes tell of themselves, and asks them."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Seconds that an answer may take.
PATIENCE = 5.0
# The most that is read: a process describes at most 1000 connections for each of 128 threads.
_LIMIT = 256 << 20
_NAME = re.compile(r"(\d+)-\d+\.sock")


def sockets() -> dict[int, list[Path]]:
    """The sockets of running processes that this user may ask, by process."""
    found: dict[int, list[Path]] = {}
    for folder in _folders():
        try:
            paths = sorted(folder.iterdir())
        except OSError:
            continue
        for path in paths:
            if (match := _NAME.fullmatch(path.name)) and _is_running(int(match[1])):
                found.setdefault(int(match[1]), []).append(path)
    return found


def _folders() -> Iterator[Path]:
    """Where sockets may lie: our own folder; for the superuser, those of all users."""
    seen = set()
    own = os.environ.get("TQUIC_RUNTIME_DIR")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folders = [Path(own)] if own else []
    folders += [Path(runtime, "tquic")] if runtime else []
    folders.append(Path(f"/tmp/tquic-{os.geteuid()}"))
    if os.geteuid() == 0:
        folders += [*Path("/run/user").glob("*/tquic"), *Path("/tmp").glob("tquic-*")]
    for folder in folders:
        if folder not in seen and _is_private(folder):
            seen.add(folder)
            yield folder


def _is_private(folder: Path) -> bool:
    """In a folder that others can write to, anybody could answer."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and not facts.st_mode & 0o077


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def processes() -> list[int]:
    """The processes that tell of themselves to this user."""
    return sorted(number for number, paths in sockets().items() if any(map(_is_heard, paths)))


def _is_heard(path: Path) -> bool:
    """A process that was killed leaves its socket, and its number to another program."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(os.fspath(path))
        except OSError as error:
            # Many ask at the same time.
            return isinstance(error, (BlockingIOError, TimeoutError))
    return True


def ask(process: int) -> dict[str, Any]:
    """What a process tells of itself; several engines of it count as one.

    Raises:
        LookupError: nobody answers for it.
    """
    answers = []
    for path in sockets().get(process, ()):
        try:
            answers.append(_read(path))
        except (OSError, ValueError):
            # It has just ended, or was killed and left its socket.
            continue
    if not answers:
        raise LookupError(process)
    first, *others = answers
    for other in others:
        first["shards"] += other["shards"]
        first["connections"] += other["connections"]
    return first


def _read(path: Path) -> dict[str, Any]:
    content = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fspath(path))
        while chunk := connection.recv(1 << 16):
            content += chunk
            if len(content) > _LIMIT:
                raise ValueError("an answer without end")
    answer = json.loads(content)
    if not isinstance(answer, dict):
        raise ValueError("no object")
    return answer
