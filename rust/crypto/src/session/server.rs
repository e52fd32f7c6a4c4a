//! Sessions of servers.

use std::sync::Arc;

use rustls::quic::{self, ServerConnection};
use tquic_wire::Version;

use super::config::TicketKeeper;
use super::secrets::SecretSink;
use super::server_tickets::{StatefulTickets, StatelessTickets, TicketVersions};
use super::tickets::SharedVersion;
use super::{EarlyData, Level, ServerConfig, Session, TlsError};

impl Session {
    /// A server's session. `version` is that of the client's first packets; if another one was
    /// negotiated, call [`Self::set_version`] next. `params` are our transport parameters, encoded.
    ///
    /// # Errors
    ///
    /// If rustls refuses the configuration, which a [`ServerConfig`] does not let happen.
    pub fn server(
        config: &ServerConfig,
        version: Version,
        params: Vec<u8>,
    ) -> Result<Self, TlsError> {
        let negotiated = SharedVersion::new(version);
        let secrets = SecretSink::new(config.key_log.clone());
        let mut tls = config.tls.clone();
        tls.key_log = secrets.clone();
        let versions = TicketVersions { original: version, negotiated: negotiated.clone() };
        match config.tickets.clone() {
            TicketKeeper::Off => {}
            TicketKeeper::Stateless(inner) => {
                tls.ticketer = Arc::new(StatelessTickets { inner, versions });
            }
            TicketKeeper::Stateful(inner) => {
                tls.session_storage = Arc::new(StatefulTickets { inner, versions });
            }
        }
        // The QUIC version only decides about rustls' own packet keys, which are not used.
        let tls = ServerConnection::new(Arc::new(tls), quic::Version::V1, params)
            .map_err(|error| TlsError::new(&error, None, &config.alpn))?;
        Ok(Self {
            tls: tls.into(),
            secrets,
            original: version,
            version: negotiated,
            level: Level::Initial,
            failed: None,
            alpn: config.alpn.clone(),
            early: EarlyData::Server { accepted: None },
            wants_tickets: false,
            saver: None,
            ticket: Arc::default(),
        })
    }
}
