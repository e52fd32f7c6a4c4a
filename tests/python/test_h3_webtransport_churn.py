"""Many streams of one session that end in every way: no credit may be lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from typing import Any

import tquic
import tquic.h3
from tquic.h3 import SessionLimits, Settings
from tquic.h3.server import Limits, Request, Response
from tquic.h3.webtransport import Session, SessionRequest, Stream

# Of each end, and how many it uses at a time: more than it may have.
STREAMS = 1000
TOGETHER = 24
WINDOW = 64 * 1024
BIDI, UNI = 12, 7
DATA = bytes(range(256)) * 128


async def page(request: Request) -> Response:
    return Response()


class End:
    """One end of a session, which opens streams and takes those of the other."""

    def __init__(self, session: Session, rng: random.Random) -> None:
        self.session = session
        self.rng = rng
        self.done: dict[str, int] = {}
        # They use streams of the other end.
        self.tasks: set[asyncio.Task[None]] = set()

    def does(self, what: str) -> str:
        self.done[what] = self.done.get(what, 0) + 1
        return what

    async def opens(self) -> None:
        room = asyncio.Semaphore(TOGETHER)

        async def one() -> None:
            async with room:
                stream = self.session.open_stream(unidirectional=self.rng.random() < 0.4)
                await self.use(stream)

        async with asyncio.TaskGroup() as group:
            for _ in range(STREAMS):
                group.create_task(one())

    async def takes(self) -> None:
        async for stream in self.session:
            task = asyncio.create_task(self.use(stream))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def use(self, stream: Stream) -> None:
        """Both halves, at the same time."""
        halves = []
        if stream.writable:
            halves.append(self.send(stream))
        if stream.readable:
            halves.append(self.receive(stream))
        self.rng.shuffle(halves)
        await asyncio.gather(*halves)

    async def send(self, stream: Stream) -> None:
        data = DATA[: self.rng.choice([0, 1, 100, 5000, self.rng.randrange(len(DATA))])]
        with contextlib.suppress(tquic.StreamStopped, tquic.StreamClosed):
            match self.does(self.rng.choice(["finish", "finish", "reset", "late", "part", "wait"])):
                case "finish":
                    await stream.write(data)
                    stream.finish()
                case "reset":
                    stream.write(data)
                    stream.reset(self.rng.randrange(1 << 32))
                case "late":
                    stream.write(data)
                    await self.pause()
                    stream.reset(1)
                case "part":
                    await stream.write(data)
                    stream.reset(2, reliable_size=self.rng.randint(0, len(data)))
                case _:
                    stream.write(data)
                    stream.finish()
                    await self.pause()
                    # Too late, perhaps.
                    stream.reset(3)

    async def receive(self, stream: Stream) -> None:
        with contextlib.suppress(tquic.StreamReset, tquic.StreamClosed):
            match self.does(self.rng.choice(["read", "read", "half", "stop", "later", "exactly"])):
                case "read":
                    await stream.read()
                case "half":
                    await stream.read_chunk(self.rng.randint(1, 1000))
                    stream.stop(4)
                case "stop":
                    stream.stop(5)
                case "later":
                    await self.pause()
                    stream.stop(6)
                case _:
                    with contextlib.suppress(asyncio.IncompleteReadError):
                        await stream.readexactly(self.rng.randint(1, 4000))
        # Whatever has come and was not read.
        stream.stop()

    async def pause(self) -> None:
        """A moment, or as long as the peer takes to answer."""
        if self.rng.random() < 0.5:
            await asyncio.sleep(0)
        else:
            await self.session.connection.ping()


def lost(near: Session, far: Session) -> list[str]:
    """What is not as it was before the streams that went from one end to the other."""
    credit: Any = near._flow
    window: Any = far._flow
    pairs = {
        "data": (credit.data, window._data_window),
        "bidi": (credit.streams[0], window._stream_windows[0]),
        "uni": (credit.streams[1], window._stream_windows[1]),
    }
    return [
        f"{name}: {ours.used} of {ours.limit} used here, there {theirs.used} of {theirs.limit}, "
        f"{theirs._given_back} given back"
        for name, (ours, theirs) in pairs.items()
        if not (ours.used == theirs.used == theirs._given_back and ours.limit == theirs.limit)
    ]


async def test_no_credit_is_lost(server_config: tquic.Config, client_config: tquic.Config) -> None:
    seed = int(os.environ.get("TQUIC_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TQUIC_TEST_SEED={seed}")
    rng = random.Random(seed)
    sessions: asyncio.Queue[Session] = asyncio.Queue()

    async def handle(request: SessionRequest) -> None:
        session = request.accept()
        sessions.put_nowait(session)
        await session.wait_closed()

    limits = Limits(session_data=WINDOW, session_bidi_streams=BIDI, session_uni_streams=UNI)
    ours = SessionLimits(data=WINDOW, bidi_streams=UNI, uni_streams=BIDI)
    settings = Settings(h3_datagram=True, webtransport=1, session_limits=ours)
    async with (
        tquic.h3.serve(
            page, "127.0.0.1", 0, config=server_config, webtransport=handle, limits=limits
        ) as server,
        tquic.h3.connect(
            f"https://127.0.0.1:{server.address[1]}/", config=client_config, settings=settings
        ) as c,
    ):
        session = await c.webtransport("/")
        ends = [End(one, rng) for one in (session, await sessions.get())]
        taking = [asyncio.create_task(end.takes()) for end in ends]
        await asyncio.gather(*(end.opens() for end in ends))
        print([end.done for end in ends])
        near, far = (end.session for end in ends)
        # Some of it is still on its way.
        async with asyncio.timeout(60):
            while (
                (missing := [*lost(near, far), *lost(far, near)])
                or any(end.tasks for end in ends)
                or any(end.session._streams() for end in ends)
            ):
                print(missing)
                await c.quic.ping()
        for end in ends:
            assert end.session.exception is None
            assert not any(end.session._unbegun)
            assert not end.session._short
        session.close()
        await asyncio.gather(*taking)
