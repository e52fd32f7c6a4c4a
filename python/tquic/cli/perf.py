"""``tquic perf``: measures with the QUIC perf protocol (draft-banks-quic-performance)."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tquic._engine import perf_run
from tquic._perf_task import PerfTask
from tquic.cli import client, service
from tquic.cli.client import Address
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import print_json
from tquic.cli.values import argument, duration, host_and_port, lasting, positive, show_size, size
from tquic.config import CipherSuite, Config
from tquic.engine import Engine
from tquic.errors import ConfigError, HandshakeTimeout, QuicError
from tquic.perf import Server
from tquic.session import SessionStore

ALPN = "perf"
PROTOCOL = "the QUIC perf protocol"
CIPHERS: dict[str, CipherSuite] = {
    "aes128": "TLS_AES_128_GCM_SHA256",
    "aes256": "TLS_AES_256_GCM_SHA384",
    "chacha20": "TLS_CHACHA20_POLY1305_SHA256",
}
# Seconds of a transfer when nothing says how much.
DURATION = 10.0
# Headers of IP (version 4, version 6) and UDP, in bytes.
HEADERS = {4: 28, 6: 48}
# Smallest QUIC datagram (RFC 9000 section 14).
MIN_PAYLOAD = 1200
# Seconds until the next address of a host is tried.
NEXT_ADDRESS = 1.0
# Streams that a perf client may have open at a time.
STREAMS = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares both roles and their options."""
    roles = parser.add_subparsers(dest="role", metavar="ROLE", required=True)
    _server_options(
        roles.add_parser("server", help="answers clients", description="Answers clients.")
    )
    _client_options(
        roles.add_parser("client", help="measures", description="Measures against a perf server.")
    )


def _server_options(parser: argparse.ArgumentParser) -> None:
    service.add_listen_options(parser)
    service.add_multipath_options(parser)
    parser.add_argument(
        "--workers",
        type=argument(positive),
        default=1,
        metavar="N",
        help="threads, each with connections of its own (default: %(default)s)",
    )
    _mtu_option(parser)
    _spin_option(parser)
    parser.add_argument(
        "--json", action="store_true", help="at the end, print one JSON document of what came"
    )
    _backend_options(parser)


def _client_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  tquic perf client 192.0.2.1:4433 --cacert certs/ca.pem\n"
        "  tquic perf client 192.0.2.1:4433 --insecure --upload 1Gi --json\n"
        "  tquic perf client 192.0.2.1:4433 --insecure --requests 10000 --inflight 50"
    )
    parser.add_argument("server", type=argument(host_and_port), metavar="HOST:PORT")
    what = parser.add_argument_group("what to measure (default: a download of 10 s)")
    what.add_argument("--download", type=argument(size), metavar="SIZE", help="bytes to get")
    what.add_argument("--upload", type=argument(size), metavar="SIZE", help="bytes to send")
    what.add_argument(
        "--duration", type=argument(lasting), metavar="TIME", help="stop after this time"
    )
    what.add_argument(
        "--streams", type=argument(positive), default=1, metavar="N", help="streams (default: 1)"
    )
    what.add_argument(
        "--requests", type=argument(positive), metavar="N", help="small exchanges, a stream each"
    )
    what.add_argument(
        "--inflight", type=argument(positive), default=1, metavar="N", help="of them at a time"
    )
    what.add_argument(
        "--response", type=argument(size), default=32, metavar="SIZE", help="bytes of each answer"
    )
    what.add_argument(
        "--handshakes", type=argument(positive), metavar="N", help="connections, one after another"
    )
    kind = what.add_mutually_exclusive_group()
    kind.add_argument("--resume", action="store_true", help="of resumed sessions")
    kind.add_argument("--0rtt", dest="early", action="store_true", help="with 0-RTT")
    kind.add_argument(
        "--first-byte", action="store_true", help="with a request; its answer ends it"
    )
    what.add_argument(
        "--datagrams", type=argument(positive), metavar="N", help="unreliable datagrams (RFC 9221)"
    )
    what.add_argument(
        "--size",
        type=argument(size),
        default=1200,
        metavar="B",
        help="bytes of each datagram, at most what a packet holds",
    )
    what.add_argument(
        "--connections",
        type=argument(positive),
        default=1,
        metavar="N",
        help="at a time; each does all of it once all are established (default: 1)",
    )
    client.add_congestion_option(parser)
    client.add_path_options(parser)
    client.add_qlog_option(parser)
    names = sorted({*CIPHERS, *CIPHERS.values()})
    parser.add_argument("--cipher", choices=names, metavar="NAME", help=", ".join(names))
    _mtu_option(parser)
    _spin_option(parser)
    _backend_options(parser)
    client.add_trust_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--api",
        choices=("native", "asyncio"),
        default="native",
        help="measure inside the engine, or through the package's asyncio streams "
        "(default: %(default)s)",
    )


def _mtu_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mtu",
        type=argument(positive),
        metavar="BYTES",
        help="largest IP packet to send (default: 1500); a path that carries less is noticed",
    )


