"""How commands fail."""

from __future__ import annotations


class CommandError(Exception):
    """The work failed, with a sentence for people: exit status 1."""


class UsageError(Exception):
    """The command line makes no sense, with a sentence for people: exit status 2."""
