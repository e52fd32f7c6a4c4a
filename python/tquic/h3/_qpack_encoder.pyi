from collections.abc import Iterable
from typing import Final, final

from typing_extensions import Buffer

from tquic.h3.fields import NEVER_INDEXED as NEVER_INDEXED

MAX_TABLE_CAPACITY: Final[int]

def encode_static(
    fields: Iterable[tuple[bytes, bytes]], /, *, never_indexed: Iterable[bytes] = ...
) -> bytes: ...

@final
class Encoder:
    def __new__(
        cls,
        max_table_capacity: int = 0,
        blocked_streams: int = 0,
        *,
        never_indexed: Iterable[bytes] = ...,
    ) -> Encoder: ...
    @property
    def insert_count(self) -> int: ...
    @property
    def known_received_count(self) -> int: ...
    @property
    def table_size(self) -> int: ...
    @property
    def table(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def unacknowledged(self) -> int: ...
    @property
    def at_risk(self) -> int: ...
    def set_capacity(self, capacity: int, /) -> bytes: ...
    def encode(
        self,
        stream_id: int,
        fields: Iterable[tuple[bytes, bytes]],
        /,
        *,
        insert_limit: int | None = None,
    ) -> tuple[bytes, bytes]: ...
    def feed_decoder(self, data: Buffer, /) -> None: ...
