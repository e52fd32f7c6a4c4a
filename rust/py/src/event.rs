//! Events as Python gets them: tuples of five, `(key, kind, a, b, c)`.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use tquic_core::cc::AckBatch;
use tquic_core::connection::PathStats;
use tquic_core::events::PathChange;
use tquic_core::path::FourTuple;
use tquic_engine::ConnectionSnapshot;
use tquic_engine::bridge::{BridgeEvent, ConnectedInfo, EventKind};
use tquic_engine::pump::{FramesOutcome, Outcome, PumpError};

use crate::connection::Connection;
use crate::hub::pair;
use crate::{buffer, error};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        /// Numbers of the kinds of events.
        pub mod kind {
            $($(#[$doc])* pub const $name: u8 = $value;)*
        }

        /// What the module exports.
        pub const KINDS: &[(&str, u8)] = &[$((stringify!($name), $value)),*];
    };
}

kinds! {
    /// `a`: text for the log.
    LOG = 0;
    /// `a`: the `Connection`, `b`: the listener, `c`: the client's address.
    ACCEPTED = 1;
    /// `a`: a dict of what was agreed on.
    CONNECTED = 2;
    /// Early data was refused and is sent again.
    ZERO_RTT_REJECTED = 3;
    /// `a`: the stream.
    STREAM_OPENED = 4;
    /// `a`: a stream of the peer that was answered already, for there is too much to do.
    REFUSED = 5;
    /// `a`: the stream, `b`: bytes or memoryview, `c`: whether the stream ends there.
    DATA = 6;
    /// `a`: the stream, `b`: bytes not acknowledged.
    WRITABLE = 7;
    /// `a`: the stream.
    FINISHED = 8;
    /// `a`: the stream, `b`: the exception.
    RESET = 9;
    /// `a`: the stream, `b`: the exception.
    STOPPED = 10;
    /// `a`: the stream, `b`: whether it was a source, `c`: (bytes, digest or None, exception or
    /// None).
    PUMPED = 11;
    /// `a`: bytes.
    DATAGRAM = 12;
    /// Datagrams are taken again.
    DATAGRAMS_WRITABLE = 13;
    /// `a`: our address, `b`: the peer's.
    MIGRATED = 14;
    /// `a`: our address, `b`: the peer's.
    PATH_FAILED = 15;
    /// `a`: bytes.
    NEW_TOKEN = 16;
    /// `a`: the mark, `b`: a dict of counters.
    STATS = 17;
    /// `a`: the exception.
    CLOSED = 18;
    /// Nothing more: the ticket is in the store.
    TICKET_RECEIVED = 19;
    /// `a`: how many pings, from the first, have been acknowledged, `b`: seconds from the packet
    /// with the last of them to its acknowledgement.
    PING_ACKED = 20;
    /// `a`: the path ID, `b`: `added`, `validated`, `available`, `backup` or `abandoned`, `c`: with
    /// the first two our address and the peer's, with the last the error code and whether the peer
    /// began.
    PATH = 21;
    /// A path that could not be opened perhaps can be now.
    PATHS_AVAILABLE = 22;
    /// `a`: the stream, of which nothing crosses now.
    HELD = 23;
    /// `a`: the stream, `b`: bytes written, `c`: (bytes of the open frame that have not come, start
    /// of a frame's header, whether the stream has ended, exception or None).
    UNFRAMED = 24;
    /// `a`: what went wrong with the application's own scheduler, `b`: whether it is done.
    SCHEDULER_FAILED = 25;
    /// `a`: the stream, `b`: whether it is what we sent, `c`: bytes of it that count for flow control
    /// now that it was given up.
    FINAL_SIZE = 26;
    /// `a`: a listener, which brings no more connections.
    UNLISTENED = 27;
}

type Event<'py> = PyResult<Bound<'py, PyTuple>>;

