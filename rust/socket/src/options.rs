//! Options of sockets as values, and as the bytes in which programs give and read them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tquic_core::cc::Congestion;
use tquic_core::config::{AcceptConfig, TransportConfig};
use tquic_core::multipath::Scheduler;
use tquic_core::trace::Mask;
use tquic_crypto::session::{ClientAuth, Exported, TicketStore};
use tquic_crypto::{ClientConfig, ServerConfig};
use tquic_trace::Tracing;
use tquic_trace::qlog::{Output, QlogConfig, Severity, default_socket};

use crate::abi::*;
use crate::errno::{Errno, Failure};

/// Paths of a connection with multipath.
pub(crate) const PATHS: u32 = 8;
/// Bytes of a ring of qlog events, at least and at most.
const RING: (usize, usize) = (64 << 10, 1 << 30);
/// Longest value of any option.
const MAX_VALUE: usize = 1 << 20;

/// Certificates and keys as they were given: PEM or DER.
#[derive(Clone, Default)]
pub(crate) struct Material {
    pub certificate: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub ca: Option<Vec<u8>>,
}

/// `struct tquic_qlog_args`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QlogArgs {
    pub mode: u32,
    pub ring_size: u32,
    pub event_mask: u64,
    pub severity: u32,
    pub flags: u32,
}

impl QlogArgs {
    /// All events, into files.
    pub fn everything() -> Self {
        Self {
            mode: TQUIC_QLOG_MODE_FILE,
            ring_size: 0,
            event_mask: Mask::ALL.0,
            severity: TQUIC_QLOG_SEV_EXTRA,
            flags: 0,
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            mode: word(0)?,
            ring_size: word(4)?,
            event_mask: integer(bytes.get(8..16)?)?,
            severity: word(16)?,
            flags: word(20)?,
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.extend_from_slice(&self.mode.to_ne_bytes());
        out.extend_from_slice(&self.ring_size.to_ne_bytes());
        out.extend_from_slice(&self.event_mask.to_ne_bytes());
        out.extend_from_slice(&self.severity.to_ne_bytes());
        out.extend_from_slice(&self.flags.to_ne_bytes());
        out
    }
}

/// The options of a socket. What a listener has, its connections begin with.
#[derive(Clone)]
pub(crate) struct Options {
    pub alpn: Vec<Vec<u8>>,
    /// Milliseconds.
    pub idle_timeout: u32,
    pub max_data: u64,
    pub max_stream_data: u64,
    pub max_streams_bidi: u64,
    pub max_streams_uni: u64,
    /// Milliseconds.
    pub ack_delay: u32,
    pub congestion: Congestion,
    pub scheduler: Scheduler,
    /// 1 without multipath.
    pub paths: u32,
    pub pacing: bool,
    pub ecn: bool,
    pub migration: bool,
    pub datagrams: bool,
    pub zerocopy: bool,
    pub max_connections: u32,
    /// As given; each end has a default of its own.
    pub verify: Option<u32>,
    pub self_signed: bool,
    pub hostname: Option<String>,
    pub material: Material,
    pub tickets: TicketStore,
    pub qlog: Option<QlogArgs>,
    pub qlog_folder: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            alpn: vec![b"tquic".to_vec()],
            idle_timeout: 30_000,
            max_data: 1 << 20,
            max_stream_data: 1 << 20,
            max_streams_bidi: 128,
            max_streams_uni: 128,
            ack_delay: 25,
            congestion: Congestion::Cubic,
            scheduler: Scheduler::default(),
            paths: 1,
            pacing: true,
            ecn: true,
            migration: true,
            datagrams: false,
            zerocopy: false,
            max_connections: 100_000,
            verify: None,
            self_signed: false,
            hostname: None,
            material: Material::default(),
            tickets: TicketStore::saving(64),
            qlog: None,
            qlog_folder: None,
        }
    }
}

fn invalid(why: impl Into<String>) -> Failure {
    Failure::new(Errno::INVALID, why)
}

