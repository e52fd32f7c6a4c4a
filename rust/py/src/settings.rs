//! `tquic.Config` as the engine wants it. Python checks every limit before.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use tquic_core::cc::Congestion;
use tquic_core::config::{AcceptConfig, PreferredAddresses, RetryPolicy, TransportConfig};
use tquic_core::datagram::DatagramConfig;
use tquic_core::multipath::{Scheduler, SchedulerSource};
use tquic_core::recovery::RecoveryConfig;
use tquic_core::stream::StreamConfig;
use tquic_core::trace::Mask;
use tquic_crypto::session::{ClientAuth, Exported, Group, Tickets};
use tquic_crypto::{ClientConfig, ServerConfig, Suite};
use tquic_engine::scheduler::Ebpf;
use tquic_engine::{ConnectRequest, ListenRequest, LocalAddress};
use tquic_trace::Tracing;
use tquic_trace::qlog::{Form, Output, QlogConfig, Severity};
use tquic_wire::Version;

use crate::bpf::BpfProgram;
use crate::material::{ClientMaterial, ServerMaterial};
use crate::{error, keylog, material};

/// The attributes of `tquic.Config` that make a `TransportConfig`.
#[derive(FromPyObject)]
struct TransportSettings {
    idle_timeout: f64,
    keep_alive: Option<f64>,
    handshake_timeout: f64,
    stream_window: u64,
    max_stream_window: u64,
    connection_window: u64,
    max_connection_window: u64,
    max_bidi_streams: u64,
    max_uni_streams: u64,
    send_buffer: u64,
    reset_stream_at: bool,
    congestion: String,
    initial_rtt: f64,
    initial_window: Option<u64>,
    pacing: bool,
    ack_frequency: bool,
    max_ack_delay: f64,
    mtu: u16,
    mtu_discovery: bool,
    ecn: bool,
    grease: bool,
    versions: Vec<String>,
    initial_version: Option<String>,
    active_connection_id_limit: u64,
    key_update_interval: Option<u64>,
    max_datagram_frame_size: u64,
    datagram_queue: usize,
    datagram_receive_queue: usize,
    migration: bool,
    max_paths: u32,
    #[pyo3(attribute("_scheduler"))]
    scheduler: (String, Option<Py<BpfProgram>>),
    reinject_after: Option<f64>,
    #[pyo3(attribute("_local_addresses"))]
    paths: Vec<(Option<Address>, Option<String>)>,
    #[pyo3(attribute("_qlog"))]
    qlog: Option<QlogSettings>,
}

/// Host and port, as Python writes them.
type Address = (String, u16);

/// Where qlog goes: mode, folder or socket, mask, severity, whether in the old form, buffer in bytes.
type QlogSettings = (String, Option<PathBuf>, u64, u32, bool, usize);

fn tracing(py: Python<'_>, qlog: Option<QlogSettings>) -> PyResult<Tracing> {
    let Some((mode, place, mask, severity, old, buffer)) = qlog else {
        return Ok(Tracing::new(None));
    };
    let output = match (mode.as_str(), place) {
        ("file", Some(folder)) => Output::Files(folder),
        ("ring", folder) => Output::Ring(folder),
        #[cfg(target_os = "linux")]
        ("unix", path) => Output::Unix(path.unwrap_or_else(tquic_trace::qlog::default_socket)),
        #[cfg(target_os = "linux")]
        ("netlink", _) => Output::Netlink,
        _ => return Err(unknown(py, "qlog_mode", &mode)),
    };
    let severity = Severity::from_number(severity)
        .ok_or_else(|| unknown(py, "qlog_severity", &severity.to_string()))?;
    let (mask, form) = (Mask(mask), if old { Form::Old } else { Form::New });
    Ok(Tracing::new(Some(QlogConfig { output, mask, severity, form, buffer })))
}

fn unknown(py: Python<'_>, setting: &str, value: &str) -> PyErr {
    error::config(py, &format!("{setting}: {value:?} is not known"))
}

/// The controller of this name.
pub fn congestion(py: Python<'_>, name: &str) -> PyResult<Congestion> {
    Congestion::from_name(name).map_err(|why| error::config(py, &why))
}

fn seconds(py: Python<'_>, setting: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| error::config(py, &format!("{setting}: {value} is not a duration in seconds")))
}

