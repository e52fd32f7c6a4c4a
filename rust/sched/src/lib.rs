//! Path schedulers that users write in C and compile to eBPF.
//!
//! An object file goes through three steps, each of which may refuse it with a reason: `elf` and
//! `object` take it apart and resolve what it refers to, `verify` proves that it does no harm, and
//! `jit` translates it to machine code where that is possible. `interp` runs it everywhere else,
//! and is what the machine code is tested against. A `Program` is what comes out; an `Instance` is
//! a program at work for one connection.
//!
//! This crate knows nothing of connections: it is shown paths as `PathSnapshot`s and names the one
//! to send on by its index.

// Tests inside share programs with those outside, which name the crate.
#[cfg(test)]
extern crate self as tquic_sched;

mod abi;
mod arena;
mod elf;
mod error;
mod insn;
mod instance;
mod interp;
mod jit;
mod layout;
mod lines;
mod object;
mod path;
mod program;
mod verify;

pub use abi::{Callback, MAX_PATHS};
pub use error::{Fault, LoadError, Rejection};
pub use instance::{Backend, FUEL, Instance};
pub use path::{PacketContext, PathEvent, PathSnapshot};
pub use program::Program;
