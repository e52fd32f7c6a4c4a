//! Sockets as Python sees them: calls that never wait, and a descriptor to poll.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use tquic_socket::{Errno, Failure, Made, Outgoing, Received, Service, Shutdown};

use crate::hub::pair;
use crate::settings::address;
use crate::{buffer, error};

/// What all sockets share, with the process that has its threads.
static SERVICE: Mutex<Option<(u32, Arc<Service>)>> = Mutex::new(None);

fn service() -> PyResult<Arc<Service>> {
    let mut shared = SERVICE.lock().unwrap_or_else(PoisonError::into_inner);
    match shared.take() {
        Some((process, service)) if process == std::process::id() => {
            *shared = Some((process, service.clone()));
            return Ok(service);
        }
        // After a fork there are no threads to wait for: it must never be dropped.
        forked => std::mem::forget(forked),
    }
    let service = Service::start()?;
    *shared = Some((std::process::id(), service.clone()));
    Ok(service)
}

/// Closes all sockets and waits up to `patience` seconds for their peers to have what was written.
#[pyfunction]
#[pyo3(signature = (patience, /))]
pub fn finish_sockets(py: Python<'_>, patience: f64) -> PyResult<()> {
    let patience = Duration::try_from_secs_f64(patience)
        .map_err(|_| error::config(py, &"patience must be a duration in seconds"))?;
    let shared = SERVICE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((process, service)) = shared {
        if process == std::process::id() {
            py.detach(|| service.finish(patience));
        }
        std::mem::forget(service);
    }
    Ok(())
}

/// The numbers of `tquic.h`.
#[pyfunction]
pub fn socket_numbers() -> Vec<(&'static str, i64)> {
    tquic_socket::abi::ALL.to_vec()
}

/// Data, (stream, flags) if it belongs to something, a reset code, and bytes that were cut off.
type Message<'py> = (Bound<'py, PyBytes>, Option<(u64, u32)>, Option<u64>, usize);

/// A QUIC socket.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Socket {
    socket: Arc<tquic_socket::Socket>,
    /// Dropped, it closes the socket.
    near: Mutex<Option<OwnedFd>>,
}

impl From<Made> for Socket {
    fn from(made: Made) -> Self {
        Self { socket: made.socket, near: Mutex::new(Some(made.near)) }
    }
}

fn raised(failure: Failure) -> PyErr {
    // With its number, Python picks the subclass of `OSError`.
    PyOSError::new_err((failure.errno.0, failure.reason))
}

impl Socket {
    fn near(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the descriptor, unless it was closed.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&tquic_socket::Socket, BorrowedFd<'_>) -> Result<T, Failure> + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| {
            let near = self.near();
            let near = near.as_ref().ok_or_else(closed)?;
            work(&self.socket, near.as_fd())
        });
        done.map_err(raised)
    }
}

fn closed() -> Failure {
    Failure::new(Errno::BAD_DESCRIPTOR, "the socket was closed")
}

#[pymethods]
impl Socket {
    #[new]
    #[pyo3(signature = (ipv6, /))]
    fn new(py: Python<'_>, ipv6: bool) -> PyResult<Self> {
        let service = py.detach(service)?;
        Ok(tquic_socket::Socket::open(&service, ipv6).map_err(raised)?.into())
    }

