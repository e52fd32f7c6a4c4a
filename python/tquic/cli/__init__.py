"""The command ``tquic``.

Each subcommand is a module of this package, named in `COMMANDS` and imported only when it runs,
so that ``tquic --version`` stays quick however many there are. Such a module has two functions:

``add_arguments(parser: argparse.ArgumentParser) -> None``
    declares its options;
``run(options: argparse.Namespace) -> int``
    does the work and returns the exit status: 0 success, 1 the work failed. Raises `CommandError`
    or `UsageError` with a sentence that is printed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from tquic import build_info
from tquic.cli.failure import CommandError, UsageError
from tquic.cli.output import print_json

# Subcommand -> the line that `tquic --help` shows for it. Its module is `tquic.cli.<subcommand>`.
COMMANDS: Mapping[str, str] = {
    "cert": "makes certificates for development",
    "serve": "serves the files of a folder",
    "get": "downloads files",
    "perf": "measures throughput, request and handshake rates",
    "doctor": "says what this machine gives, and how to fix what is missing",
}

# What a shell reports for a program ended by Ctrl-C: 128 + SIGINT.
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, commands: Mapping[str, str] = COMMANDS) -> int:
    """Runs the command line and returns its exit status; wrong usage exits with status 2."""
    if arguments is None:
        arguments = sys.argv[1:]
    name = arguments[0] if arguments else None
    parser, parsers = _parser(commands)
    if name is None:
        parser.print_help(sys.stderr)
        return 2
    if name not in commands:
        # An option of `tquic` itself, which exits, or a mistake, which argparse explains.
        parser.parse_args(arguments)
        return 2
    module = importlib.import_module(f"tquic.cli.{name}")
    module.add_arguments(parsers[name])
    options = parser.parse_args(arguments)
    try:
        status: int = module.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except UsageError as error:
        parsers[name].error(str(error))
    except CommandError as error:
        if getattr(options, "json", False):
            print_json({"ok": False, "error": str(error)})
        print(f"tquic {name}: {error}", file=sys.stderr)
        return 1
    return status


def _parser(
    commands: Mapping[str, str],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of ``tquic``, and those of its subcommands, still without their options."""
    parser = argparse.ArgumentParser(prog="tquic", description="QUIC from the command line.")
    parser.add_argument("--version", action="version", version=_version())
    parsers: dict[str, argparse.ArgumentParser] = {}
    if commands:
        group = parser.add_subparsers(title="commands", metavar="COMMAND")
        for name, summary in commands.items():
            parsers[name] = group.add_parser(name, help=summary, description=summary)
    return parser, parsers


def _version() -> str:
    info = build_info()
    profile = "debug" if info["debug"] else "release"
    return f"tquic {info['version']} ({info['target']}, {profile})"
