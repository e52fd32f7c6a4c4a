//! From a source into a stream.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tquic_core::stream::{StreamError, StreamSet};
use tquic_wire::StreamId;

use super::{FileError, Outcome, PumpError, pattern};

/// Bytes read from a file at a time.
const FILE_CHUNK: u64 = 256 * 1024;

/// Buffers of a file that are kept for its next bytes.
const KEPT: usize = 16;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Where the bytes of a stream come from.
#[derive(Debug)]
pub enum Source {
    /// This many zeros.
    Zeros(u64),
    /// This many bytes of the pattern that [`Sink::Verify`](super::Sink::Verify) checks.
    Pattern(u64),
    /// Part of a file.
    File {
        /// Open for reading.
        file: File,
        /// Where to read.
        range: Range<u64>,
    },
    /// These.
    Bytes(Bytes),
    /// One after the other. Looked at whole now and then: meant for dozens, not thousands.
    Chain(VecDeque<Source>),
}

/// Buffers that come back when the connection has let go of them: a fresh one for each piece would
/// be mapped, cleared and unmapped by the kernel every time.
#[derive(Clone, Debug, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` bytes that hold anything.
    fn take(&self, len: usize) -> Filled {
        let mut bytes = self.lock().pop().unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Filled { bytes, len, home: self.clone() }
    }
}

/// A buffer that goes back to the others.
struct Filled {
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let mut kept = self.home.lock();
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Source {
    /// A file from `offset` to its end.
    pub fn open(path: &Path, offset: u64) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        Ok(Self::File { file, range: offset.min(end)..end })
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> u64 {
        match self {
            Self::Zeros(n) | Self::Pattern(n) => *n,
            Self::File { range, .. } => range.end.saturating_sub(range.start),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Chain(sources) => {
                sources.iter().map(Self::remaining).fold(0, u64::saturating_add)
            }
        }
    }

    /// The next bytes, `at` bytes after those of the start: at most `max`, not empty while any
    /// are left.
    fn next(
        &mut self,
        at: u64,
        max: u64,
        buffers: &mut Option<Buffers>,
    ) -> Result<Bytes, PumpError> {
        let max = max.min(self.remaining());
        Ok(match self {
            Self::Zeros(n) => {
                let len = max.min(ZEROS.len() as u64);
                *n -= len;
                Bytes::from_static(&ZEROS[..len as usize])
            }
            Self::Pattern(n) => {
                let bytes = pattern::slice(at, max);
                *n -= bytes.len() as u64;
                bytes
            }
            Self::File { file, range } => {
                let wanted = max.min(FILE_CHUNK) as usize;
                let mut buffer = buffers.get_or_insert_default().take(wanted);
                let got = read_at(file, &mut buffer.bytes[..wanted], range.start)
                    .map_err(|e| PumpError::File(FileError::new("the file cannot be read", &e)))?;
                if got == 0 {
                    return Err(PumpError::File("the file became shorter".to_owned().into()));
                }
                buffer.len = got;
                range.start += got as u64;
                Bytes::from_owner(buffer)
            }
            Self::Bytes(bytes) => bytes.split_to(max as usize),
            Self::Chain(sources) => {
                while sources.front().is_some_and(|first| first.remaining() == 0) {
                    sources.pop_front();
                }
                match sources.front_mut() {
                    Some(first) => first.next(at, max, buffers)?,
                    None => Bytes::new(),
                }
            }
        })
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// Fills one stream from a source and finishes it.
#[derive(Debug)]
pub struct Outflow {
    id: StreamId,
    source: Source,
    bytes: u64,
    finish: bool,
    /// Of files alone: a stream of a few bytes is made faster than they are.
    buffers: Option<Buffers>,
}

impl Outflow {
    /// Fills `id`; at the end of the source the stream is finished, if `finish`.
    pub fn new(id: StreamId, source: Source, finish: bool) -> Self {
        Self { id, source, bytes: 0, finish, buffers: None }
    }

    /// The stream.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the stream ends with the source.
    pub fn finishes(&self) -> bool {
        self.finish
    }

    /// Ends the source here: the stream is finished at the next call of `drive`.
    pub fn cut(&mut self) {
        self.source = Source::Bytes(Bytes::new());
    }

    /// Writes as much as the stream takes: call it when the stream was made, and when it is writable
    /// again. `Some` when it is over. Bytes written may still be on their way.
    pub fn drive(&mut self, streams: &mut StreamSet) -> Option<Outcome> {
        match self.fill(streams) {
            Ok(false) => None,
            Ok(true) => Some(Outcome { bytes: self.bytes, ..Outcome::default() }),
            Err(error) => {
                Some(Outcome { bytes: self.bytes, error: Some(error), ..Outcome::default() })
            }
        }
    }

    fn fill(&mut self, streams: &mut StreamSet) -> Result<bool, PumpError> {
        while self.source.remaining() > 0 {
            let room = streams.read_ahead(self.id);
            if room == 0 {
                // Either enough waits to be sent, and the stream will tell when it wants more, or it
                // takes nothing any more: a write knows which.
                return match streams.write(self.id, Bytes::new()) {
                    Ok(()) | Err(StreamError::Full) => Ok(false),
                    Err(error) => Err(PumpError::Write(error)),
                };
            }
            let bytes = self.source.next(self.bytes, room, &mut self.buffers)?;
            self.bytes += bytes.len() as u64;
            if self.finish && self.source.remaining() == 0 {
                streams.write_fin(self.id, bytes).map_err(PumpError::Write)?;
                return Ok(true);
            }
            streams.write(self.id, bytes).map_err(PumpError::Write)?;
        }
        if self.finish {
            streams.finish(self.id).map_err(PumpError::Write)?;
        }
        Ok(true)
    }
}
