//! What a scheduler is shown of a connection: paths and packets, and the functions of the engine
//! that it asks about them.

use crate::abi::{self, Kfunc};

/// A path as it is when a scheduler is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathSnapshot {
    /// The path ID of the multipath protocol.
    pub id: u32,
    /// Schedulers may write these three: what they mean is theirs.
    pub weight: u32,
    /// See `weight`.
    pub priority: u32,
    /// See `weight`; a path that is not schedulable is not usable.
    pub schedulable: u32,
    /// Whether the engine could send on it: validated, and not given up.
    pub is_open: bool,
    /// Whether it is set aside as backup.
    pub is_backup: bool,
    /// Whether nothing may be sent just now although the congestion window has room: the pacer.
    pub is_held_back: bool,
    /// Smoothed round-trip time, in microseconds.
    pub srtt_us: u64,
    /// Least round-trip time, in microseconds.
    pub min_rtt_us: u64,
    /// Estimated delivery rate, in bytes per second.
    pub bandwidth: u64,
    /// Congestion window, in bytes.
    pub cwnd: u64,
    /// Bytes in flight.
    pub bytes_in_flight: u64,
    /// Packets lost of 10,000.
    pub loss_rate: u32,
}

impl PathSnapshot {
    /// Whether a scheduler may choose it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_open && self.schedulable != 0
    }

    /// Whether it is usable and not set aside.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_usable() && !self.is_backup
    }

    /// Whether it is usable and takes `bytes` more now: congestion window and pacer.
    #[must_use]
    pub fn can_send(&self, bytes: u32) -> bool {
        let after = self.bytes_in_flight.saturating_add(bytes.into());
        self.is_usable() && !self.is_held_back && after <= self.cwnd
    }
}

/// What is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketContext {
    /// The stream, if the packet carries data of one.
    pub stream_id: Option<u64>,
    /// Bytes of the packet, or of the first of a burst.
    pub bytes: u32,
    /// Whether the peer will acknowledge it.
    pub ack_eliciting: bool,
    /// Whether its data was sent before.
    pub retransmission: bool,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PathEvent {
    /// There is a new one.
    Add = 0,
    /// It is gone.
    Remove = 1,
    /// It may be used.
    Active = 2,
    /// It was set aside.
    Standby = 3,
    /// It does not deliver.
    Failed = 4,
    /// It delivers again.
    Recovered = 5,
    /// An address of it changed.
    Migrate = 6,
    /// Its round-trip time was measured anew.
    RttUpdate = 100,
    /// Its congestion window changed.
    CwndUpdate = 101,
}

/// The paths of one call, and how a program names them: by address.
#[derive(Clone, Copy)]
pub(crate) struct Paths<'a> {
    pub all: &'a [PathSnapshot],
    /// The address of the first.
    pub base: u64,
}

impl Paths<'_> {
    /// The number of the path with this address.
    pub fn index(&self, address: u64) -> Option<usize> {
        let distance = address.checked_sub(self.base)?;
        let size = u64::from(abi::PATH.size);
        let index = usize::try_from(distance / size).ok()?;
        (distance % size == 0 && index < self.all.len()).then_some(index)
    }

    fn address(&self, index: Option<usize>) -> u64 {
        index.map_or(0, |i| self.base + i as u64 * u64::from(abi::PATH.size))
    }

    /// What `kfunc` returns; `None` if it is given what is no path.
    #[inline]
    pub fn ask(&self, kfunc: Kfunc, first: u64, second: u64) -> Option<u64> {
        let find = |wanted: fn(&PathSnapshot) -> bool| self.all.iter().position(wanted);
        let path = || self.all.get(self.index(first)?);
        Some(match kfunc {
            Kfunc::PrimaryPath => {
                let usable = || find(PathSnapshot::is_usable);
                self.address(find(PathSnapshot::is_active).or_else(usable))
            }
            Kfunc::BackupPath => self.address(find(|p| p.is_backup && p.is_usable())),
            Kfunc::PathCount => self.all.len() as u64,
            Kfunc::ActivePathCount => self.all.iter().filter(|p| p.is_active()).count() as u64,
            Kfunc::PathNext => {
                let next = if second == 0 { 0 } else { self.index(second)? + 1 };
                self.address((next < self.all.len()).then_some(next))
            }
            Kfunc::IsUsable => path()?.is_usable().into(),
            Kfunc::IsActive => path()?.is_active().into(),
            Kfunc::SrttUs => path()?.srtt_us,
            Kfunc::MinRttUs => path()?.min_rtt_us,
            Kfunc::Bandwidth => path()?.bandwidth,
            Kfunc::Cwnd => path()?.cwnd,
            Kfunc::BytesInFlight => path()?.bytes_in_flight,
            Kfunc::LossRate => path()?.loss_rate.into(),
            // The parameter has 32 bits; what a register holds above is not part of it.
            Kfunc::CanSend => path()?.can_send(second as u32).into(),
        })
    }
}
