//! AF_XDP over a veth pair between two network namespaces: against an ordinary socket, and on both
//! ends. Where namespaces cannot be made or programs not be attached, it is said and skipped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, too")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tquic_net::os::{Events, Interest, Poller};
use tquic_net::udp::{Ecn, RecvBatch, SocketOptions, Transmit, UdpSocket};
use tquic_net::xdp::{Interface, Options};

/// Bytes of a datagram, and datagrams of a train; the last one is shorter.
const SIZE: usize = 1400;
const TRAIN: usize = 10;
const ROUNDS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(10);
const SOCKET: usize = 1000;
/// Of both interfaces: datagrams to port 7001 leave through one, those to 7002 through the other.
const QUEUES: &str = "numtxqueues 2 numrxqueues 2";

/// Runs `ip` and says whether it worked.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            eprintln!("ip {arguments}: {error}");
            false
        }
    }
}

/// Two namespaces and the pair between them.
struct Network {
    names: [String; 2],
}

impl Network {
    fn new(test: &str) -> Option<Self> {
        let names = ["a", "b"].map(|end| format!("tqx-{}-{test}-{end}", std::process::id()));
        let network = Self { names };
        let [a, b] = &network.names;
        let made = ip(&format!("netns add {a}"))
            && ip(&format!("netns add {b}"))
            && ip(&format!(
                "link add tqx0 netns {a} {QUEUES} type veth peer name tqx0 netns {b} {QUEUES}"
            ))
            && [(a, 1), (b, 2)].into_iter().all(|(name, n)| {
                ip(&format!("-n {name} addr add 10.77.0.{n}/24 dev tqx0"))
                    && ip(&format!("-n {name} addr add fd77::{n}/64 dev tqx0 nodad"))
                    && ip(&format!("-n {name} link set tqx0 up"))
            });
        if !made {
            eprintln!("skipped: network namespaces cannot be made here");
        }
        made.then_some(network)
    }

