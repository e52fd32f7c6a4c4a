"""The same programs on aioquic and on tquic.compat.aioquic, in every combination."""

from __future__ import annotations

from typing import Any


async def test_echo(run: Any) -> None:
    answers, *_ = await run("echo")
    assert answers == [b"%d" % number * 5000 for number in range(10)] + [b""]


async def test_streams(run: Any) -> None:
    answers, _, server = await run("streams")
    assert answers == [b"ONE\n", b"TWO\n", b"THREE\nFOUR", 2, 30_001]
    for task in list(server.tasks):
        await task


async def test_datagrams(run: Any) -> None:
    answers, *_ = await run("datagrams")
    assert answers == [(b"%d" % number)[::-1] for number in range(20)]


async def test_http(run: Any) -> None:
    bodies, *_ = await run("http")
    assert bodies == [bytes(range(256)) * (1 << size) for size in (0, 8, 12)]


async def test_tickets(run: Any) -> None:
    results, *_ = await run("tickets")
    assert results == [(False, False), (True, True), (True, True)]


async def test_events(run: Any) -> None:
    told, client, server = await run("events")
    shown = [repr(event) for event in told if type(event).__name__ in SHOWN]
    assert shown[:2] == [
        "ProtocolNegotiated(alpn_protocol='recorder')",
        "HandshakeCompleted(alpn_protocol='recorder', early_data_accepted=False, "
        "session_resumed=False)",
    ]
    assert joined(told, 3) == b"from the server"
    assert "StopSendingReceived(error_code=8, stream_id=4)" in shown
    assert "StreamReset(error_code=7, stream_id=0)" in shown
    assert "PingAcknowledged(uid=77)" in shown
    assert shown[-1] == (
        "ConnectionTerminated(error_code=9, frame_type=None, reason_phrase='as you like')"
    )
    (protocol,) = server.servers
    await protocol.wait_closed()
    assert joined(protocol.events, 0) == b"open\nstop\nreset\nclose\n"
    # What it stopped was reset with its own code.
    assert repr(protocol.events[-1]) == shown[-1]
    # The classes are those of the program's own stack.
    module = told[0].__class__.__module__
    assert module == client.events.__name__


SHOWN = {
    "ProtocolNegotiated",
    "HandshakeCompleted",
    "StopSendingReceived",
    "StreamReset",
    "PingAcknowledged",
    "ConnectionTerminated",
}


def joined(told: list[Any], stream: int) -> bytes:
    """What a stream brought."""
    return b"".join(
        event.data
        for event in told
        if type(event).__name__ == "StreamDataReceived" and event.stream_id == stream
    )
