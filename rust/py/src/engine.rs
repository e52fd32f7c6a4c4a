//! The engine as Python sees it: threads, and their counters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use tquic_engine::{EngineConfig, ShardStats};
use tquic_net::udp::{SocketOptions, UdpSocket};
use tquic_net::xdp;

use crate::hub::pair;
use crate::settings::address;
use crate::{buffer, error};

/// Lines that wait for Python's logging at most; more are dropped, for they repeat themselves.
const MAX_LINES: usize = 64;

/// What the engine's threads have to say. They never wait for Python.
#[derive(Clone, Default)]
pub struct Messages(Arc<Mutex<VecDeque<String>>>);

impl Messages {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MAX_LINES {
            lines.push_back(line.to_owned());
        }
    }

    pub fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Threads with connections.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Engine {
    pub engine: Arc<tquic_engine::Engine>,
    pub messages: Messages,
    /// The process that has the threads.
    process: u32,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // After a fork there are no threads to wait for: the engine must never be dropped.
            std::mem::forget(self.engine.clone());
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (
        shards=1, *, cpus=Vec::new(), spin=0.0, gso=true, gro=true, socket_buffer=4 << 20,
        place=(0, 1), live=None, interface=None, xdp_mode="auto", zerocopy=false
    ))]
    fn new(
        py: Python<'_>,
        shards: usize,
        cpus: Vec<usize>,
        spin: f64,
        gso: bool,
        gro: bool,
        socket_buffer: usize,
        place: (u8, u8),
        live: Option<bool>,
        interface: Option<String>,
        xdp_mode: &str,
        zerocopy: bool,
    ) -> PyResult<Self> {
        let messages = Messages::default();
        let log = messages.clone();
        let spin = Duration::try_from_secs_f64(spin)
            .map_err(|_| error::config(py, &"spin must be a duration in seconds"))?;
        let mode = match xdp_mode {
            "auto" => xdp::Mode::Auto,
            "copy" => xdp::Mode::Copy,
            "zero-copy" => xdp::Mode::ZeroCopy,
            _ => return Err(error::config(py, &"xdp_mode must be auto, copy or zero-copy")),
        };
        let config = EngineConfig {
            shards,
            cpus,
            spin,
            socket: SocketOptions {
                recv_buffer: socket_buffer,
                send_buffer: socket_buffer,
                gso,
                gro,
                zerocopy,
                ..SocketOptions::default()
            },
            xdp: interface.map(|interface| xdp::Options { interface, mode }),
            log: Some(Arc::new(move |line| log.push(line))),
            place,
            live: live.unwrap_or_else(|| std::env::var_os("TQUIC_LIVE").is_none_or(|v| v != "0")),
        };
        let engine = py.detach(|| tquic_engine::Engine::new(config));
        let engine = Arc::new(engine.map_err(|e| error::engine(py, e.into()))?);
        Ok(Self { engine, messages, process: std::process::id() })
    }

    #[getter]
    fn shards(&self) -> usize {
        self.engine.shards()
    }

    /// What the threads had to say since the last call, for programs without a hub.
    fn take_messages(&self) -> Vec<String> {
        self.messages.take().into()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let stats = py.detach(|| self.engine.stats()).map_err(|e| error::engine(py, e))?;
        let shards: PyResult<Vec<_>> = stats.iter().map(|shard| shard_dict(py, shard)).collect();
        PyList::new(py, shards?)
    }

    /// The engine and its connections as they are now, as JSON.
    fn describe(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.engine.describe()).map_err(|e| error::engine(py, e))
    }

    #[pyo3(signature = (patience=0.0, code=0, reason=b"".as_slice()))]
    fn shutdown(&self, py: Python<'_>, patience: f64, code: u64, reason: &[u8]) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(patience)
            .map_err(|_| error::config(py, &"patience must be a duration in seconds"))?;
        if std::process::id() == self.process {
            py.detach(|| self.engine.shutdown(patience, code, reason));
        }
        buffer::release_dropped(py);
        Ok(())
    }
}

/// One address for the engines of several processes: made before the fork, and kept by the parent.
#[pyclass(frozen, module = "tquic._engine")]
pub struct SharedPort(Mutex<tquic_engine::SharedPort>);

impl SharedPort {
    pub fn take(&self, py: Python<'_>, engine: usize) -> PyResult<UdpSocket> {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(engine);
        socket.ok_or_else(|| error::config(py, &"this engine has no socket there, or took it"))
    }
}

#[pymethods]
impl SharedPort {
    #[new]
    #[pyo3(signature = (host, port, engines, /, *, socket_buffer=4 << 20))]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        engines: usize,
        socket_buffer: usize,
    ) -> PyResult<Self> {
        let options = SocketOptions {
            recv_buffer: socket_buffer,
            send_buffer: socket_buffer,
            ..SocketOptions::default()
        };
        let address = address(py, host, port)?;
        let shared = tquic_engine::SharedPort::bind(address, engines, &options);
        Ok(Self(Mutex::new(shared.map_err(|why| error::engine(py, why.into()))?)))
    }

    #[getter]
    fn address(&self) -> (String, u16) {
        pair(&self.0.lock().unwrap_or_else(PoisonError::into_inner).address())
    }
}

fn shard_dict<'py>(py: Python<'py>, shard: &ShardStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("connections", shard.connections)?;
    dict.set_item("accepted", shard.endpoint.accepted)?;
    dict.set_item("refused", shard.endpoint.refused)?;
    dict.set_item("retries", shard.endpoint.retries)?;
    dict.set_item("version_negotiations", shard.endpoint.version_negotiations)?;
    dict.set_item("resets_sent", shard.endpoint.resets_sent)?;
    dict.set_item("dropped", shard.endpoint.dropped)?;
    dict.set_item("datagrams_sent", shard.socket.sent_datagrams)?;
    dict.set_item("send_calls", shard.socket.send_calls)?;
    dict.set_item("datagrams_received", shard.socket.recv_datagrams)?;
    dict.set_item("receive_calls", shard.socket.recv_calls)?;
    dict.set_item("kernel_drops", shard.socket.kernel_drops)?;
    dict.set_item("zerocopy_sends", shard.socket.zerocopy_sends)?;
    dict.set_item("zerocopy_copied", shard.socket.zerocopy_copied)?;
    dict.set_item("zerocopy_fallbacks", shard.socket.zerocopy_fallbacks)?;
    dict.set_item("turns", shard.turns)?;
    dict.set_item("sleeps", shard.sleeps)?;
    dict.set_item("panics", shard.panics)?;
    dict.set_item("unsent_trains", shard.unsent_trains)?;
    dict.set_item("refused_streams", shard.refused_streams)?;
    dict.set_item("cpu_seconds", shard.cpu.map(|cpu| cpu.as_secs_f64()))?;
    dict.set_item("xdp", shard.xdp.as_ref().map(|stats| xdp_dict(py, stats)).transpose()?)?;
    Ok(dict)
}

fn xdp_dict<'py>(py: Python<'py>, stats: &xdp::Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("interface", &stats.interface)?;
    dict.set_item("queues", stats.queues)?;
    dict.set_item("native", stats.native)?;
    dict.set_item("zero_copy", stats.zero_copy)?;
    dict.set_item("up", stats.up)?;
    dict.set_item("datagrams_sent", stats.sent_datagrams)?;
    dict.set_item("datagrams_received", stats.recv_datagrams)?;
    dict.set_item("damaged", stats.damaged)?;
    dict.set_item("errors", stats.errors)?;
    Ok(dict)
}
