"""Files that get their name only when they are whole: ``NAME.part`` until then."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tquic.cli.download import ORIGIN, SUFFIX
from tquic.cli.failure import CommandError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# What the server calls the state of the file that the part is of: for If-Range.
_VALIDATOR = "user.tquic.validator"


class PartFile:
    """A file under way. It stays locked, where files can be, so that two programs do not write the
    same."""

    def __init__(self, target: Path, origin: str) -> None:
        self.path = target.with_name(target.name + SUFFIX)
        self._target = target
        self._origin = origin
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise CommandError(f"the file cannot be made: {error.strerror}") from None
        if fcntl is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._descriptor)
                raise CommandError(f"another program is writing {self.path}") from None
            except OSError:
                # A file system without locks is no reason not to store a file.
                pass

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self._descriptor).st_size

    @property
    def validator(self) -> str | None:
        """What `begin` was told of what is there."""
        try:
            return os.getxattr(self._descriptor, _VALIDATOR).decode("latin-1")
        except (OSError, AttributeError):
            return None

    def begin(self, validator: str | None) -> None:
        """What is there is of no use: it begins anew, with what the server calls its state."""
        os.ftruncate(self._descriptor, 0)
        # A file system without attributes is no reason not to store a file.
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(self._descriptor, ORIGIN, self._origin.encode())
            os.setxattr(self._descriptor, _VALIDATOR, (validator or "").encode("latin-1"))

    def finish(self) -> None:
        """It is whole, and replaces what had its name."""
        for attribute in (ORIGIN, _VALIDATOR):
            with contextlib.suppress(OSError, AttributeError):
                os.removexattr(self._descriptor, attribute)
        try:
            self.path.replace(self._target)
        except OSError as error:
            raise CommandError(f"the file cannot get its name: {error.strerror}") from None

    def discard(self) -> None:
        """Its content is of no use."""
        # What cannot be removed still has a name that tells what it is.
        with contextlib.suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Lets go of it."""
        os.close(self._descriptor)
