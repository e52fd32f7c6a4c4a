"""Several processes that do the same, and one that watches over them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from tquic._startup import INTERRUPTED
from tquic.cli.failure import CommandError
from tquic.cli.output import note

__all__ = ["Worker", "run_workers"]

# A process that ends within so many seconds is not begun anew more often than this, in a row.
_SOON: Final = 2.0
_ATTEMPTS: Final = 5


class Worker:
    """One of the processes, as it sees itself."""

    def __init__(self, number: int, parent: int, pipe: int) -> None:
        self.number = number
        self._parent = parent
        self._pipe = pipe

    def ready(self) -> None:
        """It can do its work."""
        os.write(self._pipe, b"+")
        os.close(self._pipe)

    def has_parent(self) -> bool:
        """Whether somebody still watches over it."""
        return os.getppid() == self._parent


class _Crew:
    """The processes, as their parent sees them."""

    def __init__(self, work: Callable[[Worker], int]) -> None:
        self._work = work
        self.begun: dict[int, tuple[int, float]] = {}
        self.failures = 0

    def begin(self, number: int) -> int:
        """Begins a process; answers a descriptor that becomes readable when it is ready or ends."""
        reading, writing = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _be(self._work, Worker(number, parent, writing))
        os.close(writing)
        self.begun[pid] = (number, time.monotonic())
        return reading

    def tell(self, number: int) -> None:
        """Sends all of them a signal."""
        for pid in self.begun:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self) -> tuple[int, int, float]:
        """Waits for the end of one: its number, status and seconds of life."""
        pid, status = os.wait()
        number, since = self.begun.pop(pid)
        return number, os.waitstatus_to_exitcode(status), time.monotonic() - since

    def end(self, number: signal.Signals) -> int:
        """Has all of them end, and answers the worst status."""
        self.tell(number)
        worst = 0
        while self.begun:
            with contextlib.suppress(ChildProcessError, KeyboardInterrupt):
                status = self.wait()[1]
                worst = max(worst, abs(status))
        return worst


def _be(work: Callable[[Worker], int], worker: Worker) -> None:
    """The life of a process."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = work(worker)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except CommandError as error:
        print(f"tquic serve: {error}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Told(Exception):  # noqa: N818 - what happened
    """SIGTERM came."""


def run_workers(count: int, work: Callable[[Worker], int], announce: Callable[[], None]) -> int:
    """Runs processes until SIGTERM or Ctrl-C; one that dies is replaced.

    Nothing may run in another thread yet: the processes are forks of this one.

    Args:
        count: how many.
        work: what each does: it calls `Worker.ready`, and answers its exit status.
        announce: called when all are ready.

    Raises:
        CommandError: one cannot begin, or they die all the time.
        KeyboardInterrupt: Ctrl-C; all have ended.
    """
    crew = _Crew(work)

    def on_term(*_: object) -> None:
        raise _Told

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        for pipe in [crew.begin(number) for number in range(count)]:
            _await_ready(pipe)
        announce()
        _watch(crew)
    except _Told:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 1 if crew.end(signal.SIGTERM) else 0
    except KeyboardInterrupt:
        # The terminal has told them, too; twice is once.
        crew.end(signal.SIGINT)
        raise
    except BaseException:
        crew.end(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _await_ready(pipe: int) -> None:
    try:
        select.select([pipe], [], [])
        if not os.read(pipe, 1):
            raise CommandError("a worker could not begin")
    finally:
        os.close(pipe)


def _watch(crew: _Crew) -> NoReturn:
    while True:
        number, status, life = crew.wait()
        crew.failures = crew.failures + 1 if life < _SOON else 0
        if crew.failures >= _ATTEMPTS:
            raise CommandError(f"workers die at once; the last with status {status}")
        note(f"worker {number} ended with status {status}; another takes its place")
        _await_ready(crew.begin(number))
