"""Docstrings for the site: their code blocks (``::`` and an indented text) become fenced ones."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

# A paragraph that ends with two colons, and the indented lines behind it.
BLOCK = re.compile(r"::\n\n((?:[ ]{4}[^\n]*(?:\n|\Z)|\n)+)")


def fenced(text: str) -> str:
    """The docstring with its code blocks in fences, which tell the language."""

    def fence(block: re.Match[str]) -> str:
        code = textwrap.dedent(block[1]).strip("\n")
        language = "toml" if code.startswith("[") else "python"
        return f":\n\n```{language}\n{code}\n```\n\n"

    return BLOCK.sub(fence, text)


class Fences(griffe.Extension):  # type: ignore[misc]
    """Changes the docstring of everything that is read."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each object as soon as it is there."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
