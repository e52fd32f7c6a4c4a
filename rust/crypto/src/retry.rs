//! The integrity tag of Retry packets (RFC 9001 section 5.8).
//!
//! Its key is public: the tag shows that the sender of the Retry saw the client's Initial packet.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use subtle::ConstantTimeEq;
use tquic_wire::{ConnectionId, Version};

use crate::TAG_LEN;
use crate::hkdf::labels;

/// The tag to put behind `retry`, a Retry packet without its tag, in answer to an Initial packet
/// whose Destination Connection ID was `odcid`.
#[must_use]
pub fn integrity_tag(version: Version, odcid: &ConnectionId, retry: &[u8]) -> [u8; TAG_LEN] {
    let labels = labels(version);
    let odcid = odcid.as_slice();
    // The Retry Pseudo-Packet: the original ID with its length, then the packet.
    let mut pseudo = Vec::with_capacity(1 + odcid.len() + retry.len());
    pseudo.push(odcid.len() as u8);
    pseudo.extend_from_slice(odcid);
    pseudo.extend_from_slice(retry);
    let key = UnboundKey::new(&AES_128_GCM, &labels.retry_key).expect("the key has 16 bytes");
    let nonce = Nonce::assume_unique_for_key(labels.retry_nonce);
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(nonce, Aad::from(pseudo), &mut [])
        .expect("a packet is far shorter than the limit of the AEAD");
    let mut out = [0; TAG_LEN];
    out.copy_from_slice(tag.as_ref());
    out
}

/// Whether `packet`, a whole Retry packet, ends in the right tag. Packets that do not are dropped
/// without a word (RFC 9000 section 17.2.5.2).
#[must_use]
pub fn verify(version: Version, odcid: &ConnectionId, packet: &[u8]) -> bool {
    let Some((retry, tag)) = packet.split_last_chunk::<TAG_LEN>() else { return false };
    integrity_tag(version, odcid, retry).ct_eq(tag).into()
}
