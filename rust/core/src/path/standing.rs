//! What a path is good for while several are open (draft-ietf-quic-multipath-21 section 3).

use tquic_wire::Frame;

use crate::recovery::Token;
use crate::time::Instant;
use crate::tx::FrameWriter;

/// How frames name a path: only where both ends speak multipath.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathLabel {
    /// The path ID.
    pub id: u32,
    /// Whether frames carry it.
    pub told: bool,
}

impl PathLabel {
    /// The path ID as a field of a frame.
    pub fn field(self) -> Option<u64> {
        self.told.then_some(u64::from(self.id))
    }
}

/// Where a path is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its address is being validated; no data goes there yet.
    Validating,
    /// In use.
    Open,
    /// Nothing is sent any more. What still arrives is acknowledged elsewhere, until the given time
    /// once the peer has abandoned it as well.
    Abandoned(Option<Instant>),
}

/// What one end says about the use of a path: the newest counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Advice {
    /// Sequence number of the newest; `None` if nothing was said.
    sequence: Option<u64>,
    backup: bool,
}

impl Advice {
    /// PATH_STATUS_AVAILABLE or PATH_STATUS_BACKUP arrived; true if it changes anything.
    pub fn on_status(&mut self, sequence: u64, backup: bool) -> bool {
        // Section 4.3: a frame that is not newer MUST be ignored.
        if self.sequence.is_some_and(|last| sequence <= last) {
            return false;
        }
        let changed = self.backup != backup;
        *self = Self { sequence: Some(sequence), backup };
        changed
    }

    /// Whether the path should be used only when no other can be.
    pub fn is_backup(self) -> bool {
        self.backup
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Where it is in its life.
    pub stage: Stage,
    /// Whether data that belongs to no path may go here now.
    pub serves: bool,
    /// What the application wants.
    wished: bool,
    /// Since when nothing leaves there, by what the system says.
    down: Option<Instant>,
    /// What we told the peer, and whether that is to be sent (again).
    ours: Advice,
    pending: bool,
    /// What the peer told us.
    pub theirs: Advice,
    /// Everything below this packet number was sent on other paths as well.
    pub handed_over: u64,
    /// The same, because the path failed: what of it is acknowledged was sent twice for nothing.
    pub given_up: Option<u64>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            stage: Stage::Open,
            serves: true,
            wished: false,
            down: None,
            ours: Advice::default(),
            pending: false,
            theirs: Advice::default(),
            handed_over: 0,
            given_up: None,
        }
    }
}

impl Standing {
    /// A path whose address has yet to be validated.
    pub fn validating(theirs: Advice) -> Self {
        Self { stage: Stage::Validating, serves: false, theirs, ..Self::default() }
    }

    /// Tells the peer whether the path should be used only when no other can be.
    pub fn advise(&mut self, backup: bool) {
        self.wished = backup;
        self.tell();
    }

    /// Nothing leaves there any more: nor will what the peer sends arrive.
    pub fn fall(&mut self, now: Instant) {
        self.down = Some(now);
        self.tell();
    }

    /// The peer has a packet that was sent then: at the earliest the probe that left with the news.
    pub fn rise(&mut self, sent: Instant) {
        if self.down.is_some_and(|since| sent >= since) {
            self.down = None;
            self.tell();
        }
    }

    /// Whether the system says that nothing leaves there.
    pub fn is_down(&self) -> bool {
        self.down.is_some()
    }

    fn tell(&mut self) {
        let sequence = self.ours.sequence.map_or(0, |last| last + 1);
        let backup = self.wished || self.is_down();
        self.ours = Advice { sequence: Some(sequence), backup };
        self.pending = true;
    }

    /// Whether either end wants the path to be used only when no other can be.
    pub fn is_backup(&self) -> bool {
        self.wished || self.theirs.backup
    }

    /// Whether packets may be sent at all.
    pub fn may_send(&self) -> bool {
        !matches!(self.stage, Stage::Abandoned(_))
    }

    /// Whether a PATH_STATUS frame waits to be sent.
    pub fn has_pending(&self) -> bool {
        self.pending
    }

    /// Writes the PATH_STATUS frame if it is due and fits.
    pub fn write(&mut self, id: u32, w: &mut FrameWriter<'_>) {
        let (true, Advice { sequence: Some(sequence), backup }) = (self.pending, self.ours) else {
            return;
        };
        let frame = Frame::PathStatus { path: u64::from(id), sequence, backup };
        self.pending = !w.frame(&frame, Some(Token::PathStatus { path: id, sequence }));
    }

    /// The packet with this PATH_STATUS was lost.
    pub fn on_lost(&mut self, sequence: u64) {
        // Section 4.3: only the last one is sent again.
        self.pending |= self.ours.sequence == Some(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_advice_is_ignored() {
        let mut advice = Advice::default();
        assert!(!advice.on_status(4, false));
        assert!(advice.on_status(6, true));
        assert!(!advice.on_status(5, false) && !advice.on_status(6, false));
        assert!(advice.is_backup());
        assert!(advice.on_status(7, false));
    }

    #[test]
    fn only_the_newest_status_is_sent_again() {
        let mut standing = Standing::default();
        let mut tokens = crate::recovery::Tokens::new();
        let mut buf = [0; 64];
        standing.advise(true);
        standing.write(3, &mut FrameWriter::new(&mut buf, &mut tokens));
        standing.advise(false);
        standing.write(3, &mut FrameWriter::new(&mut buf, &mut tokens));
        let sent = |sequence| Token::PathStatus { path: 3, sequence };
        assert_eq!(tokens.as_slice(), [sent(0), sent(1)]);
        standing.on_lost(0);
        assert!(!standing.has_pending());
        standing.on_lost(1);
        assert!(standing.has_pending() && !standing.is_backup());
    }
}
