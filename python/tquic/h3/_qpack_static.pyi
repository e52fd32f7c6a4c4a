from typing import Final

STATIC_TABLE: Final[tuple[tuple[bytes, bytes], ...]]
