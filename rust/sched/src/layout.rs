//! Where a program's memory lies. A pointer of a program is a number: how far from the beginning
//! of its arena something lies. The arena's size is a power of two, so that the machine code can
//! confine every access to it by one mask, whatever the program computed.

use crate::abi::{self, MAX_PATHS};
use crate::object::Globals;

/// Bytes of stack for each function.
pub(crate) const FRAME_SIZE: u32 = 512;
/// Most functions that can be running at once, each called by the one before.
pub(crate) const MAX_FRAMES: usize = 8;

/// Nothing lies below: 0 is NULL.
pub(crate) const ARGS: u32 = 64;
pub(crate) const ARGS_SIZE: u32 = 8 * 5;
pub(crate) const CTX: u32 = 128;

/// An arena: first what may only be read, then what may be written.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Where each section of global variables lies.
    pub globals: Vec<u32>,
    pub writable_from: u32,
    pub sched: u32,
    pub paths: u32,
    pub stack: u32,
    /// A power of two.
    pub size: u32,
}

impl Layout {
    /// For a program whose calls go `frames` functions deep.
    pub fn new(globals: &[Globals], frames: usize) -> Self {
        let mut end = CTX + abi::CTX.size;
        let mut place = |size: usize| {
            let at = end.next_multiple_of(16);
            end = at + size as u32;
            at
        };
        let mut places = vec![0; globals.len()];
        for (place_of, section) in places.iter_mut().zip(globals) {
            if !section.is_writable {
                *place_of = place(section.data.len());
            }
        }
        let sched = place(abi::SCHED.size as usize);
        let paths = place(abi::PATH.size as usize * MAX_PATHS);
        let stack = place(FRAME_SIZE as usize * frames);
        for (place_of, section) in places.iter_mut().zip(globals) {
            if section.is_writable {
                *place_of = place(section.data.len());
            }
        }
        let size = end.next_power_of_two();
        Self { globals: places, writable_from: sched, sched, paths, stack, size }
    }

    /// The address of the path at `index`.
    pub fn path(&self, index: usize) -> u64 {
        u64::from(self.paths) + index as u64 * u64::from(abi::PATH.size)
    }
}

const _: () = assert!(ARGS + ARGS_SIZE <= CTX);
