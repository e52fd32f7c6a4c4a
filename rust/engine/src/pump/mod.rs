//! Streams that are filled from a source or emptied into a sink where they are, without a call per
//! chunk.

mod frames;
mod pattern;
mod sink;
mod source;

use std::fmt;
use std::io;

use tquic_core::stream::{ReadError, StreamError};

pub use frames::{Frames, FramesOutcome};
pub use pattern::{Checker, slice as pattern_slice};
pub(crate) use sink::{Consumer, write_at};
pub use sink::{Inflow, Sink};
pub use source::{Outflow, Source};

/// What became of a pumped stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes pumped.
    pub bytes: u64,
    /// SHA-256 of them, where one was asked for.
    pub digest: Option<[u8; 32]>,
    /// Bytes that were not what the pattern says.
    pub mismatches: u64,
    /// Why it ended before the end of the source or of the stream.
    pub error: Option<PumpError>,
}

/// Why a pump ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PumpError {
    /// The stream cannot be written.
    Write(StreamError),
    /// The stream cannot be read.
    Read(ReadError),
    /// The file cannot be read or written.
    File(FileError),
}

impl fmt::Display for PumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::File(error) => f.write_str(&error.why),
        }
    }
}

impl std::error::Error for PumpError {}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// In words.
    pub why: String,
    /// The operating system's error number, where it is one of its errors.
    pub code: Option<i32>,
}

impl FileError {
    /// What cannot be done, because of an error of the system.
    pub(crate) fn new(what: &str, error: &io::Error) -> Self {
        Self { why: format!("{what}: {error}"), code: error.raw_os_error() }
    }
}

impl From<String> for FileError {
    fn from(why: String) -> Self {
        Self { why, code: None }
    }
}
