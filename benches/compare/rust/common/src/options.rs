//! The command line of every driver.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Result;

/// What to be.
#[derive(Clone, Debug)]
pub enum Role {
    /// Answers, until a signal comes.
    Server(Server),
    /// Does some work, prints a report.
    Client(Client),
}

/// `server --cert FILE --key FILE [--listen ADDRESS]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// `client --to ADDRESS --ca FILE --work NAME` and what that work takes.
#[derive(Clone, Debug)]
pub struct Client {
    /// The server.
    pub to: SocketAddr,
    /// Whom to trust, PEM.
    pub ca: PathBuf,
    /// What to do.
    pub work: Work,
}

/// The name in the server's certificate.
pub const SERVER_NAME: &str = "localhost";

/// What a client does.
#[derive(Clone, Debug)]
pub enum Work {
    /// `bulk --download BYTES --upload BYTES --streams N`: bytes over all streams together.
    Bulk {
        /// Bytes to get.
        download: u64,
        /// Bytes to send.
        upload: u64,
        /// Streams, all at the same time.
        streams: u64,
    },
    /// `requests --requests N --inflight N --response BYTES --connections N`: small exchanges, a
    /// stream each.
    Requests {
        /// All of them, over all connections.
        requests: u64,
        /// At a time, on each connection.
        inflight: u64,
        /// Bytes of each answer.
        response: u64,
        /// Connections, all at the same time.
        connections: u64,
    },
    /// `handshakes --count N --kind full|resumed|0rtt|first-byte`: connections, one after another.
    Handshakes {
        /// How many.
        count: u64,
        /// Which kind.
        kind: Kind,
    },
    /// `datagrams --count N --size BYTES`: unreliable datagrams to the server.
    Datagrams {
        /// How many.
        count: u64,
        /// Bytes of each.
        size: u64,
    },
    /// `idle --connections N --seconds N`: opens them, then waits.
    Idle {
        /// How many.
        connections: u64,
        /// How long to do nothing.
        seconds: u64,
    },
}

/// What kind of handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With certificates, nothing resumed; ends when the client has the server's part.
    Full,
    /// Of a resumed session.
    Resumed,
    /// Of a resumed session, with a request for one byte in 0-RTT; ends with the answer.
    ZeroRtt,
    /// Full, then a request for one byte; ends with the answer.
    FirstByte,
}

impl Kind {
    /// Whether it needs a session of before.
    pub fn resumes(self) -> bool {
        matches!(self, Self::Resumed | Self::ZeroRtt)
    }
}

struct Values(HashMap<String, String>);

impl Values {
    fn text(&self, name: &str) -> Result<&str> {
        Ok(self.0.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing"))?)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64> {
        let Some(text) = self.0.get(name) else { return Ok(default) };
        Ok(text.parse().map_err(|_| format!("--{name} {text}: not a number"))?)
    }
}

/// Reads the command line of this process.
pub fn from_env() -> Result<Role> {
    parse(std::env::args().skip(1))
}

/// Reads a command line without the name of the program.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Role> {
    let role = arguments.next().ok_or("say `server` or `client`")?;
    let mut values = HashMap::new();
    while let Some(name) = arguments.next() {
        let key = name.strip_prefix("--").ok_or_else(|| format!("{name}: not an option"))?;
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        values.insert(key.to_owned(), value);
    }
    let values = Values(values);
    match role.as_str() {
        "server" => {
            let listen = values.text("listen").unwrap_or("127.0.0.1:0").parse()?;
            let (cert, key) = (values.text("cert")?.into(), values.text("key")?.into());
            Ok(Role::Server(Server { listen, cert, key }))
        }
        "client" => {
            let (to, ca) = (values.text("to")?.parse()?, values.text("ca")?.into());
            Ok(Role::Client(Client { to, ca, work: work(&values)? }))
        }
        other => Err(format!("{other}: neither `server` nor `client`").into()),
    }
}

fn work(values: &Values) -> Result<Work> {
    Ok(match values.text("work")? {
        "bulk" => Work::Bulk {
            download: values.number("download", 0)?,
            upload: values.number("upload", 0)?,
            streams: values.number("streams", 1)?.max(1),
        },
        "requests" => Work::Requests {
            requests: values.number("requests", 1)?,
            inflight: values.number("inflight", 1)?.max(1),
            response: values.number("response", 32)?,
            connections: values.number("connections", 1)?.max(1),
        },
        "handshakes" => Work::Handshakes {
            count: values.number("count", 1)?,
            kind: match values.text("kind").unwrap_or("full") {
                "full" => Kind::Full,
                "resumed" => Kind::Resumed,
                "0rtt" => Kind::ZeroRtt,
                "first-byte" => Kind::FirstByte,
                other => return Err(format!("--kind {other}: not a kind of handshake").into()),
            },
        },
        "datagrams" => Work::Datagrams {
            count: values.number("count", 1)?,
            size: values.number("size", 1200)?,
        },
        "idle" => Work::Idle {
            connections: values.number("connections", 1)?,
            seconds: values.number("seconds", 1)?,
        },
        other => return Err(format!("--work {other}: not known").into()),
    })
}

/// The part of `total` that falls to number `index` of `parts`.
pub fn share(total: u64, parts: u64, index: u64) -> u64 {
    total / parts + u64::from(index < total % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Role> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn roles_and_works() {
        let Ok(Role::Client(client)) =
            read("client --to 127.0.0.1:1 --ca ca.pem --work requests --requests 9 --inflight 3")
        else {
            panic!("a client");
        };
        let Work::Requests { requests: 9, inflight: 3, response: 32, connections: 1 } = client.work
        else {
            panic!("{:?}", client.work);
        };
        assert!(read("server --cert a").unwrap_err().to_string().contains("--key"));
        assert!(read("client --to x").is_err());
        assert!(read("client --to 127.0.0.1:1 --ca a --work dance").is_err());
    }

    #[test]
    fn shares_add_up() {
        assert_eq!((0..7).map(|i| share(100, 7, i)).sum::<u64>(), 100);
    }
}
