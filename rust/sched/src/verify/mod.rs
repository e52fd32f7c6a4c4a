//! Decides before a program runs that it cannot do harm: that it reads nothing that was not
//! written, keeps within the memory it is given, asks only about paths that are there, and returns
//! what its callback promises. It need not end: fuel sees to that.
//!
//! Every way through the program is followed with what is known of each register and each place
//! on the stack (`State`). A way ends where a state was met before that allowed for it. Where ways
//! keep coming with new states, as in a loop that counts, the states are widened to one that
//! covers them.

mod scalar;
mod state;
mod step;
mod value;

#[cfg(test)]
mod oracle;

use std::collections::HashMap;

use crate::abi::Callback;
use crate::error::{LoadError, Rejection};
use crate::insn::{Insn, Reg, Text};
use crate::layout::MAX_FRAMES;
use crate::object::Linked;
use state::{Frame, State};
use value::{Offset, Region, Value};

/// States that are remembered of one point, before they are widened.
const MAX_STATES: usize = 100;
/// Work for one program: an instruction that is looked at, again and again for different states,
/// is one, and so are 16 values that are compared or copied.
const MAX_WORK: usize = 1_000_000;
/// Values in all states that are remembered, or wait to be followed.
const MAX_VALUES: usize = 500_000;

/// What the verifier found out on its way.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    /// Whether an instruction can be reached, for each.
    pub reached: Vec<bool>,
    /// The most functions that run at once.
    pub frames: usize,
    /// Whether it writes to a path.
    pub writes_paths: bool,
}

/// Rejects a program that is not safe.
pub(crate) fn verify(program: &Linked) -> Result<Verified, LoadError> {
    let mut verifier = Verifier::new(program);
    for (callback, entry) in Callback::ALL.into_iter().zip(program.entries) {
        if let Some(entry) = entry {
            verifier.verify(callback, entry).map_err(LoadError::Unsafe)?;
        }
    }
    Ok(verifier.verified)
}

/// A point in a program: the calls that led there, by where each goes on, and the instruction.
type Point = (Vec<usize>, usize);

struct Verifier<'a> {
    program: &'a Linked,
    callback: Callback,
    /// The function of each instruction.
    functions: Vec<usize>,
    /// Whether ways meet at an instruction.
    joins: Vec<bool>,
    seen: HashMap<Point, Vec<State>>,
    /// Ways that are still to be followed.
    pending: Vec<(usize, State)>,
    work: usize,
    values: usize,
    verified: Verified,
    #[cfg(test)]
    record: Option<oracle::Record>,
}

/// Where a way goes on.
enum Flow {
    Next,
    Jump(usize),
    End,
}

impl<'a> Verifier<'a> {
    fn new(program: &'a Linked) -> Self {
        let count = program.insns.len();
        let mut joins = vec![false; count + 1];
        let mut mark = |at: usize| {
            if let Some(join) = joins.get_mut(at) {
                *join = true;
            }
        };
        for (index, insn) in program.insns.iter().enumerate() {
            match *insn {
                Insn::Goto { target } | Insn::Branch { target, .. } => mark(target as usize),
                Insn::Call { .. } => mark(index + 1),
                _ => {}
            }
        }
        let owners = program.functions.iter().enumerate();
        Self {
            program,
            callback: Callback::Init,
            functions: owners.flat_map(|(n, f)| f.range.clone().map(move |_| n)).collect(),
            joins,
            seen: HashMap::new(),
            pending: Vec::new(),
            work: 0,
            values: 0,
            verified: Verified { reached: vec![false; count], frames: 1, writes_paths: false },
            #[cfg(test)]
            record: None,
        }
    }