fn five<'py>(
    py: Python<'py>,
    key: u64,
    kind: u8,
    a: impl IntoPyObjectExt<'py>,
    b: impl IntoPyObjectExt<'py>,
    c: impl IntoPyObjectExt<'py>,
) -> Event<'py> {
    (key, kind, a.into_py_any(py)?, b.into_py_any(py)?, c.into_py_any(py)?).into_pyobject(py)
}

/// A line for the log.
pub fn log<'py>(py: Python<'py>, line: &str) -> Event<'py> {
    five(py, 0, kind::LOG, line, (), ())
}

/// One event.
pub fn tuple<'py>(
    py: Python<'py>,
    engine: &Arc<tquic_engine::Engine>,
    event: BridgeEvent,
) -> Event<'py> {
    let key = event.key.to_u64();
    let one = |kind, a: Bound<'py, PyAny>| five(py, key, kind, a, (), ());
    let none = || ().into_bound_py_any(py);
    match event.kind {
        EventKind::Data { stream, data, fin } => {
            five(py, key, kind::DATA, stream.0, buffer::export(py, data)?, fin)
        }
        EventKind::Writable { stream, buffered } => {
            five(py, key, kind::WRITABLE, stream.0, buffered, ())
        }
        EventKind::Unlistened { listener } => five(py, key, kind::UNLISTENED, listener.0, (), ()),
        EventKind::StreamOpened { stream } => five(py, key, kind::STREAM_OPENED, stream.0, (), ()),
        EventKind::Refused { stream } => five(py, key, kind::REFUSED, stream.0, (), ()),
        EventKind::Finished { stream } => five(py, key, kind::FINISHED, stream.0, (), ()),
        EventKind::Reset { stream, code, reliable_size } => {
            five(py, key, kind::RESET, stream.0, error::reset(py, code)?, reliable_size)
        }
        EventKind::Stopped { stream, code } => {
            five(py, key, kind::STOPPED, stream.0, error::stopped(py, code)?, ())
        }
        EventKind::Pumped { stream, outgoing, outcome } => {
            five(py, key, kind::PUMPED, stream.0, outgoing, outcome_tuple(py, outcome)?)
        }
        EventKind::FinalSize { stream, outgoing, size } => {
            five(py, key, kind::FINAL_SIZE, stream.0, outgoing, size)
        }
        EventKind::Held { stream } => one(kind::HELD, stream.0.into_pyobject(py)?.into_any()),
        EventKind::Unframed { stream, outcome } => {
            let bytes = outcome.bytes;
            five(py, key, kind::UNFRAMED, stream.0, bytes, unframed(py, outcome)?)
        }
        EventKind::Datagram(data) => one(kind::DATAGRAM, PyBytes::new(py, &data).into_any()),
        EventKind::DatagramsWritable => one(kind::DATAGRAMS_WRITABLE, none()?),
        EventKind::Accepted { connection, listener, remote } => {
            let connection = Connection::new(engine.clone(), connection, None);
            five(py, key, kind::ACCEPTED, connection, listener.0, pair(&remote))
        }
        EventKind::Connected(info) => one(kind::CONNECTED, connected(py, &info)?.into_any()),
        EventKind::ZeroRttRejected => one(kind::ZERO_RTT_REJECTED, none()?),
        EventKind::Migrated(to) => {
            five(py, key, kind::MIGRATED, pair(&to.local), pair(&to.remote), ())
        }
        EventKind::PathFailed(to) => {
            five(py, key, kind::PATH_FAILED, pair(&to.local), pair(&to.remote), ())
        }
        EventKind::Path { id, change } => {
            let (what, details) = path_change(py, change)?;
            five(py, key, kind::PATH, id, what, details)
        }
        EventKind::SchedulerFailed { reason, over } => {
            five(py, key, kind::SCHEDULER_FAILED, reason, over, ())
        }
        EventKind::PathsAvailable => one(kind::PATHS_AVAILABLE, none()?),
        EventKind::NewToken(token) => one(kind::NEW_TOKEN, PyBytes::new(py, &token).into_any()),
        EventKind::TicketReceived => one(kind::TICKET_RECEIVED, none()?),
        EventKind::PingAcked { pings, rtt } => {
            five(py, key, kind::PING_ACKED, pings, rtt.as_secs_f64(), ())
        }
        EventKind::Stats { tag, snapshot } => {
            five(py, key, kind::STATS, tag, stats(py, &snapshot)?, ())
        }
        EventKind::Closed(why) => one(kind::CLOSED, error::closed(py, &why)?),
    }
}

