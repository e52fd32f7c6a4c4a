"""The dissector against the sample packets of the RFCs, and capture files against themselves."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .capture import parse, read_pcap, write_pcap
from .dissect import Datagram, Trace
from .dissect.frames import MalformedError, Reader, parse_frames
from .dissect.headers import parse_long
from .dissect.keys import (
    CHACHA20_POLY1305_SHA256,
    VERSION_1,
    VERSION_2,
    PacketKeys,
    expand_label,
    initial_keys,
    read_keylog,
)
from .dissect.tls import CryptoStream

DESTINATION = bytes.fromhex("8394c8f03e515708")
# RFC 9001 appendix A.3 and RFC 9369 appendix A.3.
SERVER_PAYLOAD = bytes.fromhex(
    "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566d"
    "c5430b9a045a1200"
    "130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bc"
    "f32bb9da1a002b00020304"
)
SERVER_PACKETS = {
    VERSION_1: "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a"
    "1c69797554"
    "780bb3"
    "8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb"
    "19fb84022f8ef4"
    "cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
    VERSION_2: "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d"
    "9b89237bbf"
    "872630"
    "17915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e4275750769"
    "8075b2c984c707"
    "f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140",
}


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
def test_server_initial_of_the_rfc(version: int) -> None:
    """Keys, header protection and AEAD of both versions."""
    header, rest = parse_long(bytes.fromhex(SERVER_PACKETS[version]))
    assert (header.kind, header.version, rest) == ("initial", version, b"")
    assert header.source.hex() == "f067a5502a4262b5"
    keys = initial_keys(DESTINATION, version, client=False)
    at = header.number_offset
    mask = keys.mask(header.packet[at + 4 : at + 20])
    first = header.packet[0] ^ mask[0] & 0x0F
    number = bytes(a ^ b for a, b in zip(header.packet[at : at + 2], mask[1:], strict=False))
    assert (first & 3, number) == (1, b"\0\1")
    associated = bytes([first]) + header.packet[1:at] + number
    assert keys.open(associated, 1, header.packet[at + 2 :]) == SERVER_PAYLOAD
    assert keys.open(associated, 2, header.packet[at + 2 :]) is None
    frames, padding = parse_frames(SERVER_PAYLOAD)
    assert ([frame.name for frame in frames], padding) == (["ACK", "CRYPTO"], 0)


def test_chacha20_packet_of_the_rfc() -> None:
    """RFC 9001 appendix A.5, with its key update."""
    secret = bytes.fromhex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
    packet = bytes.fromhex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb")
    keys = PacketKeys(secret, CHACHA20_POLY1305_SHA256, VERSION_1)
    assert keys.mask(packet[5:21]).hex() == "aefefe7d03"
    assert keys.open(bytes.fromhex("4200bff4"), 654360564, packet[4:]) == b"\1"
    assert (
        keys.updated().secret.hex()
        == "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9"
    )


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("25", 37),
        ("7bbd", 15293),
        ("9d7f3e7d", 494878333),
        ("c2197c5eff14e88c", 151288809941952652),
    ],
)
def test_varint_of_the_rfc(encoded: str, value: int) -> None:
    """RFC 9000 appendix A.1."""
    assert Reader(bytes.fromhex(encoded)).varint() == value


def test_truncated_bytes_are_malformed() -> None:
    """Too few bytes are never taken for a value."""
    with pytest.raises(MalformedError):
        parse_frames(b"\x06\x00\x05abc")
    with pytest.raises(MalformedError):
        parse_long(bytes.fromhex(SERVER_PACKETS[VERSION_1])[:-1])


def test_crypto_stream_reassembles() -> None:
    """Pieces out of order, overlapping and twice give each message once."""
    message = b"\1\0\0\6abcdef" + b"\2\0\0\2xy"
    stream = CryptoStream()
    assert stream.add(8, message[8:]) == []
    assert stream.add(8, message[8:10]) == []
    assert stream.add(0, message[:5]) == []
    assert stream.add(3, message[3:9]) == [(1, b"abcdef"), (2, b"xy")]
    assert stream.add(0, message) == []
    assert stream.highest == len(message)


def protect(
    destination: bytes, number: int, payload: bytes, client_source: bytes = b"client00"
) -> bytes:
    """A client Initial as a client makes it."""
    keys = initial_keys(destination, VERSION_1, client=True)
    length = (len(payload) + 4 + 16) | 0x4000
    header = struct.pack("!BIB", 0xC3, VERSION_1, len(destination)) + destination
    header += (
        bytes([len(client_source)]) + client_source + b"\0" + struct.pack("!HI", length, number)
    )
    key = expand_label(keys.secret, "quic key", 16, "sha256")
    iv = expand_label(keys.secret, "quic iv", 12, "sha256")
    nonce = (int.from_bytes(iv) ^ number).to_bytes(12)
    sealed = AESGCM(key).encrypt(nonce, payload, header)
    mask = keys.mask(sealed[:16])
    number_bytes = bytes(a ^ b for a, b in zip(header[-4:], mask[1:], strict=True))
    return bytes([header[0] ^ mask[0] & 0x0F]) + header[1:-4] + number_bytes + sealed


def test_a_damaged_connection_id_makes_no_connection() -> None:
    """The server's answer belongs to the real connection, not to what damage invented."""
    client, server = ("127.0.0.1", 5000), ("127.0.0.1", 4433)
    good = protect(DESTINATION, 0, b"\1" + bytes(60))
    damaged = good[:6] + b"\xff" + good[7:]
    # The RFC's server answers a client without connection ID.
    anonymous = protect(DESTINATION, 0, b"\1" + bytes(60), client_source=b"")
    answer = bytes.fromhex(SERVER_PACKETS[VERSION_1])
    trace = Trace(
        [
            Datagram(0.0, client, server, 0, anonymous),
            Datagram(0.1, client, server, 0, damaged),
            Datagram(0.2, server, client, 0, answer),
        ],
        {4433},
        {},
    )
    assert [c.original_destination for c in trace.connections] == [DESTINATION]
    assert trace.strays == 1
    kinds = [
        (p.from_client, p.number, [f.name for f in p.frames or ()])
        for p in trace.connections[0].packets
    ]
    assert kinds == [(True, 0, ["PING"]), (False, 1, ["ACK", "CRYPTO"])]
    assert trace.connections[0].tls.suite == 0x1301


