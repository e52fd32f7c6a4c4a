"""Attacks of a peer that may use several paths (draft-ietf-quic-multipath-21)."""

from __future__ import annotations

import time
from typing import Final

from ...rogue.encode import varints
from ...rogue.peer import IDLE_TIMEOUT, Plan
from ..field import Field
from ..peer import PING, Peer
from ..ports import loopback
from ..row import row
from .frames import PROTOCOL_VIOLATION, closed_with

INITIAL_MAX_PATH_ID: Final = 0x3E
# Paths of a client of `tquic serve --multipath`.
PATHS: Final = 8
PATH_ABANDON, PATH_NEW_CONNECTION_ID = 0x3E75, 0x3E78


def connect(field: Field) -> Peer:
    """A connection that may have several paths; waits for what the server gives for them."""
    # However long the attack takes, none of its connections is idle.
    peer = field.connect(Plan(parameters={INITIAL_MAX_PATH_ID: 1 << 20, IDLE_TIMEOUT: 300_000}))
    peer.until(lambda _: len(given(peer)) >= PATHS - 1)
    return peer


def given(peer: Peer) -> dict[int, bytes]:
    """The server's connection ID for each path but the first."""
    frames = (frame for _, frame in peer.rogue.heard("PATH_NEW_CONNECTION_ID"))
    return {frame["path"]: frame["cid"] for frame in frames if frame["path"]}


def allowed(peer: Peer) -> int:
    """The largest path ID that may be used."""
    limits = (frame["limit"] for _, frame in peer.rogue.heard("MAX_PATH_ID"))
    return max(limits, default=PATHS - 1)


def cid_for(peer: Peer, path: int, sequence: int) -> bytes:
    """A frame with a connection ID of ours for a path."""
    cid = path.to_bytes(4) + sequence.to_bytes(4)
    peer.rogue.paths[cid] = path
    return varints(PATH_NEW_CONNECTION_ID, path, sequence, 0) + b"\x08" + cid + bytes(16)


@row("path-exhaustion", full=50, fast=3, options=("--multipath",), idle_timeout="300s")
def path_exhaustion(field: Field, size: int) -> str:
    """All connection IDs for all paths, a packet on each path, from addresses that are never
    proved; and in the end a path beyond the limit."""
    peers = [connect(field) for _ in range(size)]
    for peer in peers:
        for path, cid in given(peer).items():
            peer.send(b"".join(cid_for(peer, path, sequence) for sequence in range(8)))
            for number in range(3):
                packet = peer.rogue.seal_on(path, cid, number, b"\x1a" + bytes(7) + bytes([number]))
                peer.port.send(packet, loopback(field.ledger.datagrams))
        peer.settle()
    goes_on = all(peer.closed is None for peer in peers)
    field.note("goes_on", goes_on and all(peer.served() for peer in peers[:10]))
    field.note("worst_address", field.ledger.worst_of_others())
    for peer in peers:
        peer.send(cid_for(peer, allowed(peer) + 1, 0))
        peer.until(lambda rogue: rogue.closed)
    field.note("closed_share", closed_with(peers, PROTOCOL_VIOLATION))
    return f"{size} connections with {PATHS - 1} more paths each that are never proved"


@row("path-abandoning", full=50, fast=8, options=("--multipath",))
def path_abandoning(field: Field, size: int) -> str:
    """Opens a path and abandons it, one after the other, as long as the server allows new ones."""
    peer = connect(field)
    path, quiet = 0, time.monotonic() + 5.0
    while path < size and peer.closed is None and time.monotonic() < quiet:
        if path >= allowed(peer):
            peer.take(0.05)
            continue
        path, quiet = path + 1, time.monotonic() + 5.0
        frames = cid_for(peer, path, 0)
        if cid := given(peer).get(path):
            packet = peer.rogue.seal_on(path, cid, 0, b"\x1a" + bytes(8))
            peer.port.send(packet, loopback(path))
        peer.send(frames + varints(PATH_ABANDON, path, 0))
        peer.take()
    field.note("goes_on", peer.closed is None and peer.served())
    return f"{path} paths opened and abandoned, one after the other"


@row("path-moving", full=1000, fast=500, options=("--multipath",))
def path_moving(field: Field, size: int) -> str:
    """Every packet of every path from another address."""
    peer = connect(field)
    ids = given(peer)
    for path in ids:
        peer.send(cid_for(peer, path, 0) + cid_for(peer, path, 1))

    def on_other_paths(number: int) -> None:
        for path, cid in ids.items():
            peer.port.send(peer.rogue.seal_on(path, cid, number, PING), loopback(number))

    peer.wander(size, home=100, turn=on_other_paths)
    field.note("worst_address", field.ledger.worst_of_others())
    field.note("goes_on", peer.closed is None and peer.served())
    return f"{size} packets on each of {len(ids) + 1} paths, each from another address"
