"""Answers requests with the files of a folder."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from tquic.h3.server._answer import Answer, date_line, problem
from tquic.h3.server._exchange import Disconnected, Exchange
from tquic.h3.server._fields import Fields
from tquic.h3.server._files import Folder
from tquic.h3.server._upload import Upload

if TYPE_CHECKING:
    from _typeshed import StrPath

__all__ = ["StaticFiles"]


class StaticFiles:
    """Serves the files of a folder, and takes new ones if that is allowed::

        async with tquic.h3.serve(StaticFiles("www"), "127.0.0.1", 4433, config=config) as server:
            await server.wait_closed()

    Understands Range (also of several parts), the fields of conditional requests, and sends a file
    ``name.br`` or ``name.gz`` for ``name`` to clients that can read it. Nothing outside of the
    folder is served: links are followed as long as they stay inside.

    Args:
        path: the folder.
        writable: let clients put files, with PUT: they appear when they are whole. Default off.
        show: pages for folders without an ``index.html``. Default on.

    Raises:
        OSError: it is no folder, or cannot be read.
    """

    cancels = True
    protocols: frozenset[bytes] = frozenset()

    def __init__(self, path: StrPath, *, writable: bool = False, show: bool = True) -> None:
        self._folder = Folder(path, show=show)
        self._writable = writable
        methods = b"GET, HEAD, OPTIONS" + (b", PUT" if writable else b"")
        self._allow = (b"allow", methods)

    def respond(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Answers; only uploads have to be awaited."""
        request = exchange.request
        method, path = request.method, request.path or b"/"
        if method in (b"GET", b"HEAD"):
            exchange.answer(self._folder.answer(method, path, request.fields))
        elif method == b"PUT" and self._writable:
            return self._put(exchange, path)
        elif method == b"OPTIONS":
            exchange.answer(Answer(204, [date_line(), self._allow]))
        else:
            exchange.answer(problem(405, self._allow))
        return None

    async def start(self) -> None:
        """Nothing has to be done before."""

    async def stop(self) -> None:
        """Nothing has to be done behind."""

    async def _put(self, exchange: Exchange, path: bytes) -> None:
        upload = Upload.begin(self._folder.root, path, Fields(exchange.request.fields))
        if isinstance(upload, Answer):
            exchange.answer(upload)
            return
        try:
            while chunk := await exchange.read():
                upload.write(chunk)
                if len(chunk) >= _TURN:
                    # Others have their turn while a fast client fills the disk.
                    await asyncio.sleep(0)
            exchange.answer(upload.finish())
        except Disconnected:
            raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            exchange.refuse(507 if full else 500)
        finally:
            upload.abort()


# Bytes of a piece after which the event loop goes on with something else.
_TURN = 32 * 1024
