//! Certificates and TLS settings, made once for all trials of a process.

use super::plan::TlsPlan;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tquic_crypto::session::{Group, Tickets};
use tquic_crypto::{ClientConfig, ServerConfig, Suite, TicketStore};

/// TLS of both ends of a trial.
#[derive(Clone)]
pub struct Tls {
    /// With a ticket store of its own.
    pub client: Arc<ClientConfig>,
    /// Shared by all trials of its kind.
    pub server: Arc<ServerConfig>,
    /// The same without what it remembers.
    pub other_server: Arc<ServerConfig>,
}

/// A certificate for `localhost`, signed by itself, and its key, PEM. Ed25519: its signatures
/// always have the same length, so that the same seed gives datagrams of the same size.
fn identity(large: bool) -> &'static (String, String) {
    static IDENTITIES: [OnceLock<(String, String)>; 2] = [OnceLock::new(), OnceLock::new()];
    IDENTITIES[usize::from(large)].get_or_init(|| {
        let mut names = vec!["localhost".to_owned()];
        if large {
            names.extend((0..200).map(|i| format!("name-{i:03}-of-many.example.test")));
        }
        let made = KeyPair::generate_for(&PKCS_ED25519).and_then(|key| {
            let mut params = CertificateParams::new(names)?;
            params.serial_number = Some(SerialNumber::from(0x0123_4567_u64));
            Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
        });
        made.unwrap_or_else(|e| unreachable!("a certificate from constant values: {e}"))
    })
}

fn server(plan: &TlsPlan, instance: u8) -> Arc<ServerConfig> {
    type Key = (bool, bool, bool, u8);
    static CONFIGS: Mutex<BTreeMap<Key, Arc<ServerConfig>>> = Mutex::new(BTreeMap::new());
    let key = (plan.large_certificate, plan.server_early, plan.hello_retry, instance);
    let mut configs = CONFIGS.lock().unwrap_or_else(PoisonError::into_inner);
    let config = configs.entry(key).or_insert_with(|| {
        let (certificate, private) = identity(plan.large_certificate);
        let mut builder = ServerConfig::builder()
            .certificate(certificate.as_bytes(), private.as_bytes())
            .unwrap_or_else(|e| unreachable!("our own certificate: {e}"))
            .alpn(&["trial"])
            .tickets(Tickets::Stateful(256))
            .early_data(plan.server_early);
        if plan.hello_retry {
            builder = builder.groups(&[Group::Secp256r1]);
        }
        Arc::new(builder.build().unwrap_or_else(|e| unreachable!("constant settings: {e}")))
    });
    config.clone()
}

impl Tls {
    /// Settings as planned.
    pub fn new(plan: &TlsPlan) -> Self {
        let (certificate, _) = identity(plan.large_certificate);
        let groups: &[Group] = if plan.post_quantum {
            &[Group::X25519MlKem768, Group::X25519, Group::Secp256r1]
        } else {
            &[Group::X25519, Group::Secp256r1]
        };
        let suite = Suite::ALL[plan.suite % Suite::ALL.len()];
        let client = ClientConfig::builder()
            .roots(certificate.as_bytes())
            .unwrap_or_else(|e| unreachable!("our own certificate: {e}"))
            .alpn(&["trial"])
            .groups(groups)
            .suites(&[suite])
            .tickets(Some(TicketStore::new(4)))
            .early_data(plan.client_early)
            .build()
            .unwrap_or_else(|e| unreachable!("constant settings: {e}"));
        Self { client: Arc::new(client), server: server(plan, 0), other_server: server(plan, 1) }
    }
}
