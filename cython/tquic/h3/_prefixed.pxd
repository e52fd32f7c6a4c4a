# Prefixed integers and string literals, RFC 9204 section 4.1, shared by the modules of QPACK: each
# compiles these inline functions into itself.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from tquic.h3._huffman cimport huffman_encode, huffman_size

cdef enum:
    # One byte and nine of 7 bits each: enough for 62 bits. RFC 9204 section 7.4 wants a limit for
    # the encoded length as well: longer encodings of small numbers are refused.
    MAX_PREFIXED_SIZE = 10


cdef inline int prefixed_write(
    uint8_t *out, uint8_t flags, int prefix, uint64_t value
) noexcept nogil:
    """Writes value behind the flags above a prefix of so many bits; returns the size.

    value has 62 bits at most, and out room for MAX_PREFIXED_SIZE bytes.
    """
    cdef uint64_t limit = (<uint64_t>1 << prefix) - 1
    cdef int size = 1
    if value < limit:
        out[0] = flags | <uint8_t>value
        return 1
    out[0] = flags | <uint8_t>limit
    value -= limit
    while value >= 0x80:
        out[size] = <uint8_t>(value & 0x7F) | 0x80
        value >>= 7
        size += 1
    out[size] = <uint8_t>value
    return size + 1


cdef inline int prefixed_read(
    const uint8_t *data, Py_ssize_t size, int prefix, uint64_t *value
) noexcept nogil:
    """Reads the integer at data, of which size bytes may be looked at.

    Returns how many bytes it takes, 0 when they are not all there, or -1 when it is longer than
    anybody needs or has more than 62 bits (RFC 9204 section 4.1.1).
    """
    cdef uint64_t limit = (<uint64_t>1 << prefix) - 1
    cdef uint64_t result
    cdef int i, shift = 0
    cdef uint8_t byte
    if size <= 0:
        return 0
    result = data[0] & limit
    if result < limit:
        value[0] = result
        return 1
    for i in range(1, MAX_PREFIXED_SIZE):
        if i >= size:
            return 0
        byte = data[i]
        # No overflow: the last shift is by 56.
        result += <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            if result >> 62:
                return -1
            value[0] = result
            return i + 1
        shift += 7
    return -1


cdef inline Py_ssize_t literal_bound(Py_ssize_t size) noexcept nogil:
    """Room that literal_write needs for a string of so many bytes: no code has over 30 bits."""
    return MAX_PREFIXED_SIZE + 4 * size + 8


cdef inline Py_ssize_t literal_write(
    uint8_t *out, uint8_t flags, int prefix, const uint8_t *data, Py_ssize_t size
) noexcept nogil:
    """Writes a string literal, RFC 9204 section 4.1.2; returns its size.

    The length has so many bits of prefix, the bit H lies above them, the flags above that. Huffman
    coding is used where it is shorter.
    """
    cdef uint8_t huffman = <uint8_t>1 << prefix
    cdef Py_ssize_t coded
    cdef int head
    if size < huffman - 1:
        # The length has one byte either way, so the string can be coded in place at once.
        coded = huffman_encode(data, size, out + 1)
        if coded < size:
            out[0] = flags | huffman | <uint8_t>coded
            return 1 + coded
        out[0] = flags | <uint8_t>size
        memcpy(out + 1, data, size)
        return 1 + size
    coded = huffman_size(data, size)
    if coded < size:
        head = prefixed_write(out, flags | huffman, prefix, coded)
        return head + huffman_encode(data, size, out + head)
    head = prefixed_write(out, flags, prefix, size)
    memcpy(out + head, data, size)
    return head + size
