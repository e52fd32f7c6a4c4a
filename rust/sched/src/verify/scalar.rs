//! What the verifier knows of a number: bounds as unsigned and as signed, and which bits are
//! certain. Every operation returns bounds that hold for all numbers its arguments allow.

use crate::insn::{AluOp, Cond};

const LOW: u64 = u32::MAX as u64;

/// Bits that are certain: where `mask` is 0, the bit is that of `value`; `value & mask` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    pub value: u64,
    pub mask: u64,
}

impl Bits {
    const UNKNOWN: Self = Self { value: 0, mask: u64::MAX };

    fn known(value: u64) -> Self {
        Self { value, mask: 0 }
    }

    /// What all numbers from `min` to `max` have in common.
    fn between(min: u64, max: u64) -> Self {
        let differing = 64 - (min ^ max).leading_zeros();
        let mask = u64::MAX.checked_shr(64 - differing).unwrap_or(0);
        Self { value: min & !mask, mask }
    }

    fn max(self) -> u64 {
        self.value | self.mask
    }

    fn add(self, other: Self) -> Self {
        let lowest = self.value.wrapping_add(other.value);
        let highest = self.max().wrapping_add(other.max());
        // A bit is certain if no carry that may or may not come can reach it.
        let mask = (lowest ^ highest) | self.mask | other.mask;
        Self { value: lowest & !mask, mask }
    }

    fn sub(self, other: Self) -> Self {
        let difference = self.value.wrapping_sub(other.value);
        let highest = difference.wrapping_add(self.mask);
        let lowest = difference.wrapping_sub(other.mask);
        let mask = (lowest ^ highest) | self.mask | other.mask;
        Self { value: difference & !mask, mask }
    }

    fn and(self, other: Self) -> Self {
        let value = self.value & other.value;
        Self { value, mask: self.max() & other.max() & !value }
    }

    fn or(self, other: Self) -> Self {
        let value = self.value | other.value;
        Self { value, mask: (self.mask | other.mask) & !value }
    }

    fn xor(self, other: Self) -> Self {
        let mask = self.mask | other.mask;
        Self { value: (self.value ^ other.value) & !mask, mask }
    }

    fn shl(self, by: u32) -> Self {
        Self { value: self.value << by, mask: self.mask << by }
    }

    fn shr(self, by: u32) -> Self {
        Self { value: self.value >> by, mask: self.mask >> by }
    }

    fn sar(self, by: u32) -> Self {
        let mask = ((self.mask as i64) >> by) as u64;
        Self { value: ((self.value as i64) >> by) as u64 & !mask, mask }
    }

    /// The numbers of both. They are taken to have one in common.
    fn intersect(self, other: Self) -> Self {
        let mask = self.mask & other.mask;
        Self { value: (self.value | other.value) & !mask, mask }
    }

    /// The numbers of either.
    fn union(self, other: Self) -> Self {
        let mask = self.mask | other.mask | (self.value ^ other.value);
        Self { value: self.value & !mask, mask }
    }

    fn includes(self, other: Self) -> bool {
        other.mask & !self.mask == 0 && other.value & !self.mask == self.value
    }

    fn is_disjoint(self, other: Self) -> bool {
        (self.value ^ other.value) & !self.mask & !other.mask != 0
    }
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub umin: u64,
    pub umax: u64,
    pub smin: i64,
    pub smax: i64,
    pub bits: Bits,
}

impl Scalar {
    pub const UNKNOWN: Self =
        Self { umin: 0, umax: u64::MAX, smin: i64::MIN, smax: i64::MAX, bits: Bits::UNKNOWN };

    pub fn known(value: u64) -> Self {
        let signed = value as i64;
        Self { umin: value, umax: value, smin: signed, smax: signed, bits: Bits::known(value) }
    }

    pub fn up_to(max: u64) -> Self {
        Self::between(0, max)
    }

    pub fn between(umin: u64, umax: u64) -> Self {
        Self { umin, umax, ..Self::UNKNOWN }.settled()
    }

