//! What one instruction does to what is known, and what it may not do.

use super::scalar::Scalar;
use super::state::{State, sized};
use super::value::{Offset, Region, Value};
use super::{Flow, Verifier};
use crate::abi::{self, Argument, Kfunc, Outcome, Parameter, Returns, Struct};
use crate::insn::{AluOp, Cond, Insn, Operand, Reg, Size};
use crate::layout::{ARGS_SIZE, FRAME_SIZE};

type Checked<T> = Result<T, String>;

/// Furthest that a path's handle may be moved on, in bytes.
const MAX_PATH_OFFSET: i64 = 1 << 12;

impl Verifier<'_> {
    pub(super) fn step(&mut self, index: usize, insn: &Insn, state: &mut State) -> Checked<Flow> {
        match *insn {
            Insn::Alu { op, wide, dst, src } => {
                let value = alu(state, op, wide, dst, src)?;
                write(state, dst, value)?;
            }
            Insn::Neg { wide, dst } => {
                let number = number(state, dst, "negated")?;
                write(state, dst, Value::Number(number.negated(wide), 0))?;
            }
            Insn::Endian { bits, dst, .. } => {
                number(state, dst, "swapped")?;
                let max = u64::MAX >> (64 - u32::from(bits));
                write(state, dst, Value::Number(Scalar::up_to(max), 0))?;
            }
            Insn::LoadImm { dst, value } => write(state, dst, Value::known(value))?,
            Insn::LoadGlobal { dst, section, offset } => {
                let offset = Offset::known(offset.into());
                write(state, dst, Value::Pointer(Region::Global(section), offset))?;
            }
            Insn::Load { size, dst, base, off } => {
                let value = self.load(state, size, base, off)?;
                write(state, dst, value)?;
            }
            Insn::Store { size, base, off, value } => self.store(state, size, base, off, value)?,
            Insn::Goto { target } => return Ok(Flow::Jump(target as usize)),
            Insn::Branch { cond, wide, dst, src, target } => {
                return self.branch(state, (cond, wide), dst, src, target as usize);
            }
            Insn::Kfunc(kfunc) => call_kfunc(state, kfunc)?,
            Insn::Call { target, .. } => return self.call(index, target as usize, state),
            Insn::Exit => return self.exit(state),
            Insn::Pad => {}
            Insn::Unreachable => return Ok(Flow::End),
        }
        Ok(Flow::Next)
    }

    fn load(&self, state: &State, size: Size, base: Reg, off: i16) -> Checked<Value> {
        match read(state, base)? {
            Value::Pointer(region, offset) => {
                let at = offset.moved(Scalar::known(off as u64), true);
                match region {
                    Region::Args => self.load_argument(exact(at, region)?, size),
                    Region::Sched => member(&abi::SCHED, exact(at, region)?, size, false),
                    Region::Ctx => member(&abi::CTX, exact(at, region)?, size, false),
                    Region::Stack(frame) => {
                        let range = within(at, size, FRAME_SIZE as usize, "the stack")?;
                        state.load_stack(frame, range, size).map_err(str::to_owned)
                    }
                    Region::Global(section) => {
                        self.global(section, at, size)?;
                        Ok(Value::Number(sized(size), 0))
                    }
                }
            }
            Value::Path { nullable: false, offset, .. } => {
                member(&abi::PATH, i64::from(offset) + i64::from(off), size, false)
            }
            other => Err(no_pointer(base, other)),
        }
    }

    /// One of the callback's arguments, which are 8 bytes each.
    fn load_argument(&self, at: i64, size: Size) -> Checked<Value> {
        let arguments = self.callback.arguments();
        let name = self.callback.name();
        let slot = usize::try_from(at / 8).ok().filter(|_| at >= 0);
        let argument = slot.and_then(|s| arguments.get(s)).ok_or_else(|| {
            let limit = i64::from(ARGS_SIZE);
            let beyond = if (0..limit).contains(&at) { at / 8 } else { limit / 8 };
            format!("{name} has {} arguments, none with number {beyond}", arguments.len())
        })?;
        let whole = at % 8 == 0 && size == Size::B8;
        match argument {
            Argument::U32 | Argument::U64 if at % 8 + i64::from(size.bytes()) <= 8 => {
                let is_u32 = *argument == Argument::U32 && at % 8 == 0 && size == Size::B8;
                Ok(Value::Number(if is_u32 { sized(Size::B4) } else { sized(size) }, 0))
            }
            Argument::Sched if whole => Ok(Value::Pointer(Region::Sched, Offset::known(0))),
            Argument::Ctx if whole => Ok(Value::Pointer(Region::Ctx, Offset::known(0))),
            Argument::Path if whole => Ok(Value::Path { nullable: false, offset: 0, tie: 0 }),
            _ => Err("an argument is read in part".into()),
        }
    }

    /// Checks an access to global variables; whether they may be written.
    fn global(&self, section: u8, at: Offset, size: Size) -> Checked<bool> {
        let globals = self.program.globals.get(usize::from(section)).ok_or("no such section")?;
        within(at, size, globals.data.len(), &globals.name)?;
        Ok(globals.is_writable)
    }

    fn store(
        &mut self,
        state: &mut State,
        size: Size,
        base: Reg,
        off: i16,
        value: Operand,
    ) -> Checked<()> {
        let stored = operand(state, value)?;
        match read(state, base)? {
            Value::Pointer(Region::Stack(frame), offset) => {
                let at = offset.moved(Scalar::known(off as u64), true);
                let range = within(at, size, FRAME_SIZE as usize, "the stack")?;
                let aligned = range.0 == range.1 && range.0 % 8 == 0;
                if !stored.is_number() && (size != Size::B8 || !aligned) {
                    return Err("a pointer is kept in 8 aligned bytes of the stack only".into());
                }
                state.store_stack(frame, range, size, stored);
                return Ok(());
            }
            Value::Pointer(region, offset) => {
                let at = offset.moved(Scalar::known(off as u64), true);
                match region {
                    Region::Sched => {
                        member(&abi::SCHED, exact(at, region)?, size, true)?;
                    }
                    Region::Ctx => {
                        member(&abi::CTX, exact(at, region)?, size, true)?;
                    }
                    Region::Global(section) => {
                        if !self.global(section, at, size)? {
                            return Err("this global variable is read only".into());
                        }
                    }
                    Region::Args | Region::Stack(_) => {
                        return Err(format!("{} are read only", region.name()));
                    }
                }
            }
            Value::Path { nullable: false, offset, .. } => {
                member(&abi::PATH, i64::from(offset) + i64::from(off), size, true)?;
                self.verified.writes_paths = true;
            }
            other => return Err(no_pointer(base, other)),
        }
        if stored.is_number() {
            return Ok(());
        }
        let what = stored.describe();
        Err(format!("{what} is good for this call only and can be kept on the stack only"))
    }

    /// Follows the one way and leaves the other for later, each with what it learns.
    fn branch(
        &mut self,
        state: &mut State,
        (cond, wide): (Cond, bool),
        dst: Reg,
        src: Operand,
        target: usize,
    ) -> Checked<Flow> {
        let (a, b) = (read(state, dst)?, operand(state, src)?);
        let source = match src {
            Operand::Reg(reg) => Some(reg),
            Operand::Imm(_) => None,
        };
        let equality = wide && matches!(cond, Cond::Eq | Cond::Ne);
        match (a, b) {
            (Value::Number(x, s), Value::Number(y, t)) => {
                let learn = |learnt: Option<(Scalar, Scalar)>| {
                    let (x, y) = learnt?;
                    let mut known = state.clone();
                    known.learn_number(Some(dst), s, x);
                    if source.is_some() {
                        known.learn_number(source, t, y);
                    }
                    Some(known)
                };
                let taken = learn(Scalar::assume(cond, wide, x, y));
                let not_taken = learn(Scalar::assume_not(cond, wide, x, y));
                return Ok(self.part(state, target, taken, not_taken));
            }
            (Value::Path { .. }, null) if equality && null.is_null() => {
                return Ok(self.compare_with_null(state, cond, dst, target));
            }
            (null, Value::Path { .. }) if equality && null.is_null() => {
                let reg = source.ok_or("no register")?;
                return Ok(self.compare_with_null(state, cond, reg, target));
            }
            (Value::Path { .. }, Value::Path { .. }) | (Value::Pointer(..), Value::Pointer(..))
                if equality => {}
            (Value::Pointer(..), null) | (null, Value::Pointer(..))
                if equality && null.is_null() => {}
            _ => {
                let (a, b) = (a.describe(), b.describe());
                return Err(format!("{a} is compared with {b}; paths compare by == and != only"));
            }
        }
        // Nothing is learnt, and either may be.
        let both = Some(state.clone());
        Ok(self.part(state, target, both.clone(), both))
    }

    fn compare_with_null(
        &mut self,
        state: &mut State,
        cond: Cond,
        reg: Reg,
        target: usize,
    ) -> Flow {
        let Value::Path { nullable, .. } = state.reg(reg) else { return Flow::End };
        let mut some = state.clone();
        some.learn_path(reg, false);
        let none = nullable.then(|| {
            let mut none = state.clone();
            none.learn_path(reg, true);
            none
        });
        let (taken, not_taken) =
            if cond == Cond::Eq { (none, Some(some)) } else { (Some(some), none) };
        self.part(state, target, taken, not_taken)
    }

    fn part(
        &mut self,
        state: &mut State,
        target: usize,
        taken: Option<State>,
        not_taken: Option<State>,
    ) -> Flow {
        match (taken, not_taken) {
            (Some(taken), Some(not_taken)) => {
                self.work += taken.weight() / 16;
                self.values += taken.weight();
                self.pending.push((target, taken));
                *state = not_taken;
                Flow::Next
            }
            (Some(taken), None) => {
                *state = taken;
                Flow::Jump(target)
            }
            (None, Some(not_taken)) => {
                *state = not_taken;
                Flow::Next
            }
            (None, None) => Flow::End,
        }
    }

    fn exit(&self, state: &mut State) -> Checked<Flow> {
        let result = state.reg(Reg::R0);
        if let Some((_, resume)) = state.pop() {
            return Ok(Flow::Jump(resume));
        }
        let name = self.callback.name();
        match (self.callback.returns(), result) {
            (Returns::Nothing, _)
            | (Returns::Number, Value::Number(..))
            | (Returns::PathOrNull, Value::Path { offset: 0, .. }) => Ok(Flow::End),
            (Returns::PathOrNull, null) if null.is_null() => Ok(Flow::End),
            (Returns::Number, other) => {
                Err(format!("{name} must return a number, and r0 holds {}", other.describe()))
            }
            (Returns::PathOrNull, other) => {
                Err(format!("{name} must return a path or NULL, and r0 holds {}", other.describe()))
            }
        }
    }
}

