//! Handshake messages that come when TLS is no longer needed. Its session is 10 KiB, most of what an
//! idle connection would cost.

use tquic_wire::{Side, TransportErrorCode};

use crate::error::TransportError;

/// RFC 8446 section 4: types of messages.
const NEW_SESSION_TICKET: u64 = 4;
const CERTIFICATE_REQUEST: u64 = 13;
/// RFC 8446 section 4.2: the extension of tickets that allow early data.
const EARLY_DATA: u64 = 42;
/// Longer messages are refused, as TLS does during the handshake.
const MAX_BODY: u64 = 0xffff;

/// A part of NewSessionTicket (RFC 8446 section 4.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    /// Type and length of the message.
    #[default]
    Header,
    /// ticket_lifetime and ticket_age_add.
    Ages,
    NonceLength,
    Nonce,
    TicketLength,
    Ticket,
    ExtensionsLength,
    /// Type and length of an extension.
    Extension,
    /// The content of one.
    Content,
    /// max_early_data_size.
    EarlyDataSize,
}

/// Reads what a peer says after the handshake, cut anywhere, and keeps nothing of it.
#[derive(Debug, Default)]
pub(super) struct Remainder {
    field: Field,
    /// Bytes of the field that have come.
    have: u64,
    /// Bytes that it has, if that stood before it.
    size: u64,
    /// What they make as a number.
    value: u64,
    /// Bytes of the message that follow the field.
    rest: u64,
}

impl Remainder {
    /// Takes bytes of the peer of `side`, in order.
    pub fn read(&mut self, side: Side, mut data: &[u8]) -> Result<(), TransportError> {
        while !data.is_empty() {
            let wanted = (self.wanted() - self.have).min(data.len() as u64);
            let (now, behind) = data.split_at(wanted as usize);
            if self.is_number() {
                self.value = now.iter().fold(self.value, |v, byte| v << 8 | u64::from(*byte));
            }
            self.have += wanted;
            data = behind;
            if self.field == Field::Header {
                judge(side, self.value >> (8 * (self.have - 1)))?;
            }
            while self.have == self.wanted() {
                self.go_on()?;
            }
        }
        Ok(())
    }

    /// Bytes of the field.
    fn wanted(&self) -> u64 {
        match self.field {
            Field::NonceLength => 1,
            Field::TicketLength | Field::ExtensionsLength => 2,
            Field::Header | Field::Extension | Field::EarlyDataSize => 4,
            Field::Ages => 8,
            Field::Nonce | Field::Ticket | Field::Content => self.size,
        }
    }

    fn is_number(&self) -> bool {
        !matches!(self.field, Field::Ages | Field::Nonce | Field::Ticket | Field::Content)
    }

    /// Goes on to the next field when one is whole.
    fn go_on(&mut self) -> Result<(), TransportError> {
        let value = std::mem::take(&mut self.value);
        self.have = 0;
        self.size = value;
        self.field = match self.field {
            Field::Header => {
                self.rest = value & 0xff_ffff;
                if self.rest > MAX_BODY {
                    return Err(decode_error("a session ticket of more than 64 KiB"));
                }
                Field::Ages
            }
            Field::Ages => Field::NonceLength,
            Field::NonceLength => Field::Nonce,
            Field::Nonce => Field::TicketLength,
            Field::TicketLength => Field::Ticket,
            Field::Ticket => Field::ExtensionsLength,
            Field::ExtensionsLength if value != self.rest => {
                return Err(decode_error("a session ticket with a wrong length"));
            }
            Field::ExtensionsLength | Field::Content => self.next_extension(),
            Field::Extension => {
                self.size = value & 0xffff;
                match (value >> 16, self.size) {
                    (EARLY_DATA, 4) => Field::EarlyDataSize,
                    (EARLY_DATA, _) => return Err(decode_error("early_data with a wrong length")),
                    _ => Field::Content,
                }
            }
            // RFC 9001 section 4.6.1: a ticket allows all early data or none.
            Field::EarlyDataSize if value != 0xffff_ffff => {
                return Err(TransportError::violation("a ticket that limits early data"));
            }
            Field::EarlyDataSize => self.next_extension(),
        };
        if self.field != Field::Header {
            let rest = self.rest.checked_sub(self.wanted());
            self.rest = rest.ok_or_else(|| decode_error("a session ticket is cut short"))?;
        }
        Ok(())
    }

