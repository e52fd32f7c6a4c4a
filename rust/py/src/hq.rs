//! `hq-interop` (HTTP/0.9) as Python sees it: servers and fetches that run in the engine's threads.
//! Python starts them, looks at their counters, and waits without the GIL.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use tquic_engine::hq::{self, Piece, Target};
use tquic_engine::perf;
use tquic_engine::{Acceptor, ByAlpn, LocalAddress};

use crate::engine::Engine;
use crate::error;
use crate::hub::pair;
use crate::perf::path_dicts;
use crate::settings::{AcceptSettings, ClientTls, ServerTls, TicketStore, Transport, address};

/// Waiting is done in pieces, so that signals are noticed.
fn patience(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| error::config(py, &"patience must be a duration in seconds"))
}

/// A folder served at an address.
#[pyclass(frozen, module = "tquic._engine")]
pub struct HqServer(hq::Server);

#[pymethods]
impl HqServer {
    #[new]
    #[pyo3(signature = (engine, config, /, *, tls, transport, host, port, root))]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        config: AcceptSettings,
        tls: &ServerTls,
        transport: &Transport,
        host: &str,
        port: u16,
        root: PathBuf,
    ) -> PyResult<Self> {
        let request = config.listen_at(py, tls, transport, host, port)?;
        let root = hq::Root::open(&root)?;
        let server = py.detach(|| hq::Server::start(engine.engine.clone(), &request, root));
        Ok(Self(server.map_err(|e| error::engine(py, e))?))
    }

    /// Where it listens, preferred addresses last.
    #[getter]
    fn addresses(&self) -> Vec<(String, u16)> {
        self.0.listening().addresses.iter().map(pair).collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, &self.0.stats())
    }

    /// Accepts no more connections; whether those that were there are done within `seconds`.
    fn drain(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let patience = patience(py, seconds)?;
        Ok(py.detach(|| self.0.drain(patience)))
    }
}

/// A folder served over HTTP/0.9 at a hub's listeners.
#[pyclass(frozen, module = "tquic._engine")]
pub struct HqService(hq::Service);

impl HqService {
    /// Makes the applications of connections: ours for HTTP/0.9, the other one's for the rest.
    pub fn beside(&self, other: Acceptor) -> Acceptor {
        let service = self.0.clone();
        Arc::new(move |accepted| {
            let (service, other, accepted) = (service.clone(), other.clone(), accepted.clone());
            Box::new(ByAlpn::new(move |alpn| match alpn == hq::ALPN {
                true => service.serve(accepted.key),
                false => other(&accepted),
            }))
        })
    }
}

#[pymethods]
impl HqService {
    #[new]
    #[pyo3(signature = (root, /))]
    fn new(root: PathBuf) -> PyResult<Self> {
        let root = hq::Root::open(&root).map_err(|why| error::file(why, &root))?;
        Ok(Self(hq::Service::new(root)))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, &self.0.stats())
    }

    /// Whether the connections that are there are done within `seconds`.
    fn drain(&self, py: Python<'_>, engine: &Bound<'_, Engine>, seconds: f64) -> PyResult<bool> {
        let patience = patience(py, seconds)?;
        let engine = &engine.get().engine;
        Ok(py.detach(|| self.0.drain(engine, patience)))
    }
}

fn stats<'py>(py: Python<'py>, stats: &hq::ServerStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("connections", stats.connections)?;
    dict.set_item("requests", stats.requests)?;
    dict.set_item("completed", stats.completed)?;
    dict.set_item("failed", stats.failed)?;
    dict.set_item("bytes", stats.bytes)?;
    Ok(dict)
}

/// Received bytes on their way to a reader in Python.
#[pyclass(frozen, module = "tquic._engine")]
#[derive(Default)]
pub struct HqPipe(Arc<hq::Pipe>);

#[pymethods]
impl HqPipe {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The next bytes; `None` if nothing came within `seconds`, empty at the end.
    fn read<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let patience = patience(py, seconds)?;
        Ok(match py.detach(|| self.0.read(patience)) {
            Piece::Data(data) => Some(PyBytes::new(py, &data)),
            Piece::Nothing => None,
            Piece::End => Some(PyBytes::new(py, b"")),
        })
    }

    /// Nobody will read any more.
    fn abandon(&self) {
        self.0.abandon();
    }
}

/// Where a file goes: nowhere, to a reader, into a file.
#[derive(FromPyObject)]
enum Place {
    Pipe(Py<HqPipe>),
    File(PathBuf),
}

/// Files fetched over one connection.
#[pyclass(frozen, module = "tquic._engine")]
pub struct HqFetch {
    fetch: hq::Fetch,
    engine: Arc<tquic_engine::Engine>,
}

