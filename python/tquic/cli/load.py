"""``tquic load``: loads an HTTP/3 server, and tells how it fared."""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from tquic.cli import client
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import Line, note, print_json
from tquic.cli.values import (
    argument,
    duration,
    lasting,
    positive,
    show_rate,
    show_size,
    size,
)
from tquic.config import Config
from tquic.errors import ConfigError, EngineError
from tquic.load import CSV_FIELDS, HlogWriter, Load, LoadError, Request, Result, csv_rows, start
from tquic.load._request import locate
from tquic.many import ConnectionCounts

_T = TypeVar("_T")

# Seconds between two lines of the live display, and of the log of histograms.
INTERVAL = 1.0
# Seconds between two looks at responses that are written one by one.
STEP = 0.05
# Where the content of requests is written as bytes rather than as their number.
_FROM_FILE = "@"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  tquic load https://localhost:4433/ -c 100 -m 10 -n 100000\n"
        "  tquic load https://localhost:4433/ -c 1000 --rate 5000 --ramp 10s -d 60s\n"
        "  tquic load https://localhost:4433/ --per-connection 1 --resume 50 --0rtt 25"
    )
    parser.add_argument(
        "urls", nargs="+", metavar="URL", help="what to request; several URLs take turns"
    )
    _work_options(parser)
    _request_options(parser)
    _connection_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON document")
    output.add_argument("--csv", type=Path, metavar="FILE", help="write a line for each response")
    output.add_argument(
        "--hlog", type=Path, metavar="FILE", help="write a log of histograms for HdrHistogram tools"
    )
    output.add_argument(
        "--max-failed",
        type=argument(_percent),
        metavar="PERCENT",
        help="exit with status 1 if more of the requests fail (default: only if all do, or all "
        "connections are lost)",
    )


def _work_options(parser: argparse.ArgumentParser) -> None:
    work = parser.add_argument_group("how much")
    work.add_argument(
        "-c",
        dest="connections",
        type=argument(positive),
        default=10,
        metavar="CONNECTIONS",
        help="(default: %(default)s)",
    )
    work.add_argument(
        "-m",
        dest="streams",
        type=argument(positive),
        metavar="STREAMS",
        help="requests under way on each connection at most (default: 1; with --rate 100)",
    )
    work.add_argument(
        "-n",
        dest="requests",
        type=argument(positive),
        metavar="REQUESTS",
        help="in all; with --per-connection rounded up to whole connections",
    )
    work.add_argument(
        "-d",
        dest="duration",
        type=argument(lasting),
        metavar="DURATION",
        help="begin no request later than this (default without -n: 10s)",
    )
    work.add_argument(
        "--rate",
        type=argument(_number),
        metavar="R",
        help="requests per second, whether earlier ones have been answered or not: latencies "
        "count from when they should have left",
    )
    work.add_argument(
        "--ramp",
        type=argument(duration),
        default=0.0,
        metavar="TIME",
        help="reach that rate evenly in this time",
    )
    work.add_argument(
        "--poisson", action="store_true", help="at random times, as independent users would"
    )
    work.add_argument(
        "--warmup", type=argument(duration), default=0.0, metavar="TIME", help="not counted"
    )
    work.add_argument(
        "--timeout",
        type=argument(duration),
        default=60.0,
        metavar="TIME",
        help="give up later responses (default: 60s)",
    )


def _request_options(parser: argparse.ArgumentParser) -> None:
    request = parser.add_argument_group("requests")
    request.add_argument("-X", dest="method", metavar="METHOD", help="(default: GET, or POST)")
    client.add_header_option(parser)
    request.add_argument(
        "--data",
        metavar="SIZE|@FILE",
        help="content to send: so many bytes, or those of a file",
    )
    request.add_argument(
        "--expect", type=argument(size), metavar="SIZE", help="bytes that responses must have"
    )


def _connection_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("connections")
    group.add_argument(
        "--per-connection",
        type=argument(positive),
        metavar="N",
        help="close each after N requests, and begin another: handshakes are measured as well",
    )
    group.add_argument(
        "--resume",
        type=argument(_percent),
        default=0.0,
        metavar="PERCENT",
        help="of these connections resume a session",
    )
    group.add_argument(
        "--0rtt",
        dest="early",
        type=argument(_percent),
        default=0.0,
        metavar="PERCENT",
        help="of them send their requests in 0-RTT",
    )
    group.add_argument(
        "--connect-rate",
        type=argument(_number),
        metavar="R",
        help="connections begun per second at most, before the load",
    )
    group.add_argument(
        "--connect-timeout",
        type=argument(lasting),
        default=30.0,
        metavar="TIME",
        help="begin without the connections that are not established then (default: 30s)",
    )
    group.add_argument(
        "--local", action="append", default=[], metavar="ADDR", help="send from there, by turns"
    )
    group.add_argument(
        "--sockets",
        type=argument(positive),
        default=1,
        metavar="N",
        help="UDP ports for each local address and thread (default: 1)",
    )
    group.add_argument(
        "--threads",
        type=argument(positive),
        default=1,
        metavar="N",
        help="of the engine (default: 1)",
    )
    client.add_connect_to_option(parser)
    client.add_congestion_option(parser)
    client.add_qlog_option(parser)
    client.add_trust_options(parser)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError(f"{text!r} is no number above 0 and below 1e9")
    return value


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise ValueError(f"{text!r} is no percentage from 0 to 100")
    return value / 100


