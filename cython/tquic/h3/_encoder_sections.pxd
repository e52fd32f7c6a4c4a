# What an encoder remembers of field sections that were not acknowledged: RFC 9204 sections 2.1.2 and
# 2.1.4. For `_qpack_encoder` alone.

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, uint64_t

cdef enum:
    # Sections remembered: when the peer acknowledges none of so many, no further section refers to
    # the dynamic table.
    MAX_SECTIONS = 4096
    # Streams that may be blocked, however many more the peer allows.
    MAX_RISKS = 256
    SECTION_CHAINS = 256

cdef struct Section:
    uint64_t stream
    uint64_t required
    # The index of the oldest entry it refers to.
    uint64_t oldest
    # The next in the same chain, or in the list of free ones; -1 at the end.
    int32_t next

# A stream that may be blocked at the peer, and the insert count at which it is not any more.
cdef struct Risk:
    uint64_t stream
    uint64_t required

cdef struct Sections:
    Section *pool
    int32_t room
    int32_t used
    int32_t free
    # Chains by stream, in the order the sections were encoded.
    int32_t first[SECTION_CHAINS]
    int32_t last[SECTION_CHAINS]
    Risk risks[MAX_RISKS]
    int risk_count


cdef inline void sections_init(Sections *sections) noexcept nogil:
    cdef int chain
    sections.pool = NULL
    sections.room = 0
    sections.used = 0
    sections.free = -1
    sections.risk_count = 0
    for chain in range(SECTION_CHAINS):
        sections.first[chain] = -1
        sections.last[chain] = -1


cdef inline int section_chain(uint64_t stream) noexcept nogil:
    return <int>((stream * <uint64_t>0x9E3779B97F4A7C15) >> 56)


cdef inline int sections_reserve(Sections *sections) except -1:
    """Makes sure that one more section can be added; 0 when there are as many as there may be."""
    cdef int32_t room, index
    cdef Section *pool
    if sections.free >= 0:
        return 1
    if sections.room >= MAX_SECTIONS:
        return 0
    room = 32 if sections.room == 0 else 2 * sections.room
    pool = <Section *>PyMem_Realloc(sections.pool, room * sizeof(Section))
    if pool is NULL:
        raise MemoryError
    for index in range(sections.room, room):
        pool[index].next = sections.free
        sections.free = index
    sections.pool = pool
    sections.room = room
    return 1


cdef inline void sections_add(
    Sections *sections, uint64_t stream, uint64_t required, uint64_t oldest
) noexcept nogil:
    """Remembers a section; sections_reserve must have said yes."""
    cdef int chain = section_chain(stream)
    cdef int32_t index = sections.free
    cdef Section *section = &sections.pool[index]
    sections.free = section.next
    sections.used += 1
    section.stream = stream
    section.required = required
    section.oldest = oldest
    section.next = -1
    if sections.last[chain] >= 0:
        sections.pool[sections.last[chain]].next = index
    else:
        sections.first[chain] = index
    sections.last[chain] = index


cdef inline bint sections_take(Sections *sections, uint64_t stream, Section *taken) noexcept nogil:
    """Forgets the oldest section of a stream and says what it was; false when there is none."""
    cdef int chain = section_chain(stream)
    cdef int32_t index = sections.first[chain]
    cdef int32_t before = -1
    while index >= 0 and sections.pool[index].stream != stream:
        before = index
        index = sections.pool[index].next
    if index < 0:
        return False
    taken[0] = sections.pool[index]
    if before >= 0:
        sections.pool[before].next = taken.next
    else:
        sections.first[chain] = taken.next
    if sections.last[chain] == index:
        sections.last[chain] = before
    sections.pool[index].next = sections.free
    sections.free = index
    sections.used -= 1
    return True


cdef inline int risk_of(Sections *sections, uint64_t stream) noexcept nogil:
    """Where the stream is among those that may be blocked, or -1."""
    cdef int index
    for index in range(sections.risk_count):
        if sections.risks[index].stream == stream:
            return index
    return -1


cdef inline void risk_add(Sections *sections, uint64_t stream, uint64_t required) noexcept nogil:
    """Notes that a stream may be blocked; there must be room if it is a new one."""
    cdef int index = risk_of(sections, stream)
    if index < 0:
        index = sections.risk_count
        sections.risk_count += 1
        sections.risks[index].stream = stream
        sections.risks[index].required = 0
    if required > sections.risks[index].required:
        sections.risks[index].required = required


cdef inline void risk_remove(Sections *sections, int index) noexcept nogil:
    sections.risk_count -= 1
    sections.risks[index] = sections.risks[sections.risk_count]


cdef inline void risks_settle(Sections *sections, uint64_t known) noexcept nogil:
    """Forgets the streams that a Known Received Count unblocks."""
    cdef int index = 0
    while index < sections.risk_count:
        if sections.risks[index].required <= known:
            risk_remove(sections, index)
        else:
            index += 1


cdef inline void sections_free(Sections *sections) noexcept:
    PyMem_Free(sections.pool)
