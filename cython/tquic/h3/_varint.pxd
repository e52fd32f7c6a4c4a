# Variable-length integers, RFC 9000 section 16, shared by the codec's modules: each compiles these
# inline functions into itself, so a varint never costs a call across modules.

from libc.stdint cimport uint64_t

cdef enum:
    # RFC 9000 section 16: at most 8 bytes, two bits of which give the length.
    MAX_VARINT_SIZE = 8


cdef inline bint varint_fits(uint64_t value) noexcept nogil:
    """Whether value can be written at all: 62 bits are what there is room for."""
    return value >> 62 == 0


cdef inline int varint_write(unsigned char *out, uint64_t value) noexcept nogil:
    """Writes value, which must fit, in its shortest form; returns its size: 1, 2, 4 or 8.

    out must have room for MAX_VARINT_SIZE bytes.
    """
    cdef int size, i
    cdef unsigned char prefix
    if value < 0x40:
        out[0] = <unsigned char>value
        return 1
    if value < 0x4000:
        size = 2
        prefix = 0x40
    elif value < 0x40000000:
        size = 4
        prefix = 0x80
    else:
        size = 8
        prefix = 0xC0
    for i in range(size - 1, -1, -1):
        out[i] = <unsigned char>(value & 0xFF)
        value >>= 8
    out[0] |= prefix
    return size


cdef inline int varint_read(
    const unsigned char *data, Py_ssize_t size, uint64_t *value
) noexcept nogil:
    """Reads the varint at data, of which size bytes may be looked at.

    Returns how many bytes it takes, or 0 (and leaves value alone) when they are not all there.
    """
    cdef unsigned char first
    cdef int length, i
    cdef uint64_t result
    if size <= 0:
        return 0
    first = data[0]
    length = 1 << (first >> 6)
    if size < length:
        return 0
    result = first & 0x3F
    for i in range(1, length):
        result = (result << 8) | data[i]
    value[0] = result
    return length
