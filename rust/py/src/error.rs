//! The one place where errors of the engine become exceptions of Python.
//!
//! The classes are those of `tquic.errors`; this file decides which one it is and how it reads.

use std::path::Path;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use tquic_core::error::{TransportError, TransportErrorCode};
use tquic_core::events::ConnectionError;
use tquic_core::stream::{ReadError, StreamError};
use tquic_engine::EngineError;
use tquic_engine::bridge::BridgeError;
use tquic_engine::pump::FileError;

/// The class `name` of `tquic.errors`.
fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || py.import("tquic.errors").map(Bound::unbind))?;
    module.bind(py).getattr(name)
}

/// An exception of the class `name` with a message and nothing else.
pub fn exception(py: Python<'_>, name: &str, message: &str) -> PyErr {
    raised(make(py, name, (message,), None))
}

fn make<'py>(
    py: Python<'py>,
    name: &str,
    args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    class(py, name)?.call(args.into_pyobject(py)?, kwargs)
}

/// A setting that cannot be used.
pub fn config(py: Python<'_>, error: &dyn std::fmt::Display) -> PyErr {
    exception(py, "ConfigError", &error.to_string())
}

/// What the engine as a whole refuses.
pub fn engine(py: Python<'_>, error: EngineError) -> PyErr {
    match error {
        EngineError::Io(error) => os(error),
        EngineError::Refused(why) => exception(py, "MigrationError", &why),
        other => exception(py, "EngineError", &other.to_string()),
    }
}

/// What the engine refuses to do with a path.
pub fn path(py: Python<'_>, error: EngineError) -> PyErr {
    match error {
        EngineError::Refused(why) => exception(py, "PathError", &why),
        other => engine(py, other),
    }
}

/// An error of the system. With its number, Python picks the subclass of `OSError`; the conversion
/// of PyO3 loses it.
pub fn os(error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, strerror(&error))),
        None => error.into(),
    }
}

/// A file that cannot be read or written any more.
pub fn disk(error: FileError) -> PyErr {
    match error.code {
        Some(number) => os(std::io::Error::from_raw_os_error(number)),
        None => PyOSError::new_err(error.why),
    }
}

/// The text of an error without its number, which Python shows anyway.
fn strerror(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A file that cannot be used.
pub fn file(error: std::io::Error, path: &Path) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, strerror(&error), path.as_os_str().to_owned())),
        None => error.into(),
    }
}

/// Why a command of a connection was refused.
pub fn bridge(py: Python<'_>, error: BridgeError) -> PyErr {
    match error {
        BridgeError::Closed(why) => raised(closed(py, &why)),
        BridgeError::UnknownStream | BridgeError::Ended | BridgeError::WrongDirection => {
            exception(py, "StreamClosed", &error.to_string())
        }
        BridgeError::Busy => exception(py, "EngineError", &error.to_string()),
        BridgeError::DatagramTooLarge { max } => raised(datagram(py, max, &error.to_string())),
    }
}

fn datagram<'py>(py: Python<'py>, max: usize, message: &str) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("max_size", (max > 0).then_some(max))?;
    make(py, "DatagramError", (message,), Some(&kwargs))
}

