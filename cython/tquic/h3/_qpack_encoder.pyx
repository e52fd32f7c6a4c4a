# cython: language_level=3, freethreading_compatible=True
# cython: embedsignature=False, auto_pickle=False, boundscheck=False, wraparound=False
# cython: cdivision=True
"""The encoder of QPACK: lists of fields to encoded field sections (RFC 9204).

An `Encoder` belongs to one connection. Its methods hold a lock on it where the interpreter has no
GIL, so a call from another thread waits; nothing is shared between encoders but the static table.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject_Hash
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from tquic.h3._encoder_sections cimport (
    MAX_RISKS, Section, Sections, risk_add, risk_of, risk_remove, risks_settle, sections_add,
    sections_free, sections_init, sections_reserve, sections_take
)
from tquic.h3._encoder_table cimport (
    ENTRY_OVERHEAD, Entry, PyBytes_AS_STRING, Py_SIZE, Table, table_allocate, table_drop,
    table_entry, table_find_name, table_find_pair, table_free, table_has_room, table_insert,
    table_is_draining, table_is_leaving, table_size_of
)
from tquic.h3._prefixed cimport (
    MAX_PREFIXED_SIZE, literal_bound, literal_write, prefixed_read, prefixed_write
)
from tquic.h3._qpack_static cimport STATIC_COUNT, static_find

from tquic.h3.errors import ErrorCode, H3Error
from tquic.h3.fields import NEVER_INDEXED, NeverIndexed

cdef extern from "Python.h":
    # As they are: Cython's own would count references.
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t) noexcept
    bint PyTuple_Check(PyObject *) noexcept
    void *Py_TYPE(PyObject *) noexcept
    Py_ssize_t PySequence_Fast_GET_SIZE(object) noexcept
    PyObject **PySequence_Fast_ITEMS(object) noexcept

cdef enum:
    # Room for the prefix of a section, which is written last: two integers.
    _PREFIX = 2 * MAX_PREFIXED_SIZE
    # Field lines and names the encoder remembers having seen and not inserted, by their hashes.
    # Few, so that what comes again only after long is not inserted: it would drive out better.
    _HISTORY = 128
    # The first relative index that takes two bytes, RFC 9204 section 4.5.2, and the references
    # after which an entry is worth one byte again.
    _FAR = 63
    _OFTEN = 8
    # What a buffer may keep allocated between calls, in bytes.
    _KEPT_BUFFER = 65536

cdef uint64_t _NOTHING = <uint64_t>-1

# The bound of what a table may be given: 1 GiB.
MAX_TABLE_CAPACITY = 1 << 30


# Bytes that are being written.
cdef struct _Buffer:
    uint8_t *data
    Py_ssize_t size
    Py_ssize_t room


cdef inline int _reserve(_Buffer *buffer, Py_ssize_t more) except -1:
    cdef Py_ssize_t room
    cdef uint8_t *data
    if buffer.room - buffer.size >= more:
        return 0
    room = 2 * buffer.room + more + 512
    data = <uint8_t *>PyMem_Realloc(buffer.data, room)
    if data is NULL:
        raise MemoryError
    buffer.data = data
    buffer.room = room
    return 0


cdef void _release(_Buffer *buffer) noexcept:
    PyMem_Free(buffer.data)
    buffer.data = NULL
    buffer.size = buffer.room = 0


cdef inline void _put_integer(
    _Buffer *buffer, uint8_t flags, int prefix, uint64_t value
) noexcept nogil:
    """The room must have been reserved."""
    buffer.size += prefixed_write(buffer.data + buffer.size, flags, prefix, value)


cdef inline void _put_string(
    _Buffer *buffer, uint8_t flags, int prefix, PyObject *string
) noexcept nogil:
    """The room must have been reserved."""
    buffer.size += literal_write(
        buffer.data + buffer.size, flags, prefix,
        <const uint8_t *>PyBytes_AS_STRING(string), Py_SIZE(string),
    )


cdef inline Py_ssize_t _line_bound(PyObject *name, PyObject *value) noexcept nogil:
    """Room for a line or an insertion, whichever way it is written."""
    return MAX_PREFIXED_SIZE + literal_bound(Py_SIZE(name)) + literal_bound(Py_SIZE(value))


cdef inline void _put_literal(
    _Buffer *buffer, int static_name, PyObject *name, PyObject *value, bint never
) noexcept nogil:
    """A line that needs no dynamic table, with a literal value."""
    if static_name >= 0:
        # RFC 9204 section 4.5.4: Literal Field Line with Name Reference, static
        _put_integer(buffer, 0x70 if never else 0x50, 4, static_name)
    else:
        # RFC 9204 section 4.5.6: Literal Field Line with Literal Name
        _put_string(buffer, 0x30 if never else 0x20, 3, name)
    _put_string(buffer, 0x00, 7, value)


@cython.final
cdef class _Secrets:
    """Names whose values are never indexed, so that they are found fast."""

    # By the lowest static index of the name.
    cdef bint in_table[STATIC_COUNT]
    cdef set others
    # A bit for each length of the others, the last for all lengths from 63 on.
    cdef uint64_t lengths

    def __cinit__(self, names):
        cdef int index = -1
        self.others = set()
        for name in names:
            if not PyBytes_CheckExact(name):
                raise TypeError(f"a name that is never indexed must be bytes, not {name!r}")
            static_find(PyBytes_AS_STRING(<PyObject *>name), len(name), b"", 0, &index)
            if index >= 0:
                self.in_table[index] = True
            else:
                self.others.add(name)
                self.lengths |= <uint64_t>1 << min(len(name), 63)

    cdef inline bint has(self, int static_name, PyObject *name) except -1:
        if static_name >= 0:
            return self.in_table[static_name]
        if self.lengths >> min(Py_SIZE(name), 63) & 1:
            return <object>name in self.others
        return False


cdef _Secrets _DEFAULT_SECRETS = _Secrets(NEVER_INDEXED)
cdef PyObject *_NEVER_TYPE = <PyObject *>NeverIndexed
cdef bytes _EMPTY = b""


cdef _Secrets _secrets(names):
    return _DEFAULT_SECRETS if names is NEVER_INDEXED else _Secrets(names)


cdef inline bint _is_never(PyObject *field) noexcept:
    return <PyObject *>Py_TYPE(field) == _NEVER_TYPE


cdef inline int _check(PyObject *field) except -1:
    """Raises TypeError unless it is a (name, value) of bytes."""
    if (
        PyTuple_Check(field)
        and Py_SIZE(field) == 2
        and PyBytes_CheckExact(<object>PyTuple_GET_ITEM(field, 0))
        and PyBytes_CheckExact(<object>PyTuple_GET_ITEM(field, 1))
    ):
        return 0
    raise TypeError(f"a field must be a tuple of two bytes, name and value, not {<object>field!r}")


def encode_static(fields, /, *, never_indexed=NEVER_INDEXED):
    """The encoded section of these fields without any use of a dynamic table.

    It is valid on every stream of every connection, so it can be made once and sent often. See
    `Encoder` for never_indexed.
    """
    cdef _Secrets secrets = _secrets(never_indexed)
    cdef object lines = _sequence(fields)
    cdef _Buffer buffer
    cdef PyObject *field
    cdef PyObject *name
    cdef PyObject *value
    cdef Py_ssize_t i
    cdef int found, static_name = -1
    buffer.data = NULL
    buffer.size = buffer.room = 0
    with cython.critical_section(lines):
        try:
            _reserve(&buffer, 2)
            # RFC 9204 section 4.5.1: no insert is required, and no Base.
            buffer.data[0] = buffer.data[1] = 0
            buffer.size = 2
            for i in range(PySequence_Fast_GET_SIZE(lines)):
                field = PySequence_Fast_ITEMS(lines)[i]
                _check(field)
                name = PyTuple_GET_ITEM(field, 0)
                value = PyTuple_GET_ITEM(field, 1)
                _reserve(&buffer, _line_bound(name, value))
                found = _find(name, value, &static_name)
                if _is_never(field) or secrets.has(static_name, name):
                    _put_literal(&buffer, static_name, name, value, True)
                elif found >= 0:
                    # RFC 9204 section 4.5.2: Indexed Field Line, static
                    _put_integer(&buffer, 0xC0, 6, found)
                else:
                    _put_literal(&buffer, static_name, name, value, False)
            return PyBytes_FromStringAndSize(<char *>buffer.data, buffer.size)
        finally:
            PyMem_Free(buffer.data)


cdef object _sequence(fields):
    """The fields as a list or tuple, before any state is touched: iterating may run anything."""
    if type(fields) is list or type(fields) is tuple:
        return fields
    return list(fields)


cdef inline int _find(PyObject *name, PyObject *value, int *static_name) noexcept nogil:
    return static_find(
        PyBytes_AS_STRING(name), Py_SIZE(name), PyBytes_AS_STRING(value), Py_SIZE(value),
        static_name,
    )


cdef uint64_t _stream_id(stream_id) except? 0:
    cdef uint64_t stream
    try:
        stream = stream_id
    except OverflowError:
        stream = _NOTHING
    if stream >> 62:
        raise ValueError(f"stream ID {stream_id} is not in 0 to 2**62 - 1")
    return stream


# The section that is being encoded.
cdef struct _Current:
    uint64_t stream
    # RFC 9204 section 4.5.1.2: entries from here on are inserted with this section.
    uint64_t base
    # One more than the newest entry referred to, or 0; and the oldest, or _NOTHING.
    uint64_t required
    uint64_t oldest
    # Whether the dynamic table can be used at all.
    bint dynamic
    # Whether the stream may become blocked: 1, 0, or -1 when it was not asked yet.
    int may_block
    # Where the bytes for the encoder stream must end, at most.
    uint64_t insert_limit


@cython.final
cdef class Encoder:
    """Encodes the field sections of one connection.

    ``max_table_capacity`` and ``blocked_streams`` are the peer's settings; make the encoder anew
    when they come, and until then use `encode_static`, or an encoder with zeros. The dynamic table
    is used after `set_capacity`. At most 256 streams are risked to be blocked, however many the
    peer allows, and no section refers to the dynamic table while 4,096 wait to be acknowledged.

    A field line is inserted when it comes a second time with fewer than 128 other new ones between;
    a name that is not in the static table when it comes a second time with another value. Values of the names in ``never_indexed`` (by
    default authorization, proxy-authorization, cookie and set-cookie), and fields that are
    `NeverIndexed`, are always sent as literals that no hop may index: RFC 9204 section 7.1.3.

    After `H3Error` the connection is to be closed with its code.
    """

    cdef uint64_t _max_capacity
    cdef int _max_risks
    cdef Table _table
    # None of these before the table has a capacity.
    cdef Sections *_sections
    cdef uint32_t *_seen
    cdef int _seen_next
    # The Known Received Count, RFC 9204 section 2.1.4.
    cdef uint64_t _known
    cdef _Buffer _block
    cdef _Buffer _instructions
    cdef _Secrets _never
    # An instruction of the decoder that was cut.
    cdef bytes _partial
    cdef object _error

    def __cinit__(
        self, max_table_capacity=0, blocked_streams=0, *, never_indexed=NEVER_INDEXED
    ):
        if not 0 <= max_table_capacity < 1 << 62:
            raise ValueError(f"max_table_capacity {max_table_capacity} is not in 0 to 2**62 - 1")
        if not 0 <= blocked_streams < 1 << 62:
            raise ValueError(f"blocked_streams {blocked_streams} is not in 0 to 2**62 - 1")
        self._max_capacity = max_table_capacity
        self._max_risks = min(blocked_streams, MAX_RISKS)
        self._never = _secrets(never_indexed)
        self._partial = b""

    def __dealloc__(self):
        table_free(&self._table)
        if self._sections is not NULL:
            sections_free(self._sections)
        PyMem_Free(self._sections)
        PyMem_Free(self._seen)
        PyMem_Free(self._block.data)
        PyMem_Free(self._instructions.data)

    @property
    def insert_count(self):
        """How many entries the dynamic table has been given since the connection began."""
        with cython.critical_section(self):
            return self._table.inserted

    @property
    def known_received_count(self):
        """How many of them the peer is known to have: RFC 9204 section 2.1.4."""
        with cython.critical_section(self):
            return self._known

    @property
    def table_size(self):
        """The size of the dynamic table in bytes, as RFC 9204 section 3.2.1 counts."""
        with cython.critical_section(self):
            return self._table.size

    @property
    def table(self):
        """The entries of the dynamic table now, the oldest first, as (name, value)."""
        cdef uint64_t index
        cdef Entry *entry
        cdef list entries = []
        with cython.critical_section(self):
            for index in range(self._table.dropped, self._table.inserted):
                entry = table_entry(&self._table, index)
                entries.append((<object>entry.name, <object>entry.value))
        return entries

    @property
    def unacknowledged(self):
        """How many sections that refer to the dynamic table wait to be acknowledged."""
        with cython.critical_section(self):
            return 0 if self._sections is NULL else self._sections.used

    @property
    def at_risk(self):
        """How many streams may be blocked at the peer now."""
        with cython.critical_section(self):
            return 0 if self._sections is NULL else self._sections.risk_count

    def set_capacity(self, capacity, /):
        """Sets the size of the dynamic table in bytes; returns what to send on the encoder stream.

        ValueError when it is over ``max_table_capacity`` or 1 GiB, or when entries would be evicted
        that are still in use: try again when the peer has acknowledged more.
        """
        cdef uint64_t wanted
        with cython.critical_section(self):
            # RFC 9204 section 3.2.3
            if not 0 <= capacity <= min(self._max_capacity, MAX_TABLE_CAPACITY):
                raise ValueError(
                    f"a capacity of {capacity} is not in 0 to "
                    f"{min(self._max_capacity, MAX_TABLE_CAPACITY)}"
                )
            wanted = capacity
            if wanted == self._table.capacity:
                return self._take_instructions()
            self._allocate(wanted)
            self._shrink(wanted)
            self._table.capacity = wanted
            # RFC 9204 section 4.3.1: Set Dynamic Table Capacity
            _reserve(&self._instructions, MAX_PREFIXED_SIZE)
            _put_integer(&self._instructions, 0x20, 5, wanted)
            return self._take_instructions()

    def encode(self, stream_id, fields, /, *, insert_limit=None):
        """Encodes a header or trailer section, a sequence of (name, value) in bytes.

        Returns what to send on the encoder stream, before or after, and the encoded section.
        ``insert_limit`` bounds the former in bytes, for an encoder stream with little flow-control
        credit: RFC 9204 section 2.1.3. No more than that is inserted.
        """
        cdef _Current current
        cdef object lines = _sequence(fields)
        cdef PyObject *field
        cdef Py_ssize_t i
        cdef bytes block
        current.stream = _stream_id(stream_id)
        current.insert_limit = _NOTHING if insert_limit is None else _limit(insert_limit)
        with cython.critical_section(self, lines):
            current.base = self._table.inserted
            current.required = 0
            current.oldest = _NOTHING
            current.may_block = -1
            current.dynamic = self._table.capacity != 0 and sections_reserve(self._sections)
            _reserve(&self._block, _PREFIX)
            self._block.size = _PREFIX
            for i in range(PySequence_Fast_GET_SIZE(lines)):
                field = PySequence_Fast_ITEMS(lines)[i]
                _check(field)
                self._line(
                    &current, PyTuple_GET_ITEM(field, 0), PyTuple_GET_ITEM(field, 1),
                    _is_never(field),
                )
            # Had a field been wrong, the insertions made for those before it would go with the
            # next section.
            block = self._finish(&current)
            return (self._take_instructions(), block)

    def feed_decoder(self, data, /):
        """Takes the next bytes of the peer's decoder stream, cut anywhere."""
        with cython.critical_section(self):
            self._take_answers(data)

    cdef bytes _take_instructions(self):
        cdef bytes taken
        if self._instructions.size == 0:
            return _EMPTY
        taken = PyBytes_FromStringAndSize(<char *>self._instructions.data, self._instructions.size)
        self._instructions.size = 0
        if self._instructions.room > _KEPT_BUFFER:
            _release(&self._instructions)
        return taken

    cdef int _allocate(self, uint64_t capacity) except -1:
        if capacity == 0:
            return 0
        table_allocate(&self._table, capacity)
        if self._seen is NULL:
            self._seen = <uint32_t *>PyMem_Calloc(_HISTORY, sizeof(uint32_t))
            if self._seen is NULL:
                raise MemoryError
        if self._sections is NULL:
            self._sections = <Sections *>PyMem_Calloc(1, sizeof(Sections))
            if self._sections is NULL:
                raise MemoryError
            sections_init(self._sections)
        return 0

    cdef int _shrink(self, uint64_t capacity) except -1:
        """Evicts what a smaller capacity has no room for, or nothing if some of it is in use."""
        cdef uint64_t index = self._table.dropped
        cdef uint64_t used = self._table.size
        cdef Entry *entry
        while used > capacity:
            entry = table_entry(&self._table, index)
            # RFC 9204 section 4.3.1: only evictable entries may leave.
            if index >= self._known or entry.sections:
                raise ValueError(f"entries beyond {capacity} bytes are still in use")
            used -= table_size_of(entry.name, entry.value)
            index += 1
        while self._table.dropped < index:
            table_drop(&self._table)
        return 0

    cdef bytes _finish(self, _Current *current):
        """Puts the prefix before the lines, RFC 9204 section 4.5.1, and remembers the section."""
        cdef uint8_t prefix[_PREFIX]
        cdef int size
        cdef uint8_t *start
        cdef bytes block
        if current.required == 0:
            prefix[0] = prefix[1] = 0
            size = 2
        else:
            # RFC 9204 section 4.5.1.1: twice the entries that the largest table could have.
            size = prefixed_write(
                prefix, 0, 8,
                current.required % (2 * (self._max_capacity // ENTRY_OVERHEAD)) + 1,
            )
            # RFC 9204 section 4.5.1.2
            if current.base >= current.required:
                size += prefixed_write(prefix + size, 0, 7, current.base - current.required)
            else:
                size += prefixed_write(prefix + size, 0x80, 7, current.required - current.base - 1)
        start = self._block.data + _PREFIX - size
        memcpy(start, prefix, size)
        block = PyBytes_FromStringAndSize(<char *>start, self._block.size - _PREFIX + size)
        if self._block.room > _KEPT_BUFFER:
            _release(&self._block)
        if current.required:
            sections_add(self._sections, current.stream, current.required, current.oldest)
            table_entry(&self._table, current.oldest).sections += 1
            if current.required > self._known:
                risk_add(self._sections, current.stream, current.required)
        return block

    cdef int _line(
        self, _Current *current, PyObject *name, PyObject *value, bint never
    ) except -1:
        """Writes one line, and inserts it where that promises something."""
        cdef int static_name = -1
        cdef int found = _find(name, value, &static_name)
        cdef uint64_t name_hash, pair_hash, at
        _reserve(&self._block, _line_bound(name, value))
        if never or self._never.has(static_name, name):
            _put_literal(&self._block, static_name, name, value, True)
            return 0
        if found >= 0:
            # RFC 9204 section 4.5.2: Indexed Field Line, static
            _put_integer(&self._block, 0xC0, 6, found)
            return 0
        if current.dynamic:
            # Python's own, keyed, and kept in the object.
            name_hash = <uint64_t>PyObject_Hash(<object>name)
            pair_hash = _pair_hash(name_hash, <uint64_t>PyObject_Hash(<object>value))
            at = table_find_pair(&self._table, name, value, pair_hash)
            if at == 0:
                at = self._consider(current, static_name, name, value, name_hash, pair_hash)
            else:
                at = self._renew(current, at)
            if at and self._may_refer(current, at - 1):
                self._put_reference(current, at - 1)
                return 0
            if static_name < 0 and self._put_name_reference(current, name, value, name_hash):
                return 0
        _put_literal(&self._block, static_name, name, value, False)
        return 0

    cdef inline uint64_t _renew(self, _Current *current, uint64_t at) except? 0:
        """Duplicates an entry that is found too far back; the index to use plus one, or 0."""
        cdef Entry *entry = table_entry(&self._table, at - 1)
        cdef uint64_t newer
        if table_is_draining(&self._table, at - 1):
            newer = self._duplicate(current, at - 1)
            if newer or table_is_leaving(&self._table, at - 1):
                return newer
            return at
        entry.uses += 1
        if entry.uses >= _OFTEN and self._table.inserted - at >= _FAR:
            newer = self._duplicate(current, at - 1)
            # Where the new one may not be referred to yet, the old one does as well, if it is
            # still there: it may have left for its copy.
            if newer and (self._may_refer(current, newer - 1) or at <= self._table.dropped):
                return newer
        return at

    cdef inline bint _may_refer(self, _Current *current, uint64_t index) noexcept:
        """Whether the section may refer to an entry: known to the peer, or worth the risk."""
        if index < self._known:
            return True
        # RFC 9204 section 2.1.2: the streams that could become blocked are limited at all times.
        if current.may_block < 0:
            current.may_block = (
                self._sections.risk_count < self._max_risks
                or risk_of(self._sections, current.stream) >= 0
            )
        return current.may_block

    cdef inline void _refer(self, _Current *current, uint64_t index) noexcept:
        if index >= current.required:
            current.required = index + 1
        if index < current.oldest:
            current.oldest = index

    cdef inline void _put_reference(self, _Current *current, uint64_t index) noexcept:
        self._refer(current, index)
        if index < current.base:
            # RFC 9204 section 4.5.2: Indexed Field Line, dynamic
            _put_integer(&self._block, 0x80, 6, current.base - 1 - index)
        else:
            # RFC 9204 section 4.5.3: Indexed Field Line with Post-Base Index
            _put_integer(&self._block, 0x10, 4, index - current.base)

    cdef inline bint _put_name_reference(
        self, _Current *current, PyObject *name, PyObject *value, uint64_t name_hash
    ) noexcept:
        """Writes the line with a name from the dynamic table; false when none can be used."""
        cdef uint64_t at = table_find_name(&self._table, name, name_hash)
        if at == 0 or table_is_leaving(&self._table, at - 1):
            return False
        if not self._may_refer(current, at - 1):
            return False
        self._refer(current, at - 1)
        if at <= current.base:
            # RFC 9204 section 4.5.4: Literal Field Line with Name Reference, dynamic
            _put_integer(&self._block, 0x40, 4, current.base - at)
        else:
            # RFC 9204 section 4.5.5: Literal Field Line with Post-Base Name Reference
            _put_integer(&self._block, 0x00, 3, at - 1 - current.base)
        _put_string(&self._block, 0x00, 7, value)
        return True

    cdef inline bint _was_seen(self, uint64_t hashed) noexcept:
        """Whether this was seen before, as far as is remembered; remembers it."""
        # Not 0, which is in places never used.
        cdef uint32_t mark = <uint32_t>(hashed >> 32) | 1
        cdef uint32_t found = 0
        cdef int i
        # All of them, without a branch: compilers take several at once.
        for i in range(_HISTORY):
            found |= self._seen[i] == mark
        if found == 0:
            self._seen[self._seen_next] = mark
            self._seen_next = (self._seen_next + 1) & (_HISTORY - 1)
        return found

    cdef uint64_t _consider(
        self, _Current *current, int static_name, PyObject *name, PyObject *value,
        uint64_t name_hash, uint64_t pair_hash
    ) except? 0:
        """Inserts a line that is not in the table if it came before; its index plus one, or 0."""
        if self._was_seen(pair_hash):
            return self._insert(current, static_name, name, value, name_hash, pair_hash)
        # Its value changes, so that only the name is worth an entry.
        if (
            static_name < 0
            and self._was_seen(name_hash)
            and table_find_name(&self._table, name, name_hash) == 0
        ):
            value = <PyObject *>_EMPTY
            pair_hash = _pair_hash(name_hash, <uint64_t>PyObject_Hash(_EMPTY))
            self._insert(current, -1, name, value, name_hash, pair_hash)
        return 0

    cdef bint _can_insert(self, _Current *current, uint64_t size) noexcept:
        # One large entry would drive out all others.
        if size > self._table.capacity >> 1:
            return False
        # No instruction is longer than its entry counts.
        if <uint64_t>self._instructions.size + size > current.insert_limit:
            return False
        return table_has_room(&self._table, size, self._known, current.oldest)

    cdef uint64_t _insert(
        self, _Current *current, int static_name, PyObject *name, PyObject *value,
        uint64_t name_hash, uint64_t pair_hash
    ) except? 0:
        cdef uint64_t at
        if not self._can_insert(current, table_size_of(name, value)):
            return 0
        _reserve(&self._instructions, _line_bound(name, value))
        if static_name >= 0:
            # RFC 9204 section 4.3.2: Insert with Name Reference, static
            _put_integer(&self._instructions, 0xC0, 6, static_name)
        else:
            at = table_find_name(&self._table, name, name_hash)
            if at:
                # RFC 9204 section 4.3.2: Insert with Name Reference, dynamic
                _put_integer(&self._instructions, 0x80, 6, self._table.inserted - at)
            else:
                # RFC 9204 section 4.3.3: Insert with Literal Name
                _put_string(&self._instructions, 0x40, 5, name)
        _put_string(&self._instructions, 0x00, 7, value)
        table_insert(&self._table, name, value, name_hash, pair_hash)
        return self._table.inserted

    cdef uint64_t _duplicate(self, _Current *current, uint64_t index) except? 0:
        """Inserts an entry again that is about to leave; the new index plus one, or 0."""
        cdef Entry entry = table_entry(&self._table, index)[0]
        if not self._can_insert(current, table_size_of(entry.name, entry.value)):
            return 0
        _reserve(&self._instructions, MAX_PREFIXED_SIZE)
        # RFC 9204 section 4.3.4: Duplicate
        _put_integer(&self._instructions, 0x00, 5, self._table.inserted - 1 - index)
        table_insert(&self._table, entry.name, entry.value, entry.name_hash, entry.pair_hash)
        return self._table.inserted

    # The decoder stream

    cdef int _take_answers(self, data) except -1:
        cdef Py_buffer view
        cdef bytes whole
        if self._error is not None:
            # A new exception each time: raising one again and again makes its traceback grow.
            raise H3Error(self._error.code, self._error.reason)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if self._partial:
                whole = self._partial + (<const char *>view.buf)[:view.len]
                self._answers(<const uint8_t *><const char *>whole, len(whole))
            else:
                self._answers(<const uint8_t *>view.buf, view.len)
        except H3Error as error:
            self._error = H3Error(error.code, error.reason)
            raise
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef int _answers(self, const uint8_t *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t position = 0
        cdef uint64_t value = 0
        cdef uint8_t first
        cdef int head
        while position < size:
            first = data[position]
            head = prefixed_read(
                data + position, size - position, 7 if first & 0x80 else 6, &value
            )
            if head < 0:
                # RFC 9204 section 7.4
                raise _decoder_stream_error("an integer has more than 62 bits")
            if head == 0:
                break
            if first & 0x80:
                self._acknowledge(value)
            elif first & 0x40:
                self._cancel(value)
            else:
                self._increment(value)
            position += head
        # Less than one integer.
        self._partial = (<const char *>data)[position:size]
        return 0

    cdef int _acknowledge(self, uint64_t stream) except -1:
        # RFC 9204 section 4.4.1: Section Acknowledgment
        cdef Section section
        if self._sections is NULL or not sections_take(self._sections, stream, &section):
            raise _decoder_stream_error(
                f"a section of stream {stream} is acknowledged, but none waits for it"
            )
        table_entry(&self._table, section.oldest).sections -= 1
        if section.required > self._known:
            self._known = section.required
            risks_settle(self._sections, self._known)
        return 0

    cdef int _cancel(self, uint64_t stream) except -1:
        # RFC 9204 section 4.4.2: Stream Cancellation. It says nothing about what was received.
        cdef Section section
        cdef int index
        if self._sections is NULL:
            return 0
        while sections_take(self._sections, stream, &section):
            table_entry(&self._table, section.oldest).sections -= 1
        index = risk_of(self._sections, stream)
        if index >= 0:
            risk_remove(self._sections, index)
        return 0

    cdef int _increment(self, uint64_t increment) except -1:
        # RFC 9204 section 4.4.3: Insert Count Increment; of zero, or beyond what was sent.
        if increment == 0 or increment > self._table.inserted - self._known:
            raise _decoder_stream_error(
                f"the insert count is increased by {increment}, "
                f"{self._table.inserted - self._known} inserts are unknown to the decoder"
            )
        self._known += increment
        risks_settle(self._sections, self._known)
        return 0


cdef inline uint64_t _pair_hash(uint64_t name, uint64_t value) noexcept nogil:
    cdef uint64_t mixed = (name ^ (value << 21 | value >> 43)) * <uint64_t>0x9E3779B97F4A7C15
    return mixed ^ (mixed >> 29)


cdef uint64_t _limit(insert_limit) except? 0:
    if insert_limit < 0:
        raise ValueError(f"insert_limit {insert_limit} is negative")
    return min(insert_limit, 1 << 62)


cdef object _decoder_stream_error(reason):
    return H3Error(ErrorCode.QPACK_DECODER_STREAM_ERROR, reason)
