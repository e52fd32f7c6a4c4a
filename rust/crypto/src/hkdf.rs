//! HKDF-Expand-Label (RFC 8446 section 7.1) and the labels of each QUIC version.

use ring::hkdf::{KeyType, Prk};
use tquic_wire::Version;

struct OutputLen(usize);

impl KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label with an empty context; fills `out`.
pub(crate) fn expand_label(secret: &Prk, label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let len = u16::try_from(out.len()).expect("outputs are shorter than 64 KiB").to_be_bytes();
    let label_len = u8::try_from(PREFIX.len() + label.len()).expect("labels are short");
    expand(secret, &[&len[..], &[label_len], PREFIX, label, &[0]], out);
}

/// HKDF-Expand (RFC 5869) with the concatenation of `info`; fills `out`.
pub(crate) fn expand(secret: &Prk, info: &[&[u8]], out: &mut [u8]) {
    secret
        .expand(info, OutputLen(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("outputs are shorter than 255 hashes");
}

/// What differs between QUIC versions in the key schedule.
pub(crate) struct Labels {
    pub key: &'static [u8],
    pub iv: &'static [u8],
    pub header: &'static [u8],
    pub update: &'static [u8],
    pub initial_salt: [u8; 20],
    pub retry_key: [u8; 16],
    pub retry_nonce: [u8; 12],
}

/// RFC 9001 sections 5.1, 5.2, 5.8 and 6.1.
static V1: Labels = Labels {
    key: b"quic key",
    iv: b"quic iv",
    header: b"quic hp",
    update: b"quic ku",
    initial_salt: [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c,
        0xad, 0xcc, 0xbb, 0x7f, 0x0a,
    ],
    retry_key: [
        0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8,
        0x4e,
    ],
    retry_nonce: [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
};

/// RFC 9369 section 3.3.
static V2: Labels = Labels {
    key: b"quicv2 key",
    iv: b"quicv2 iv",
    header: b"quicv2 hp",
    update: b"quicv2 ku",
    initial_salt: [
        0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d,
        0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
    ],
    retry_key: [
        0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc,
        0x92,
    ],
    retry_nonce: [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a],
};

/// The labels of `version`. A version that is not supported gets those of version 1: who calls
/// has checked the version long before keys are made.
pub(crate) fn labels(version: Version) -> &'static Labels {
    if version == Version::V2 { &V2 } else { &V1 }
}
