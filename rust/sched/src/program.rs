//! A scheduler that was loaded and verified, ready to run for any number of connections.

use std::fmt;

use crate::abi::Callback;
use crate::error::LoadError;
use crate::insn::Insn;
use crate::jit::Code;
use crate::layout::Layout;
use crate::object::{self, Globals, Linked};
use crate::verify;

/// A verified scheduler. Nothing in it changes; what a connection's scheduler remembers is in its
/// `Instance`.
pub struct Program {
    name: String,
    /// Where the instructions of each callback begin, with the name of its function.
    entries: [Option<(usize, String)>; Callback::ALL.len()],
    pub(crate) insns: Vec<Insn>,
    pub(crate) globals: Vec<Globals>,
    pub(crate) layout: Layout,
    pub(crate) writes_paths: bool,
    pub(crate) code: Result<Code, String>,
}

impl Program {
    /// Loads the object that `clang -target bpf` made of a scheduler in C, at most 4 MiB, and
    /// verifies it.
    ///
    /// # Errors
    /// Says what is wrong, and where: in the file, or at which instruction.
    pub fn load(object: &[u8]) -> Result<Self, LoadError> {
        Self::from_linked(object::link(object)?)
    }

    pub(crate) fn from_linked(linked: Linked) -> Result<Self, LoadError> {
        let verified = verify::verify(&linked)?;
        let layout = Layout::new(&linked.globals, verified.frames);
        let entries = linked.entries.map(|entry| {
            let function = linked.functions.get(entry?)?;
            Some((function.range.start, function.name.clone()))
        });
        let mut insns = linked.insns;
        for (insn, reached) in insns.iter_mut().zip(&verified.reached) {
            *insn = match *insn {
                _ if !reached => Insn::Unreachable,
                Insn::LoadGlobal { dst, section, offset } => {
                    let base = layout.globals.get(usize::from(section)).copied().unwrap_or(0);
                    Insn::LoadImm { dst, value: u64::from(base) + u64::from(offset) }
                }
                other => other,
            };
        }
        let code = Code::new(&insns, &layout);
        let writes_paths = verified.writes_paths;
        let (name, globals) = (linked.name, linked.globals);
        Ok(Self { name, entries, insns, globals, layout, writes_paths, code })
    }

    /// The name that the scheduler gave itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The function in C that is called for `callback`, if there is one.
    #[must_use]
    pub fn function(&self, callback: Callback) -> Option<&str> {
        self.entry(callback).map(|(_, name)| name.as_str())
    }

    /// How many instructions it has, all functions together.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.insns.len()
    }

    /// The memory that each connection's scheduler takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.layout.size as usize
    }

    /// Why there is no machine code for it, and the interpreter runs it; `None` if there is.
    #[must_use]
    pub fn interpreted_because(&self) -> Option<&str> {
        self.code.as_ref().err().map(String::as_str)
    }

    pub(crate) fn entry(&self, callback: Callback) -> Option<&(usize, String)> {
        self.entries.get(callback as usize)?.as_ref()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).finish_non_exhaustive()
    }
}
