//! From a stream into a sink.

use std::fs::File;

use ring::digest::{Context, SHA256};
use tquic_core::stream::{ReadError, StreamSet};
use tquic_wire::StreamId;

use super::{Checker, FileError, Outcome, PumpError};

/// Where the bytes of a stream go.
#[derive(Debug)]
pub enum Sink {
    /// Nowhere; they are counted.
    Discard,
    /// They are compared with the pattern that [`Source::Pattern`](super::Source::Pattern) makes.
    Verify,
    /// They are hashed with SHA-256.
    Hash,
    /// Into a file.
    File {
        /// Open for writing.
        file: File,
        /// Where the first byte goes.
        offset: u64,
        /// Hash them as well.
        hash: bool,
    },
}

impl Sink {
    /// Leaves room for so many bytes that come by another way.
    pub(crate) fn skip(&mut self, bytes: u64) {
        if let Self::File { offset, .. } = self {
            *offset += bytes;
        }
    }
}

/// What a sink does with a piece.
pub(crate) struct Consumer {
    checker: Option<Checker>,
    /// Boxed: it is far larger than the rest, and most streams have none.
    hash: Option<Box<Context>>,
    file: Option<(File, u64)>,
    error: Option<PumpError>,
}

impl Consumer {
    pub fn new(sink: Sink) -> Self {
        let mut this = Self { checker: None, hash: None, file: None, error: None };
        match sink {
            Sink::Discard => {}
            Sink::Verify => this.checker = Some(Checker::default()),
            Sink::Hash => this.hash = Some(Box::new(Context::new(&SHA256))),
            Sink::File { file, offset, hash } => {
                this.file = Some((file, offset));
                this.hash = hash.then(|| Box::new(Context::new(&SHA256)));
            }
        }
        this
    }

    /// Takes a piece that lies at `at` in the stream; answers how much of it was used.
    pub fn take(&mut self, at: u64, piece: &[u8]) -> usize {
        if let Some(checker) = &mut self.checker {
            checker.check(at, piece);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
        if let Some((file, offset)) = &mut self.file {
            if let Err(error) = write_at(file, piece, *offset) {
                let error = FileError::new("the file cannot be written", &error);
                self.error = Some(PumpError::File(error));
                return 0;
            }
            *offset += piece.len() as u64;
        }
        piece.len()
    }

    /// What became of the `bytes` that it took.
    pub fn outcome(&mut self, bytes: u64, error: Option<PumpError>) -> Outcome {
        Outcome {
            bytes,
            digest: self.hash.take().and_then(|h| h.finish().as_ref().try_into().ok()),
            mismatches: self.checker.map_or(0, |c| c.mismatches),
            error,
        }
    }
}

/// Writes all of a piece at a place in a file.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, piece: &[u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, piece, offset)
}

/// Writes all of a piece at a place in a file.
#[cfg(windows)]
pub(crate) fn write_at(file: &File, mut piece: &[u8], mut offset: u64) -> std::io::Result<()> {
    while !piece.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, piece, offset)?;
        if n == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        piece = &piece[n..];
        offset += n as u64;
    }
    Ok(())
}

/// Empties one stream into a sink.
pub struct Inflow {
    id: StreamId,
    consumer: Consumer,
    /// Offset in the stream of the sink's first byte.
    start: u64,
    bytes: u64,
}

impl Inflow {
    /// Empties `id` into `sink`. `start` bytes of the stream were read before.
    pub fn new(id: StreamId, sink: Sink, start: u64) -> Self {
        Self { id, consumer: Consumer::new(sink), start, bytes: 0 }
    }

    /// The stream.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes bytes that were read from the stream before the sink was there; `false` if the sink
    /// has failed.
    pub fn feed(&mut self, piece: &[u8]) -> bool {
        let used = self.consumer.take(self.bytes, piece);
        self.bytes += used as u64;
        used == piece.len()
    }

    /// Takes what has arrived: call it when the stream is readable. `Some` when it is over.
    pub fn drive(&mut self, streams: &mut StreamSet) -> Option<Outcome> {
        let (consumer, start) = (&mut self.consumer, self.start);
        let mut used = 0;
        let result = streams.read_with(self.id, |at, piece| {
            let n = consumer.take(at.saturating_sub(start), piece);
            used += n as u64;
            n
        });
        self.bytes += used;
        if let Some(error) = self.consumer.error.take() {
            // Nobody will read the rest.
            let _ = streams.stop(self.id, 0);
            return Some(self.finish(Some(error)));
        }
        match result {
            Ok(consumed) if consumed.fin => Some(self.finish(None)),
            Ok(_) => None,
            Err(error) => Some(self.finish(Some(PumpError::Read(error)))),
        }
    }

    /// Ends it here, for streams that end in other ways.
    pub fn finish(&mut self, error: Option<PumpError>) -> Outcome {
        self.consumer.outcome(self.bytes, error)
    }

    /// The peer reset the stream.
    pub fn reset(&mut self, code: u64) -> Outcome {
        self.finish(Some(PumpError::Read(ReadError::Reset { code, reliable_size: 0 })))
    }
}