pub(crate) fn number(value: &[u8], what: &str, low: u64, high: u64) -> Result<u64, Failure> {
    let number = integer(value).ok_or_else(|| invalid(format!("{what}: 4 or 8 bytes")))?;
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    Err(Failure::new(Errno::RANGE, format!("{what} must be from {low} to {high}, not {number}")))
}

fn small(value: &[u8], what: &str, high: u32) -> Result<u32, Failure> {
    Ok(u32::try_from(number(value, what, 0, high.into())?).unwrap_or(high))
}

fn flag(value: &[u8], what: &str) -> Result<bool, Failure> {
    Ok(number(value, what, 0, u64::MAX)? != 0)
}

/// A text of C: with or without its end.
fn text<'a>(value: &'a [u8], what: &str) -> Result<&'a str, Failure> {
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(value).map_err(|_| invalid(format!("{what}: not UTF-8")))
}

/// Application protocols: names separated by commas (RFC 7301 section 3.1: 1 to 255 bytes each).
fn protocols(value: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let value = value.strip_suffix(b"\0").unwrap_or(value);
    let names: Vec<_> = value.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect();
    match names.iter().all(|name| (1..=255).contains(&name.len())) {
        true => Ok(names),
        false => Err(invalid("ALPN: names of 1 to 255 bytes, separated by commas")),
    }
}

/// The controller that an option names.
pub(crate) fn congestion(value: &[u8]) -> Result<Congestion, Failure> {
    Congestion::from_name(text(value, "CONGESTION")?).map_err(|why| invalid(why.to_string()))
}

/// The scheduler that an option names.
pub(crate) fn scheduler(value: &[u8]) -> Result<Scheduler, Failure> {
    let name = text(value, "SCHEDULER")?;
    Scheduler::named(name).ok_or_else(|| invalid(format!("there is no scheduler {name:?}")))
}

impl Options {
    /// Sets one from bytes. Options that begin something are not for here.
    pub fn set(&mut self, option: i32, value: &[u8]) -> Result<(), Failure> {
        if value.len() > MAX_VALUE {
            return Err(invalid("the value is too long"));
        }
        match option {
            TQUIC_SOCKOPT_ALPN => self.alpn = protocols(value)?,
            TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT => {
                self.idle_timeout = small(value, "MAX_IDLE_TIMEOUT", 86_400_000)?;
            }
            TQUIC_SOCKOPT_INITIAL_MAX_DATA => {
                self.max_data = number(value, "INITIAL_MAX_DATA", 1024, 4 << 30)?;
            }
            TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI => {
                self.max_stream_data = number(value, "INITIAL_MAX_STREAM_DATA", 1024, 4 << 30)?;
            }
            TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI => {
                self.max_streams_bidi = number(value, "INITIAL_MAX_STREAMS_BIDI", 0, 1 << 60)?;
            }
            TQUIC_MAX_STREAMS_UNI => {
                self.max_streams_uni = number(value, "MAX_STREAMS_UNI", 0, 1 << 60)?;
            }
            TQUIC_ACK_DELAY => self.ack_delay = small(value, "ACK_DELAY", 16_383)?,
            TQUIC_SOCKOPT_CONGESTION => self.congestion = congestion(value)?,
            TQUIC_SOCKOPT_SCHEDULER => self.scheduler = scheduler(value)?,
            TQUIC_SOCKOPT_MULTIPATH_ENABLE => {
                self.paths = if flag(value, "MULTIPATH_ENABLE")? { PATHS } else { 1 };
            }
            TQUIC_PACING => self.pacing = flag(value, "PACING")?,
            TQUIC_ECN => self.ecn = flag(value, "ECN")?,
            TQUIC_MIGRATION => self.migration = flag(value, "MIGRATION")?,
            TQUIC_SO_DATAGRAM => self.datagrams = flag(value, "DATAGRAM")?,
            TQUIC_SOCKOPT_ZEROCOPY => self.zerocopy = flag(value, "ZEROCOPY")?,
            TQUIC_MAX_CONNECTIONS => {
                self.max_connections = small(value, "MAX_CONNECTIONS", 1 << 24)?.max(1);
            }
            TQUIC_SOCKOPT_OFFLOAD_ENABLE => {
                if number(value, "OFFLOAD_ENABLE", 0, u64::MAX)? & u64::from(TQUIC_OFFLOAD_CRYPTO)
                    != 0
                {
                    let why = "OFFLOAD_ENABLE: no network card of this host seals QUIC packets";
                    return Err(Failure::new(Errno::NOT_SUPPORTED, why));
                }
            }
            TQUIC_QLOG_ENABLE => self.set_qlog(value)?,
            TQUIC_QLOG_PATH => {
                self.qlog_folder = Some(PathBuf::from(text(value, "QLOG_PATH")?));
            }
            _ => return self.set_security(option, value),
        }
        Ok(())
    }

