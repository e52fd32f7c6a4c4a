# cython: language_level=3, freethreading_compatible=True
# cython: embedsignature=False, auto_pickle=False, boundscheck=False, wraparound=False
# cython: cdivision=True
"""The Huffman code of HPACK and QPACK: RFC 7541 section 5.2 and appendix B.

The code is canonical: codes of the same length follow each other in the order of their symbols, and
those of the next length go on from there. So the lengths say it all, and the tables are made from
them at import. They never change afterwards: every thread may read them.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    _EOS = 256
    _SYMBOLS = 257
    _MAX_BITS = 30
    # What one step of the decoder looks at: most often two symbols. 16 KiB of table.
    _LOOK = 12

# RFC 7541 appendix B: the length in bits of each symbol's code; the last is EOS.
cdef list _LENGTHS = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
]

cdef struct _Code:
    uint32_t code
    uint32_t bits

cdef _Code _CODES[_SYMBOLS]

# What the next 12 bits begin with, 0 when it is a longer code. From the lowest bit: bits of all
# symbols (8; there, because each step waits for them), the first symbol (8), the second (8), how
# many there are (4), bits of the first (4).
cdef uint32_t _TABLE[1 << _LOOK]

# Longer codes, by their length: the number of the first, where its symbol lies in _SORTED, and the
# code after the last, left in 64 bits.
cdef uint32_t _FIRST[_MAX_BITS + 1]
cdef uint16_t _OFFSET[_MAX_BITS + 1]
cdef uint64_t _LIMIT[_MAX_BITS + 1]
cdef uint16_t _SORTED[_SYMBOLS]


cdef int _make_codes() except -1:
    cdef uint32_t code = 0
    cdef int bits, symbol, place = 0
    for bits in range(1, _MAX_BITS + 1):
        code <<= 1
        _FIRST[bits] = code
        _OFFSET[bits] = <uint16_t>place
        for symbol in range(_SYMBOLS):
            if <int>_LENGTHS[symbol] == bits:
                _CODES[symbol].code = code
                _CODES[symbol].bits = bits
                _SORTED[place] = <uint16_t>symbol
                place += 1
                code += 1
        _LIMIT[bits] = <uint64_t>code << (64 - bits)
    if code != <uint32_t>1 << _MAX_BITS:
        raise AssertionError("the lengths are not those of a complete code")
    return 0


cdef void _make_table() noexcept:
    cdef uint32_t word, entry
    cdef int first, second, bits, both
    for word in range(1 << _LOOK):
        first = _symbol_of(word, _LOOK)
        if first < 0:
            _TABLE[word] = 0
            continue
        bits = _CODES[first].bits
        second = _symbol_of((word << bits) & ((1 << _LOOK) - 1), _LOOK - bits)
        if second < 0:
            entry = bits | first << 8 | 1 << 24 | <uint32_t>bits << 28
        else:
            both = bits + _CODES[second].bits
            entry = both | first << 8 | second << 16 | 2 << 24 | <uint32_t>bits << 28
        _TABLE[word] = entry


cdef int _symbol_of(uint32_t word, int known) noexcept:
    """The symbol whose code the 12 bits of word begin with, if the first known of them are enough."""
    cdef int bits
    cdef uint32_t code
    for bits in range(5, known + 1):
        code = word >> (_LOOK - bits)
        if (<uint64_t>code << (64 - bits)) < _LIMIT[bits]:
            return _SORTED[_OFFSET[bits] + code - _FIRST[bits]]
    return -1


_make_codes()
_make_table()


cdef inline uint64_t _load(const uint8_t *data) noexcept nogil:
    """Eight bytes, the first on top; compilers make one instruction of it."""
    return (
        <uint64_t>data[0] << 56 | <uint64_t>data[1] << 48 | <uint64_t>data[2] << 40
        | <uint64_t>data[3] << 32 | <uint64_t>data[4] << 24 | <uint64_t>data[5] << 16
        | <uint64_t>data[6] << 8 | <uint64_t>data[7]
    )


cdef inline void _store(uint8_t *out, uint64_t word) noexcept nogil:
    out[0] = <uint8_t>(word >> 56)
    out[1] = <uint8_t>(word >> 48)
    out[2] = <uint8_t>(word >> 40)
    out[3] = <uint8_t>(word >> 32)
    out[4] = <uint8_t>(word >> 24)
    out[5] = <uint8_t>(word >> 16)
    out[6] = <uint8_t>(word >> 8)
    out[7] = <uint8_t>word


cdef int _long_code(uint64_t bits, uint8_t *symbol) noexcept nogil:
    """The symbol of a code over 12 bits that bits begin with, and its length; 0 for EOS."""
    cdef int length
    cdef uint16_t found
    for length in range(_LOOK + 1, _MAX_BITS):
        if bits < _LIMIT[length]:
            break
    else:
        length = _MAX_BITS
    found = _SORTED[_OFFSET[length] + <uint32_t>(bits >> (64 - length)) - _FIRST[length]]
    if found == _EOS:
        return 0
    symbol[0] = <uint8_t>found
    return length


cdef Py_ssize_t huffman_decode(const uint8_t *data, Py_ssize_t size, uint8_t *out) noexcept nogil:
    # The next bits, left in the word, and how many of them count.
    cdef uint64_t word = 0
    cdef int count = 0
    cdef const uint8_t *end = data + size
    cdef uint8_t *start = out
    cdef uint32_t entry
    cdef int step, length
    while end - data >= 8:
        # Bits beyond those that count may be set already: to what is set here again.
        word |= _load(data) >> count
        data += (63 - count) >> 3
        count |= 56
        for step in range(4):
            entry = _TABLE[word >> (64 - _LOOK)]
            if entry == 0:
                break
            out[0] = <uint8_t>(entry >> 8)
            out[1] = <uint8_t>(entry >> 16)
            out += (entry >> 24) & 3
            length = <int>(entry & 63)
            word <<= length
            count -= length
        else:
            continue
        if count >= _MAX_BITS:
            length = _long_code(word, out)
            # RFC 7541 section 5.2: a string that contains EOS is an error.
            if length == 0:
                return -1
            out += 1
            word <<= length
            count -= length
    return _decode_tail(data, end, word, count, start, out)


cdef Py_ssize_t _decode_tail(
    const uint8_t *data, const uint8_t *end, uint64_t word, int count,
    uint8_t *start, uint8_t *out
) noexcept nogil:
    """The last bytes, fewer than 8, and the padding."""
    cdef uint64_t padded
    cdef uint32_t entry
    cdef int length
    while True:
        while count < 56 and data < end:
            word |= <uint64_t>data[0] << (56 - count)
            data += 1
            count += 8
        # Ones follow, as in the padding, so that no bit is taken that is not there.
        padded = word | (<uint64_t>0xFFFFFFFFFFFFFFFF >> count)
        entry = _TABLE[padded >> (64 - _LOOK)]
        if entry != 0:
            length = <int>(entry & 63)
            if length <= count:
                out[0] = <uint8_t>(entry >> 8)
                out[1] = <uint8_t>(entry >> 16)
                out += (entry >> 24) & 3
            else:
                length = <int>(entry >> 28)
                if length > count:
                    break
                out[0] = <uint8_t>(entry >> 8)
                out += 1
        else:
            length = _long_code(padded, out)
            if length == 0 or length > count:
                break
            out += 1
        word <<= length
        count -= length
    # RFC 7541 section 5.2: padding over 7 bits, or of anything but the start of EOS, which is
    # ones, is an error. A code that was cut and EOS itself end up here as well.
    if count > 7 or (count and word >> (64 - count) != (<uint64_t>1 << count) - 1):
        return -1
    return out - start


cdef Py_ssize_t huffman_encode(const uint8_t *data, Py_ssize_t size, uint8_t *out) noexcept nogil:
    # Bits not written yet, at the low end of the word: under 8 after a store.
    cdef uint64_t word = 0
    cdef int count = 0
    cdef const uint8_t *end = data + size
    cdef uint8_t *start = out
    cdef _Code a, b, c, d
    cdef int left, right
    while end - data >= 4:
        # Four at once, in two halves that do not wait for each other.
        a = _CODES[data[0]]
        b = _CODES[data[1]]
        c = _CODES[data[2]]
        d = _CODES[data[3]]
        left = <int>(a.bits + b.bits)
        right = <int>(c.bits + d.bits)
        if left + right > 56:
            break
        if count + left + right > 64:
            _store(out, word << (64 - count))
            out += count >> 3
            count &= 7
        word = word << left | (<uint64_t>a.code << b.bits | b.code)
        word = word << right | (<uint64_t>c.code << d.bits | d.code)
        count += left + right
        data += 4
    while data < end:
        a = _CODES[data[0]]
        if count + <int>a.bits > 64:
            _store(out, word << (64 - count))
            out += count >> 3
            count &= 7
        word = word << a.bits | a.code
        count += <int>a.bits
        data += 1
    if count:
        # RFC 7541 section 5.2: padding is the most significant bits of EOS: ones.
        word = word << (64 - count) | (<uint64_t>0xFFFFFFFFFFFFFFFF >> (count - 1) >> 1)
        _store(out, word)
        out += (count + 7) >> 3
    return out - start


cdef Py_ssize_t huffman_size(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef uint64_t bits = 0
    cdef Py_ssize_t i
    for i in range(size):
        bits += _CODES[data[i]].bits
    return <Py_ssize_t>((bits + 7) >> 3)


def encode(data, /):
    """The Huffman encoding of data, padded with ones."""
    cdef Py_buffer view
    cdef uint8_t *out
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        out = <uint8_t *>PyMem_Malloc(4 * view.len + 8)
        if out is NULL:
            raise MemoryError
        try:
            return PyBytes_FromStringAndSize(
                <char *>out, huffman_encode(<const uint8_t *>view.buf, view.len, out)
            )
        finally:
            PyMem_Free(out)
    finally:
        PyBuffer_Release(&view)


def decode(data, /):
    """What data is the Huffman encoding of; ValueError when it is none."""
    cdef Py_buffer view
    cdef uint8_t *out
    cdef Py_ssize_t size
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        out = <uint8_t *>PyMem_Malloc(huffman_bound(view.len))
        if out is NULL:
            raise MemoryError
        try:
            size = huffman_decode(<const uint8_t *>view.buf, view.len, out)
            if size < 0:
                raise ValueError("not a Huffman encoding: RFC 7541 section 5.2")
            return PyBytes_FromStringAndSize(<char *>out, size)
        finally:
            PyMem_Free(out)
    finally:
        PyBuffer_Release(&view)
