"""What commands print: progress for people at a terminal, one JSON document for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any, Protocol, TextIO

from tquic.cli.values import show_rate, show_size

# Seconds between two looks of a progress line.
STEP = 0.1


def note(text: str) -> None:
    """A line for people; on stderr, where it disturbs no output."""
    print(f"tquic: {text}", file=sys.stderr, flush=True)


def is_coloured(stream: TextIO) -> bool:
    """Whether to write in colours: to a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and stream.isatty()


# Whether this run of the command has printed its document.
_printed = False


def begin() -> None:
    """Nothing is printed yet, and there is a standard output to print to."""
    global _printed
    _printed = False
    if sys.stdout is None or sys.stderr is None:
        _fill_descriptors()


def _fill_descriptors() -> None:
    """Opens those that a shell closed (``tquic ... >&-``): else the next file or socket would take
    their numbers, and get what is printed. Writing to them fails, as it should."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDONLY)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    # What nobody can read of errors is no error.
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123


def abandon() -> None:
    """Nothing more can be written to standard output, not even when Python closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_printed() -> bool:
    """Whether the one document is out."""
    return _printed


def print_json(document: dict[str, Any]) -> None:
    """The one document."""
    global _printed
    _printed = True
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")
    sys.stdout.flush()


class Progress(Protocol):
    """Shows how far a transfer is."""

    def show(self, received: int, done: int) -> None:
        """`received` bytes and `done` files so far."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


def progress(files: int, *, wanted: bool, stream: TextIO = sys.stderr) -> Progress:
    """Rich's bar if it is installed, a plain line else; nothing unless a terminal shows it."""
    if not wanted or not stream.isatty():
        return _Silent()
    try:
        return _Rich(files)
    except ImportError:
        return _Plain(files, stream)


class Line:
    """One line at a terminal, written again and again."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._width = 0

    def write(self, text: str) -> None:
        """Writes it anew."""
        # A line that is broken could not be taken away.
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write("\r" + text.ljust(self._width))
        self._stream.flush()
        self._width = len(text)

    def close(self) -> None:
        """Takes it away."""
        self.write("")
        self._stream.write("\r")
        self._stream.flush()


class _Silent:
    def show(self, received: int, done: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Plain:
    def __init__(self, files: int, stream: TextIO) -> None:
        self._files = files
        self._line = Line(stream)
        self._started = time.monotonic()

    def show(self, received: int, done: int) -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        line = f"{show_size(received)}  {show_rate(received / seconds)}"
        if self._files > 1:
            line += f"  {done} of {self._files} files"
        self._line.write(line)

    def close(self) -> None:
        self._line.close()


class _Rich:
    def __init__(self, files: int) -> None:
        from rich.console import Console
        from rich.progress import (
            DownloadColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar

        # Without sizes (HTTP/0.9 has none) there is no end to fill a bar up to.
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._files = files
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def show(self, received: int, done: int) -> None:
        description = f"{done} of {self._files} files" if self._files > 1 else ""
        self._bar.update(self._task, completed=received, description=description)

    def close(self) -> None:
        self._bar.stop()
