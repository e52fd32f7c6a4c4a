//! Connections that begin when others in this shard have.

use super::{Connect, Shard};
use crate::application::{Begin, Next};

/// Connections begun in one turn of a shard: each is a key exchange, and others wait meanwhile.
const AT_ONCE: usize = 16;

impl Shard {
    /// Asks the supplies for connections to begin.
    pub(super) fn draw(&mut self) {
        self.supply_at = None;
        let mut supplies = std::mem::take(&mut self.supplies);
        supplies.retain_mut(|supply| {
            for _ in 0..AT_ONCE {
                match supply.next(self.now) {
                    Next::Begin(begin) => {
                        let Begin { key, request, source, application } = *begin;
                        self.connect(Connect { key, socket: None, source, request, application });
                    }
                    Next::At(at) => {
                        self.supply_at = Some(self.supply_at.map_or(at, |other| other.min(at)));
                        return true;
                    }
                    Next::Later => return true,
                    Next::Over => return false,
                }
                // What was begun has its first turn.
                self.more = true;
            }
            true
        });
        self.supplies = supplies;
    }
}
