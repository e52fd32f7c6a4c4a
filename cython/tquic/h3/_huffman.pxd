# The Huffman code of RFC 7541 appendix B, for the other modules of QPACK.

from libc.stdint cimport uint8_t

# Decodes size bytes; returns the size of the result, or -1 when they are not a valid encoding.
# out needs room for huffman_bound(size) bytes.
cdef Py_ssize_t huffman_decode(const uint8_t *data, Py_ssize_t size, uint8_t *out) noexcept nogil

# Encodes size bytes; returns the size of the result. out needs room for 4 * size + 8 bytes.
cdef Py_ssize_t huffman_encode(const uint8_t *data, Py_ssize_t size, uint8_t *out) noexcept nogil

# How long size bytes become when they are encoded.
cdef Py_ssize_t huffman_size(const uint8_t *data, Py_ssize_t size) noexcept nogil


cdef inline Py_ssize_t huffman_bound(Py_ssize_t size) noexcept nogil:
    """Room for what size bytes decode to: 5 bits are the shortest code; two are written at once."""
    return size + (size * 3) // 5 + 2