def run(options: argparse.Namespace) -> int:
    """Makes the load."""
    config = client.client_config(options, "h3")
    client.check(options, config)
    with contextlib.ExitStack() as files:
        # Before the load, which would be made in vain if they could not be had.
        options.csv_output = _output(files, options.csv)
        options.hlog_output = _output(files, options.hlog)
        return _run(options, config, files)


def _run(options: argparse.Namespace, config: Config, files: contextlib.ExitStack) -> int:
    with contextlib.ExitStack() as line:
        load = _start(options, config, _connecting(options, line))
    with load:
        if load.missing:
            note(
                f"only {options.connections - load.missing:,} of {options.connections:,} "
                f"connections take part: the others were not established within "
                f"{options.connect_timeout:g} s"
            )
        with contextlib.suppress(KeyboardInterrupt):
            _watch(load, options, files)
            files.close()
            return _report(load, options)
        # Ctrl-C: what is known is worth telling, and the status says that it was cut short.
        load.stop()
        files.close()
        _report(load, options)
        raise KeyboardInterrupt


def _connecting(
    options: argparse.Namespace, line: contextlib.ExitStack
) -> Callable[[ConnectionCounts], None] | None:
    """Shows at a terminal how many connections there are."""
    if not sys.stderr.isatty():
        return None
    shown = Line()
    line.callback(shown.close)

    def show(counts: ConnectionCounts) -> None:
        failed = f", {counts.failed:,} failed" if counts.failed else ""
        shown.write(f"connecting {counts.open:,}/{options.connections:,}{failed}")

    return show


def _start(
    options: argparse.Namespace,
    config: Config,
    on_connecting: Callable[[ConnectionCounts], None] | None,
) -> Load:
    try:
        origin, paths = locate(options.urls)
        templates = [_template(options, path) for path in paths]
        host, port = options.connect_to or (origin.host, origin.port)
        connect_to = client.resolve(str(host), int(port))[0]
        config = config.replace(server_name=config.server_name or origin.host)
        return start(
            options.urls,
            connections=options.connections,
            streams=options.streams,
            requests=options.requests,
            duration=options.duration,
            rate=options.rate,
            ramp=options.ramp,
            arrivals="poisson" if options.poisson else "even",
            template=templates,
            expect=options.expect,
            timeout=options.timeout,
            warmup=options.warmup,
            per_connection=options.per_connection,
            resume=options.resume,
            early=options.early,
            config=config,
            connect_to=connect_to,
            connect_rate=options.connect_rate,
            connect_timeout=options.connect_timeout,
            on_connecting=on_connecting,
            local_addresses=options.local,
            sockets=options.sockets,
            shards=options.threads,
            events=options.csv is not None,
        )
    except ConfigError as error:
        raise UsageError(str(error)) from None
    except (LoadError, EngineError) as error:
        raise CommandError(str(error)) from None


def _template(options: argparse.Namespace, path: str) -> Request:
    body: bytes | int = b""
    if options.data is not None and options.data.startswith(_FROM_FILE):
        body = client.read_file(Path(options.data.removeprefix(_FROM_FILE)))
    elif options.data is not None:
        try:
            body = size(options.data)
        except ValueError as error:
            raise UsageError(f"--data: {error}") from None
    method = options.method or ("GET" if options.data is None else "POST")
    return Request(path, method, options.headers, body)


def _watch(load: Load, options: argparse.Namespace, files: contextlib.ExitStack) -> None:
    """Waits for the end; writes and shows what comes meanwhile."""
    table = Table(load, options.csv_output) if options.csv_output is not None else None
    hlog = HlogWriter(options.hlog_output) if options.hlog_output is not None else None
    live = None
    if sys.stderr.isatty():
        line = Line()
        live = Live(load, line)
        files.callback(line.close)
    step = STEP if table is not None else INTERVAL
    next_interval = time.monotonic() + INTERVAL
    try:
        while not load.wait(min(step, max(next_interval - time.monotonic(), 0.0))):
            if table is not None:
                table.write()
            if time.monotonic() < next_interval:
                continue
            next_interval += INTERVAL
            if hlog is not None:
                hlog.write(load.histogram())
            if live is not None:
                live.show()
    finally:
        # After Ctrl-C as well: what has come until then is in the files.
        if table is not None:
            table.write()
        if hlog is not None:
            hlog.write(load.histogram())


