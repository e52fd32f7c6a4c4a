//! Counts of durations.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error;

/// Durations in nanoseconds, counted in buckets that are at most 1/128 of their value wide, up to
/// 2**40 (18 minutes). What was recorded elsewhere can be merged in.
#[pyclass(frozen, module = "tquic._engine")]
#[derive(Default)]
pub struct Histogram(Mutex<tquic_engine::perf::Histogram>);

impl Histogram {
    fn lock(&self) -> MutexGuard<'_, tquic_engine::perf::Histogram> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<tquic_engine::perf::Histogram> for Histogram {
    fn from(histogram: tquic_engine::perf::Histogram) -> Self {
        Self(Mutex::new(histogram))
    }
}

#[pymethods]
impl Histogram {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// What `to_bytes` made, perhaps in another process.
    #[staticmethod]
    #[pyo3(signature = (data, /))]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let histogram = tquic_engine::perf::Histogram::from_bytes(data);
        let histogram = histogram.ok_or_else(|| error::config(py, &"these are no histogram"))?;
        Ok(histogram.into())
    }

    /// Everything, as bytes for `from_bytes`.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.lock().to_bytes())
    }

    /// Counts one duration of `nanos` nanoseconds.
    #[pyo3(signature = (nanos, /))]
    fn record_ns(&self, nanos: u64) {
        self.lock().record(nanos);
    }

    /// Adds the counts of another.
    #[pyo3(signature = (other, /))]
    fn merge(&self, other: &Bound<'_, Self>) {
        // One lock at a time: it may be the same, or merged the other way in another thread.
        let counts = other.get().lock().clone();
        self.lock().merge(&counts);
    }

    /// Nanoseconds that the fraction `quantile` (0 to 1) of all durations does not exceed, at most
    /// 1/128 too many; 0 if nothing was counted.
    #[pyo3(signature = (quantile, /))]
    fn quantile_ns(&self, quantile: f64) -> u64 {
        self.lock().quantile(quantile)
    }

    /// What was counted after `earlier`, a copy of this histogram as it was. Its longest is then as
    /// exact as a quantile.
    #[pyo3(signature = (earlier, /))]
    fn since(&self, earlier: &Bound<'_, Self>) -> Self {
        let before = earlier.get().lock().clone();
        self.lock().since(&before).into()
    }

    /// The counts as HdrHistogram (version 2, not compressed) encodes them, with two significant
    /// digits.
    fn to_hdr<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.lock().to_hdr())
    }

    /// The shortest, at most 1/128 too long; 0 if nothing was counted.
    #[getter]
    fn min_ns(&self) -> u64 {
        self.lock().min()
    }

    /// The standard deviation, as exact as quantiles.
    #[getter]
    fn stddev_ns(&self) -> f64 {
        self.lock().deviation()
    }

    /// The longest, exact.
    #[getter]
    fn max_ns(&self) -> u64 {
        self.lock().max()
    }

    /// The mean, exact.
    #[getter]
    fn mean_ns(&self) -> f64 {
        self.lock().mean()
    }

    /// The buckets that are not empty: longest duration in nanoseconds, and count.
    fn buckets(&self) -> Vec<(u64, u64)> {
        self.lock().buckets().collect()
    }

    fn __len__(&self) -> usize {
        usize::try_from(self.lock().len()).unwrap_or(usize::MAX)
    }

    fn __repr__(&self) -> String {
        let h = self.lock();
        let (p50, p99) = (h.quantile(0.5), h.quantile(0.99));
        format!("<Histogram of {}: median {p50} ns, p99 {p99} ns, max {} ns>", h.len(), h.max())
    }
}