    fn set_security(&mut self, option: i32, value: &[u8]) -> Result<(), Failure> {
        match option {
            TQUIC_CERT_VERIFY => self.verify = Some(small(value, "CERT_VERIFY", 2)?),
            TQUIC_ALLOW_SELF_SIGNED => self.self_signed = flag(value, "ALLOW_SELF_SIGNED")?,
            TQUIC_EXPECTED_HOSTNAME => {
                self.hostname = Some(text(value, "EXPECTED_HOSTNAME")?.to_owned());
            }
            TQUIC_CERT => self.material.certificate = Some(value.to_vec()),
            TQUIC_KEY => self.material.key = Some(value.to_vec()),
            TQUIC_CA => self.material.ca = Some(value.to_vec()),
            TQUIC_SESSION_TICKET => self.import_tickets(value)?,
            _ => return Err(no_option(option)),
        }
        Ok(())
    }

    fn set_qlog(&mut self, value: &[u8]) -> Result<(), Failure> {
        let args = QlogArgs::from_bytes(value)
            .ok_or_else(|| invalid("QLOG_ENABLE: 24 bytes, struct tquic_qlog_args"))?;
        match args.mode {
            TQUIC_QLOG_MODE_DISABLED => self.qlog = None,
            TQUIC_QLOG_MODE_RING..=TQUIC_QLOG_MODE_UNIX
                if args.severity <= TQUIC_QLOG_SEV_DEBUG =>
            {
                self.qlog = Some(args);
            }
            _ => return Err(invalid("QLOG_ENABLE: an unknown mode or severity")),
        }
        Ok(())
    }