fn outcome_tuple<'py>(py: Python<'py>, outcome: Outcome) -> PyResult<Bound<'py, PyTuple>> {
    let digest = outcome.digest.map(|digest| PyBytes::new(py, &digest));
    (outcome.bytes, digest, pump_error(py, outcome.error)).into_pyobject(py)
}

fn unframed<'py>(py: Python<'py>, outcome: FramesOutcome) -> PyResult<Bound<'py, PyTuple>> {
    let header = PyBytes::new(py, &outcome.header);
    let error = pump_error(py, outcome.error);
    (outcome.remaining, header, outcome.ended, error).into_pyobject(py)
}

fn pump_error(py: Python<'_>, error: Option<PumpError>) -> Option<Py<PyBaseException>> {
    let error = match error? {
        PumpError::Write(why) => error::stream(py, why),
        PumpError::Read(why) => error::read(py, why),
        PumpError::File(file) => error::disk(file),
    };
    Some(error.into_value(py))
}

fn path_change(py: Python<'_>, change: PathChange) -> PyResult<(&'static str, Py<PyAny>)> {
    let addresses = |to: FourTuple| (pair(&to.local), pair(&to.remote)).into_py_any(py);
    Ok(match change {
        PathChange::Added(to) => ("added", addresses(to)?),
        PathChange::Validated(to) => ("validated", addresses(to)?),
        PathChange::Advised { backup } => (if backup { "backup" } else { "available" }, py.None()),
        PathChange::Abandoned { error_code, by_peer } => {
            ("abandoned", (error_code, by_peer).into_py_any(py)?)
        }
    })
}

fn connected<'py>(py: Python<'py>, info: &ConnectedInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("alpn", String::from_utf8_lossy(&info.alpn))?;
    dict.set_item("cipher", info.cipher)?;
    dict.set_item("group", info.group)?;
    dict.set_item("version", info.version)?;
    dict.set_item("resumed", info.resumed)?;
    dict.set_item("early_data", info.early_data)?;
    dict.set_item("server_name", info.server_name.as_deref())?;
    let certificates = info.certificates.iter().map(|der| PyBytes::new(py, der));
    dict.set_item("peer_certificates", PyTuple::new(py, certificates)?)?;
    dict.set_item("multipath", info.multipath)?;
    dict.set_item("local", info.addresses.map(|a| pair(&a.local)))?;
    dict.set_item("remote", info.addresses.map(|a| pair(&a.remote)))?;
    dict.set_item("original_dcid", PyBytes::new(py, &info.original_dcid))?;
    Ok(dict)
}

fn stats<'py>(py: Python<'py>, snapshot: &ConnectionSnapshot) -> PyResult<Bound<'py, PyDict>> {
    let (c, d) = (&snapshot.connection, &snapshot.datagrams);
    let dict = PyDict::new(py);
    for (name, value) in [
        ("packets_sent", c.packets_sent),
        ("packets_received", c.packets_received),
        ("udp_datagrams_sent", c.datagrams_sent),
        ("udp_datagrams_received", c.datagrams_received),
        ("bytes_sent", c.bytes_sent),
        ("bytes_received", c.bytes_received),
        ("trains_sent", c.trains_sent),
        ("duplicates", c.duplicates),
        ("dropped", c.dropped),
        ("undecryptable", c.undecryptable),
        ("acks_sent", c.acks_sent),
        ("key_updates", c.key_updates),
        ("zero_rtt_bytes", c.zero_rtt_bytes),
        ("reinjected_bytes", c.reinjected_bytes),
        ("scheduler_failures", c.scheduler_failures),
        ("datagrams_sent", d.sent),
        ("datagrams_acked", d.acked),
        ("datagrams_lost", d.lost),
        ("datagrams_received", d.received),
        ("datagrams_dropped", d.dropped_unsent + d.dropped_too_large + d.dropped_unread),
        ("qlog_events", c.events.told),
        ("qlog_dropped", c.events.lost),
    ] {
        dict.set_item(name, value)?;
    }
    let paths: PyResult<Vec<_>> = snapshot.paths.iter().map(|path| path_dict(py, path)).collect();
    dict.set_item("paths", PyList::new(py, paths?)?)?;
    Ok(dict)
}

