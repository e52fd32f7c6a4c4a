"""``tquic qlog``: listens to processes, checks and draws qlog files."""

from __future__ import annotations

import argparse
from pathlib import Path

from tquic.cli.failure import CommandError
from tquic.cli.listen import listen
from tquic.cli.output import print_json
from tquic.cli.parser import Parser
from tquic.cli.values import argument, positive
from tquic.qlog import Log, QlogError, plot, read, validate

# Problems that are printed for each file.
SHOWN = 20


def add_arguments(parser: Parser) -> None:
    """Declares the options."""
    parser.epilog = (
        "examples:\n"
        "  QLOGDIR=logs tquic get https://example.com/file\n"
        "  tquic qlog validate logs/*.sqlog\n"
        "  tquic qlog plot logs/0011223344556677_client.sqlog -o transfer.png\n"
        "  tquic qlog listen -o logs                 # and elsewhere:\n"
        "  TQUIC_QLOG_MODE=unix tquic get https://example.com/file"
    )
    roles = parser.add_subparsers(dest="role", required=True, metavar="WHAT")
    check = roles.add_parser(
        "validate",
        help="checks files against the drafts",
        description="Checks files against draft-ietf-quic-qlog-main-schema-14 and quic-events-13; "
        "of qlog 0.3, header, names and times. The exit status is 1 if something is wrong.",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.add_argument(
        "-n",
        dest="shown",
        type=argument(positive),
        default=SHOWN,
        metavar="N",
        help="problems to print for each file (default: %(default)s)",
    )
    check.add_argument("--json", action="store_true", help="print one JSON document")
    draw = roles.add_parser(
        "plot",
        help="draws window, round trips and losses",
        description="Draws the congestion window, bytes in flight, round-trip times, what was sent "
        'and what was lost. Needs matplotlib: pip install "tquic[plot]".',
    )
    draw.add_argument("file", type=Path, metavar="FILE")
    draw.add_argument(
        "-o",
        dest="out",
        type=Path,
        metavar="IMAGE",
        help="where to; .png, .svg or .pdf (default: FILE with .png)",
    )

    _add_listen(roles)


def _add_listen(roles: argparse._SubParsersAction[Parser]) -> None:
    hear = roles.add_parser(
        "listen",
        help="prints or keeps what running processes tell",
        description="Hears of connections of other processes: of those with TQUIC_QLOG_MODE=unix "
        "(or Config.qlog_mode), at a Unix socket; of those with TQUIC_QLOG_MODE=netlink, in the "
        "netlink multicast group, which needs root. Ctrl-C ends it.",
    )
    place = hear.add_mutually_exclusive_group()
    place.add_argument(
        "--unix",
        type=Path,
        metavar="PATH",
        help="the socket, which processes find by TQUIC_QLOG=PATH "
        "(default: qlog.sock in TQUIC_RUNTIME_DIR or the user's runtime folder)",
    )
    place.add_argument("--netlink", action="store_true", help="the netlink group instead")
    form = hear.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON object for each event")
    form.add_argument(
        "-o",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="write a file for each connection into this folder, and print nothing",
    )
    hear.add_argument(
        "-n",
        dest="most",
        type=argument(positive),
        metavar="N",
        help="stop after so many events",
    )


def run(options: argparse.Namespace) -> int:
    """Does what was asked."""
    if options.role == "listen":
        return listen(options)
    return _plot(options) if options.role == "plot" else _validate(options)


def _read(path: Path) -> Log:
    try:
        return read(path)
    except QlogError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None


def _validate(options: argparse.Namespace) -> int:
    results = []
    for path in options.files:
        log = _read(path)
        results.append((path, log, validate(log)))
    wrong = sum(bool(problems) for _, _, problems in results)
    if options.json:
        print_json(
            {
                "ok": not wrong,
                "files": [
                    {
                        "file": str(path),
                        "events": len(log.events),
                        "problems": [str(problem) for problem in problems],
                    }
                    for path, log, problems in results
                ],
            }
        )
        return int(wrong > 0)
    for path, log, problems in results:
        for problem in problems[: options.shown]:
            print(f"{path}: {problem}")
        if len(problems) > options.shown:
            print(f"{path}: ... and {len(problems) - options.shown} more")
        if not problems:
            print(f"{path}: {len(log.events)} events, nothing wrong")
    return int(wrong > 0)


def _plot(options: argparse.Namespace) -> int:
    log = _read(options.file)
    out = options.out or options.file.with_suffix(".png")
    try:
        series = plot(log, out)
    except ImportError:
        raise CommandError('drawing needs matplotlib: pip install "tquic[plot]"') from None
    except ValueError as error:
        raise CommandError(f"cannot draw into {out}: {error}") from None
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror}") from None
    print(f"{out}: {len(log.events)} events, {len(series.lost)} packets lost")
    return 0
