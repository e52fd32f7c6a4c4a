//! Answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use compare_common::pattern::{Request, piece};
use compare_common::report::Totals;

use bytes::Bytes;

use crate::{Connection, endpoint};

/// Bytes that one call reads.
const READ: usize = 1 << 16;

/// An answer on its way.
struct Answer {
    sent: u64,
    wanted: u64,
}

/// What answers the streams of a connection.
pub struct Application {
    totals: Arc<Totals>,
    counted: bool,
    requests: HashMap<u64, Request>,
    answers: HashMap<u64, Answer>,
    buffer: Vec<u8>,
}

impl Application {
    pub fn new(totals: Arc<Totals>) -> Self {
        Self {
            totals,
            counted: false,
            requests: HashMap::new(),
            answers: HashMap::new(),
            buffer: Vec::new(),
        }
    }

    fn read(&mut self, connection: &mut Connection, stream: u64) {
        self.buffer.resize(READ, 0);
        let request = self.requests.entry(stream).or_default();
        while let Ok((len, fin)) = connection.stream_recv(stream, &mut self.buffer) {
            request.take(&self.buffer[..len]);
            if fin {
                self.totals.count(request);
                let wanted = request.wanted();
                self.requests.remove(&stream);
                let answer = Answer { sent: 0, wanted };
                if let Some(answer) = write(connection, stream, answer) {
                    self.answers.insert(stream, answer);
                }
                return;
            }
        }
    }
}

impl endpoint::Application for Application {
    fn drive(&mut self, connection: &mut Connection) {
        if connection.is_established() && !std::mem::replace(&mut self.counted, true) {
            self.totals.connected();
        }
        while let Some(stream) = connection.stream_readable_next() {
            self.read(connection, stream);
        }
        while let Ok(datagram) = connection.dgram_recv_buf() {
            drop(datagram);
            self.totals.datagrams.fetch_add(1, Relaxed);
        }
        if self.answers.is_empty() {
            return;
        }
        for stream in connection.writable() {
            if let Some(answer) = self.answers.remove(&stream)
                && let Some(answer) = write(connection, stream, answer)
            {
                self.answers.insert(stream, answer);
            }
        }
    }
}

/// Writes what the connection takes; the answer if it takes no more before its end.
fn write(connection: &mut Connection, stream: u64, mut answer: Answer) -> Option<Answer> {
    loop {
        let (sent, over) = send_piece(connection, stream, answer.sent, answer.wanted)?;
        answer.sent += sent;
        if over {
            return None;
        }
        if sent == 0 {
            return Some(answer);
        }
    }
}

/// Sends the pattern from `sent` up to `wanted`: how much of it was taken, and whether that was all;
/// `None` if the stream is broken.
pub fn send_piece(
    connection: &mut Connection,
    stream: u64,
    sent: u64,
    wanted: u64,
) -> Option<(u64, bool)> {
    let data = piece(sent, wanted - sent);
    let fin = sent + data.len() as u64 == wanted;
    match connection.stream_send_zc(stream, Bytes::from_static(data), fin) {
        // An empty piece that ends the stream is taken, too.
        Ok((len, _)) => Some((len as u64, fin && len == data.len())),
        Err(quiche::Error::Done) => Some((0, false)),
        Err(_) => None,
    }
}
