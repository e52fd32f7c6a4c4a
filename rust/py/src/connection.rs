//! One connection as Python drives it: commands go in, nothing waits.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use tquic_core::cc::Decision;
use tquic_core::stream::Priority;
use tquic_engine::Prepared;
use tquic_engine::bridge::BridgeConnection;
use tquic_engine::pump::{Frames, Sink, Source};
use tquic_engine::scheduler::Board;
use tquic_wire::{Direction, StreamId, TransportErrorCode};

use crate::bpf::BpfProgram;
use crate::event::batch_dict;
use crate::planner::Planner;
use crate::settings::{address, congestion, ebpf, local_address, scheduler};
use crate::{buffer, error};

/// A path's ID, and what happened on it.
type Batch<'py> = (u32, Bound<'py, PyDict>);

/// Commands for one connection. What they cause comes as events.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Connection {
    engine: Arc<tquic_engine::Engine>,
    bridge: BridgeConnection,
    /// A client's connection that has not begun.
    prepared: Mutex<Option<Prepared>>,
}

impl Connection {
    pub fn new(
        engine: Arc<tquic_engine::Engine>,
        bridge: BridgeConnection,
        prepared: Option<Prepared>,
    ) -> Self {
        Self { engine, bridge, prepared: Mutex::new(prepared) }
    }
}

/// What `send_parts` sends.
#[cfg(unix)]
#[derive(FromPyObject)]
enum Part<'py> {
    File(std::os::fd::RawFd, u64, u64),
    Bytes(Bound<'py, PyAny>),
}

#[cfg(unix)]
impl Part<'_> {
    fn source(self) -> PyResult<Source> {
        match self {
            Self::Bytes(data) => {
                Ok(Source::Bytes(buffer::borrow(&data, false, 0, || usize::MAX)?.0))
            }
            Self::File(descriptor, offset, size) => {
                // SAFETY: borrowed for the length of this call only, in which the caller, who holds
                // the interpreter, cannot close it; a number that is no descriptor is refused.
                let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
                let file = std::fs::File::from(borrowed.try_clone_to_owned().map_err(error::os)?);
                Ok(Source::File { file, range: offset..offset.saturating_add(size) })
            }
        }
    }
}

#[pymethods]
impl Connection {
    #[getter]
    fn key(&self) -> u64 {
        self.bridge.key().to_u64()
    }

    #[getter]
    fn is_client(&self) -> bool {
        self.bridge.side().is_client()
    }

