# The dynamic table as an encoder keeps it (RFC 9204 section 3.2): a ring of entries, found by their
# hashes. For `_qpack_encoder` alone; here because that file is long enough.
#
# Absolute indices are kept plus one, so that 0 says "none".

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_XDECREF, Py_XINCREF, PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp

cdef extern from "Python.h":
    # As they are, for objects known to be bytes: Cython's own count references.
    char *PyBytes_AS_STRING(PyObject *) noexcept nogil
    Py_ssize_t Py_SIZE(PyObject *) noexcept nogil

cdef enum:
    # RFC 9204 section 3.2.1: what an entry counts for beyond its name and value.
    ENTRY_OVERHEAD = 32

cdef struct Entry:
    PyObject *name
    PyObject *value
    uint64_t name_hash
    uint64_t pair_hash
    # The next older entry in the same chain, plus one.
    uint64_t older_name
    uint64_t older_pair
    # Bytes inserted before this entry since the connection began.
    uint64_t start
    # Sections not acknowledged whose oldest reference this is. Entries leave in their order, so
    # those between this one and newer references are held as well, without being counted.
    uint32_t sections
    # How often it was referred to since it was inserted.
    uint32_t uses

cdef struct Table:
    Entry *ring
    # The newest entry of each chain, plus one; entries that left are not taken out, the chain ends
    # where it comes to one.
    uint64_t *names
    uint64_t *pairs
    uint64_t mask
    uint64_t inserted
    uint64_t dropped
    uint64_t capacity
    uint64_t size
    # Bytes inserted since the connection began.
    uint64_t total


cdef inline Entry *table_entry(Table *table, uint64_t index) noexcept nogil:
    return &table.ring[index & table.mask]


cdef inline uint64_t table_size_of(PyObject *name, PyObject *value) noexcept nogil:
    return <uint64_t>Py_SIZE(name) + <uint64_t>Py_SIZE(value) + ENTRY_OVERHEAD


cdef inline bint table_same(PyObject *a, PyObject *b) noexcept nogil:
    return a == b or (
        Py_SIZE(a) == Py_SIZE(b)
        and memcmp(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b), Py_SIZE(a)) == 0
    )


cdef inline uint64_t table_find_pair(
    Table *table, PyObject *name, PyObject *value, uint64_t pair_hash
) noexcept nogil:
    """The newest entry with this name and value, plus one, or 0."""
    cdef uint64_t at = table.pairs[pair_hash & table.mask]
    cdef Entry *entry
    while at > table.dropped:
        entry = table_entry(table, at - 1)
        if (
            entry.pair_hash == pair_hash
            and table_same(entry.name, name)
            and table_same(entry.value, value)
        ):
            return at
        at = entry.older_pair
    return 0


cdef inline uint64_t table_find_name(
    Table *table, PyObject *name, uint64_t name_hash
) noexcept nogil:
    """The newest entry with this name, plus one, or 0."""
    cdef uint64_t at = table.names[name_hash & table.mask]
    cdef Entry *entry
    while at > table.dropped:
        entry = table_entry(table, at - 1)
        if entry.name_hash == name_hash and table_same(entry.name, name):
            return at
        at = entry.older_name
    return 0


cdef inline bint table_has_room(
    Table *table, uint64_t size, uint64_t known, uint64_t held
) noexcept nogil:
    """Whether size bytes fit when only evictable entries leave, RFC 9204 section 2.1.1.

    known is the Known Received Count; entries from index held on are referred to by the section
    being encoded.
    """
    cdef uint64_t index = table.dropped
    cdef uint64_t used = table.size
    cdef Entry *entry
    if size > table.capacity:
        return False
    while used + size > table.capacity:
        if index >= known or index >= held:
            return False
        entry = table_entry(table, index)
        if entry.sections:
            return False
        used -= table_size_of(entry.name, entry.value)
        index += 1
    return True


cdef inline void table_drop(Table *table) noexcept:
    """Evicts the oldest entry."""
    cdef Entry *entry = table_entry(table, table.dropped)
    table.size -= table_size_of(entry.name, entry.value)
    table.dropped += 1
    Py_XDECREF(entry.name)
    Py_XDECREF(entry.value)


cdef inline void table_link(Table *table, uint64_t index) noexcept nogil:
    """Puts an entry at the head of its chains."""
    cdef Entry *entry = table_entry(table, index)
    entry.older_name = table.names[entry.name_hash & table.mask]
    entry.older_pair = table.pairs[entry.pair_hash & table.mask]
    table.names[entry.name_hash & table.mask] = index + 1
    table.pairs[entry.pair_hash & table.mask] = index + 1


cdef inline void table_insert(
    Table *table, PyObject *name, PyObject *value, uint64_t name_hash, uint64_t pair_hash
) noexcept:
    """Inserts an entry for which table_has_room, evicting what must go."""
    cdef Entry *entry
    cdef uint64_t size = table_size_of(name, value)
    # Before others leave: they may hold the last references to these very bytes.
    Py_XINCREF(name)
    Py_XINCREF(value)
    while table.size + size > table.capacity:
        table_drop(table)
    entry = table_entry(table, table.inserted)
    entry.name = name
    entry.value = value
    entry.name_hash = name_hash
    entry.pair_hash = pair_hash
    entry.start = table.total
    entry.sections = 0
    entry.uses = 0
    table_link(table, table.inserted)
    table.inserted += 1
    table.size += size
    table.total += size


cdef inline bint table_is_draining(Table *table, uint64_t index) noexcept nogil:
    """Whether an entry is in the last quarter before eviction: time for a duplicate.

    RFC 9204 section 2.1.1.1
    """
    return table.total - table_entry(table, index).start > table.capacity - (table.capacity >> 2)


cdef inline bint table_is_leaving(Table *table, uint64_t index) noexcept nogil:
    """Whether an entry is in the last eighth, where no new reference may hold it."""
    return table.total - table_entry(table, index).start > table.capacity - (table.capacity >> 3)


cdef inline int table_allocate(Table *table, uint64_t capacity) except -1:
    """Makes room for all entries that may be in a table of this capacity."""
    cdef uint64_t count = 8
    cdef uint64_t index
    cdef Table larger = table[0]
    while count < capacity // ENTRY_OVERHEAD:
        count *= 2
    if table.ring is not NULL and count <= table.mask + 1:
        return 0
    larger.mask = count - 1
    larger.ring = <Entry *>PyMem_Calloc(count, sizeof(Entry))
    larger.names = <uint64_t *>PyMem_Calloc(count, sizeof(uint64_t))
    larger.pairs = <uint64_t *>PyMem_Calloc(count, sizeof(uint64_t))
    if larger.ring is NULL or larger.names is NULL or larger.pairs is NULL:
        PyMem_Free(larger.ring)
        PyMem_Free(larger.names)
        PyMem_Free(larger.pairs)
        raise MemoryError
    for index in range(table.dropped, table.inserted):
        larger.ring[index & larger.mask] = table_entry(table, index)[0]
        table_link(&larger, index)
    PyMem_Free(table.ring)
    PyMem_Free(table.names)
    PyMem_Free(table.pairs)
    table[0] = larger
    return 0


cdef inline void table_free(Table *table) noexcept:
    while table.dropped < table.inserted:
        table_drop(table)
    PyMem_Free(table.ring)
    PyMem_Free(table.names)
    PyMem_Free(table.pairs)
