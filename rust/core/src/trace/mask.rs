//! Kinds of events, one bit each.

use core::ops::BitOr;

/// A set of kinds of events. The bits are those that C programs put into `tquic_qlog_args.event_mask`;
/// bits 6 to 8 are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mask(pub u64);

macro_rules! kinds {
    ($($name:ident = $bit:literal,)*) => {
        impl Mask {
            $(#[doc = concat!("Bit ", stringify!($bit), ".")] pub const $name: Self = Self(1 << $bit);)*
            /// Every kind.
            pub const ALL: Self = Self($(1 << $bit)|*);
            /// Every kind with its name, as in the qlog drafts.
            pub const KINDS: &[(&str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

kinds! {
    SERVER_LISTENING = 0,
    CONNECTION_STARTED = 1,
    CONNECTION_CLOSED = 2,
    CONNECTION_ID_UPDATED = 3,
    SPIN_BIT_UPDATED = 4,
    PATH_UPDATED = 5,
    CONNECTION_STATE_UPDATED = 6,
    MTU_UPDATED = 7,
    SCHEDULER_DECISION = 8,
    VERSION_INFORMATION = 10,
    ALPN_INFORMATION = 11,
    PARAMETERS_SET = 12,
    PARAMETERS_RESTORED = 13,
    PACKET_SENT = 14,
    PACKET_RECEIVED = 15,
    PACKET_DROPPED = 16,
    PACKET_BUFFERED = 17,
    PACKETS_ACKED = 18,
    DATAGRAMS_SENT = 19,
    DATAGRAMS_RECEIVED = 20,
    DATAGRAM_DROPPED = 21,
    STREAM_STATE_UPDATED = 22,
    FRAMES_PROCESSED = 23,
    DATA_MOVED = 24,
    RECOVERY_PARAMETERS_SET = 30,
    METRICS_UPDATED = 31,
    CONGESTION_STATE_UPDATED = 32,
    LOSS_TIMER_UPDATED = 33,
    PACKET_LOST = 34,
    MARKED_FOR_RETRANSMIT = 35,
    ECN_STATE_UPDATED = 36,
    KEY_UPDATED = 40,
    KEY_DISCARDED = 41,
}

impl Mask {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whether it is empty.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether both have a kind in common.
    #[inline(always)]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The kinds of either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds of both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Mask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}
