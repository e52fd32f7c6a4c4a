# cython: language_level=3, freethreading_compatible=True
# cython: embedsignature=False, auto_pickle=False, boundscheck=False, wraparound=False
"""What a decoded field section says: a request, a response, or trailers (RFC 9114 sections 4.2, 4.3).

One pass over the section, each byte looked up once. What is malformed raises `H3Error` with
H3_MESSAGE_ERROR, which is a stream error (RFC 9114 section 4.1.2). The same functions check what
is to be sent.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_Check
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp

from tquic.h3.errors import ErrorCode, H3Error

cdef enum:
    # What a byte may be part of.
    _NAME = 1
    _VALUE = 2
    _TOKEN = 4
    _VISIBLE = 8
    _SCHEME = 16

cdef uint8_t _classes[256]


cdef void _classify():
    cdef int byte
    for byte in range(256):
        _classes[byte] = 0
        # RFC 9110 section 5.5: visible characters, obs-text, and blanks between them.
        if byte == 0x09 or byte >= 0x20 and byte != 0x7F:
            _classes[byte] |= _VALUE
        if byte > 0x20 and byte != 0x7F:
            _classes[byte] |= _VISIBLE
    # RFC 9110 section 5.6.2: tchar. RFC 9114 section 4.2: no upper case in names.
    for byte in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz":
        _classes[byte] |= _TOKEN | _NAME
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        _classes[byte] |= _TOKEN | _SCHEME
    # RFC 3986 section 3.1
    for byte in b"+-.0123456789abcdefghijklmnopqrstuvwxyz":
        _classes[byte] |= _SCHEME


_classify()


def parse_request(list fields, /, bint extended_connect):
    """The parts of a request's header section: (method, scheme, authority, path, protocol, fields,
    content_length, priority).

    What is not there is None. ``authority`` is that of Host if there is no :authority, ``fields``
    has no pseudo-fields. ``extended_connect`` tells whether :protocol is known (RFC 9220).
    """
    cdef bytes method = None, scheme = None, authority = None, path = None, protocol = None
    cdef Py_ssize_t i, size, count = len(fields)
    cdef tuple field
    cdef bytes name, value
    cdef _Regular regular = _Regular.__new__(_Regular)
    i = 0
    while i < count:
        field = _field(fields[i])
        name = <bytes>field[0]
        if not _is_pseudo(name):
            break
        value = <bytes>field[1]
        _check_value(name, value)
        size = PyBytes_GET_SIZE(name)
        if _is(name, size, b":path", 5):
            path = _once(path, name, value)
        elif _is(name, size, b":method", 7):
            method = _once(method, name, value)
        elif _is(name, size, b":scheme", 7):
            scheme = _once(scheme, name, value)
        elif _is(name, size, b":authority", 10):
            authority = _once(authority, name, value)
        elif extended_connect and _is(name, size, b":protocol", 9):
            protocol = _once(protocol, name, value)
        else:
            # RFC 9114 section 4.3: undefined ones, and those of responses.
            raise _malformed(f"requests have no pseudo-field {_text(name)}")
        i += 1
    regular.read(fields, i)
    if method is None:
        raise _malformed("the request has no :method")
    if not method or not _all(method, _TOKEN):
        raise _malformed(f":method {_text(method)} is no token")
    if method == b"CONNECT" and protocol is None:
        # RFC 9114 section 4.4
        if scheme is not None or path is not None:
            raise _malformed("CONNECT has no :scheme and no :path")
        if not authority:
            raise _malformed("CONNECT has no :authority")
    else:
        if protocol is not None and method != b"CONNECT":
            # RFC 8441 section 4
            raise _malformed(":protocol is there, but the method is not CONNECT")
        _check_target(method, scheme, path)
    authority = _authority(scheme, authority, regular.host)
    return (
        method, scheme, authority, path, protocol,
        fields[i:], regular.content_length, regular.priority,
    )


def parse_response(list fields, /):
    """The parts of a response's header section: (status, fields, content_length). RFC 9114 section
    4.3.2."""
    cdef _Regular regular = _Regular.__new__(_Regular)
    cdef bytes status
    cdef const uint8_t *digits
    cdef tuple field
    if not fields:
        raise _malformed("the response has no :status")
    field = _field(fields[0])
    if <bytes>field[0] != b":status":
        raise _malformed("the response does not begin with :status")
    status = <bytes>field[1]
    digits = <const uint8_t *>PyBytes_AS_STRING(status)
    # RFC 9110 section 15
    if (
        PyBytes_GET_SIZE(status) != 3
        or not c'1' <= digits[0] <= c'9'
        or not c'0' <= digits[1] <= c'9'
        or not c'0' <= digits[2] <= c'9'
    ):
        raise _malformed(f":status {_text(status)} is no number of three digits")
    if status == b"101":
        raise _malformed("101 does not exist in HTTP/3: RFC 9114 section 4.5")
    regular.read(fields, 1)
    return (
        (digits[0] - c'0') * 100 + (digits[1] - c'0') * 10 + digits[2] - c'0',
        fields[1:], regular.content_length,
    )


def check_trailers(list fields, /):
    """Raises `H3Error` unless these may be trailers."""
    cdef _Regular regular = _Regular.__new__(_Regular)
    regular.read(fields, 0)


cdef class _Regular:
    """What fields that are no pseudo-fields say about the message."""

    cdef object content_length
    cdef bytes host
    cdef bytes priority

    cdef int read(self, list fields, Py_ssize_t first) except -1:
        cdef Py_ssize_t i
        cdef tuple field
        cdef bytes name, value
        for i in range(first, len(fields)):
            field = _field(fields[i])
            name = <bytes>field[0]
            value = <bytes>field[1]
            if not PyBytes_GET_SIZE(name) or not _all(name, _NAME):
                raise _bad_name(name)
            _check_value(name, value)
            self.note(name, PyBytes_GET_SIZE(name), value)
        return 0

    cdef int note(self, bytes name, Py_ssize_t size, bytes value) except -1:
        """Names that have rules of their own; most are told apart by their size."""
        if size == 2:
            # RFC 9114 section 4.2: TE may say "trailers" and nothing else.
            if _is(name, size, b"te", 2) and value != b"trailers":
                raise _malformed("te has another value than trailers")
        elif size == 4:
            if _is(name, size, b"host", 4):
                self.host = _once(self.host, name, value)
        elif size == 7:
            if _is(name, size, b"upgrade", 7):
                raise _connection_specific(name)
        elif size == 8:
            if _is(name, size, b"priority", 8):
                # RFC 9110 section 5.3: several lines are one list.
                self.priority = value if self.priority is None else self.priority + b", " + value
        elif size == 10:
            if _is(name, size, b"connection", 10) or _is(name, size, b"keep-alive", 10):
                raise _connection_specific(name)
        elif size == 14:
            if _is(name, size, b"content-length", 14):
                if self.content_length is not None:
                    raise _malformed("content-length is there twice")
                self.content_length = _number(value)
        elif size == 16:
            if _is(name, size, b"proxy-connection", 16):
                raise _connection_specific(name)
        elif size == 17:
            if _is(name, size, b"transfer-encoding", 17):
                raise _connection_specific(name)
        return 0


cdef int _check_target(bytes method, bytes scheme, bytes path) except -1:
    # RFC 9114 section 4.3.1: exactly one of each.
    if scheme is None:
        raise _malformed("the request has no :scheme")
    if path is None:
        raise _malformed("the request has no :path")
    if not scheme or not _all(scheme, _SCHEME):
        raise _malformed(f":scheme {_text(scheme)} is no scheme")
    if not _all(path, _VISIBLE):
        raise _malformed(":path has a space")
    if not _is_http(scheme):
        return 0
    if not path:
        raise _malformed(":path is empty")
    if path[0] != c'/' and not (path == b"*" and method == b"OPTIONS"):
        raise _malformed(":path does not begin with a slash")
    return 0


cdef bytes _authority(bytes scheme, bytes authority, bytes host):
    cdef bytes found = host if authority is None else authority
    # RFC 9114 section 4.3.1: if both are there, they must say the same.
    if authority is not None and host is not None and authority != host:
        raise _malformed(":authority and host differ")
    if found is not None and not _all(found, _VISIBLE):
        raise _malformed("the authority has a space")
    if scheme is not None and _is_http(scheme):
        if not found:
            raise _malformed("the request has neither :authority nor host")
        if b"@" in found:
            raise _malformed("the authority has user information")
    return found


cdef bint _is_http(bytes scheme):
    return scheme == b"https" or scheme == b"http"


cdef object _number(bytes value):
    """RFC 9110 section 8.6: digits."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(value)
    cdef Py_ssize_t i, size = PyBytes_GET_SIZE(value)
    cdef uint64_t number = 0
    if size == 0:
        raise _malformed("content-length is empty")
    for i in range(size):
        if not c'0' <= data[i] <= c'9':
            raise _malformed("content-length is no number")
        number = number * 10 + (data[i] - c'0')
        # No stream carries more (RFC 9000 section 4.5).
        if number >= <uint64_t>1 << 62:
            raise _malformed("content-length is more than a stream can carry")
    return number


