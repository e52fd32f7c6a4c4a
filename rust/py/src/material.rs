//! Certificates, keys and pins, as Python hands them over: read from files, not understood yet.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use tquic_crypto::session::{Lookup, ServerIdentity};

use crate::error;
use crate::settings::TicketStore;

/// A client's.
#[derive(FromPyObject)]
pub struct ClientMaterial {
    pub roots: Vec<Vec<u8>>,
    /// Whether the system's CAs count as well.
    pub system_roots: bool,
    /// SHA-256 of public keys.
    pub pins: Vec<[u8; 32]>,
    pub cert: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub keylog: Option<PathBuf>,
    pub tickets: Option<Py<TicketStore>>,
}

/// A server's.
#[derive(FromPyObject)]
pub struct ServerMaterial {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
    pub password: Option<Vec<u8>>,
    pub client_roots: Vec<Vec<u8>>,
    /// Names with their certificates and keys.
    pub certificates: Vec<(String, Vec<u8>, Vec<u8>)>,
    /// Asked for a name that is nowhere else: answers a certificate with its key, or None.
    pub lookup: Option<Py<PyAny>>,
    pub keylog: Option<PathBuf>,
}

/// A handshake waits this long for Python; the other connections of its thread wait with it.
const PATIENCE: Duration = Duration::from_millis(250);
/// Questions that wait at most; beyond, the answer is no.
const QUESTIONS: usize = 4;
/// Answers are good for this long.
const KEEP: Duration = Duration::from_secs(60);
/// Answers kept: names are chosen by clients.
const ANSWERS: usize = 1024;

type Answer = Option<ServerIdentity>;
/// What Python answers: certificate chain, key, password of the key.
type Found = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);
type Question = (String, SyncSender<Answer>);

/// Asks a function of Python, on a thread of its own: a shard must never wait for the GIL without
/// limit.
pub fn lookup(callback: Py<PyAny>) -> std::io::Result<Lookup> {
    let (ask, questions) = sync_channel(QUESTIONS);
    std::thread::Builder::new()
        .name("tquic-sni".to_owned())
        .spawn(move || answer_all(&callback, &questions))?;
    let known: Mutex<HashMap<String, (Instant, Answer)>> = Mutex::default();
    Ok(Arc::new(move |name: &str| {
        let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((until, answer)) = known().get(name)
            && *until > now
        {
            return answer.clone();
        }
        let (reply, answered) = sync_channel(1);
        match ask.try_send((name.to_owned(), reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return None,
        }
        let answer = answered.recv_timeout(PATIENCE).ok()?;
        let mut known = known();
        if known.len() >= ANSWERS {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= ANSWERS {
            known.clear();
        }
        known.insert(name.to_owned(), (now + KEEP, answer.clone()));
        answer
    }))
}

/// Ends when the configuration is gone.
fn answer_all(callback: &Py<PyAny>, questions: &Receiver<Question>) {
    for (name, reply) in questions {
        let found = Python::attach(|py| match ask(py, callback, &name) {
            Ok(found) => found,
            Err(error) => {
                error.write_unraisable(py, Some(callback.bind(py)));
                None
            }
        });
        // Who asked may have lost patience.
        let _ = reply.try_send(found);
    }
}

fn ask(py: Python<'_>, callback: &Py<PyAny>, name: &str) -> PyResult<Answer> {
    let found: Option<Found> = callback.call1(py, (name,))?.extract(py)?;
    let Some((chain, key, password)) = found else { return Ok(None) };
    ServerIdentity::new(&chain, &key, password.as_deref())
        .map(Some)
        .map_err(|why| error::config(py, &why))
}

/// The pin of the public key in a certificate, PEM or DER.
#[pyfunction]
#[pyo3(signature = (certificate, /))]
pub fn public_key_pin(py: Python<'_>, certificate: &[u8]) -> PyResult<String> {
    tquic_crypto::session::public_key_pin(certificate).map_err(|why| error::config(py, &why))
}
