//! Why an object is not loaded, and why a call has no result.

use std::fmt;

/// Why an object was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The file, or how its parts are put together.
    Object(String),
    /// A program that is not safe.
    Unsafe(Rejection),
}

/// What the verifier has against a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The callback that leads there, as in `struct tquic_scheduler_ops`.
    pub callback: &'static str,
    /// The function that holds the instruction.
    pub function: String,
    /// Which one of the function's 8-byte instructions, from 0.
    pub index: usize,
    /// The instruction as text.
    pub instruction: String,
    /// File, line and text that it comes from, if the object says so.
    pub source: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(reason) => f.write_str(reason),
            Self::Unsafe(rejection) => write!(f, "{rejection}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { callback, function, index, instruction, source, reason } = self;
        write!(f, "{function} ({callback}), instruction {index}, `{instruction}`")?;
        if let Some(source) = source {
            write!(f, " ({source})")?;
        }
        write!(f, ": {reason}")
    }
}

impl LoadError {
    pub(crate) fn object(reason: impl Into<String>) -> Self {
        Self::Object(reason.into())
    }
}

/// Why a call has no result. The caller goes on without the program (minimum RTT) and counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ran for longer than its fuel.
    OutOfFuel,
    /// `init` returned this number instead of 0.
    Refused(i32),
    /// `select_path` chose the path at this index, which cannot be used now.
    UnusablePath(usize),
    /// There are more paths than `MAX_PATHS`, or no path at the index given.
    Paths,
    /// The interpreter stopped what the verifier should have rejected: a bug of this crate.
    Verifier,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfFuel => f.write_str("the scheduler ran out of fuel"),
            Self::Refused(code) => write!(f, "the scheduler's init returned {code}"),
            Self::UnusablePath(index) => {
                write!(f, "the scheduler chose path number {index}, which is not usable")
            }
            Self::Paths => f.write_str("more paths than a scheduler can be shown, or no such path"),
            Self::Verifier => f.write_str("the scheduler did what its verification rules out"),
        }
    }
}

impl std::error::Error for Fault {}
