# cython: language_level=3, freethreading_compatible=True
# cython: embedsignature=False, auto_pickle=False, boundscheck=False, wraparound=False
# cython: cdivision=True
"""The decoder of QPACK: encoded field sections to lists of fields (RFC 9204).

A `Decoder` belongs to one connection. Its methods hold a lock on it where the interpreter has no
GIL, so a call from another thread waits; nothing is shared between decoders but the static table.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport uint8_t, uint64_t

cdef extern from "Python.h":
    # As they are: Cython's own would count references.
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t) noexcept
    Py_ssize_t Py_SIZE(PyObject *) noexcept

from tquic.h3._huffman cimport huffman_bound, huffman_decode
from tquic.h3._prefixed cimport MAX_PREFIXED_SIZE, prefixed_read, prefixed_write
from tquic.h3._qpack_static cimport STATIC_COUNT, static_fields

from tquic.h3.errors import ErrorCode, FieldSectionTooLarge, H3Error
from tquic.h3.fields import NeverIndexed

cdef enum:
    # RFC 9204 section 3.2.1: what an entry counts for beyond its name and value.
    _OVERHEAD = 32
    # The first size of the ring of entries; it doubles.
    _FIRST_RING = 16
    # What may wait in `take_decoder_stream`, in bytes.
    _MAX_UNSENT = 65536
    # What decoded strings may keep allocated between calls, in bytes.
    _KEPT_SCRATCH = 65536

DEFAULT_MAX_FIELD_SECTION_SIZE = 32768

# The bound of what a table may be given: 1 GiB.
MAX_TABLE_CAPACITY = 1 << 30

cdef object _DECOMPRESSION_FAILED = ErrorCode.QPACK_DECOMPRESSION_FAILED
cdef object _ENCODER_STREAM_ERROR = ErrorCode.QPACK_ENCODER_STREAM_ERROR
cdef PyObject **_STATIC = static_fields()


# A string literal as it lies in the data: its bytes follow the head.
cdef struct _Literal:
    uint64_t size
    bint huffman


cdef inline int _read_literal(
    const uint8_t *data, Py_ssize_t size, int prefix, _Literal *literal
) noexcept nogil:
    """Reads the head of a string literal: its size, 0 when it is not all there, or -1."""
    if size <= 0:
        return 0
    literal.huffman = (data[0] >> prefix) & 1
    return prefixed_read(data, size, prefix, &literal.size)


cdef inline uint64_t _least_size(_Literal *literal) noexcept nogil:
    """How long the string is at least when it is decoded: no code has over 30 bits."""
    # Not multiplied before it is known to be small: the peer may claim 2**62.
    return (literal.size >> 2) if literal.huffman else literal.size


@cython.final
cdef class Blocked:
    """A field section that cannot be decoded yet: what it refers to has not come.

    ``required_insert_count`` is how many entries the table must have been given by then.
    """

    __match_args__ = ("required_insert_count",)

    cdef readonly uint64_t required_insert_count

    def __init__(self, required_insert_count):
        self.required_insert_count = required_insert_count

    def __repr__(self):
        return f"Blocked(required_insert_count={self.required_insert_count})"


# Where a field section stands in the dynamic table.
cdef struct _Section:
    uint64_t required
    uint64_t base


@cython.final
cdef class Decoder:
    """Decodes the field sections of one connection, with the table the peer's encoder fills.

    ``max_table_capacity`` (bytes, at most 1 GiB) and ``blocked_streams`` are what the SETTINGS
    promised. ``max_field_section_size`` bounds a decoded section in bytes, each field counted with
    32 bytes on top (RFC 9114 section 4.2.2).

    After `H3Error` with a QPACK code the connection is to be closed with it: the decoder raises it
    again and decodes nothing more. `FieldSectionTooLarge` concerns one section only.
    """

    cdef uint64_t _max_capacity
    cdef uint64_t _max_section
    cdef uint64_t _max_blocked
    # The dynamic table: entries `_dropped` to `_inserted` - 1, as (name, value), owned.
    cdef PyObject **_ring
    cdef uint64_t _mask
    cdef uint64_t _inserted
    cdef uint64_t _dropped
    cdef uint64_t _capacity
    cdef uint64_t _size
    # How many inserts the encoder knows of, by what was taken or waits in `_unsent`.
    cdef uint64_t _known
    # Streams that wait, with the insert count they need, and the least of these.
    cdef dict _blocked
    cdef uint64_t _least_blocked
    # An instruction that was cut.
    cdef bytearray _partial
    # Instructions for the peer's encoder.
    cdef uint8_t *_unsent
    cdef Py_ssize_t _unsent_size
    cdef Py_ssize_t _unsent_room
    cdef uint8_t *_scratch
    cdef Py_ssize_t _scratch_size
    cdef object _error

    def __cinit__(
        self,
        max_table_capacity=0,
        blocked_streams=0,
        max_field_section_size=DEFAULT_MAX_FIELD_SECTION_SIZE,
    ):
        if not 0 <= max_table_capacity <= MAX_TABLE_CAPACITY:
            raise ValueError(f"max_table_capacity {max_table_capacity} is not in 0 to 2**30")
        if not 0 <= blocked_streams < 1 << 32:
            raise ValueError(f"blocked_streams {blocked_streams} is not in 0 to 2**32 - 1")
        if not 0 <= max_field_section_size < 1 << 62:
            raise ValueError(
                f"max_field_section_size {max_field_section_size} is not in 0 to 2**62 - 1"
            )
        self._max_capacity = max_table_capacity
        self._max_blocked = blocked_streams
        self._max_section = max_field_section_size
        self._blocked = {}

    def __dealloc__(self):
        while self._dropped < self._inserted:
            self._drop()
        PyMem_Free(self._ring)
        PyMem_Free(self._scratch)
        PyMem_Free(self._unsent)

    @property
    def insert_count(self):
        """How many entries the dynamic table has been given since the connection began."""
        with cython.critical_section(self):
            return self._inserted

    @property
    def table_size(self):
        """The size of the dynamic table in bytes, as RFC 9204 section 3.2.1 counts."""
        with cython.critical_section(self):
            return self._size

    @property
    def table(self):
        """The entries of the dynamic table now, the oldest first."""
        cdef uint64_t index
        cdef list entries = []
        with cython.critical_section(self):
            for index in range(self._dropped, self._inserted):
                entries.append(<object>self._ring[index & self._mask])
        return entries

    def feed_encoder(self, data, /):
        """Takes the next bytes of the peer's encoder stream, cut anywhere.

        Returns the streams that were blocked and are not any more: their sections are to be given
        to `decode` again, in their order.
        """
        cdef Py_buffer view
        with cython.critical_section(self):
            self._raise_again()
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                self._instructions(<const uint8_t *>view.buf, view.len)
            except H3Error as error:
                self._fail(error)
                raise
            finally:
                PyBuffer_Release(&view)
            if self._blocked and self._inserted >= self._least_blocked:
                return self._unblock()
            return []

    def decode(self, stream_id, block, /):
        """The fields of an encoded section that has come whole, as (name, value) in their order
        (RFC 9204 section 2.2).

        `Blocked` when entries it refers to have not come: keep the section, and give it again when
        `feed_encoder` names the stream. Later sections of a blocked stream are blocked too.
        Fields that must stay literal on further hops are `NeverIndexed`.
        """
        cdef Py_buffer view
        cdef uint64_t stream = _stream_id(stream_id)
        with cython.critical_section(self):
            self._raise_again()
            PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
            try:
                return self._decode(stream, <const uint8_t *>view.buf, view.len)
            except FieldSectionTooLarge:
                raise
            except H3Error as error:
                self._fail(error)
                raise
            finally:
                PyBuffer_Release(&view)

    def cancel(self, stream_id, /):
        """Gives up a stream: it was reset, or will not be read any more.

        To be called unless all sections that came on the stream were decoded; calling it too often
        does no harm.
        """
        cdef uint64_t stream = _stream_id(stream_id)
        with cython.critical_section(self):
            self._raise_again()
            self._cancel(stream)

    def take_decoder_stream(self):
        """What is to be sent on the decoder stream now: acknowledgments and cancellations."""
        with cython.critical_section(self):
            self._raise_again()
            return self._take()

    cdef int _cancel(self, uint64_t stream) except -1:
        if self._blocked:
            self._blocked.pop(stream, None)
        # RFC 9204 section 2.2.2.2: may be left out when there is no dynamic table.
        if self._max_capacity:
            self._check_unsent()
            self._answer(0x40, 6, stream)
        return 0

    cdef bytes _take(self):
        cdef bytes taken
        # RFC 9204 section 4.4.3: what no acknowledgment of a section has said already.
        if self._inserted > self._known:
            self._answer(0x00, 6, self._inserted - self._known)
            self._known = self._inserted
        taken = PyBytes_FromStringAndSize(<char *>self._unsent, self._unsent_size)
        self._unsent_size = 0
        return taken

    cdef int _raise_again(self) except -1:
        # A new exception each time: raising one again and again makes its traceback grow.
        if self._error is not None:
            raise H3Error(self._error.code, self._error.reason)
        return 0

    cdef int _fail(self, error) except -1:
        self._error = H3Error(error.code, error.reason)
        self._partial = None
        self._blocked.clear()
        return 0

    cdef int _answer(self, uint8_t flags, int prefix, uint64_t value) except -1:
        """Adds an instruction for the peer's encoder."""
        cdef Py_ssize_t room
        cdef uint8_t *unsent
        if self._unsent_room - self._unsent_size < MAX_PREFIXED_SIZE:
            room = 64 + 2 * self._unsent_room
            unsent = <uint8_t *>PyMem_Realloc(self._unsent, room)
            if unsent is NULL:
                raise MemoryError
            self._unsent = unsent
            self._unsent_room = room
        self._unsent_size += prefixed_write(
            self._unsent + self._unsent_size, flags, prefix, value
        )
        return 0

    cdef int _check_unsent(self) except -1:
        # RFC 9204 section 7.3: who does not read what is sent cannot make it pile up here.
        if self._unsent_size > _MAX_UNSENT:
            raise H3Error(
                ErrorCode.H3_EXCESSIVE_LOAD,
                f"over {_MAX_UNSENT} bytes for the decoder stream have not been taken",
            )
        return 0

    cdef list _unblock(self):
        cdef list streams = []
        cdef uint64_t required, least = <uint64_t>-1
        for stream, count in self._blocked.items():
            required = count
            if required <= self._inserted:
                streams.append(stream)
            elif required < least:
                least = required
        for stream in streams:
            del self._blocked[stream]
        self._least_blocked = least
        return streams

    # The encoder stream

    cdef int _instructions(self, const uint8_t *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken, position = 0
        cdef bytearray kept = self._partial
        if kept is not None:
            # Grows in place: an instruction that comes byte by byte is not copied each time.
            kept += (<const char *>data)[:size]
            data = <const uint8_t *>PyByteArray_AS_STRING(kept)
            size = len(kept)
        while position < size:
            taken = self._instruction(data + position, size - position)
            if taken == 0:
                break
            position += taken
        # What is kept is bounded: the strings in it were compared with the capacity.
        if position == size:
            self._partial = None
        elif kept is None:
            self._partial = bytearray((<const char *>data)[position:size])
        else:
            del kept[:position]
        return 0

    cdef Py_ssize_t _instruction(self, const uint8_t *data, Py_ssize_t size) except -1:
        """Carries out the instruction at data; returns its size, or 0 when it is not all there."""
        cdef uint8_t first = data[0]
        cdef uint64_t value = 0
        cdef int head
        if first & 0x80:
            # RFC 9204 section 4.3.2: Insert with Name Reference
            head = self._integer(data, size, 6, &value)
            if head == 0:
                return 0
            return self._insert_value(self._name(value, first & 0x40), data, head, size)
        if first & 0x40:
            return self._insert_literal(data, size)
        head = self._integer(data, size, 5, &value)
        if head == 0:
            return 0
        if first & 0x20:
            # RFC 9204 section 4.3.1: Set Dynamic Table Capacity
            if value > self._max_capacity:
                raise H3Error(
                    _ENCODER_STREAM_ERROR,
                    f"the table is set to {value} bytes, the limit is {self._max_capacity}",
                )
            self._capacity = value
            while self._size > value:
                self._drop()
        else:
            # RFC 9204 section 4.3.4: Duplicate
            self._insert(<tuple>self._relative(value))
        return head

    cdef int _integer(
        self, const uint8_t *data, Py_ssize_t size, int prefix, uint64_t *value
    ) except -1:
        cdef int head = prefixed_read(data, size, prefix, value)
        if head < 0:
            # RFC 9204 section 7.4
            raise H3Error(_ENCODER_STREAM_ERROR, "an integer has more than 62 bits")
        return head

    cdef object _relative(self, uint64_t index):
        """The entry with a relative index of the encoder stream, RFC 9204 section 3.2.5."""
        # RFC 9204 section 2.2.3: a reference to an entry that was evicted, or never was.
        if index >= self._inserted - self._dropped:
            raise H3Error(
                _ENCODER_STREAM_ERROR,
                f"relative index {index} is used, the table has "
                f"{self._inserted - self._dropped} entries",
            )
        return <object>self._ring[(self._inserted - 1 - index) & self._mask]

    cdef bytes _name(self, uint64_t index, bint is_static):
        if not is_static:
            return (<tuple>self._relative(index))[0]
        # RFC 9204 section 3.1: an invalid static index on the encoder stream.
        if index >= STATIC_COUNT:
            raise H3Error(_ENCODER_STREAM_ERROR, f"static index {index} is not in 0 to 98")
        return (<tuple>_STATIC[index])[0]

    cdef Py_ssize_t _string(
        self, const uint8_t *data, Py_ssize_t size, int prefix, _Literal *literal
    ) except -1:
        """Size of the string literal at data with its head, or 0 when it is not all there."""
        cdef int head = _read_literal(data, size, prefix, literal)
        if head == 0:
            return 0
        if head < 0:
            raise H3Error(_ENCODER_STREAM_ERROR, "an integer has more than 62 bits")
        # RFC 9204 section 3.2.2: an entry larger than the table. Known by the announced length, so
        # that the string is not waited for.
        if _least_size(literal) + _OVERHEAD > self._capacity:
            self._too_large(_least_size(literal) + _OVERHEAD)
        if literal.size > <uint64_t>(size - head):
            return 0
        return head + <Py_ssize_t>literal.size

    cdef int _too_large(self, uint64_t size) except -1:
        raise H3Error(
            _ENCODER_STREAM_ERROR,
            f"an entry of {size} bytes or more is inserted, the table has {self._capacity}",
        )

    cdef Py_ssize_t _insert_value(
        self, bytes name, const uint8_t *data, Py_ssize_t head, Py_ssize_t size
    ) except -1:
        cdef _Literal literal
        cdef Py_ssize_t taken = self._string(data + head, size - head, 7, &literal)
        if taken == 0:
            return 0
        value = self._bytes(data + head + taken - literal.size, &literal, _ENCODER_STREAM_ERROR)
        self._insert((name, value))
        return head + taken

    cdef Py_ssize_t _insert_literal(self, const uint8_t *data, Py_ssize_t size) except -1:
        # RFC 9204 section 4.3.3: Insert with Literal Name
        cdef _Literal name, value
        cdef Py_ssize_t head = self._string(data, size, 5, &name)
        cdef Py_ssize_t taken
        if head == 0:
            return 0
        taken = self._string(data + head, size - head, 7, &value)
        if taken == 0:
            return 0
        self._insert((
            self._bytes(data + head - name.size, &name, _ENCODER_STREAM_ERROR),
            self._bytes(data + head + taken - value.size, &value, _ENCODER_STREAM_ERROR),
        ))
        return head + taken

    cdef int _insert(self, tuple entry) except -1:
        cdef uint64_t size = _field_size(<PyObject *>entry)
        # RFC 9204 section 3.2.2
        if size > self._capacity:
            self._too_large(size)
        while self._size + size > self._capacity:
            self._drop()
        if self._ring is NULL or self._inserted - self._dropped > self._mask:
            self._grow()
        Py_INCREF(entry)
        self._ring[self._inserted & self._mask] = <PyObject *>entry
        self._inserted += 1
        self._size += size
        return 0

    cdef void _drop(self) noexcept:
        """Evicts the oldest entry."""
        cdef PyObject *entry = self._ring[self._dropped & self._mask]
        self._size -= _field_size(entry)
        self._dropped += 1
        Py_XDECREF(entry)

    cdef int _grow(self) except -1:
        # With entries that came, not with the capacity: at most the capacity / 32, doubled.
        cdef uint64_t count = _FIRST_RING if self._ring is NULL else 2 * (self._mask + 1)
        cdef uint64_t index
        cdef PyObject **ring = <PyObject **>PyMem_Calloc(count, sizeof(PyObject *))
        if ring is NULL:
            raise MemoryError
        for index in range(self._dropped, self._inserted):
            ring[index & (count - 1)] = self._ring[index & self._mask]
        PyMem_Free(self._ring)
        self._ring = ring
        self._mask = count - 1
        return 0

    cdef bytes _bytes(self, const uint8_t *data, _Literal *literal, code):
        """The string whose bytes, which are all there, lie at data."""
        cdef Py_ssize_t room, size
        cdef uint8_t *scratch
        cdef bytes result
        if not literal.huffman:
            return PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>literal.size)
        room = huffman_bound(<Py_ssize_t>literal.size)
        if room > self._scratch_size:
            scratch = <uint8_t *>PyMem_Malloc(room)
            if scratch is NULL:
                raise MemoryError
            PyMem_Free(self._scratch)
            self._scratch = scratch
            self._scratch_size = room
        size = huffman_decode(data, <Py_ssize_t>literal.size, self._scratch)
        if size < 0:
            raise H3Error(code, "a string is not a Huffman encoding")
        result = PyBytes_FromStringAndSize(<const char *>self._scratch, size)
        if self._scratch_size > _KEPT_SCRATCH:
            PyMem_Free(self._scratch)
            self._scratch = NULL
            self._scratch_size = 0
        return result

    # Field sections

    cdef object _decode(self, uint64_t stream, const uint8_t *data, Py_ssize_t size):
        cdef _Section section
        cdef int head = self._prefix(data, size, &section)
        cdef list fields = []
        if self._blocked and stream in self._blocked:
            # RFC 9204 section 2.2.1: blocked until all sections begun on the stream can be read.
            return self._block(stream, max(section.required, <uint64_t>self._blocked[stream]))
        if section.required > self._inserted:
            return self._block(stream, section.required)
        try:
            self._lines(data + head, size - head, &section, fields)
        except FieldSectionTooLarge:
            # It will not be read again, whatever becomes of the stream.
            self._acknowledge(stream, section.required)
            raise
        self._acknowledge(stream, section.required)
        return fields

    cdef int _acknowledge(self, uint64_t stream, uint64_t required) except -1:
        # RFC 9204 sections 2.2.2.1 and 4.4.1: after a section whose Required Insert Count is not zero.
        if required:
            self._check_unsent()
            self._answer(0x80, 7, stream)
            self._known = max(self._known, required)
        return 0

    cdef object _block(self, uint64_t stream, uint64_t required):
        cdef Blocked blocked = Blocked.__new__(Blocked)
        # RFC 9204 section 2.1.2: more blocked streams than were promised.
        if stream not in self._blocked and <uint64_t>len(self._blocked) >= self._max_blocked:
            raise H3Error(
                _DECOMPRESSION_FAILED, f"more than {self._max_blocked} streams are blocked"
            )
        if not self._blocked or required < self._least_blocked:
            self._least_blocked = required
        self._blocked[stream] = required
        blocked.required_insert_count = required
        return blocked

    cdef int _prefix(self, const uint8_t *data, Py_ssize_t size, _Section *section) except -1:
        """Reads the section's prefix, RFC 9204 section 4.5.1; returns its size."""
        cdef uint64_t encoded = 0, delta = 0
        cdef int first = prefixed_read(data, size, 8, &encoded)
        cdef int second
        if first <= 0:
            _broken(first)
        second = prefixed_read(data + first, size - first, 7, &delta)
        if second <= 0:
            _broken(second)
        section.required = self._required_insert_count(encoded)
        # RFC 9204 section 4.5.1.2
        if data[first] & 0x80:
            # A Base below zero is invalid.
            if section.required <= delta:
                raise H3Error(_DECOMPRESSION_FAILED, "the Base is negative")
            section.base = section.required - delta - 1
        else:
            section.base = section.required + delta
        return first + second

    cdef uint64_t _required_insert_count(self, uint64_t encoded) except? 0:
        # RFC 9204 section 4.5.1.1, whose names these are.
        cdef uint64_t max_entries = self._max_capacity // _OVERHEAD
        cdef uint64_t full_range = 2 * max_entries
        cdef uint64_t max_value, required
        if encoded == 0:
            return 0
        if encoded > full_range:
            raise H3Error(
                _DECOMPRESSION_FAILED, f"no encoder makes a Required Insert Count of {encoded}"
            )
        max_value = self._inserted + max_entries
        required = max_value // full_range * full_range + encoded - 1
        if required > max_value:
            if required <= full_range:
                raise H3Error(
                    _DECOMPRESSION_FAILED,
                    f"the Required Insert Count is beyond {max_value}",
                )
            required -= full_range
        if required == 0:
            raise H3Error(_DECOMPRESSION_FAILED, "a Required Insert Count of 0 is encoded as 1")
        return required

    cdef int _lines(
        self, const uint8_t *data, Py_ssize_t size, _Section *section, list fields
    ) except -1:
        cdef uint64_t total = 0, index = 0
        cdef const uint8_t *end = data + size
        cdef PyObject *field
        cdef uint8_t first
        cdef int head
        while data < end:
            first = data[0]
            if first >= 0xC0:
                # RFC 9204 section 4.5.2: Indexed Field Line, static
                head = _index(data, end, 6, &index)
                field = _static_field(index)
            elif first & 0x80:
                # RFC 9204 section 4.5.2: Indexed Field Line, dynamic
                head = _index(data, end, 6, &index)
                field = self._before_base(index, section)
            elif first < 0x20 and first & 0x10:
                # RFC 9204 section 4.5.3: Indexed Field Line with Post-Base Index
                head = _index(data, end, 4, &index)
                field = self._after_base(index, section)
            else:
                data += self._literal_line(data, end, section, &total, fields)
                continue
            data += head
            self._count(&total, _field_size(field))
            fields.append(<object>field)
        return 0

    cdef Py_ssize_t _literal_line(
        self, const uint8_t *data, const uint8_t *end, _Section *section, uint64_t *total,
        list fields
    ) except -1:
        """Decodes a line with a literal value; returns its size."""
        cdef const uint8_t *start = data
        cdef uint8_t first = data[0]
        cdef uint64_t index = 0
        cdef bint never
        cdef bytes name, value
        if first & 0x40:
            # RFC 9204 section 4.5.4: Literal Field Line with Name Reference
            data += _index(data, end, 4, &index)
            never = first & 0x20
            if first & 0x10:
                name = (<tuple>_static_field(index))[0]
            else:
                name = (<tuple>self._before_base(index, section))[0]
            self._count(total, <uint64_t>PyBytes_GET_SIZE(name) + _OVERHEAD)
        elif first & 0x20:
            # RFC 9204 section 4.5.6: Literal Field Line with Literal Name
            never = first & 0x10
            self._count(total, _OVERHEAD)
            name = self._line_string(&data, end, 3, total)
        else:
            # RFC 9204 section 4.5.5: Literal Field Line with Post-Base Name Reference
            data += _index(data, end, 3, &index)
            never = first & 0x08
            name = (<tuple>self._after_base(index, section))[0]
            self._count(total, <uint64_t>PyBytes_GET_SIZE(name) + _OVERHEAD)
        value = self._line_string(&data, end, 7, total)
        if never:
            fields.append(NeverIndexed((name, value)))
        else:
            fields.append((name, value))
        return data - start

    cdef bytes _line_string(
        self, const uint8_t **data, const uint8_t *end, int prefix, uint64_t *total
    ):
        cdef _Literal literal = _Literal(0, False)
        cdef bytes result
        cdef int head = _read_literal(data[0], end - data[0], prefix, &literal)
        if head <= 0:
            _broken(head)
        data[0] += head
        if literal.size > <uint64_t>(end - data[0]):
            _broken(0)
        # Before it is decoded: a string that cannot fit is not made at all.
        if total[0] + _least_size(&literal) > self._max_section:
            self._section_too_large()
        result = self._bytes(data[0], &literal, _DECOMPRESSION_FAILED)
        data[0] += literal.size
        self._count(total, <uint64_t>PyBytes_GET_SIZE(result))
        return result

    cdef inline int _count(self, uint64_t *total, uint64_t size) except -1:
        """Counts what a field takes, RFC 9114 section 4.2.2, as soon as it is known."""
        total[0] += size
        if total[0] > self._max_section:
            self._section_too_large()
        return 0

    cdef int _section_too_large(self) except -1:
        raise FieldSectionTooLarge(
            ErrorCode.H3_EXCESSIVE_LOAD,
            f"the field section has more than {self._max_section} bytes",
        )

    cdef inline PyObject *_before_base(self, uint64_t index, _Section *section) except NULL:
        """The entry with a relative index, RFC 9204 section 3.2.5."""
        if index >= section.base:
            _invalid_reference()
        return self._absolute(section.base - 1 - index, section)

    cdef inline PyObject *_after_base(self, uint64_t index, _Section *section) except NULL:
        """The entry with a post-Base index, RFC 9204 section 3.2.6; both have 63 bits at most."""
        return self._absolute(section.base + index, section)

    cdef inline PyObject *_absolute(self, uint64_t index, _Section *section) except NULL:
        # RFC 9204 section 2.2.3: evicted, or not covered by the Required Insert Count.
        if index < self._dropped or index >= section.required:
            _invalid_reference()
        return self._ring[index & self._mask]


