//! Encodes the x86-64 instructions that programs are translated to, and patches their jumps.

/// A register of the processor, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct X(pub u8);

pub(super) const RAX: X = X(0);
pub(super) const RCX: X = X(1);
pub(super) const RDX: X = X(2);
pub(super) const RBX: X = X(3);
pub(super) const RSP: X = X(4);
pub(super) const RBP: X = X(5);
pub(super) const RSI: X = X(6);
pub(super) const RDI: X = X(7);
pub(super) const R8: X = X(8);
pub(super) const R9: X = X(9);
pub(super) const R10: X = X(10);
pub(super) const R11: X = X(11);
pub(super) const R12: X = X(12);
pub(super) const R13: X = X(13);
pub(super) const R14: X = X(14);
pub(super) const R15: X = X(15);

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// The translation of the instruction with this number.
    Insn(u32),
    OutOfFuel,
    OutOfReach,
}

/// A jump forward over a few bytes, to be closed by `Asm::land`.
#[must_use]
pub(super) struct Skip(usize);

#[derive(Default)]
pub(super) struct Asm {
    pub bytes: Vec<u8>,
    /// Places of 32 bits to be filled with the distance to a label.
    fixups: Vec<(usize, Label)>,
}

impl Asm {
    pub fn here(&self) -> usize {
        self.bytes.len()
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn imm(&mut self, value: i32) {
        self.raw(&value.to_le_bytes());
    }

    /// The prefix that says which of the 16 registers, and whether 64 bits.
    fn rex(&mut self, wide: bool, reg: X, index: X, base: X) {
        let high = |x: X| x.0 >> 3;
        let prefix = u8::from(wide) << 3 | high(reg) << 2 | high(index) << 1 | high(base);
        self.bytes.push(0x40 | prefix);
    }

    fn mod_rm(&mut self, mode: u8, reg: u8, rm: u8) {
        self.bytes.push(mode << 6 | (reg & 7) << 3 | (rm & 7));
    }

    /// `opcode` on two registers; `rm` is where most write to.
    pub fn two(&mut self, opcode: &[u8], wide: bool, reg: X, rm: X) {
        self.rex(wide, reg, X(0), rm);
        self.raw(opcode);
        self.mod_rm(3, reg.0, rm.0);
    }

    /// `opcode` on one register; `extension` says which operation it is.
    pub fn one(&mut self, opcode: u8, extension: u8, wide: bool, rm: X) {
        self.rex(wide, X(0), X(0), rm);
        self.bytes.push(opcode);
        self.mod_rm(3, extension, rm.0);
    }

    /// As `one`, with 32 bits behind it, sign-extended.
    pub fn one_imm(&mut self, opcode: u8, extension: u8, wide: bool, rm: X, imm: i32) {
        self.one(opcode, extension, wide, rm);
        self.imm(imm);
    }

    /// As `two`, with 32 bits behind it, sign-extended.
    pub fn two_imm(&mut self, opcode: &[u8], wide: bool, (reg, rm): (X, X), imm: i32) {
        self.two(opcode, wide, reg, rm);
        self.imm(imm);
    }

    pub fn copy(&mut self, wide: bool, to: X, from: X) {
        self.two(&[0x89], wide, from, to);
    }

    pub fn zero(&mut self, reg: X) {
        self.two(&[0x31], false, reg, reg);
    }

    pub fn constant(&mut self, reg: X, value: u64) {
        if let Ok(low) = u32::try_from(value) {
            self.rex(false, X(0), X(0), reg);
            self.bytes.push(0xb8 | (reg.0 & 7));
            self.raw(&low.to_le_bytes());
            return;
        }
        self.rex(true, X(0), X(0), reg);
        self.bytes.push(0xb8 | (reg.0 & 7));
        self.raw(&value.to_le_bytes());
    }

    pub fn push(&mut self, reg: X) {
        self.rex(false, X(0), X(0), reg);
        self.bytes.push(0x50 | (reg.0 & 7));
    }

    pub fn pop(&mut self, reg: X) {
        self.rex(false, X(0), X(0), reg);
        self.bytes.push(0x58 | (reg.0 & 7));
    }

    /// ecx = the low 32 bits of `base` + `off`. `base` is neither rsp nor r12, which are encoded in
    /// another way.
    pub fn lea_ecx(&mut self, base: X, off: i32) {
        self.rex(false, RCX, X(0), base);
        self.bytes.push(0x8d);
        self.mod_rm(2, RCX.0, base.0);
        self.imm(off);
    }

    /// `opcode` on `reg` and the memory at r12 + rcx.
    pub fn at_rcx(&mut self, opcode: &[u8], wide: bool, reg: X) {
        self.rex(wide, reg, RCX, R12);
        self.raw(opcode);
        self.mod_rm(0, reg.0, 4);
        self.bytes.push((RCX.0 & 7) << 3 | (R12.0 & 7));
    }

    /// `opcode` on 64 bits of `reg`, or the operation that its number stands for, and the memory
    /// at r12 + `off`.
    pub fn at_base(&mut self, opcode: u8, reg: X, off: i8) {
        self.rex(true, reg, X(0), R12);
        self.bytes.push(opcode);
        self.mod_rm(1, reg.0, 4);
        self.bytes.push(4 << 3 | (R12.0 & 7));
        self.raw(&off.to_le_bytes());
    }

    /// As `at_base`, with 32 bits behind it.
    pub fn at_base_imm(&mut self, opcode: u8, extension: u8, off: i8, imm: i32) {
        self.at_base(opcode, X(extension), off);
        self.imm(imm);
    }

    /// Jumps if the condition with this number holds.
    pub fn jump_if(&mut self, condition: u8, to: Label) {
        self.raw(&[0x0f, 0x80 | condition]);
        self.distance(to);
    }

    pub fn jump(&mut self, to: Label) {
        self.bytes.push(0xe9);
        self.distance(to);
    }

    pub fn call(&mut self, to: Label) {
        self.bytes.push(0xe8);
        self.distance(to);
    }

    fn distance(&mut self, to: Label) {
        self.fixups.push((self.here(), to));
        self.imm(0);
    }

    /// Skips what follows, up to `land`, if the condition holds.
    pub fn skip_if(&mut self, condition: u8) -> Skip {
        self.raw(&[0x70 | condition, 0]);
        Skip(self.here())
    }

    pub fn skip(&mut self) -> Skip {
        self.raw(&[0xeb, 0]);
        Skip(self.here())
    }

    pub fn land(&mut self, skip: &Skip) -> Result<(), String> {
        let distance = i8::try_from(self.here() - skip.0).map_err(|_| "a skip too far")?;
        let place = skip.0.checked_sub(1).and_then(|at| self.bytes.get_mut(at));
        *place.ok_or("no skip")? = distance as u8;
        Ok(())
    }

    /// Fills in all distances, by where the labels lie.
    pub fn link(&mut self, place: impl Fn(Label) -> Option<usize>) -> Result<(), String> {
        for (at, label) in std::mem::take(&mut self.fixups) {
            let target = place(label).ok_or("a jump to nowhere")? as i64;
            let distance = i32::try_from(target - (at as i64 + 4)).map_err(|_| "a jump too far")?;
            let bytes = self.bytes.get_mut(at..at + 4).ok_or("no jump")?;
            bytes.copy_from_slice(&distance.to_le_bytes());
        }
        Ok(())
    }
}