def _backend_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=("udp", "xdp"),
        default="udp",
        help="what packets go through: sockets of the kernel, or AF_XDP past it, which needs "
        "--interface and the right to (default: %(default)s)",
    )
    parser.add_argument("--interface", metavar="NAME", help="the interface of AF_XDP")
    parser.add_argument(
        "--zerocopy",
        action="store_true",
        help="have the kernel read long trains of packets from the engine's memory instead of "
        "copying them (MSG_ZEROCOPY)",
    )


def _spin_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--spin",
        type=argument(duration),
        default=0.0,
        metavar="TIME",
        help="look for packets so long before sleeping: shorter round trips for a busy CPU "
        "(default: sleep at once)",
    )


def open_engine(options: argparse.Namespace, threads: int = 1) -> Engine:
    """The engine with the back-end that the options ask for."""
    if options.backend == "udp":
        if options.interface is not None:
            raise UsageError("--interface is that of --backend xdp")
        return service.begin_engine(
            threads, spin=options.spin, interface="", zerocopy=options.zerocopy
        )
    if options.interface is None:
        raise UsageError("--backend xdp needs --interface")
    if options.zerocopy:
        raise UsageError("--zerocopy is for --backend udp")
    if threads > 1:
        raise UsageError("--backend xdp works with one thread: --workers 1")
    return service.begin_engine(spin=options.spin, interface=options.interface)


def task(options: argparse.Namespace) -> PerfTask:
    """What the options ask for, if that makes sense."""
    asked = [
        name
        for name in ("requests", "handshakes", "datagrams")
        if getattr(options, name) is not None
    ]
    if options.download is not None or options.upload is not None:
        asked.append("download and upload")
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)}: one at a time can be measured")
    kind = _handshake_kind(options)
    if kind != "full" and options.handshakes is None:
        raise UsageError("--resume, --0rtt and --first-byte are kinds of --handshakes")
    length = options.duration
    if length is None and not asked:
        length = DURATION
    if length is not None and (options.handshakes or options.datagrams):
        raise UsageError("--duration ends transfers and requests; say how many of these")
    return PerfTask(
        requests=options.requests,
        handshakes=options.handshakes,
        datagrams=options.datagrams,
        download=options.download,
        upload=options.upload,
        duration=length,
        streams=options.streams,
        inflight=options.inflight,
        response=options.response,
        handshake_kind=kind,
        datagram_size=options.size,
        connections=options.connections,
    )


def _handshake_kind(options: argparse.Namespace) -> str:
    kinds = {"resume": options.resume, "0rtt": options.early, "first-byte": options.first_byte}
    return next((name for name, asked in kinds.items() if asked), "full")


def run(options: argparse.Namespace) -> int:
    """Plays the role."""
    if options.role == "server":
        return _serve(options)
    client.choose_paths(options, options.server)
    return _measure(options)


def payload(mtu: int | None, address: str) -> dict[str, int]:
    """The setting for packets of `mtu` bytes to `address`, if one was given."""
    if mtu is None:
        return {}
    headers = HEADERS[6 if ":" in address else 4]
    if not MIN_PAYLOAD <= mtu - headers <= 65_535 - HEADERS[4]:
        low, high = MIN_PAYLOAD + headers, 65_535 - HEADERS[4] + headers
        raise UsageError(f"--mtu: QUIC needs packets of {low} to {high} bytes here")
    return {"mtu": mtu - headers}


def _serve(options: argparse.Namespace) -> int:
    if options.workers > 128:
        raise UsageError("--workers: at most 128 threads")
    address = service.bind_address(options)
    settings: dict[str, Any] = {
        "alpn": (ALPN,),
        "early_data": True,
        "max_bidi_streams": STREAMS,
        **payload(options.mtu, address[0]),
    }
    with service.server_config(options, **settings) as (config, certificate):
        engine = open_engine(options, options.workers)
        try:
            server = Server(*address, config=config, engine=engine)
            service.announce(server.addresses, certificate)
            service.serve_until_told(engine._native)
            if options.json:
                print_json({**asdict(server.stats()), **backend(engine)})
        except ConfigError as error:
            raise CommandError(f"{options.cert or 'the certificate'}: {error}") from None
        except OSError as error:
            raise service.cannot_listen(address, error) from None
        finally:
            engine.shutdown(0.5)
    return 0


def _measure(options: argparse.Namespace) -> int:
    work = task(options)
    if options.api == "asyncio":
        if options.backend != "udp":
            raise UsageError("--api asyncio takes AF_XDP from the environment: set TQUIC_XDP")
        if options.zerocopy:
            raise UsageError("--api asyncio takes zero copy from net.tquic.zerocopy_enable")
        return _measure_asyncio(options, work)
    host, port = options.server
    addresses = client.resolve(host, port, client.client_config(options, ALPN))
    for address in addresses[:-1]:
        # Nobody at ::1 is no reason not to find the server at 127.0.0.1.
        try:
            return _report(options, _run(options, work, address, patience=NEXT_ADDRESS))
        except HandshakeTimeout:
            continue
        except QuicError as error:
            raise _failure(error, options) from None
    try:
        return _report(options, _run(options, work, addresses[-1], patience=None))
    except QuicError as error:
        raise _failure(error, options) from None


