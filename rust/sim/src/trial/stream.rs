//! One stream of a trial, seen from one end: what is left to write, what was read.

use super::pattern;
use super::plan::{ConnectionPlan, Cut, Transfer};
use tquic_core::stream::{ReadError, StreamError, StreamSet};
use tquic_wire::{Direction, Side, StreamId};

/// The code with which an application gives a stream up.
pub const CUT_CODE: u64 = 0x77;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Bytes are left to write (or the turn has not come).
    Open,
    /// Finished, not acknowledged yet.
    Finished,
    /// Over: acknowledged, reset, or stopped by the peer.
    Over,
}

#[derive(Debug)]
struct Sender {
    total: u64,
    written: u64,
    /// A response waits for the end of the request.
    may_write: bool,
    cut: Option<Cut>,
    state: Sending,
}

#[derive(Debug)]
struct Receiver {
    total: u64,
    read: u64,
    cut: Option<Cut>,
    over: bool,
    readable: bool,
}

/// See the module.
#[derive(Debug)]
pub struct StreamEnd {
    id: StreamId,
    key: u64,
    chunk: usize,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// Reads in place rather than by buffers.
    in_place: bool,
}

/// What is wrong.
pub type Wrong = String;

/// What the transfer's stream is called in the content.
fn key(connection: usize, id: StreamId) -> u64 {
    (connection as u64) << 40 | id.0 << 1
}

impl StreamEnd {
    /// The stream of `transfer` at the end `side`.
    pub fn new(connection: usize, id: StreamId, transfer: &Transfer, side: Side) -> Self {
        let opener = transfer.opener == side;
        let bidi = transfer.direction == Direction::Bidirectional;
        let cut_of = |response: bool| transfer.cut.filter(|cut| cut.response == response);
        let sender = |total, response, may_write| Sender {
            total,
            written: 0,
            may_write,
            cut: cut_of(response),
            state: Sending::Open,
        };
        let receiver = |total, response| Receiver {
            total,
            read: 0,
            cut: cut_of(response),
            over: false,
            readable: false,
        };
        let (sender, receiver) = match (opener, bidi) {
            (true, true) => (
                Some(sender(transfer.request, false, true)),
                Some(receiver(transfer.response, true)),
            ),
            (true, false) => (Some(sender(transfer.request, false, true)), None),
            (false, true) => {
                let receiver = receiver(transfer.request, false);
                (Some(sender(transfer.response, true, false)), Some(receiver))
            }
            (false, false) => (None, Some(receiver(transfer.request, false))),
        };
        // Requests and responses differ in content.
        let key = key(connection, id) | u64::from(!opener);
        let in_place = id.index() % 3 == 2;
        Self { id, key, chunk: transfer.chunk, sender, receiver, in_place }
    }

    /// Whether nothing is left to do here.
    pub fn is_done(&self) -> bool {
        self.sender.as_ref().is_none_or(|s| s.state == Sending::Over)
            && self.receiver.as_ref().is_none_or(|r| r.over)
    }

    /// For a person: how far it came.
    pub fn describe(&self) -> String {
        let sent = self.sender.as_ref().map(|s| (s.written, s.total, s.state));
        let read = self.receiver.as_ref().map(|r| (r.read, r.total, r.over));
        format!("{:?} sent {sent:?} read {read:?}", self.id)
    }

    /// Whether bytes wait that were not read yet.
    pub fn wants_read(&self) -> bool {
        self.receiver.as_ref().is_some_and(|r| r.readable && !r.over)
    }

    /// Bytes or the end are there.
    pub fn on_readable(&mut self) {
        if let Some(r) = &mut self.receiver {
            r.readable = true;
        }
    }

    /// Writes what may be written.
    pub fn write(&mut self, streams: &mut StreamSet) -> Result<(), Wrong> {
        let (id, key) = (self.id, self.key);
        let Some(s) = self.sender.as_mut().filter(|s| s.may_write) else { return Ok(()) };
        while s.state == Sending::Open {
            let cut = s.cut.filter(|cut| cut.by_sender);
            if let Some(cut) = cut.filter(|cut| s.written >= cut.after) {
                s.state = Sending::Over;
                return accept(id, "reset", streams.reset_at(id, CUT_CODE, cut.reliable));
            }
            if s.written == s.total {
                s.state = Sending::Finished;
                return accept(id, "finish", streams.finish(id));
            }
            if streams.writable(id) == 0 {
                // Asking makes sure that the stream tells when it has room.
                return match streams.write(id, pattern::slice(key, s.written, 1)) {
                    Err(StreamError::Full | StreamError::Stopped(_)) => Ok(()),
                    Err(e) => Err(format!("{id:?} is not writable: {e}")),
                    Ok(()) => Err(format!("{id:?} takes data with no room for it")),
                };
            }
            let mut len = (s.total - s.written).min(self.chunk.max(1) as u64);
            if let Some(cut) = cut {
                len = len.min(cut.after - s.written);
            }
            let data = pattern::slice(key, s.written, len as usize);
            let len = data.len() as u64;
            match streams.write(id, data) {
                Ok(()) => s.written += len,
                Err(StreamError::Stopped(_)) => return Ok(()),
                Err(e) => return Err(format!("{id:?} refuses a write: {e}")),
            }
        }
        Ok(())
    }

