//! Runs a program instruction by instruction. This is the reference: it checks every access and
//! every handle again, and is what the machine code is compared with.

use crate::arena::Arena;
use crate::error::Fault;
use crate::insn::{AluOp, Cond, Insn, Operand, Reg};
use crate::layout::{ARGS, FRAME_SIZE, MAX_FRAMES};
use crate::path::Paths;

/// What is saved of a function that called another.
#[derive(Clone, Copy, Default)]
struct Caller {
    resume: usize,
    /// r6 to r9.
    kept: [u64; 4],
}

/// Registers, and the functions that wait.
pub(crate) struct Machine {
    /// More than there are, so that no number of four bits is outside.
    regs: [u64; 16],
    callers: [Caller; MAX_FRAMES],
    depth: usize,
}

/// Sees every instruction before it runs.
pub(crate) trait Observer {
    fn see(&mut self, _index: usize, _machine: &Machine, _arena: &Arena) {}
}

/// Looks away.
pub(crate) struct Nobody;

impl Observer for Nobody {}

impl Machine {
    /// How many functions run.
    #[cfg(test)]
    pub fn frames(&self) -> usize {
        self.depth + 1
    }

    /// What the registers hold.
    #[cfg(test)]
    pub fn registers(&self) -> &[u64] {
        self.regs.get(..Reg::COUNT).unwrap_or_default()
    }

    fn get(&self, reg: Reg) -> u64 {
        self.regs[reg.index() & 15]
    }

    fn set(&mut self, reg: Reg, value: u64) {
        self.regs[reg.index() & 15] = value;
    }

    fn operand(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Reg(reg) => self.get(reg),
            Operand::Imm(imm) => imm as u64,
        }
    }

    fn enter(&mut self, resume: usize) -> Option<()> {
        let [_, _, _, _, _, _, r6, r7, r8, r9, frame, ..] = &mut self.regs;
        let caller = self.callers.get_mut(self.depth)?;
        *caller = Caller { resume, kept: [*r6, *r7, *r8, *r9] };
        *frame += u64::from(FRAME_SIZE);
        self.depth += 1;
        Some(())
    }

    /// Where the caller goes on; `None` from the callback itself.
    fn leave(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        let caller = self.callers.get(self.depth)?;
        let [_, _, _, _, _, _, r6, r7, r8, r9, frame, ..] = &mut self.regs;
        [*r6, *r7, *r8, *r9] = caller.kept;
        *frame -= u64::from(FRAME_SIZE);
        Some(caller.resume)
    }
}

/// Runs from the instruction `entry` on, with the stack at `stack`, and gives r0. `fuel` is spent
/// by going back, one for each instruction gone back over, and by calling, one for each of the
/// called function's instructions: about as many are run for it.
pub(crate) fn run(
    code: &[Insn],
    (entry, stack): (usize, u32),
    arena: &mut Arena,
    paths: &Paths<'_>,
    fuel: &mut u64,
    observer: &mut impl Observer,
) -> Result<u64, Fault> {
    let mut machine = Machine { regs: [0; 16], callers: [Caller::default(); MAX_FRAMES], depth: 0 };
    machine.set(Reg::R1, ARGS.into());
    machine.set(Reg::FRAME, u64::from(stack) + u64::from(FRAME_SIZE));
    let mut index = entry;
    loop {
        let insn = code.get(index).ok_or(Fault::Verifier)?;
        observer.see(index, &machine, arena);
        index = match *insn {
            Insn::Exit => match machine.leave() {
                Some(resume) => resume,
                None => return Ok(machine.get(Reg::R0)),
            },
            Insn::Goto { target } => jump(index, target, fuel)?,
            Insn::Branch { cond, wide, dst, src, target } => {
                if holds(cond, wide, machine.get(dst), machine.operand(src)) {
                    jump(index, target, fuel)?
                } else {
                    index + 1
                }
            }
            Insn::Call { target, length } => {
                *fuel = fuel.checked_sub(length.into()).ok_or(Fault::OutOfFuel)?;
                machine.enter(index + 1).ok_or(Fault::Verifier)?;
                target as usize
            }
            _ => {
                simple(insn, &mut machine, arena, paths).ok_or(Fault::Verifier)?;
                index + 1
            }
        };
    }
}

