//! One event loop's end of the bridge: connections begin here, and their events come out in batches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyList;

use tquic_engine::bridge::{Bridge, Refusal};
use tquic_engine::{ConnectRequest, ListenRequest, ListenerId};

use crate::connection::Connection;
use crate::engine::{Engine, Messages, SharedPort};
use crate::hq::HqService;
use crate::settings::{AcceptSettings, ClientTls, ServerTls, Transport, address, local_address};
use crate::{buffer, error, event};

/// All connections of one event loop.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Hub {
    engine: Arc<tquic_engine::Engine>,
    messages: Messages,
    bridge: Bridge,
}

/// A listener's number, and the addresses at which it listens.
type Listening = (u64, Vec<(String, u16)>);

#[pymethods]
impl Hub {
    #[new]
    #[pyo3(signature = (engine, /))]
    fn new(engine: &Bound<'_, Engine>) -> PyResult<Self> {
        let Engine { engine, messages, .. } = engine.get();
        Ok(Self {
            engine: engine.clone(),
            messages: messages.clone(),
            bridge: Bridge::new().map_err(error::os)?,
        })
    }

    /// Readable while events wait.
    #[cfg(unix)]
    fn fileno(&self) -> i32 {
        use std::os::fd::{AsFd, AsRawFd};
        self.bridge.as_fd().as_raw_fd()
    }

    /// Nothing can be polled on this system.
    #[cfg(not(unix))]
    fn fileno(&self) -> i32 {
        -1
    }

    /// Takes up to `max` events, the oldest first.
    #[pyo3(signature = (max, /))]
    fn poll<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyList>> {
        buffer::release_dropped(py);
        let events = PyList::empty(py);
        for line in self.messages.take() {
            events.append(event::log(py, &line)?)?;
        }
        for event in self.bridge.poll_events(max) {
            events.append(event::tuple(py, &self.engine, event)?)?;
        }
        Ok(events)
    }

    /// Commands wait until `release`, to go in one batch.
    fn hold(&self) {
        self.bridge.hold();
    }

    fn release(&self) {
        self.bridge.release();
    }

    /// Waits for events without the GIL: false if `timeout` seconds passed without any.
    #[pyo3(signature = (timeout=None, /))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
        let timeout = timeout.map_err(|_| error::config(py, &"timeout must be in seconds"))?;
        Ok(py.detach(|| self.bridge.wait(timeout)))
    }

    #[pyo3(signature = (remote, server_name, transport, tls, /, *, local=None, interface=None, token=Vec::new(), begin=true))]
    fn connect(
        &self,
        py: Python<'_>,
        remote: (String, u16),
        server_name: String,
        transport: &Bound<'_, Transport>,
        tls: &Bound<'_, ClientTls>,
        local: Option<(String, u16)>,
        interface: Option<String>,
        token: Vec<u8>,
        begin: bool,
    ) -> PyResult<Connection> {
        let remote = address(py, &remote.0, remote.1)?;
        let mut request =
            ConnectRequest { token, ..transport.get().request(remote, server_name, tls.get()) };
        if local.is_some() || interface.is_some() {
            request.paths.insert(0, local_address(py, local, interface)?);
        }
        let made = py.detach(|| {
            let (connection, prepared) = self.bridge.prepare(&self.engine, request)?;
            if !begin {
                return Ok((connection, Some(prepared)));
            }
            prepared.begin()?;
            Ok((connection, None))
        });
        let (connection, prepared) = made.map_err(|e| error::engine(py, e))?;
        Ok(Connection::new(self.engine.clone(), connection, prepared))
    }

    /// With `hq`, connections that speak HTTP/0.9 are served there, in the engine. With `place`, the
    /// socket is the one of that port with the engine's number, and address and port do not count.
    /// While the program is behind by `overload_delay`, in seconds, clients are refused, and with
    /// `refusal` bidirectional streams are answered by it; the rest of them is stopped with its code.
    #[pyo3(signature = (
        host, port, config, transport, tls, /, *,
        hq=None, place=None, overload_delay=None, refusal=None
    ))]
    fn listen(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        config: AcceptSettings,
        transport: &Bound<'_, Transport>,
        tls: &Bound<'_, ServerTls>,
        hq: Option<&Bound<'_, HqService>>,
        place: Option<(Bound<'_, SharedPort>, usize)>,
        overload_delay: Option<f64>,
        refusal: Option<(Vec<u8>, u64)>,
    ) -> PyResult<Listening> {
        let limit = overload_delay.filter(|&seconds| seconds != 0.0);
        let limit = limit.map(Duration::try_from_secs_f64).transpose();
        let limit = limit
            .map_err(|_| error::config(py, &"overload_delay must be a duration in seconds"))?;
        let gate = limit.map(|limit| self.bridge.gate(limit));
        let (accept, more, token_key) = config.build(py, tls.get(), transport.get())?;
        let address = address(py, host, port)?;
        let refusal = gate.clone().zip(refusal);
        let refusal =
            refusal.map(|(gate, (answer, code))| Refusal { gate, answer: answer.into(), code });
        let request = ListenRequest { address, more, accept, token_key, gate };
        let (mut acceptor, entry) = self.bridge.entry(&transport.get().0, refusal);
        if let Some(hq) = hq {
            acceptor = hq.get().beside(acceptor);
        }
        let socket = place.map(|(shared, engine)| shared.get().take(py, engine)).transpose()?;
        let listening = py.detach(|| match socket {
            Some(socket) => self.engine.listen_at(socket, &request, acceptor),
            None => self.engine.listen(&request, acceptor),
        });
        let listening = listening.map_err(|e| error::engine(py, e))?;
        entry.name(listening.id);
        Ok((listening.id.0, listening.addresses.iter().map(pair).collect()))
    }

    /// `UNLISTENED` tells when no more connections can come. With `refuse`, unfinished handshakes
    /// are ended.
    #[pyo3(signature = (listener, /, *, refuse=false))]
    fn unlisten(&self, py: Python<'_>, listener: u64, refuse: bool) {
        let listener = ListenerId(listener);
        py.detach(|| match refuse {
            true => self.engine.unlisten_now(listener),
            false => self.engine.unlisten(listener),
        });
    }
}

/// An address as Python's sockets write it.
pub fn pair(address: &SocketAddr) -> (String, u16) {
    (address.ip().to_canonical().to_string(), address.port())
}
