//! The cipher suites as given to rustls, with two changes in their HKDF: the pre-shared key of a
//! session ticket can be read and replaced, and no packet keys are derived.
//!
//! rustls keeps a client's tickets in values that can neither be written down nor made. Their only
//! secret, the PSK of RFC 8446 section 4.6.1, is made by one call of HKDF with the label
//! "resumption": here that call is seen. `saved` and `restore` build on it.
//!
//! Packet keys are made by this crate, from the secrets that rustls logs. Those that rustls makes
//! for itself are given to nobody, and would be a fifth of all HKDF calls of a handshake.

use std::cell::RefCell;
use std::sync::LazyLock;

use rustls::Tls13CipherSuite;
use rustls::crypto::ring::cipher_suite;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::crypto::{ActiveKeyExchange, hmac};
use rustls::{CipherSuiteCommon, Error, SupportedCipherSuite};
use zeroize::Zeroizing;

use crate::Suite;

/// The nonce of a ticket, and its PSK.
pub(super) type TicketSecret = (Vec<u8>, Zeroizing<Vec<u8>>);

/// What becomes of the PSKs that this thread's handshakes make.
enum Mode {
    Off,
    /// They are noted.
    Note(Vec<TicketSecret>),
    /// This one is used in their place.
    Give(Zeroizing<Vec<u8>>),
}

thread_local! {
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Off) };
}

/// Sets the mode, and ends it also when a panic goes by.
struct Guard;

impl Guard {
    fn new(mode: Mode) -> Self {
        MODE.replace(mode);
        Self
    }

    fn finish(&self) -> Mode {
        MODE.replace(Mode::Off)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Runs `f` and says which ticket secrets were made meanwhile.
pub(super) fn noting<R>(f: impl FnOnce() -> R) -> (R, Vec<TicketSecret>) {
    let guard = Guard::new(Mode::Note(Vec::new()));
    let result = f();
    match guard.finish() {
        Mode::Note(secrets) => (result, secrets),
        Mode::Off | Mode::Give(_) => (result, Vec::new()),
    }
}

/// Runs `f`, in which tickets get `psk` as their secret.
pub(super) fn giving<R>(psk: Zeroizing<Vec<u8>>, f: impl FnOnce() -> R) -> R {
    let _guard = Guard::new(Mode::Give(psk));
    f()
}

/// The suite for rustls.
pub(super) fn suite(suite: Suite) -> SupportedCipherSuite {
    static AES_128: LazyLock<Tls13CipherSuite> =
        LazyLock::new(|| tapped(cipher_suite::TLS13_AES_128_GCM_SHA256));
    static AES_256: LazyLock<Tls13CipherSuite> =
        LazyLock::new(|| tapped(cipher_suite::TLS13_AES_256_GCM_SHA384));
    static CHACHA20: LazyLock<Tls13CipherSuite> =
        LazyLock::new(|| tapped(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256));
    SupportedCipherSuite::Tls13(match suite {
        Suite::Aes128Gcm => &AES_128,
        Suite::Aes256Gcm => &AES_256,
        Suite::Chacha20Poly1305 => &CHACHA20,
    })
}

fn tapped(suite: SupportedCipherSuite) -> Tls13CipherSuite {
    let suite = suite.tls13().expect("the suites of this crate are those of TLS 1.3");
    Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: suite.common.suite,
            hash_provider: suite.common.hash_provider,
            confidentiality_limit: suite.common.confidentiality_limit,
        },
        // Once for each suite and process.
        hkdf_provider: Box::leak(Box::new(Tap(suite.hkdf_provider))),
        aead_alg: suite.aead_alg,
        quic: suite.quic,
    }
}

struct Tap(&'static dyn Hkdf);

impl Hkdf for Tap {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn extract_from_kx_shared_secret(
        &self,
        salt: Option<&[u8]>,
        kx: Box<dyn ActiveKeyExchange>,
        peer_pub_key: &[u8],
    ) -> Result<Box<dyn HkdfExpander>, Error> {
        self.0.extract_from_kx_shared_secret(salt, kx, peer_pub_key)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(TappedExpander(self.0.expander_for_okm(okm)))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> hmac::Tag {
        self.0.hmac_sign(key, message)
    }
}

struct TappedExpander(Box<dyn HkdfExpander>);

impl HkdfExpander for TappedExpander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        if is_packet_key(info) {
            output.fill(0);
            return Ok(());
        }
        self.0.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        let made = self.0.expand_block(info);
        let Some(nonce) = ticket_nonce(info) else { return made };
        MODE.with_borrow_mut(|mode| match mode {
            Mode::Off => made,
            Mode::Note(secrets) => {
                secrets.push((nonce, Zeroizing::new(made.as_ref().to_vec())));
                made
            }
            Mode::Give(psk) => OkmBlock::new(psk),
        })
    }

    fn hash_len(&self) -> usize {
        self.0.hash_len()
    }
}

/// Whether `info` is of a packet or header key, or an IV (RFC 9001 section 5.1), in the labels of
/// version 1, which is what rustls is told in any case.
fn is_packet_key(info: &[&[u8]]) -> bool {
    // RFC 8446 section 7.1, HkdfLabel: the fourth of the pieces in which rustls gives it.
    matches!(info.get(3), Some(&(b"quic key" | b"quic iv" | b"quic hp")))
}

/// RFC 8446 section 4.6.1: `HKDF-Expand-Label(resumption_master_secret, "resumption",
/// ticket_nonce, Hash.length)`. The nonce, if `info` is of this call.
fn ticket_nonce(info: &[&[u8]]) -> Option<Vec<u8>> {
    const LABEL: &[u8] = b"\x10tls13 resumption";
    // RFC 8446 section 7.1, HkdfLabel: length (2), label with its length, context with its length.
    let label = info.concat();
    let nonce = label.get(2..)?.strip_prefix(LABEL)?;
    Some(nonce.get(1..)?.to_vec())
}

#[cfg(test)]
mod tests {
    use rustls::quic;

    use super::*;

    /// Should rustls ask for its packet keys in other words one day, only time is lost; but somebody
    /// should know.
    #[test]
    fn rustls_derives_no_packet_keys_for_itself() {
        for kind in Suite::ALL {
            let suite = suite(kind).tls13().unwrap();
            let tag = |dcid: &[u8]| {
                let keys =
                    suite.quic_suite().unwrap().keys(dcid, rustls::Side::Client, quic::Version::V1);
                keys.local.packet.encrypt_in_place(0, b"", &mut []).unwrap().as_ref().to_vec()
            };
            assert_eq!(tag(b"one connection"), tag(b"another"));
        }
    }

    #[test]
    fn other_secrets_are_derived() {
        let suite = suite(Suite::Aes128Gcm).tls13().unwrap();
        let expander = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(&[7; 32]));
        for (label, derived) in [(&b"quic key"[..], false), (b"quic ku", true), (b"key", true)] {
            let mut out = [0; 16];
            let len = [(6 + label.len()) as u8];
            expander.expand_slice(&[&[0, 16], &len, b"tls13 ", label, &[0]], &mut out).unwrap();
            assert_eq!(out != [0; 16], derived);
        }
    }
}