    /// Tickets as [`Self::tickets`] wrote them: each behind its length in 4 bytes.
    fn import_tickets(&mut self, mut value: &[u8]) -> Result<(), Failure> {
        while !value.is_empty() {
            let wrong = || invalid("SESSION_TICKET: these are no tickets that were read here");
            let (length, rest) = value.split_at_checked(4).ok_or_else(wrong)?;
            let length = integer(length).and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)?;
            let (ticket, rest) = rest.split_at_checked(length).ok_or_else(wrong)?;
            if !self.tickets.import(ticket) {
                return Err(wrong());
            }
            value = rest;
        }
        Ok(())
    }

    fn tickets(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for Exported { bytes, .. } in self.tickets.export(true) {
            // Given out and still there for this socket's next connection.
            self.tickets.import(&bytes);
            out.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    }

    /// Reads one as bytes. Options that tell of the connection are not for here.
    pub fn value(&self, option: i32) -> Result<Vec<u8>, Failure> {
        let int = |value: bool| u32::from(value).to_ne_bytes().to_vec();
        let name = |name: &str| name.as_bytes().to_vec();
        Ok(match option {
            TQUIC_SOCKOPT_ALPN => self.alpn.join(&b','),
            TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT => self.idle_timeout.to_ne_bytes().to_vec(),
            TQUIC_SOCKOPT_INITIAL_MAX_DATA => self.max_data.to_ne_bytes().to_vec(),
            TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI => {
                self.max_stream_data.to_ne_bytes().to_vec()
            }
            TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI => self.max_streams_bidi.to_ne_bytes().to_vec(),
            TQUIC_MAX_STREAMS_UNI => self.max_streams_uni.to_ne_bytes().to_vec(),
            TQUIC_ACK_DELAY => self.ack_delay.to_ne_bytes().to_vec(),
            TQUIC_SOCKOPT_CONGESTION => name(self.congestion.name()),
            TQUIC_SOCKOPT_SCHEDULER => name(self.scheduler.name()),
            TQUIC_SOCKOPT_MULTIPATH_ENABLE => int(self.paths > 1),
            TQUIC_PACING => int(self.pacing),
            TQUIC_ECN => int(self.ecn),
            TQUIC_MIGRATION => int(self.migration),
            TQUIC_SO_DATAGRAM => int(self.datagrams),
            TQUIC_SOCKOPT_ZEROCOPY => int(self.zerocopy),
            TQUIC_SOCKOPT_OFFLOAD_ENABLE => int(false),
            TQUIC_MAX_CONNECTIONS => self.max_connections.to_ne_bytes().to_vec(),
            TQUIC_CERT_VERIFY => self.verify.unwrap_or(2).to_ne_bytes().to_vec(),
            TQUIC_ALLOW_SELF_SIGNED => int(self.self_signed),
            TQUIC_EXPECTED_HOSTNAME => name(self.hostname.as_deref().unwrap_or_default()),
            TQUIC_CERT => self.material.certificate.clone().unwrap_or_default(),
            TQUIC_CA => self.material.ca.clone().unwrap_or_default(),
            TQUIC_SESSION_TICKET => self.tickets(),
            TQUIC_QLOG_ENABLE => {
                let off = QlogArgs { mode: TQUIC_QLOG_MODE_DISABLED, ..QlogArgs::everything() };
                self.qlog.unwrap_or(off).to_bytes()
            }
            TQUIC_QLOG_PATH => {
                let folder = self.qlog_folder.clone().unwrap_or_default();
                folder.into_os_string().into_encoded_bytes()
            }
            _ => return Err(no_option(option)),
        })
    }

    /// The settings of connections.
    pub fn transport(&self) -> Result<TransportConfig, Failure> {
        let mut config = TransportConfig {
            max_idle_timeout: Duration::from_millis(self.idle_timeout.into()),
            max_ack_delay: Duration::from_millis(self.ack_delay.into()),
            ecn: self.ecn,
            disable_active_migration: !self.migration,
            max_paths: (self.paths > 1).then_some(self.paths),
            scheduler: self.scheduler,
            tracer: Some(Arc::new(Tracing::new(self.qlog()))),
            ..TransportConfig::default()
        };
        let streams = &mut config.streams;
        streams.stream_window = self.max_stream_data;
        streams.max_stream_window = streams.max_stream_window.max(self.max_stream_data);
        streams.connection_window = self.max_data;
        streams.max_connection_window = streams.max_connection_window.max(self.max_data);
        streams.max_streams_bidi = self.max_streams_bidi;
        streams.max_streams_uni = self.max_streams_uni;
        config.recovery.congestion = self.congestion;
        config.recovery.pacing = self.pacing;
        if !self.datagrams {
            config.datagrams.max_frame_size = 0;
        }
        config.validate().map_err(|why| invalid(why.to_string()))?;
        Ok(config)
    }

    fn qlog(&self) -> Option<QlogConfig> {
        let args = self.qlog?;
        let place = self.qlog_folder.clone();
        let mut config = QlogConfig::to(match args.mode {
            TQUIC_QLOG_MODE_RING => Output::Ring(place),
            TQUIC_QLOG_MODE_NETLINK => Output::Netlink,
            TQUIC_QLOG_MODE_UNIX => Output::Unix(place.unwrap_or_else(default_socket)),
            _ => Output::Files(place.unwrap_or_else(|| PathBuf::from("."))),
        });
        if args.ring_size > 0 {
            config.buffer = (args.ring_size as usize).clamp(RING.0, RING.1);
        }
        config.mask = Mask(args.event_mask);
        config.severity = Severity::from_number(args.severity).unwrap_or(config.severity);
        Some(config)
    }

    /// A client's side of TLS.
    pub fn client_tls(&self) -> Result<ClientConfig, Failure> {
        let wrong = |why: tquic_crypto::session::ConfigError| invalid(why.to_string());
        let mut builder = ClientConfig::builder()
            .alpn(&self.alpn)
            .tickets(Some(self.tickets.clone()))
            .check_hostname(true);
        builder = match &self.material.ca {
            _ if self.verify == Some(0) || self.self_signed => builder.insecure_no_verification(),
            Some(ca) => builder.roots(ca).map_err(wrong)?,
            None => builder.system_roots().map_err(wrong)?,
        };
        if let (Some(certificate), Some(key)) = (&self.material.certificate, &self.material.key) {
            builder = builder.certificate(certificate, key).map_err(wrong)?;
        }
        builder.build().map_err(wrong)
    }

    /// Whom a listener accepts.
    pub fn accept(&self) -> Result<AcceptConfig, Failure> {
        let wrong = |why: tquic_crypto::session::ConfigError| invalid(why.to_string());
        let (Some(certificate), Some(key)) = (&self.material.certificate, &self.material.key)
        else {
            let why = "a listener needs TQUIC_CERT and TQUIC_KEY, or the files that the variables \
                TQUIC_CERT_FILE and TQUIC_KEY_FILE name";
            return Err(invalid(why));
        };
        let mut builder =
            ServerConfig::builder().certificate(certificate, key).map_err(wrong)?.alpn(&self.alpn);
        let auth = match self.verify {
            None | Some(0) => None,
            Some(1) => Some(ClientAuth::Optional),
            Some(_) => Some(ClientAuth::Required),
        };
        if let Some(auth) = auth {
            let ca = self.material.ca.as_ref();
            let ca = ca.ok_or_else(|| invalid("to verify clients a listener needs TQUIC_CA"))?;
            builder = builder.client_auth(auth, ca).map_err(wrong)?;
        }
        let tls = Arc::new(builder.build().map_err(wrong)?);
        let mut accept = AcceptConfig::new(tls, Arc::new(self.transport()?));
        accept.max_connections = self.max_connections as usize;
        Ok(accept)
    }
}

