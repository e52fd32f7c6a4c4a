"""Whatever is handed to the package's functions, they answer or say in words what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import pickle
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tquic
import tquic.anyio
import tquic.h3
import tquic.sync

# `BufferError` and `OverflowError` are what Python's own functions raise for memory in pieces and
# for integers that no C type holds; `RuntimeError` says that another task is reading.
EXPECTED = (
    *(TypeError, ValueError, OverflowError, BufferError, RuntimeError, EOFError),
    *(OSError, tquic.QuicError, asyncio.LimitOverrunError),
)

# As names of hosts, these are known without asking anybody.
texts = st.sampled_from(["", "7", "\0", "\ud800", "é" * 300, "127.0.0.1", "::1"])
numbers = st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.just(10**40)
buffers = st.binary(max_size=64) | st.sampled_from(
    [b"x" * 2_000, bytearray(b"abc"), memoryview(b"abcdef")[::2]]
)
others = st.sampled_from(
    [None, object(), int, len, 1j, (), [], [None], ("x", 1), (1, "x"), {}, {1: 2}, Exception("x")]
)
values = texts | numbers | buffers | others

TRIES = settings(
    max_examples=40,
    # What fails says enough; a smaller case takes long to find.
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def anything_for(function: Callable[..., Any], data: st.DataObject) -> tuple[list[Any], Any]:
    """Arguments of the right number."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return data.draw(st.lists(values, max_size=3)), {}
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in parameters:
        needed = parameter.default is parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY:
            if needed or data.draw(st.integers(0, 3)) == 0:
                keywords[parameter.name] = data.draw(values)
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if not needed and data.draw(st.booleans()):
                break
            positional.append(data.draw(values))
    return positional, keywords


@contextlib.contextmanager
def only_expected() -> Iterator[None]:
    """Errors that are meant for people, and say something."""
    try:
        yield
    except EXPECTED as error:
        assert str(error), repr(error)


def public(thing: object, *but: str) -> list[Callable[..., Any]]:
    """Its methods, those out of `but` left out."""
    names = [name for name in dir(thing) if not name.startswith("_") and name not in but]
    return [method for name in names if callable(method := getattr(thing, name))]


async def calls(function: Callable[..., Any], data: st.DataObject) -> None:
    """Calls it with anything, and lets what must wait begin."""
    positional, keywords = anything_for(function, data)
    with only_expected():
        answer = function(*positional, **keywords)
        if inspect.isawaitable(answer):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    answer = await answer
        if isinstance(answer, tquic.Engine):
            answer.shutdown()


