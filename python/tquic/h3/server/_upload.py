"""Files that come by PUT: written beside their place, and put there when they are whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat

from tquic import _engine
from tquic.h3.server._answer import Answer, date_line, problem
from tquic.h3.server._conditions import Validators, precondition
from tquic.h3.server._fields import Fields

__all__ = ["Upload"]

# Folders are not made on the way.
_NO_FOLDER = "there is no such folder"


class Upload:
    """One file on its way in. `finish` or `abort` ends it."""

    def __init__(self, folder: int, name: bytes, *, replaces: bool) -> None:
        self._folder = folder
        self._name = name
        self._replaces = replaces
        self._part = b".%s.%s.part" % (name[:200], secrets.token_hex(8).encode())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(self._part, flags, 0o666, dir_fd=folder)
        except OSError:
            os.close(folder)
            raise

    @classmethod
    def begin(cls, root: _engine.Root, path: bytes, fields: Fields) -> Upload | Answer:
        """Opens a file for the body of a PUT request, or says why not.

        Args:
            root: the folder that may be written to.
            path: as in the request.
            fields: those of the request.
        """
        try:
            parts = _engine.path_parts(path)
        except ValueError:
            return problem(400)
        # RFC 9110 section 14.5: what would replace the whole by a part of it, is refused.
        if fields.first(b"content-range") is not None or b"?" in path:
            return problem(400)
        if not parts or path.endswith(b"/"):
            return problem(409, why="the path names no file")
        folder = -1
        try:
            folder, is_folder, *_ = root.open(parts[:-1])
            if not is_folder:
                os.close(folder)
                return problem(409, why=_NO_FOLDER)
            current = _current(folder, parts[-1])
        except IsADirectoryError:
            os.close(folder)
            return problem(409, why="a folder has this name")
        except OSError:
            return problem(409, why=_NO_FOLDER)
        if precondition(b"PUT", fields, current) is not None:
            os.close(folder)
            return problem(412)
        try:
            return cls(folder, parts[-1], replaces=current is not None)
        except OSError:
            return problem(403)

    def write(self, data: bytes | memoryview) -> None:
        """Adds to the file.

        Raises:
            OSError: the disk is full, or broken.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self) -> Answer:
        """Puts the file in its place.

        Raises:
            OSError: that is not possible.
        """
        try:
            # A link in its place is replaced, not followed.
            os.rename(self._part, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            self.abort()
            raise
        facts = os.fstat(self._file)
        self._close()
        status = 204 if self._replaces else 201
        length = [] if self._replaces else [(b"content-length", b"0")]
        etag = b'"%x-%x"' % (facts.st_mtime_ns, facts.st_size)
        return Answer(status, [date_line(), *length, (b"etag", etag)])

    def abort(self) -> None:
        """Deletes what was written. Doing so again, or after `finish`, does nothing."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._part, dir_fd=self._folder)
            self._close()

    def _close(self) -> None:
        os.close(self._file)
        os.close(self._folder)
        self._file = -1


def _current(folder: int, name: bytes) -> Validators | None:
    """What is in the place of the file now.

    Raises:
        IsADirectoryError: a folder.
    """
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError
    etag = b'"%x-%x"' % (facts.st_mtime_ns, facts.st_size)
    return Validators(etag, int(facts.st_mtime))
