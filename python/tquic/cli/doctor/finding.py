"""What a probe found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "warning", "error"]
# From what needs no attention to what keeps tquic from working.
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")


@dataclass(frozen=True)
class Finding:
    """One fact about this machine, for people and for programs."""

    # A name that stays, for programs: `udp.gso`.
    id: str
    level: Level
    # One sentence.
    message: str
    # What to do, where something can be done.
    fix: str | None = None
    # What was measured or read, for programs.
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Its object in the document."""
        return {
            "id": self.id,
            "level": self.level,
            "message": self.message,
            "fix": self.fix,
            "facts": dict(self.facts),
        }


@dataclass(frozen=True)
class Probe:
    """A question to the machine."""

    # Of the finding.
    id: str
    ask: Callable[[], Finding]

    def run(self) -> Finding:
        """The answer; a probe that fails is an answer, too."""
        try:
            return self.ask()
        # A diagnosis must not die of what it is to find.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            return Finding(self.id, "note", f"this cannot be told here ({reason})")


def unknown(name: str, what: str) -> Finding:
    """The finding of a probe that has no answer on this system."""
    return Finding(name, "note", f"{what} cannot be told on this system")
