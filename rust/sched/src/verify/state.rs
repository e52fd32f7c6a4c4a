//! What is known at one point of a program: registers and stacks of all frames.

use super::scalar::Scalar;
use super::value::{Region, Tie, Ties, Value};
use crate::insn::{Reg, Size};
use crate::layout::FRAME_SIZE;

/// Eight bytes of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// One value of eight bytes.
    Whole(Value),
    /// Bytes of numbers; a bit is set for each that was written.
    Bytes(u8),
}

impl Slot {
    const EMPTY: Self = Self::Bytes(0);

    /// Which bytes are written.
    fn written(self) -> u8 {
        match self {
            Self::Whole(Value::Unset) => 0,
            Self::Whole(_) => 0xff,
            Self::Bytes(written) => written,
        }
    }

    /// Whether it holds nothing but numbers.
    fn holds_numbers(self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Whole(Value::Number(..) | Value::Unset))
    }

    fn includes(self, other: Self, ties: &mut Ties) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.includes(b, ties),
            (Self::Bytes(0), _) => true,
            (Self::Bytes(a), b) => b.holds_numbers() && a & !b.written() == 0,
            (Self::Whole(a), Self::Bytes(b)) => {
                a == Value::Unset || (b == 0xff && a.includes(Value::UNKNOWN, ties))
            }
        }
    }

    fn widened(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Self::Whole(a.widened(b)),
            (a, b) if a.holds_numbers() && b.holds_numbers() => {
                Self::Bytes(a.written() & b.written())
            }
            _ => Self::EMPTY,
        }
    }
}

/// A function that was called and has not returned.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Where it goes on when the function that it called returns.
    pub resume: usize,
    pub regs: [Value; Reg::COUNT],
    /// From the top down: the first is that at r10 - 8.
    slots: Vec<Slot>,
}

impl Frame {
    pub fn new(number: u8) -> Self {
        let mut regs = [Value::Unset; Reg::COUNT];
        let top = super::value::Offset::known(FRAME_SIZE.into());
        if let Some(frame) = regs.last_mut() {
            *frame = Value::Pointer(Region::Stack(number), top);
        }
        Self { resume: 0, regs, slots: Vec::new() }
    }

    fn slot(&self, number: usize) -> Slot {
        self.slots.get(number).copied().unwrap_or(Slot::EMPTY)
    }

    fn set_slot(&mut self, number: usize, slot: Slot) {
        if self.slots.len() <= number {
            self.slots.resize(number + 1, Slot::EMPTY);
        }
        if let Some(place) = self.slots.get_mut(number) {
            *place = slot;
        }
    }

    /// The values on the stack, by their distance from its bottom.
    #[cfg(test)]
    pub fn whole_slots(&self) -> impl Iterator<Item = (usize, Value)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(number, slot)| match slot {
            Slot::Whole(value) => Some((FRAME_SIZE as usize - 8 * (number + 1), *value)),
            Slot::Bytes(_) => None,
        })
    }

    fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        let slots = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Whole(value) => Some(value),
            Slot::Bytes(_) => None,
        });
        self.regs.iter_mut().chain(slots)
    }
}

/// The slot and the byte in it of a byte of a frame's stack, counted from the bottom.
fn slot_of(offset: i64) -> (usize, u32) {
    let slots = FRAME_SIZE as usize / 8;
    (slots - 1 - offset as usize / 8, offset as u32 % 8)
}

#[derive(Clone, Debug)]
pub(super) struct State {
    /// The callback's own first, the running function's last; never empty.
    pub frames: Vec<Frame>,
    next_tie: Tie,
}

impl State {
    pub fn new() -> Self {
        Self { frames: vec![Frame::new(0)], next_tie: 1 }
    }

    pub fn reg(&self, reg: Reg) -> Value {
        let frame = self.frames.last();
        frame.and_then(|f| f.regs.get(reg.index())).copied().unwrap_or(Value::Unset)
    }

    pub fn set(&mut self, reg: Reg, value: Value) {
        let frame = self.frames.last_mut();
        if let Some(place) = frame.and_then(|f| f.regs.get_mut(reg.index())) {
            *place = value;
        }
    }

    /// A tie that was never used.
    pub fn tie(&mut self) -> Tie {
        self.next_tie += 1;
        self.next_tie
    }

    fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.frames.iter_mut().flat_map(Frame::values)
    }

    /// All numbers with this tie are now known to be `number`; without a tie, only that in `reg`.
    pub fn learn_number(&mut self, reg: Option<Reg>, tie: Tie, number: Scalar) {
        if let Some(reg) = reg {
            self.set(reg, Value::Number(number, tie));
        }
        for value in self.values() {
            if let Value::Number(known, t) = value
                && *t == tie
                && tie != 0
            {
                *known = number;
            }
        }
    }

    /// The path in `reg` and all that are tied to it are now known to be NULL, or not to be.
    pub fn learn_path(&mut self, reg: Reg, is_null: bool) {
        let Value::Path { tie, .. } = self.reg(reg) else { return };
        let learnt = |value: &mut Value| {
            if let Value::Path { nullable, .. } = value {
                *nullable = false;
            }
            if is_null {
                *value = Value::known(0);
            }
        };
        for value in self.values() {
            if matches!(value, Value::Path { tie: t, .. } if *t == tie && tie != 0) {
                learnt(value);
            }
        }
        let mut value = self.reg(reg);
        if matches!(value, Value::Path { .. }) {
            learnt(&mut value);
            self.set(reg, value);
        }
    }

    /// What lies at these bytes of a frame's stack, which are within it.
    pub fn load_stack(
        &self,
        frame: u8,
        offset: (i64, i64),
        size: Size,
    ) -> Result<Value, &'static str> {
        const UNWRITTEN: &str = "this part of the stack was never written";
        let Some(frame) = self.frames.get(usize::from(frame)) else { return Err(UNWRITTEN) };
        let (min, max) = offset;
        if min == max && min % 8 == 0 && size == Size::B8 {
            match frame.slot(slot_of(min).0) {
                Slot::Whole(Value::Unset) => return Err(UNWRITTEN),
                Slot::Whole(value) => return Ok(value),
                Slot::Bytes(0xff) => return Ok(Value::UNKNOWN),
                Slot::Bytes(_) => return Err(UNWRITTEN),
            }
        }
        for at in min..max + i64::from(size.bytes()) {
            let (slot, byte) = slot_of(at);
            let slot = frame.slot(slot);
            if slot.written() & (1 << byte) == 0 {
                return Err(UNWRITTEN);
            }
            if !slot.holds_numbers() {
                return Err("this is a part of a pointer, or a pointer at an unknown place");
            }
        }
        Ok(Value::Number(sized(size), 0))
    }

    /// Writes to these bytes of a frame's stack, which are within it.
    pub fn store_stack(&mut self, frame: u8, offset: (i64, i64), size: Size, value: Value) {
        let Some(frame) = self.frames.get_mut(usize::from(frame)) else { return };
        let (min, max) = offset;
        if min == max && min % 8 == 0 && size == Size::B8 {
            frame.set_slot(slot_of(min).0, Slot::Whole(value));
            return;
        }
        for at in min..max + i64::from(size.bytes()) {
            let (number, byte) = slot_of(at);
            let slot = frame.slot(number);
            // What was a part of a pointer is nothing any more. Where it is not known which bytes
            // are written, none becomes readable by it.
            let before = if slot.holds_numbers() { slot.written() } else { 0 };
            let certain = if min == max { 1 << byte } else { 0 };
            frame.set_slot(number, Slot::Bytes(before | certain));
        }
    }

    /// Returns from the running function: what it returns, and where its caller goes on. `None`
    /// from the callback itself.
    pub fn pop(&mut self) -> Option<(Value, usize)> {
        if self.frames.len() < 2 {
            return None;
        }
        let result = self.reg(Reg::R0);
        self.frames.pop();
        let depth = self.frames.len();
        let resume = self.frames.last()?.resume;
        self.forget_registers();
        self.set(Reg::R0, result);
        // Its stack is gone, and with it what points there.
        for value in self.values() {
            if matches!(value, Value::Pointer(Region::Stack(n), _) if usize::from(*n) >= depth) {
                *value = Value::Unset;
            }
        }
        Some((result, resume))
    }

    /// r0 to r5 hold nothing that may be read, as after every call.
    pub fn forget_registers(&mut self) {
        for value in self.frames.last_mut().into_iter().flat_map(|f| f.regs.iter_mut().take(6)) {
            *value = Value::Unset;
        }
    }

    /// How much memory it takes, in values.
    pub fn weight(&self) -> usize {
        self.frames.iter().map(|f| f.regs.len() + f.slots.len()).sum()
    }

    /// Whether all that may hold in `other` was allowed for by `self`. Both are at one point of
    /// the program, with the same calls behind them.
    pub fn includes(&self, other: &Self) -> bool {
        let mut ties = Ties::default();
        self.frames.iter().zip(&other.frames).all(|(mine, theirs)| {
            let regs = mine.regs.iter().zip(&theirs.regs);
            let slots = 0..mine.slots.len();
            regs.into_iter().all(|(a, b)| a.includes(*b, &mut ties))
                && slots.into_iter().all(|n| mine.slot(n).includes(theirs.slot(n), &mut ties))
        })
    }

    /// A state that covers both, moved towards covering everything.
    pub fn widened(&self, other: &Self) -> Self {
        let mut wide = self.clone();
        wide.next_tie = self.next_tie.max(other.next_tie);
        for (mine, theirs) in wide.frames.iter_mut().zip(&other.frames) {
            for (a, b) in mine.regs.iter_mut().zip(&theirs.regs) {
                *a = a.widened(*b);
            }
            for number in 0..mine.slots.len() {
                mine.set_slot(number, mine.slot(number).widened(theirs.slot(number)));
            }
        }
        wide
    }
}

/// What `size` bytes can hold.
pub(super) fn sized(size: Size) -> Scalar {
    match size {
        Size::B1 => Scalar::up_to(u8::MAX.into()),
        Size::B2 => Scalar::up_to(u16::MAX.into()),
        Size::B4 => Scalar::up_to(u32::MAX.into()),
        Size::B8 => Scalar::UNKNOWN,
    }
}
