"""The aioquic server: HTTP/0.9 files over bidirectional streams."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.tls import SessionTicket
from common import Unsupported, configuration, setting, unsupported
from http3 import Http3Server

CASES = {
    "handshake", "transfer", "chacha20", "retry", "resumption", "zerortt", "keyupdate",
    "multiconnect", "v2", "clientmigration", "http3",
}  # fmt: skip
MAX_REQUEST = 4096


class FileServer(QuicConnectionProtocol):
    """Answers `GET /name` with the file's bytes and FIN."""

    def __init__(self, *args: object, root: Path, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._root = root
        self._requests: dict[int, bytes] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Collects requests; everything else is aioquic's own business."""
        if not isinstance(event, StreamDataReceived) or event.stream_id % 4:
            return
        request = self._requests.pop(event.stream_id, b"") + event.data
        if event.end_stream:
            self._answer(event.stream_id, request)
        elif len(request) > MAX_REQUEST:
            self._quic.reset_stream(event.stream_id, 1)
        else:
            self._requests[event.stream_id] = request

    def _answer(self, stream_id: int, request: bytes) -> None:
        name = request.decode(errors="replace").removeprefix("GET /").strip()
        path = (self._root / name).resolve()
        if path.parent != self._root or not path.is_file():
            self._quic.reset_stream(stream_id, 1)
            return
        self._quic.send_stream_data(stream_id, path.read_bytes(), end_stream=True)


async def run(testcase: str) -> None:
    """Serves until SIGTERM."""
    if testcase not in CASES:
        raise Unsupported(f"server, test case {testcase}")
    root = Path(setting("WWW", "/www")).resolve()
    protocol = Http3Server if testcase == "http3" else FileServer
    tickets: dict[bytes, SessionTicket] = {}
    server = await serve(
        setting("HOST", "::"),
        int(setting("PORT", "443")),
        configuration=configuration(is_client=False, testcase=testcase),
        create_protocol=lambda *args, **kwargs: protocol(*args, root=root, **kwargs),
        session_ticket_fetcher=lambda label: tickets.pop(label, None),
        session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
        retry=testcase == "retry",
    )
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await terminated.wait()
    server.close()


def main() -> int:
    """The exit status of the server."""
    try:
        asyncio.run(run(setting("TESTCASE", "")))
    except Unsupported as error:
        return unsupported(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
