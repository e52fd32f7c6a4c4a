//! Path schedulers in Python: they answer ahead, from a thread of their own.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use tquic_core::multipath::{PathNews, PathView};
use tquic_engine::scheduler::{Board, Plan, Report};

/// What happened on a path: how it is, bytes sent, acknowledged, newest round-trip time, bytes lost,
/// changes.
type Told<'py> = (Bound<'py, PyDict>, u64, u64, Option<f64>, u64, Vec<&'static str>);
/// The paths, and of the next burst: the stream, bytes of a packet, whether they were sent before.
type Question<'py> = (Vec<Bound<'py, PyDict>>, Option<u64>, u32, bool);

/// Where a connection's shard and a thread with a scheduler meet.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Planner(pub Arc<Board>);

#[pymethods]
impl Planner {
    /// Waits for what happened, and for the next question, if there is one; `None` once the
    /// connection does not ask any more.
    fn wait<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Vec<Told<'py>>, Option<Question<'py>>)>> {
        let Some(batch) = py.detach(|| self.0.wait()) else { return Ok(None) };
        let told: PyResult<Vec<_>> = batch.reports.into_iter().map(|r| report(py, r)).collect();
        let question = batch.question.map(|(paths, burst)| {
            let paths: PyResult<Vec<_>> = paths.iter().map(|path| view(py, path)).collect();
            PyResult::Ok((paths?, burst.stream, burst.bytes, burst.retransmission))
        });
        Ok(Some((told?, question.transpose()?)))
    }

    /// Answers the question: path IDs for the next bursts. True if the connection is to be poked.
    #[pyo3(signature = (paths, /))]
    fn answer(&self, paths: Vec<Option<u32>>) -> bool {
        self.0.answer(Plan::Paths(paths))
    }

    /// There is no answer: something went wrong. True as for `answer`.
    #[pyo3(signature = (reason, /))]
    fn fail(&self, reason: String) -> bool {
        self.0.answer(Plan::Failed(reason))
    }
}

fn view<'py>(py: Python<'py>, path: &PathView) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", path.id)?;
    dict.set_item("weight", (path.weight > 0).then_some(path.weight))?;
    dict.set_item("usable", path.is_usable)?;
    dict.set_item("backup", path.is_backup)?;
    dict.set_item("srtt", path.srtt.as_secs_f64())?;
    dict.set_item("min_rtt", path.min_rtt.as_secs_f64())?;
    dict.set_item("bandwidth", path.bandwidth)?;
    dict.set_item("cwnd", path.cwnd)?;
    dict.set_item("bytes_in_flight", path.in_flight)?;
    dict.set_item("loss_rate", f64::from(path.loss_rate) / 10_000.0)?;
    Ok(dict)
}

fn report(py: Python<'_>, report: Report) -> PyResult<Told<'_>> {
    let changes = report.changes.iter().map(|change| name(*change)).collect();
    let rtt = report.rtt.map(|rtt| rtt.as_secs_f64());
    Ok((view(py, &report.path)?, report.sent, report.acked, rtt, report.lost, changes))
}

fn name(change: PathNews) -> &'static str {
    match change {
        PathNews::Added => "added",
        PathNews::Removed => "removed",
        PathNews::Active => "active",
        PathNews::Standby => "standby",
        PathNews::Failed => "failed",
        PathNews::Recovered => "recovered",
        PathNews::Migrated => "migrated",
    }
}
