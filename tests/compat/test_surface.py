"""What can be imported, and that it is shaped like aioquic's."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.compat.aioquic import buffer as ours
from tquic.compat.aioquic.quic.configuration import QuicConfiguration
from tquic.compat.aioquic.quic.connection import QuicConnection
from tquic.compat.aioquic.quic.logger import QuicFileLogger
from tquic.compat.aioquic.tls import CipherSuite, SessionTicket
from tquic.session import SessionStore

MODULES = [
    "asyncio",
    "asyncio.client",
    "asyncio.protocol",
    "asyncio.server",
    "buffer",
    "h0.connection",
    "h3.connection",
    "h3.events",
    "h3.exceptions",
    "quic.configuration",
    "quic.connection",
    "quic.events",
    "quic.logger",
    "quic.packet",
    "tls",
]


def both(name: str) -> tuple[Any, Any]:
    """Our module, and aioquic's."""
    pytest.importorskip("aioquic")
    return (
        importlib.import_module(f"tquic.compat.aioquic.{name}"),
        importlib.import_module(f"aioquic.{name}"),
    )


@pytest.mark.parametrize("name", MODULES)
def test_enumerations_and_dataclasses(name: str) -> None:
    here, there = both(name)
    for item in here.__all__:
        mine, theirs = getattr(here, item), getattr(there, item, None)
        if theirs is None or not inspect.isclass(mine):
            continue
        if issubclass(mine, IntEnum):
            assert {m.name: m.value for m in mine} == {m.name: m.value for m in theirs}
        elif dataclasses.is_dataclass(mine):
            # The order of those with defaults only, which people name.
            names = {f.name for f in dataclasses.fields(theirs)}
            assert {f.name for f in dataclasses.fields(mine)} == names, item


def test_events_are_all_there() -> None:
    here, there = both("quic.events")
    assert {name for name, item in vars(there).items() if inspect.isclass(item)} == set(
        here.__all__
    )


def test_signatures() -> None:
    here, there = both("asyncio")
    for name in ("connect", "serve"):
        mine, theirs = (inspect.signature(getattr(m, name)).parameters for m in (here, there))
        assert list(mine) == list(theirs)
        assert [p.kind for p in mine.values()] == [p.kind for p in theirs.values()]
    for item in ("asyncio.protocol.QuicConnectionProtocol", "quic.connection.QuicConnection"):
        module, _, cls = item.rpartition(".")
        mine, theirs = (getattr(m, cls) for m in both(module))
        for name, method in vars(theirs).items():
            if not name.startswith("_") and inspect.isfunction(method):
                parameters = inspect.signature(method).parameters
                assert list(inspect.signature(getattr(mine, name)).parameters) == list(parameters)


def test_defaults_of_the_configuration() -> None:
    here, there = both("quic.configuration")
    assert vars(here.QuicConfiguration()) == vars(there.QuicConfiguration())


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(NotImplementedError, match="connect or serve"):
        QuicConnection(configuration=QuicConfiguration())
    with pytest.raises(NotImplementedError, match="qlog"):
        QuicFileLogger("directory")


def test_tickets_are_handles() -> None:
    ticket = SessionTicket(SessionStore(), "example.org", CipherSuite.AES_128_GCM_SHA256)
    assert not ticket.is_valid
    assert repr(ticket) == "<SessionTicket of example.org>"
    with pytest.raises(TypeError, match="memory of the process"):
        pickle.dumps(ticket)
    with pytest.raises(AttributeError, match="handle"):
        _ = ticket.resumption_secret
    with pytest.raises(AttributeError, match="no attribute"):
        _ = ticket.nonsense


@given(st.integers(0, ours.UINT_VAR_MAX))
def test_variable_length_integers(value: int) -> None:
    encoded = ours.encode_uint_var(value)
    assert len(encoded) == ours.size_uint_var(value)
    buffer = ours.Buffer(data=encoded + b"x")
    assert buffer.pull_uint_var() == value
    assert buffer.tell() == len(encoded)
    theirs = pytest.importorskip("aioquic.buffer")
    assert theirs.encode_uint_var(value) == encoded


SIZES = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64, "uint_var": 62}
STEP = st.one_of(
    *(
        st.tuples(st.just(f"push_{kind}"), st.integers(0, (1 << bits) - 1))
        for kind, bits in SIZES.items()
    ),
    st.tuples(st.sampled_from([f"pull_{kind}" for kind in SIZES])),
    st.tuples(st.just("push_bytes"), st.binary(max_size=20)),
    st.tuples(st.sampled_from(["pull_bytes", "seek"]), st.integers(-1, 20)),
    st.tuples(st.just("data_slice"), st.integers(-1, 20), st.integers(-1, 20)),
    st.tuples(st.sampled_from(["tell", "eof"])),
)


@given(st.binary(max_size=16), st.booleans(), st.lists(STEP, max_size=12))
def test_buffers_behave_alike(data: bytes, filled: bool, steps: list[Any]) -> None:
    theirs = pytest.importorskip("aioquic.buffer")
    pair = [
        module.Buffer(data=data) if filled else module.Buffer(capacity=len(data))
        for module in (ours, theirs)
    ]
    if not filled:
        # Theirs holds whatever was in memory.
        for buffer in pair:
            buffer.push_bytes(data)
    for name, *arguments in steps:
        told = []
        for buffer in pair:
            try:
                told.append(getattr(buffer, name)(*arguments))
            except ValueError as error:
                told.append(type(error).__name__)
        # Where the integer itself is cut off, theirs has read its first byte already.
        if name == "pull_uint_var" and told[0] == "BufferReadError":
            return
        assert told[0] == told[1], name
        assert (pair[0].tell(), pair[0].data) == (pair[1].tell(), pair[1].data)
    assert pair[0].capacity == pair[1].capacity
    with pytest.raises(ValueError, match="too big"):
        ours.size_uint_var(1 << 62)
