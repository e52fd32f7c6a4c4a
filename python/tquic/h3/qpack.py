"""QPACK, the field compression of HTTP/3 (RFC 9204): bytes to fields and back, without sockets.

One `Encoder` and one `Decoder` serve a connection. What `Encoder.encode` and `Encoder.set_capacity`
return first, and what `Decoder.take_decoder_stream` returns, goes out on the QPACK streams; what
comes in on the peer's goes to `Decoder.feed_encoder` and `Encoder.feed_decoder`.
"""

from tquic.h3._qpack_decoder import DEFAULT_MAX_FIELD_SECTION_SIZE, Blocked, Decoder
from tquic.h3._qpack_encoder import MAX_TABLE_CAPACITY, Encoder, encode_static
from tquic.h3._qpack_static import STATIC_TABLE
from tquic.h3.fields import NEVER_INDEXED, NeverIndexed

__all__ = [
    "DEFAULT_MAX_FIELD_SECTION_SIZE",
    "MAX_TABLE_CAPACITY",
    "NEVER_INDEXED",
    "STATIC_TABLE",
    "Blocked",
    "Decoder",
    "Encoder",
    "NeverIndexed",
    "encode_static",
]
