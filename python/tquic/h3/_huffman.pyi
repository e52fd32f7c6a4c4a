from typing_extensions import Buffer

def encode(data: Buffer, /) -> bytes: ...
def decode(data: Buffer, /) -> bytes: ...

# What the other compiled modules call.
__pyx_capi__: dict[str, object]