#[pymethods]
impl HqFetch {
    #[new]
    #[pyo3(signature = (
        engine, /, *, tls, transport, server_name, addresses, files, parallel=128,
        update_keys=false, await_ticket=None, origins=Vec::new()
    ))]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        tls: &ClientTls,
        transport: &Transport,
        server_name: String,
        addresses: Vec<(String, u16)>,
        files: Vec<(String, Option<Place>, Option<[u8; 32]>)>,
        parallel: usize,
        update_keys: bool,
        await_ticket: Option<Py<TicketStore>>,
        origins: Vec<String>,
    ) -> PyResult<Self> {
        let addresses = addresses.iter().map(|(host, port)| address(py, host, *port));
        let addresses: Vec<_> = addresses.collect::<PyResult<_>>()?;
        let Some(&first) = addresses.first() else {
            return Err(error::config(py, &"there is no address to connect to"));
        };
        let origins = origins.into_iter().map(Some).chain(std::iter::repeat(None));
        let files = files.into_iter().zip(origins).map(|((path, place, sha256), origin)| {
            let target = match place {
                None => Target::Nowhere,
                Some(Place::File(path)) => Target::File(path),
                Some(Place::Pipe(pipe)) => Target::Pipe(pipe.get().0.clone()),
            };
            hq::Get { path, target, sha256, origin }
        });
        let setup = hq::FetchSetup {
            request: transport.request(first, server_name, tls),
            addresses,
            files: files.collect(),
            parallel: parallel.max(1),
            update_keys,
            await_ticket: await_ticket.map(|store| store.get().0.clone()),
        };
        let engine = engine.engine.clone();
        let fetch = hq::Fetch::start(engine.clone(), setup).map_err(|e| error::engine(py, e))?;
        Ok(Self { fetch, engine })
    }

    /// Whether everything is over, after at most `seconds`.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let patience = patience(py, seconds)?;
        Ok(py.detach(|| self.fetch.wait(patience)))
    }

    /// Bytes received, and files that are whole or failed.
    fn progress(&self) -> (u64, u64) {
        self.fetch.progress()
    }

    /// Gives up; partial files stay.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.fetch.cancel());
    }

    /// Goes on from a fresh local port; false if there is no connection now.
    fn migrate(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(key) = self.fetch.connection() else { return Ok(false) };
        py.detach(|| self.engine.migrate(key, &LocalAddress::default()))
            .map_err(|e| error::engine(py, e))?;
        Ok(true)
    }

    /// For each file: `bytes`, `seconds`, `sha256` (hex, if one was demanded), `error`; `None` while
    /// it is under way.
    fn results<'py>(&self, py: Python<'py>) -> PyResult<Vec<Option<Bound<'py, PyDict>>>> {
        let dict = |result: &hq::FileResult| {
            let dict = PyDict::new(py);
            dict.set_item("bytes", result.bytes)?;
            dict.set_item("seconds", result.took.as_secs_f64())?;
            dict.set_item("sha256", result.digest.as_ref().map(hex))?;
            dict.set_item("error", result.error.as_deref())?;
            Ok(dict)
        };
        self.fetch.results().iter().map(|r| r.as_ref().map(dict).transpose()).collect()
    }

    /// The connection after its end; `None` before. `error` is an exception, or `None` if all is
    /// well.
    fn ending<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(ending) = self.fetch.ending() else { return Ok(None) };
        let dict = PyDict::new(py);
        let error = match ending.error.is_clean() {
            true => None,
            false => Some(error::closed(py, &ending.error)?),
        };
        dict.set_item("error", error)?;
        dict.set_item("remote", pair(&ending.remote))?;
        dict.set_item("handshake_seconds", ending.handshake.map(|d| d.as_secs_f64()))?;
        dict.set_item("cipher", ending.session.cipher)?;
        dict.set_item("resumed", ending.session.resumed)?;
        dict.set_item("early_data", ending.session.early)?;
        dict.set_item("version", ending.session.version)?;
        let stats = &ending.snapshot.connection;
        dict.set_item("packets_sent", stats.packets_sent)?;
        dict.set_item("packets_received", stats.packets_received)?;
        let path = ending.snapshot.paths.first();
        dict.set_item("lost_packets", path.map_or(0, |p| p.lost_packets))?;
        dict.set_item("srtt_us", path.map(|p| p.srtt.as_secs_f64() * 1e6))?;
        dict.set_item("mtu", path.map(|p| p.mtu))?;
        dict.set_item("paths", path_dicts(py, &perf::paths(&ending.snapshot))?)?;
        Ok(Some(dict))
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