    fn signed_between(smin: i64, smax: i64) -> Self {
        Self { smin, smax, ..Self::UNKNOWN }.settled()
    }

    fn of_bits(bits: Bits) -> Self {
        Self { bits, ..Self::UNKNOWN }.settled()
    }

    /// The number, if there is but one.
    pub fn value(self) -> Option<u64> {
        (self.umin == self.umax).then_some(self.umin)
    }

    #[cfg(test)]
    pub fn contains(self, value: u64) -> bool {
        (self.umin..=self.umax).contains(&value)
            && (self.smin..=self.smax).contains(&(value as i64))
            && self.bits.includes(Bits::known(value))
    }

    pub fn includes(self, other: Self) -> bool {
        self.umin <= other.umin
            && self.umax >= other.umax
            && self.smin <= other.smin
            && self.smax >= other.smax
            && self.bits.includes(other.bits)
    }

    /// Covers both; what grew grows without limit, so that this is not repeated for ever.
    pub fn widened(self, other: Self) -> Self {
        Self {
            umin: if other.umin < self.umin { 0 } else { self.umin },
            umax: if other.umax > self.umax { u64::MAX } else { self.umax },
            smin: if other.smin < self.smin { i64::MIN } else { self.smin },
            smax: if other.smax > self.smax { i64::MAX } else { self.smax },
            bits: self.bits.union(other.bits),
        }
    }

    /// Lets the three kinds of knowledge sharpen each other.
    fn settled(mut self) -> Self {
        for _ in 0..2 {
            self.umin = self.umin.max(self.bits.value);
            self.umax = self.umax.min(self.bits.max());
            // Both on the same side of the sign: the orders agree there.
            if (self.umin as i64) <= (self.umax as i64) {
                self.smin = self.smin.max(self.umin as i64);
                self.smax = self.smax.min(self.umax as i64);
            }
            if self.smin >= 0 || self.smax < 0 {
                self.umin = self.umin.max(self.smin as u64);
                self.umax = self.umax.min(self.smax as u64);
            }
            if self.umin <= self.umax {
                self.bits = self.bits.intersect(Bits::between(self.umin, self.umax));
            }
        }
        self
    }

    fn is_impossible(self) -> bool {
        self.umin > self.umax || self.smin > self.smax
    }

    /// The lower 32 bits, zero-extended.
    pub fn low_half(self) -> Self {
        let bits = self.bits.and(Bits::known(LOW));
        if self.umin >> 32 == self.umax >> 32 {
            let (umin, umax) = (self.umin & LOW, self.umax & LOW);
            return Self { umin, umax, bits, ..Self::UNKNOWN }.settled();
        }
        Self::of_bits(bits)
    }

    fn add(self, other: Self) -> Self {
        let mut sum = Self { bits: self.bits.add(other.bits), ..Self::UNKNOWN };
        let unsigned = self.umin.checked_add(other.umin).zip(self.umax.checked_add(other.umax));
        if let Some((umin, umax)) = unsigned {
            (sum.umin, sum.umax) = (umin, umax);
        }
        let signed = self.smin.checked_add(other.smin).zip(self.smax.checked_add(other.smax));
        if let Some((smin, smax)) = signed {
            (sum.smin, sum.smax) = (smin, smax);
        }
        sum.settled()
    }

    fn sub(self, other: Self) -> Self {
        let mut difference = Self { bits: self.bits.sub(other.bits), ..Self::UNKNOWN };
        let unsigned = self.umin.checked_sub(other.umax).zip(self.umax.checked_sub(other.umin));
        if let Some((umin, umax)) = unsigned {
            (difference.umin, difference.umax) = (umin, umax);
        }
        let signed = self.smin.checked_sub(other.smax).zip(self.smax.checked_sub(other.smin));
        if let Some((smin, smax)) = signed {
            (difference.smin, difference.smax) = (smin, smax);
        }
        difference.settled()
    }