/// What a register holds, which something must.
fn read(state: &State, reg: Reg) -> Checked<Value> {
    match state.reg(reg) {
        Value::Unset => {
            Err(format!("{reg} holds nothing here: it was not written, or a call used it up"))
        }
        value => Ok(value),
    }
}

fn write(state: &mut State, reg: Reg, value: Value) -> Checked<()> {
    if reg == Reg::FRAME {
        return Err("r10, the frame pointer, is read only".into());
    }
    state.set(reg, value);
    Ok(())
}

fn operand(state: &State, operand: Operand) -> Checked<Value> {
    match operand {
        Operand::Reg(reg) => read(state, reg),
        Operand::Imm(imm) => Ok(Value::known(imm as u64)),
    }
}

fn number(state: &State, reg: Reg, done: &str) -> Checked<Scalar> {
    match read(state, reg)? {
        Value::Number(number, _) => Ok(number),
        other => Err(format!("{reg} holds {}, which cannot be {done}", other.describe())),
    }
}

fn no_pointer(reg: Reg, value: Value) -> String {
    match value {
        Value::Path { .. } => format!("{reg} may be NULL here; compare it with NULL before"),
        _ if value.is_null() => format!("{reg} is NULL here"),
        other => format!("{reg} holds {}, no pointer", other.describe()),
    }
}