FUNCTIONS = [
    *(tquic.connect, tquic.serve, tquic.open_connection, tquic.start_server),
    *(tquic.Config, tquic.Engine, tquic.SessionStore, tquic.TlsContext, tquic.public_key_pin),
    *(tquic.Pattern, tquic.get_include, tquic.build_info),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@TRIES
@given(data=st.data())
def test_functions(function: Callable[..., Any], data: st.DataObject) -> None:
    asyncio.run(calls(function, data))


def test_every_name_is_tried() -> None:
    made = {"Connection", "ConnectionSet", "Server", "Stream", "Histogram"}
    plain = {
        name
        for name in tquic.__all__
        if isinstance(thing := getattr(tquic, name), type)
        and (issubclass(thing, Exception) or name.endswith(("Stats", "Info")))
    }
    tried = {function.__name__ for function in FUNCTIONS}
    assert set(tquic.__all__) == made | plain | tried | {"__version__"}


@pytest.mark.parametrize("setting", list(tquic.Config.__dataclass_fields__))
@TRIES
@given(value=values)
def test_settings(setting: str, value: object) -> None:
    with only_expected():
        config = tquic.Config(**{setting: value})  # type: ignore[arg-type]
        assert repr(config)
        if setting not in ("keylog", "qlog"):
            _ = config._transport, config._client_tls


@settings(TRIES, max_examples=500)
@given(data=st.data())
def test_plain_objects(data: st.DataObject) -> None:
    histogram = tquic.Histogram()
    histogram.record_ns(5)
    things = [tquic.TlsContext(), tquic.TlsContext(server_side=True), histogram]
    things += [tquic.SessionStore(), tquic.Config()]
    methods = [method for thing in things for method in public(thing)]
    asyncio.run(calls(data.draw(st.sampled_from(methods)), data))


@settings(TRIES, max_examples=10)
@given(data=st.data())
def test_connections_and_streams(data: st.DataObject, identity: Any) -> None:
    server_config = tquic.Config(cert=identity.cert, key=identity.key)

    async def handler(connection: tquic.Connection) -> None:
        async for stream in connection:
            await stream.write(b"x" * 100, finish=True)

    async def main() -> None:
        async with (
            tquic.serve("127.0.0.1", 0, handler, config=server_config) as server,
            tquic.connect(*server.address, config=tquic.Config(ca=identity.ca)) as client,
        ):
            for method in public(server, "close", "stop_accepting", "wait_closed"):
                await calls(method, data)
            for method in public(client, "close", "flush"):
                await calls(method, data)
            stream = client.open_stream()
            # Files are tried elsewhere: any text names one that could be made.
            for method in public(stream, "recv_to_file"):
                await calls(method, data)
            # The connection has not suffered.
            client.set_congestion("cubic")
            stream = client.open_stream()
            await stream.write(b"hello", finish=True)
            assert await stream.read() == b"x" * 100
        # And now that it is over, the same.
        for method in (*public(client), *public(stream, "recv_to_file")):
            await calls(method, data)

    asyncio.run(asyncio.wait_for(main(), 60))


# ---- What people do ----


@pytest.mark.parametrize(
    "connect",
    [
        tquic.connect,
        tquic.sync.connect,
        lambda _, port, **given: tquic.h3.connect(f"https://127.0.0.1:{port}/", **given),
    ],
    ids=["asyncio", "sync", "h3"],
)
def test_a_context_of_the_ssl_module_is_refused_in_words(connect: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"tls must be TlsContext, not SSLContext: .*ssl module"):
        connect("127.0.0.1", 4433, tls=ssl.create_default_context())
    with pytest.raises(TypeError, match=r"config must be Config, not TlsContext"):
        connect("127.0.0.1", 4433, config=tquic.TlsContext())


async def test_it_is_by_the_twin_of_anyio() -> None:
    with pytest.raises(TypeError, match="tls must be TlsContext"):
        async with tquic.anyio.connect("127.0.0.1", 4433, tls=ssl.create_default_context()):  # type: ignore[arg-type]
            pass


async def test_an_engine_is_one() -> None:
    with pytest.raises(TypeError, match="engine must be Engine, not int"):
        await tquic.connect("127.0.0.1", 4433, engine=2)  # type: ignore[arg-type]


async def test_the_reason_of_a_close_is_a_text(pair: Any) -> None:
    async with pair() as (client, _):
        with pytest.raises(TypeError, match="reason must be str, not bytes"):
            client.close(0, b"bye")
    with pytest.raises(TypeError, match="reason must be str, not bytes"):
        client.close(0, b"bye")


async def test_a_fraction_of_a_byte_takes_nothing(pair: Any) -> None:
    async with pair() as (client, server):
        stream = client.open_stream()
        await stream.write(b"0123456789", finish=True)
        peer = await server.accept_stream()
        with pytest.raises(TypeError, match="float"):
            await peer.readexactly(3.5)
        assert await peer.read() == b"0123456789"


async def test_what_makes_no_controllers_is_refused(pair: Any) -> None:
    async with pair() as (client, _):
        with pytest.raises(TypeError, match="controller must be a name or make controllers"):
            client.set_congestion(None)


def test_settings_that_hold_texts() -> None:
    for setting in ("alpn", "pins", "paths"):
        with pytest.raises(tquic.ConfigError, match=f"{setting} must hold texts, not b'h3'"):
            tquic.Config(**{setting: (b"h3",)})  # type: ignore[arg-type]
    with pytest.raises(tquic.ConfigError, match="session_store must be a SessionStore"):
        tquic.Config(session_store="tickets")  # type: ignore[arg-type]


def test_the_content_of_a_key_never_stands_in_an_error(identity: Any) -> None:
    key = identity.key.decode()
    config = tquic.Config(cert=identity.cert, key=key)
    with pytest.raises(tquic.ConfigError, match="the content itself as bytes") as one:
        _ = config._server_tls
    with pytest.raises(tquic.ConfigError, match=r"^keyfile: a text is the path") as other:
        tquic.TlsContext(server_side=True).load_cert_chain(identity.cert, key)
    for error in (one, other):
        assert key.splitlines()[1] not in str(error.value)


def test_settings_that_were_used_can_be_given_to_other_processes(identity: Any) -> None:
    config = tquic.Config(cert=identity.cert, key=identity.key, ca=identity.ca)
    _ = config._transport, config._client_tls, config._server_tls
    for other in (pickle.loads(pickle.dumps(config)), copy.copy(config), copy.deepcopy(config)):
        assert other == config
        assert other._transport is not config._transport


async def test_what_breaks_a_stream_of_anyio_stands_in_its_error(identity: Any) -> None:
    config = tquic.Config(cert=identity.cert, key=identity.key)

    async def handler(connection: tquic.anyio.Connection) -> None:
        async for stream in connection:
            stream.reset(7)

    async with (
        tquic.anyio.serve("127.0.0.1", 0, handler, config=config) as server,
        tquic.anyio.connect(*server.address, config=tquic.Config(ca=identity.ca)) as client,
    ):
        stream = client.open_stream()
        await stream.send(b"x")
        with pytest.raises(anyio.BrokenResourceError, match="reset the stream with code 0x7"):
            await stream.receive()