    fn mul(self, other: Self) -> Self {
        let zeros = self.bits.max().trailing_zeros() + other.bits.max().trailing_zeros();
        let mask = u64::MAX.checked_shl(zeros).unwrap_or(0);
        let mut product = Self { bits: Bits { value: 0, mask }, ..Self::UNKNOWN };
        let bounds = self.umin.checked_mul(other.umin).zip(self.umax.checked_mul(other.umax));
        if let Some((umin, umax)) = bounds {
            (product.umin, product.umax) = (umin, umax);
        }
        product.settled()
    }

    fn shl(self, by: u32) -> Self {
        let mut shifted = Self { bits: self.bits.shl(by), ..Self::UNKNOWN };
        if self.umax <= u64::MAX >> by {
            (shifted.umin, shifted.umax) = (self.umin << by, self.umax << by);
        }
        shifted.settled()
    }

    fn shr(self, by: u32) -> Self {
        let (umin, umax) = (self.umin >> by, self.umax >> by);
        Self { umin, umax, bits: self.bits.shr(by), ..Self::UNKNOWN }.settled()
    }

    fn sar(self, by: u32) -> Self {
        let (smin, smax) = (self.smin >> by, self.smax >> by);
        Self { smin, smax, bits: self.bits.sar(by), ..Self::UNKNOWN }.settled()
    }

    /// A shift whose count is masked to the width of the numbers.
    fn shift(self, op: AluOp, by: Self, wide: bool) -> Self {
        let count = by.value().map(|b| (b as u32) & if wide { 63 } else { 31 });
        match (op, count) {
            (AluOp::Lsh, Some(by)) => self.shl(by),
            (AluOp::Lsh, None) => Self::UNKNOWN,
            (AluOp::Rsh, Some(by)) => self.shr(by),
            (AluOp::Rsh, None) => Self::up_to(self.umax),
            // Of 32 bits, the sign is bit 31.
            (_, Some(by)) if !wide && self.umax > i32::MAX as u64 => self.sign_extended().sar(by),
            (_, Some(by)) => self.sar(by),
            (_, None) if self.smin >= 0 && (wide || self.umax <= i32::MAX as u64) => {
                Self::up_to(self.umax)
            }
            (_, None) => Self::UNKNOWN,
        }
    }

    /// A number of 32 bits with its sign carried on.
    fn sign_extended(self) -> Self {
        if self.umin > i32::MAX as u64 {
            return Self::signed_between(
                i64::from(self.umin as u32 as i32),
                i64::from(self.umax as u32 as i32),
            );
        }
        Self::signed_between(i32::MIN.into(), i32::MAX.into())
    }

    /// Division by zero gives zero.
    fn div(self, by: Self) -> Self {
        match by.value() {
            Some(0) => Self::known(0),
            Some(by) => Self::between(self.umin / by, self.umax / by),
            None => Self::up_to(self.umax),
        }
    }

    /// The remainder of a division by zero is the dividend.
    fn modulo(self, by: Self) -> Self {
        if by.umin == 0 {
            return if by.umax == 0 { self } else { Self::up_to(self.umax) };
        }
        if self.umax < by.umin { self } else { Self::up_to(self.umax.min(by.umax - 1)) }
    }

    /// The result of an operation on two numbers.
    pub fn alu(op: AluOp, wide: bool, dst: Self, src: Self) -> Self {
        let (a, b) = if wide { (dst, src) } else { (dst.low_half(), src.low_half()) };
        let result = match op {
            AluOp::Add => a.add(b),
            AluOp::Sub => a.sub(b),
            AluOp::Mul => a.mul(b),
            AluOp::Div => a.div(b),
            AluOp::Mod => a.modulo(b),
            AluOp::And => {
                let bits = a.bits.and(b.bits);
                Self { umax: a.umax.min(b.umax), bits, ..Self::UNKNOWN }.settled()
            }
            AluOp::Or => {
                let bits = a.bits.or(b.bits);
                Self { umin: a.umin.max(b.umin), bits, ..Self::UNKNOWN }.settled()
            }
            AluOp::Xor => Self::of_bits(a.bits.xor(b.bits)),
            AluOp::Mov => b,
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => a.shift(op, b, wide),
        };
        if wide { result } else { result.low_half() }
    }