fn exact(at: Offset, region: Region) -> Checked<i64> {
    at.value().ok_or_else(|| format!("{} is read or written at an unknown offset", region.name()))
}

fn member(of: &Struct, at: i64, size: Size, is_write: bool) -> Checked<Value> {
    match of.refusal(at, size.bytes(), is_write) {
        Some(why) => Err(why),
        None => Ok(Value::Number(sized(size), 0)),
    }
}

/// The least and the greatest offset of an access to `length` bytes.
fn within(at: Offset, size: Size, length: usize, what: &str) -> Checked<(i64, i64)> {
    let end = at.max + i64::from(size.bytes());
    if at.min >= 0 && end <= length as i64 {
        return Ok((at.min, at.max));
    }
    let (where_, bytes) = match at.value() {
        Some(value) => (format!("offset {value}"), size.bytes()),
        None => (format!("an offset from {} to {}", at.min, at.max), size.bytes()),
    };
    Err(format!("{bytes} bytes at {where_} are not within the {length} bytes of {what}"))
}

fn alu(state: &mut State, op: AluOp, wide: bool, dst: Reg, src: Operand) -> Checked<Value> {
    let right = operand(state, src)?;
    if op == AluOp::Mov {
        return copy(state, wide, src, right);
    }
    let left = read(state, dst)?;
    let refused = |value: Value| {
        let what = value.describe();
        Err(format!("{what} is calculated with; a pointer can only be moved by adding a number"))
    };
    match (left, right) {
        (Value::Number(a, _), Value::Number(b, _)) => {
            Ok(Value::Number(Scalar::alu(op, wide, a, b), 0))
        }
        (pointer, Value::Number(by, _)) if wide && matches!(op, AluOp::Add | AluOp::Sub) => {
            moved(pointer, by, op == AluOp::Add)
        }
        (Value::Number(by, _), pointer) if wide && op == AluOp::Add => moved(pointer, by, true),
        (Value::Pointer(r, _), Value::Pointer(s, _)) if wide && op == AluOp::Sub && r == s => {
            Ok(Value::UNKNOWN)
        }
        (Value::Number(..), pointer) | (pointer, _) => refused(pointer),
    }
}

