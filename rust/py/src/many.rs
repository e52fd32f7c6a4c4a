//! Many connections at once: Python is called per batch, never per packet or event.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyMemoryView};

use tquic_engine::many::{self, ConnectMany, LatencyLog, Pacing, Plan, Run, Sources, Variant};
use tquic_engine::{ConnectRequest, Listening, Response, Template, h3};

use crate::engine::Engine;
use crate::histogram::Histogram;
use crate::hub::pair;
use crate::settings::{AcceptSettings, ClientTls, ServerTls, Transport, address};
use crate::{buffer, error};

/// Requests to be made: attributes of a Python object.
#[derive(FromPyObject)]
pub struct Requests<'py> {
    /// Bytes, and how many of the pattern follow them.
    requests: Vec<(Bound<'py, PyAny>, u64)>,
    count: Option<u64>,
    duration: Option<f64>,
    rate: Option<f64>,
    ramp: f64,
    poisson: bool,
    seed: u64,
    in_flight: usize,
    response: String,
    expect: Option<u64>,
    timeout: Option<f64>,
    latencies: usize,
}

impl Requests<'_> {
    fn plan(self, py: Python<'_>) -> PyResult<Plan> {
        buffer::release_dropped(py);
        let templates = self.requests.iter().map(|(head, pattern)| {
            let (head, _) = buffer::borrow(head, false, 0, || usize::MAX)?;
            PyResult::Ok(Template { head, pattern: *pattern })
        });
        let response = match self.response.as_str() {
            "discard" => Response::Discard,
            "hash" => Response::Hash,
            "verify" => Response::Verify,
            other => return Err(error::config(py, &format!("no way to take responses: {other}"))),
        };
        let ramp = patience(py, Some(self.ramp))?.unwrap_or_default();
        let Self { poisson, seed, .. } = self;
        Ok(Plan {
            templates: templates.collect::<PyResult<_>>()?,
            count: self.count,
            duration: patience(py, self.duration)?,
            pacing: match self.rate {
                None => Pacing::Closed,
                Some(rate) => Pacing::Open { rate, ramp, poisson, seed },
            },
            in_flight: self.in_flight,
            response,
            expected: self.expect,
            patience: patience(py, self.timeout)?,
            latencies: self.latencies,
        })
    }
}

/// Connections to be made: attributes of a Python object.
#[derive(FromPyObject)]
pub struct Connections {
    count: u32,
    server_name: String,
    local_addresses: Vec<String>,
    sockets: u16,
    handshakes: usize,
    rate: Option<f64>,
    events: u8,
    capacity: usize,
    http: bool,
    /// Settings of other ways to connect, and the part of the connections that takes each.
    variants: Vec<(f64, Py<Transport>, Py<ClientTls>)>,
}

/// Connections of one owner.
#[pyclass(frozen, module = "tquic._engine")]
pub struct ConnectionSet {
    set: Arc<many::ConnectionSet>,
    /// Keeps the threads.
    _engine: Arc<tquic_engine::Engine>,
    process: u32,
}

impl Drop for ConnectionSet {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // After a fork they are the parent's.
            std::mem::forget(self.set.clone());
        }
    }
}

