//! A socket, the connections on it and their timers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use compare_common::options::SERVER_NAME;
use compare_common::{DATAGRAM, Result};
use tquic_net::udp::{RecvBatch, SocketOptions, Transmit, UdpSocket};

use crate::Connection;

/// Bytes of the connection IDs that we choose.
const CID: usize = 16;
/// Datagrams of one train: as many as GSO takes.
const TRAIN: usize = 44;
/// Packets that a connection sends before it looks at what has come.
const TURN: usize = 8 * TRAIN;

type Cid = [u8; CID];

/// What uses a connection.
pub trait Application {
    /// Called after anything may have changed.
    fn drive(&mut self, connection: &mut Connection);
}

/// A connection and its application.
pub struct Member<A> {
    pub connection: Connection,
    pub application: A,
    cids: Vec<Cid>,
    /// The timer that is set.
    deadline: Option<Instant>,
    touched: bool,
}

/// The socket and what lives on it.
pub struct Endpoint<A> {
    socket: UdpSocket,
    batch: RecvBatch,
    config: quiche::Config,
    routes: HashMap<Cid, usize>,
    members: Vec<Option<Member<A>>>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    touched: Vec<usize>,
    train: Box<[u8]>,
    /// Numbers that make connection IDs: nobody attacks here.
    next_cid: u64,
}

