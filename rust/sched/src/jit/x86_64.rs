//! Translates a program to x86-64, one sequence for each instruction.
//!
//! r12 holds where the arena begins; rcx, rdx and r11 are scratch; the registers of the program
//! have fixed places among the rest. Before the arena lie four words: the fuel left, where the
//! paths are, the stack pointer to go back to when a call is stopped, and why it was.

use std::ffi::c_void;

use super::asm::*;
use super::pages::Pages;
use crate::abi::Kfunc;
use crate::arena::{Arena, HEADER};
use crate::error::Fault;
use crate::insn::{AluOp, Cond, Insn, Operand, Reg, Size};
use crate::interp::cost;
use crate::layout::{ARGS, FRAME_SIZE, Layout};
use crate::path::Paths;

/// Where the words lie, from the beginning of the arena.
const FUEL: i8 = -64;
const PATHS: i8 = -56;
const STACK: i8 = -48;
const STATUS: i8 = -40;

const FINISHED: u64 = 0;
const OUT_OF_FUEL: u64 = 1;
const OUT_OF_REACH: u64 = 2;

/// The processor's conditions.
const BELOW: u8 = 0x2;
const EQUAL: u8 = 0x4;

/// Machine code of a program.
pub(crate) struct Code {
    pages: Pages,
    /// Where the translation of each instruction begins.
    places: Vec<usize>,
    stack: u32,
}

/// What lies at the beginning of the code: takes the arena, the function, r1 and r10.
type Enter = unsafe extern "sysv64" fn(*mut u8, *const c_void, u64, u64) -> u64;

/// A function of the engine as machine code calls it.
type Ask = unsafe extern "sysv64" fn(*const c_void, u64, u64) -> u64;