def test_keylog_lines(tmp_path: Path) -> None:
    """Comments and broken lines are skipped, files are merged."""
    (tmp_path / "a").write_text("# comment\nCLIENT_TRAFFIC_SECRET_0 aa bb\nbroken line\n")
    (tmp_path / "b").write_text("SERVER_TRAFFIC_SECRET_0 aa cc\n")
    secrets = read_keylog([tmp_path / "a", tmp_path / "b", tmp_path / "none"])
    assert secrets == {
        b"\xaa": {"CLIENT_TRAFFIC_SECRET_0": b"\xbb", "SERVER_TRAFFIC_SECRET_0": b"\xcc"}
    }


def test_capture_files_keep_datagrams(tmp_path: Path) -> None:
    """Both address families and ECN survive."""
    datagrams = [
        Datagram(1.5, ("127.0.0.1", 5000), ("127.0.0.2", 4433), 2, b"one"),
        Datagram(2.25, ("::1", 4433), ("::1", 5000), 3, b"two"),
    ]
    write_pcap(tmp_path / "x.pcap", datagrams)
    assert read_pcap(tmp_path / "x.pcap") == datagrams


def test_a_train_of_segments_is_cut() -> None:
    """A frame of loopback that carries a GSO train of 3 bytes each."""
    vnet = struct.pack("<BBHHHH", 1, 5, 42, 3, 34, 6)
    ethernet = bytes(12) + b"\x08\x00"
    ip = bytes([0x45, 2]) + bytes(7) + bytes([17]) + bytes(2) + bytes([127, 0, 0, 1, 127, 0, 0, 1])
    udp = struct.pack("!HHHH", 5000, 4433, 16, 0) + b"aaabbbcc"
    found = parse(1.0, vnet + ethernet + ip + udp)
    assert [d.data for d in found] == [b"aaa", b"bbb", b"cc"]
    assert {(d.source, d.destination, d.ecn) for d in found} == {
        (("127.0.0.1", 5000), ("127.0.0.1", 4433), 2)
    }