impl<A: Application> Endpoint<A> {
    pub fn bind(address: SocketAddr, config: quiche::Config) -> Result<Self> {
        Ok(Self {
            socket: UdpSocket::bind(address, &SocketOptions::default())?,
            batch: RecvBatch::default(),
            config,
            routes: HashMap::new(),
            members: Vec::new(),
            timers: BinaryHeap::new(),
            touched: Vec::new(),
            train: vec![0; TRAIN * usize::from(DATAGRAM)].into(),
            next_cid: u64::from(std::process::id()) << 32,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    pub fn members(&mut self) -> impl Iterator<Item = &mut Member<A>> {
        self.members.iter_mut().flatten()
    }

    pub fn member(&mut self, index: usize) -> Option<&mut Member<A>> {
        self.members.get_mut(index)?.as_mut()
    }

    /// Begins a connection, which the next turn drives.
    pub fn connect(
        &mut self,
        to: SocketAddr,
        session: Option<&[u8]>,
        application: A,
    ) -> Result<usize> {
        let cid = self.fresh_cid();
        let scid = quiche::ConnectionId::from_ref(&cid);
        let (name, from) = (Some(SERVER_NAME), self.address());
        let mut connection =
            quiche::connect_with_buffer_factory(name, &scid, from, to, &mut self.config)?;
        if let Some(session) = session {
            connection.set_session(session)?;
        }
        Ok(self.add(connection, application, vec![cid]))
    }

    /// Forgets a connection.
    pub fn remove(&mut self, index: usize) {
        if let Some(member) = self.members.get_mut(index).and_then(Option::take) {
            for cid in &member.cids {
                self.routes.remove(cid);
            }
        }
    }

    /// Has the next turn drive it.
    pub fn touch(&mut self, index: usize) {
        let Some(Some(member)) = self.members.get_mut(index) else { return };
        if !std::mem::replace(&mut member.touched, true) {
            self.touched.push(index);
        }
    }

    fn fresh_cid(&mut self) -> Cid {
        self.next_cid += 1;
        let mut cid = [0; CID];
        cid[..8].copy_from_slice(&self.next_cid.to_be_bytes());
        cid
    }

    fn add(&mut self, connection: Connection, application: A, cids: Vec<Cid>) -> usize {
        let index = self.members.len();
        for cid in &cids {
            self.routes.insert(*cid, index);
        }
        self.members.push(Some(Member {
            connection,
            application,
            cids,
            deadline: None,
            touched: false,
        }));
        self.touch(index);
        index
    }

    /// Waits for something to happen and deals with it.
    pub fn turn(&mut self, accept: Option<&dyn Fn() -> A>) -> Result<()> {
        if self.touched.is_empty() {
            self.wait()?;
        }
        self.receive(accept)?;
        self.expire();
        for index in std::mem::take(&mut self.touched) {
            self.drive(index)?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let timeout = self.timers.peek().map(|Reverse((at, _))| *at - Instant::now());
        poll(&self.socket, libc::POLLIN, timeout)
    }

    fn receive(&mut self, accept: Option<&dyn Fn() -> A>) -> Result<()> {
        match self.socket.recv(&mut self.batch) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        // Taken out while its slots are read: accepting needs the rest of us.
        let mut batch = std::mem::replace(&mut self.batch, RecvBatch::new(1));
        for mut slot in batch.slots() {
            let from = slot.remote;
            for datagram in slot.datagrams() {
                self.take(from, datagram, accept);
            }
        }
        self.batch = batch;
        Ok(())
    }

    fn take(&mut self, from: SocketAddr, datagram: &mut [u8], accept: Option<&dyn Fn() -> A>) {
        let to = self.address();
        let Some(index) = self.route(from, datagram, accept) else { return };
        if let Some(Some(member)) = self.members.get_mut(index) {
            // What it does not like it drops, and closes if it must.
            let _ = member.connection.recv(datagram, quiche::RecvInfo { from, to });
            self.touch(index);
        }
    }

    fn route(
        &mut self,
        from: SocketAddr,
        datagram: &mut [u8],
        accept: Option<&dyn Fn() -> A>,
    ) -> Option<usize> {
        let first = *datagram.first()?;
        if first & 0x80 == 0 {
            return self.routes.get(datagram.get(1..=CID)?).copied();
        }
        let header = quiche::Header::from_slice(datagram, CID).ok()?;
        let wanted: Option<Cid> = header.dcid.as_ref().try_into().ok();
        if let Some(index) = wanted.and_then(|cid| self.routes.get(&cid)) {
            return Some(*index);
        }
        if header.ty != quiche::Type::Initial {
            return None;
        }
        let application = accept?();
        let cid = self.fresh_cid();
        let scid = quiche::ConnectionId::from_ref(&cid);
        let to = self.address();
        let connection =
            quiche::accept_with_buf_factory(&scid, None, to, from, &mut self.config).ok()?;
        // Clients go on with the ID of their choice until they know ours; those of 16 bytes find us.
        let cids = std::iter::once(cid).chain(wanted).collect();
        Some(self.add(connection, application, cids))
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, index))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            let Some(Some(member)) = self.members.get_mut(index) else { continue };
            if member.deadline == Some(at) {
                member.deadline = None;
                member.connection.on_timeout();
                self.touch(index);
            }
        }
    }

    fn drive(&mut self, index: usize) -> Result<()> {
        let Some(Some(member)) = self.members.get_mut(index) else { return Ok(()) };
        member.touched = false;
        member.application.drive(&mut member.connection);
        let more = send(&self.socket, &mut self.train, &mut member.connection)?;
        if member.connection.is_closed() {
            self.remove(index);
            return Ok(());
        }
        let deadline = member.connection.timeout_instant();
        if deadline.is_some() && deadline != member.deadline {
            self.timers.extend(deadline.map(|at| Reverse((at, index))));
        }
        member.deadline = deadline;
        if more {
            self.touch(index);
        }
        Ok(())
    }
}

/// Sends trains for one turn; whether there is more to send. `send_quantum` is not asked: trains of
/// ten packets, which it wants, are slower.
fn send(socket: &UdpSocket, train: &mut [u8], connection: &mut Connection) -> Result<bool> {
    let size = usize::from(DATAGRAM);
    let mut packets = 0;
    while packets < TURN {
        let (mut filled, mut remote) = (0, None);
        while filled + size <= train.len() {
            match connection.send(&mut train[filled..filled + size]) {
                Ok((len, info)) => {
                    remote = Some(info.to);
                    filled += len;
                    packets += 1;
                    // Only the last datagram of a train may be shorter.
                    if len < size {
                        break;
                    }
                }
                Err(quiche::Error::Done) => break,
                Err(error) => {
                    connection.close(false, 1, b"").or_else(ignore_done)?;
                    eprintln!("send: {error}");
                    break;
                }
            }
        }
        let Some(remote) = remote else { return Ok(false) };
        let data = &train[..filled];
        let transmit =
            Transmit { remote, local_ip: None, ecn: None, segment_size: size, data, buffer: None };
        while socket.send(&[transmit])?.blocked {
            poll(socket, libc::POLLOUT, None)?;
        }
    }
    Ok(true)
}

/// It has been closed before: nothing to do.
pub fn ignore_done(error: quiche::Error) -> quiche::Result<()> {
    if error == quiche::Error::Done { Ok(()) } else { Err(error) }
}

fn poll(socket: &UdpSocket, events: i16, timeout: Option<Duration>) -> Result<()> {
    let mut entry = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 };
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one entry, and a time that is null or lives through the call.
    let result = unsafe { libc::ppoll(&raw mut entry, 1, time, std::ptr::null()) };
    if result < 0 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
}
