//! Configurations: made once, shared by many sessions.

mod client;
mod pbes2;
mod pem;
mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::NamedGroup;
use rustls::crypto::ring::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use super::tap;
use super::verify::{key_hash, pin_text};
use crate::Suite;
use crate::pq::X25519_MLKEM768;

pub use client::{ClientConfig, ClientConfigBuilder};
pub(super) use server::TicketKeeper;
pub use server::{ClientAuth, Lookup, ServerConfig, ServerConfigBuilder, ServerIdentity, Tickets};

/// Why a configuration cannot be used, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub(super) String);

impl ConfigError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The pin of the public key in a certificate, PEM or DER; of a chain, the first one's. Written
/// `sha256//` and the SHA-256 of SubjectPublicKeyInfo (RFC 7469 section 2.4) in base64.
///
/// # Errors
///
/// If there is no certificate that can be read.
pub fn public_key_pin(certificate: &[u8]) -> Result<String, ConfigError> {
    let chain = pem::certificates(certificate)?;
    let first = chain.first().ok_or_else(|| ConfigError::new("there is no certificate"))?;
    let hash = key_hash(first)
        .map_err(|error| ConfigError(format!("the certificate cannot be read: {error}")))?;
    Ok(pin_text(&hash))
}

/// Groups for the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// X25519 and ML-KEM-768 together: safe against quantum computers, too.
    X25519MlKem768,
    /// X25519 (RFC 7748).
    X25519,
    /// NIST P-256.
    Secp256r1,
    /// NIST P-384.
    Secp384r1,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 4] =
        [Self::X25519MlKem768, Self::X25519, Self::Secp256r1, Self::Secp384r1];

    /// The groups offered by default, in this order.
    pub const DEFAULT: [Self; 3] = [Self::X25519MlKem768, Self::X25519, Self::Secp256r1];

    /// The name registered by IANA.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "x25519",
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
        }
    }

    /// The group with the given IANA name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    pub(super) fn from_tls(name: NamedGroup) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.implementation().name() == name)
    }

    pub(super) fn implementation(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519MlKem768 => X25519_MLKEM768,
            Self::X25519 => kx_group::X25519,
            Self::Secp256r1 => kx_group::SECP256R1,
            Self::Secp384r1 => kx_group::SECP384R1,
        }
    }
}

/// Tells the time, in seconds since 1970-01-01 UTC; certificates and tickets are judged by it.
pub type UnixClock = Arc<dyn Fn() -> u64 + Send + Sync>;

struct Clock(UnixClock);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)())))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What both sides choose.
pub(super) struct Common {
    pub alpn: Vec<Vec<u8>>,
    pub suites: Vec<Suite>,
    pub groups: Vec<Group>,
    pub key_log: Option<super::KeyLogLine>,
    pub clock: Option<UnixClock>,
}

impl Common {
    fn new() -> Self {
        Self {
            alpn: Vec::new(),
            suites: Suite::ALL.to_vec(),
            groups: Group::DEFAULT.to_vec(),
            key_log: None,
            clock: None,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        // RFC 9001 section 8.1: endpoints MUST use ALPN.
        if self.alpn.is_empty() {
            return Err(ConfigError::new("QUIC needs at least one ALPN protocol, such as \"h3\""));
        }
        if self.alpn.iter().any(|name| name.is_empty() || name.len() > 255) {
            return Err(ConfigError::new("an ALPN protocol name has 1 to 255 bytes"));
        }
        if self.suites.is_empty() {
            return Err(ConfigError::new("at least one cipher suite is needed"));
        }
        if self.groups.is_empty() {
            return Err(ConfigError::new("at least one key-exchange group is needed"));
        }
        Ok(())
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider {
            cipher_suites: self.suites.iter().copied().map(tap::suite).collect(),
            kx_groups: self.groups.iter().map(|group| group.implementation()).collect(),
            ..default_provider()
        })
    }

    fn time_provider(&self) -> Option<Arc<dyn TimeProvider>> {
        Some(Arc::new(Clock(self.clock.clone()?)))
    }
}
