"""What a row of the table is: an attack, its sizes, and what the server is started with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .field import Field

Act = Callable[["Field", int], str]


@dataclass(frozen=True)
class Row:
    """One attack. Its bounds stand in `bounds.toml` under the same name."""

    name: str
    act: Act
    """Does it, so many times; says what was sent."""
    full: int
    fast: int
    options: tuple[str, ...] = ()
    """Of `tquic serve`; a row without options may share its server with others."""
    settings: tuple[tuple[str, str], ...] = ()
    """Variables `TQUIC_...` of the server."""

    @property
    def own_server(self) -> bool:
        """Whether the usual server will not do."""
        return bool(self.options or self.settings)


ROWS: dict[str, Row] = {}


def row(
    name: str,
    *,
    full: int,
    fast: int,
    options: tuple[str, ...] = (),
    **settings: str,
) -> Callable[[Act], Act]:
    """Enters an attack into the list."""

    def enter(act: Act) -> Act:
        variables = tuple((f"TQUIC_{key.upper()}", value) for key, value in settings.items())
        ROWS[name] = Row(name, act, full, fast, options, variables)
        return act

    return enter
