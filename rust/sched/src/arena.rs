//! The memory of one connection's scheduler.

use crate::insn::Size;
use crate::layout::{ARGS, Layout};
use crate::object::Globals;

/// Before the memory that a program can address lie some words for the machine code's own use.
pub(crate) const HEADER: usize = 64;
/// Behind it lies what an access of eight bytes to its last byte touches.
const TAIL: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Arena {
    bytes: Box<[u8]>,
    writable_from: u64,
    end: u64,
}

impl Arena {
    pub fn new(layout: &Layout, globals: &[Globals]) -> Self {
        let bytes = vec![0; HEADER + layout.size as usize + TAIL].into_boxed_slice();
        let (writable_from, end) = (layout.writable_from.into(), layout.size.into());
        let mut arena = Self { bytes, writable_from, end };
        for (at, section) in layout.globals.iter().zip(globals) {
            arena.fill(*at, &section.data);
        }
        arena
    }

    /// What a program reads; `None` outside of its memory.
    pub fn load(&self, address: u64, size: Size) -> Option<u64> {
        if address < u64::from(ARGS) || address >= self.end {
            return None;
        }
        let at = HEADER + address as usize;
        Some(match size {
            Size::B1 => u64::from(*self.bytes.get(at)?),
            Size::B2 => u16::from_le_bytes(self.array(at)?).into(),
            Size::B4 => u32::from_le_bytes(self.array(at)?).into(),
            Size::B8 => u64::from_le_bytes(self.array(at)?),
        })
    }

    /// Writes for a program; `None` outside of what it may write.
    pub fn store(&mut self, address: u64, size: Size, value: u64) -> Option<()> {
        if address < self.writable_from || address >= self.end {
            return None;
        }
        let at = HEADER + address as usize;
        let count = size.bytes() as usize;
        let place = self.bytes.get_mut(at..at + count)?;
        match size {
            Size::B1 => place.copy_from_slice(&(value as u8).to_le_bytes()),
            Size::B2 => place.copy_from_slice(&(value as u16).to_le_bytes()),
            Size::B4 => place.copy_from_slice(&(value as u32).to_le_bytes()),
            Size::B8 => place.copy_from_slice(&value.to_le_bytes()),
        }
        Some(())
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at + N)?.try_into().ok()
    }

    /// Puts the engine's own bytes at an address, read only for the program or not.
    pub fn fill(&mut self, address: u32, data: &[u8]) {
        let at = HEADER + address as usize;
        if let Some(place) = self.bytes.get_mut(at..at + data.len()) {
            place.copy_from_slice(data);
        }
    }

    /// The bytes at an address.
    pub fn read<const N: usize>(&self, address: u32) -> [u8; N] {
        self.array(HEADER + address as usize).unwrap_or([0; N])
    }

    /// What has an address.
    pub fn addressable(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// All of it with the words before and the bytes behind, for the machine code.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub fn whole(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}
