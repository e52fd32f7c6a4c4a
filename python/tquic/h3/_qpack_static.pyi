from typing import Final

STATIC_TABLE: Final[tuple[tuple[bytes, bytes], ...]]

# What the other compiled modules call.
__pyx_capi__: dict[str, object]