/// What `Paths` says to kfunc number `K`; 0 if it is asked about what is no path.
///
/// # Safety
/// `paths` points to a `Paths` that lives as long as the call.
unsafe extern "sysv64" fn ask<const K: usize>(paths: *const c_void, a: u64, b: u64) -> u64 {
    // SAFETY: the caller vouches for it.
    let paths = unsafe { &*paths.cast::<Paths<'_>>() };
    paths.ask(const { Kfunc::ALL[K] }, a, b).unwrap_or(0)
}

const ASKS: [Ask; Kfunc::ALL.len()] = [
    ask::<0>, ask::<1>, ask::<2>, ask::<3>, ask::<4>, ask::<5>, ask::<6>, ask::<7>, ask::<8>,
    ask::<9>, ask::<10>, ask::<11>, ask::<12>, ask::<13>,
];

impl Code {
    /// Translates a verified program; says why if that is not possible here.
    pub fn new(insns: &[Insn], layout: &Layout) -> Result<Self, String> {
        let mask =
            i32::try_from(layout.size - 1).map_err(|_| "the program's memory is too large")?;
        let mut translator = Translator { asm: Asm::default(), mask };
        let stops = translator.entry();
        let mut places = Vec::with_capacity(insns.len());
        for (index, insn) in insns.iter().enumerate() {
            places.push(translator.asm.here());
            translator.translate(index, insn)?;
        }
        // Verified code does not run into its end; what might is stopped.
        translator.asm.jump(Label::OutOfReach);
        let mut asm = translator.asm;
        asm.link(|label| match label {
            Label::Insn(number) => places.get(number as usize).copied(),
            Label::OutOfFuel => Some(stops.0),
            Label::OutOfReach => Some(stops.1),
        })?;
        let pages = Pages::new(&asm.bytes)
            .map_err(|error| format!("the system allows no machine code: {error}"))?;
        Ok(Self { pages, places, stack: layout.stack })
    }

    /// Runs from an instruction on, which begins a callback; as `interp::run`.
    pub fn run(
        &self,
        entry: usize,
        arena: &mut Arena,
        paths: &Paths<'_>,
        fuel: &mut u64,
    ) -> Result<u64, Fault> {
        let place = *self.places.get(entry).ok_or(Fault::Verifier)?;
        let target = self.pages.address(place);
        let address = std::ptr::from_ref(paths).expose_provenance() as u64;
        let whole = arena.whole();
        set_word(whole, FUEL, *fuel);
        set_word(whole, PATHS, address);
        set_word(whole, STATUS, FINISHED);
        let base = whole.as_mut_ptr().wrapping_add(HEADER);
        let frame = u64::from(self.stack) + u64::from(FRAME_SIZE);
        // SAFETY: the pages begin with what `Translator::entry` wrote, which follows the calling
        // convention of the type.
        let enter: Enter = unsafe { std::mem::transmute(self.pages.address(0)) };
        // SAFETY: the code reads and writes the `HEADER` bytes before `base`, and behind it no
        // more than the mask allows, `Layout::size` and seven bytes, all of which `whole` has and
        // nobody else refers to meanwhile. It asks `paths`, which outlives the call, through the
        // address above. It comes back: going back in it takes from the fuel.
        let result = unsafe { enter(base, target, ARGS.into(), frame) };
        match word(whole, STATUS) {
            FINISHED => {
                *fuel = word(whole, FUEL);
                Ok(result)
            }
            OUT_OF_FUEL => Err(Fault::OutOfFuel),
            _ => Err(Fault::Verifier),
        }
    }
}

/// Where a word before the arena lies in the whole.
fn word_place(off: i8) -> std::ops::Range<usize> {
    let at = HEADER.saturating_add_signed(off.into());
    at..at + 8
}

fn set_word(whole: &mut [u8], off: i8, value: u64) {
    if let Some(place) = whole.get_mut(word_place(off)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn word(whole: &[u8], off: i8) -> u64 {
    let bytes = whole.get(word_place(off)).and_then(|b| b.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// Where a register of the program lives. What a caller keeps over a call is what C keeps, too.
fn place(reg: Reg) -> X {
    const PLACES: [X; Reg::COUNT] = [RAX, RDI, RSI, R8, R9, R10, RBX, R13, R14, R15, RBP];
    PLACES.get(reg.index()).copied().unwrap_or(RAX)
}

struct Translator {
    asm: Asm,
    /// The size of the arena less one.
    mask: i32,
}

impl Translator {
    /// What calls a function of the program from Rust, and what stops it; where the two stops lie.
    fn entry(&mut self) -> (usize, usize) {
        const KEPT: [X; 6] = [RBX, RBP, R12, R13, R14, R15];
        let asm = &mut self.asm;
        for reg in KEPT {
            asm.push(reg);
        }
        asm.copy(true, R12, RDI);
        asm.at_base(0x89, RSP, STACK);
        asm.copy(true, R11, RSI);
        asm.copy(true, RDI, RDX);
        asm.copy(true, RBP, RCX);
        for reg in [RAX, RSI, R8, R9, R10, RBX, R13, R14, R15] {
            asm.zero(reg);
        }
        // The stack is at a multiple of 16 before a call: 8 for the return address and 48 for the
        // registers lie on it.
        asm.one_imm(0x81, 5, true, RSP, 8);
        asm.one(0xff, 2, false, R11);
        asm.one_imm(0x81, 0, true, RSP, 8);
        let end = asm.here();
        for reg in KEPT.into_iter().rev() {
            asm.pop(reg);
        }
        asm.raw(&[0xc3]);
        let mut stop = |status: u64| {
            let here = asm.here();
            asm.at_base_imm(0xc7, 0, STATUS, status as i32);
            asm.at_base(0x8b, RSP, STACK);
            // Back to the end of the entry, which is near.
            let distance = end as i64 - (asm.here() as i64 + 5);
            asm.raw(&[0xe9]);
            asm.raw(&(distance as i32).to_le_bytes());
            here
        };
        (stop(OUT_OF_FUEL), stop(OUT_OF_REACH))
    }

    fn translate(&mut self, index: usize, insn: &Insn) -> Result<(), String> {
        let asm = &mut self.asm;
        match *insn {
            Insn::Alu { op, wide, dst, src } => return self.alu(op, wide, place(dst), src),
            Insn::Neg { wide, dst } => asm.one(0xf7, 3, wide, place(dst)),
            Insn::Endian { big, bits, dst } => self.endian(big, bits, place(dst)),
            Insn::LoadImm { dst, value } => asm.constant(place(dst), value),
            Insn::Load { size, dst, base, off } => self.load(size, place(dst), place(base), off),
            Insn::Store { size, base, off, value } => self.store(size, place(base), off, value),
            Insn::Goto { target } => self.jump(index, target),
            Insn::Branch { cond, wide, dst, src, target } => {
                let condition = self.compare(cond, wide, place(dst), src);
                if cost(index, target).is_some() {
                    let skip = self.asm.skip_if(condition ^ 1);
                    self.jump(index, target);
                    return self.asm.land(&skip);
                }
                self.asm.jump_if(condition, Label::Insn(target));
            }
            Insn::Kfunc(kfunc) => self.kfunc(kfunc),
            Insn::Call { target, length } => self.call(target, length),
            Insn::Exit => asm.raw(&[0xc3]),
            Insn::Pad => {}
            Insn::LoadGlobal { .. } | Insn::Unreachable => asm.jump(Label::OutOfReach),
        }
        Ok(())
    }

    fn alu(&mut self, op: AluOp, wide: bool, dst: X, src: Operand) -> Result<(), String> {
        let asm = &mut self.asm;
        let (opcode, extension) = match op {
            AluOp::Add => (0x01, 0),
            AluOp::Or => (0x09, 1),
            AluOp::And => (0x21, 4),
            AluOp::Sub => (0x29, 5),
            AluOp::Xor => (0x31, 6),
            AluOp::Mov => {
                match src {
                    Operand::Reg(src) => asm.copy(wide, dst, place(src)),
                    Operand::Imm(imm) if wide => asm.constant(dst, imm as u64),
                    Operand::Imm(imm) => asm.constant(dst, (imm as u32).into()),
                }
                return Ok(());
            }
            AluOp::Mul => {
                match src {
                    Operand::Reg(src) => asm.two(&[0x0f, 0xaf], wide, dst, place(src)),
                    Operand::Imm(imm) => asm.two_imm(&[0x69], wide, (dst, dst), imm),
                }
                return Ok(());
            }
            AluOp::Div | AluOp::Mod => return self.divide(op == AluOp::Div, wide, dst, src),
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
                let extension = match op {
                    AluOp::Lsh => 4,
                    AluOp::Rsh => 5,
                    _ => 7,
                };
                match src {
                    Operand::Imm(imm) => {
                        asm.one(0xc1, extension, wide, dst);
                        asm.raw(&[imm as u8]);
                    }
                    Operand::Reg(src) => {
                        asm.copy(false, RCX, place(src));
                        asm.one(0xd3, extension, wide, dst);
                    }
                }
                return Ok(());
            }
        };
        match src {
            Operand::Reg(src) => asm.two(&[opcode], wide, place(src), dst),
            Operand::Imm(imm) => asm.one_imm(0x81, extension, wide, dst, imm),
        }
        Ok(())
    }

    /// The processor divides rdx:rax, and stops the process at a zero: both are seen to here.
    fn divide(&mut self, quotient: bool, wide: bool, dst: X, src: Operand) -> Result<(), String> {
        let asm = &mut self.asm;
        match src {
            Operand::Reg(src) => asm.copy(wide, RCX, place(src)),
            Operand::Imm(imm) if wide => asm.constant(RCX, imm as u64),
            Operand::Imm(imm) => asm.constant(RCX, (imm as u32).into()),
        }
        asm.two(&[0x85], wide, RCX, RCX);
        let by_zero = asm.skip_if(EQUAL);
        if dst != RAX {
            asm.copy(true, R11, RAX);
            asm.copy(true, RAX, dst);
        }
        asm.zero(RDX);
        asm.one(0xf7, 6, wide, RCX);
        let result = if quotient { RAX } else { RDX };
        if dst != result {
            asm.copy(wide, dst, result);
        }
        if dst != RAX {
            asm.copy(true, RAX, R11);
        }
        let done = asm.skip();
        asm.land(&by_zero)?;
        if quotient {
            asm.zero(dst);
        } else {
            asm.copy(wide, dst, dst);
        }
        asm.land(&done)
    }

    fn endian(&mut self, big: bool, bits: u8, dst: X) {
        let asm = &mut self.asm;
        match (big, bits) {
            (true, 16) => {
                // Of 16 bits, turned by 8.
                asm.raw(&[0x66]);
                asm.one(0xc1, 0, false, dst);
                asm.raw(&[8]);
                asm.two(&[0x0f, 0xb7], false, dst, dst);
            }
            (true, _) => {
                let prefix = 0x40 | u8::from(bits == 64) << 3 | dst.0 >> 3;
                asm.raw(&[prefix, 0x0f, 0xc8 | (dst.0 & 7)]);
            }
            (false, 16) => asm.two(&[0x0f, 0xb7], false, dst, dst),
            (false, 32) => asm.copy(false, dst, dst),
            (false, _) => {}
        }
    }

    /// rcx = where in the arena `base` + `off` lies, which it does from here on.
    fn address(&mut self, base: X, off: i16) {
        self.asm.lea_ecx(base, off.into());
        self.asm.one_imm(0x81, 4, false, RCX, self.mask);
    }

    fn load(&mut self, size: Size, dst: X, base: X, off: i16) {
        self.address(base, off);
        match size {
            Size::B1 => self.asm.at_rcx(&[0x0f, 0xb6], false, dst),
            Size::B2 => self.asm.at_rcx(&[0x0f, 0xb7], false, dst),
            Size::B4 => self.asm.at_rcx(&[0x8b], false, dst),
            Size::B8 => self.asm.at_rcx(&[0x8b], true, dst),
        }
    }

    fn store(&mut self, size: Size, base: X, off: i16, value: Operand) {
        self.address(base, off);
        let from = match value {
            Operand::Reg(reg) => place(reg),
            Operand::Imm(imm) => {
                self.asm.constant(R11, imm as u64);
                R11
            }
        };
        match size {
            Size::B1 => self.asm.at_rcx(&[0x88], false, from),
            Size::B2 => {
                self.asm.raw(&[0x66]);
                self.asm.at_rcx(&[0x89], false, from);
            }
            Size::B4 => self.asm.at_rcx(&[0x89], false, from),
            Size::B8 => self.asm.at_rcx(&[0x89], true, from),
        }
    }

    /// Compares; the number of the processor's condition for it.
    fn compare(&mut self, cond: Cond, wide: bool, dst: X, src: Operand) -> u8 {
        let asm = &mut self.asm;
        match (src, cond) {
            (Operand::Reg(src), Cond::Set) => asm.two(&[0x85], wide, place(src), dst),
            (Operand::Imm(imm), Cond::Set) => asm.one_imm(0xf7, 0, wide, dst, imm),
            (Operand::Reg(src), _) => asm.two(&[0x39], wide, place(src), dst),
            (Operand::Imm(imm), _) => asm.one_imm(0x81, 7, wide, dst, imm),
        }
        match cond {
            Cond::Eq => EQUAL,
            Cond::Ne | Cond::Set => 0x5,
            Cond::Gt => 0x7,
            Cond::Ge => 0x3,
            Cond::Lt => BELOW,
            Cond::Le => 0x6,
            Cond::Sgt => 0xf,
            Cond::Sge => 0xd,
            Cond::Slt => 0xc,
            Cond::Sle => 0xe,
        }
    }

    fn take_fuel(&mut self, cost: u32) {
        // At most the length of a program, see `object::MAX_INSNS`.
        self.asm.at_base_imm(0x81, 5, FUEL, cost as i32);
        self.asm.jump_if(BELOW, Label::OutOfFuel);
    }

    fn jump(&mut self, index: usize, target: u32) {
        if let Some(cost) = cost(index, target) {
            self.take_fuel(cost);
        }
        self.asm.jump(Label::Insn(target));
    }

    fn kfunc(&mut self, kfunc: Kfunc) {
        let function =
            ASKS.get(kfunc as usize).map_or(0, |f| (*f as *const ()).expose_provenance());
        let asm = &mut self.asm;
        asm.copy(true, RDX, RSI);
        asm.copy(true, RSI, RDI);
        asm.at_base(0x8b, RDI, PATHS);
        asm.constant(RAX, function as u64);
        asm.one_imm(0x81, 5, true, RSP, 8);
        asm.one(0xff, 2, false, RAX);
        asm.one_imm(0x81, 0, true, RSP, 8);
    }

    /// Keeps what the caller keeps. Five registers and the return address are a multiple of 16.
    fn call(&mut self, target: u32, length: u32) {
        const KEPT: [X; 5] = [RBP, RBX, R13, R14, R15];
        self.take_fuel(length);
        for reg in KEPT {
            self.asm.push(reg);
        }
        self.asm.one_imm(0x81, 0, true, RBP, FRAME_SIZE as i32);
        self.asm.call(Label::Insn(target));
        for reg in KEPT.into_iter().rev() {
            self.asm.pop(reg);
        }
    }
}
