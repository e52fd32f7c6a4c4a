//! Sessions of clients.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rustls::client::Resumption;
use rustls::quic::{self, ClientConnection};
use rustls_pki_types::ServerName;
use tquic_wire::Version;

use super::restore::restore;
use super::saved::TicketSaver;
use super::secrets::SecretSink;
use super::tickets::{ConnectionTickets, SharedVersion, TicketStore};
use super::{ClientConfig, EarlyData, Level, Session, TlsError};
use crate::{Suite, TrafficSecret};

impl Session {
    /// A client's session. `server_name` is a host name or an IP address; the server's certificate
    /// must carry it. `version` is that of the first packets; `params` are our transport
    /// parameters, encoded.
    ///
    /// The `ClientHello` is ready to be taken with [`Self::write`].
    ///
    /// # Errors
    ///
    /// If `server_name` is no valid name, or the system gives no random bytes.
    pub fn client(
        config: &ClientConfig,
        version: Version,
        server_name: &str,
        params: Vec<u8>,
    ) -> Result<Self, TlsError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            TlsError::internal(format!("{server_name:?} is neither a host name nor an IP address"))
        })?;
        let negotiated = SharedVersion::new(version);
        let ticket = Arc::<AtomicBool>::default();
        let secrets = SecretSink::new(config.key_log.clone());
        let mut tls = config.tls.clone();
        tls.key_log = secrets.clone();
        tls.resumption = match config.tickets.clone() {
            None => Resumption::disabled(),
            Some(store) => {
                let (negotiated, received) = (negotiated.clone(), ticket.clone());
                let saved = if store.is_saving() { store.take_saved(&name, version) } else { None };
                let restored = saved.and_then(|saved| restore(config, &name, saved)).map(|it| {
                    tls.dangerous().set_certificate_verifier(it.verifier);
                    it.session
                });
                Resumption::store(Arc::new(ConnectionTickets {
                    store,
                    original: version,
                    negotiated,
                    restored: Mutex::new(restored),
                    received,
                }))
            }
        };
        let saver = config.tickets.clone().filter(TicketStore::is_saving).map(|store| {
            Box::new(TicketSaver {
                store,
                server: server_name.to_owned(),
                version: negotiated.clone(),
                identity: config.identity.clone(),
                time: tls.time_provider.clone(),
                pending: Vec::new(),
            })
        });
        // The QUIC version only decides about rustls' own packet keys, which are not used.
        let tls = ClientConnection::new(Arc::new(tls), quic::Version::V1, name, params)
            .map_err(|error| TlsError::new(&error, None, &config.alpn))?;

        // rustls shows the suite of the session to be resumed, which is that of early data, and
        // that session's transport parameters, until the server answers.
        let suite = tls.negotiated_cipher_suite().and_then(|suite| Suite::from_tls(suite.suite()));
        let secret = suite
            .zip(secrets.take_early())
            .and_then(|(suite, secret)| TrafficSecret::new(suite, &secret));
        let early = EarlyData::Client {
            offered: secret.is_some(),
            secret,
            remembered: tls.quic_transport_parameters().map(<[u8]>::to_vec),
        };
        Ok(Self {
            tls: tls.into(),
            secrets,
            original: version,
            version: negotiated,
            level: Level::Initial,
            failed: None,
            alpn: config.alpn.clone(),
            early,
            wants_tickets: config.tickets.is_some(),
            saver,
            ticket,
        })
    }
}
