"""A folder with files that are used like those of the kernel module in ``/proc``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tquic.bench._parse import BenchmarkError, Line, parse
from tquic.bench._result import run
from tquic.bench._store import Store
from tquic.errors import QuicError

__all__ = ["Watch"]

COMMANDS: Final = "tquic_bench"
RESULTS: Final = "tquic_bench_results"
# Seconds between two looks at the file of commands.
STEP: Final = 0.05


class Watch:
    """Runs what is written into ``tquic_bench`` and puts each result into ``tquic_bench_results``.

    While a benchmark runs, the result's ``status`` is ``"running"``; a line that names none has the
    status ``"failed"`` and an ``error``. ``reset`` forgets all results.

    Args:
        folder: where the files are; made if it is not there.
        store: where results are kept besides.
    """

    def __init__(self, folder: str | os.PathLike[str], store: Store) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._commands = self._folder / COMMANDS
        self._results = self._folder / RESULTS
        self._store = store
        self._commands.write_text("", encoding="utf-8")
        self._put({"schema": "tquic-bench-1", "status": "idle"})

    def serve(self, told: Callable[[str], None] = lambda _: None) -> None:
        """Does that until it is interrupted; `told` hears each line that is run."""
        while True:
            lines = self.take()
            for line in lines:
                told(line)
                self.execute(line)
            if not lines:
                time.sleep(STEP)

    def take(self) -> list[str]:
        """The lines that have been written whole; the file is empty afterwards."""
        try:
            with self._commands.open("r+", encoding="utf-8") as file:
                text = file.read()
                if not text.endswith("\n"):
                    return []
                file.seek(0)
                # What was written behind it meanwhile stays.
                rest = file.read()[len(text) :]
                file.seek(0)
                file.truncate()
                file.write(rest)
        except FileNotFoundError:
            # `mv` instead of `>`, or somebody tidied up.
            self._commands.write_text("", encoding="utf-8")
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    def execute(self, text: str) -> None:
        """Runs one line."""
        if text == "reset":
            self._store.reset()
            self._put({"schema": "tquic-bench-1", "status": "idle"})
            return
        try:
            line = parse(text)
            self._put(_status(line, "running"))
            self._put(self._store.add(run(line)))
        except (BenchmarkError, QuicError, OSError) as error:
            failed = {"schema": "tquic-bench-1", "command": text, "status": "failed"}
            self._put({**failed, "error": str(error)})

    def _put(self, document: dict[str, Any]) -> None:
        # Replaced as a whole: who reads it never finds half a document.
        new = self._results.with_suffix(".new")
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        new.replace(self._results)


def _status(line: Line, status: str) -> dict[str, Any]:
    return {
        "schema": "tquic-bench-1",
        "benchmark": line.name,
        "command": str(line),
        "status": status,
    }
