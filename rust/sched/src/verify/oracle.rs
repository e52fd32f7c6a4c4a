//! What the verifier believes, held against what happens: at every instruction that the
//! interpreter comes to, registers and stack must be what one of the states there allows.

#[path = "../../tests/generate/mod.rs"]
mod generate;

use std::collections::HashMap;

use proptest::prelude::*;

use super::state::State;
use super::value::{Region, Value};
use super::{Verifier, verify};
use crate::abi::Callback;
use crate::arena::Arena;
use crate::insn::Size;
use crate::interp::{self, Machine, Observer};
use crate::layout::{self, ARGS, FRAME_SIZE, Layout};
use crate::object;
use crate::path::{PathSnapshot, Paths};
use crate::program::Program;
use generate::Source;

/// All states that were met, by callback and instruction.
#[derive(Default)]
pub(super) struct Record {
    states: HashMap<(&'static str, usize), Vec<State>>,
}

impl Record {
    pub fn add(&mut self, callback: Callback, index: usize, state: &State) {
        self.states.entry((callback.name(), index)).or_default().push(state.clone());
    }
}

struct Judge<'a> {
    record: &'a Record,
    callback: Callback,
    layout: &'a Layout,
    paths: usize,
    seen: usize,
}

impl Judge<'_> {
    fn allows(&self, value: Value, concrete: u64) -> bool {
        match value {
            Value::Unset => true,
            Value::Number(number, _) => number.contains(concrete),
            Value::Pointer(region, offset) => {
                let base = match region {
                    Region::Args => ARGS,
                    Region::Ctx => layout::CTX,
                    Region::Sched => self.layout.sched,
                    Region::Stack(n) => self.layout.stack + u32::from(n) * FRAME_SIZE,
                    Region::Global(n) => self.layout.globals[usize::from(n)],
                };
                // What is too far away to be told has no limits.
                let distance = concrete.wrapping_sub(base.into()) as i64;
                offset.min <= -(1 << 32) || (offset.min..=offset.max).contains(&distance)
            }
            Value::Path { nullable, .. } if concrete == 0 => nullable,
            Value::Path { offset, .. } => {
                let first = self.layout.path(0).wrapping_add(offset as u64);
                let distance = concrete.wrapping_sub(first);
                distance.is_multiple_of(16) && distance / 16 < self.paths as u64
            }
        }
    }

    fn fits(&self, state: &State, machine: &Machine, arena: &Arena) -> bool {
        if state.frames.len() != machine.frames() {
            return false;
        }
        let frame = state.frames.last().unwrap();
        let bottom = u64::from(self.layout.stack) + (machine.frames() as u64 - 1) * 512;
        let slots = frame
            .whole_slots()
            .map(|(at, value)| (value, arena.load(bottom + at as u64, Size::B8).unwrap()));
        let regs = frame.regs.iter().copied().zip(machine.registers().iter().copied());
        let mut ties = HashMap::new();
        regs.chain(slots).all(|(value, concrete)| {
            let tie = match value {
                Value::Number(_, tie) | Value::Path { tie, .. } => tie,
                _ => 0,
            };
            self.allows(value, concrete)
                && (tie == 0 || *ties.entry(tie).or_insert(concrete) == concrete)
        })
    }
}

impl Observer for Judge<'_> {
    fn see(&mut self, index: usize, machine: &Machine, arena: &Arena) {
        self.seen += 1;
        let states = &self.record.states[&(self.callback.name(), index)];
        let fits = states.iter().any(|s| self.fits(s, machine, arena));
        assert!(fits, "instruction {index}: {:x?} is none of {states:#?}", machine.registers());
    }
}

/// Runs all callbacks of a drawn program; how many instructions ran.
fn judge(bytes: &[u8]) -> usize {
    let file = generate::program::object(&mut Source(bytes));
    let Ok(linked) = object::link(&file) else { return 0 };
    if verify(&linked).is_err() {
        return 0;
    }
    let mut verifier = Verifier::new(&linked);
    verifier.record = Some(Record::default());
    for (callback, entry) in Callback::ALL.into_iter().zip(linked.entries) {
        if let Some(entry) = entry {
            verifier.verify(callback, entry).unwrap();
        }
    }
    let record = verifier.record.take().unwrap();
    let program = Program::from_linked(linked).unwrap();
    let mut arena = Arena::new(&program.layout, &program.globals);
    let mut source = Source(bytes);
    let mut all = vec![PathSnapshot { is_open: true, ..PathSnapshot::default() }; 3];
    for path in &mut all {
        (path.schedulable, path.srtt_us) = (source.below(2).into(), source.u64());
    }
    let paths = Paths { all: &all, base: program.layout.path(0) };
    let mut seen = 0;
    for callback in Callback::ALL {
        let Some(&(entry, _)) = program.entry(callback) else { continue };
        let second = if callback == Callback::SelectPath {
            layout::CTX.into()
        } else {
            program.layout.path(source.below(3).into())
        };
        let arguments = [program.layout.sched.into(), second, source.u8().into(), source.u64()];
        for (number, argument) in arguments.into_iter().enumerate() {
            arena.fill(ARGS + number as u32 * 8, &u64::to_le_bytes(argument));
        }
        let layout = &program.layout;
        let mut judge = Judge { record: &record, callback, layout, paths: all.len(), seen: 0 };
        let (start, mut fuel) = ((entry, layout.stack), 1_000);
        let ended = interp::run(&program.insns, start, &mut arena, &paths, &mut fuel, &mut judge);
        assert_ne!(ended, Err(crate::Fault::Verifier));
        seen += judge.seen;
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_happens_is_what_was_foreseen(
        bytes in proptest::collection::vec(any::<u8>(), 0..500)
    ) {
        judge(&bytes);
    }
}

#[test]
fn something_happens() {
    let mut state = 7u64;
    let mut bytes = vec![0; 300];
    let mut seen = 0;
    for _ in 0..40 {
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        seen += judge(&bytes);
    }
    assert!(seen > 500, "{seen} instructions of 40 programs");
}
