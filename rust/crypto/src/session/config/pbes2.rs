//! Private keys under a password: PKCS #8 with PBES2 (RFC 8018 section 6.2), PBKDF2 and AES-CBC,
//! which is what `openssl pkcs8 -topk8` and `openssl genpkey` write.

use std::num::NonZeroU32;

use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use aes::{Aes128, Aes256};
use ring::pbkdf2;
use zeroize::Zeroizing;

use super::ConfigError;

// Object identifiers of RFC 8018 appendix C, RFC 5280, and NIST's AES ones, in DER.
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x07];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const HMAC_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0a];
const HMAC_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x0b];
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// More would take minutes.
const MAX_ITERATIONS: u32 = 50_000_000;
const BLOCK: usize = 16;

const UNSUPPORTED: &str = "the private key is encrypted in a way that is not supported (PBES2 with \
                           PBKDF2 and AES-CBC is); convert it with: openssl pkcs8 -topk8 -v2 \
                           aes-256-cbc -in KEY -out NEW_KEY";
const WRONG: &str = "the private key cannot be decrypted: the password is wrong";

/// Decrypts an `EncryptedPrivateKeyInfo` (RFC 5958 section 3), in DER.
pub(super) fn decrypt(der: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let scheme = parse(der).ok_or_else(|| ConfigError::new(UNSUPPORTED))?;
    let mut key = Zeroizing::new(vec![0; scheme.key_len]);
    pbkdf2::derive(scheme.prf, scheme.iterations, scheme.salt, password, &mut key);
    let plain = match scheme.key_len {
        16 => cbc::<Aes128>(&key, scheme.iv, scheme.data),
        _ => cbc::<Aes256>(&key, scheme.iv, scheme.data),
    };
    // A wrong password shows as nonsense: padding that is none, or no DER.
    plain
        .filter(|plain| Der(plain).value(SEQUENCE).is_some())
        .ok_or_else(|| ConfigError::new(WRONG))
}

struct Scheme<'a> {
    prf: pbkdf2::Algorithm,
    salt: &'a [u8],
    iterations: NonZeroU32,
    key_len: usize,
    iv: [u8; BLOCK],
    data: &'a [u8],
}

fn parse(der: &[u8]) -> Option<Scheme<'_>> {
    let mut info = Der(Der(der).value(SEQUENCE)?);
    let mut algorithm = Der(info.value(SEQUENCE)?);
    let data = info.value(OCTET_STRING)?;
    if algorithm.value(OBJECT_IDENTIFIER)? != PBES2 {
        return None;
    }
    let mut parameters = Der(algorithm.value(SEQUENCE)?);
    let mut derivation = Der(parameters.value(SEQUENCE)?);
    let mut encryption = Der(parameters.value(SEQUENCE)?);
    if derivation.value(OBJECT_IDENTIFIER)? != PBKDF2 {
        return None;
    }
    let mut derivation = Der(derivation.value(SEQUENCE)?);
    let salt = derivation.value(OCTET_STRING)?;
    let iterations = derivation.integer().filter(|&n| n <= MAX_ITERATIONS)?;
    // The length of the key stands here sometimes; the cipher says it as well.
    derivation.value(INTEGER);
    let prf = match derivation.value(SEQUENCE).map(|prf| Der(prf).value(OBJECT_IDENTIFIER)) {
        None | Some(Some(HMAC_SHA1)) => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(Some(HMAC_SHA256)) => pbkdf2::PBKDF2_HMAC_SHA256,
        Some(Some(HMAC_SHA384)) => pbkdf2::PBKDF2_HMAC_SHA384,
        Some(Some(HMAC_SHA512)) => pbkdf2::PBKDF2_HMAC_SHA512,
        Some(_) => return None,
    };
    let key_len = match encryption.value(OBJECT_IDENTIFIER)? {
        AES_128_CBC => 16,
        AES_256_CBC => 32,
        _ => return None,
    };
    let iv = encryption.value(OCTET_STRING)?.try_into().ok()?;
    Some(Scheme { prf, salt, iterations: NonZeroU32::new(iterations)?, key_len, iv, data })
}

