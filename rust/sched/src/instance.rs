//! A scheduler at work for one connection.

use std::sync::Arc;
use std::time::Duration;

use crate::abi::{self, Callback, MAX_PATHS};
use crate::arena::Arena;
use crate::error::Fault;
use crate::interp;
use crate::layout;
use crate::path::{PacketContext, PathEvent, PathSnapshot, Paths};
use crate::program::Program;

/// Fuel of one call by default: about so many instructions.
pub const FUEL: u64 = 65_536;

/// What runs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Machine code where there is some, else the interpreter.
    #[default]
    Fastest,
    /// The interpreter.
    Interpreter,
}

/// A scheduler at work for one connection: its global variables, and what it wrote to its
/// `struct tquic_scheduler`. One thread at a time calls it.
///
/// Paths are named by their index in the slice that the same call is given. What a call wrote to
/// weight, priority and schedulable is in that slice when it returns.
#[derive(Debug)]
pub struct Instance {
    program: Arc<Program>,
    arena: Arena,
    backend: Backend,
    fuel: u64,
}

impl Instance {
    /// A scheduler for a new connection; `init` has not run.
    #[must_use]
    pub fn new(program: &Arc<Program>, backend: Backend) -> Self {
        let arena = Arena::new(&program.layout, &program.globals);
        Self { program: Arc::clone(program), arena, backend, fuel: FUEL }
    }

    /// With other fuel for each call than `FUEL`.
    #[must_use]
    pub fn with_fuel(mut self, fuel: u64) -> Self {
        self.fuel = fuel.min(i64::MAX as u64);
        self
    }

    /// Whether machine code runs it.
    #[must_use]
    pub fn is_compiled(&self) -> bool {
        self.backend == Backend::Fastest && self.program.code.is_ok()
    }

