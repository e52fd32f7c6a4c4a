"""The files of a folder, as answers to requests."""

from __future__ import annotations

import errno
import functools
import os
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes

from tquic import _engine
from tquic.h3.prepared import Prepared, prepare_response
from tquic.h3.server._answer import Answer, Line, Part, date_line, problem
from tquic.h3.server._conditions import Validators, http_date, precondition, range_applies
from tquic.h3.server._fields import Fields
from tquic.h3.server._listing import listing
from tquic.h3.server._media import accepted_codings, content_type
from tquic.h3.server._ranges import Range, parse_range

if TYPE_CHECKING:
    from _typeshed import StrPath

__all__ = ["Folder"]

# Files up to this many bytes are kept in memory; larger ones are sent by the engine.
_SMALL: Final = 64 * 1024
# Seconds after which a file that is kept is looked at again.
_FRESH: Final = 1.0
# What keeping a file costs beside its bytes, about.
_OVERHEAD: Final = 2048

# Codings and the endings of files that are compressed already, best first.
_ENDINGS: Final = ((b"br", b".br"), (b"gzip", b".gz"))

# Fields without which every request for a path gets the same answer.
_CONDITIONS: Final = frozenset(
    {
        *(b"range", b"if-range", b"if-match", b"if-none-match"),
        *(b"if-modified-since", b"if-unmodified-since"),
    }
)
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_HTML: Final = (b"content-type", b"text/html; charset=utf-8")

_Key = tuple[bytes, tuple[bytes, ...]]


@dataclass(slots=True)
class _Found:
    """One representation of a file: open, or kept."""

    descriptor: int | None
    size: int
    validators: Validators
    fields: list[Line]
    # Its content if it is small, and when that was last compared with the file.
    content: bytes | None = None
    checked: float = 0.0
    prepared: Prepared | None = None