    fn verify(&mut self, callback: Callback, entry: usize) -> Result<(), Rejection> {
        self.callback = callback;
        self.seen.clear();
        self.values = 0;
        let Some(function) = self.program.functions.get(entry) else { return Ok(()) };
        let mut state = State::new();
        state.set(Reg::R1, Value::Pointer(Region::Args, Offset::known(0)));
        self.pending.push((function.range.start, state));
        while let Some((mut index, mut state)) = self.pending.pop() {
            self.values = self.values.saturating_sub(state.weight());
            while let Some(next) = self.advance(index, &mut state)? {
                index = next;
            }
        }
        Ok(())
    }

    /// Looks at one instruction; where the way goes on, unless it ends.
    fn advance(&mut self, index: usize, state: &mut State) -> Result<Option<usize>, Rejection> {
        let Some(insn) = self.program.insns.get(index) else { return Ok(None) };
        if self.joins.get(index) == Some(&true) && !self.is_new(index, state) {
            return Ok(None);
        }
        self.work += 1;
        if self.work > MAX_WORK || self.values > MAX_VALUES {
            let why = "the program is too complex to be verified: too many ways lead here";
            return Err(self.rejection(index, why.into()));
        }
        #[cfg(test)]
        if let Some(record) = &mut self.record {
            record.add(self.callback, index, state);
        }
        if let Some(reached) = self.verified.reached.get_mut(index) {
            *reached = true;
        }
        let flow = self.step(index, insn, state).map_err(|why| self.rejection(index, why))?;
        let next = match flow {
            Flow::End => return Ok(None),
            Flow::Jump(target) => return Ok(Some(target)),
            Flow::Next => index + 1,
        };
        if self.functions.get(next) != self.functions.get(index) {
            let why = "the function ends here without `exit`";
            return Err(self.rejection(index, why.into()));
        }
        Ok(Some(next))
    }

    /// Whether nothing that was verified at this point covers the state. It may be widened.
    fn is_new(&mut self, index: usize, state: &mut State) -> bool {
        let callers = state.frames.split_last().map_or(&[][..], |(_, callers)| callers);
        let point = (callers.iter().map(|f| f.resume).collect(), index);
        let seen = self.seen.entry(point).or_default();
        self.work += seen.len() * state.weight() / 16;
        if seen.iter().any(|old| old.includes(state)) {
            return false;
        }
        if seen.len() >= MAX_STATES
            && let Some(last) = seen.pop()
        {
            *state = last.widened(state);
        }
        self.values += state.weight();
        seen.push(state.clone());
        true
    }

    fn rejection(&self, index: usize, reason: String) -> Rejection {
        let insn = self.program.insns.get(index);
        let (function, place, source) = match self.program.locate(index) {
            Some((function, place)) => {
                (function.name.clone(), place, function.lines.get(place).cloned().flatten())
            }
            None => (String::new(), index, None),
        };
        let instruction = insn.map_or(String::new(), |insn| Text { insn, index }.to_string());
        let callback = self.callback.name();
        Rejection { callback, function, index: place, instruction, source, reason }
    }

    fn call(&mut self, index: usize, target: usize, state: &mut State) -> Result<Flow, String> {
        let callee = self.functions.get(target).copied();
        let callers = state.frames.split_last().map_or(&[][..], |(_, callers)| callers);
        let running = callers.iter().map(|f| f.resume - 1).chain([index]);
        for caller in running {
            if self.functions.get(caller).copied() == callee {
                return Err("a function that is still running is called: recursion".into());
            }
        }
        if state.frames.len() >= MAX_FRAMES {
            return Err(format!("calls go deeper than {MAX_FRAMES} functions"));
        }
        let mut frame = Frame::new(state.frames.len() as u8);
        if let Some(caller) = state.frames.last_mut() {
            caller.resume = index + 1;
            let arguments = caller.regs.iter().zip(&mut frame.regs).skip(1).take(5);
            for (from, to) in arguments {
                *to = *from;
            }
        }
        state.frames.push(frame);
        self.verified.frames = self.verified.frames.max(state.frames.len());
        if self.functions.get(index + 1) != self.functions.get(index) {
            return Err("the function ends here without `exit`".into());
        }
        Ok(Flow::Jump(target))
    }
}
