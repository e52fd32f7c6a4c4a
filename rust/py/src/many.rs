//! Many connections at once: Python is called per batch, never per packet or event.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyMemoryView};

use tquic_engine::many::{self, ConnectMany, LatencyLog, Pacing, Plan, Run, Sources};
use tquic_engine::{ConnectRequest, Response, Template};

use crate::engine::Engine;
use crate::histogram::Histogram;
use crate::settings::{ClientTls, Transport, address};
use crate::{buffer, error};

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
    #[new]
    #[pyo3(signature = (engine, remote, count, server_name, transport, tls, /, *, local_addresses, sockets, handshakes, rate, events, capacity))]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        remote: (String, u16),
        count: u32,
        server_name: String,
        transport: &Bound<'_, Transport>,
        tls: &Bound<'_, ClientTls>,
        local_addresses: Vec<String>,
        sockets: u16,
        handshakes: usize,
        rate: Option<f64>,
        events: u8,
        capacity: usize,
    ) -> PyResult<Self> {
        let remote = address(py, &remote.0, remote.1)?;
        let addresses: PyResult<Vec<IpAddr>> =
            local_addresses.iter().map(|host| Ok(address(py, host, 0)?.ip())).collect();
        let request = ConnectRequest {
            transport: transport.get().0.clone(),
            ..ConnectRequest::new(remote, server_name, tls.get().0.clone())
        };
        // The clock that Python programs compare with.
        let clock: i64 = py.import("time")?.call_method0("monotonic_ns")?.extract()?;
        let options = ConnectMany {
            request,
            count,
            sources: Sources { addresses: addresses?, sockets },
            handshakes,
            rate,
            events,
            capacity,
            clock_offset: clock.saturating_sub_unsigned(many::now()),
        };
        let set = py.detach(|| many::ConnectionSet::connect(&engine.engine, &options));
        let set = set.map_err(|e| error::engine(py, e))?;
        let process = std::process::id();
        Ok(Self { set: Arc::new(set), _engine: engine.engine.clone(), process })
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

    /// Up to `max` events, the oldest first, as records of 64 bytes.
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

    /// Connections: waiting, connecting, open, closed, and the closed ones that never were open.
    fn counts(&self) -> (usize, usize, usize, usize, usize) {
        let counts = self.set.counts();
        (counts.waiting, counts.connecting, counts.open, counts.closed, counts.failed)
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

    #[pyo3(signature = (requests, /, *, connections, count, duration, rate, poisson, seed, in_flight, response, expect, latencies))]
    fn requests(
        &self,
        py: Python<'_>,
        requests: Vec<(Bound<'_, PyAny>, u64)>,
        connections: Option<Vec<u32>>,
        count: Option<u64>,
        duration: Option<f64>,
        rate: Option<f64>,
        poisson: bool,
        seed: u64,
        in_flight: usize,
        response: &str,
        expect: Option<u64>,
        latencies: usize,
    ) -> PyResult<RequestRun> {
        buffer::release_dropped(py);
        let templates = requests.iter().map(|(head, pattern)| {
            let (head, _) = buffer::borrow(head, false, 0, usize::MAX)?;
            PyResult::Ok(Template { head, pattern: *pattern })
        });
        let response = match response {
            "discard" => Response::Discard,
            "hash" => Response::Hash,
            "verify" => Response::Verify,
            other => return Err(error::config(py, &format!("no way to take responses: {other}"))),
        };
        let plan = Plan {
            templates: templates.collect::<PyResult<_>>()?,
            count,
            duration: patience(py, duration)?,
            pacing: match rate {
                None => Pacing::Closed,
                Some(rate) => Pacing::Open { rate, poisson, seed },
            },
            in_flight,
            response,
            expected: expect,
            latencies,
        };
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
        Ok(dict)
    }

    fn histogram(&self) -> Histogram {
        self.run.latencies().into()
    }

    fn service_histogram(&self) -> Histogram {
        self.run.service().into()
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