class Folder:
    """Serves the files of a folder, and nothing outside of it.

    Symbolic links are followed as long as they stay inside. Files are opened and small ones read in
    the thread of the caller.

    Args:
        path: the folder.
        show: pages for folders without an ``index.html``. Default on.
        keep: bytes of memory for small files and their headers. Default 16 MiB.

    Raises:
        OSError: it is no folder, or cannot be read.
    """

    def __init__(self, path: StrPath, *, show: bool = True, keep: int = 16 << 20) -> None:
        self.root = _engine.Root(path)
        self._show = show
        self._keep = keep
        self._kept: OrderedDict[_Key, _Found] = OrderedDict()
        self._used = 0

    def answer(self, method: bytes, path: bytes, lines: list[Line]) -> Answer | Prepared:
        """The answer to a GET or HEAD request.

        Args:
            method: ``b"GET"`` or ``b"HEAD"``.
            path: as in the request, with its query.
            lines: the request's fields.
        """
        codings: tuple[bytes, ...] = ()
        plain = True
        for name, value in lines:
            if name == b"accept-encoding":
                codings = _codings(value)
            elif name in _CONDITIONS:
                plain = False
        key = (path, codings)
        kept = self._kept.get(key)
        if kept is not None and kept.checked + _FRESH > time.monotonic():
            return _prepared(kept) if plain else _select(kept, method, Fields(lines))
        try:
            found = self._find(key)
        except ValueError:
            return problem(400, head=method == b"HEAD")
        except OSError as error:
            return problem(_status(error), head=method == b"HEAD")
        if isinstance(found, Answer):
            if method == b"HEAD":
                found.parts.clear()
            return found
        if plain and found.content is not None:
            return _prepared(found)
        return _select(found, method, Fields(lines))

    # ---- Finding ----

    def _find(self, key: _Key) -> _Found | Answer:
        path = key[0]
        parts = _engine.path_parts(path)
        descriptor, is_folder, size, mtime = self.root.open(parts)
        if is_folder:
            if not path.partition(b"?")[0].endswith(b"/"):
                os.close(descriptor)
                return _moved(parts, path)
            try:
                index, is_folder, size, mtime = self.root.open([*parts, b"index.html"])
            except OSError:
                return self._listed(descriptor, parts)
            os.close(descriptor)
            descriptor, parts = index, [*parts, b"index.html"]
        elif path.partition(b"?")[0].endswith(b"/"):
            os.close(descriptor)
            return problem(404)
        if is_folder:
            os.close(descriptor)
            return problem(404)
        return self._represent(key, parts, (descriptor, size, mtime))

    def _represent(self, key: _Key, parts: list[bytes], original: tuple[int, int, int]) -> _Found:
        """The representation of a file that suits best."""
        descriptor, size, mtime = original
        coding, varies = b"", False
        for name, ending in _ENDINGS:
            try:
                other, is_folder, *facts = self.root.open([*parts[:-1], parts[-1] + ending])
            except OSError:
                continue
            # One that is older than the file was made from another.
            usable = not is_folder and facts[1] >= mtime
            varies |= usable
            if usable and name in key[1] and not coding:
                os.close(descriptor)
                coding, descriptor, (size, mtime) = name, other, facts
            else:
                os.close(other)
        etag = b'"%x-%x%s"' % (mtime, size, b"-" + coding if coding else b"")
        kept = self._kept.get(key)
        if kept is not None and kept.validators.etag == etag:
            os.close(descriptor)
            kept.checked = time.monotonic()
            # Its Date is of another second.
            kept.prepared = None
            self._kept.move_to_end(key)
            return kept
        validators = Validators(etag, mtime // 1_000_000_000)
        fields = [
            (b"content-type", content_type(os.fsdecode(parts[-1]))),
            (b"etag", etag),
            (b"last-modified", http_date(validators.modified)),
            (b"accept-ranges", b"bytes"),
            _NOSNIFF,
        ]
        if coding:
            fields.append((b"content-encoding", coding))
        if varies:
            fields.append((b"vary", b"accept-encoding"))
        return self._keep_small(key, _Found(descriptor, size, validators, fields))

    def _keep_small(self, key: _Key, found: _Found) -> _Found:
        """Reads a small file, and keeps it."""
        self._drop(key)
        if found.size > _SMALL or found.descriptor is None:
            return found
        descriptor, found.descriptor = found.descriptor, None
        try:
            content = os.pread(descriptor, found.size + 1, 0)
        finally:
            os.close(descriptor)
        # It changes just now: what was read is whole in itself, but not what the tag stands for.
        found.content = content
        found.checked = time.monotonic()
        if len(content) != found.size:
            found.size = len(content)
            return found
        cost = len(content) * 2 + len(key[0]) + _OVERHEAD
        if cost <= self._keep:
            self._kept[key] = found
            self._used += cost
            while self._used > self._keep:
                self._drop(next(iter(self._kept)))
        return found

    def _drop(self, key: _Key) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._used -= found.size * 2 + len(key[0]) + _OVERHEAD

    def _listed(self, descriptor: int, parts: list[bytes]) -> Answer:
        try:
            if not self._show:
                return problem(404)
            page = listing(descriptor, parts)
        finally:
            os.close(descriptor)
        lines = [date_line(), _HTML, (b"content-length", b"%d" % len(page)), _NOSNIFF]
        # Names of files are no place for scripts, even if escaping them had a hole.
        policy = b"default-src 'none'; style-src 'unsafe-inline'"
        return Answer(200, [*lines, (b"content-security-policy", policy)], [page], len(page))


@functools.lru_cache(maxsize=64)
def _coded(value: bytes) -> tuple[bytes, ...]:
    accepted = accepted_codings(value)
    return tuple(name for name, _ in _ENDINGS if name in accepted)


def _codings(value: bytes) -> tuple[bytes, ...]:
    """What of ours a client takes; long fields, which no browser sends, are not remembered."""
    return _coded(value) if len(value) <= 128 else _coded.__wrapped__(value)


def _moved(parts: list[bytes], path: bytes) -> Answer:
    """The address of a folder ends with a slash, or relative links in it would lead elsewhere."""
    # Made anew: "//host/folder" would lead to another host.
    where = "".join(f"/{quote_from_bytes(part, safe='')}" for part in parts) + "/"
    _, mark, query = path.partition(b"?")
    return problem(301, (b"location", where.encode() + mark + query))


def _status(error: OSError) -> int:
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return 503
    if error.errno == errno.EIO:
        return 500
    # Whether it is missing, lies outside or may not be read is nobody's business.
    return 404


def _prepared(found: _Found) -> Prepared:
    """The answer to a request without conditions, encoded once; for HEAD as well."""
    if found.prepared is None:
        found.prepared = prepare_response(_lines(found, 200, found.size), found.content or b"")
    return found.prepared


def _lines(found: _Found, status: int, size: int, *more: Line) -> list[Line]:
    length = (b"content-length", b"%d" % size)
    return [(b":status", b"%d" % status), date_line(), length, *found.fields, *more]


def _select(found: _Found, method: bytes, fields: Fields) -> Answer:
    """The answer to a request for a file, with its conditions and ranges."""
    status = precondition(method, fields, found.validators)
    if status is not None:
        _close(found)
        if status == 412:
            return problem(412, head=method == b"HEAD")
        # RFC 9110 section 15.4.5: what caches update their copy with.
        kept = [line for line in found.fields if line[0] in (b"etag", b"last-modified", b"vary")]
        return Answer(304, [date_line(), *kept])
    value = fields.first(b"range")
    ranges = None
    # RFC 9110 section 14.2: only GET knows ranges.
    if method == b"GET" and value is not None:
        ranges = parse_range(value, found.size)
        if not range_applies(fields, found.validators, time.time()):
            ranges = None
    if ranges is None:
        return _answer(found, 200, [] if method == b"HEAD" else [Range(0, found.size)], found.size)
    if not ranges:
        _close(found)
        return problem(416, (b"content-range", b"bytes */%d" % found.size))
    if len(ranges) == 1:
        content_range = (b"content-range", ranges[0].content_range(found.size))
        return _answer(found, 206, ranges, ranges[0].size, content_range)
    return _multipart(found, ranges)


def _answer(found: _Found, status: int, ranges: list[Range], size: int, *more: Line) -> Answer:
    lines = _lines(found, status, size, *more)[1:]
    parts = [_piece(found, part) for part in ranges if part.size]
    answer = Answer(status, lines, parts, size if ranges else 0, found.descriptor)
    if not parts:
        answer.close()
    return answer


def _multipart(found: _Found, ranges: list[Range]) -> Answer:
    """Several parts in one body (RFC 9110 section 15.3.7.2)."""
    boundary = secrets.token_hex(16).encode()
    media = next(line[1] for line in found.fields if line[0] == b"content-type")
    parts: list[Part] = []
    size = 0
    for part in ranges:
        head = b"\r\n--%s\r\ncontent-type: %s\r\ncontent-range: %s\r\n\r\n" % (
            boundary,
            media,
            part.content_range(found.size),
        )
        parts += [head, _piece(found, part)]
        size += len(head) + part.size
    parts.append(b"\r\n--%s--\r\n" % boundary)
    size += len(boundary) + 8
    lines = [date_line(), (b"content-length", b"%d" % size)]
    lines.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    lines += [line for line in found.fields if line[0] != b"content-type"]
    return Answer(206, lines, parts, size, found.descriptor)


def _piece(found: _Found, part: Range) -> Part:
    if found.descriptor is not None:
        return (found.descriptor, part.offset, part.size)
    return (found.content or b"")[part.offset : part.offset + part.size]


def _close(found: _Found) -> None:
    if found.descriptor is not None:
        os.close(found.descriptor)
        found.descriptor = None
