"""A line for each request."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tquic.h3.server._exchange import Exchange

__all__ = ["AccessLog"]

_logger: Final = logging.getLogger("tquic.access")


class AccessLog:
    """Writes lines in the combined log format, and behind it the seconds that the request took, at
    level INFO of the logger ``tquic.access``."""

    def __init__(self) -> None:
        self._second = 0
        self._date = ""

    def tell(self, exchange: Exchange) -> None:
        """The request is over. Status 499: the client gave up before there was a status."""
        request = exchange.request
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._date = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
        referer = agent = b"-"
        for name, value in request.fields:
            if name == b"user-agent":
                agent = value
            elif name == b"referer":
                referer = value
        _logger.info(
            '%s - - [%s] "%s %s HTTP/3" %s %s "%s" "%s" %.6f',
            exchange.connection.remote_address[0],
            self._date,
            _text(request.method),
            _text(request.path or request.authority or b"-"),
            exchange.status or 499,
            exchange.written,
            _text(referer),
            _text(agent),
            time.monotonic() - exchange.started,
        )


def _text(value: bytes) -> str:
    """What a client wrote, so that it cannot end the line or its quotes."""
    return value.decode("latin-1").encode("unicode_escape").decode().replace('"', '\\"')