    fn next_extension(&self) -> Field {
        if self.rest == 0 { Field::Header } else { Field::Extension }
    }
}

/// Which messages may come at all.
fn judge(side: Side, kind: u64) -> Result<(), TransportError> {
    // RFC 8446 section 4.6: tickets, which we may ignore, come from servers.
    if side == Side::Client && kind == NEW_SESSION_TICKET {
        return Ok(());
    }
    // RFC 9001 section 4.4: no authentication after the handshake.
    if side == Side::Client && kind == CERTIFICATE_REQUEST {
        return Err(TransportError::violation("asks for a certificate after the handshake"));
    }
    // RFC 9001 section 6: nor KeyUpdate.
    Err(TransportError::new(
        TransportErrorCode::crypto(10),
        "a TLS message that may not come after the handshake",
    ))
}

fn decode_error(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::crypto(50), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NewSessionTicket with a ticket of `len` bytes and these extensions.
    fn ticket(len: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; 8];
        body.extend([3, 1, 2, 3]);
        body.extend(len.to_be_bytes());
        body.extend(vec![24; usize::from(len)]);
        let mut encoded = Vec::new();
        for (kind, data) in extensions {
            encoded.extend(kind.to_be_bytes());
            encoded.extend((data.len() as u16).to_be_bytes());
            encoded.extend_from_slice(data);
        }
        body.extend((encoded.len() as u16).to_be_bytes());
        body.extend(encoded);
        let mut out =
            ((NEW_SESSION_TICKET as u32) << 24 | body.len() as u32).to_be_bytes().to_vec();
        out.extend(body);
        out
    }

    #[test]
    fn tickets_are_skipped_however_they_are_cut() {
        let mut stream = Vec::new();
        for len in [0, 1, 300, 60_000] {
            stream.extend(ticket(len, &[]));
            stream.extend(ticket(len, &[(42, &[0xff; 4]), (0x1a1a, &[]), (0x2a2a, &[7; 9])]));
        }
        for size in [1, 2, 3, 5, 1000, stream.len()] {
            let mut remainder = Remainder::default();
            for piece in stream.chunks(size) {
                remainder.read(Side::Client, piece).unwrap();
            }
            assert_eq!((remainder.field, remainder.have), (Field::Header, 0));
            // KeyUpdate.
            let error = remainder.read(Side::Client, &[24]).unwrap_err();
            assert_eq!(error.code, TransportErrorCode(0x10a));
        }
    }

    #[test]
    fn a_ticket_allows_all_early_data_or_says_nothing_of_it() {
        for limit in [0_u32, 1000, 0xffff_fffe] {
            let data = ticket(5, &[(9, b"other"), (42, &limit.to_be_bytes())]);
            let error = Remainder::default().read(Side::Client, &data).unwrap_err();
            assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
        }
    }

    #[test]
    fn early_data_takes_four_bytes() {
        for len in [0, 3, 5] {
            let data = ticket(5, &[(42, &[0xff; 5][..len])]);
            let error = Remainder::default().read(Side::Client, &data).unwrap_err();
            assert_eq!(error.code, TransportErrorCode::crypto(50), "{len} bytes");
        }
    }

    #[test]
    fn damaged_tickets_are_told() {
        let good = ticket(5, &[(9, b"other")]);
        for at in [3, 12, 17, 23] {
            let mut data = good.clone();
            data[at] += 1;
            data.extend([0; 300]);
            let error = Remainder::default().read(Side::Client, &data).unwrap_err();
            assert_eq!(error.code, TransportErrorCode::crypto(50), "byte {at}");
        }
    }

    #[test]
    fn nobody_is_asked_for_a_certificate_any_more() {
        let error = Remainder::default().read(Side::Client, &[13]).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
    }

    #[test]
    fn clients_have_nothing_to_say() {
        for kind in [NEW_SESSION_TICKET, CERTIFICATE_REQUEST] {
            let error = Remainder::default().read(Side::Server, &[kind as u8]).unwrap_err();
            assert_eq!(error.code, TransportErrorCode(0x10a));
        }
    }
}