class Output:
    """A file that is written meanwhile; a disk that is full is named."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] = self._try(lambda: path.open("w", newline="", encoding="utf-8"))

    def write(self, text: str) -> None:
        """Writes it, now or later."""
        self._try(lambda: self._file.write(text))

    def flush(self) -> None:
        """Writes it now."""
        self._try(self._file.flush)

    def close(self) -> None:
        """Writes the rest."""
        self._try(self._file.close)

    def _try(self, action: Callable[[], _T]) -> _T:
        try:
            return action()
        except OSError as error:
            raise CommandError(f"cannot write {self._path}: {error.strerror}") from None


def _output(files: contextlib.ExitStack, path: Path | None) -> Output | None:
    if path is None:
        return None
    output = Output(path)
    files.callback(output.close)
    return output


class Table:
    """Responses one by one, as CSV."""

    def __init__(self, load: Load, output: Output) -> None:
        self._load = load
        self._started = load.stats().started_ns
        self._writer = csv.writer(output, lineterminator="\n")
        self._writer.writerow(CSV_FIELDS)
        output.flush()

    def write(self) -> None:
        """Writes what has come."""
        while len(batch := self._load.poll_batch()):
            self._writer.writerows(csv_rows(batch, self._started))


class Live:
    """What the last second brought."""

    def __init__(self, load: Load, line: Line) -> None:
        self._load = load
        self._line = line
        self._seen = load.histogram()
        self._failed = 0
        self._last = time.monotonic()

    def show(self) -> None:
        """Writes it anew."""
        now, all_so_far, stats = time.monotonic(), self._load.histogram(), self._load.stats()
        new = all_so_far.since(self._seen)
        line = (
            f"{len(new) / (now - self._last):,.0f}/s  p50 {show_time(new.quantile_ns(0.5))}  "
            f"p99 {show_time(new.quantile_ns(0.99))}  max {show_time(new.max_ns)}  "
            f"failed {stats.failed - self._failed:,}  all {stats.responses:,}"
        )
        self._seen, self._failed, self._last = all_so_far, stats.failed, now
        self._line.write(line)


def show_time(nanos: float) -> str:
    """A duration for people."""
    for unit, divisor in (("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        if nanos < divisor * 1000 or unit == "s":
            break
    value = nanos / divisor
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _report(load: Load, options: argparse.Namespace) -> int:
    result = load.result()
    ok = _is_fine(result, options)
    document: dict[str, Any] = {"ok": ok, **result.to_dict()}
    if options.csv is not None and load.dropped_events:
        document["csv_lines_lost"] = load.dropped_events
        print(f"tquic: {load.dropped_events:,} responses are missing in the CSV", file=sys.stderr)
    if options.json:
        print_json(document)
    else:
        print("\n".join(lines(result)))
    return 0 if ok else 1


def _is_fine(result: Result, options: argparse.Namespace) -> bool:
    if options.max_failed is None:
        stays = options.per_connection is None
        return result.responses > 0 and not (stays and result.connections.open == 0)
    done = result.responses + result.failed
    return done > 0 and result.failed / done <= options.max_failed


def lines(result: Result) -> Iterator[str]:
    """The result for people."""
    counts = result.connections
    yield (
        f"{result.responses:,} responses in {result.seconds:.2f} s: {result.rate:,.0f} per second, "
        f"{show_rate(result.bytes_received / max(result.seconds, 1e-9))}"
    )
    opened = sum((counts.open, counts.closed)) - counts.failed
    extra = f", {counts.resumed:,} resumed, {counts.early:,} with 0-RTT" if counts.resumed else ""
    yield f"{opened:,} connections, {counts.failed:,} failed{extra}"
    yield f"{show_size(result.bytes_sent)} sent, {show_size(result.bytes_received)} received"
    names = ("p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max")
    quantiles = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0)
    yield ""
    yield f"{'':12}" + "".join(f"{name:>10}" for name in names)
    for label, histogram in (
        ("latency", result.latency),
        ("service", result.service),
        ("first byte", result.first_byte),
        ("handshake", result.handshake),
    ):
        if len(histogram):
            shown = (f"{show_time(histogram.quantile_ns(q)):>10}" for q in quantiles)
            yield f"{label:12}" + "".join(shown)
    yield ""
    if result.statuses:
        yield "status " + ", ".join(f"{status}: {n:,}" for status, n in result.statuses.items())
    if result.failed or result.errors:
        yield "failed " + ", ".join(f"{kind}: {n:,}" for kind, n in result.errors.items())
    for reason, n in result.reasons.items():
        yield f"  {n:,} x {reason}"
    if drops := result.engine.get("kernel_drops"):
        # Then the generator is what is slow, and its latencies are its own.
        yield (
            f"{drops:,.0f} packets found no room in this machine's sockets: "
            "--sockets and --threads make more of it"
        )
