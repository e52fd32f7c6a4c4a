//! 1-RTT keys and key update (RFC 9001 section 6).

use core::time::Duration;

use smallvec::SmallVec;

use tquic_crypto::{HeaderKey, Keys, PacketKey, Suite, UpdateSecrets};

use crate::error::{TransportError, TransportErrorCode};
use crate::time::Instant;

/// Updates are begun this many packets before the limit, so that a lost update can be repeated.
const MARGIN: u64 = 1 << 16;

/// How a received packet relates to the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sealed with the current keys.
    Current,
    /// Sealed with the keys before the last update.
    Previous,
    /// Sealed with the next keys: the peer updates.
    Next,
}

struct Previous {
    remote: PacketKey,
    /// When the key is dropped: three PTO after the first packet of the new phase.
    discard: Option<Instant>,
}

/// One packet number for each path ID that has any. Numbers of different paths cannot be compared.
#[derive(Default)]
struct PerPath(SmallVec<[(u32, u64); 1]>);

impl PerPath {
    fn get(&self, path: u32) -> Option<u64> {
        self.0.iter().find(|(id, _)| *id == path).map(|(_, pn)| *pn)
    }

    /// Remembers `pn` for a path that has none.
    fn begin(&mut self, path: u32, pn: u64) {
        if self.get(path).is_none() {
            self.0.push((path, pn));
        }
    }

    /// Remembers `pn` if it is the smallest of its path; true if so.
    fn lower(&mut self, path: u32, pn: u64) -> bool {
        match self.0.iter_mut().find(|(id, _)| *id == path) {
            Some((_, lowest)) if *lowest <= pn => return false,
            Some((_, lowest)) => *lowest = pn,
            None => self.0.push((path, pn)),
        }
        true
    }
}

/// Keys of the 1-RTT level. Header keys never change (RFC 9001 section 6.1).
pub struct OneRttKeys {
    suite: Suite,
    header_local: HeaderKey,
    header_remote: HeaderKey,
    local: PacketKey,
    remote: PacketKey,
    previous: Option<Previous>,
    /// Made ahead of time, so that a packet of the next phase is opened as fast as any (RFC 9001
    /// section 9.5). Ours is made when it is needed: keys are a good part of an idle connection.
    next_remote: PacketKey,
    secrets: UpdateSecrets,
    phase: bool,
    interval: u64,
    sealed: u64,
    /// First packet numbers sent in this phase, and whether one of this phase was acknowledged.
    first_sent: PerPath,
    acked: bool,
    /// Lowest packet numbers opened with the current key.
    lowest_opened: PerPath,
    /// When the next update may begin: three PTO after the last one was acknowledged.
    rest_until: Option<Instant>,
    updates: u64,
}

impl OneRttKeys {
    /// The first generation. An update begins after `interval` packets, or near the cipher's limit.
    pub fn new(
        suite: Suite,
        keys: Keys,
        mut secrets: UpdateSecrets,
        interval: Option<u64>,
    ) -> Self {
        let next_remote = secrets.next_remote();
        let limit = suite.confidentiality_limit();
        let interval = interval.unwrap_or(u64::MAX).min(limit.saturating_sub(MARGIN)).max(1);
        Self {
            suite,
            header_local: keys.local.header,
            header_remote: keys.remote.header,
            local: keys.local.packet,
            remote: keys.remote.packet,
            previous: None,
            next_remote,
            secrets,
            phase: false,
            interval,
            sealed: 0,
            first_sent: PerPath::default(),
            acked: false,
            lowest_opened: PerPath::default(),
            rest_until: None,
            updates: 0,
        }
    }

    /// Header protection of packets we send.
    pub fn header_local(&self) -> &HeaderKey {
        &self.header_local
    }

    /// Header protection of packets we receive.
    pub fn header_remote(&self) -> &HeaderKey {
        &self.header_remote
    }

    /// The Key Phase bit of packets we send.
    pub fn phase(&self) -> bool {
        self.phase
    }

    /// Updates so far, begun by either side.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The cipher.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// RFC 9001 section 6.6.
    pub fn integrity_limit(&self) -> u64 {
        self.suite.integrity_limit()
    }

    /// The key for packets we send. Call `on_sealed` for every packet.
    pub fn seal_key(&self) -> &PacketKey {
        &self.local
    }

    /// Counts a sealed packet.
    pub fn on_sealed(&mut self, path: u32, pn: u64) {
        self.sealed += 1;
        self.first_sent.begin(path, pn);
    }

