"""Fields as people read them: text, by names in any case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, cast

from tquic.h3.fields import Field

__all__ = ["Headers", "HeadersLike"]

_Text: TypeAlias = str | bytes
HeadersLike: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[_Text, _Text]]
"""What requests take: a mapping, or pairs where a name may be there more than once."""


class Headers(Mapping[str, str]):
    """The fields of a message. Names are found in any case.

    Several lines of one name are one value, with commas (RFC 9110 section 5.3); for Set-Cookie,
    which cannot be put together, use `get_all`.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        """As they came: (name, value) in bytes."""

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self.fields))

    def __len__(self) -> int:
        return len({name for name, _ in self.fields})

    def get_all(self, name: str) -> list[str]:
        """The values of all lines with a name."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for found, value in self.fields if found == wanted]

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"


def as_fields(headers: HeadersLike | None) -> list[Field]:
    """Fields in bytes, with names in lower case."""
    if headers is None:
        return []
    pairs: Iterable[tuple[_Text, _Text]]
    if isinstance(headers, Mapping):
        pairs = cast("Mapping[_Text, _Text]", headers).items()
    else:
        pairs = headers
    return [(_bytes(name).lower(), _bytes(value)) for name, value in pairs]


def _bytes(text: _Text) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
