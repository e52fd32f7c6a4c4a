//! What a register or a place on the stack may hold.

use super::scalar::Scalar;

/// Ties together what is equal: what is learnt of one is learnt of all. 0: tied to nothing.
pub(super) type Tie = u32;

/// Memory that a pointer points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// The callback's arguments.
    Args,
    Sched,
    Ctx,
    /// The stack of the numbered frame, counted from the callback's own.
    Stack(u8),
    /// A section of global variables.
    Global(u8),
}

impl Region {
    pub fn name(self) -> &'static str {
        match self {
            Self::Args => "the arguments",
            Self::Sched => "the scheduler",
            Self::Ctx => "the context",
            Self::Stack(_) => "the stack",
            Self::Global(_) => "a global variable",
        }
    }
}

/// How far a pointer may be from where its region begins. Beyond `LIMIT` nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    pub min: i64,
    pub max: i64,
}

impl Offset {
    const LIMIT: i64 = 1 << 32;
    const UNKNOWN: Self = Self { min: -Self::LIMIT, max: Self::LIMIT };

    pub fn known(value: i64) -> Self {
        Self { min: value, max: value }
    }

    pub fn value(self) -> Option<i64> {
        (self.min == self.max).then_some(self.min)
    }

    fn checked(min: Option<i64>, max: Option<i64>) -> Self {
        let limits = -Self::LIMIT + 1..Self::LIMIT;
        match (min, max) {
            (Some(min), Some(max)) if limits.contains(&min) && limits.contains(&max) => {
                Self { min, max }
            }
            _ => Self::UNKNOWN,
        }
    }

    /// `self + by`, or minus.
    pub fn moved(self, by: Scalar, forward: bool) -> Self {
        if self == Self::UNKNOWN {
            return self;
        }
        let (low, high) = if forward {
            (self.min.checked_add(by.smin), self.max.checked_add(by.smax))
        } else {
            (self.min.checked_sub(by.smax), self.max.checked_sub(by.smin))
        };
        Self::checked(low, high)
    }

    fn includes(self, other: Self) -> bool {
        self.min <= other.min && self.max >= other.max
    }

    fn widened(self, other: Self) -> Self {
        if self.includes(other) { self } else { Self::UNKNOWN }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing was written there, or it must not be read any more.
    Unset,
    Number(Scalar, Tie),
    Pointer(Region, Offset),
    /// A handle of a path, moved on by `offset` bytes into its struct.
    Path {
        nullable: bool,
        offset: i32,
        tie: Tie,
    },
}

impl Value {
    pub const UNKNOWN: Self = Self::Number(Scalar::UNKNOWN, 0);

    pub fn known(value: u64) -> Self {
        Self::Number(Scalar::known(value), 0)
    }

    /// Whether it is certainly NULL.
    pub fn is_null(self) -> bool {
        matches!(self, Self::Number(n, _) if n.value() == Some(0))
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Number(..))
    }

    /// In words, for messages.
    pub fn describe(self) -> String {
        match self {
            Self::Unset => "nothing".into(),
            Self::Number(n, _) => match n.value() {
                Some(value) => format!("the number {}", value as i64),
                None => "a number".into(),
            },
            Self::Pointer(region, _) => format!("a pointer into {}", region.name()),
            Self::Path { nullable: true, .. } => "a path that may be NULL".into(),
            Self::Path { .. } => "a path".into(),
        }
    }

    /// A value that covers both, moved towards covering everything.
    pub fn widened(self, other: Self) -> Self {
        match (self, other) {
            (Self::Number(a, _), Self::Number(b, _)) => Self::Number(a.widened(b), 0),
            (Self::Pointer(r, a), Self::Pointer(s, b)) if r == s => Self::Pointer(r, a.widened(b)),
            (
                Self::Path { nullable: a, offset: o, .. },
                Self::Path { nullable: b, offset: p, .. },
            ) if o == p => Self::Path { nullable: a || b, offset: o, tie: 0 },
            (Self::Path { offset: 0, .. }, null) | (null, Self::Path { offset: 0, .. })
                if null.is_null() =>
            {
                Self::Path { nullable: true, offset: 0, tie: 0 }
            }
            _ => Self::Unset,
        }
    }

    /// Whether all that `other` may be was allowed for by `self`.
    pub fn includes(self, other: Self, ties: &mut Ties) -> bool {
        match (self, other) {
            (Self::Unset, _) => true,
            (Self::Number(a, s), Self::Number(b, t)) => a.includes(b) && ties.agree(s, t),
            (Self::Pointer(r, a), Self::Pointer(s, b)) => r == s && a.includes(b),
            (
                Self::Path { nullable: a, offset: o, tie: s },
                Self::Path { nullable: b, offset: p, tie: t },
            ) => o == p && (a || !b) && ties.agree(s, t),
            (Self::Path { nullable: true, offset: 0, tie }, null) if null.is_null() => {
                ties.agree(tie, 0)
            }
            _ => false,
        }
    }
}

/// Which ties of one state stand for which of another.
#[derive(Default)]
pub(super) struct Ties {
    pairs: Vec<(Tie, Option<Tie>)>,
}

impl Ties {
    /// Whether what the one state knows to be equal is equal in the other, too.
    fn agree(&mut self, known: Tie, other: Tie) -> bool {
        if known == 0 {
            return true;
        }
        let other = (other != 0).then_some(other);
        match self.pairs.iter().find(|p| p.0 == known) {
            // Untied values of the other state are equal to nothing.
            Some(pair) => pair.1.is_some() && pair.1 == other,
            None => {
                self.pairs.push((known, other));
                true
            }
        }
    }
}
