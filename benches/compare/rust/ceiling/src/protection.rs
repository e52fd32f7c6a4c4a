//! Datagrams as they are, and as QUIC packets.

use compare_common::pattern::{Checker, piece};
use compare_common::{DATAGRAM, Result};
use tquic_crypto::{HeaderKey, PacketKey, SAMPLE_LEN, Suite, TAG_LEN};
use tquic_net::udp::Slot;

use crate::flow::TRAIN;

/// How bytes become datagrams.
pub trait Protection: Default {
    /// Fills a train with the bytes from `sent` on: how many, and how long the train is.
    fn seal(&mut self, sent: u64, total: u64, train: &mut [u8]) -> (u64, usize);
    /// Takes a train apart and checks its bytes.
    fn open(&mut self, slot: &mut Slot<'_>, checker: &mut Checker) -> Result<()>;
}

/// Nothing but the bytes.
#[derive(Default)]
pub struct Bare;

impl Protection for Bare {
    fn seal(&mut self, sent: u64, total: u64, train: &mut [u8]) -> (u64, usize) {
        let data = piece(sent, (total - sent).min(train.len() as u64));
        train[..data.len()].copy_from_slice(data);
        (data.len() as u64, data.len())
    }

    fn open(&mut self, slot: &mut Slot<'_>, checker: &mut Checker) -> Result<()> {
        checker.check(slot.data);
        Ok(())
    }
}

/// A short header: the first byte, a connection ID of 8 bytes, 4 bytes of packet number.
const HEADER_LEN: usize = 13;
const NUMBER: std::ops::Range<usize> = 9..13;
/// Where header protection takes its sample (RFC 9001 section 5.4.2).
const SAMPLE: std::ops::Range<usize> = 13..13 + SAMPLE_LEN;
/// Bytes of the application in a full packet.
const PAYLOAD: usize = DATAGRAM as usize - HEADER_LEN - TAG_LEN;
/// The application's buffer, which the one copy goes to.
const BUFFER: usize = 256 * 1024;

/// Packets like those of QUIC.
pub struct Sealed {
    key: PacketKey,
    header_key: HeaderKey,
    next: u32,
    expected: u32,
    buffer: Box<[u8]>,
    filled: usize,
}

impl Default for Sealed {
    fn default() -> Self {
        let suite = Suite::Aes128Gcm;
        Self {
            key: PacketKey::new(suite, &[7; 16], [9; 12]).expect("a key of the right length"),
            header_key: HeaderKey::new(suite, &[5; 16]).expect("a key of the right length"),
            next: 0,
            expected: 0,
            buffer: vec![0; BUFFER].into(),
            filled: 0,
        }
    }
}

impl Sealed {
    fn masks<'a>(
        &self,
        packets: impl Iterator<Item = &'a [u8]>,
        masks: &mut [[u8; 5]],
    ) -> Option<usize> {
        let mut samples = [[0; SAMPLE_LEN]; 64];
        let mut count = 0;
        for (packet, sample) in packets.zip(&mut samples) {
            sample.copy_from_slice(packet.get(SAMPLE)?);
            count += 1;
        }
        self.header_key.masks(&samples[..count], masks);
        Some(count)
    }
}

fn apply(mask: [u8; 5], packet: &mut [u8]) {
    packet[0] ^= mask[0] & 0x1f;
    for (byte, mask) in packet[NUMBER].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
}

impl Protection for Sealed {
    fn seal(&mut self, sent: u64, total: u64, train: &mut [u8]) -> (u64, usize) {
        let (mut bytes, mut filled) = (0, 0);
        for _ in 0..TRAIN {
            let data = piece(sent + bytes, (total - sent - bytes).min(PAYLOAD as u64));
            // A packet without bytes would be none.
            if data.is_empty() {
                break;
            }
            let len = HEADER_LEN + data.len() + TAG_LEN;
            let packet = &mut train[filled..filled + len];
            packet[0] = 0x43;
            packet[1..9].copy_from_slice(b"ceiling.");
            packet[NUMBER].copy_from_slice(&self.next.to_be_bytes());
            self.key.seal(0, u64::from(self.next), packet, HEADER_LEN, data);
            self.next += 1;
            bytes += data.len() as u64;
            filled += len;
        }
        let mut masks = [[0; 5]; 64];
        let size = usize::from(DATAGRAM);
        self.masks(train[..filled].chunks(size), &mut masks).expect("packets have samples");
        for (mask, packet) in masks.iter().zip(train[..filled].chunks_mut(size)) {
            apply(*mask, packet);
        }
        (bytes, filled)
    }

    fn open(&mut self, slot: &mut Slot<'_>, checker: &mut Checker) -> Result<()> {
        let mut masks = [[0; 5]; 64];
        let packets = slot.data.chunks(slot.stride);
        self.masks(packets, &mut masks).ok_or("a packet without a sample")?;
        for (mask, packet) in masks.iter().zip(slot.datagrams()) {
            apply(*mask, packet);
            let number = packet[NUMBER].try_into().map_or(0, u32::from_be_bytes);
            if number != self.expected {
                return Err(format!("packet {number} came instead of {}", self.expected).into());
            }
            self.expected += 1;
            let data = self.key.open(0, u64::from(number), packet, HEADER_LEN);
            let data = data.ok_or("a packet that is not authentic")?;
            if self.filled + data.len() > self.buffer.len() {
                self.filled = 0;
            }
            let place = &mut self.buffer[self.filled..self.filled + data.len()];
            place.copy_from_slice(data);
            checker.check(place);
            self.filled += data.len();
        }
        Ok(())
    }
}