    pub fn negated(self, wide: bool) -> Self {
        Self::alu(AluOp::Sub, wide, Self::known(0), self)
    }

    /// What is known of both if `a cond b` holds; `None` if it cannot.
    pub fn assume(cond: Cond, wide: bool, a: Self, b: Self) -> Option<(Self, Self)> {
        if !wide {
            // Where the upper halves are zero, 32-bit comparisons are those of 64 bits, but for
            // the sign. Of other numbers nothing is learnt.
            let limit = if is_signed(cond) { i32::MAX as u64 } else { LOW };
            if a.umax > limit || b.umax > limit {
                return Some((a, b));
            }
        }
        let (mut a, mut b) = (a, b);
        match cond {
            Cond::Eq => {
                if a.bits.is_disjoint(b.bits) {
                    return None;
                }
                let both = Self {
                    umin: a.umin.max(b.umin),
                    umax: a.umax.min(b.umax),
                    smin: a.smin.max(b.smin),
                    smax: a.smax.min(b.smax),
                    bits: a.bits.intersect(b.bits),
                };
                (a, b) = (both, both);
            }
            Cond::Ne => {
                a = a.without(b)?;
                b = b.without(a)?;
            }
            Cond::Gt => {
                a.umin = a.umin.max(b.umin.checked_add(1)?);
                b.umax = b.umax.min(a.umax.checked_sub(1)?);
            }
            Cond::Ge => {
                a.umin = a.umin.max(b.umin);
                b.umax = b.umax.min(a.umax);
            }
            Cond::Sgt => {
                a.smin = a.smin.max(b.smin.checked_add(1)?);
                b.smax = b.smax.min(a.smax.checked_sub(1)?);
            }
            Cond::Sge => {
                a.smin = a.smin.max(b.smin);
                b.smax = b.smax.min(a.smax);
            }
            Cond::Lt | Cond::Le | Cond::Slt | Cond::Sle => {
                let mirrored = match cond {
                    Cond::Lt => Cond::Gt,
                    Cond::Le => Cond::Ge,
                    Cond::Slt => Cond::Sgt,
                    _ => Cond::Sge,
                };
                return Self::assume(mirrored, true, b, a).map(|(b, a)| (a, b));
            }
            Cond::Set => {
                if a.bits.max() & b.bits.max() == 0 {
                    return None;
                }
            }
        }
        let (a, b) = (a.settled(), b.settled());
        (!a.is_impossible() && !b.is_impossible()).then_some((a, b))
    }

    /// What is known if `a cond b` does not hold; `None` if it must.
    pub fn assume_not(cond: Cond, wide: bool, a: Self, b: Self) -> Option<(Self, Self)> {
        let opposite = match cond {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Gt => Cond::Le,
            Cond::Ge => Cond::Lt,
            Cond::Lt => Cond::Ge,
            Cond::Le => Cond::Gt,
            Cond::Sgt => Cond::Sle,
            Cond::Sge => Cond::Slt,
            Cond::Slt => Cond::Sge,
            Cond::Sle => Cond::Sgt,
            Cond::Set => {
                let certain = if wide { a.bits.value & b.bits.value } else { 0 };
                return (certain == 0).then_some((a, b));
            }
        };
        Self::assume(opposite, wide, a, b)
    }

    /// These numbers without another, which is known to differ. Only an end can be cut off.
    fn without(mut self, other: Self) -> Option<Self> {
        let Some(other) = other.value() else { return Some(self) };
        if self.umin == other {
            self.umin = self.umin.checked_add(1)?;
        }
        if self.umax == other {
            self.umax = self.umax.checked_sub(1)?;
        }
        if self.smin == other as i64 {
            self.smin = self.smin.checked_add(1)?;
        }
        if self.smax == other as i64 {
            self.smax = self.smax.checked_sub(1)?;
        }
        let cut = self.settled();
        (!cut.is_impossible()).then_some(cut)
    }
}

fn is_signed(cond: Cond) -> bool {
    matches!(cond, Cond::Sgt | Cond::Sge | Cond::Slt | Cond::Sle)
}
