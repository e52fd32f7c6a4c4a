//! How a server chooses its certificate.

use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;

use super::config::Lookup;

/// A certificate, and for whom it was meant.
#[derive(Debug)]
pub(super) struct Named {
    /// In lower case; with a star, if any, in the place of the first label. `None`: whatever names
    /// the certificate carries.
    pub name: Option<String>,
    pub key: Arc<CertifiedKey>,
}

/// Chooses among a server's certificates by the name that the client asks for; the first one if no
/// certificate carries that name or the client named none.
pub(super) struct CertificatesByName {
    identities: Vec<Named>,
    lookup: Option<Lookup>,
}

impl CertificatesByName {
    pub fn new(identities: Vec<Named>, lookup: Option<Lookup>) -> Self {
        Self { identities, lookup }
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let meant =
            |wanted: &str| self.identities.iter().find(|it| it.name.as_deref() == Some(wanted));
        // RFC 6125 section 6.4.3: the star stands for one label.
        let starred = || meant(&format!("*.{}", name.split_once('.')?.1));
        let carried = || {
            let name = ServerName::try_from(name.as_str()).ok()?;
            self.identities.iter().find(|it| it.name.is_none() && carries(&it.key, &name))
        };
        if let Some(found) = meant(&name).or_else(starred).or_else(carried) {
            return Some(found.key.clone());
        }
        self.lookup.as_ref().and_then(|lookup| lookup(&name)).map(|identity| identity.0)
    }
}

impl fmt::Debug for CertificatesByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatesByName").field("identities", &self.identities).finish()
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = &self.identities.first()?.key;
        if self.identities.len() == 1 && self.lookup.is_none() {
            return Some(first.clone());
        }
        let found = hello.server_name().and_then(|name| self.find(name));
        Some(found.unwrap_or_else(|| first.clone()))
    }
}

fn carries(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Ok(certificate) = key.end_entity_cert() else { return false };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
