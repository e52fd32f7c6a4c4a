# cython: language_level=3, freethreading_compatible=True
# cython: embedsignature=False, auto_pickle=False
"""Varints and HTTP/3 frames: bytes to values and back (RFC 9000 section 16, RFC 9114 section 7).

Stateless but for `FrameDecoder`, which may be fed from any thread, one call at a time: its methods
hold a lock on it where the interpreter has no GIL.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.long cimport PyLong_Check
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from tquic.h3._varint cimport MAX_VARINT_SIZE, varint_fits, varint_read, varint_write

from tquic.h3.errors import ErrorCode, H3Error

cdef enum:
    _MAX_HEADER_SIZE = 2 * MAX_VARINT_SIZE

    # RFC 9114 section 11.2.1
    _DATA = 0x00
    _HEADERS = 0x01
    _HTTP2_PRIORITY = 0x02
    _CANCEL_PUSH = 0x03
    _SETTINGS = 0x04
    _PUSH_PROMISE = 0x05
    _HTTP2_PING = 0x06
    _GOAWAY = 0x07
    _HTTP2_WINDOW_UPDATE = 0x08
    _HTTP2_CONTINUATION = 0x09
    _MAX_PUSH_ID = 0x0D
    # RFC 9218 section 7.2
    _PRIORITY_UPDATE_REQUEST = 0xF0700
    _PRIORITY_UPDATE_PUSH = 0xF0701

MAX_VARINT = (1 << 62) - 1

DEFAULT_MAX_PAYLOAD = 65536


cdef inline bint _is_http2_only(uint64_t frame_type) noexcept nogil:
    return frame_type in (
        _HTTP2_PRIORITY, _HTTP2_PING, _HTTP2_WINDOW_UPDATE, _HTTP2_CONTINUATION
    )


cdef inline bint _is_collected(uint64_t frame_type) noexcept nogil:
    """Whether frames of this type are handed on whole, with their payload."""
    return frame_type in (
        _HEADERS, _CANCEL_PUSH, _SETTINGS, _PUSH_PROMISE, _GOAWAY, _MAX_PUSH_ID,
        _PRIORITY_UPDATE_REQUEST, _PRIORITY_UPDATE_PUSH,
    )


cdef inline int _header_read(
    const unsigned char *data, Py_ssize_t size, uint64_t *frame_type, uint64_t *length
) noexcept nogil:
    """Size of the frame header at data, or 0 when it is not all there."""
    cdef int first, second
    first = varint_read(data, size, frame_type)
    if first == 0:
        return 0
    second = varint_read(data + first, size - first, length)
    if second == 0:
        return 0
    return first + second


cdef int _check_received_type(uint64_t frame_type) except -1:
    # RFC 9114 section 7.2.8: receipt of these MUST be treated as a connection error.
    if _is_http2_only(frame_type):
        raise H3Error(
            ErrorCode.H3_FRAME_UNEXPECTED,
            f"frame type 0x{frame_type:02x} belongs to HTTP/2 and is reserved in HTTP/3",
        )
    return 0


cdef uint64_t _as_varint(object value, str what) except? 0:
    cdef uint64_t number
    try:
        # Not the plain conversion, which would cut 1.5 to 1.
        number = value if PyLong_Check(value) else PyNumber_Index(value)
    except OverflowError:
        raise ValueError(f"{what} {value} does not fit: 0 to 2**62 - 1 is allowed") from None
    if not varint_fits(number):
        raise ValueError(f"{what} {value} does not fit: 0 to 2**62 - 1 is allowed")
    return number


def encode_varint(value, /):
    """The shortest encoding of value, 0 to 2**62 - 1 (`MAX_VARINT`); others raise ValueError."""
    cdef unsigned char out[MAX_VARINT_SIZE]
    cdef int size = varint_write(out, _as_varint(value, "the integer"))
    return PyBytes_FromStringAndSize(<char *>out, size)


def decode_varint(data, offset=0, /):
    """The varint at offset as (value, size in bytes), or None when it is not all there.

    Longer encodings than needed are accepted, as RFC 9000 section 16 wants. An offset outside of
    data raises ValueError.
    """
    cdef Py_buffer view
    cdef uint64_t value = 0
    cdef Py_ssize_t start = offset
    cdef int size
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if start < 0 or start > view.len:
            raise ValueError(f"offset {start} is outside of the {view.len} bytes given")
        size = varint_read(<const unsigned char *>view.buf + start, view.len - start, &value)
    finally:
        PyBuffer_Release(&view)
    if size == 0:
        return None
    return (value, size)


def encode_frame_header(frame_type, length, /):
    """The header of a frame of this type with a payload of length bytes.

    Types that RFC 9114 section 7.2.8 forbids to send, those only HTTP/2 has, raise ValueError.
    """
    cdef unsigned char out[_MAX_HEADER_SIZE]
    cdef uint64_t number = _as_varint(frame_type, "frame type")
    cdef int size
    if _is_http2_only(number):
        raise ValueError(f"frame type 0x{number:02x} belongs to HTTP/2 and must not be sent")
    size = varint_write(out, number)
    size += varint_write(out + size, _as_varint(length, "length"))
    return PyBytes_FromStringAndSize(<char *>out, size)


def parse_frame_headers(data, /):
    """The headers of the frames that follow each other in data: (type, length, header size) each.

    Payloads are stepped over unread. Parsing ends where a header is not all there, and after a
    frame whose payload goes on beyond data. A type only HTTP/2 has raises `H3Error`.
    """
    cdef Py_buffer view
    cdef uint64_t frame_type = 0, length = 0
    cdef Py_ssize_t position = 0
    cdef const unsigned char *start
    cdef int size
    cdef list headers = []
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        start = <const unsigned char *>view.buf
        while True:
            size = _header_read(start + position, view.len - position, &frame_type, &length)
            if size == 0:
                break
            _check_received_type(frame_type)
            headers.append((frame_type, length, size))
            position += size
            # Compared as unsigned numbers first: the peer may claim more than fits a Py_ssize_t.
            if length > <uint64_t>(view.len - position):
                break
            position += <Py_ssize_t>length
    finally:
        PyBuffer_Release(&view)
    return headers


# no_gc: neither can be part of a cycle, holding numbers and bytes only.
@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Frame:
    """A frame other than DATA.

    ``payload`` is all of its payload, or None for a type this package does not know: such a frame
    is told of when its header has come, and what follows is dropped (RFC 9114 section 9).
    """

    __match_args__ = ("type", "payload")

    cdef readonly uint64_t type
    cdef readonly bytes payload

    def __init__(self, type, payload=None):
        self.type = _as_varint(type, "frame type")
        self.payload = payload

    def __eq__(self, other):
        if not isinstance(other, Frame):
            return NotImplemented
        return self.type == (<Frame>other).type and self.payload == (<Frame>other).payload

    def __repr__(self):
        if self.payload is None:
            return f"Frame(type=0x{self.type:02x}, payload=None)"
        return f"Frame(type=0x{self.type:02x}, payload={len(self.payload)} bytes)"


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class DataSpan:
    """Payload of a DATA frame: bytes ``start`` to ``end`` of what was fed, not copied.

    ``remaining`` bytes of the same frame are still to come; 0 says that the frame ends here.
    """

    __match_args__ = ("start", "end", "remaining")

    cdef readonly Py_ssize_t start
    cdef readonly Py_ssize_t end
    cdef readonly uint64_t remaining

    def __init__(self, start, end, remaining):
        self.start = start
        self.end = end
        self.remaining = _as_varint(remaining, "remaining")

    def __eq__(self, other):
        cdef DataSpan span
        if not isinstance(other, DataSpan):
            return NotImplemented
        span = other
        return (
            self.start == span.start and self.end == span.end and self.remaining == span.remaining
        )

    def __repr__(self):
        return f"DataSpan(start={self.start}, end={self.end}, remaining={self.remaining})"


@cython.final
@cython.freelist(64)
cdef class Data:
    """Payload of a DATA frame: ``payload`` is a view of what was read, not copied.

    ``remaining`` bytes of the same frame are still to come; 0 says that the frame ends here.
    """

    __match_args__ = ("payload", "remaining")

    cdef readonly object payload
    cdef readonly uint64_t remaining

    def __init__(self, payload, remaining):
        self.payload = payload
        self.remaining = _as_varint(remaining, "remaining")

    def __eq__(self, other):
        if not isinstance(other, Data):
            return NotImplemented
        return (
            self.remaining == (<Data>other).remaining and self.payload == (<Data>other).payload
        )

    def __repr__(self):
        return f"Data(payload={len(self.payload)} bytes, remaining={self.remaining})"


# Made without __init__, which would cost as much as the rest of a small frame.
cdef Frame _frame(uint64_t frame_type, bytes payload):
    cdef Frame frame = Frame.__new__(Frame)
    frame.type = frame_type
    frame.payload = payload
    return frame


cdef DataSpan _span(Py_ssize_t start, Py_ssize_t end, uint64_t remaining):
    cdef DataSpan span = DataSpan.__new__(DataSpan)
    span.start = start
    span.end = end
    span.remaining = remaining
    return span


cdef Data _data(object view, Py_ssize_t start, Py_ssize_t end, uint64_t remaining):
    cdef Data data = Data.__new__(Data)
    data.payload = view[start:end]
    data.remaining = remaining
    return data


cdef object _view_of_bytes(data):
    """A view of data that is indexed by bytes, whatever its items are."""
    view = PyMemoryView_FromObject(data)
    if PyMemoryView_GET_BUFFER(view).itemsize != 1 or PyMemoryView_GET_BUFFER(view).ndim != 1:
        view = view.cast("B")
    return view


cdef object _truncated():
    return H3Error(ErrorCode.H3_FRAME_ERROR, "the stream ended in the middle of a frame")


@cython.final
cdef class FrameDecoder:
    """Takes one stream's bytes, cut anywhere, and gives its frames.

    ``max_payload`` bounds the payload of a frame that is handed on whole (any known type but
    DATA), in bytes; a longer one raises `H3Error` with H3_EXCESSIVE_LOAD as soon as its header has
    come. After an error the decoder raises it again and takes nothing more.
    """

    cdef uint64_t _max_payload
    # The start of a header that was cut.
    cdef unsigned char _header[_MAX_HEADER_SIZE]
    cdef int _header_size
    # The frame whose payload is being read, if any; how much of it is still to come.
    cdef bint _in_frame
    cdef uint64_t _type
    cdef uint64_t _remaining
    # What has come of a payload that is handed on whole; None unless it was cut.
    cdef bytearray _payload
    # What payload of DATA frames is cut from, if it is handed on as views.
    cdef object _view
    cdef object _error

    def __cinit__(self, *, max_payload=DEFAULT_MAX_PAYLOAD):
        self._max_payload = _as_varint(max_payload, "max_payload")
        self._header_size = 0
        self._in_frame = False
        self._payload = None
        self._error = None

    @property
    def buffered(self):
        """Bytes held back for a frame that is not complete: at most ``max_payload``, or 15."""
        with cython.critical_section(self):
            return self._header_size + (0 if self._payload is None else len(self._payload))

    def feed(self, data, /):
        """The events in the next bytes of the stream, in their order: `Frame` and `DataSpan`.

        Spans count from the start of data. When data breaks a rule, `H3Error` is raised and the
        events before that point are lost with the connection.
        """
        with cython.critical_section(self):
            return self._take(data, None)

    def read(self, data, /):
        """The same with `Data` in place of spans: what lies in data is given as views of it.

        A view of a buffer that can change shows the changes, and keeps it from being resized.
        """
        with cython.critical_section(self):
            return self._take(data, _view_of_bytes(data))

    @property
    def place(self):
        """Where the stream stands: (bytes to the end of an open DATA frame, start of a header).

        One of both is empty. None inside of another frame.
        """
        with cython.critical_section(self):
            if self._in_frame:
                return (self._remaining, b"") if self._type == _DATA else None
            return (0, PyBytes_FromStringAndSize(<char *>self._header, self._header_size))

    def resume(self, remaining, /):
        """Goes on behind payload of DATA frames that was read by another way.

        ``remaining`` bytes of such a frame follow, 0 if the next byte begins a frame. Raises
        ValueError where `place` is None.
        """
        with cython.critical_section(self):
            self._raise_again()
            if self._in_frame and self._type != _DATA:
                raise ValueError("another frame is open")
            self._type = _DATA
            self._remaining = _as_varint(remaining, "remaining")
            self._in_frame = self._remaining != 0
            self._header_size = 0

    def finish(self):
        """Says that the stream ended cleanly; raises `H3Error` if it ended inside a frame."""
        with cython.critical_section(self):
            # RFC 9114 section 7.1: a truncated last frame is H3_FRAME_ERROR.
            if self._error is None and (self._in_frame or self._header_size):
                self._error = _truncated()
            self._raise_again()

    cdef list _take(self, data, view):
        cdef Py_buffer buffer
        cdef list events = []
        self._raise_again()
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        self._view = view
        try:
            self._decode(<const unsigned char *>buffer.buf, buffer.len, events)
        except H3Error as error:
            self._error = error
            self._payload = None
            raise
        finally:
            self._view = None
            PyBuffer_Release(&buffer)
        return events

    cdef int _raise_again(self) except -1:
        # A new exception each time: raising one again and again makes its traceback grow.
        if self._error is not None:
            raise H3Error(self._error.code, self._error.reason)
        return 0

    cdef int _decode(
        self, const unsigned char *data, Py_ssize_t size, list events
    ) except -1:
        cdef Py_ssize_t position = 0
        while True:
            if self._in_frame:
                position = self._read_payload(data, position, size, events)
                if self._in_frame:
                    return 0
            if position == size:
                return 0
            position = self._read_header(data, position, size, events)

    cdef Py_ssize_t _read_header(
        self, const unsigned char *data, Py_ssize_t position, Py_ssize_t size, list events
    ) except -1:
        """Reads a header, or keeps what there is of one; returns the new position."""
        cdef uint64_t frame_type = 0, length = 0
        cdef int kept = self._header_size
        cdef int header, taken
        if kept == 0:
            header = _header_read(data + position, size - position, &frame_type, &length)
            taken = header
        else:
            taken = <int>min(<Py_ssize_t>(_MAX_HEADER_SIZE - kept), size - position)
            memcpy(self._header + kept, data + position, taken)
            header = _header_read(self._header, kept + taken, &frame_type, &length)
            if header == 0:
                self._header_size = kept + taken
                return size
            taken = header - kept
        if header == 0:
            # Fewer than 16 bytes: with 16 there is always a whole header.
            taken = <int>(size - position)
            memcpy(self._header, data + position, taken)
            self._header_size = taken
            return size
        self._header_size = 0
        self._begin_frame(frame_type, length, events)
        return position + taken

    cdef int _begin_frame(self, uint64_t frame_type, uint64_t length, list events) except -1:
        _check_received_type(frame_type)
        if _is_collected(frame_type):
            if length > self._max_payload:
                raise H3Error(
                    ErrorCode.H3_EXCESSIVE_LOAD,
                    f"a frame of type 0x{frame_type:02x} has {length} bytes of payload, "
                    f"the limit is {self._max_payload}",
                )
        elif frame_type != _DATA:
            events.append(_frame(frame_type, None))
        self._type = frame_type
        self._remaining = length
        self._in_frame = True
        return 0

    cdef Py_ssize_t _read_payload(
        self, const unsigned char *data, Py_ssize_t position, Py_ssize_t size, list events
    ) except -1:
        """Takes what there is of the frame's payload; returns the new position."""
        cdef Py_ssize_t taken = size - position
        cdef Py_ssize_t end
        if self._remaining < <uint64_t>taken:
            taken = <Py_ssize_t>self._remaining
        end = position + taken
        self._remaining -= <uint64_t>taken
        self._in_frame = self._remaining != 0
        if self._type == _DATA:
            # A header without payload yet is no event; an empty frame is one.
            if taken or not self._in_frame:
                if self._view is None:
                    events.append(_span(position, end, self._remaining))
                else:
                    events.append(_data(self._view, position, end, self._remaining))
        elif _is_collected(self._type):
            self._collect(data + position, taken, events)
        return end

    cdef int _collect(self, const unsigned char *data, Py_ssize_t size, list events) except -1:
        cdef bytes part
        if size and (self._in_frame or self._payload is not None):
            # Grows with what has come, not with what the peer has announced.
            part = PyBytes_FromStringAndSize(<const char *>data, size)
            if self._payload is None:
                self._payload = bytearray(part)
            else:
                self._payload += part
        if self._in_frame:
            return 0
        if self._payload is None:
            part = PyBytes_FromStringAndSize(<const char *>data, size)
        else:
            part = bytes(self._payload)
            self._payload = None
        events.append(_frame(self._type, part))
        return 0
