//! Path schedulers from objects that clang made.

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::error;

/// A scheduler that was loaded and verified.
#[pyclass(frozen, module = "tquic._engine")]
pub struct BpfProgram(pub Arc<tquic_sched::Program>);

#[pymethods]
impl BpfProgram {
    /// Loads what clang made of a scheduler; `ConfigError` says what is wrong, and where.
    #[new]
    #[pyo3(signature = (object, /))]
    fn new(py: Python<'_>, object: &[u8]) -> PyResult<Self> {
        let loaded = py.detach(|| tquic_sched::Program::load(object));
        loaded.map(|program| Self(Arc::new(program))).map_err(|error| error::config(py, &error))
    }

    /// The name that it gave itself.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// The function in C for each callback.
    #[getter]
    fn callbacks(&self) -> BTreeMap<&'static str, &str> {
        let all = tquic_sched::Callback::ALL.into_iter();
        all.filter_map(|c| Some((c.name(), self.0.function(c)?))).collect()
    }

    /// Instructions, all functions together.
    #[getter]
    fn instructions(&self) -> usize {
        self.0.instructions()
    }

    /// Bytes of memory for each connection.
    #[getter]
    fn memory(&self) -> usize {
        self.0.memory()
    }

    /// Why there is no machine code for it, if there is none.
    #[getter]
    fn interpreted_because(&self) -> Option<&str> {
        self.0.interpreted_because()
    }
}
