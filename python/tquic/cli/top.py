"""``tquic top``: what a running process does, again and again."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from typing import Any

from tquic.cli.failure import UsageError
from tquic.cli.stats import add_process_argument, add_rates, find, look
from tquic.cli.values import argument, count, duration, positive, show_rate, show_size

_HEAD = (
    f"{'connection':<17} {'peer':<22} {'state':<12} {'sent':>11} {'received':>11} "
    f"{'rtt':>9} {'window':>10} {'flight':>10} {'lost':>6}  phase"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "Rates are those since the last look. Ctrl-C ends it."
    add_process_argument(parser)
    parser.add_argument(
        "--interval",
        type=argument(duration),
        default=1.0,
        metavar="TIME",
        help="time between two looks (default: 1s)",
    )
    parser.add_argument(
        "-n",
        dest="looks",
        type=argument(positive),
        metavar="N",
        help="stop after so many looks, without clearing the screen",
    )


def run(options: argparse.Namespace) -> int:
    """Looks until Ctrl-C."""
    if options.interval < 0.1:
        raise UsageError("--interval: at least 100ms")
    process = find() if options.pid is None else options.pid
    before, began = look(process), time.monotonic()
    looks = 0
    while options.looks is None or looks < options.looks:
        time.sleep(options.interval)
        after, now = look(process), time.monotonic()
        add_rates(before, after, now - began)
        before, began = after, now
        looks += 1
        lines = table(after)
        if options.looks is None and sys.stdout.isatty():
            height = shutil.get_terminal_size().lines - 1
            # Home, and clear to the end: no flicker.
            sys.stdout.write("\x1b[H\x1b[J")
            lines = lines[:height]
        print("\n".join(lines), flush=True)
    return 0


def table(snapshot: dict[str, Any]) -> list[str]:
    """The lines to show, the busiest connections first."""
    shards, connections = snapshot["shards"], snapshot["connections"]
    total = sum(shard["connections"] for shard in shards)
    sent = sum(c["rate_sent"] for c in connections)
    received = sum(c["rate_received"] for c in connections)
    lines = [
        f"tquic {snapshot['version']}, process {snapshot['pid']}: "
        f"{count(total, 'connection')}, {count(len(shards), 'thread')}, "
        f"sending {show_rate(sent)}, receiving {show_rate(received)}",
        _HEAD,
    ]
    busy = sorted(connections, key=lambda c: c["rate_sent"] + c["rate_received"], reverse=True)
    for connection in busy:
        for path in connection["paths"]:
            lines.append(_line(connection, path))
    if total > len(connections):
        lines.append(f"... and {total - len(connections)} more")
    return lines


def _line(connection: dict[str, Any], path: dict[str, Any]) -> str:
    first = path is connection["paths"][0]
    name = f"{connection['id'][:16]}" if first else f"  path {path['id']}"
    state = connection["state"] if first else ""
    rates = [show_rate(connection[f"rate_{way}"]) if first else "" for way in ("sent", "received")]
    return (
        f"{name:<17} {path['remote']:<22} {state:<12} {rates[0]:>11} {rates[1]:>11} "
        f"{path['srtt'] * 1000:>6.1f} ms {show_size(path['cwnd']):>10} "
        f"{show_size(path['bytes_in_flight']):>10} {path['lost_packets']:>6}  {path['phase']}"
    ).rstrip()