cdef inline uint64_t _field_size(PyObject *field) noexcept:
    """RFC 9204 section 3.2.1"""
    return <uint64_t>Py_SIZE(PyTuple_GET_ITEM(field, 0)) + <uint64_t>Py_SIZE(
        PyTuple_GET_ITEM(field, 1)
    ) + _OVERHEAD


cdef uint64_t _stream_id(stream_id) except? 0:
    cdef uint64_t stream
    try:
        stream = stream_id
    except OverflowError:
        stream = <uint64_t>-1
    if stream >> 62:
        raise ValueError(f"stream ID {stream_id} is not in 0 to 2**62 - 1")
    return stream


cdef inline int _index(
    const uint8_t *data, const uint8_t *end, int prefix, uint64_t *value
) except -1:
    cdef int head = prefixed_read(data, end - data, prefix, value)
    if head <= 0:
        _broken(head)
    return head


cdef inline PyObject *_static_field(uint64_t index) except NULL:
    # RFC 9204 section 3.1: an invalid static index in a field line.
    if index >= STATIC_COUNT:
        raise H3Error(_DECOMPRESSION_FAILED, f"static index {index} is not in 0 to 98")
    return _STATIC[index]


cdef int _invalid_reference() except -1:
    # RFC 9204 section 2.2.3
    raise H3Error(
        _DECOMPRESSION_FAILED,
        "a reference to an entry that was evicted or is beyond the Required Insert Count",
    )


cdef int _broken(int head) except -1:
    if head < 0:
        # RFC 9204 section 7.4
        raise H3Error(_DECOMPRESSION_FAILED, "an integer has more than 62 bits")
    raise H3Error(_DECOMPRESSION_FAILED, "the field section ends in the middle of a line")