/// A wait in seconds.
fn patience(py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Duration>> {
    let timeout = timeout.map(Duration::try_from_secs_f64).transpose();
    timeout.map_err(|_| error::config(py, &"timeout must be in seconds"))
}

#[pymethods]
impl ConnectionSet {
    /// With `requests` each connection makes them and goes, and there is a run of them.
    #[staticmethod]
    #[pyo3(signature = (engine, remote, connections, transport, tls, requests=None, /))]
    fn connect(
        py: Python<'_>,
        engine: &Engine,
        remote: (String, u16),
        connections: Connections,
        transport: &Bound<'_, Transport>,
        tls: &Bound<'_, ClientTls>,
        requests: Option<Requests<'_>>,
    ) -> PyResult<(Self, Option<RequestRun>)> {
        let remote = address(py, &remote.0, remote.1)?;
        let addresses: PyResult<Vec<IpAddr>> =
            connections.local_addresses.iter().map(|host| Ok(address(py, host, 0)?.ip())).collect();
        let request = |transport: &Transport, tls: &ClientTls| ConnectRequest {
            transport: transport.0.clone(),
            ..ConnectRequest::new(remote, connections.server_name.clone(), tls.0.clone())
        };
        let variants = connections.variants.iter().map(|(share, transport, tls)| Variant {
            share: *share,
            request: request(transport.get(), tls.get()),
        });
        // The clock that Python programs compare with.
        let clock: i64 = py.import("time")?.call_method0("monotonic_ns")?.extract()?;
        let options = ConnectMany {
            request: request(transport.get(), tls.get()),
            count: connections.count,
            sources: Sources { addresses: addresses?, sockets: connections.sockets },
            handshakes: connections.handshakes,
            rate: connections.rate,
            events: connections.events,
            capacity: connections.capacity,
            clock_offset: clock.saturating_sub_unsigned(many::now()),
            http: connections.http,
            variants: variants.collect(),
        };
        let plan = requests.map(|requests| requests.plan(py)).transpose()?;
        let begun = py.detach(|| match plan {
            None => many::ConnectionSet::connect(&engine.engine, &options).map(|set| (set, None)),
            Some(plan) => many::ConnectionSet::visit(&engine.engine, &options, plan)
                .map(|(set, run)| (set, Some(run))),
        });
        let (set, run) = begun.map_err(|e| error::engine(py, e))?;
        let set = Arc::new(set);
        let run = run.map(|run| RequestRun { run, set: set.clone() });
        Ok((Self { set, _engine: engine.engine.clone(), process: std::process::id() }, run))
    }

    /// Readable while events wait.
    #[cfg(unix)]
    fn fileno(&self) -> i32 {
        use std::os::fd::{AsFd, AsRawFd};
        self.set.as_fd().as_raw_fd()
    }

    /// Nothing can be polled on this system.
    #[cfg(not(unix))]
    fn fileno(&self) -> i32 {
        -1
    }

    /// Up to `max` events, the oldest first, as records of 80 bytes.
    #[pyo3(signature = (max, /))]
    fn poll<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyMemoryView>> {
        buffer::release_dropped(py);
        let records = py.detach(|| self.set.poll(max));
        buffer::view(py, records.into())
    }

    /// Waits for events without the GIL: false if `timeout` seconds passed without any.
    #[pyo3(signature = (timeout=None, /))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = patience(py, timeout)?;
        Ok(py.detach(|| self.set.wait(timeout)))
    }

    /// Waits until each connection is open or over: false if `timeout` seconds passed before.
    #[pyo3(signature = (timeout=None, /))]
    fn wait_connected(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = patience(py, timeout)?;
        Ok(py.detach(|| self.set.wait_connected(timeout)))
    }

    /// Connections: waiting, connecting, open, closed, and the closed ones that never were open;
    /// handshakes that resumed a session, and those with 0-RTT.
    fn counts(&self) -> (usize, usize, usize, usize, usize, usize, usize) {
        let c = self.set.counts();
        (c.waiting, c.connecting, c.open, c.closed, c.failed, c.resumed, c.early)
    }

    /// Events that found no room.
    fn dropped(&self) -> u64 {
        self.set.dropped()
    }

    fn handshakes(&self) -> Histogram {
        self.set.handshakes().into()
    }

    fn reasons(&self) -> HashMap<String, u64> {
        self.set.reasons().into_iter().collect()
    }

    /// Begins a run over these connections, or all.
    #[pyo3(signature = (requests, connections=None, /))]
    fn requests(
        &self,
        py: Python<'_>,
        requests: Requests<'_>,
        connections: Option<Vec<u32>>,
    ) -> PyResult<RequestRun> {
        let plan = requests.plan(py)?;
        let run = py.detach(|| self.set.requests(plan, connections.as_deref()));
        let run = run.map_err(|e| match e {
            tquic_engine::EngineError::Refused(why) => error::exception(py, "EngineError", &why),
            other => error::engine(py, other),
        })?;
        Ok(RequestRun { run, set: self.set.clone() })
    }

    #[pyo3(signature = (code, reason, connections, /))]
    fn close(
        &self,
        py: Python<'_>,
        code: u64,
        reason: &[u8],
        connections: Option<Vec<u32>>,
    ) -> PyResult<()> {
        buffer::release_dropped(py);
        let closed = py.detach(|| self.set.close(code, reason, connections.as_deref()));
        closed.map_err(|e| error::engine(py, e))
    }
}

