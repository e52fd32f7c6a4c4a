//! The hybrid key exchange X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem) for rustls.
//!
//! Secure as long as one of X25519 and ML-KEM-768 (FIPS 203) is. The shares are concatenations,
//! ML-KEM first, and so is the secret. The client's share is 1216 bytes, which spreads its
//! `ClientHello` over two packets.

use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Decapsulate, KeyExport, Seed};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::ring::kx_group::X25519;
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use zeroize::Zeroize;

/// Length of an ML-KEM-768 encapsulation key, in bytes (FIPS 203 table 3).
const ENCAPSULATION_KEY_LEN: usize = 1184;

/// Length of an ML-KEM-768 ciphertext, in bytes.
const CIPHERTEXT_LEN: usize = 1088;

/// The group to hand to rustls.
pub(crate) static X25519_MLKEM768: &dyn SupportedKxGroup = &X25519MlKem768;

#[derive(Debug)]
struct X25519MlKem768;

fn fill_random(bytes: &mut [u8]) -> Result<(), Error> {
    SystemRandom::new().fill(bytes).map_err(|_| Error::FailedToGetRandomBytes)
}

fn invalid_share() -> Error {
    PeerMisbehaved::InvalidKeyShare.into()
}

/// The secret: ML-KEM's, then X25519's.
fn combine(mut ml_kem: ml_kem::SharedKey, x25519: &SharedSecret) -> SharedSecret {
    let mut secret = Vec::with_capacity(ml_kem.len() + x25519.secret_bytes().len());
    secret.extend_from_slice(&ml_kem);
    secret.extend_from_slice(x25519.secret_bytes());
    ml_kem.zeroize();
    SharedSecret::from(secret)
}

impl SupportedKxGroup for X25519MlKem768 {
    /// The client's part.
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut seed = Seed::default();
        fill_random(&mut seed)?;
        let ml_kem = DecapsulationKey::from_seed(seed);
        seed.zeroize();
        let x25519 = X25519.start()?;
        let mut share = ml_kem.encapsulation_key().to_bytes().to_vec();
        share.extend_from_slice(x25519.pub_key());
        Ok(Box::new(Started { ml_kem, x25519, share }))
    }

    /// The server's part.
    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (key, point) =
            share.split_at_checked(ENCAPSULATION_KEY_LEN).ok_or_else(invalid_share)?;
        // FIPS 203 section 7.2: `new` refuses keys with coefficients that are not reduced.
        let key = key.try_into().map_err(|_| invalid_share())?;
        let key = EncapsulationKey::new(&key).map_err(|_| invalid_share())?;
        let x25519 = X25519.start_and_complete(point)?;
        let mut random = B32::default();
        fill_random(&mut random)?;
        let (ciphertext, secret) = key.encapsulate_deterministic(&random);
        random.zeroize();
        let mut pub_key = ciphertext.to_vec();
        pub_key.extend_from_slice(&x25519.pub_key);
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key,
            secret: combine(secret, &x25519.secret),
        })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// The client's side between its `ClientHello` and the answer.
struct Started {
    ml_kem: DecapsulationKey,
    x25519: Box<dyn ActiveKeyExchange>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, point) =
            share.split_at_checked(CIPHERTEXT_LEN).ok_or_else(invalid_share)?;
        let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| invalid_share())?;
        let x25519 = self.x25519.complete(point)?;
        Ok(combine(self.ml_kem.decapsulate(&ciphertext), &x25519))
    }

    /// Lets rustls send the X25519 share alone as well, so that a server without ML-KEM needs no
    /// further round trip.
    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.x25519.group(), self.x25519.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        self.x25519.complete(share)
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree() {
        let client = X25519_MLKEM768.start().unwrap();
        assert_eq!(client.pub_key().len(), 1216);
        let server = X25519_MLKEM768.start_and_complete(client.pub_key()).unwrap();
        assert_eq!(server.pub_key.len(), 1120);
        assert_eq!(server.group, NamedGroup::X25519MLKEM768);
        assert_eq!(u16::from(server.group), 0x11ec);
        let secret = client.complete(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 64);
    }

    #[test]
    fn x25519_alone() {
        let client = X25519_MLKEM768.start().unwrap();
        let (group, point) = client.hybrid_component().unwrap();
        assert_eq!(group, NamedGroup::X25519);
        let server = X25519.start_and_complete(point).unwrap();
        let secret = client.complete_hybrid_component(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
    }

    #[test]
    fn bad_shares_are_refused() {
        let client = X25519_MLKEM768.start().unwrap();
        let good = client.pub_key().to_vec();
        for len in [0, 32, 1183, 1184, 1215] {
            assert!(X25519_MLKEM768.start_and_complete(&good[..len]).is_err(), "{len} bytes");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(X25519_MLKEM768.start_and_complete(&long).is_err());
        // Coefficients of 4095 are above the modulus 3329.
        let mut not_reduced = good.clone();
        not_reduced[..3].fill(0xff);
        assert!(X25519_MLKEM768.start_and_complete(&not_reduced).is_err());
        // The all-zero point gives an all-zero X25519 secret.
        let mut low_order = good;
        low_order[1184..].fill(0);
        assert!(X25519_MLKEM768.start_and_complete(&low_order).is_err());
        assert!(client.complete(&[0; 1119]).is_err());
    }

    /// ML-KEM does not fail on a wrong ciphertext; it gives another secret (implicit rejection).
    #[test]
    fn a_damaged_ciphertext_gives_another_secret() {
        let client = X25519_MLKEM768.start().unwrap();
        let server = X25519_MLKEM768.start_and_complete(client.pub_key()).unwrap();
        let mut damaged = server.pub_key.clone();
        damaged[7] ^= 1;
        let secret = client.complete(&damaged).unwrap();
        assert_ne!(secret.secret_bytes()[..32], server.secret.secret_bytes()[..32]);
        assert_eq!(secret.secret_bytes()[32..], server.secret.secret_bytes()[32..]);
    }
}
