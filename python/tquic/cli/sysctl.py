"""``tquic sysctl``: settings for all connections of a user, or of the system."""

from __future__ import annotations

import argparse

from tquic import sysctl
from tquic.cli import output
from tquic.cli.failure import CommandError, UsageError
from tquic.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="show these, or set them with -w")
    parser.add_argument("-a", "--all", action="store_true", help="show all")
    parser.add_argument("-w", "--write", action="store_true", help="set NAME=VALUE...")
    parser.add_argument(
        "--system", action="store_true", help=f"with -w: for all users, in {sysctl.files()[0]}"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document instead of text"
    )
    parser.epilog = (
        "examples:\n"
        "  tquic sysctl -a\n"
        "  tquic sysctl net.tquic.default_congestion\n"
        "  tquic sysctl -w net.tquic.default_congestion=bbr net.tquic.multipath_default=1"
    )


def run(options: argparse.Namespace) -> int:
    """Shows or sets."""
    if options.all and options.names:
        raise UsageError("-a shows all: give no names")
    if not options.all and not options.names:
        raise UsageError("give a NAME, -a for all, or -w NAME=VALUE")
    try:
        return _write(options) if options.write else _show(options, options.names)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None


def _write(options: argparse.Namespace) -> int:
    values = {}
    for given in options.names:
        name, equals, value = given.partition("=")
        if not equals:
            raise UsageError(f"-w needs NAME=VALUE, not {given}")
        values[name.strip()] = value
    sysctl.write(values, sysctl.files()[0] if options.system else None)
    return _show(options, list(values))


def _show(options: argparse.Namespace, names: list[str]) -> int:
    values = sysctl.read()
    if names:
        values = {sysctl.parameter(name).name: sysctl.get(name) for name in names}
    if options.json:
        output.print_json(
            {"ok": True, "values": {f"{sysctl.PREFIX}{name}": v for name, v in values.items()}}
        )
        return 0
    for name, value in values.items():
        print(f"{sysctl.PREFIX}{name} = {value}")
    return 0