impl TransportSettings {
    fn build(self, py: Python<'_>) -> PyResult<TransportConfig> {
        let congestion = congestion(py, &self.congestion)?;
        let version = |setting, name: &String| match name.as_str() {
            "v1" => Ok(Version::V1),
            "v2" => Ok(Version::V2),
            other => Err(unknown(py, setting, other)),
        };
        let versions = self.versions.iter().map(|name| version("versions", name));
        let initial_version = self.initial_version.as_ref();
        let config = TransportConfig {
            max_idle_timeout: seconds(py, "idle_timeout", self.idle_timeout)?,
            keep_alive: self.keep_alive.map(|s| seconds(py, "keep_alive", s)).transpose()?,
            handshake_timeout: seconds(py, "handshake_timeout", self.handshake_timeout)?,
            streams: StreamConfig {
                stream_window: self.stream_window,
                max_stream_window: self.max_stream_window.max(self.stream_window),
                connection_window: self.connection_window,
                max_connection_window: self.max_connection_window.max(self.connection_window),
                max_streams_bidi: self.max_bidi_streams,
                max_streams_uni: self.max_uni_streams,
                send_buffer: self.send_buffer,
                reset_stream_at: self.reset_stream_at,
                ..StreamConfig::default()
            },
            recovery: RecoveryConfig {
                initial_rtt: seconds(py, "initial_rtt", self.initial_rtt)?,
                initial_window: self.initial_window,
                congestion,
                pacing: self.pacing,
                ..RecoveryConfig::default()
            },
            datagrams: DatagramConfig {
                max_frame_size: self.max_datagram_frame_size,
                send_queue: self.datagram_queue,
                receive_queue: self.datagram_receive_queue,
            },
            max_ack_delay: seconds(py, "max_ack_delay", self.max_ack_delay)?,
            ack_frequency: self.ack_frequency,
            active_connection_id_limit: self.active_connection_id_limit,
            max_udp_payload: self.mtu,
            mtu_discovery: self.mtu_discovery,
            ecn: self.ecn,
            grease: self.grease,
            disable_active_migration: !self.migration,
            versions: versions.collect::<PyResult<_>>()?,
            initial_version: initial_version
                .map(|name| version("initial_version", name))
                .transpose()?,
            key_update_interval: self.key_update_interval,
            tracer: Some(Arc::new(tracing(py, self.qlog)?)),
            max_paths: (self.max_paths > 1).then_some(self.max_paths),
            scheduler: scheduler(py, &self.scheduler.0)?,
            user_scheduler: self.scheduler.1.map(|program| ebpf(&program)),
            reinject_after: self
                .reinject_after
                .map(|s| seconds(py, "reinject_after", s))
                .transpose()?,
            ..TransportConfig::default()
        };
        config.validate().map_err(|why| error::config(py, &why))?;
        Ok(config)
    }
}

/// Transport settings, checked and shared by the connections that use them, and where clients send
/// from.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Transport(pub Arc<TransportConfig>, Vec<LocalAddress>);

impl Transport {
    /// What a client with these settings asks for.
    pub fn request(
        &self,
        remote: SocketAddr,
        server_name: String,
        tls: &ClientTls,
    ) -> ConnectRequest {
        ConnectRequest {
            transport: self.0.clone(),
            paths: self.1.clone(),
            ..ConnectRequest::new(remote, server_name, tls.0.clone())
        }
    }
}

#[pymethods]
impl Transport {
    #[new]
    #[pyo3(signature = (config, /))]
    fn new(py: Python<'_>, mut config: TransportSettings) -> PyResult<Self> {
        let paths = std::mem::take(&mut config.paths).into_iter();
        let paths = paths.map(|(address, interface)| local_address(py, address, interface));
        let paths = paths.collect::<PyResult<_>>()?;
        Ok(Self(Arc::new(config.build(py)?), paths))
    }
}

/// The session tickets of many servers.
#[pyclass(frozen, module = "tquic._engine")]
pub struct TicketStore(pub tquic_crypto::TicketStore);

#[pymethods]
impl TicketStore {
    #[new]
    #[pyo3(signature = (servers, /, *, saving=false))]
    fn new(servers: usize, saving: bool) -> Self {
        Self(match saving {
            true => tquic_crypto::TicketStore::saving(servers),
            false => tquic_crypto::TicketStore::new(servers),
        })
    }