/// The value itself, tied to the one it was copied from.
fn copy(state: &mut State, wide: bool, src: Operand, value: Value) -> Checked<Value> {
    let Operand::Reg(from) = src else {
        // 32 bits of a negative number are a positive one.
        let Value::Number(number, _) = value else { return Ok(value) };
        return Ok(Value::Number(if wide { number } else { number.low_half() }, 0));
    };
    match value {
        Value::Number(number, tie) if wide || number.umax <= u64::from(u32::MAX) => {
            let tie = if tie == 0 { state.tie() } else { tie };
            state.set(from, Value::Number(number, tie));
            Ok(Value::Number(number, tie))
        }
        Value::Number(number, _) => Ok(Value::Number(number.low_half(), 0)),
        _ if !wide => Err(format!("{} is cut to 32 bits", value.describe())),
        Value::Path { nullable, offset, tie: 0 } => {
            let tied = Value::Path { nullable, offset, tie: state.tie() };
            state.set(from, tied);
            Ok(tied)
        }
        other => Ok(other),
    }
}

fn moved(pointer: Value, by: Scalar, forward: bool) -> Checked<Value> {
    match pointer {
        Value::Pointer(region, offset) => Ok(Value::Pointer(region, offset.moved(by, forward))),
        Value::Path { nullable: false, offset, tie: _ } => {
            let by = by.value().map(|v| if forward { v as i64 } else { (v as i64).wrapping_neg() });
            let moved = by.and_then(|b| b.checked_add(offset.into()));
            let moved = moved.filter(|m| m.abs() <= MAX_PATH_OFFSET);
            let offset = moved.ok_or("a path's handle is moved out of its struct")?;
            Ok(Value::Path { nullable: false, offset: offset as i32, tie: 0 })
        }
        other => {
            Err(format!("{} is calculated with; compare it with NULL before", other.describe()))
        }
    }
}

fn call_kfunc(state: &mut State, kfunc: Kfunc) -> Checked<()> {
    for (number, parameter) in (1..).zip(kfunc.parameters()) {
        let Some(reg) = Reg::new(number) else { continue };
        let value = read(state, reg)?;
        let wanted = match (parameter, value) {
            (Parameter::Sched, Value::Pointer(Region::Sched, o)) if o.value() == Some(0) => {
                continue;
            }
            (Parameter::Path, Value::Path { nullable: false, offset: 0, .. })
            | (Parameter::PathOrNull, Value::Path { offset: 0, .. })
            | (Parameter::Number, Value::Number(..)) => continue,
            (Parameter::PathOrNull, null) if null.is_null() => continue,
            (Parameter::Sched, _) => "the scheduler",
            (Parameter::Path, _) => "a path that is not NULL",
            (Parameter::PathOrNull, _) => "a path or NULL",
            (Parameter::Number, _) => "a number",
        };
        return Err(format!(
            "argument {number} must be {wanted}, and {reg} holds {}",
            value.describe()
        ));
    }
    let result = match kfunc.outcome() {
        Outcome::PathOrNull => Value::Path { nullable: true, offset: 0, tie: state.tie() },
        Outcome::UpTo(max) => Value::Number(Scalar::up_to(max), 0),
    };
    state.forget_registers();
    state.set(Reg::R0, result);
    Ok(())
}
