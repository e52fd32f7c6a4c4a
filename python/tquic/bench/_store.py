"""Results that are kept, one file each."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final

__all__ = ["Store"]

# Results kept; the oldest make room.
_MOST: Final = 1000
_NAME: Final = re.compile(r"(\d{6,})-[a-z_]+\.json")


class Store:
    """A folder of results, numbered from 1.

    Args:
        folder: the folder. Default: that of the environment variable ``TQUIC_BENCH_DIR``, else
            ``tquic/bench`` in ``XDG_STATE_HOME``, else in ``~/.local/state``.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        chosen = folder or os.environ.get("TQUIC_BENCH_DIR")
        if not chosen:
            state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
            chosen = Path(state) / "tquic" / "bench"
        self.folder = Path(chosen)

    def _files(self) -> dict[int, Path]:
        try:
            found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        except FileNotFoundError:
            return {}
        return dict(sorted((int(match[1]), path) for match, path in found if match))

    def add(self, result: dict[str, Any]) -> dict[str, Any]:
        """Keeps a result; answers it with its ``number`` and ``time``.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self._files()
        number = max(files, default=0) + 1
        while True:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            kept = {"number": number, "time": when, **result}
            path = self.folder / f"{number:06}-{result['benchmark']}.json"
            try:
                # Another process may have taken the number for the same benchmark just now.
                with path.open("x", encoding="utf-8") as file:
                    json.dump(kept, file, indent=2)
                break
            except FileExistsError:
                number += 1
        for old in list(files)[: max(len(files) + 1 - _MOST, 0)]:
            files[old].unlink(missing_ok=True)
        return kept

    def all(self) -> list[dict[str, Any]]:
        """Every result, the oldest first; files that cannot be read are left out."""
        results = []
        for path in self._files().values():
            try:
                results.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue
        return results

    def last(self, benchmark: str | None = None) -> dict[str, Any] | None:
        """The newest result, or that of one benchmark."""
        wanted = (one for one in reversed(self.all()) if benchmark in (None, one["benchmark"]))
        return next(wanted, None)

    def get(self, number: int) -> dict[str, Any] | None:
        """The result with a number."""
        path = self._files().get(number)
        return None if path is None else json.loads(path.read_text(encoding="utf-8"))

    def reset(self) -> int:
        """Forgets all; answers how many there were."""
        files = self._files()
        for path in files.values():
            path.unlink(missing_ok=True)
        return len(files)