/// Requests under way.
#[pyclass(frozen, module = "tquic._engine")]
pub struct RequestRun {
    run: Run,
    set: Arc<many::ConnectionSet>,
}

#[pymethods]
impl RequestRun {
    /// As in events.
    #[getter]
    fn number(&self) -> u16 {
        self.run.number()
    }

    #[getter]
    fn done(&self) -> bool {
        self.run.is_done()
    }

    /// Waits for the end without the GIL: false if `timeout` seconds passed before.
    #[pyo3(signature = (timeout=None, /))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = patience(py, timeout)?;
        Ok(py.detach(|| self.run.wait(timeout)))
    }

    /// Begins no more requests.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.set.stop(&self.run)).map_err(|e| error::engine(py, e))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.run.stats();
        let dict = PyDict::new(py);
        dict.set_item("connections", stats.connections)?;
        dict.set_item("requests", stats.requests)?;
        dict.set_item("responses", stats.responses)?;
        dict.set_item("failed", stats.failed)?;
        dict.set_item("bytes_sent", stats.bytes_sent)?;
        dict.set_item("bytes_received", stats.bytes_received)?;
        dict.set_item("mismatches", stats.mismatches)?;
        dict.set_item("started_ns", stats.started)?;
        dict.set_item("ended_ns", stats.ended)?;
        dict.set_item("statuses", stats.statuses.into_iter().collect::<HashMap<_, _>>())?;
        let causes: HashMap<usize, u64> =
            stats.causes.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        dict.set_item("causes", causes)?;
        Ok(dict)
    }

    fn histogram(&self) -> Histogram {
        self.run.latencies().into()
    }

    fn service_histogram(&self) -> Histogram {
        self.run.service().into()
    }

    fn first_byte_histogram(&self) -> Histogram {
        self.run.first_byte().into()
    }

    /// Latencies so far, each an int64 of nanoseconds, where they are.
    fn latencies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        buffer::view(py, Bytes::from_owner(Latencies::of(&self.run)))
    }
}

/// The latencies of a run that were written when it was made.
struct Latencies<L> {
    log: L,
    len: usize,
}

impl<L: AsRef<LatencyLog>> Latencies<L> {
    fn new(log: L) -> Self {
        Self { len: log.as_ref().written().len(), log }
    }
}

impl Latencies<()> {
    fn of(run: &Run) -> Latencies<impl AsRef<LatencyLog> + Send + Sync + use<>> {
        Latencies::new(run.log())
    }
}

impl<L: AsRef<LatencyLog>> AsRef<[u8]> for Latencies<L> {
    fn as_ref(&self) -> &[u8] {
        let written = self.log.as_ref().written().get(..self.len).unwrap_or_default();
        // SAFETY: atomics lie in memory as their integers do; those that count as written are never
        // written again, and `self` keeps them.
        unsafe { std::slice::from_raw_parts(written.as_ptr().cast(), size_of_val(written)) }
    }
}

/// An HTTP/3 server that answers every request with the same frames, in the engine's threads.
#[pyclass(frozen, module = "tquic._engine")]
pub struct H3Responder {
    listening: Listening,
}

#[pymethods]
impl H3Responder {
    #[new]
    #[pyo3(signature = (engine, config, response, /, *, tls, transport, host, port))]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        config: AcceptSettings,
        response: Vec<u8>,
        tls: &ServerTls,
        transport: &Transport,
        host: &str,
        port: u16,
    ) -> PyResult<Self> {
        let request = config.listen_at(py, tls, transport, host, port)?;
        let acceptor = h3::Responder::acceptor(response.into());
        let listening = py.detach(|| engine.engine.listen(&request, acceptor));
        Ok(Self { listening: listening.map_err(|e| error::engine(py, e))? })
    }

    #[getter]
    fn addresses(&self) -> Vec<(String, u16)> {
        self.listening.addresses.iter().map(pair).collect()
    }
}
