//! The perf protocol, both ends native: no Python runs while bytes do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use tquic_engine::perf::{
    self, Bulk, ClientOptions, DatagramLoad, HandshakeKind, Handshakes, Report, Requests, Scenario,
    ServerCounters,
};
use tquic_engine::{ConnectRequest, ListenRequest, ListenerId};

use crate::engine::Engine;
use crate::error;
use crate::hub::pair;
use crate::settings::{AcceptSettings, ClientTls, ServerTls, TicketStore, Transport, address};

/// The dataclasses of `tquic.perf`, told apart by their attributes.
#[derive(FromPyObject)]
pub enum Load {
    Bulk {
        download: Option<u64>,
        upload: Option<u64>,
        streams: usize,
        duration: Option<f64>,
    },
    Requests {
        total: Option<u64>,
        inflight: usize,
        response: u64,
        duration: Option<f64>,
    },
    Handshakes {
        count: u64,
        kind: String,
    },
    Datagrams {
        count: u64,
        size: usize,
    },
}

impl Load {
    fn build(self, py: Python<'_>) -> PyResult<Scenario> {
        let duration = |seconds: Option<f64>| {
            let duration = seconds.map(Duration::try_from_secs_f64).transpose();
            duration.map_err(|_| error::config(py, &"duration must be in seconds"))
        };
        Ok(match self {
            Self::Bulk { download, upload, streams, duration: d } => {
                Scenario::Bulk(Bulk { download, upload, streams, duration: duration(d)? })
            }
            Self::Requests { total, inflight, response, duration: d } => {
                Scenario::Requests(Requests { total, inflight, response, duration: duration(d)? })
            }
            Self::Handshakes { count, kind } => {
                let kind = match kind.as_str() {
                    "full" => HandshakeKind::Full,
                    "resumed" => HandshakeKind::Resumed,
                    "0rtt" => HandshakeKind::ZeroRtt,
                    other => {
                        let why = format!("kind: {other:?} is not full, resumed or 0rtt");
                        return Err(error::config(py, &why));
                    }
                };
                Scenario::Handshakes(Handshakes { count, kind })
            }
            Self::Datagrams { count, size } => Scenario::Datagrams(DatagramLoad { count, size }),
        })
    }
}

/// Runs a measurement and waits for its end, without the GIL. Answers a dict.
#[pyfunction]
#[pyo3(signature = (engine, remote, server_name, transport, tls, load, /, *, tickets=None, connections=1, local=None, interface=None))]
#[expect(clippy::too_many_arguments, reason = "named in Python; each is one setting")]
pub fn perf_client<'py>(
    py: Python<'py>,
    engine: &Bound<'py, Engine>,
    remote: (String, u16),
    server_name: String,
    transport: &Bound<'py, Transport>,
    tls: &Bound<'py, ClientTls>,
    load: Load,
    tickets: Option<Py<TicketStore>>,
    connections: usize,
    local: Option<(String, u16)>,
    interface: Option<String>,
) -> PyResult<Bound<'py, PyDict>> {
    let local = local.map(|(host, port)| address(py, &host, port)).transpose()?;
    let options = ClientOptions {
        request: ConnectRequest {
            remote: address(py, &remote.0, remote.1)?,
            local,
            interface,
            server_name,
            transport: transport.get().0.clone(),
            tls: tls.get().0.clone(),
            token: Vec::new(),
        },
        tickets: tickets.map(|store| store.get().0.clone()),
        connections,
        scenario: load.build(py)?,
    };
    let engine = engine.get().engine.clone();
    let report = py.detach(|| perf::run(&engine, &options));
    report_dict(py, &report.map_err(|e| error::perf(py, e))?)
}

fn report_dict<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("bytes", report.bytes)?;
    dict.set_item("seconds", report.seconds)?;
    dict.set_item("gbps", report.gbps)?;
    dict.set_item("verified", report.verified)?;
    dict.set_item("packets_sent", report.packets_sent)?;
    dict.set_item("packets_received", report.packets_received)?;
    dict.set_item("packets_per_send_call", report.packets_per_send_call)?;
    dict.set_item("packets_per_receive_call", report.packets_per_receive_call)?;
    dict.set_item("cpu_seconds", report.cpu_seconds)?;
    dict.set_item("max_rss_bytes", report.max_rss_bytes)?;
    dict.set_item("lost_packets", report.lost_packets)?;
    dict.set_item("rate_per_second", report.rate_per_second)?;
    let latency = match &report.latency_us {
        None => None,
        Some(latency) => {
            let parts = PyDict::new(py);
            parts.set_item("p50", latency.p50)?;
            parts.set_item("p90", latency.p90)?;
            parts.set_item("p99", latency.p99)?;
            parts.set_item("p99_9", latency.p99_9)?;
            parts.set_item("max", latency.max)?;
            Some(parts)
        }
    };
    dict.set_item("latency_us", latency)?;
    let paths = PyList::empty(py);
    for path in &report.paths {
        let one = PyDict::new(py);
        one.set_item("id", path.id)?;
        one.set_item("local", pair(&path.local))?;
        one.set_item("remote", pair(&path.remote))?;
        one.set_item("bytes", path.bytes)?;
        one.set_item("srtt_us", path.srtt_us)?;
        one.set_item("lost", path.lost)?;
        one.set_item("mtu", path.mtu)?;
        paths.append(one)?;
    }
    dict.set_item("paths", paths)?;
    Ok(dict)
}

/// A perf server, which listens as long as this object lives.
#[pyclass(frozen, module = "tquic._engine")]
pub struct PerfServer {
    engine: Arc<tquic_engine::Engine>,
    counters: Arc<ServerCounters>,
    listener: ListenerId,
    addresses: Vec<SocketAddr>,
}

#[pymethods]
impl PerfServer {
    #[new]
    #[pyo3(signature = (engine, host, port, config, transport, tls, /))]
    fn new(
        py: Python<'_>,
        engine: &Bound<'_, Engine>,
        host: &str,
        port: u16,
        config: AcceptSettings,
        transport: &Bound<'_, Transport>,
        tls: &Bound<'_, ServerTls>,
    ) -> PyResult<Self> {
        let (accept, more, token_key) = config.build(py, tls.get(), transport.get())?;
        let request = ListenRequest { address: address(py, host, port)?, more, accept, token_key };
        let engine = engine.get().engine.clone();
        let counters = Arc::<ServerCounters>::default();
        let acceptor = perf::Server::acceptor(counters.clone());
        let listening = py.detach(|| engine.listen(&request, acceptor));
        let listening = listening.map_err(|e| error::engine(py, e))?;
        let (listener, addresses) = (listening.id, listening.addresses);
        Ok(Self { engine, counters, listener, addresses })
    }

    #[getter]
    fn addresses(&self) -> Vec<(String, u16)> {
        self.addresses.iter().map(pair).collect()
    }

    /// What was served so far.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = self.counters.totals();
        let dict = PyDict::new(py);
        dict.set_item("connections", totals.connections)?;
        dict.set_item("requests", totals.requests)?;
        dict.set_item("bytes_received", totals.received)?;
        dict.set_item("mismatches", totals.mismatches)?;
        dict.set_item("datagrams", totals.datagrams)?;
        dict.set_item("datagram_bytes", totals.datagram_bytes)?;
        Ok(dict)
    }

    /// Accepts no more connections; those that are there go on.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.engine.unlisten(self.listener));
    }
}

impl Drop for PerfServer {
    fn drop(&mut self) {
        self.engine.unlisten(self.listener);
    }
}