def _measure_asyncio(options: argparse.Namespace, work: PerfTask) -> int:
    if work.handshakes or work.datagrams:
        raise UsageError("--api asyncio measures transfers and requests")
    if work.connections > 1:
        raise UsageError("--api asyncio measures over one connection")
    from tquic.cli import perf_asyncio

    client.show_log()
    host, port = options.server
    address = client.resolve(host, port, client.client_config(options, ALPN))[0]
    config = _config(options, address, None, SessionStore())
    try:
        return _report(options, perf_asyncio.run(options.server, config, work, options.spin))
    except QuicError as error:
        raise _failure(error, options) from None


def _failure(error: QuicError, options: argparse.Namespace) -> CommandError:
    return CommandError(client.explain(error, options.server, PROTOCOL))


def _config(
    options: argparse.Namespace, address: Address, patience: float | None, store: SessionStore
) -> Config:
    others: dict[str, Any] = {
        # Without: a full handshake is one that resumes nothing.
        "session_store": store if options.resume or options.early else None,
        "early_data": options.early,
        **payload(options.mtu, address[0]),
    }
    if patience is not None:
        others["handshake_timeout"] = patience
    if options.cipher is not None:
        others["ciphers"] = (CIPHERS.get(options.cipher, options.cipher),)
    config = client.client_config(options, ALPN, **others)
    client.check(options, config)
    return config


def _run(
    options: argparse.Namespace, work: PerfTask, address: Address, patience: float | None
) -> dict[str, Any]:
    store = SessionStore()
    config = _config(options, address, patience, store)
    engine = open_engine(options)
    try:
        report = interruptible(
            engine,
            lambda: perf_run(
                engine._native,
                work,
                tls=config._client_tls,
                transport=config._transport,
                server_name=options.server[0],
                host=address[0],
                port=address[1],
                tickets=store._tickets,
            ),
        )
        return {**report, **backend(engine)}
    finally:
        service.show_messages(engine._native)
        engine.shutdown()


def backend(engine: Engine) -> dict[str, Any]:
    """What packets went through, and how many of them past the kernel or without a copy."""
    shards = engine.stats()
    if (xdp := shards[0].xdp) is not None:
        return {"backend": "xdp", "xdp": asdict(xdp)}
    names = ("sends", "copied", "fallbacks")
    zerocopy = {name: sum(getattr(s, f"zerocopy_{name}") for s in shards) for name in names}
    return {"backend": "udp", "zerocopy": zerocopy}


def interruptible(engine: Engine, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Does blocking work in a thread; Ctrl-C ends it with the engine."""
    result: list[dict[str, Any]] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            result.append(work())
        # Whatever it is belongs to the caller.
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except KeyboardInterrupt:
        engine.shutdown()
        thread.join(1.0)
        raise
    if errors:
        raise errors[0]
    return result[0]


def _report(options: argparse.Namespace, report: dict[str, Any]) -> int:
    if options.json:
        print_json(report)
    else:
        for line in lines(report):
            print(line)
    return 0 if report["verified"] else 1


def lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    rate, latency = report["rate_per_second"], report["latency_us"]
    verified = "all as it should be" if report["verified"] else "NOT as it should be"
    if report["bytes"]:
        amount = f"{show_size(report['bytes'])} in {report['seconds']:.3f} s"
        verified = "every byte verified" if report["verified"] else verified
        text = [f"{amount}: {report['gbps']:.3f} Gbit/s, {verified}"]
    else:
        text = [f"{report['seconds']:.3f} s, {verified}"]
    if latency is not None:
        text.append(f"{rate:.1f} per second")
        values = ", ".join(
            f"{name.removeprefix('p').replace('_', '.')}{'' if name == 'max' else ' %'} "
            f"{value:.0f} us"
            for name, value in latency.items()
        )
        text.append(f"latency: {values}")
    text.append(
        f"packets: {report['packets_sent']} sent ({report['packets_per_send_call']:.1f} per call), "
        f"{report['packets_received']} received "
        f"({report['packets_per_receive_call']:.1f} per call), {report['lost_packets']} lost"
    )
    if xdp := report.get("xdp"):
        way = "without copies" if xdp["zero_copy"] else "with copies"
        text.append(
            f"AF_XDP on {xdp['interface']} ({way}): {xdp['datagrams_sent']} datagrams sent past "
            f"the kernel, {xdp['datagrams_received']} received"
        )
    if (zerocopy := report.get("zerocopy")) and any(zerocopy.values()):
        text.append(
            f"trains lent to the kernel: {zerocopy['sends']}, of which it copied "
            f"{zerocopy['copied']} all the same; it refused {zerocopy['fallbacks']} times"
        )
    gigabytes = report["bytes"] / 1e9
    cost = f", {report['cpu_seconds'] / gigabytes:.2f} s per GB" if gigabytes >= 0.01 else ""
    text.append(
        f"CPU: {report['cpu_seconds']:.3f} s{cost}; memory: {show_size(report['max_rss_bytes'])}"
    )
    return text
