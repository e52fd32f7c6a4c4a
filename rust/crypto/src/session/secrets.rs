//! How traffic secrets come out of rustls: through the key log of each connection.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroizing;

/// Receives one line of the NSS key log format, without the line end, for each TLS secret. Whoever
/// has these lines can read the connection.
pub type KeyLogLine = Arc<dyn Fn(&str) + Send + Sync>;

type Secret = Zeroizing<Vec<u8>>;

/// The TLS secrets of one connection, between rustls making them and us taking them.
#[derive(Default)]
struct Stash {
    early: Option<Secret>,
    client_handshake: Option<Secret>,
    server_handshake: Option<Secret>,
    client_one_rtt: Option<Secret>,
    server_one_rtt: Option<Secret>,
}

/// The secrets of the client and of the server.
pub(super) struct Pair {
    pub client: Secret,
    pub server: Secret,
}

/// The key log of one connection.
pub(super) struct SecretSink {
    stash: Mutex<Stash>,
    forward: Option<KeyLogLine>,
}

impl SecretSink {
    pub fn new(forward: Option<KeyLogLine>) -> Arc<Self> {
        Arc::new(Self { stash: Mutex::default(), forward })
    }

    pub fn take_early(&self) -> Option<Secret> {
        self.stash().early.take()
    }

    pub fn take_handshake(&self) -> Option<Pair> {
        let mut stash = self.stash();
        stash.client_handshake.take().zip(stash.server_handshake.take()).map(Pair::from)
    }

    pub fn take_one_rtt(&self) -> Option<Pair> {
        let mut stash = self.stash();
        stash.client_one_rtt.take().zip(stash.server_one_rtt.take()).map(Pair::from)
    }

    fn stash(&self) -> MutexGuard<'_, Stash> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<(Secret, Secret)> for Pair {
    fn from((client, server): (Secret, Secret)) -> Self {
        Self { client, server }
    }
}

impl KeyLog for SecretSink {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut stash = self.stash();
        let slot = match label {
            "CLIENT_EARLY_TRAFFIC_SECRET" => Some(&mut stash.early),
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Some(&mut stash.client_handshake),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => Some(&mut stash.server_handshake),
            "CLIENT_TRAFFIC_SECRET_0" => Some(&mut stash.client_one_rtt),
            "SERVER_TRAFFIC_SECRET_0" => Some(&mut stash.server_one_rtt),
            // The exporter secret, which protects no packet.
            _ => None,
        };
        if let Some(slot) = slot {
            *slot = Some(Zeroizing::new(secret.to_vec()));
        }
        drop(stash);
        if let Some(forward) = &self.forward {
            forward(&nss_line(label, client_random, secret));
        }
    }
}

/// `LABEL <client random> <secret>`, both in hexadecimal.
fn nss_line(label: &str, client_random: &[u8], secret: &[u8]) -> Zeroizing<String> {
    let mut line =
        String::with_capacity(label.len() + 2 + 2 * (client_random.len() + secret.len()));
    line.push_str(label);
    for bytes in [client_random, secret] {
        line.push(' ');
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(line, "{byte:02x}");
        }
    }
    Zeroizing::new(line)
}

impl fmt::Debug for SecretSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSink").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_pairs() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = lines.clone();
        let sink = SecretSink::new(Some(Arc::new(move |line: &str| {
            log.lock().unwrap().push(line.to_owned());
        })));
        sink.log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &[0xab, 1], &[2, 0xff]);
        assert!(sink.take_handshake().is_none());
        sink.log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &[0xab, 1], &[2, 0xff]);
        sink.log("SERVER_HANDSHAKE_TRAFFIC_SECRET", &[0xab, 1], &[3]);
        let pair = sink.take_handshake().unwrap();
        assert_eq!((&pair.client[..], &pair.server[..]), (&[2, 0xff][..], &[3][..]));
        assert!(sink.take_handshake().is_none() && sink.take_one_rtt().is_none());
        assert_eq!(lines.lock().unwrap()[0], "CLIENT_HANDSHAKE_TRAFFIC_SECRET ab01 02ff");
        assert!(!format!("{sink:?}").contains("ff"));
    }
}