    /// All that the program can read and write, to compare two of them.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        self.arena.addressable()
    }

    /// Runs `init`, before anything else.
    ///
    /// # Errors
    /// `Fault::Refused` if it returns anything but 0, else why it did not come to its end.
    pub fn init(&mut self) -> Result<(), Fault> {
        match self.call(Callback::Init, &mut [], &[])? as i32 {
            0 => Ok(()),
            code => Err(Fault::Refused(code)),
        }
    }

    /// Runs `release`, when the connection ends.
    ///
    /// # Errors
    /// Why it did not come to its end.
    pub fn release(&mut self) -> Result<(), Fault> {
        self.call(Callback::Release, &mut [], &[]).map(drop)
    }

    /// The index of the path for the next burst; `None`: nothing is to be sent now.
    ///
    /// # Errors
    /// Why there is no answer; take the usable path with the least round-trip time instead.
    pub fn select_path(
        &mut self,
        paths: &mut [PathSnapshot],
        packet: &PacketContext,
    ) -> Result<Option<usize>, Fault> {
        let mut ctx = [0; abi::CTX.size as usize];
        let (id, rest) = ctx.split_at_mut(8);
        id.copy_from_slice(&packet.stream_id.unwrap_or(u64::MAX).to_le_bytes());
        let (bytes, flags) = rest.split_at_mut(4);
        bytes.copy_from_slice(&packet.bytes.to_le_bytes());
        if let [ack_eliciting, retransmission, ..] = flags {
            *ack_eliciting = packet.ack_eliciting.into();
            *retransmission = packet.retransmission.into();
        }
        self.arena.fill(layout::CTX, &ctx);
        let address = self.call(Callback::SelectPath, paths, &[layout::CTX.into()])?;
        if address == 0 {
            return Ok(None);
        }
        let shown = Paths { all: paths, base: self.program.layout.path(0) };
        let index = shown.index(address).ok_or(Fault::Verifier)?;
        match paths.get(index) {
            Some(path) if path.is_usable() => Ok(Some(index)),
            _ => Err(Fault::UnusablePath(index)),
        }
    }

    /// A packet of so many bytes was sent on the path at `index`.
    ///
    /// # Errors
    /// Why the program did not come to its end; nothing needs to be done.
    pub fn on_packet_sent(
        &mut self,
        paths: &mut [PathSnapshot],
        index: usize,
        bytes: u32,
    ) -> Result<(), Fault> {
        self.notify(Callback::PacketSent, paths, index, &[bytes.into()])
    }

    /// A packet was acknowledged, `rtt` after it was sent.
    ///
    /// # Errors
    /// As `on_packet_sent`.
    pub fn on_packet_acked(
        &mut self,
        paths: &mut [PathSnapshot],
        index: usize,
        bytes: u32,
        rtt: Duration,
    ) -> Result<(), Fault> {
        let rtt = u64::try_from(rtt.as_nanos()).unwrap_or(i64::MAX as u64);
        self.notify(Callback::PacketAcked, paths, index, &[bytes.into(), rtt])
    }

    /// A packet was declared lost.
    ///
    /// # Errors
    /// As `on_packet_sent`.
    pub fn on_packet_lost(
        &mut self,
        paths: &mut [PathSnapshot],
        index: usize,
        bytes: u32,
    ) -> Result<(), Fault> {
        self.notify(Callback::PacketLost, paths, index, &[bytes.into()])
    }

    /// Something happened to the path at `index`. One that is removed is still among `paths`.
    ///
    /// # Errors
    /// As `on_packet_sent`.
    pub fn on_path_change(
        &mut self,
        paths: &mut [PathSnapshot],
        index: usize,
        event: PathEvent,
    ) -> Result<(), Fault> {
        self.notify(Callback::PathChange, paths, index, &[u64::from(event as u32)])
    }

    fn notify(
        &mut self,
        callback: Callback,
        paths: &mut [PathSnapshot],
        index: usize,
        more: &[u64],
    ) -> Result<(), Fault> {
        if index >= paths.len() {
            return Err(Fault::Paths);
        }
        let mut arguments = [self.program.layout.path(index), 0, 0];
        for (place, value) in arguments.iter_mut().skip(1).zip(more) {
            *place = *value;
        }
        self.call(callback, paths, &arguments).map(drop)
    }

    /// Calls a callback, if the program has it, with the scheduler and `arguments`; what it
    /// returns.
    fn call(
        &mut self,
        callback: Callback,
        paths: &mut [PathSnapshot],
        arguments: &[u64],
    ) -> Result<u64, Fault> {
        let program = &*self.program;
        let Some(&(entry, _)) = program.entry(callback) else { return Ok(0) };
        if paths.len() > MAX_PATHS {
            return Err(Fault::Paths);
        }
        let layout = &program.layout;
        let all = [u64::from(layout.sched)].into_iter().chain(arguments.iter().copied());
        for (number, argument) in all.enumerate() {
            self.arena.fill(layout::ARGS + number as u32 * 8, &argument.to_le_bytes());
        }
        for (index, path) in paths.iter().enumerate() {
            self.arena.fill(layout.path(index) as u32, &shown(path));
        }
        let view = Paths { all: paths, base: layout.path(0) };
        let mut fuel = self.fuel;
        let result = match (&program.code, self.backend) {
            (Ok(code), Backend::Fastest) => code.run(entry, &mut self.arena, &view, &mut fuel),
            _ => {
                let (start, nobody) = ((entry, layout.stack), &mut interp::Nobody);
                interp::run(&program.insns, start, &mut self.arena, &view, &mut fuel, nobody)
            }
        }?;
        if program.writes_paths {
            for (index, path) in paths.iter_mut().enumerate() {
                written(path, self.arena.read(layout.path(index) as u32));
            }
        }
        Ok(result)
    }
}

const PATH_SIZE: usize = abi::PATH.size as usize;

/// A path as `struct tquic_path`.
fn shown(path: &PathSnapshot) -> [u8; PATH_SIZE] {
    let mut bytes = [0; PATH_SIZE];
    let members = [path.id, path.weight, path.priority, path.schedulable];
    for (place, member) in bytes.chunks_exact_mut(4).zip(members) {
        place.copy_from_slice(&member.to_le_bytes());
    }
    bytes
}

/// Takes over what a program may have written to its `struct tquic_path`.
fn written(path: &mut PathSnapshot, bytes: [u8; PATH_SIZE]) {
    let members = [&mut path.weight, &mut path.priority, &mut path.schedulable];
    for (member, bytes) in members.into_iter().zip(bytes.chunks_exact(4).skip(1)) {
        *member = bytes.try_into().map_or(*member, u32::from_le_bytes);
    }
}