cdef int _check_value(bytes name, bytes value) except -1:
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    # RFC 9114 section 10.3: a character that is not permitted in a field value.
    if not _all(value, _VALUE):
        raise _malformed(f"the value of {_text(name)} has a control character")
    if size and (_is_blank(data[0]) or _is_blank(data[size - 1])):
        raise _malformed(f"the value of {_text(name)} begins or ends with a blank")
    return 0


cdef bytes _once(bytes before, bytes name, bytes value):
    if before is not None:
        raise _malformed(f"{_text(name)} is there twice")
    return value


cdef object _bad_name(bytes name):
    if _is_pseudo(name):
        # RFC 9114 section 4.3: before all regular fields, and never in trailers.
        return _malformed(f"the pseudo-field {_text(name)} is not where they may be")
    if name != name.lower():
        return _malformed(f"the field name {_text(name)} has upper case")
    return _malformed(f"{_text(name)} is no field name")


cdef object _connection_specific(bytes name):
    # RFC 9114 section 4.2
    return _malformed(f"the field {_text(name)} belongs to HTTP/1.1")


cdef object _malformed(reason):
    return H3Error(ErrorCode.H3_MESSAGE_ERROR, reason)


cdef object _text(bytes string):
    """For people, and not too much of it."""
    return repr(string[:64])[1:]


cdef inline tuple _field(object field):
    if (
        PyTuple_Check(field)
        and len(<tuple>field) == 2
        and PyBytes_CheckExact((<tuple>field)[0])
        and PyBytes_CheckExact((<tuple>field)[1])
    ):
        return <tuple>field
    raise TypeError(f"a field must be a tuple of two bytes, name and value, not {field!r}")


cdef inline bint _is_pseudo(bytes name) noexcept:
    return PyBytes_GET_SIZE(name) > 0 and PyBytes_AS_STRING(name)[0] == c':'


cdef inline bint _is(
    bytes name, Py_ssize_t size, const char *text, Py_ssize_t text_size
) noexcept:
    return size == text_size and memcmp(PyBytes_AS_STRING(name), text, size) == 0


cdef inline bint _is_blank(uint8_t byte) noexcept:
    return byte == 0x20 or byte == 0x09


cdef inline bint _all(bytes string, int kind) noexcept:
    """Whether all bytes are of that kind."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(string)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(string)):
        if not _classes[data[i]] & kind:
            return False
    return True