/// AES in CBC mode with the padding of RFC 5652 section 6.3.
fn cbc<C>(key: &[u8], mut previous: [u8; BLOCK], data: &[u8]) -> Option<Zeroizing<Vec<u8>>>
where
    C: KeyInit + BlockCipherDecrypt<BlockSize = aes::cipher::consts::U16>,
{
    let cipher = C::new_from_slice(key).ok()?;
    let (blocks, []) = data.as_chunks::<BLOCK>() else { return None };
    let mut plain = Zeroizing::new(Vec::with_capacity(data.len()));
    for encrypted in blocks {
        let mut block = Array::from(*encrypted);
        cipher.decrypt_block(&mut block);
        plain.extend(block.iter().zip(previous).map(|(byte, mask)| byte ^ mask));
        previous = *encrypted;
    }
    let padding = usize::from(*plain.last()?);
    let end = plain.len().checked_sub(padding)?;
    let pad = plain.get(end..)?;
    if !(1..=BLOCK).contains(&padding) || pad.iter().any(|&byte| usize::from(byte) != padding) {
        return None;
    }
    plain.truncate(end);
    Some(plain)
}

/// As much of DER as is needed here.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value, if it has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [found, first, rest @ ..] = self.0 else { return None };
        if *found != tag {
            return None;
        }
        let (len, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(value)
    }

    fn integer(&mut self) -> Option<u32> {
        let bytes = self.value(INTEGER)?;
        (bytes.len() <= 5)
            .then(|| bytes.iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte)))
            .and_then(|number| u32::try_from(number).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let value = parts.concat();
        let mut out = vec![tag, 0x82];
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
        out
    }

    /// A structure as `openssl` writes it, over these encrypted bytes.
    fn encrypted(data: &[u8]) -> Vec<u8> {
        let prf = tagged(SEQUENCE, &[&tagged(OBJECT_IDENTIFIER, &[HMAC_SHA256]), &[5, 0]]);
        let salt = tagged(OCTET_STRING, &[&[1; 8]]);
        let derivation = tagged(SEQUENCE, &[&salt, &tagged(INTEGER, &[&[2]]), &prf]);
        let derivation = tagged(SEQUENCE, &[&tagged(OBJECT_IDENTIFIER, &[PBKDF2]), &derivation]);
        let iv = tagged(OCTET_STRING, &[&[9; 16]]);
        let cipher = tagged(SEQUENCE, &[&tagged(OBJECT_IDENTIFIER, &[AES_128_CBC]), &iv]);
        let parameters = tagged(SEQUENCE, &[&derivation, &cipher]);
        let algorithm = tagged(SEQUENCE, &[&tagged(OBJECT_IDENTIFIER, &[PBES2]), &parameters]);
        tagged(SEQUENCE, &[&algorithm, &tagged(OCTET_STRING, &[data])])
    }

    #[test]
    fn what_was_encrypted_is_read() {
        use aes::cipher::BlockCipherEncrypt;
        let plain = [SEQUENCE, 3, 2, 1, 7];
        let mut key = [0; 16];
        let rounds = NonZeroU32::new(2).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &[1; 8], b"secret", &mut key);
        let mut block = [11; 16];
        block[..5].copy_from_slice(&plain);
        let mut block = Array::from(block.map(|byte| byte ^ 9));
        Aes128::new_from_slice(&key).unwrap().encrypt_block(&mut block);
        let der = encrypted(&block);
        assert_eq!(decrypt(&der, b"secret").unwrap().as_slice(), plain);
        assert_eq!(decrypt(&der, b"other").unwrap_err(), ConfigError::new(WRONG));
        assert_eq!(decrypt(&[SEQUENCE, 0], b"").unwrap_err(), ConfigError::new(UNSUPPORTED));
    }

    proptest! {
        #[test]
        fn damage_does_no_harm(at in 0usize..150, to: u8, cut in 0usize..150) {
            let mut der = encrypted(&[3; 32]);
            // Not the number of rounds: it is allowed to be large.
            if let Some(byte) = der.get_mut(at) && *byte != 2 {
                *byte = to;
            }
            der.truncate(cut);
            prop_assume!(parse(&der).is_none_or(|scheme| scheme.iterations.get() < 1000));
            let _ = decrypt(&der, b"secret");
        }
    }
}
