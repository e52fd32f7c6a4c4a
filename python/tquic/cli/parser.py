"""The command line's grammar: what argparse does, and what people expect beyond."""

from __future__ import annotations

import argparse
import difflib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from tquic import build_info


class _Help(argparse.HelpFormatter):
    """Wraps descriptions, and leaves those alone that have lines already: examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Takes no abbreviations, which the next option may make ambiguous, and suggests instead."""

    def __init__(self, **settings: Any) -> None:
        defaults: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Help}
        super().__init__(**(defaults | settings))

    # Without the overload that fills a namespace of another type: no command has one.
    def parse_args(  # type: ignore[override]
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """The options; ends with status 2 if there are unknown ones."""
        options, extras = self.parse_known_args(args, namespace or argparse.Namespace())
        if extras:
            asked = self._asked(args)
            message = f"unrecognized arguments: {' '.join(extras)}"
            asked.error(message + did_you_mean(extras[0].partition("=")[0], asked.names()))
        return options

    def error(self, message: str) -> NoReturn:
        """One sentence and where to read on; the whole usage would hide it."""
        hint = f"`{self.prog} --help` lists what there is"
        self.exit(2, f"{self.prog}: error: {message}\n{hint}\n")

    def roles(self) -> dict[str, Parser]:
        """The commands below this one."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return dict(action.choices)
        return {}

    def names(self) -> list[str]:
        """The options that are shown."""
        return [
            name
            for action in self._actions
            if action.help != argparse.SUPPRESS
            for name in action.option_strings
        ]

    def actions(self) -> list[argparse.Action]:
        """Options and arguments that are shown."""
        hidden = (argparse.SUPPRESS,)
        return [
            action
            for action in self._actions
            if action.help not in hidden and not isinstance(action, argparse._SubParsersAction)
        ]

    def _asked(self, arguments: Sequence[str]) -> Parser:
        roles = self.roles()
        for argument in arguments:
            if argument in roles:
                return roles[argument]
        return self


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question about what is nearest, or nothing."""
    # Options first by what people leave off: `--conn` for `--connect-to`.
    known = list(known)
    near = [name for name in known if len(word) > 3 and name.startswith(word)]
    near += difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def make(commands: Mapping[str, str]) -> tuple[Parser, dict[str, Parser]]:
    """The parser of ``tquic``, and those of its subcommands, still without their options."""
    parser = Parser(
        prog="tquic",
        description="QUIC from the command line.",
        epilog="`tquic COMMAND --help` says more. The exit status is 0 for success, 1 when the "
        "work failed, 2 for wrong usage, 130 after Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=_version())
    parsers: dict[str, Parser] = {}
    if commands:
        group = parser.add_subparsers(title="commands", metavar="COMMAND")
        for name, summary in commands.items():
            description = f"{summary[:1].upper()}{summary[1:]}."
            parsers[name] = group.add_parser(name, help=summary, description=description)
    return parser, parsers


def complete(commands: Mapping[str, str]) -> dict[str, Parser]:
    """The parsers of all subcommands, with their options."""
    _, parsers = make(commands)
    for name, parser in parsers.items():
        importlib.import_module(f"tquic.cli.{name}").add_arguments(parser)
    return parsers


def _version() -> str:
    info = build_info()
    profile = "debug" if info["debug"] else "release"
    return f"tquic {info['version']} ({info['target']}, {profile})"