    /// Begins a connection that was made without beginning. Otherwise without effect.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begun = py.detach(|| prepared.map(Prepared::begin).transpose());
        begun.map(drop).map_err(|e| error::engine(py, e))
    }

    /// Opens a stream and gives its ID. It can be written at once.
    #[pyo3(signature = (bidirectional, /))]
    fn open(&self, py: Python<'_>, bidirectional: bool) -> PyResult<u64> {
        let direction = match bidirectional {
            true => Direction::Bidirectional,
            false => Direction::Unidirectional,
        };
        let stream = self.bridge.open(direction).map_err(|e| error::bridge(py, e))?;
        Ok(stream.0)
    }

    /// Writes as many of the bytes as the send buffer takes; answers how many. If it takes all and
    /// `finish`, the stream ends there.
    #[pyo3(signature = (stream, data, /, share=false, finish=false))]
    fn write(
        &self,
        stream: u64,
        data: &Bound<'_, PyAny>,
        share: bool,
        finish: bool,
    ) -> PyResult<usize> {
        let py = data.py();
        buffer::release_dropped(py);
        let stream = StreamId(stream);
        let mut written = 0;
        loop {
            // One byte more than there is room for: by that the engine sees that we wait for room.
            let room = || usize::try_from(self.bridge.room(stream)).unwrap_or(usize::MAX);
            let (bytes, all) = buffer::borrow(data, share, written, || room().saturating_add(1))?;
            let offered = bytes.len();
            let taken = match finish && written + offered == all {
                true => self.bridge.write_last(stream, bytes),
                false => self.bridge.write(stream, bytes),
            };
            let taken = taken.map_err(|e| error::bridge(py, e))?;
            written += taken;
            if taken < offered || written == all {
                return Ok(written);
            }
        }
    }

    #[pyo3(signature = (stream, /))]
    fn buffered(&self, stream: u64) -> u64 {
        self.bridge.buffered(StreamId(stream))
    }

    /// Asks for one WRITABLE event when no more than `bytes` are unacknowledged; true, and no
    /// event, if that is so already.
    #[pyo3(signature = (stream, bytes, /))]
    fn notify_below(&self, py: Python<'_>, stream: u64, bytes: u64) -> PyResult<bool> {
        self.bridge.notify_below(StreamId(stream), bytes).map_err(|e| error::bridge(py, e))
    }

    #[pyo3(signature = (stream, /))]
    fn finish(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        self.bridge.finish(StreamId(stream)).map_err(|e| error::bridge(py, e))
    }

    #[pyo3(signature = (stream, code, reliable_size=0, /))]
    fn reset(&self, py: Python<'_>, stream: u64, code: u64, reliable_size: u64) -> PyResult<()> {
        self.bridge
            .reset_at(StreamId(stream), code, reliable_size)
            .map_err(|e| error::bridge(py, e))
    }

    #[pyo3(signature = (stream, code, /))]
    fn stop(&self, py: Python<'_>, stream: u64, code: u64) -> PyResult<()> {
        self.bridge.stop(StreamId(stream), code).map_err(|e| error::bridge(py, e))
    }

    #[pyo3(signature = (stream, urgency, incremental, /))]
    fn set_priority(
        &self,
        py: Python<'_>,
        stream: u64,
        urgency: u8,
        incremental: bool,
    ) -> PyResult<()> {
        let priority = Priority { urgency, incremental };
        self.bridge.set_priority(StreamId(stream), priority).map_err(|e| error::bridge(py, e))
    }

    /// So many bytes of DATA events were used.
    #[pyo3(signature = (stream, bytes, /))]
    fn consumed(&self, stream: u64, bytes: u64) {
        self.bridge.consumed(StreamId(stream), bytes);
    }

    /// Sends `size` bytes of a file from `offset` (all that follow, without `size`), then finishes
    /// the stream. Answers how many bytes that will be.
    #[pyo3(signature = (stream, path, offset, size, /))]
    fn send_file(
        &self,
        py: Python<'_>,
        stream: u64,
        path: PathBuf,
        offset: u64,
        size: Option<u64>,
    ) -> PyResult<u64> {
        let source = py.detach(|| -> std::io::Result<Source> {
            let mut source = Source::open(&path, offset)?;
            if let (Source::File { range, .. }, Some(size)) = (&mut source, size) {
                range.end = range.end.min(range.start.saturating_add(size));
            }
            Ok(source)
        });
        let source = source.map_err(|why| error::file(why, &path))?;
        let bytes = source.remaining();
        let attached = self.bridge.attach_source(StreamId(stream), source, true);
        attached.map_err(|e| error::bridge(py, e))?;
        Ok(bytes)
    }

    /// Sends parts one after the other: bytes, and pieces of open files as (descriptor, offset,
    /// size). A descriptor may be closed afterwards. PUMPED tells the end.
    #[cfg(unix)]
    #[pyo3(signature = (stream, parts, /, finish=true))]
    fn send_parts(
        &self,
        py: Python<'_>,
        stream: u64,
        parts: Vec<Part<'_>>,
        finish: bool,
    ) -> PyResult<()> {
        let sources: PyResult<_> = parts.into_iter().map(Part::source).collect();
        let attached = self.bridge.attach_source(StreamId(stream), Source::Chain(sources?), finish);
        attached.map_err(|e| error::bridge(py, e))
    }

    /// Writes what the stream brings to a file that is there: its byte `position` goes to `offset`.
    /// What has crossed already comes, or has come, in DATA events.
    #[pyo3(signature = (stream, path, offset, position, /))]
    fn recv_to_file(
        &self,
        py: Python<'_>,
        stream: u64,
        path: PathBuf,
        offset: u64,
        position: u64,
    ) -> PyResult<()> {
        let file = py.detach(|| OpenOptions::new().write(true).open(&path));
        let file = file.map_err(|why| error::file(why, &path))?;
        let sink = Sink::File { file, offset, hash: false };
        let attached = self.bridge.attach_sink(StreamId(stream), sink, position);
        attached.map_err(|e| error::bridge(py, e))
    }

    /// Asks for a HELD event, behind which nothing of the stream crosses.
    #[pyo3(signature = (stream, /))]
    fn hold(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        self.bridge.hold(StreamId(stream)).map_err(|e| error::bridge(py, e))
    }

    /// Lets what is held cross.
    #[pyo3(signature = (stream, /))]
    fn release(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        self.bridge.release(StreamId(stream)).map_err(|e| error::bridge(py, e))
    }

    /// Writes the payload of the DATA frames that a held stream brings to a file that is there, from
    /// `offset` on. The stream stands `remaining` bytes before the end of such a frame, or behind
    /// `header`, the start of a frame's header. UNFRAMED tells the end.
    #[pyo3(signature = (stream, path, offset, remaining, header, /))]
    fn frames_to_file(
        &self,
        py: Python<'_>,
        stream: u64,
        path: PathBuf,
        offset: u64,
        remaining: u64,
        header: &[u8],
    ) -> PyResult<()> {
        let file = py.detach(|| OpenOptions::new().write(true).open(&path));
        let file = file.map_err(|why| error::file(why, &path))?;
        let frames = Frames::new(StreamId(stream), file, offset, remaining, header.to_vec());
        self.bridge.attach_frames(frames).map_err(|e| error::bridge(py, e))
    }

    /// Sends a datagram: false if too many wait.
    #[pyo3(signature = (data, /))]
    fn send_datagram(&self, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = data.py();
        let (bytes, _) = buffer::borrow(data, false, 0, || usize::MAX)?;
        self.bridge.send_datagram(bytes).map_err(|e| error::bridge(py, e))
    }

    #[getter]
    fn max_datagram(&self) -> usize {
        self.bridge.max_datagram()
    }

    #[getter]
    fn can_reset_at(&self) -> bool {
        self.bridge.can_reset_at()
    }

    #[pyo3(signature = (count, bytes, /))]
    fn consumed_datagrams(&self, count: usize, bytes: usize) {
        self.bridge.consumed_datagrams(count, bytes);
    }

    /// Asks for a PING_ACKED event.
    fn ping(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.ping().map_err(|e| error::bridge(py, e))
    }

    /// Asks the peer to acknowledge at once what was written so far.
    fn hurry(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.hurry().map_err(|e| error::bridge(py, e))
    }

    /// Has FINAL_SIZE told from now on.
    fn tell_final_sizes(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.tell_final_sizes().map_err(|e| error::bridge(py, e))
    }

    /// Uses another of the connection IDs that the peer issued, if one is left.
    fn change_connection_id(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.change_connection_id().map_err(|e| error::bridge(py, e))
    }

    /// Changes the congestion controller of a path, or of all.
    #[pyo3(signature = (name, path, /))]
    fn set_congestion(&self, py: Python<'_>, name: &str, path: Option<u32>) -> PyResult<()> {
        let kind = congestion(py, name)?;
        self.bridge.set_congestion(path, kind).map_err(|e| error::bridge(py, e))
    }

    /// Puts the caller in place of the congestion controllers; gives the ticket for `next_batch`.
    #[pyo3(signature = (path, /))]
    fn control_congestion(&self, py: Python<'_>, path: Option<u32>) -> PyResult<u64> {
        self.bridge.control_congestion(path).map_err(|e| error::bridge(py, e))
    }

    /// Waits for a batch of acknowledgements; `None` once others decide, or the connection is over.
    #[pyo3(signature = (ticket, /))]
    fn next_batch<'py>(&self, py: Python<'py>, ticket: u64) -> PyResult<Option<Batch<'py>>> {
        // The shard never waits for Python: neither lock nor interpreter is held while it is.
        let batch = py.detach(|| self.bridge.next_batch(ticket));
        batch.map(|(path, batch)| Ok((path, batch_dict(py, &batch)?))).transpose()
    }

    /// Answers a batch; without a window it says that something went wrong.
    #[pyo3(signature = (path, sequence, window, pacing_rate, /))]
    fn decide(
        &self,
        py: Python<'_>,
        path: u32,
        sequence: u64,
        window: Option<u64>,
        pacing_rate: Option<u64>,
    ) -> PyResult<()> {
        let send = |window| Decision::Send { window, pacing_rate };
        let decision = window.map_or(Decision::Failed, send);
        self.bridge.decide(path, sequence, decision).map_err(|e| error::bridge(py, e))
    }

    /// Asks for a STATS event with this mark.
    #[pyo3(signature = (tag, /))]
    fn request_stats(&self, py: Python<'_>, tag: u64) -> PyResult<()> {
        self.bridge.request_stats(tag).map_err(|e| error::bridge(py, e))
    }

    #[pyo3(signature = (code, reason, /))]
    fn close(&self, py: Python<'_>, code: u64, reason: &[u8]) -> PyResult<()> {
        self.bridge.close(code, reason).map_err(|e| error::bridge(py, e))
    }

    /// Tries another local address; MIGRATED or PATH_FAILED tells the result.
    #[pyo3(signature = (local, interface, /))]
    fn migrate(
        &self,
        py: Python<'_>,
        local: Option<(String, u16)>,
        interface: Option<String>,
    ) -> PyResult<()> {
        let to = local_address(py, local, interface)?;
        py.detach(|| self.engine.migrate(self.bridge.key(), &to)).map_err(|e| error::engine(py, e))
    }

    /// Opens another path; answers its ID, and PATH tells the result. `None`: it is too early, until
    /// PATHS_AVAILABLE.
    #[pyo3(signature = (local, interface, remote, /))]
    fn open_path(
        &self,
        py: Python<'_>,
        local: Option<(String, u16)>,
        interface: Option<String>,
        remote: Option<(String, u16)>,
    ) -> PyResult<Option<u32>> {
        let from = local_address(py, local, interface)?;
        let remote = remote.map(|(host, port)| address(py, &host, port)).transpose()?;
        py.detach(|| self.engine.open_path(self.bridge.key(), &from, remote))
            .map_err(|e| error::path(py, e))
    }

    /// Ends a path, with a transport error code for the peer.
    #[pyo3(signature = (id, code, /))]
    fn abandon_path(&self, py: Python<'_>, id: u32, code: u64) -> PyResult<()> {
        let code = TransportErrorCode(code);
        py.detach(|| self.engine.abandon_path(self.bridge.key(), id, code))
            .map_err(|e| error::path(py, e))
    }

    /// Says whether a path is to be used only when no other can be.
    #[pyo3(signature = (id, backup, /))]
    fn set_path_backup(&self, py: Python<'_>, id: u32, backup: bool) -> PyResult<()> {
        py.detach(|| self.engine.set_path_backup(self.bridge.key(), id, backup))
            .map_err(|e| error::path(py, e))
    }

    /// The capacity of a path in Mbit/s, for schedulers that go by weights; 0 to measure it.
    #[pyo3(signature = (id, weight, /))]
    fn set_path_weight(&self, py: Python<'_>, id: u32, weight: u32) -> PyResult<()> {
        py.detach(|| self.engine.set_path_weight(self.bridge.key(), id, weight))
            .map_err(|e| error::path(py, e))
    }

    /// Changes what puts the paths in order.
    #[pyo3(signature = (name, /))]
    fn set_scheduler(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let scheduler = scheduler(py, name)?;
        py.detach(|| self.engine.set_scheduler(self.bridge.key(), scheduler))
            .map_err(|e| error::path(py, e))
    }

    /// Puts a program in eBPF in the place of what puts the paths in order.
    #[pyo3(signature = (program, /))]
    fn set_scheduler_program(&self, py: Python<'_>, program: Py<BpfProgram>) -> PyResult<()> {
        let started = ebpf(&program).start().map_err(|why| error::config(py, &why))?;
        py.detach(|| self.engine.set_user_scheduler(self.bridge.key(), started))
            .map_err(|e| error::path(py, e))
    }

    /// Puts a scheduler that answers ahead in its place: the caller, with what it gets.
    #[pyo3(signature = (name, /))]
    fn plan_scheduler(&self, py: Python<'_>, name: String) -> PyResult<Planner> {
        let (board, scheduler) = Board::new(name);
        py.detach(|| self.engine.set_user_scheduler(self.bridge.key(), scheduler))
            .map_err(|e| error::path(py, e))?;
        Ok(Planner(board))
    }

    /// Makes the connection look for something to send: its scheduler has a new plan.
    fn poke(&self, py: Python<'_>) -> PyResult<()> {
        self.bridge.poke().map_err(|e| error::bridge(py, e))
    }

    /// Begins a key update; false if it is too early for another.
    fn update_keys(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| self.engine.update_keys(self.bridge.key())).map_err(|e| error::engine(py, e))
    }
}
