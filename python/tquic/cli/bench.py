"""``tquic bench``: measurements that bring their own network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from tquic.bench import multipath, network
from tquic.cli.failure import CommandError
from tquic.cli.output import note, print_json
from tquic.cli.values import argument, duration
from tquic.config import Congestion, Scheduler

NAMES = [scenario.name for scenario in multipath.SCENARIOS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what can be measured."""
    roles = parser.add_subparsers(dest="role", metavar="WHAT", required=True)
    paths = roles.add_parser(
        "multipath",
        help="several paths together beside each alone, and what happens when one fails",
        description="Several paths between two network namespaces with links of known rates.",
    )
    paths.add_argument(
        "scenarios",
        nargs="*",
        choices=[*NAMES, []],
        metavar="SCENARIO",
        help=f"default: all; {', '.join(NAMES)}",
    )
    paths.add_argument("--scheduler", choices=get_args(Scheduler), default="minrtt", metavar="NAME")
    paths.add_argument(
        "--congestion", choices=get_args(Congestion), default="cubic", metavar="NAME"
    )
    paths.add_argument(
        "--duration",
        type=argument(duration),
        default=5.0,
        metavar="TIME",
        help="of each transfer (default: 5s)",
    )
    paths.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="multiply all rates by this (default: %(default)s)",
    )
    paths.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the figures as a page as well"
    )
    paths.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Measures; fails if a figure is outside its band."""
    try:
        inside = network.enter("tquic", sys.argv[1:])
        return _run(options) if inside is None else inside
    except network.NoNetworkError as error:
        raise CommandError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    how = multipath.Play.from_env(
        scheduler=options.scheduler,
        congestion=options.congestion,
        seconds=options.duration,
        scale=options.scale,
    )
    results = []
    for scenario in multipath.SCENARIOS:
        if options.scenarios and scenario.name not in options.scenarios:
            continue
        if scenario.needs_relay and how.relay is None:
            note(f"{scenario.name} left out: {multipath.RELAY} names no tquic-relay")
            continue
        result = multipath.play(scenario, how)
        results.append(result)
        if not options.json:
            print(f"{result.scenario}: {result.what}")
            for figure in result.figures:
                print(f"  {figure}{'' if figure.holds else '  NOT MET'}", flush=True)
    if options.markdown is not None:
        options.markdown.write_text(multipath.page(results, how))
    if options.json:
        print_json({"results": [result.report() for result in results]})
    return 0 if all(result.holds for result in results) else 1
