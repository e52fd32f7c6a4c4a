//! Bytes over the border, both ways without a copy where that pays.
//!
//! In: Python memory is referenced until the engine drops it, which happens in the engine's threads.
//! They never take the GIL: what they drop waits in a list that the next call from Python empties.
//!
//! Out: large pieces become a `memoryview` of the engine's memory, small ones `bytes`.

use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use bytes::Bytes;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::stack::Stack;

/// Below this many bytes a copy costs less than to hold the object. The engine gathers small writes
/// anyway.
const SMALL: usize = 4096;
/// From this many bytes on, Python gets a view: a smaller piece would keep the engine's whole buffer
/// of 64 KiB alive for little.
const VIEW: usize = 32 * 1024;

/// Python's side of buffers that the engine has dropped: its threads never wait for Python.
static DROPPED: Stack<PyUntypedBuffer> = Stack(AtomicPtr::new(ptr::null_mut()));
/// Buffers that the engine holds or has dropped and Python has not taken back.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// Python memory, held.
struct Held {
    start: NonNull<u8>,
    len: usize,
    /// `None` only while it is being dropped.
    buffer: Option<PyUntypedBuffer>,
}

// SAFETY: `start` points into memory that `buffer` keeps where it is, and that may be read from any
// thread: `borrow` lets only memory in that its owner promises not to change.
unsafe impl Send for Held {}
// SAFETY: as above; nothing here changes after it was made.
unsafe impl Sync for Held {}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the exporter keeps `len` bytes valid at `start` until the buffer is released,
        // which happens after this value is gone.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            DROPPED.push(buffer);
        }
    }
}

/// Gives Python back what the engine has dropped. Called whenever Python calls into the engine.
pub fn release_dropped(py: Python<'_>) {
    if DROPPED.is_empty() {
        return;
    }
    let dropped = DROPPED.take();
    HELD.fetch_sub(dropped.len(), Ordering::Relaxed);
    // An exporter's code may run, and call into here again.
    for buffer in dropped {
        buffer.release(py);
    }
}

/// How many Python buffers are not given back yet.
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// The bytes of any object with the buffer protocol, from `skip` on. Read-only memory is referenced,
/// not copied, if they are many; of much memory that can be written up to `max` bytes are copied,
/// unless `share`: then the caller promises not to change it. Answers too how many bytes there are
/// in all.
pub fn borrow(
    object: &Bound<'_, PyAny>,
    share: bool,
    skip: usize,
    max: impl FnOnce() -> usize,
) -> PyResult<(Bytes, usize)> {
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        let bytes = bytes.as_bytes();
        if bytes.len() < SMALL {
            let rest = bytes.get(skip..).unwrap_or_default();
            return Ok((Bytes::copy_from_slice(rest), bytes.len()));
        }
    }
    let py = object.py();
    let buffer = PyUntypedBuffer::get(object)?;
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err("the buffer must be contiguous"));
    }
    let all = buffer.len_bytes();
    let refer = buffer.readonly() || share;
    let left = all.saturating_sub(skip);
    let len = if refer || left < SMALL { left } else { left.min(max()) };
    // SAFETY: `skip` is inside the buffer's memory if any byte is left behind it.
    let start = (len > 0).then(|| unsafe { buffer.buf_ptr().cast::<u8>().add(skip) });
    let Some(start) = start.and_then(NonNull::new) else { return Ok((Bytes::new(), all)) };
    if len < SMALL || !refer {
        // SAFETY: `buffer` keeps the memory there for the length of this call, and we are attached
        // to the interpreter: nobody else is expected to change it now.
        let bytes = Bytes::copy_from_slice(unsafe { slice::from_raw_parts(start.as_ptr(), len) });
        buffer.release(py);
        return Ok((bytes, all));
    }
    HELD.fetch_add(1, Ordering::Relaxed);
    Ok((Bytes::from_owner(Held { start, len, buffer: Some(buffer) }), all))
}

/// Received bytes for Python: `bytes`, or a read-only `memoryview` without a copy if they are many.
pub fn export<'py>(py: Python<'py>, data: Bytes) -> PyResult<Bound<'py, PyAny>> {
    if data.len() < VIEW {
        return Ok(PyBytes::new(py, &data).into_any());
    }
    Ok(view(py, data)?.into_any())
}

/// Bytes of the engine as a read-only `memoryview`, however few.
pub fn view(py: Python<'_>, data: Bytes) -> PyResult<Bound<'_, PyMemoryView>> {
    let chunk = Bound::new(py, Chunk(data))?;
    PyMemoryView::from(chunk.as_any())
}

/// The owner of received bytes that Python looks at.
#[pyclass(frozen, module = "tquic._engine")]
struct Chunk(Bytes);

#[pymethods]
impl Chunk {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: std::ffi::c_int,
    ) -> PyResult<()> {
        let data = &slf.get().0;
        let len = isize::try_from(data.len()).map_err(|_| PyValueError::new_err("too long"))?;
        // The view is read-only: CPython refuses requests for a writable one.
        let start = data.as_ptr().cast_mut().cast();
        // SAFETY: CPython gives a valid `view`. The memory belongs to `slf`, is never changed, and
        // stays where it is: the view gets a reference to `slf`.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 1, flags) };
        if filled < 0 { Err(PyErr::fetch(slf.py())) } else { Ok(()) }
    }
}
