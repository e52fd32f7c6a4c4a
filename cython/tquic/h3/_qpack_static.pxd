# The static table, RFC 9204 appendix A, for the other modules of QPACK.

from cpython.ref cimport PyObject

cdef enum:
    STATIC_COUNT = 99

# The field lines by their index: tuples of name and value, borrowed, kept for ever.
cdef PyObject **static_fields() noexcept nogil

# The index of the line with this name and value, or -1. name_index becomes the lowest index with
# this name, or -1.
cdef int static_find(
    const char *name, Py_ssize_t name_size, const char *value, Py_ssize_t value_size,
    int *name_index
) noexcept nogil