    /// Starts one end in its namespace: this very program, as the test `end`.
    fn start(&self, end: usize, role: &str) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.names[end]])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "end", "--ignored", "--nocapture"])
            .env("TQUIC_TEST_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

/// Kills a process whatever happens to the test.
struct Running(Child);

impl Running {
    /// Waits for a line that begins like this, and answers what follows; `None` at the end.
    fn line(&mut self, start: &str) -> Option<String> {
        let mut lines = BufReader::new(self.0.stdout.as_mut()?).lines().map_while(Result::ok);
        lines.find_map(|line| Some(line.split_once(start)?.1.to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One end of the tests below, in its own namespace.
#[test]
#[ignore = "the tests below start it"]
fn end() {
    let role = std::env::var("TQUIC_TEST_ROLE").expect("started by another test");
    let mut words = role.split(' ');
    let (what, backend) = (words.next().unwrap(), words.next().unwrap());
    let mut end = match End::open(words.next().unwrap().parse().unwrap(), backend == "xdp") {
        Ok(end) => end,
        Err(error) => {
            println!("ready: skipped: {error}");
            return;
        }
    };
    println!("ready: yes");
    io::stdout().flush().unwrap();
    match what {
        "echo" => loop {
            end.echo();
        },
        _ => {
            end.shout(words.next().unwrap().parse().unwrap());
            let stats = end.interface.as_ref().map(Interface::stats);
            println!("done: {stats:?}");
        }
    }
}

struct End {
    socket: UdpSocket,
    interface: Option<Interface>,
    poller: Poller,
    events: Events,
    batch: RecvBatch,
}

impl End {
    fn open(address: SocketAddr, xdp: bool) -> io::Result<Self> {
        let socket = UdpSocket::bind(address, &SocketOptions::default())?;
        let mut poller = Poller::new()?;
        poller.add(&socket, SOCKET, Interest::Readable)?;
        let mut interface = None;
        if xdp {
            let mut opened = Interface::open(&Options::new("tqx0"))?;
            opened.watch(&mut poller, |queue| queue)?;
            opened.claim(&socket);
            interface = Some(opened);
        }
        let (events, batch) = (Events::with_capacity(8), RecvBatch::default());
        Ok(Self { socket, interface, poller, events, batch })
    }

    fn send(&mut self, to: SocketAddr, data: &[u8], segment_size: usize) {
        let ecn = Some(Ecn::Ect0);
        let train = Transmit { remote: to, local_ip: None, ecn, segment_size, data, buffer: None };
        let sent = match &mut self.interface {
            Some(interface) => interface.send(&self.socket, &[train]),
            None => self.socket.send(&[train]),
        };
        let sent = sent.unwrap();
        assert!(sent.errors.is_empty() && sent.trains == 1, "{sent:?}");
    }

    /// Waits, and answers the datagrams that came, each with its sender.
    fn receive(&mut self) -> Vec<(SocketAddr, Option<Ecn>, Vec<u8>)> {
        self.poller.wait(&mut self.events, Some(Duration::from_millis(20))).unwrap();
        let tokens: Vec<usize> = self.events.iter().map(|event| event.token).collect();
        let mut datagrams = Vec::new();
        for token in tokens {
            match &mut self.interface {
                Some(interface) if token != SOCKET => {
                    interface.recv(token, &mut self.batch);
                }
                _ => {
                    self.socket.recv(&mut self.batch).unwrap();
                }
            }
            for mut slot in self.batch.slots() {
                let (remote, ecn) = (slot.remote, slot.ecn);
                datagrams.extend(slot.datagrams().map(|data| (remote, ecn, data.to_vec())));
            }
        }
        if let Some(interface) = &mut self.interface {
            interface.flush();
        }
        datagrams
    }

    fn echo(&mut self) {
        for (from, ecn, data) in self.receive() {
            assert_eq!(ecn, Some(Ecn::Ect0));
            self.send(from, &data, data.len());
        }
    }

    /// Sends trains and wants each datagram back, once and whole, through the
    /// interface. The first trains leave through the kernel, which asks for the neighbour's address for
    /// them: it goes on until some have not.
    fn shout(&mut self, to: SocketAddr) {
        let begun = Instant::now();
        for round in 0.. {
            if round >= ROUNDS {
                let stats = self.interface.as_ref().expect("it shouts through one").stats();
                assert_eq!(stats.recv_datagrams, (round * TRAIN) as u64);
                if stats.sent_datagrams > 0 {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "all goes through the kernel: {stats:?}");
            }
            let len = SIZE * TRAIN - 100;
            let data: Vec<u8> = (0..len).map(|at| (at / SIZE + at + round) as u8).collect();
            self.send(to, &data, SIZE);
            let mut missing: Vec<&[u8]> = data.chunks(SIZE).collect();
            let until = Instant::now() + PATIENCE;
            while !missing.is_empty() {
                assert!(Instant::now() < until, "{} datagrams are missing", missing.len());
                for (from, ecn, datagram) in self.receive() {
                    assert_eq!((from, ecn), (to, Some(Ecn::Ect0)));
                    let at = missing.iter().position(|sent| *sent == datagram);
                    missing.remove(at.expect("an echo of what was sent, once"));
                }
            }
        }
    }
}

/// Whether the test can go on: an end says that it is ready, or why it is not.
fn is_ready(end: &mut Running) -> bool {
    match end.line("ready: ").as_deref() {
        Some("yes") => true,
        Some(why) if why.contains("CAP_") || why.contains("Operation not supported") => {
            eprintln!("{why}");
            false
        }
        other => panic!("an end did not start: {other:?}"),
    }
}

/// What the shouting end counted.
fn echo(test: &str, addresses: (&str, &str), backends: (&str, &str)) -> Option<String> {
    let network = Network::new(test)?;
    let (here, there) = addresses;
    let mut server = Running(network.start(1, &format!("echo {} {there}", backends.1)));
    if !is_ready(&mut server) {
        return None;
    }
    let mut client = Running(network.start(0, &format!("shout {} {here} {there}", backends.0)));
    if !is_ready(&mut client) {
        return None;
    }
    let done = client.line("done: ").expect("every datagram comes back");
    Some(done)
}

const V4: (&str, &str) = ("10.77.0.1:7001", "10.77.0.2:7002");
const V6: (&str, &str) = ("[fd77::1]:7001", "[fd77::2]:7002");

#[test]
fn frames_to_an_ordinary_socket() {
    for (test, addresses) in [("s4", V4), ("s6", V6)] {
        let Some(done) = echo(test, addresses, ("xdp", "udp")) else { return };
        assert!(done.contains("damaged: 0, errors: 0"), "{done}");
    }
}

#[test]
fn frames_on_both_ends() {
    for (test, addresses) in [("x4", V4), ("x6", V6)] {
        let Some(done) = echo(test, addresses, ("xdp", "xdp")) else { return };
        assert!(done.contains("damaged: 0, errors: 0"), "{done}");
        assert!(done.contains("queues: 2"), "{done}");
    }
}

#[test]
fn a_killed_process_leaves_nothing_on_the_interface() {
    let Some(network) = Network::new("kill") else { return };
    let attached = || {
        let name = network.names[1].as_str();
        let output =
            Command::new("ip").args(["-n", name, "link", "show", "tqx0"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("prog/xdp")
    };
    assert!(!attached());
    let mut server = Running(network.start(1, &format!("echo xdp {}", V4.1)));
    if !is_ready(&mut server) {
        return;
    }
    assert!(attached());
    // `ip netns exec` has become the program itself: this is SIGKILL to it.
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let until = Instant::now() + PATIENCE;
    while attached() {
        assert!(Instant::now() < until, "the program is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}