    /// Takes out what servers gave, if the store is saving: server, version, expiry, bytes. With
    /// `all` also what was put in.
    #[pyo3(signature = (all, /))]
    fn take_out(&self, py: Python<'_>, all: bool) -> Vec<(String, u32, u64, Py<PyBytes>)> {
        let exported = self.0.export(all).into_iter();
        let row = |it: Exported| {
            (it.server, it.version.0, it.expires, PyBytes::new(py, &it.bytes).unbind())
        };
        exported.map(row).collect()
    }

    /// Puts bytes in that `take_out` gave; false if they are none of these.
    #[pyo3(signature = (ticket, /))]
    fn put_in(&self, ticket: &[u8]) -> bool {
        self.0.import(ticket)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn clear(&self) {
        self.0.clear();
    }
}

/// The attributes of `tquic.Config` that both sides of TLS need.
#[derive(FromPyObject)]
struct TlsSettings {
    alpn: Vec<String>,
    ciphers: Vec<String>,
    groups: Vec<String>,
    early_data: bool,
    insecure: bool,
    check_hostname: bool,
    client_auth: String,
    resumption: bool,
}

impl TlsSettings {
    fn suites(&self, py: Python<'_>) -> PyResult<Vec<Suite>> {
        let find = |n: &String| Suite::from_name(n).ok_or_else(|| unknown(py, "ciphers", n));
        self.ciphers.iter().map(find).collect()
    }

    fn groups(&self, py: Python<'_>) -> PyResult<Vec<Group>> {
        let find = |n: &String| Group::from_name(n).ok_or_else(|| unknown(py, "groups", n));
        self.groups.iter().map(find).collect()
    }
}

fn key_log(
    py: Python<'_>,
    path: Option<PathBuf>,
) -> PyResult<Option<tquic_crypto::session::KeyLogLine>> {
    let Some(path) = path else { return Ok(None) };
    keylog::append_to(&path)
        .map(Some)
        .map_err(|why| error::config(py, &format!("keylog: cannot open {}: {why}", path.display())))
}

/// A client's TLS settings.
#[pyclass(frozen, module = "tquic._engine")]
pub struct ClientTls(pub Arc<ClientConfig>);

#[pymethods]
impl ClientTls {
    #[new]
    #[pyo3(signature = (config, material, /))]
    fn new(py: Python<'_>, config: TlsSettings, material: ClientMaterial) -> PyResult<Self> {
        let fail = |why: tquic_crypto::session::ConfigError| error::config(py, &why);
        let mut builder = ClientConfig::builder()
            .alpn(&config.alpn)
            .suites(&config.suites(py)?)
            .groups(&config.groups(py)?)
            .early_data(config.early_data)
            .check_hostname(config.check_hostname)
            .pins(&material.pins)
            .key_log(key_log(py, material.keylog)?)
            .tickets(material.tickets.map(|store| store.get().0.clone()));
        if config.insecure {
            builder = builder.insecure_no_verification();
        } else {
            for roots in &material.roots {
                builder = builder.roots(roots).map_err(fail)?;
            }
            if material.system_roots {
                // Reads some hundred files on some systems.
                builder = py.detach(|| builder.system_roots()).map_err(fail)?;
            }
        }
        if let (Some(cert), Some(key)) = (material.cert, material.key) {
            let password = material.password.as_deref();
            builder = builder.certificate_with_password(&cert, &key, password).map_err(fail)?;
        }
        Ok(Self(Arc::new(builder.build().map_err(fail)?)))
    }
}

/// A server's TLS settings.
#[pyclass(frozen, module = "tquic._engine")]
pub struct ServerTls(pub Arc<ServerConfig>);

#[pymethods]
impl ServerTls {
    #[new]
    #[pyo3(signature = (config, material, /))]
    fn new(py: Python<'_>, config: TlsSettings, material: ServerMaterial) -> PyResult<Self> {
        let fail = |why: tquic_crypto::session::ConfigError| error::config(py, &why);
        let password = material.password.as_deref();
        let mut builder = ServerConfig::builder()
            .certificate_with_password(&material.cert, &material.key, password)
            .map_err(fail)?
            .alpn(&config.alpn)
            .suites(&config.suites(py)?)
            .groups(&config.groups(py)?)
            .early_data(config.early_data && config.resumption)
            .key_log(key_log(py, material.keylog)?);
        for (name, cert, key) in &material.certificates {
            builder = builder.certificate_for(name, cert, key, password).map_err(fail)?;
        }
        if let Some(callback) = material.lookup {
            builder = builder.lookup(material::lookup(callback).map_err(error::os)?);
        }
        if !config.resumption {
            builder = builder.tickets(Tickets::Off);
        }
        let auth = match config.client_auth.as_str() {
            "none" => None,
            "optional" => Some(ClientAuth::Optional),
            "required" => Some(ClientAuth::Required),
            other => return Err(unknown(py, "client_auth", other)),
        };
        if let Some(auth) = auth {
            for roots in &material.client_roots {
                builder = builder.client_auth(auth, roots).map_err(fail)?;
            }
        }
        Ok(Self(Arc::new(builder.build().map_err(fail)?)))
    }
}

/// The attributes of `tquic.Config` that say whom a server accepts.
#[derive(FromPyObject)]
pub struct AcceptSettings {
    retry: String,
    retry_above: usize,
    max_handshakes: usize,
    max_connections: usize,
    preferred_address: Vec<(String, u16)>,
    token_key: Option<[u8; 32]>,
}

impl AcceptSettings {
    /// The settings; with them, more addresses to listen at, and the key of tokens.
    pub fn build(
        self,
        py: Python<'_>,
        tls: &ServerTls,
        transport: &Transport,
    ) -> PyResult<(AcceptConfig, Vec<SocketAddr>, Option<[u8; 32]>)> {
        let retry = match self.retry.as_str() {
            "when-busy" => RetryPolicy::WhenBusy,
            "always" => RetryPolicy::Always,
            "never" => RetryPolicy::Never,
            other => return Err(unknown(py, "retry", other)),
        };
        let mut preferred = PreferredAddresses::default();
        let mut more = Vec::new();
        for (host, port) in &self.preferred_address {
            let address = address(py, host, *port)?;
            match address {
                SocketAddr::V4(v4) => preferred.ipv4 = Some(v4),
                SocketAddr::V6(v6) => preferred.ipv6 = Some(v6),
            }
            more.push(address);
        }
        let accept = AcceptConfig {
            retry,
            retry_above: self.retry_above,
            max_handshakes: self.max_handshakes,
            max_connections: self.max_connections,
            preferred,
            ..AcceptConfig::new(tls.0.clone(), transport.0.clone())
        };
        Ok((accept, more, self.token_key))
    }