fn path_dict<'py>(py: Python<'py>, path: &PathStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", path.id)?;
    dict.set_item("state", path.state)?;
    dict.set_item("backup", path.backup)?;
    dict.set_item("bytes_sent", path.bytes_sent)?;
    dict.set_item("bytes_received", path.bytes_received)?;
    dict.set_item("local", pair(&path.addresses.local))?;
    dict.set_item("remote", pair(&path.addresses.remote))?;
    dict.set_item("srtt", path.srtt.as_secs_f64())?;
    dict.set_item("rttvar", path.rttvar.as_secs_f64())?;
    dict.set_item("min_rtt", path.min_rtt.as_secs_f64())?;
    dict.set_item("congestion", path.congestion.name())?;
    dict.set_item("congestion_state", path.phase.name())?;
    dict.set_item("cwnd", path.cwnd)?;
    dict.set_item("ssthresh", path.ssthresh)?;
    dict.set_item("pacing_rate", path.pacing_rate)?;
    dict.set_item("delivery_rate", path.delivery_rate)?;
    dict.set_item("bytes_in_flight", path.in_flight)?;
    dict.set_item("lost_packets", path.lost_packets)?;
    dict.set_item("spurious_losses", path.spurious_losses)?;
    dict.set_item("probe_timeouts", path.ptos)?;
    dict.set_item("congestion_events", path.congestion_events)?;
    dict.set_item("mtu", path.mtu)?;
    dict.set_item("ecn_capable", path.ecn_capable)?;
    dict.set_item("ecn_ce", path.ecn_ce)?;
    dict.set_item("classic_ecn_suspected", path.classic_ecn_suspected)?;
    dict.set_item("controller_batches", path.external.batches)?;
    dict.set_item("controller_failures", path.external.failures)?;
    dict.set_item("controller_overdue", path.external.overdue)?;
    Ok(dict)
}

/// What happened on a path, for a controller in Python.
pub fn batch_dict<'py>(py: Python<'py>, batch: &AckBatch) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in [
        ("sequence", batch.sequence),
        ("acked_bytes", batch.acked_bytes),
        ("lost_bytes", batch.lost_bytes),
        ("lost_packets", batch.lost_packets),
        ("ce_packets", batch.ce_packets),
        ("ect_packets", batch.ect_packets),
        ("acks", batch.acks),
        ("rounds", batch.rounds),
        ("bytes_in_flight", batch.in_flight),
        ("window", batch.window),
        ("datagram_size", batch.datagram_size),
    ] {
        dict.set_item(name, value)?;
    }
    dict.set_item("time", batch.now.as_nanos() as f64 / 1e9)?;
    dict.set_item("rtt", batch.rtt.map(|rtt| rtt.as_secs_f64()))?;
    dict.set_item("smoothed_rtt", batch.smoothed_rtt.as_secs_f64())?;
    dict.set_item("min_rtt", batch.min_rtt.as_secs_f64())?;
    dict.set_item("delivery_rate", batch.delivery_rate)?;
    dict.set_item("app_limited", batch.app_limited)?;
    dict.set_item("persistent_congestion", batch.persistent_congestion)?;
    Ok(dict)
}
