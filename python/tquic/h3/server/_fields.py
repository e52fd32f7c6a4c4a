"""Field lines of a message, looked up by name."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Fields"]


class Fields:
    """Field lines in their order; names are in lower case (RFC 9114 section 4.2)."""

    __slots__ = ("lines",)

    def __init__(self, lines: list[tuple[bytes, bytes]]) -> None:
        self.lines = lines

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def first(self, name: bytes) -> bytes | None:
        """The value of the first line with this name."""
        for line in self.lines:
            if line[0] == name:
                return line[1]
        return None

    def joined(self, name: bytes) -> bytes | None:
        """All values with this name as one list (RFC 9110 section 5.3)."""
        values = [line[1] for line in self.lines if line[0] == name]
        return b", ".join(values) if values else None

    def __repr__(self) -> str:
        return f"Fields({self.lines!r})"
