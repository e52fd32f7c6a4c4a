//! Systems without machine code.

use crate::arena::Arena;
use crate::error::Fault;
use crate::insn::Insn;
use crate::layout::Layout;
use crate::path::Paths;

/// There is none.
pub(crate) enum Code {}

impl Code {
    pub fn new(_insns: &[Insn], _layout: &Layout) -> Result<Self, String> {
        Err("machine code is made on x86-64 Linux only".into())
    }

    pub fn run(
        &self,
        _entry: usize,
        _arena: &mut Arena,
        _paths: &Paths<'_>,
        _fuel: &mut u64,
    ) -> Result<u64, Fault> {
        match *self {}
    }
}
