//! Requests and answers, over HTTP/0.9 or HTTP/3.

use std::collections::{HashMap, HashSet};

use quiche::Connection;
use quiche::h3::{self, NameValue};

use crate::{Failure, MAX_DATAGRAM};

const MAX_REQUEST: usize = 4096;

/// What came of a stream.
pub enum Told {
    /// A client asks for this path.
    Request(u64, String),
    /// The whole of an answer.
    Answer(u64, Vec<u8>),
}

/// The protocol of a connection, with what has come so far by stream.
pub struct Http {
    http3: Option<h3::Connection>,
    server: bool,
    bodies: HashMap<u64, Vec<u8>>,
    refused: HashSet<u64>,
    next: u64,
}

impl Http {
    pub fn new(conn: &mut Connection, http3: bool) -> Result<Self, Failure> {
        let http3 = match http3 {
            true => Some(h3::Connection::with_transport(conn, &h3::Config::new()?)?),
            false => None,
        };
        Ok(Self {
            http3,
            server: conn.is_server(),
            bodies: HashMap::new(),
            refused: HashSet::new(),
            next: 0,
        })
    }

    /// Asks for a path; `None` while the peer allows no more streams.
    pub fn request(
        &mut self,
        conn: &mut Connection,
        authority: &str,
        path: &str,
    ) -> Result<Option<u64>, Failure> {
        let Some(http3) = &mut self.http3 else {
            if conn.peer_streams_left_bidi() == 0 {
                return Ok(None);
            }
            let stream = self.next;
            conn.stream_send(stream, format!("GET {path}\r\n").as_bytes(), true)?;
            self.next += 4;
            return Ok(Some(stream));
        };
        let fields = [
            h3::Header::new(b":method", b"GET"),
            h3::Header::new(b":scheme", b"https"),
            h3::Header::new(b":authority", authority.as_bytes()),
            h3::Header::new(b":path", path.as_bytes()),
        ];
        match http3.send_request(conn, &fields, true) {
            Ok(stream) => Ok(Some(stream)),
            Err(
                h3::Error::StreamBlocked | h3::Error::TransportError(quiche::Error::StreamLimit),
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What has come, stream by stream.
    pub fn poll(&mut self, conn: &mut Connection) -> Result<Vec<Told>, Failure> {
        match self.http3.take() {
            Some(mut http3) => {
                let told = self.poll_http3(&mut http3, conn);
                self.http3 = Some(http3);
                told
            }
            None => self.poll_hq(conn),
        }
    }

    fn poll_hq(&mut self, conn: &mut Connection) -> Result<Vec<Told>, Failure> {
        let mut told = Vec::new();
        let mut buffer = vec![0; MAX_DATAGRAM];
        for stream in conn.readable() {
            loop {
                match conn.stream_recv(stream, &mut buffer) {
                    Ok((size, fin)) => {
                        let body = self.bodies.entry(stream).or_default();
                        body.extend_from_slice(&buffer[..size]);
                        if self.server && body.len() > MAX_REQUEST {
                            return Err(Failure::Failed("a request without end".into()));
                        }
                        if fin {
                            told.extend(self.whole(stream)?);
                            // Nothing is left of a stream that both have ended.
                            break;
                        }
                    }
                    Err(quiche::Error::Done) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(told)
    }

    fn whole(&mut self, stream: u64) -> Result<Option<Told>, Failure> {
        let body = self.bodies.remove(&stream).unwrap_or_default();
        if !self.server {
            return Ok(Some(Told::Answer(stream, body)));
        }
        let line = std::str::from_utf8(&body)?.trim_end();
        let path = line.strip_prefix("GET ").unwrap_or_default().to_owned();
        Ok(Some(Told::Request(stream, path)))
    }

    fn poll_http3(
        &mut self,
        http3: &mut h3::Connection,
        conn: &mut Connection,
    ) -> Result<Vec<Told>, Failure> {
        let mut told = Vec::new();
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            match http3.poll(conn) {
                Ok((stream, h3::Event::Headers { list, .. })) => {
                    let field = |name: &[u8]| {
                        let found = list.iter().find(|field| field.name() == name);
                        found.map(|f| String::from_utf8_lossy(f.value()).into_owned())
                    };
                    if self.server {
                        told.push(Told::Request(stream, field(b":path").unwrap_or_default()));
                    } else if field(b":status").as_deref() != Some("200") {
                        return Err(Failure::Failed(format!("status {:?}", field(b":status"))));
                    }
                }
                Ok((stream, h3::Event::Data)) => {
                    let body = self.bodies.entry(stream).or_default();
                    while let Ok(size) = http3.recv_body(conn, stream, &mut buffer) {
                        body.extend_from_slice(&buffer[..size]);
                    }
                }
                Ok((stream, h3::Event::Finished)) if !self.server => {
                    told.extend(self.whole(stream)?);
                }
                Ok((stream, h3::Event::Reset(code))) if !self.server => {
                    return Err(Failure::Failed(format!("stream {stream} reset with {code}")));
                }
                Ok(_) => {}
                Err(h3::Error::Done) => return Ok(told),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what it can of an answer from `sent` on; how much. `None` for a body: there is none.
    pub fn answer(
        &mut self,
        conn: &mut Connection,
        stream: u64,
        body: Option<&[u8]>,
        sent: &mut usize,
        begun: &mut bool,
    ) -> Result<bool, Failure> {
        let Some(data) = body else {
            if self.refused.insert(stream) {
                conn.stream_shutdown(stream, quiche::Shutdown::Write, 1)?;
            }
            return Ok(true);
        };
        let Some(http3) = &mut self.http3 else {
            return match conn.stream_send(stream, &data[*sent..], true) {
                Ok(size) => {
                    *sent += size;
                    Ok(*sent == data.len())
                }
                Err(quiche::Error::Done) => Ok(false),
                Err(error) => Err(error.into()),
            };
        };
        if !*begun {
            let size = data.len().to_string();
            let fields = [
                h3::Header::new(b":status", b"200"),
                h3::Header::new(b"content-length", size.as_bytes()),
            ];
            match http3.send_response(conn, stream, &fields, false) {
                Ok(()) => *begun = true,
                Err(h3::Error::StreamBlocked) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        match http3.send_body(conn, stream, &data[*sent..], true) {
            Ok(size) => {
                *sent += size;
                Ok(*sent == data.len())
            }
            Err(h3::Error::Done) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
