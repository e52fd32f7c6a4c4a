//! Handshake messages that come when TLS is no longer needed. Its session is 10 KiB, most of what an
//! idle connection would cost.

use tquic_wire::{Side, TransportErrorCode};

use crate::error::TransportError;

/// RFC 8446 section 4: the type of NewSessionTicket.
const NEW_SESSION_TICKET: u8 = 4;
/// RFC 8446 section 4: type and length of a message.
const HEADER: usize = 4;
/// Longer messages are refused, as TLS does during the handshake.
const MAX_BODY: usize = 0xffff;

/// Reads what a peer says after the handshake, cut anywhere, and keeps nothing of it.
#[derive(Debug, Default)]
pub(super) struct Remainder {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    have: usize,
    /// Bytes of the message that are to come.
    rest: usize,
}

impl Remainder {
    /// Takes bytes of the peer of `side`, in order.
    pub fn read(&mut self, side: Side, mut data: &[u8]) -> Result<(), TransportError> {
        while !data.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(data.len());
                self.rest -= skipped;
                data = data.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = (HEADER - self.have).min(data.len());
            let (start, behind) = data.split_at(wanted);
            self.header[self.have..self.have + wanted].copy_from_slice(start);
            self.have += wanted;
            data = behind;
            self.judge(side)?;
        }
        Ok(())
    }

    fn judge(&mut self, side: Side) -> Result<(), TransportError> {
        let [kind, a, b, c] = self.header;
        // RFC 8446 section 4.6: tickets, which we may ignore, come from servers. RFC 9001 sections
        // 4.4 and 6: neither authentication after the handshake nor KeyUpdate is allowed.
        if side == Side::Server || kind != NEW_SESSION_TICKET {
            return Err(TransportError::new(
                TransportErrorCode::crypto(10),
                "a TLS message that may not come after the handshake",
            ));
        }
        if self.have == HEADER {
            self.have = 0;
            self.rest = u32::from_be_bytes([0, a, b, c]) as usize;
            if self.rest > MAX_BODY {
                return Err(TransportError::new(
                    TransportErrorCode::crypto(50),
                    "a session ticket of more than 64 KiB",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_skipped_however_they_are_cut() {
        let mut stream = Vec::new();
        for len in [0_u32, 1, 300, 65_535] {
            stream.extend((u32::from(NEW_SESSION_TICKET) << 24 | len).to_be_bytes());
            stream.extend(vec![24; len as usize]);
        }
        for size in [1, 2, 3, 5, 1000, stream.len()] {
            let mut remainder = Remainder::default();
            for piece in stream.chunks(size) {
                remainder.read(Side::Client, piece).unwrap();
            }
            assert_eq!((remainder.have, remainder.rest), (0, 0));
            // KeyUpdate.
            let error = remainder.read(Side::Client, &[24]).unwrap_err();
            assert_eq!(error.code, TransportErrorCode(0x10a));
        }
    }

    #[test]
    fn clients_have_nothing_to_say() {
        let error = Remainder::default().read(Side::Server, &[NEW_SESSION_TICKET]).unwrap_err();
        assert_eq!(error.code, TransportErrorCode(0x10a));
    }
}
