//! The Python extension module `tquic._engine`: thin, batched, one error funnel.
//!
//! Nothing here may assume the GIL: the module declares `gil_used = false`, so free-threaded
//! interpreters call into it from several threads at once.

use pyo3::prelude::*;
use pyo3::types::PyDict;

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

/// The compiled engine of the package tquic; private, re-exported by `tquic`.
#[pymodule(gil_used = false)]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(build_info, module)?)?;
    Ok(())
}