    /// Readable and writable when the socket is; -1 after `close`.
    fn fileno(&self) -> i32 {
        self.near().as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.near().take()));
    }

    #[pyo3(signature = (host, port, /))]
    fn bind(&self, py: Python<'_>, host: &str, port: u16) -> PyResult<()> {
        let to = address(py, host, port)?;
        self.with(py, |socket, _| socket.bind(to))
    }

    #[pyo3(signature = (backlog, /))]
    fn listen(&self, py: Python<'_>, backlog: usize) -> PyResult<()> {
        self.with(py, |socket, near| socket.listen(near, backlog))
    }

    fn accept(&self, py: Python<'_>) -> PyResult<(Self, (String, u16))> {
        let (made, remote) = self.with(py, tquic_socket::Socket::accept)?;
        Ok((made.into(), pair(&remote)))
    }

    #[pyo3(signature = (host, port, /))]
    fn connect(&self, py: Python<'_>, host: &str, port: u16) -> PyResult<()> {
        let to: SocketAddr = address(py, host, port)?;
        self.with(py, |socket, near| socket.connect(near, to))
    }

    /// Raises EINPROGRESS while a connection is being made, and why it failed.
    fn progress(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |socket, _| socket.progress())
    }

    #[pyo3(signature = (data, /, *, stream=None, fin=false, datagram=false, reset=None, priority=None, zerocopy=false))]
    fn send(
        &self,
        data: &Bound<'_, PyAny>,
        stream: Option<u64>,
        fin: bool,
        datagram: bool,
        reset: Option<u64>,
        priority: Option<u8>,
        zerocopy: bool,
    ) -> PyResult<usize> {
        let py = data.py();
        buffer::release_dropped(py);
        // Without the option nothing would tell when the buffer is free.
        let zerocopy = zerocopy && self.socket.lends();
        let (data, _) = buffer::borrow(data, zerocopy, 0, || usize::MAX)?;
        let message = Outgoing { stream, data, fin, datagram, reset, priority, zerocopy };
        self.with(py, |socket, near| socket.send(near, message))
    }

    #[pyo3(signature = (room, peek=false, /))]
    fn recv<'py>(&self, py: Python<'py>, room: usize, peek: bool) -> PyResult<Message<'py>> {
        let received = self.with(py, |socket, near| socket.recv(near, room, peek))?;
        let info = received.info.map(|info| (info.stream_id, info.flags));
        let (reset, truncated) = (received.reset, received.truncated);
        Ok((joined(py, &received)?, info, reset, truncated))
    }

    /// The numbers of the calls whose buffers are free again, first and last.
    fn recv_error(&self, py: Python<'_>) -> PyResult<(u32, u32)> {
        buffer::release_dropped(py);
        self.with(py, |socket, _| socket.recv_error())
    }

    #[pyo3(signature = (read, write, /))]
    fn shutdown(&self, py: Python<'_>, read: bool, write: bool) -> PyResult<()> {
        let how = match (read, write) {
            (true, true) => Shutdown::Both,
            (true, false) => Shutdown::Read,
            _ => Shutdown::Write,
        };
        self.with(py, |socket, near| socket.shutdown(near, how))
    }

    fn name(&self, py: Python<'_>) -> PyResult<(String, u16)> {
        self.with(py, |socket, _| Ok(pair(&socket.name())))
    }

    fn peer_name(&self, py: Python<'_>) -> PyResult<(String, u16)> {
        self.with(py, |socket, _| Ok(pair(&socket.peer_name()?)))
    }

    #[getter]
    fn error(&self) -> i32 {
        self.socket.error()
    }

    #[getter]
    fn listening(&self) -> bool {
        self.socket.is_listening()
    }

    #[pyo3(signature = (option, value, patience, /))]
    fn set_option(
        &self,
        py: Python<'_>,
        option: i32,
        value: Vec<u8>,
        patience: f64,
    ) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(patience)
            .map_err(|_| error::config(py, &"patience must be a duration in seconds"))?;
        if self.fileno() < 0 {
            return Err(raised(closed()));
        }
        // Not with the descriptor, whose lock others need: a path takes a round trip.
        py.detach(|| self.socket.set_option(option, &value, Some(patience))).map_err(raised)
    }

    #[pyo3(signature = (option, given=Vec::new(), /))]
    fn option<'py>(
        &self,
        py: Python<'py>,
        option: i32,
        given: Vec<u8>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let value = self.with(py, |socket, _| socket.option(option, &given))?;
        Ok(PyBytes::new(py, &value))
    }
}

fn joined<'py>(py: Python<'py>, received: &Received) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, received.len(), |mut room| {
        for piece in &received.data {
            let (here, rest) = room.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            room = rest;
        }
        Ok(())
    })
}
