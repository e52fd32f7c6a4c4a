//! Records for whoever listens at a Unix socket (SOCK_SEQPACKET).
//!
//! A message is a JSON text sequence (RFC 7464): an envelope that says whose records they are, then
//! records of one connection, the header first in its first message. A listener that is behind is
//! waited for as long as the connection's buffer has room. It must be of the same user, or of root.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::SEPARATOR;
use super::log::{Log, lock, records};
use super::writer::Outcome;
use crate::json::Object;

/// Bytes of records in a message; a single record may be longer.
const MESSAGE: usize = 32 << 10;
/// Pause between attempts to reach a listener.
const RETRY: Duration = Duration::from_millis(500);
/// How long the log of a connection that has ended waits for a listener to appear.
const PATIENCE: Duration = Duration::from_secs(3);

/// The socket for those who name none: `qlog.sock` in `TQUIC_RUNTIME_DIR`, or in `tquic` in
/// `XDG_RUNTIME_DIR`, or in `/tmp/tquic-UID`.
pub fn default_socket() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let user = rustix::process::geteuid().as_raw();
    set("TQUIC_RUNTIME_DIR")
        .or_else(|| set("XDG_RUNTIME_DIR").map(|dir| dir.join("tquic")))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/tquic-{user}")))
        .join("qlog.sock")
}

/// The listeners, by path.
#[derive(Default)]
pub(super) struct Listeners(HashMap<PathBuf, Listener>);

#[derive(Default)]
struct Listener {
    socket: Option<OwnedFd>,
    tried: Option<Instant>,
    /// Counts connections: a new listener knows nothing of logs that are under way.
    generation: u64,
}

impl Listeners {
    pub fn deliver(&mut self, log: &Log, path: &Path) -> Outcome {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), Listener::default());
        }
        let Some(listener) = self.0.get_mut(path) else { return Outcome::Open };
        listener.deliver(log, path)
    }
}

impl Listener {
    fn deliver(&mut self, log: &Log, path: &Path) -> Outcome {
        self.connect(path);
        let Some(socket) = &self.socket else { return absent(log) };
        let (pieces, _, closed) = log.take();
        let text = pieces.concat();
        let (mut introduced, mut number) = {
            let buffer = lock(&log.buffer);
            (buffer.introduced == self.generation, buffer.messages)
        };
        let mut rest = text.as_slice();
        let mut gone = false;
        while !rest.is_empty() || closed.is_some() {
            let (part, after) = rest.split_at(whole_records(rest, MESSAGE));
            let header = if introduced { &[] } else { log.header.as_slice() };
            let over = closed.is_some() && after.is_empty();
            let message = [&envelope(log, number, over), header, part].concat();
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match net::send(socket, &message, flags) {
                Ok(_) => (introduced, number) = (true, number + 1),
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => break,
                // The system's bound for one message.
                Err(Errno::MSGSIZE) => log.drop_events(records(part)),
                Err(_) => {
                    gone = true;
                    break;
                }
            }
            rest = after;
            if over {
                return Outcome::Over;
            }
        }
        log.put_back(rest);
        let mut buffer = lock(&log.buffer);
        buffer.messages = number;
        if introduced {
            buffer.introduced = self.generation;
        }
        if gone {
            self.socket = None;
            return Outcome::Open;
        }
        if rest.is_empty() && closed.is_none() { Outcome::Open } else { Outcome::Behind }
    }

    fn connect(&mut self, path: &Path) {
        if self.socket.is_some() || self.tried.is_some_and(|at| at.elapsed() < RETRY) {
            return;
        }
        self.tried = Some(Instant::now());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let made = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let connected = made.and_then(|socket| {
            net::connect(&socket, &SocketAddrUnix::new(path)?)?;
            // Anybody may have made a socket of this name, in `/tmp` say.
            let user = net::sockopt::socket_peercred(&socket)?.uid;
            if user == rustix::process::geteuid() || user.is_root() {
                return Ok(socket);
            }
            Err(Errno::ACCESS)
        });
        if let Ok(socket) = connected {
            self.socket = Some(socket);
            self.generation += 1;
        }
    }
}

/// Nobody listens: a connection's records wait, but not for ever when it is over.
fn absent(log: &Log) -> Outcome {
    let closed = lock(&log.buffer).is_closed_for(PATIENCE);
    if !closed {
        return Outcome::Open;
    }
    let (pieces, ..) = log.take();
    log.drop_events(pieces.iter().map(|piece| records(piece)).sum());
    Outcome::Over
}

/// Whose records these are.
fn envelope(log: &Log, number: u64, over: bool) -> Vec<u8> {
    let mut out = vec![SEPARATOR];
    Object::write(&mut out, |o| {
        o.uint("tquic_qlog", 1);
        o.uint("pid", u64::from(std::process::id()));
        o.hex("group_id", log.id.as_slice());
        o.text("role", if log.is_client { "client" } else { "server" });
        o.uint("message", number);
        o.uint("dropped", log.dropped());
        if over {
            o.flag("end", true);
        }
    });
    out.push(b'\n');
    out
}

/// Where to cut so that at most `limit` bytes come before, if one record has no more.
fn whole_records(text: &[u8], limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let separator = |byte: &u8| *byte == SEPARATOR;
    match text.get(1..limit).and_then(|head| head.iter().rposition(separator)) {
        Some(at) => at + 1,
        None => text
            .get(limit..)
            .and_then(|tail| tail.iter().position(separator))
            .map_or(text.len(), |at| limit + at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_records() {
        let text = b"\x1e12\n\x1e3\n\x1e456789\n";
        assert_eq!(whole_records(text, 100), text.len());
        assert_eq!(whole_records(text, 8), 7);
        assert_eq!(whole_records(text, 7), 4);
        assert_eq!(whole_records(&text[7..], 3), 8);
        assert_eq!(whole_records(text, 2), 4);
    }
}