    /// Reads up to `most` bytes. Returns how many were read.
    pub fn read(&mut self, streams: &mut StreamSet, most: usize) -> Result<usize, Wrong> {
        let Some(r) = self.receiver.as_mut().filter(|r| !r.over) else { return Ok(0) };
        let before = r.read;
        let other = self.key ^ 1;
        loop {
            let used = (r.read - before) as usize;
            if let Some(cut) = r.cut.filter(|cut| !cut.by_sender && r.read >= cut.after) {
                let _ = cut;
                r.over = true;
                accept(self.id, "stop", streams.stop(self.id, CUT_CODE))?;
                break;
            }
            let Some(left) = most.checked_sub(used).filter(|left| *left > 0) else {
                return Ok(used);
            };
            let fin = if self.in_place {
                let (mut at, mut right) = (r.read, true);
                let mut left = left;
                let result = streams.read_with(self.id, |offset, piece| {
                    let piece = &piece[..piece.len().min(left)];
                    right &= offset == at && pattern::matches(other, at, piece);
                    at += piece.len() as u64;
                    left -= piece.len();
                    piece.len()
                });
                let consumed = match result {
                    Ok(c) => c,
                    Err(e) => return r.on_error(self.id, e).map(|()| used),
                };
                if !right || at != r.read + consumed.bytes as u64 {
                    return Err(format!("{:?}: wrong bytes read in place at {}", self.id, r.read));
                }
                r.read = at;
                if consumed.bytes == 0 && !consumed.fin {
                    r.readable = false;
                    return Ok(used);
                }
                consumed.fin
            } else {
                let chunk = match streams.read(self.id, left) {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => {
                        r.readable = false;
                        return Ok(used);
                    }
                    Err(e) => return r.on_error(self.id, e).map(|()| used),
                };
                if chunk.offset != r.read || !pattern::matches(other, r.read, &chunk.data) {
                    return Err(format!(
                        "{:?}: wrong bytes at {} of {}",
                        self.id, chunk.offset, r.read
                    ));
                }
                if chunk.data.len() > left {
                    return Err(format!("{:?}: more bytes than asked for", self.id));
                }
                r.read += chunk.data.len() as u64;
                chunk.fin
            };
            if fin {
                r.over = true;
                if r.read != r.total {
                    return Err(format!("{:?} ends at {}, not {}", self.id, r.read, r.total));
                }
                break;
            }
        }
        let used = (r.read - before) as usize;
        // The request is over, however it ended: the response may begin.
        if let Some(s) = &mut self.sender {
            s.may_write = true;
        }
        Ok(used)
    }

    /// The peer has everything.
    pub fn on_finished(&mut self) -> Result<(), Wrong> {
        match &mut self.sender {
            Some(s) if s.state == Sending::Finished => {
                s.state = Sending::Over;
                Ok(())
            }
            _ => Err(format!("{:?} is acknowledged out of order: {}", self.id, self.describe())),
        }
    }

    /// The peer does not want it.
    pub fn on_stopped(&mut self, streams: &mut StreamSet, code: u64) -> Result<(), Wrong> {
        let expected = self.sender.as_ref().is_some_and(|s| s.cut.is_some_and(|c| !c.by_sender));
        if !expected || code != CUT_CODE {
            return Err(format!("{:?} stopped with code {code} for no reason", self.id));
        }
        if let Some(s) = &mut self.sender {
            s.state = Sending::Over;
        }
        accept(self.id, "reset", streams.reset(self.id, code))
    }

    /// The peer gave it up.
    pub fn on_reset(&mut self, streams: &mut StreamSet, code: u64) -> Result<(), Wrong> {
        let id = self.id;
        let Some(r) = &mut self.receiver else {
            return Err(format!("{id:?} reset without a receiving part"));
        };
        // Reading is what takes note of it.
        if !r.over {
            match streams.read(id, 1) {
                Err(error @ ReadError::Reset { .. }) => r.on_error(id, error)?,
                _ => return Err(format!("{id:?} was reset with code {code} and can be read")),
            }
        }
        if let Some(s) = &mut self.sender {
            s.may_write = true;
        }
        Ok(())
    }

    /// Bytes read and found right.
    pub fn bytes_read(&self) -> u64 {
        self.receiver.as_ref().map_or(0, |r| r.read)
    }
}

impl Receiver {
    fn on_error(&mut self, id: StreamId, e: ReadError) -> Result<(), Wrong> {
        match (e, self.cut.filter(|cut| cut.by_sender)) {
            (ReadError::Reset { code: CUT_CODE, reliable_size }, Some(cut)) => {
                self.over = true;
                if self.read < cut.reliable || reliable_size != cut.reliable {
                    let (read, reliable) = (self.read, cut.reliable);
                    return Err(format!("{id:?} was reset at {read} of {reliable} reliable bytes"));
                }
                Ok(())
            }
            (e, _) => Err(format!("{id:?} cannot be read: {e}")),
        }
    }
}

fn accept(id: StreamId, what: &str, result: Result<(), StreamError>) -> Result<(), Wrong> {
    match result {
        Ok(()) | Err(StreamError::Stopped(_)) => Ok(()),
        Err(e) => Err(format!("{id:?} refuses to {what}: {e}")),
    }
}

/// The transfer that a stream of this ID is: the openers open in the plan's order.
pub fn transfer_of(plan: &ConnectionPlan, id: StreamId) -> Option<&Transfer> {
    let mut of_kind = plan
        .transfers
        .iter()
        .filter(|t| t.opener == id.initiator() && t.direction == id.direction());
    of_kind.nth(usize::try_from(id.index()).ok()?)
}
