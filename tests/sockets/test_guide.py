"""The C fragments of the guide, line by line in Python, in its order; and its defaults."""

from __future__ import annotations

import errno
import socket as stdlib
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tquic.codes
from tquic.socket import *

Pair = Callable[..., tuple[socket, socket]]


def test_the_walk_through(make: Callable[..., socket], tmp_path: Path) -> None:
    listener = make(server=True)
    listener.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ALPN, "h3")
    listener.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_MULTIPATH_ENABLE, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)

    # Creating QUIC Sockets
    fd = make()
    assert (fd.family, fd.type, fd.proto) == (AF_INET, SOCK_DGRAM, IPPROTO_QUIC)

    # Connection Configuration
    alpn = b"h3"
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ALPN, alpn)
    timeout = struct.pack("=I", 60000)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT, timeout)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_INITIAL_MAX_DATA, 1 << 22)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI, 1 << 21)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI, 100)
    assert fd.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT, 4) == timeout

    # Multipath Configuration
    enable = struct.pack("=i", 1)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_MULTIPATH_ENABLE, enable)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_SCHEDULER, b"minrtt")

    # Congestion Control
    for cc in (b"cubic", b"bbr2", b"bbr3", b"prague", b"copa", b"bbr"):
        fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_CONGESTION, cc)
        assert fd.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_CONGESTION, 16) == cc

    # Observability, then into files, where it can be looked at
    args = QlogArgs(TQUIC_QLOG_MODE_NETLINK, QLOG_MASK_ALL, TQUIC_QLOG_SEV_BASE)
    fd.setsockopt(SOL_TQUIC, TQUIC_QLOG_ENABLE, args.pack())
    args = args._replace(mode=TQUIC_QLOG_MODE_FILE)
    fd.setsockopt(SOL_TQUIC, TQUIC_QLOG_PATH, str(tmp_path))
    fd.setsockopt(SOL_TQUIC, TQUIC_QLOG_ENABLE, args.pack())
    assert QlogArgs.unpack(bytes(fd.getsockopt(SOL_TQUIC, TQUIC_QLOG_ENABLE, 24))) == args  # type: ignore[arg-type]

    # Zero-Copy I/O
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ZEROCOPY, enable)

    fd.connect(listener.getsockname())
    server, _ = listener.accept()
    server.settimeout(30)
    assert fd.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ALPN, 16) == b"h3"

    # TQUIC_SOCKOPT_ADD_PATH
    local_addr = struct.pack("=H", AF_INET) + struct.pack(
        "!H4s8x", 0, stdlib.inet_aton("127.0.0.2")
    )
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_ADD_PATH, local_addr)
    assert [path.path_id for path in fd.paths()] == [0, 1]

    # Opening Streams
    info = StreamInfo(stream_id=0, flags=0)
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_STREAM_OPEN, info.pack())

    # Sending Data, with the flag of Zero-Copy I/O
    stream_id = struct.pack("=Q", info.stream_id)
    sent = fd.sendmsg([b"data"], [(SOL_TQUIC, TQUIC_STREAM_ID, stream_id)], MSG_ZEROCOPY)
    assert sent == 4

    # Receiving Data
    n, ancillary, flags, address = server.recvmsg(4096, 32)
    assert (n, flags, address) == (b"data", 0, server.getpeername())
    ((level, kind, data),) = ancillary
    assert (level, kind) == (SOL_TQUIC, TQUIC_STREAM_INFO)
    assert StreamInfo.unpack(data) == (0, TQUIC_STREAM_FLAG_NEW)

    # Completion notifications
    (done,) = notification(fd)
    assert struct.unpack("=IBBBBII", done[2])[1::4] == (5, 0)

    fd.close()
    assert server.recvmsg(4096, 32)[0] == b""
    until = time.monotonic() + 30
    while not list(tmp_path.glob("*_client.sqlog")) and time.monotonic() < until:
        time.sleep(0.01)
    assert list(tmp_path.glob("*_client.sqlog"))


def notification(fd: socket) -> list[tuple[int, int, bytes]]:
    until = time.monotonic() + 30
    while True:
        try:
            return fd.recvmsg(0, 64, MSG_ERRQUEUE)[1]
        except BlockingIOError:
            assert time.monotonic() < until
            time.sleep(0.005)


def test_defaults(make: Callable[..., socket]) -> None:
    fd = make()
    defaults = {
        TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT: 30000,
        TQUIC_SOCKOPT_INITIAL_MAX_DATA: 1 << 20,
        TQUIC_SOCKOPT_MULTIPATH_ENABLE: 0,
        TQUIC_SOCKOPT_ZEROCOPY: 0,
        TQUIC_SOCKOPT_AF_XDP: 0,
    }
    for option, value in defaults.items():
        assert fd.getsockopt(SOL_TQUIC, option) == value, option


@pytest.mark.parametrize("scheduler", ["minrtt", "roundrobin", "weighted", "blest", "ecf"])
def test_schedulers(make: Callable[..., socket], scheduler: str) -> None:
    fd = make()
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_SCHEDULER, scheduler)
    assert fd.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_SCHEDULER, 16) == scheduler.encode()


def test_hardware_offload(make: Callable[..., socket]) -> None:
    fd = make()
    info = fd.offload()
    # Nobody has a card that seals QUIC packets, and nothing pretends to.
    assert not info.caps & TQUIC_OFFLOAD_CAP_CRYPTO
    # All that is there is used, but for AF_XDP: that is asked for when the program starts.
    assert info.enabled == info.caps & ~TQUIC_OFFLOAD_CAP_AF_XDP
    with pytest.raises(OSError, match="no network card") as refused:
        fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_OFFLOAD_ENABLE, TQUIC_OFFLOAD_CRYPTO)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_af_xdp_is_of_the_whole_program(make: Callable[..., socket]) -> None:
    fd = make()
    fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP, 0)
    for wanted in (1, 2):
        with pytest.raises(OSError, match="TQUIC_XDP must name the interface") as refused:
            fd.setsockopt(SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP, wanted)
        assert refused.value.errno == errno.EOPNOTSUPP
    assert fd.getsockopt(SOL_TQUIC, TQUIC_SOCKOPT_AF_XDP) == 0


def test_error_codes(pair: Pair) -> None:
    codes = {
        "TQUIC_ERR_NO_ERROR": 0x00,
        "TQUIC_ERR_INTERNAL_ERROR": 0x01,
        "TQUIC_ERR_CONNECTION_REFUSED": 0x02,
        "TQUIC_ERR_FLOW_CONTROL_ERROR": 0x03,
        "TQUIC_ERR_STREAM_LIMIT_ERROR": 0x04,
        "TQUIC_ERR_STREAM_STATE_ERROR": 0x05,
        "TQUIC_ERR_FINAL_SIZE_ERROR": 0x06,
        "TQUIC_ERR_FRAME_ENCODING_ERROR": 0x07,
        "TQUIC_ERR_TRANSPORT_PARAMETER_ERROR": 0x08,
        "TQUIC_ERR_PROTOCOL_VIOLATION": 0x0A,
        "TQUIC_ERR_CRYPTO_ERROR": 0x100,
    }
    assert {name: getattr(tquic.codes, name) for name in codes} == codes
    client, server = pair()
    client.close()
    assert server.recv(1) == b""
    assert server.error()[:3] == (tquic.codes.TQUIC_ERR_NO_ERROR, 3, 0)


def test_versions(pair: Pair) -> None:
    client, server = pair()
    assert client.info().version == server.info().version == 1
