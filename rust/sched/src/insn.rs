//! The instructions, decoded: what the verifier judges, the interpreter runs and the JIT
//! translates. RFC 9669 is their definition; what is left out is said in `decode`.

use std::fmt;

use crate::abi::Kfunc;

/// One of r0 to r10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reg(u8);

impl Reg {
    pub const R0: Self = Self(0);
    pub const R1: Self = Self(1);
    pub const FRAME: Self = Self(10);
    pub const COUNT: usize = 11;

    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// How many bytes are loaded or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    B1 = 1,
    B2 = 2,
    B4 = 4,
    B8 = 8,
}

impl Size {
    pub fn bytes(self) -> u32 {
        self as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Reg(Reg),
    Imm(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AluOp {
    Add,
    Sub,
    Mul,
    Div,
    Or,
    And,
    Lsh,
    Rsh,
    Mod,
    Xor,
    Mov,
    Arsh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cond {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Sgt,
    Sge,
    Slt,
    Sle,
    /// Any bit in common.
    Set,
}

/// Jumps and calls name their target by its index in the program. `wide`: 64 bits, else 32 bits
/// whose result is zero-extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insn {
    Alu {
        op: AluOp,
        wide: bool,
        dst: Reg,
        src: Operand,
    },
    Neg {
        wide: bool,
        dst: Reg,
    },
    /// To big or little endian, truncated to `bits`.
    Endian {
        big: bool,
        bits: u8,
        dst: Reg,
    },
    LoadImm {
        dst: Reg,
        value: u64,
    },
    /// The address of a byte of the numbered section of global variables.
    LoadGlobal {
        dst: Reg,
        section: u8,
        offset: u32,
    },
    Load {
        size: Size,
        dst: Reg,
        base: Reg,
        off: i16,
    },
    Store {
        size: Size,
        base: Reg,
        off: i16,
        value: Operand,
    },
    Goto {
        target: u32,
    },
    Branch {
        cond: Cond,
        wide: bool,
        dst: Reg,
        src: Operand,
        target: u32,
    },
    Kfunc(Kfunc),
    /// `length`: the callee's instructions.
    Call {
        target: u32,
        length: u32,
    },
    Exit,
    /// The second half of a 64-bit constant: does nothing.
    Pad,
    /// What the verifier found out of reach.
    Unreachable,
}

/// One instruction as it lies in the object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl Raw {
    pub const SIZE: usize = 8;

    pub fn parse(bytes: &[u8; Self::SIZE]) -> Self {
        let [code, regs, off @ .., i0, i1, i2, i3] = *bytes;
        Self {
            code,
            dst: regs & 0xf,
            src: regs >> 4,
            off: i16::from_le_bytes(off),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    /// Whether this is the first half of a 64-bit constant or address.
    pub fn is_load_imm(self) -> bool {
        self.code == 0x18
    }

    /// Whether this is a call of any kind.
    pub fn is_call(self) -> bool {
        self.code == 0x85
    }

    /// Decodes everything but calls and 64-bit constants, which need the object's relocations.
    /// `index` is where it stands in the program, `range` the instructions of its function.
    pub fn decode(self, index: usize, range: &std::ops::Range<usize>) -> Result<Insn, String> {
        let dst = Reg::new(self.dst).ok_or_else(|| no_register(self.dst))?;
        let src = Reg::new(self.src).ok_or_else(|| no_register(self.src))?;
        let from_reg = self.code & 0x08 != 0;
        let operand = if from_reg { Operand::Reg(src) } else { Operand::Imm(self.imm) };
        match self.code & 0x07 {
            0x04 | 0x07 => self.decode_alu(dst, operand),
            0x01 if self.code & 0xe0 == 0x60 => {
                Ok(Insn::Load { size: self.size(), dst, base: src, off: self.off })
            }
            0x02 | 0x03 if self.code & 0xe0 == 0x60 => {
                let value =
                    if self.code & 1 == 1 { Operand::Reg(src) } else { Operand::Imm(self.imm) };
                Ok(Insn::Store { size: self.size(), base: dst, off: self.off, value })
            }
            0x03 if self.code & 0xe0 == 0xc0 => {
                Err("atomic operations are not supported: a scheduler runs in one thread".into())
            }
            0x01 if self.code & 0xe0 == 0x80 => Err(newer("a sign-extending load")),
            0x05 | 0x06 => self.decode_jump(dst, operand, index, range),
            _ => Err(self.unknown()),
        }
    }

    fn decode_alu(self, dst: Reg, src: Operand) -> Result<Insn, String> {
        let wide = self.code & 0x07 == 0x07;
        let op = match self.code >> 4 {
            0x0 => AluOp::Add,
            0x1 => AluOp::Sub,
            0x2 => AluOp::Mul,
            0x3 => AluOp::Div,
            0x4 => AluOp::Or,
            0x5 => AluOp::And,
            0x6 => AluOp::Lsh,
            0x7 => AluOp::Rsh,
            0x8 if self.off == 0 => return Ok(Insn::Neg { wide, dst }),
            0x9 => AluOp::Mod,
            0xa => AluOp::Xor,
            0xb => AluOp::Mov,
            0xc => AluOp::Arsh,
            0xd if wide => return Err(newer("an unconditional byte swap")),
            0xd => {
                let bits = match self.imm {
                    16 => 16,
                    32 => 32,
                    64 => 64,
                    other => return Err(format!("a byte swap of {other} bits")),
                };
                return Ok(Insn::Endian { big: self.code & 0x08 != 0, bits, dst });
            }
            _ => return Err(self.unknown()),
        };
        if self.off != 0 {
            return Err(newer("a signed division or a sign-extending move"));
        }
        if let Operand::Imm(imm) = src {
            let bits = if wide { 64 } else { 32 };
            if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) && !(0..bits).contains(&imm) {
                return Err(format!("a shift by {imm} bits of {bits}"));
            }
            if matches!(op, AluOp::Div | AluOp::Mod) && imm == 0 {
                return Err("a division by zero".into());
            }
        }
        Ok(Insn::Alu { op, wide, dst, src })
    }

    fn decode_jump(
        self,
        dst: Reg,
        src: Operand,
        index: usize,
        range: &std::ops::Range<usize>,
    ) -> Result<Insn, String> {
        let wide = self.code & 0x07 == 0x05;
        let cond = match self.code >> 4 {
            0x0 if self.code == 0x06 => return Err(newer("a long jump")),
            0x0 if self.code == 0x05 => None,
            0x1 => Some(Cond::Eq),
            0x2 => Some(Cond::Gt),
            0x3 => Some(Cond::Ge),
            0x4 => Some(Cond::Set),
            0x5 => Some(Cond::Ne),
            0x6 => Some(Cond::Sgt),
            0x7 => Some(Cond::Sge),
            0x9 if self.code == 0x95 => return Ok(Insn::Exit),
            0xa => Some(Cond::Lt),
            0xb => Some(Cond::Le),
            0xc => Some(Cond::Slt),
            0xd => Some(Cond::Sle),
            _ => return Err(self.unknown()),
        };
        let target = (index + 1)
            .checked_add_signed(self.off.into())
            .filter(|t| range.contains(t))
            .ok_or_else(|| format!("a jump by {:+} leaves the function", self.off))?;
        let target = u32::try_from(target).map_err(|_| "a jump too far".to_owned())?;
        Ok(match cond {
            None => Insn::Goto { target },
            Some(cond) => Insn::Branch { cond, wide, dst, src, target },
        })
    }

    fn size(self) -> Size {
        match self.code & 0x18 {
            0x00 => Size::B4,
            0x08 => Size::B2,
            0x10 => Size::B1,
            _ => Size::B8,
        }
    }

    fn unknown(self) -> String {
        format!("there is no instruction with code {:#04x}", self.code)
    }
}

fn no_register(number: u8) -> String {
    format!("there is no register r{number}")
}

fn newer(what: &str) -> String {
    format!("{what} belongs to the fourth version of the instruction set; compile with -mcpu=v3")
}

/// An instruction as text, the way LLVM writes it; jumps are relative to the next instruction.
pub(crate) struct Text<'a> {
    pub insn: &'a Insn,
    pub index: usize,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relative = |target: u32| i64::from(target) - self.index as i64 - 1;
        match *self.insn {
            Insn::Alu { op, wide, dst, src } => {
                write!(f, "{} {} {}", part(dst, wide), alu_sign(op), value(src, wide))
            }
            Insn::Neg { wide, dst } => write!(f, "{0} = -{0}", part(dst, wide)),
            Insn::Endian { big, bits, dst } => {
                write!(f, "{dst} = {}{bits} {dst}", if big { "be" } else { "le" })
            }
            Insn::LoadImm { dst, value } => write!(f, "{dst} = {value:#x} ll"),
            Insn::LoadGlobal { dst, section, offset } => {
                write!(f, "{dst} = global {section} + {offset:#x} ll")
            }
            Insn::Load { size, dst, base, off } => {
                write!(f, "{dst} = {}", place(size, base, off))
            }
            Insn::Store { size, base, off, value: stored } => {
                write!(f, "{} = {}", place(size, base, off), value(stored, true))
            }
            Insn::Goto { target } => write!(f, "goto {:+}", relative(target)),
            Insn::Branch { cond, wide, dst, src, target } => {
                let (dst, sign, src) = (part(dst, wide), cond_sign(cond), value(src, wide));
                write!(f, "if {dst} {sign} {src} goto {:+}", relative(target))
            }
            Insn::Kfunc(kfunc) => write!(f, "call {}", kfunc.name()),
            Insn::Call { target, .. } => write!(f, "call {:+}", relative(target)),
            Insn::Exit => f.write_str("exit"),
            Insn::Pad => f.write_str("(second half)"),
            Insn::Unreachable => f.write_str("(out of reach)"),
        }
    }
}

fn part(reg: Reg, wide: bool) -> String {
    format!("{}{}", if wide { 'r' } else { 'w' }, reg.0)
}

fn value(operand: Operand, wide: bool) -> String {
    match operand {
        Operand::Reg(reg) => part(reg, wide),
        Operand::Imm(imm) => imm.to_string(),
    }
}

fn place(size: Size, base: Reg, off: i16) -> String {
    let (sign, off) = if off < 0 { ('-', -i32::from(off)) } else { ('+', off.into()) };
    format!("*(u{} *)({base} {sign} {off})", size.bytes() * 8)
}

fn alu_sign(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod => "%=",
        AluOp::Xor => "^=",
        AluOp::Mov => "=",
        AluOp::Arsh => "s>>=",
    }
}

fn cond_sign(cond: Cond) -> &'static str {
    match cond {
        Cond::Eq => "==",
        Cond::Ne => "!=",
        Cond::Gt => ">",
        Cond::Ge => ">=",
        Cond::Lt => "<",
        Cond::Le => "<=",
        Cond::Sgt => "s>",
        Cond::Sge => "s>=",
        Cond::Slt => "s<",
        Cond::Sle => "s<=",
        Cond::Set => "&",
    }
}
