//! A connection's newest qlog events, held in memory.

use std::sync::Arc;

use pyo3::prelude::*;

use tquic_trace::qlog::Ring;

/// The ring of a connection; `tquic.qlog.Ring` shows it.
#[pyclass(frozen, module = "tquic._engine")]
pub struct QlogRing(Arc<Ring>);

impl QlogRing {
    pub fn new(ring: Arc<Ring>) -> Self {
        Self(ring)
    }
}

#[pymethods]
impl QlogRing {
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    #[getter]
    fn is_client(&self) -> bool {
        self.0.is_client()
    }

    #[getter]
    fn failed(&self) -> bool {
        self.0.has_failed()
    }

    /// The header and the newest events, as a file would have them.
    fn text(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.text())
    }
}
