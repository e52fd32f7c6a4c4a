//! Answers without a connection: stateless reset, Version Negotiation, refusal.

use tquic_crypto::initial_keys;
use tquic_wire::frame::Close;
use tquic_wire::header::{self, LongFields, LongHeader};
use tquic_wire::{ConnectionId, Frame, PacketType, Side, TransportErrorCode, Version, Writer};

use crate::endpoint::route::Batch;
use crate::endpoint::{Endpoint, Reply};
use crate::time::Instant;

/// Smallest stateless reset (RFC 9000 section 10.3): it must look like a short-header packet.
const MIN_RESET: usize = 21;
/// Longest: longer ones look no more genuine.
const MAX_RESET: usize = 42;

/// A token bucket for stateless resets (RFC 9000 section 10.3.3 asks for a limit).
pub(super) struct ResetLimit {
    per_second: u32,
    left: u32,
    window: u64,
}

impl ResetLimit {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, window: 0 }
    }

    fn take(&mut self, now: Instant) -> bool {
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.window {
            (self.window, self.left) = (second, self.per_second);
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}

impl Endpoint {
    /// RFC 9000 sections 10.3 and 11: we do not know this connection (any more).
    pub(super) fn reset_stranger(&mut self, batch: &mut Batch<'_>, datagram: &[u8]) {
        let dcid = header::short_dcid(datagram, crate::cid::CID_LEN);
        // RFC 9000 section 21.11: a packet for another shard that strayed here must not tell the
        // token that ends the connection there.
        let Some(dcid) = dcid.filter(|dcid| self.factory.is_ours(dcid)) else {
            self.stats.dropped += 1;
            return;
        };
        // RFC 9000 section 10.3.3: shorter than what caused it, so that two endpoints that reset
        // each other come to an end.
        if datagram.len() <= MIN_RESET {
            self.stats.dropped += 1;
            return;
        }
        if !self.resets.take(batch.now) {
            self.stats.resets_suppressed += 1;
            return;
        }
        let longest = MAX_RESET.min(datagram.len() - 1);
        let len = MIN_RESET + self.rng.below((longest - MIN_RESET + 1) as u64) as usize;
        let mut data = vec![0; len];
        self.rng.fill(&mut data);
        data[0] = data[0] & 0x3f | header::FIXED_BIT;
        let cid = ConnectionId::new(dcid).unwrap_or_default();
        data[len - 16..].copy_from_slice(self.factory.reset_token(&cid).as_bytes());
        self.stats.resets_sent += 1;
        batch.replies.push(Reply { addresses: batch.addresses, data });
    }

    /// RFC 9000 sections 5.2.2 and 6.1: tells a client which versions we speak.
    pub(super) fn negotiate_version(&mut self, batch: &mut Batch<'_>, dcid: &[u8], scid: &[u8]) {
        let Some(accept) = &self.accept else {
            self.stats.dropped += 1;
            return;
        };
        let mut versions = accept.transport.versions.clone();
        if accept.transport.grease {
            // RFC 9000 section 6.3: reserved versions keep clients used to unknown ones.
            versions.push(Version::reserved(self.rng.u64() as u32));
        }
        let mut data = vec![0; 7 + dcid.len() + scid.len() + 4 * versions.len()];
        let mut w = Writer::new(&mut data);
        let unused = (self.rng.u64() as u8) & 0x3f;
        header::write_version_negotiation(&mut w, unused, scid, dcid, &versions);
        self.stats.version_negotiations += 1;
        batch.replies.push(Reply { addresses: batch.addresses, data });
    }

    /// Closes a connection that was never made, in an Initial packet.
    pub(super) fn refuse(
        &mut self,
        batch: &mut Batch<'_>,
        h: &LongHeader<'_>,
        code: TransportErrorCode,
        reason: &'static str,
    ) {
        let keys = initial_keys(h.version, &h.dcid, Side::Server).local;
        let scid = self.factory.generate(&mut self.rng);
        let mut data = vec![0; 256];
        let mut w = Writer::new(&mut data);
        let handle = header::write_long(
            &mut w,
            &LongFields {
                ty: PacketType::Initial,
                version: h.version,
                dcid: &h.scid,
                scid: &scid,
                token: &[],
                pn: 0,
                pn_len: 1,
            },
        );
        let header_len = w.position();
        let close = Close { error_code: code.0, frame_type: Some(0), reason: reason.as_bytes() };
        Frame::ConnectionClose(close).write(&mut w);
        let len = w.position() + tquic_crypto::TAG_LEN;
        data.truncate(len);
        header::patch_length(&mut data, handle, len);
        keys.packet.seal(0, 0, &mut data, header_len, &[]);
        if let Some(sample) = data.get(handle.pn_offset + 4..).and_then(|s| s.first_chunk()) {
            let mask = keys.header.mask(sample);
            data[0] ^= mask[0] & header::LONG_PROTECTED;
            data[handle.pn_offset] ^= mask[1];
        }
        self.stats.refused += 1;
        batch.replies.push(Reply { addresses: batch.addresses, data });
    }
}