    /// A request to listen with them at an address.
    pub fn listen_at(
        self,
        py: Python<'_>,
        tls: &ServerTls,
        transport: &Transport,
        host: &str,
        port: u16,
    ) -> PyResult<ListenRequest> {
        let (accept, more, token_key) = self.build(py, tls, transport)?;
        let address = address(py, host, port)?;
        Ok(ListenRequest { more, token_key, ..ListenRequest::new(address, accept) })
    }
}

/// A local address of a client.
pub fn local_address(
    py: Python<'_>,
    address: Option<Address>,
    interface: Option<String>,
) -> PyResult<LocalAddress> {
    let address = address.map(|(host, port)| self::address(py, &host, port)).transpose()?;
    Ok(LocalAddress { address, interface })
}

/// A scheduler by its name.
pub fn scheduler(py: Python<'_>, name: &str) -> PyResult<Scheduler> {
    Scheduler::named(name).ok_or_else(|| unknown(py, "scheduler", name))
}

/// What starts a verified program for each connection.
pub fn ebpf(program: &Py<BpfProgram>) -> Arc<dyn SchedulerSource> {
    Arc::new(Ebpf::new(program.get().0.clone()))
}

/// A numeric address, as `getaddrinfo` gives it.
pub fn address(py: Python<'_>, host: &str, port: u16) -> PyResult<SocketAddr> {
    let (name, scope) = host.split_once('%').unwrap_or((host, ""));
    let ip = name.parse().map_err(|_| {
        error::config(py, &format!("{host:?} is not a numeric IPv4 or IPv6 address"))
    })?;
    let mut address = SocketAddr::new(ip, port);
    if let (SocketAddr::V6(v6), Ok(scope)) = (&mut address, scope.parse()) {
        v6.set_scope_id(scope);
    }
    Ok(address)
}