    /// Which key a packet needs; no other is tried (RFC 9001 sections 5.5 and 6.4). The packet number
    /// tells an old packet from an update (section 6.3). A path on which nothing has come in this
    /// phase may still bring old ones: the peer updates no sooner than the old key is dropped
    /// (draft-ietf-quic-multipath-21 section 2.5).
    pub fn phase_of(&self, path: u32, pn: u64, phase: bool) -> Phase {
        if phase == self.phase {
            return Phase::Current;
        }
        let old = self.lowest_opened.get(path).is_none_or(|lowest| pn < lowest);
        if self.previous.is_some() && old { Phase::Previous } else { Phase::Next }
    }

    /// The key that opens packets of `phase`.
    pub fn open_key(&self, phase: Phase) -> &PacketKey {
        match (phase, &self.previous) {
            (Phase::Previous, Some(p)) => &p.remote,
            (Phase::Next, _) => &self.next_remote,
            _ => &self.remote,
        }
    }

    /// A packet authenticated with the key of `phase`; only now may an update take effect (RFC 9001
    /// section 6.3). `pto` says the current probe timeout, which few packets need.
    pub fn on_opened(
        &mut self,
        now: Instant,
        (path, pn): (u32, u64),
        phase: Phase,
        pto: impl FnOnce() -> Duration,
    ) -> Result<(), TransportError> {
        match phase {
            Phase::Current => {
                if self.lowest_opened.lower(path, pn)
                    && let Some(p) = &mut self.previous
                {
                    // RFC 9001 section 6.5: old keys are kept for three PTO at most.
                    p.discard.get_or_insert_with(|| now + pto() * 3);
                }
                Ok(())
            }
            Phase::Previous => Ok(()),
            Phase::Next => {
                // RFC 9001 section 6.2: the peer must have our acknowledgement of the current phase
                // before it updates again. We know that it cannot when we never sent in this phase.
                if self.updates > 0 && self.first_sent.0.is_empty() {
                    return Err(TransportError::new(
                        TransportErrorCode::KEY_UPDATE_ERROR,
                        "the peer updated keys again before it saw a packet of the current phase",
                    ));
                }
                self.rotate();
                self.lowest_opened.begin(path, pn);
                if let Some(p) = &mut self.previous {
                    p.discard = Some(now + pto() * 3);
                }
                Ok(())
            }
        }
    }

    fn rotate(&mut self) {
        self.local = self.secrets.next_local();
        let next = core::mem::replace(&mut self.next_remote, self.secrets.next_remote());
        let remote = core::mem::replace(&mut self.remote, next);
        self.previous = Some(Previous { remote, discard: None });
        self.phase = !self.phase;
        self.sealed = 0;
        self.first_sent = PerPath::default();
        self.acked = false;
        self.lowest_opened = PerPath::default();
        self.rest_until = None;
        self.updates += 1;
    }

    /// The peer acknowledged packet `pn` of the path.
    pub fn on_acked(&mut self, now: Instant, (path, pn): (u32, u64), pto: Duration) {
        if !self.acked && self.first_sent.get(path).is_some_and(|first| pn >= first) {
            self.acked = true;
            // RFC 9001 section 6.5: wait three PTO before updating again.
            self.rest_until = Some(now + pto * 3);
        }
    }

    /// A path is gone: its ID does not come back.
    pub fn forget_path(&mut self, path: u32) {
        self.first_sent.0.retain(|(id, _)| *id != path);
        self.lowest_opened.0.retain(|(id, _)| *id != path);
    }

    /// Begins an update. False if it is too early (RFC 9001 section 6.1): the current phase is not
    /// acknowledged yet, or the last update was less than three PTO ago.
    pub fn update(&mut self, now: Instant) -> bool {
        let rested = self.updates == 0 || self.rest_until.is_some_and(|t| t <= now);
        if !self.acked || self.previous.is_some() || !rested {
            return false;
        }
        self.rotate();
        true
    }

    /// Whether the number of packets calls for an update.
    pub fn wants_update(&self) -> bool {
        self.sealed >= self.interval
    }

    /// RFC 9001 section 6.6: past the cipher's limit nothing may be sealed any more.
    pub fn is_exhausted(&self) -> bool {
        self.sealed >= self.suite.confidentiality_limit()
    }

    /// When the previous key is to be dropped.
    pub fn timeout(&self) -> Option<Instant> {
        self.previous.as_ref()?.discard
    }

    /// Drops the previous key if it is time.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.timeout().is_some_and(|t| t <= now) {
            self.previous = None;
        }
    }
}
