//! The client: downloads REQUESTS into DOWNLOADS the way the test case asks.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::http::{Http, Told};
use crate::{Failure, MAX_DATAGRAM, config, random_id, record, setting, speaks_http3};

/// The name in the server's certificate: BoringSSL looks for no addresses in it.
const NAME: &str = "localhost";
/// How long a resuming client waits for its session ticket after the first download.
const TICKET_WAIT: Duration = Duration::from_secs(2);
/// How long a socket is listened to at a time.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// When the client moves to another port.
const MOVE_AFTER: Duration = Duration::from_millis(20);

/// One URL of REQUESTS.
struct Request {
    authority: String,
    address: SocketAddr,
    path: String,
}

impl Request {
    fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Failed(format!("not an https URL: {url}"));
        let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let with_port = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
            _ => format!("{authority}:443"),
        };
        let address = with_port.to_socket_addrs()?.next().ok_or_else(wrong)?;
        Ok(Self { authority: authority.into(), address, path: format!("/{path}") })
    }
}

pub fn run(testcase: &str) -> Result<(), Failure> {
    let requests: Vec<Request> =
        setting("REQUESTS", "").split_whitespace().map(Request::parse).collect::<Result<_, _>>()?;
    if requests.is_empty() {
        return Err(Failure::Failed("REQUESTS is empty".into()));
    }
    match testcase {
        "handshake" | "transfer" | "retry" | "http3" | "clientmigration" => {
            fetch(testcase, &requests, None, false)?;
        }
        "multiconnect" => {
            for request in requests.chunks(1) {
                fetch(testcase, request, None, false)?;
            }
        }
        "resumption" | "zerortt" if requests.len() > 1 => {
            let session = fetch(testcase, &requests[..1], None, true)?;
            let session = session.ok_or_else(|| Failure::Failed("no session ticket".into()))?;
            fetch(testcase, &requests[1..], Some(&session), false)?;
        }
        other => return Err(Failure::Unsupported(other.to_owned())),
    }
    Ok(())
}

/// The sockets in use: one, and after a move another.
struct Sockets {
    all: Vec<(SocketAddr, UdpSocket)>,
    peer: SocketAddr,
}

impl Sockets {
    fn open(&mut self) -> Result<SocketAddr, Failure> {
        // Bound and connected, so that the local address is a real one.
        let any = if self.peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.peer)?;
        let local = socket.local_addr()?;
        self.all.push((local, socket));
        Ok(local)
    }

    fn send_all(&self, conn: &mut quiche::Connection) -> Result<(), Failure> {
        let mut out = [0; 1500];
        loop {
            match conn.send(&mut out) {
                Ok((size, info)) => {
                    if let Some((_, socket)) = self.all.iter().find(|(at, _)| *at == info.from) {
                        // A full buffer, or an ICMP error: both are loss.
                        let _ = socket.send(&out[..size]);
                    }
                }
                Err(quiche::Error::Done) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes what comes until the connection's next timer.
    fn receive(&self, conn: &mut quiche::Connection) -> Result<(), Failure> {
        let wait = conn.timeout().unwrap_or(LONGEST_WAIT).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        let mut buffer = vec![0; MAX_DATAGRAM];
        for (at, (local, socket)) in self.all.iter().enumerate() {
            let last = at + 1 == self.all.len();
            socket.set_read_timeout(Some(if last { wait } else { SHORTEST_WAIT }))?;
            match socket.recv(&mut buffer) {
                Ok(size) => {
                    let info = quiche::RecvInfo { from: self.peer, to: *local };
                    // A datagram that is damaged is none of the connection's.
                    let _ = conn.recv(&mut buffer[..size], info);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused => {}
                    _ => return Err(error.into()),
                },
            }
        }
        if conn.timeout() == Some(Duration::ZERO) {
            conn.on_timeout();
        }
        Ok(())
    }
}

/// All requests over one connection; its session, if that is to be awaited.
fn fetch(
    testcase: &str,
    requests: &[Request],
    session: Option<&[u8]>,
    await_session: bool,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut config = config(testcase)?;
    let ca = Path::new(&setting("CERTS", "/certs")).join("ca.pem");
    config.load_verify_locations_from_file(&ca.to_string_lossy())?;
    config.verify_peer(true);
    let first = &requests[0];
    let mut sockets = Sockets { all: Vec::new(), peer: first.address };
    let local = sockets.open()?;
    let mut conn = quiche::connect(Some(NAME), &random_id()?, local, first.address, &mut config)?;
    record(&mut conn)?;
    if let Some(session) = session {
        conn.set_session(session)?;
    }
    let early = testcase == "zerortt" && session.is_some();
    let mut http: Option<Http> = None;
    let mut asked: HashMap<u64, usize> = HashMap::new();
    let (mut begun, mut done, mut moved) = (0, 0, testcase != "clientmigration");
    let start = Instant::now();
    let mut finished = None;
    loop {
        sockets.send_all(&mut conn)?;
        if conn.is_closed() {
            let (theirs, ours) = (conn.peer_error(), conn.local_error());
            return Err(Failure::Failed(format!("closed: {theirs:?}, {ours:?}")));
        }
        if http.is_none() && (conn.is_established() || (early && conn.is_in_early_data())) {
            http = Some(Http::new(&mut conn, speaks_http3(testcase))?);
        }
        if let Some(http) = &mut http {
            while let Some(request) = requests.get(begun) {
                let Some(id) = http.request(&mut conn, &request.authority, &request.path)? else {
                    break;
                };
                asked.insert(id, begun);
                begun += 1;
            }
            for told in http.poll(&mut conn)? {
                if let Told::Answer(stream, body) = told {
                    save(&requests[asked[&stream]].path, &body)?;
                    done += 1;
                }
            }
        }
        while conn.is_established() && conn.scids_left() > 0 {
            conn.new_scid(&random_id()?, rand_token()?, false)?;
        }
        if !moved && start.elapsed() > MOVE_AFTER && conn.available_dcids() > 0 {
            let local = sockets.open()?;
            conn.probe_path(local, sockets.peer)?;
            moved = true;
        }
        while let Some(event) = conn.path_event_next() {
            if let quiche::PathEvent::Validated(local, peer) = event {
                conn.migrate(local, peer)?;
                // quiche takes a late packet for a retired connection ID for a violation.
                sockets.all.retain(|(at, _)| *at == local);
            }
        }
        sockets.send_all(&mut conn)?;
        if done == requests.len() {
            let since = *finished.get_or_insert_with(Instant::now);
            let ticket = conn.session().map(<[u8]>::to_vec);
            if !await_session || ticket.is_some() || since.elapsed() > TICKET_WAIT {
                let code = if speaks_http3(testcase) { 0x100 } else { 0 };
                conn.close(true, code, b"")?;
                sockets.send_all(&mut conn)?;
                return Ok(ticket);
            }
        }
        sockets.receive(&mut conn)?;
    }
}

fn rand_token() -> Result<u128, Failure> {
    let mut bytes = [0; 16];
    boring::rand::rand_bytes(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}

fn save(path: &str, body: &[u8]) -> Result<(), Failure> {
    let name = Path::new(path).file_name();
    let name = name.ok_or_else(|| Failure::Failed(format!("no file name in {path}")))?;
    std::fs::write(Path::new(&setting("DOWNLOADS", "/downloads")).join(name), body)?;
    Ok(())
}
