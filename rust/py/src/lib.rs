//! The Python extension module `tquic._engine`: thin, batched, one error funnel.
//!
//! Nothing here may assume the GIL: the module declares `gil_used = false`, so free-threaded
//! interpreters call into it from several threads at once. Classes are frozen; what changes is
//! behind locks inside. No thread of the engine ever waits for Python.
#![expect(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    reason = "what Python passes is extracted into owned values, and named there"
)]

mod bpf;
mod buffer;
mod certs;
mod connection;
mod engine;
mod error;
mod event;
mod histogram;
mod hq;
mod hub;
mod keylog;
mod many;
mod material;
mod perf;
mod planner;
mod probe;
mod ring;
#[cfg(unix)]
mod root;
mod settings;
#[cfg(target_os = "linux")]
mod socket;
mod stack;

/// Fails in a subinterpreter: what is kept in statics (classes, modules) belongs to one interpreter.
/// From Python 3.12 on the interpreter refuses the module before it comes to this.
fn only_main_interpreter(_: pyo3::Python<'_>) -> pyo3::PyResult<()> {
    // SAFETY: both need an attached thread, whose interpreter lives as long; that is the argument.
    let id = unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
    if id == 0 {
        return Ok(());
    }
    let why = "tquic works in the main interpreter only: it does not support subinterpreters";
    Err(pyo3::exceptions::PyImportError::new_err(why))
}

/// What [`stack`] is made of; the model checks in `rust/models` put theirs in place.
mod sync {
    pub use std::sync::atomic::{AtomicPtr, Ordering};
}

/// The compiled engine of the package tquic; private, its uses are in the Python files beside it.
#[pyo3::pymodule(gil_used = false)]
mod _engine {
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    #[pymodule_export]
    use crate::bpf::BpfProgram;
    #[pymodule_export]
    use crate::certs::make_certificates;
    #[pymodule_export]
    use crate::connection::Connection;
    #[pymodule_export]
    use crate::engine::{Engine, SharedPort};
    #[pymodule_export]
    use crate::histogram::Histogram;
    #[pymodule_export]
    use crate::hq::{HqFetch, HqPipe, HqServer, HqService};
    #[pymodule_export]
    use crate::hub::Hub;
    #[pymodule_export]
    use crate::many::{ConnectionSet, H3Responder, RequestRun};
    #[pymodule_export]
    use crate::material::public_key_pin;
    #[pymodule_export]
    use crate::perf::{PerfServer, perf_mismatches, perf_pattern, perf_run, raw_udp_rate};
    #[pymodule_export]
    use crate::planner::Planner;
    #[pymodule_export]
    use crate::probe::{cpu_features, crypto_backends, probe_udp, protection_rate, seal_rates};
    #[pymodule_export]
    use crate::ring::QlogRing;
    #[cfg(unix)]
    #[pymodule_export]
    use crate::root::{Root, path_parts};
    #[pymodule_export]
    use crate::settings::{ClientTls, ServerTls, TicketStore, Transport};
    #[cfg(target_os = "linux")]
    #[pymodule_export]
    use crate::socket::{Socket, finish_sockets, socket_numbers};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::only_main_interpreter(module.py())?;
        for (name, number) in crate::event::KINDS {
            module.add(*name, number)?;
        }
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// What this binary is: `version` (str), `debug` (bool, compiled with debug assertions) and
    /// `target` (str, the Rust target triple it was compiled for).
    #[pyfunction]
    fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let info = PyDict::new(py);
        info.set_item("version", env!("CARGO_PKG_VERSION"))?;
        info.set_item("debug", cfg!(debug_assertions))?;
        info.set_item("target", env!("TQUIC_TARGET"))?;
        Ok(info)
    }

    /// The probes of this module: each one's name, and the names of its arguments in order.
    #[pyfunction]
    fn probes() -> Vec<(&'static str, Vec<&'static str>)> {
        tquic_trace::probes::NAMES.iter().map(|(name, args)| (*name, args.to_vec())).collect()
    }

    /// Kinds of qlog events, and the bit of each.
    #[pyfunction]
    fn qlog_kinds() -> Vec<(&'static str, u64)> {
        tquic_core::trace::Mask::KINDS.iter().map(|(name, mask)| (*name, mask.0)).collect()
    }

    /// Rings of qlog events: those of connections that live, then those of the last that failed.
    #[pyfunction]
    fn qlog_rings() -> Vec<QlogRing> {
        tquic_trace::qlog::rings().into_iter().map(QlogRing::new).collect()
    }

    /// qlog events of this process that found no room.
    #[pyfunction]
    fn qlog_dropped() -> u64 {
        tquic_trace::qlog::dropped()
    }

    /// Where qlog goes in mode "unix", and where `tquic qlog listen` listens, if nobody says where.
    #[cfg(target_os = "linux")]
    #[pyfunction]
    fn qlog_socket() -> std::path::PathBuf {
        tquic_trace::qlog::default_socket()
    }

    /// The netlink group of qlog and the type of its messages.
    #[cfg(target_os = "linux")]
    #[pyfunction]
    fn qlog_netlink() -> (u32, u16) {
        (tquic_trace::qlog::NETLINK_GROUP, tquic_trace::qlog::NETLINK_FAMILY)
    }

    /// Python buffers that the engine holds, or has dropped and not yet given back.
    #[pyfunction]
    fn held_buffers(py: Python<'_>) -> usize {
        crate::buffer::release_dropped(py);
        crate::buffer::held()
    }
}
