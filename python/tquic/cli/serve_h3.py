"""``tquic serve`` over HTTP/3: in this process, or in several that share the port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tquic import _engine
from tquic.cli import service
from tquic.cli.failure import CommandError
from tquic.cli.output import note
from tquic.cli.serve import HQ, HURRY, Plan
from tquic.cli.workers import Worker, run_workers
from tquic.engine import Engine
from tquic.errors import ConfigError
from tquic.h3.server._asgi import AsgiResponder, load
from tquic.h3.server._limits import Limits
from tquic.h3.server._serve import Serving
from tquic.h3.server._serving import Responder, Server
from tquic.h3.server._static import StaticFiles

# Seconds between two looks whether the parent of a worker is still there.
_LOOK: Final = 1.0


def run(plan: Plan) -> int:
    """Serves until SIGTERM or Ctrl-C."""
    options = plan.options
    _begin_logging(options.log_level, access=options.access_log)
    plan = replace(plan, config=plan.config.replace(max_bidi_streams=options.streams))
    if options.workers == 1:
        return asyncio.run(_serve(plan, None))
    if sys.platform != "linux":
        raise CommandError("--workers: only Linux spreads packets over processes as QUIC needs it")
    if plan.config.token_key is None:
        # One client's packets may reach any of them before they know it.
        plan = replace(plan, config=plan.config.replace(token_key=os.urandom(32)))
    address = service.bind_address(options)
    try:
        port = _engine.SharedPort(*address, options.workers)
    except OSError as error:
        raise service.cannot_listen(address, error) from None
    # Made here, its key of session tickets is that of all: clients may come back to another.
    _ = plan.config._server_tls
    return run_workers(
        options.workers,
        lambda worker: asyncio.run(_serve(plan, (port, worker))),
        lambda: service.announce([port.address], plan.certificate),
    )


def _begin_logging(level: str, *, access: bool) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level.upper())
    if access:
        logger = logging.getLogger("tquic.access")
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False


async def _serve(plan: Plan, place: tuple[_engine.SharedPort, Worker] | None) -> int:
    """One process of `--workers`, or the only one."""
    options, config = plan.options, plan.config
    limits = Limits(
        streams=options.streams, header_size=options.header_size, body_size=options.body_size
    )
    hq = None
    if plan.folder is not None and HQ in plan.protocols:
        hq = _engine.HqService(plan.folder)
    if place is None:
        engine, where, address = service.begin_engine(), None, service.bind_address(options)
    else:
        port, worker = place
        engine = Engine._of_several(worker.number, options.workers)
        where, address = (port, worker.number), port.address
    told: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.put_nowait, number)
    try:
        server = await Serving(
            _responder(plan),
            address,
            config,
            engine,
            limits,
            access=options.access_log,
            hq=hq,
            place=where,
        )
    except ConfigError as error:
        raise CommandError(f"{options.what}: {error}") from None
    except OSError as error:
        raise service.cannot_listen(address, error) from None
    if place is None:
        service.announce(list(server.addresses), plan.certificate)
        why = await told.get()
    else:
        place[1].ready()
        why = await _told_or_orphaned(told, place[1])
    grace = options.grace if why is signal.SIGTERM else HURRY
    if not await _end(server, engine, hq, grace):
        note(f"not all requests were done after {grace:g} s")
    await asyncio.to_thread(engine.shutdown)
    if why is signal.SIGINT:
        raise KeyboardInterrupt
    return 0


async def _told_or_orphaned(told: asyncio.Queue[signal.Signals], worker: Worker) -> signal.Signals:
    while worker.has_parent():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                return await told.get()
    return signal.SIGTERM


async def _end(server: Server, engine: Engine, hq: _engine.HqService | None, grace: float) -> bool:
    """Whether all requests were finished in time."""
    server.stop_accepting()
    work: list[Callable[[], bool]] = []
    if hq is not None:
        work.append(lambda: hq.drain(engine._native, grace))
    results = await asyncio.gather(
        server.shutdown(grace), *(asyncio.to_thread(call) for call in work)
    )
    return all(results)


def _responder(plan: Plan) -> Responder:
    options = plan.options
    if plan.folder is not None:
        return StaticFiles(plan.folder, writable=options.writable)
    try:
        return AsgiResponder(load(options.what))
    except ConfigError:
        raise
    except Exception as error:
        # A program that is wrong in itself: where, is what its author wants to know.
        logging.getLogger("tquic.h3.server").exception("%s cannot be imported", options.what)
        raise CommandError(f"{options.what}: {type(error).__name__}: {error}") from None