/// The peer reset a stream: an exception that is not raised yet.
pub fn reset(py: Python<'_>, code: u64) -> PyResult<Bound<'_, PyAny>> {
    make(py, "StreamReset", (code,), None)
}

/// The peer stopped a stream: an exception that is not raised yet.
pub fn stopped(py: Python<'_>, code: u64) -> PyResult<Bound<'_, PyAny>> {
    make(py, "StreamStopped", (code,), None)
}

/// Why writing, finishing, resetting or stopping was refused.
pub fn stream(py: Python<'_>, error: StreamError) -> PyErr {
    match error {
        StreamError::Stopped(code) => raised(stopped(py, code)),
        other => exception(py, "StreamClosed", &other.to_string()),
    }
}

/// Why reading was refused.
pub fn read(py: Python<'_>, error: ReadError) -> PyErr {
    match error {
        ReadError::Reset { code, .. } => raised(reset(py, code)),
        other => exception(py, "StreamClosed", &other.to_string()),
    }
}

/// An exception to be raised; if even that fails, the failure.
fn raised(exception: PyResult<Bound<'_, PyAny>>) -> PyErr {
    exception.map_or_else(|failure| failure, PyErr::from_value)
}

/// Why a connection ended, as an exception that is not raised yet.
pub fn closed<'py>(py: Python<'py>, error: &ConnectionError) -> PyResult<Bound<'py, PyAny>> {
    match error {
        ConnectionError::Local(e) => transport(py, e, "local", &error.to_string()),
        ConnectionError::Peer(e) => transport(py, e, "peer", &error.to_string()),
        ConnectionError::LocalClose { code, reason } => {
            application(py, "local", *code, reason, &error.to_string())
        }
        ConnectionError::PeerClose { code, reason } => {
            application(py, "peer", *code, reason, &error.to_string())
        }
        ConnectionError::IdleTimeout => silent(py, "IdleTimeout", &error.to_string()),
        ConnectionError::HandshakeTimeout => silent(py, "HandshakeTimeout", &error.to_string()),
        ConnectionError::StatelessReset => silent(py, "StatelessReset", &error.to_string()),
        ConnectionError::Refused(_) => silent(py, "ConnectionRefused", &error.to_string()),
        ConnectionError::VersionMismatch { offered } => {
            let offered = PyTuple::new(py, offered.iter().map(|version| version.0))?;
            let kwargs = PyDict::new(py);
            kwargs.set_item("offered", offered)?;
            make(py, "VersionError", (error.to_string(),), Some(&kwargs))
        }
    }
}

/// An end about which no packet told anything.
fn silent<'py>(py: Python<'py>, name: &str, message: &str) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("reason", message)?;
    make(py, name, (message,), Some(&kwargs))
}

fn application<'py>(
    py: Python<'py>,
    by: &str,
    code: u64,
    reason: &[u8],
    message: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("by", by)?;
    kwargs.set_item("code", code)?;
    kwargs.set_item("code_name", format!("{code:#x}"))?;
    kwargs.set_item("reason", String::from_utf8_lossy(reason))?;
    make(py, "ApplicationClosed", (message,), Some(&kwargs))
}

fn transport<'py>(
    py: Python<'py>,
    error: &TransportError,
    by: &str,
    message: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("by", by)?;
    kwargs.set_item("code", error.code.0)?;
    kwargs.set_item("code_name", error.code.name())?;
    kwargs.set_item("frame", error.frame.map(tquic_wire::frame::rules::name))?;
    kwargs.set_item("reason", error.reason.as_ref())?;
    let name = transport_class(error);
    let message = match explanation(name, by, &error.reason) {
        Some(explanation) => format!("{explanation} ({message})"),
        None => message.to_owned(),
    };
    make(py, name, (message,), Some(&kwargs))
}

/// How the crypto crate begins the sentence about names, for which TLS has no alert of its own.
const NAME_MISMATCH: &str = "the certificate is for ";
/// And the one about pins.
const PIN_MISMATCH: &str = "the public key is not pinned";

/// The class for an error code. TLS alerts: RFC 8446 section 6.2, RFC 7301 section 3.2.
fn transport_class(error: &TransportError) -> &'static str {
    match (error.code, error.code.tls_alert()) {
        (TransportErrorCode::CONNECTION_REFUSED, _) => "ConnectionRefused",
        (_, Some(42)) if error.reason.starts_with(NAME_MISMATCH) => "CertificateNameMismatch",
        (_, Some(46)) if error.reason.starts_with(PIN_MISMATCH) => "PinMismatch",
        (_, Some(48)) => "UntrustedCertificate",
        (_, Some(45)) => "CertificateExpired",
        (_, Some(116)) => "CertificateRequired",
        (_, Some(42..=46)) => "CertificateError",
        (_, Some(120)) => "AlpnError",
        (_, Some(_)) => "HandshakeError",
        _ => "TransportClosed",
    }
}

/// What the peer's alerts mean for us: they come without a reason that helps.
fn explanation(class: &str, by: &str, reason: &str) -> Option<&'static str> {
    if by != "peer" {
        return None;
    }
    Some(match class {
        "UntrustedCertificate" => "the peer does not trust the CA of our certificate",
        "CertificateExpired" => "the peer says that our certificate has expired",
        "CertificateRequired" => "the server requires a client certificate, and none was given",
        "CertificateError" => "the peer does not accept our certificate",
        // Here a reason, if there is one, says the same.
        "AlpnError" if reason.is_empty() => "the peer speaks none of our application protocols",
        "ConnectionRefused" => "the server refused the connection",
        _ => return None,
    })
}
