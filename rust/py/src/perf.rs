//! Measuring: the perf protocol of the engine, and what the machine's loopback carries without it.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use tquic_engine::Listening;
use tquic_engine::perf::{
    self, Bulk, ClientOptions, DatagramLoad, HandshakeKind, Handshakes, PerfError, Report,
    Requests, Scenario,
};
use tquic_engine::pump::Checker;

use crate::engine::Engine;
use crate::hub::pair;
use crate::settings::{AcceptSettings, ClientTls, ServerTls, TicketStore, Transport, address};
use crate::{buffer, error};

/// Answers perf clients.
#[pyclass(frozen, module = "tquic._engine")]
pub struct PerfServer {
    engine: Arc<tquic_engine::Engine>,
    listening: Listening,
    counters: Arc<perf::ServerCounters>,
}

#[pymethods]
impl PerfServer {
    #[new]
    #[pyo3(signature = (engine, config, /, *, tls, transport, host, port))]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        config: AcceptSettings,
        tls: &ServerTls,
        transport: &Transport,
        host: &str,
        port: u16,
    ) -> PyResult<Self> {
        let request = config.listen_at(py, tls, transport, host, port)?;
        let counters = Arc::<perf::ServerCounters>::default();
        let acceptor = perf::Server::acceptor(counters.clone());
        let listening = py.detach(|| engine.engine.listen(&request, acceptor));
        let listening = listening.map_err(|e| error::engine(py, e))?;
        Ok(Self { engine: engine.engine.clone(), listening, counters })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.engine.unlisten(self.listening.id));
    }

    #[getter]
    fn addresses(&self) -> Vec<(String, u16)> {
        self.listening.addresses.iter().map(pair).collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
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
}

/// What a perf client does: attributes of a Python object, exactly one of the first four of them
/// the one that counts.
#[derive(FromPyObject)]
pub struct Task {
    requests: Option<u64>,
    handshakes: Option<u64>,
    datagrams: Option<u64>,
    download: Option<u64>,
    upload: Option<u64>,
    duration: Option<f64>,
    streams: usize,
    inflight: usize,
    response: u64,
    handshake_kind: String,
    datagram_size: usize,
    connections: usize,
}

impl Task {
    fn scenario(self, py: Python<'_>) -> PyResult<Scenario> {
        let duration = self.duration.map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| error::config(py, &"duration must be a time in seconds"))
        });
        let duration = duration.transpose()?;
        if let Some(count) = self.handshakes {
            let kind = match self.handshake_kind.as_str() {
                "full" => HandshakeKind::Full,
                "resume" => HandshakeKind::Resumed,
                "0rtt" => HandshakeKind::ZeroRtt,
                "first-byte" => HandshakeKind::FirstByte,
                other => return Err(error::config(py, &format!("no handshake is {other:?}"))),
            };
            return Ok(Scenario::Handshakes(Handshakes { count, kind }));
        }
        if let Some(count) = self.datagrams {
            return Ok(Scenario::Datagrams(DatagramLoad { count, size: self.datagram_size }));
        }
        if self.requests.is_some() {
            return Ok(Scenario::Requests(Requests {
                total: self.requests,
                inflight: self.inflight,
                response: self.response,
                duration,
            }));
        }
        let Self { download, upload, streams, .. } = self;
        Ok(Scenario::Bulk(Bulk { download, upload, streams, duration }))
    }
}

/// Does the task against a perf server and gives the report. Blocks without the GIL; ends early,
/// with an exception, when the engine is shut down.
#[pyfunction]
#[pyo3(signature = (engine, task, /, *, tls, transport, server_name, host, port, tickets=None))]
#[allow(clippy::too_many_arguments, reason = "keywords in Python")]
pub fn perf_run<'py>(
    py: Python<'py>,
    engine: &Engine,
    task: Task,
    tls: &ClientTls,
    transport: &Transport,
    server_name: String,
    host: &str,
    port: u16,
    tickets: Option<Py<TicketStore>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = ClientOptions {
        request: transport.request(address(py, host, port)?, server_name, tls),
        tickets: tickets.map(|store| store.get().0.clone()),
        connections: task.connections,
        scenario: task.scenario(py)?,
    };
    match py.detach(|| perf::run(&engine.engine, &options)) {
        Ok(report) => report_dict(py, &report),
        Err(PerfError::Connection(e)) => Err(PyErr::from_value(error::closed(py, &e)?)),
        Err(PerfError::Engine(e)) => Err(error::engine(py, e)),
        Err(PerfError::Unsupported(why)) => Err(error::config(py, &why)),
    }
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
    let latency = report.latency_us.map(|latency| {
        let dict = PyDict::new(py);
        dict.set_item("p50", latency.p50)?;
        dict.set_item("p90", latency.p90)?;
        dict.set_item("p99", latency.p99)?;
        dict.set_item("p99_9", latency.p99_9)?;
        dict.set_item("max", latency.max)?;
        PyResult::Ok(dict)
    });
    dict.set_item("latency_us", latency.transpose()?)?;
    dict.set_item("paths", path_dicts(py, &report.paths)?)?;
    Ok(dict)
}

/// What reports say about paths.
pub fn path_dicts<'py>(
    py: Python<'py>,
    paths: &[perf::PathReport],
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let dict = |path: &perf::PathReport| {
        let dict = PyDict::new(py);
        dict.set_item("id", path.id)?;
        dict.set_item("local", path.local.to_string())?;
        dict.set_item("remote", path.remote.to_string())?;
        dict.set_item("bytes", path.bytes)?;
        dict.set_item("srtt_us", path.srtt_us)?;
        dict.set_item("lost", path.lost)?;
        dict.set_item("mtu", path.mtu)?;
        Ok(dict)
    };
    paths.iter().map(dict).collect()
}

/// What loopback carries as plain UDP datagrams in trains (GSO and GRO), for `seconds`: Gbit/s sent
/// and received, and datagrams per system call.
#[pyfunction]
pub fn raw_udp_rate(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyDict>> {
    let duration = Duration::try_from_secs_f64(seconds)
        .map_err(|_| error::config(py, &"seconds must be a duration in seconds"))?;
    let rate = py.detach(|| tquic_net::udp::raw_rate(duration)).map_err(error::os)?;
    let dict = PyDict::new(py);
    dict.set_item("sent_gbps", rate.sent_gbps)?;
    dict.set_item("received_gbps", rate.received_gbps)?;
    dict.set_item("packets_per_send_call", rate.datagrams_per_send())?;
    dict.set_item("packets_per_receive_call", rate.datagrams_per_recv())?;
    Ok(dict)
}

/// One period of the byte pattern that perf clients and servers send: the byte at offset `n` of a
/// transfer is that at `n` modulo the length.
#[pyfunction]
pub fn perf_pattern(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &tquic_engine::pump::pattern_slice(0, u64::MAX))
}

/// How many bytes of `data` are not those of the pattern at `offset`.
#[pyfunction]
#[pyo3(signature = (data, offset, /))]
pub fn perf_mismatches(data: &Bound<'_, PyAny>, offset: u64) -> PyResult<u64> {
    let (bytes, _) = buffer::borrow(data, true, 0, || usize::MAX)?;
    let mut checker = Checker::default();
    checker.check(offset, &bytes);
    Ok(checker.mismatches)
}
