"""How commands fail."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn


class CommandError(Exception):
    """The work failed, with a sentence for people: exit status 1."""


class UsageError(Exception):
    """The command line makes no sense, with a sentence for people: exit status 2."""


class NotYet(argparse.Action):
    """An option that has its name already and no function: using it is refused, and says so."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, *, needs: str, **others: Any
    ) -> None:
        others["help"] = argparse.SUPPRESS
        super().__init__(option_strings, dest, **others)
        self.needs = needs

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> NoReturn:
        """Ends with status 2."""
        parser.error(f"{option_string} is not there yet: it needs {self.needs}")


def not_yet(
    parser: argparse.ArgumentParser, needs: str, *options: str, values: bool = True
) -> None:
    """Declares options that come with a later part of tquic; `values` if they take one."""
    for option in options:
        parser.add_argument(option, action=NotYet, needs=needs, nargs=None if values else 0)
