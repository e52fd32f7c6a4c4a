//! The server: files over bidirectional streams.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use quiche::ConnectionId;

use crate::http::{Http, Told};
use crate::{Failure, MAX_DATAGRAM, config, random_id, record, setting, speaks_http3};

const KNOWN: [&str; 9] = [
    "handshake",
    "transfer",
    "chacha20",
    "retry",
    "resumption",
    "zerortt",
    "keyupdate",
    "multiconnect",
    "http3",
];

/// A connection and the answers under way.
struct Served {
    conn: quiche::Connection,
    http: Option<Http>,
    answers: HashMap<u64, Answer>,
}

struct Answer {
    body: Option<Vec<u8>>,
    sent: usize,
    begun: bool,
}

struct Server {
    socket: UdpSocket,
    local: SocketAddr,
    config: quiche::Config,
    root: PathBuf,
    http3: bool,
    retry: bool,
    served: Vec<Served>,
    /// Which connection has a connection ID.
    ids: HashMap<ConnectionId<'static>, usize>,
}

/// Serves until SIGTERM, which ends the process: nothing needs an orderly end.
pub fn run(testcase: &str) -> Result<(), Failure> {
    if !KNOWN.contains(&testcase) && testcase != "clientmigration" {
        return Err(Failure::Unsupported(testcase.to_owned()));
    }
    let mut config = config(testcase)?;
    let certs = PathBuf::from(setting("CERTS", "/certs"));
    config.load_cert_chain_from_pem_file(&certs.join("cert.pem").to_string_lossy())?;
    config.load_priv_key_from_pem_file(&certs.join("priv.key").to_string_lossy())?;
    let address = SocketAddr::new(setting("HOST", "::").parse()?, setting("PORT", "443").parse()?);
    let socket = UdpSocket::bind(address)?;
    let mut server = Server {
        local: socket.local_addr()?,
        socket,
        config,
        root: PathBuf::from(setting("WWW", "/www")),
        http3: speaks_http3(testcase),
        retry: testcase == "retry",
        served: Vec::new(),
        ids: HashMap::new(),
    };
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let next = server.served.iter().filter_map(|served| served.conn.timeout()).min();
        let wait = next.unwrap_or(Duration::from_secs(1));
        server.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match server.socket.recv_from(&mut buffer) {
            Ok((size, from)) => server.receive(&mut buffer[..size], from)?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error.into()),
        }
        for at in 0..server.served.len() {
            server.drive(at)?;
        }
    }
}

impl Server {
    fn receive(&mut self, datagram: &mut [u8], from: SocketAddr) -> Result<(), Failure> {
        let Ok(header) = quiche::Header::from_slice(datagram, 16) else { return Ok(()) };
        let info = quiche::RecvInfo { from, to: self.local };
        let known = self.ids.get(&header.dcid).copied();
        let at = match known.filter(|at| !self.served[*at].conn.is_closed()) {
            Some(at) => at,
            None => match self.accept(&header, from)? {
                Some(at) => at,
                None => return Ok(()),
            },
        };
        let taken = self.served[at].conn.recv(datagram, info);
        if known.is_none() && taken.is_err() {
            // Damaged: the same Initial may come again as it should be.
            self.ids.retain(|_, of| *of != at);
        }
        Ok(())
    }

    fn accept(
        &mut self,
        header: &quiche::Header,
        from: SocketAddr,
    ) -> Result<Option<usize>, Failure> {
        if header.ty != quiche::Type::Initial {
            return Ok(None);
        }
        let mut out = [0; 1500];
        if !quiche::version_is_supported(header.version) {
            let size = quiche::negotiate_version(&header.scid, &header.dcid, &mut out)?;
            self.socket.send_to(&out[..size], from)?;
            return Ok(None);
        }
        let token = header.token.clone().unwrap_or_default();
        let mut original = None;
        let mut id = random_id()?;
        if self.retry {
            // Nobody else knows of this port: the token is what it must tell, and the address.
            let place = from.to_string();
            if token.is_empty() {
                let token = [place.as_bytes(), b"|", &header.dcid].concat();
                let size = quiche::retry(
                    &header.scid,
                    &header.dcid,
                    &id,
                    &token,
                    header.version,
                    &mut out,
                )?;
                self.socket.send_to(&out[..size], from)?;
                return Ok(None);
            }
            let known = token.strip_prefix(place.as_bytes()).and_then(|t| t.strip_prefix(b"|"));
            let Some(odcid) = known else { return Ok(None) };
            original = Some(ConnectionId::from_vec(odcid.to_vec()));
            id = header.dcid.clone().into_owned();
        }
        let mut conn = quiche::accept(&id, original.as_ref(), self.local, from, &mut self.config)?;
        record(&mut conn)?;
        let at = self.served.len();
        self.ids.insert(id, at);
        // Until the client has heard of the new one.
        self.ids.insert(header.dcid.clone().into_owned(), at);
        self.served.push(Served { conn, http: None, answers: HashMap::new() });
        Ok(Some(at))
    }

    fn drive(&mut self, at: usize) -> Result<(), Failure> {
        let Served { conn, http, answers } = &mut self.served[at];
        if conn.is_closed() {
            return Ok(());
        }
        if conn.timeout() == Some(Duration::ZERO) {
            conn.on_timeout();
        }
        if http.is_none() && (conn.is_established() || conn.is_in_early_data()) {
            *http = Some(Http::new(conn, self.http3)?);
        }
        if let Some(http) = http {
            for told in http.poll(conn)? {
                if let Told::Request(stream, path) = told {
                    let body = read(&self.root, &path);
                    answers.insert(stream, Answer { body, sent: 0, begun: false });
                }
            }
            let mut over = Vec::new();
            for (stream, Answer { body, sent, begun }) in answers.iter_mut() {
                if http.answer(conn, *stream, body.as_deref(), sent, begun)? {
                    over.push(*stream);
                }
            }
            for stream in over {
                answers.remove(&stream);
            }
        }
        while conn.is_established() && conn.scids_left() > 0 {
            let id = random_id()?;
            let mut token = [0; 16];
            boring::rand::rand_bytes(&mut token)?;
            conn.new_scid(&id, u128::from_be_bytes(token), false)?;
            self.ids.insert(id, at);
        }
        let mut out = [0; 1500];
        loop {
            match conn.send(&mut out) {
                Ok((size, info)) => {
                    // A full buffer is loss.
                    let _ = self.socket.send_to(&out[..size], info.to);
                }
                Err(quiche::Error::Done) => return Ok(()),
                Err(_) => {
                    conn.close(false, 1, b"").ok();
                    return Ok(());
                }
            }
        }
    }
}

fn read(root: &Path, path: &str) -> Option<Vec<u8>> {
    let name = Path::new(path.strip_prefix('/')?);
    let inside = name.components().all(|part| matches!(part, Component::Normal(_)));
    if inside { std::fs::read(root.join(name)).ok() } else { None }
}