fn no_option(option: i32) -> Failure {
    Failure::new(Errno::NO_PROTOCOL_OPTION, format!("there is no option {option}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_given() {
        let mut options = Options::default();
        for (option, value) in [
            (TQUIC_SOCKOPT_ALPN, &b"h3,hq"[..]),
            (TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT, &60_000_u32.to_ne_bytes()),
            (TQUIC_SOCKOPT_INITIAL_MAX_DATA, &5_000_000_u64.to_ne_bytes()),
            (TQUIC_SOCKOPT_INITIAL_MAX_STREAM_DATA_BIDI, &70_000_u64.to_ne_bytes()),
            (TQUIC_SOCKOPT_INITIAL_MAX_STREAMS_BIDI, &3_u64.to_ne_bytes()),
            (TQUIC_MAX_STREAMS_UNI, &4_u64.to_ne_bytes()),
            (TQUIC_ACK_DELAY, &10_u32.to_ne_bytes()),
            (TQUIC_SOCKOPT_CONGESTION, b"bbr3"),
            (TQUIC_SOCKOPT_SCHEDULER, b"weighted"),
            (TQUIC_SOCKOPT_MULTIPATH_ENABLE, &1_u32.to_ne_bytes()),
            (TQUIC_PACING, &0_u32.to_ne_bytes()),
            (TQUIC_ECN, &0_u32.to_ne_bytes()),
            (TQUIC_MIGRATION, &0_u32.to_ne_bytes()),
            (TQUIC_SO_DATAGRAM, &1_u32.to_ne_bytes()),
            (TQUIC_SOCKOPT_ZEROCOPY, &1_u32.to_ne_bytes()),
            (TQUIC_MAX_CONNECTIONS, &9_u32.to_ne_bytes()),
            (TQUIC_CERT_VERIFY, &1_u32.to_ne_bytes()),
            (TQUIC_ALLOW_SELF_SIGNED, &1_u32.to_ne_bytes()),
            (TQUIC_EXPECTED_HOSTNAME, b"example.com"),
            (TQUIC_CERT, b"cert"),
            (TQUIC_CA, b"ca"),
            (TQUIC_QLOG_PATH, b"/tmp/q"),
            (TQUIC_QLOG_ENABLE, &QlogArgs::everything().to_bytes()),
        ] {
            assert_ne!(options.value(option).unwrap(), value, "{option} has it by default");
            options.set(option, value).unwrap();
            assert_eq!(options.value(option).unwrap(), value, "{option}");
        }
        let config = options.transport().unwrap();
        assert_eq!(config.max_idle_timeout, Duration::from_secs(60));
        assert_eq!(config.streams.connection_window, 5_000_000);
        assert_eq!(config.streams.stream_window, 70_000);
        assert_eq!((config.streams.max_streams_bidi, config.streams.max_streams_uni), (3, 4));
        assert_eq!((config.max_paths, config.ecn), (Some(PATHS), false));
        assert!(config.disable_active_migration && !config.recovery.pacing);
        assert!(config.datagrams.max_frame_size > 0);
    }

    #[test]
    fn defaults_are_those_of_the_guide() {
        let options = Options::default();
        let value = |option| integer(&options.value(option).unwrap());
        assert_eq!(value(TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT), Some(30_000));
        assert_eq!(value(TQUIC_SOCKOPT_INITIAL_MAX_DATA), Some(1 << 20));
        assert_eq!(value(TQUIC_SOCKOPT_MULTIPATH_ENABLE), Some(0));
        assert_eq!(value(TQUIC_MAX_CONNECTIONS), Some(100_000));
    }

    #[test]
    fn wrong_values_are_refused_with_a_reason() {
        let mut options = Options::default();
        let unknown = QlogArgs { mode: 5, ..QlogArgs::everything() };
        for (option, value, errno) in [
            (TQUIC_SOCKOPT_ALPN, &b"h3,"[..], Errno::INVALID),
            (TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT, b"abc", Errno::INVALID),
            (TQUIC_SOCKOPT_MAX_IDLE_TIMEOUT, &u32::MAX.to_ne_bytes(), Errno::RANGE),
            (TQUIC_SOCKOPT_CONGESTION, b"fast", Errno::INVALID),
            (TQUIC_SOCKOPT_SCHEDULER, b"", Errno::INVALID),
            (TQUIC_SOCKOPT_OFFLOAD_ENABLE, &1_u32.to_ne_bytes(), Errno::NOT_SUPPORTED),
            (TQUIC_QLOG_ENABLE, &unknown.to_bytes(), Errno::INVALID),
            (TQUIC_QLOG_ENABLE, b"short", Errno::INVALID),
            (TQUIC_SESSION_TICKET, b"\x01\0\0\0\0", Errno::INVALID),
            (TQUIC_SESSION_TICKET, b"\xff\xff\xff\xff", Errno::INVALID),
            (9999, b"", Errno::NO_PROTOCOL_OPTION),
            (TQUIC_CERT, &vec![0; MAX_VALUE + 1], Errno::INVALID),
        ] {
            let failure = options.set(option, value).unwrap_err();
            assert_eq!(failure.errno, errno, "{option}: {failure}");
        }
        assert_eq!(options.value(TQUIC_KEY).unwrap_err().errno, Errno::NO_PROTOCOL_OPTION);
        assert_eq!(options.accept().err().map(|f| f.errno), Some(Errno::INVALID));
    }
}