/// What going from one instruction to another costs, if it goes back.
pub(crate) fn cost(index: usize, target: u32) -> Option<u32> {
    let gone_back = (index as u32).checked_sub(target)?;
    Some(gone_back + 1)
}

fn jump(index: usize, target: u32, fuel: &mut u64) -> Result<usize, Fault> {
    if let Some(cost) = cost(index, target) {
        *fuel = fuel.checked_sub(cost.into()).ok_or(Fault::OutOfFuel)?;
    }
    Ok(target as usize)
}

/// Runs an instruction behind which the next one follows.
fn simple(insn: &Insn, machine: &mut Machine, arena: &mut Arena, paths: &Paths<'_>) -> Option<()> {
    match *insn {
        Insn::Alu { op, wide, dst, src } => {
            let value = alu(op, wide, machine.get(dst), machine.operand(src));
            machine.set(dst, value);
        }
        Insn::Neg { wide, dst } => {
            machine.set(dst, alu(AluOp::Sub, wide, 0, machine.get(dst)));
        }
        Insn::Endian { big, bits, dst } => {
            let value = machine.get(dst);
            machine.set(dst, endian(big, bits, value));
        }
        Insn::LoadImm { dst, value } => machine.set(dst, value),
        Insn::Load { size, dst, base, off } => {
            let address = machine.get(base).wrapping_add(off as u64);
            machine.set(dst, arena.load(address, size)?);
        }
        Insn::Store { size, base, off, value } => {
            let address = machine.get(base).wrapping_add(off as u64);
            arena.store(address, size, machine.operand(value))?;
        }
        Insn::Kfunc(kfunc) => {
            let [_, first, second, ..] = machine.regs;
            machine.set(Reg::R0, paths.ask(kfunc, first, second)?);
        }
        Insn::Pad => {}
        // Flow is the caller's, global variables have addresses by now, and the rest is out of
        // reach.
        _ => return None,
    }
    Some(())
}

fn alu(op: AluOp, wide: bool, a: u64, b: u64) -> u64 {
    if !wide {
        return alu32(op, a as u32, b as u32).into();
    }
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Lsh => a.wrapping_shl(b as u32),
        AluOp::Rsh => a.wrapping_shr(b as u32),
        AluOp::Arsh => (a as i64).wrapping_shr(b as u32) as u64,
    }
}

fn alu32(op: AluOp, a: u32, b: u32) -> u32 {
    match op {
        AluOp::Add => a.wrapping_add(b),
        AluOp::Sub => a.wrapping_sub(b),
        AluOp::Mul => a.wrapping_mul(b),
        AluOp::Div => a.checked_div(b).unwrap_or(0),
        AluOp::Mod => a.checked_rem(b).unwrap_or(a),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Lsh => a.wrapping_shl(b),
        AluOp::Rsh => a.wrapping_shr(b),
        AluOp::Arsh => (a as i32).wrapping_shr(b) as u32,
    }
}

fn endian(big: bool, bits: u8, value: u64) -> u64 {
    match (bits, big) {
        (16, true) => u64::from((value as u16).to_be()),
        (16, false) => u64::from((value as u16).to_le()),
        (32, true) => u64::from((value as u32).to_be()),
        (32, false) => u64::from((value as u32).to_le()),
        (_, true) => value.to_be(),
        (_, false) => value.to_le(),
    }
}

fn holds(cond: Cond, wide: bool, a: u64, b: u64) -> bool {
    // Zero- and sign-extended, 32 bits compare as 64.
    let (a, b) = if wide { (a, b) } else { (u64::from(a as u32), u64::from(b as u32)) };
    let signed = |v: u64| if wide { v as i64 } else { i64::from(v as u32 as i32) };
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Sgt => signed(a) > signed(b),
        Cond::Sge => signed(a) >= signed(b),
        Cond::Slt => signed(a) < signed(b),
        Cond::Sle => signed(a) <= signed(b),
        Cond::Set => a & b != 0,
    }
}
