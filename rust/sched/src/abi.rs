//! What programs and the engine agree on: the callbacks, the structs and the functions that a
//! program may call. `python/tquic/include/tquic_bpf.h` says the same in C.

/// Most paths that a scheduler is shown at once.
pub const MAX_PATHS: usize = 64;

/// A function of `struct tquic_scheduler_ops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// `init`
    Init,
    /// `release`
    Release,
    /// `select_path`
    SelectPath,
    /// `on_packet_sent`
    PacketSent,
    /// `on_packet_acked`
    PacketAcked,
    /// `on_packet_lost`
    PacketLost,
    /// `on_path_change`
    PathChange,
}

/// What a callback is given, and what a program may assume of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Sched,
    Ctx,
    /// A path that is not NULL.
    Path,
    U32,
    U64,
}

/// What a callback returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returns {
    Nothing,
    Number,
    PathOrNull,
}

impl Callback {
    /// All, in the order of the struct.
    pub const ALL: [Self; 7] = [
        Self::Init,
        Self::Release,
        Self::SelectPath,
        Self::PacketSent,
        Self::PacketAcked,
        Self::PacketLost,
        Self::PathChange,
    ];

    /// The name of the struct's member.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Release => "release",
            Self::SelectPath => "select_path",
            Self::PacketSent => "on_packet_sent",
            Self::PacketAcked => "on_packet_acked",
            Self::PacketLost => "on_packet_lost",
            Self::PathChange => "on_path_change",
        }
    }

    pub(crate) fn arguments(self) -> &'static [Argument] {
        use Argument::{Ctx, Path, Sched, U32, U64};
        match self {
            Self::Init | Self::Release => &[Sched],
            Self::SelectPath => &[Sched, Ctx],
            Self::PacketSent | Self::PacketLost | Self::PathChange => &[Sched, Path, U32],
            Self::PacketAcked => &[Sched, Path, U32, U64],
        }
    }

    pub(crate) fn returns(self) -> Returns {
        match self {
            Self::Init => Returns::Number,
            Self::SelectPath => Returns::PathOrNull,
            _ => Returns::Nothing,
        }
    }
}

/// The size of `name` in `struct tquic_scheduler_ops`, and where the function pointers begin.
pub(crate) const OPS_NAME: usize = 16;
/// The size of `struct tquic_scheduler_ops`.
pub(crate) const OPS_SIZE: usize = OPS_NAME + 8 * Callback::ALL.len();

/// A struct of ours that a program reads and writes: its members as (name, offset, size), which
/// leave no gap, and the first offset that may be written.
pub(crate) struct Struct {
    pub name: &'static str,
    pub members: &'static [(&'static str, u32, u32)],
    pub size: u32,
    pub writable_from: u32,
}

pub(crate) const SCHED: Struct = Struct {
    name: "tquic_scheduler",
    members: &[("priv_data", 0, 8), ("rr_counter", 8, 8)],
    size: 16,
    writable_from: 0,
};

pub(crate) const CTX: Struct = Struct {
    name: "tquic_sched_ctx",
    members: &[
        ("stream_id", 0, 8),
        ("bytes", 8, 4),
        ("ack_eliciting", 12, 1),
        ("retransmission", 13, 1),
        ("reserved", 14, 2),
    ],
    size: 16,
    writable_from: 16,
};

pub(crate) const PATH: Struct = Struct {
    name: "tquic_path",
    members: &[("path_id", 0, 4), ("weight", 4, 4), ("priority", 8, 4), ("schedulable", 12, 4)],
    size: 16,
    writable_from: 4,
};

impl Struct {
    /// Why `size` bytes at `offset` may not be read, or written; `None` if they may.
    pub fn refusal(&self, offset: i64, size: u32, is_write: bool) -> Option<String> {
        let name = self.name;
        let inside = u32::try_from(offset).ok().filter(|o| o + size <= self.size);
        let Some(offset) = inside else {
            return Some(format!(
                "struct {name} has {} bytes, none at offset {offset} for {size} bytes",
                self.size
            ));
        };
        if !is_write || offset >= self.writable_from {
            return None;
        }
        let member = self.members.iter().find(|m| offset < m.1 + m.2)?.0;
        Some(format!("{member} of struct {name} is read only"))
    }
}

/// A function of the engine that programs may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kfunc {
    PrimaryPath,
    BackupPath,
    PathCount,
    ActivePathCount,
    PathNext,
    IsUsable,
    IsActive,
    SrttUs,
    MinRttUs,
    Bandwidth,
    Cwnd,
    BytesInFlight,
    LossRate,
    CanSend,
}

/// What a kfunc wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Sched,
    Path,
    PathOrNull,
    Number,
}

/// What a kfunc returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    PathOrNull,
    /// A number up to this one.
    UpTo(u64),
}

impl Kfunc {
    pub const ALL: [Self; 14] = [
        Self::PrimaryPath,
        Self::BackupPath,
        Self::PathCount,
        Self::ActivePathCount,
        Self::PathNext,
        Self::IsUsable,
        Self::IsActive,
        Self::SrttUs,
        Self::MinRttUs,
        Self::Bandwidth,
        Self::Cwnd,
        Self::BytesInFlight,
        Self::LossRate,
        Self::CanSend,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::PrimaryPath => "bpf_tquic_get_primary_path",
            Self::BackupPath => "bpf_tquic_get_backup_path",
            Self::PathCount => "bpf_tquic_get_path_count",
            Self::ActivePathCount => "bpf_tquic_get_active_path_count",
            Self::PathNext => "bpf_tquic_path_next",
            Self::IsUsable => "bpf_tquic_path_is_usable",
            Self::IsActive => "bpf_tquic_path_is_active",
            Self::SrttUs => "bpf_tquic_path_get_srtt_us",
            Self::MinRttUs => "bpf_tquic_path_get_min_rtt_us",
            Self::Bandwidth => "bpf_tquic_path_get_bandwidth",
            Self::Cwnd => "bpf_tquic_path_get_cwnd",
            Self::BytesInFlight => "bpf_tquic_path_get_bytes_in_flight",
            Self::LossRate => "bpf_tquic_path_get_loss_rate",
            Self::CanSend => "bpf_tquic_path_can_send",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    pub fn parameters(self) -> &'static [Parameter] {
        use Parameter::{Number, Path, PathOrNull, Sched};
        match self {
            Self::PrimaryPath | Self::BackupPath | Self::PathCount | Self::ActivePathCount => {
                &[Sched]
            }
            Self::PathNext => &[Sched, PathOrNull],
            Self::CanSend => &[Path, Number],
            _ => &[Path],
        }
    }

    pub fn outcome(self) -> Outcome {
        match self {
            Self::PrimaryPath | Self::BackupPath | Self::PathNext => Outcome::PathOrNull,
            Self::PathCount | Self::ActivePathCount => Outcome::UpTo(MAX_PATHS as u64),
            Self::IsUsable | Self::IsActive | Self::CanSend => Outcome::UpTo(1),
            Self::LossRate => Outcome::UpTo(u32::MAX as u64),
            _ => Outcome::UpTo(u64::MAX),
        }
    }
}
