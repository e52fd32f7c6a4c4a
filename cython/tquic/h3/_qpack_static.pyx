# cython: language_level=3, freethreading_compatible=True
# cython: embedsignature=False, auto_pickle=False, boundscheck=False, wraparound=False
"""The static table of QPACK: RFC 9204 section 3.1 and appendix A.

Filled at import and never changed afterwards: every thread may read it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memset

cdef enum:
    _SLOTS = 256
    _NONE = 0xFF

STATIC_TABLE = (
    (b":authority", b""),
    (b":path", b"/"),
    (b"age", b"0"),
    (b"content-disposition", b""),
    (b"content-length", b"0"),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"referer", b""),
    (b"set-cookie", b""),
    (b":method", b"CONNECT"),
    (b":method", b"DELETE"),
    (b":method", b"GET"),
    (b":method", b"HEAD"),
    (b":method", b"OPTIONS"),
    (b":method", b"POST"),
    (b":method", b"PUT"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"103"),
    (b":status", b"200"),
    (b":status", b"304"),
    (b":status", b"404"),
    (b":status", b"503"),
    (b"accept", b"*/*"),
    (b"accept", b"application/dns-message"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-ranges", b"bytes"),
    (b"access-control-allow-headers", b"cache-control"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-allow-origin", b"*"),
    (b"cache-control", b"max-age=0"),
    (b"cache-control", b"max-age=2592000"),
    (b"cache-control", b"max-age=604800"),
    (b"cache-control", b"no-cache"),
    (b"cache-control", b"no-store"),
    (b"cache-control", b"public, max-age=31536000"),
    (b"content-encoding", b"br"),
    (b"content-encoding", b"gzip"),
    (b"content-type", b"application/dns-message"),
    (b"content-type", b"application/javascript"),
    (b"content-type", b"application/json"),
    (b"content-type", b"application/x-www-form-urlencoded"),
    (b"content-type", b"image/gif"),
    (b"content-type", b"image/jpeg"),
    (b"content-type", b"image/png"),
    (b"content-type", b"text/css"),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-type", b"text/plain"),
    (b"content-type", b"text/plain;charset=utf-8"),
    (b"range", b"bytes=0-"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains; preload"),
    (b"vary", b"accept-encoding"),
    (b"vary", b"origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-xss-protection", b"1; mode=block"),
    (b":status", b"100"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"302"),
    (b":status", b"400"),
    (b":status", b"403"),
    (b":status", b"421"),
    (b":status", b"425"),
    (b":status", b"500"),
    (b"accept-language", b""),
    (b"access-control-allow-credentials", b"FALSE"),
    (b"access-control-allow-credentials", b"TRUE"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-allow-methods", b"get"),
    (b"access-control-allow-methods", b"get, post, options"),
    (b"access-control-allow-methods", b"options"),
    (b"access-control-expose-headers", b"content-length"),
    (b"access-control-request-headers", b"content-type"),
    (b"access-control-request-method", b"get"),
    (b"access-control-request-method", b"post"),
    (b"alt-svc", b"clear"),
    (b"authorization", b""),
    (b"content-security-policy", b"script-src 'none'; object-src 'none'; base-uri 'none'"),
    (b"early-data", b"1"),
    (b"expect-ct", b""),
    (b"forwarded", b""),
    (b"if-range", b""),
    (b"origin", b""),
    (b"purpose", b"prefetch"),
    (b"server", b""),
    (b"timing-allow-origin", b"*"),
    (b"upgrade-insecure-requests", b"1"),
    (b"user-agent", b""),
    (b"x-forwarded-for", b""),
    (b"x-frame-options", b"deny"),
    (b"x-frame-options", b"sameorigin"),
)

# The same as C sees it; the fields are kept alive for ever.
cdef struct _Line:
    const char *name
    const char *value
    Py_ssize_t name_size
    Py_ssize_t value_size
    # The next line with the same name, or _NONE.
    uint8_t next

cdef _Line _LINES[STATIC_COUNT]
cdef PyObject *_FIELDS[STATIC_COUNT]
# The first line of each name, by a hash of the name; the next slots where that one is taken.
cdef uint8_t _FIRST[_SLOTS]


cdef inline int _slot(const char *name, Py_ssize_t size) noexcept nogil:
    # The factors were searched for: no two names of the table share a slot. Nobody else's names are
    # put here, so the hash needs no key.
    return (
        (<int>size * 137) ^ (<uint8_t>name[size - 1] * 61) ^ (<uint8_t>name[size - 3] * 17)
        ^ <uint8_t>name[1]
    ) & (_SLOTS - 1)


cdef int _fill() except -1:
    cdef int index, slot
    cdef uint8_t *place
    cdef tuple field
    cdef _Line *line
    memset(_FIRST, _NONE, sizeof(_FIRST))
    if len(STATIC_TABLE) != STATIC_COUNT:
        raise AssertionError(f"the static table has {STATIC_COUNT} lines")
    for index in range(STATIC_COUNT):
        field = STATIC_TABLE[index]
        Py_INCREF(field)
        _FIELDS[index] = <PyObject *>field
        line = &_LINES[index]
        line.name = PyBytes_AS_STRING(field[0])
        line.name_size = PyBytes_GET_SIZE(field[0])
        line.value = PyBytes_AS_STRING(field[1])
        line.value_size = PyBytes_GET_SIZE(field[1])
        line.next = _NONE
        slot = _slot(line.name, line.name_size)
        while _FIRST[slot] != _NONE and not _has_name(_FIRST[slot], line.name, line.name_size):
            slot = (slot + 1) & (_SLOTS - 1)
        # To the end of those of the same name.
        place = &_FIRST[slot]
        while place[0] != _NONE:
            place = &_LINES[place[0]].next
        place[0] = <uint8_t>index
    return 0


cdef inline bint _has_name(int index, const char *name, Py_ssize_t size) noexcept nogil:
    return _LINES[index].name_size == size and memcmp(_LINES[index].name, name, size) == 0


_fill()


cdef PyObject **static_fields() noexcept nogil:
    return _FIELDS


cdef int static_find(
    const char *name, Py_ssize_t name_size, const char *value, Py_ssize_t value_size,
    int *name_index
) noexcept nogil:
    cdef int slot, index
    name_index[0] = -1
    # The shortest name is "age".
    if name_size < 3:
        return -1
    slot = _slot(name, name_size)
    while True:
        index = _FIRST[slot]
        if index == _NONE:
            return -1
        if _has_name(index, name, name_size):
            break
        slot = (slot + 1) & (_SLOTS - 1)
    name_index[0] = index
    while index != _NONE:
        if (
            _LINES[index].value_size == value_size
            and memcmp(_LINES[index].value, value, value_size) == 0
        ):
            return index
        index = _LINES[index].next
    return -1
