//! The program that looks at every packet of the interface: what is UDP to one of our addresses goes
//! to the socket of its queue, everything else goes on into the kernel.
//!
//! It is put together here, instruction by instruction, so that no compiler is needed where it runs.

use std::ffi::CStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use crate::os::bpf::{Instruction, Map, MapKind, Program, number};

/// What the program answers for the kernel to go on with a packet (`XDP_PASS`).
pub const PASS: i32 = 2;
/// Addresses that the program can know.
const ADDRESSES: u32 = 4096;

/// An address as the program looks it up: IPv6 or mapped IPv4, and the port, as in the packet.
const KEY: usize = 20;

/// Addresses whose packets are taken.
#[derive(Debug)]
pub struct Addresses(Map<KEY>);

impl Addresses {
    pub fn new() -> io::Result<Self> {
        Map::new(MapKind::Hash, ADDRESSES).map(Self)
    }

    pub fn insert(&self, address: SocketAddr) -> io::Result<()> {
        self.0.insert(key(address), 1)
    }

    pub fn remove(&self, address: SocketAddr) -> io::Result<()> {
        self.0.remove(key(address))
    }
}

fn key(address: SocketAddr) -> [u8; KEY] {
    let mut key = [0; KEY];
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    key[..16].copy_from_slice(&ip.octets());
    key[16..18].copy_from_slice(&address.port().to_be_bytes());
    key
}

/// Sockets by the queue of the interface that they are bound to.
#[derive(Debug)]
pub struct Queues(Map<4>);

impl Queues {
    pub fn new(queues: u32) -> io::Result<Self> {
        Map::new(MapKind::Sockets, queues).map(Self)
    }

    pub fn insert(&self, queue: u32, socket: &impl AsFd) -> io::Result<()> {
        self.0.insert(queue.to_ne_bytes(), number(socket.as_fd()))
    }
}

/// Loads the program for an interface with this MAC address. `otherwise` is its answer for a packet
/// of ours in a queue without a socket, which is [`PASS`] but in tests.
pub fn load(
    mac: [u8; 6],
    addresses: &Addresses,
    queues: &Queues,
    otherwise: i32,
) -> io::Result<Program> {
    let maps = (number(addresses.0.as_fd()), number(queues.0.as_fd()));
    let code = assemble(mac, maps, otherwise);
    // The helpers it calls ask for no other license.
    const LICENSE: &CStr = c"MIT";
    Program::load(&code, LICENSE)
}

// Registers: r0 is the answer of a function, r1 to r5 its arguments, r6 survives it, r10 is the end
// of the stack.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
const R6: u8 = 6;
const R10: u8 = 10;

// Sizes of a memory access.
const U8: u8 = 0x10;
const U16: u8 = 0x08;
const U32: u8 = 0x00;
const U64: u8 = 0x18;

// Conditions of a jump.
const EQUAL: u8 = 0x10;
const GREATER: u8 = 0x20;
const NOT_EQUAL: u8 = 0x50;

const LOOKUP: i32 = 1; // bpf_map_lookup_elem
const REDIRECT: i32 = 51; // bpf_redirect_map

/// Places to jump to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Ipv6,
    Lookup,
    Pass,
}

#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    fn add(&mut self, code: u8, to: u8, from: u8, offset: i16, constant: i32) {
        // Bit fields: their order in the byte is that of the machine.
        let registers =
            if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        self.code.push(Instruction { code, registers, offset, constant });
    }

    /// `to = *(size *)(from + offset)`
    fn load(&mut self, size: u8, to: u8, from: u8, offset: i16) {
        self.add(0x61 | size, to, from, offset, 0);
    }

    /// `*(size *)(to + offset) = from`
    fn store(&mut self, size: u8, to: u8, offset: i16, from: u8) {
        self.add(0x63 | size, to, from, offset, 0);
    }

    /// `to = from`
    fn copy(&mut self, to: u8, from: u8) {
        self.add(0xbf, to, from, 0, 0);
    }

    /// `to = constant`
    fn set(&mut self, to: u8, constant: i32) {
        self.add(0xb7, to, 0, 0, constant);
    }

    /// `to += constant`
    fn increase(&mut self, to: u8, constant: i32) {
        self.add(0x07, to, 0, 0, constant);
    }

    /// `to &= constant`
    fn mask(&mut self, to: u8, constant: i32) {
        self.add(0x57, to, 0, 0, constant);
    }

    /// `to` = a map, by its descriptor. Two instructions.
    fn set_map(&mut self, to: u8, map: u32) {
        self.add(0x18, to, 1, 0, map.cast_signed());
        self.add(0, 0, 0, 0, 0);
    }

    fn call(&mut self, function: i32) {
        self.add(0x85, 0, 0, 0, function);
    }

    fn exit(&mut self) {
        self.add(0x95, 0, 0, 0, 0);
    }

    /// `if register condition constant goto label`
    fn jump_if(&mut self, register: u8, condition: u8, constant: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.add(0x05 | condition, register, 0, 0, constant);
    }

    /// `if r4 > r3 goto pass`, with r4 = r2 + `bytes`: r2 is where the packet begins, r3 where it
    /// ends. The verifier believes accesses below that.
    fn need(&mut self, bytes: i32) {
        self.copy(R4, R2);
        self.increase(R4, bytes);
        self.jumps.push((self.code.len(), Label::Pass));
        self.add(0x0d | GREATER, R4, R3, 0, 0);
    }

    fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.add(0x05, 0, 0, 0, 0);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let target = self.labels.iter().find(|(l, _)| *l == label).map(|(_, to)| *to);
            if let (Some(target), Some(jump)) = (target, self.code.get_mut(at)) {
                // Counted from the next instruction; the program has less than 100.
                jump.offset = (target as i16) - (at as i16) - 1;
            }
        }
        self.code
    }
}

/// A 16-bit number of a packet, as a load of this machine sees it.
fn wire(number: u16) -> i32 {
    i32::from(number.to_be())
}

/// Offsets are from the start of the Ethernet header, which has 14 bytes.
fn assemble(mac: [u8; 6], (addresses, queues): (u32, u32), otherwise: i32) -> Vec<Instruction> {
    let mut a = Assembler::default();
    a.copy(R6, R1);
    a.load(U32, R2, R1, 0); // data
    a.load(U32, R3, R1, 4); // data_end
    a.need(14 + 20 + 8);
    // Not what a switch sends everywhere. In halves, for machines that read no words at odd places.
    for (half, offset) in mac.as_chunks::<2>().0.iter().zip([0, 2, 4]) {
        a.load(U16, R5, R2, offset);
        a.jump_if(R5, NOT_EQUAL, i32::from(u16::from_ne_bytes(*half)), Label::Pass);
    }
    a.load(U16, R5, R2, 12); // EtherType
    a.jump_if(R5, EQUAL, wire(0x86dd), Label::Ipv6);
    a.jump_if(R5, NOT_EQUAL, wire(0x0800), Label::Pass);
    // IPv4 without options (RFC 791 section 3.1), UDP, not a fragment.
    a.load(U8, R5, R2, 14);
    a.jump_if(R5, NOT_EQUAL, 0x45, Label::Pass);
    a.load(U8, R5, R2, 14 + 9);
    a.jump_if(R5, NOT_EQUAL, 17, Label::Pass);
    a.load(U16, R5, R2, 14 + 6);
    a.mask(R5, wire(0x3fff)); // more fragments, fragment offset
    a.jump_if(R5, NOT_EQUAL, 0, Label::Pass);
    // The key, on the stack.
    a.set(R5, 0);
    a.store(U64, R10, -24, R5);
    a.set(R5, i32::from_ne_bytes([0, 0, 0xff, 0xff]));
    a.store(U32, R10, -16, R5);
    a.load(U32, R5, R2, 14 + 16); // destination address
    a.store(U32, R10, -12, R5);
    a.load(U16, R5, R2, 14 + 20 + 2); // destination port
    a.jump(Label::Lookup);
    // IPv6 without extension headers (RFC 8200 section 3), UDP.
    a.label(Label::Ipv6);
    a.need(14 + 40 + 8);
    a.load(U8, R5, R2, 14 + 6);
    a.jump_if(R5, NOT_EQUAL, 17, Label::Pass);
    for word in 0..4 {
        a.load(U32, R5, R2, 14 + 24 + 4 * word); // destination address
        a.store(U32, R10, -24 + 4 * word, R5);
    }
    a.load(U16, R5, R2, 14 + 40 + 2); // destination port
    a.label(Label::Lookup);
    // The port and, behind it, two bytes of zeros.
    a.set(R4, 0);
    a.store(U32, R10, -8, R4);
    a.store(U16, R10, -8, R5);
    a.set_map(R1, addresses);
    a.copy(R2, R10);
    a.increase(R2, -24);
    a.call(LOOKUP);
    a.jump_if(R0, EQUAL, 0, Label::Pass);
    a.set_map(R1, queues);
    a.load(U32, R2, R6, 16); // rx_queue_index
    a.set(R3, otherwise);
    a.call(REDIRECT);
    a.exit();
    a.label(Label::Pass);
    a.set(R0, PASS);
    a.exit();
    a.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdp::packet::{self, Head};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
    /// `XDP_TX`, which the program never answers: the packet would have gone to a socket.
    const TAKEN: i32 = 3;

    fn frame(to: &str) -> Vec<u8> {
        let to: SocketAddr = to.parse().unwrap();
        let from = if to.is_ipv4() { "192.0.2.9:1000" } else { "[2001:db8::9]:1000" };
        let mut frame = vec![0; 200];
        let head =
            Head { macs: (MAC, [2, 0, 0, 0, 0, 9]), from: from.parse().unwrap(), to, ecn: None };
        let len = packet::write(&mut frame, &head, &[7; 50]).unwrap();
        frame.truncate(len);
        frame
    }

    /// `None` if this process may not load programs.
    fn program() -> Option<(Addresses, Queues, Program)> {
        let made = Addresses::new().and_then(|addresses| {
            let queues = Queues::new(1)?;
            let program = load(MAC, &addresses, &queues, TAKEN)?;
            Ok((addresses, queues, program))
        });
        match made {
            Ok(made) => Some(made),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                eprintln!("skipped: no right to load an XDP program: {error}");
                None
            }
            Err(error) => panic!("the kernel refuses the program: {error}"),
        }
    }

    #[test]
    fn only_udp_to_our_addresses_is_taken() {
        let Some((addresses, _queues, program)) = program() else { return };
        let ours = ["192.0.2.1:4433", "[2001:db8::1]:4433"];
        let answer = |frame: &[u8]| {
            let answer = program.answer(frame);
            answer.unwrap_or_else(|error| panic!("{} bytes: {error}", frame.len())).cast_signed()
        };
        for to in ours {
            assert_eq!(answer(&frame(to)), PASS, "nothing is ours yet");
            addresses.insert(to.parse().unwrap()).unwrap();
            assert_eq!(answer(&frame(to)), TAKEN, "{to}");
        }
        for other in ["192.0.2.1:4434", "192.0.2.2:4433", "[2001:db8::2]:4433", "[2001:db8::1]:1"] {
            assert_eq!(answer(&frame(other)), PASS, "{other}");
        }
        for to in ours {
            let v6 = to.starts_with('[');
            let spoil = |at: usize, value: u8| {
                let mut frame = frame(to);
                frame[at] = value;
                frame
            };
            assert_eq!(answer(&spoil(5, 8)), PASS, "another MAC address");
            assert_eq!(answer(&spoil(12, 0x81)), PASS, "another EtherType");
            assert_eq!(answer(&spoil(if v6 { 20 } else { 23 }, 6)), PASS, "TCP");
            assert_eq!(answer(&frame(to)[..40]), PASS, "cut off");
            if v6 {
                assert_eq!(answer(&frame(to)[..60]), PASS, "cut off");
            } else {
                assert_eq!(answer(&spoil(14, 0x46)), PASS, "options");
                assert_eq!(answer(&spoil(20, 0x20)), PASS, "the first fragment");
                assert_eq!(answer(&spoil(21, 1)), PASS, "a later fragment");
                assert_eq!(answer(&spoil(20, 0x40)), TAKEN, "not to be fragmented");
            }
            addresses.remove(to.parse().unwrap()).unwrap();
            assert_eq!(answer(&frame(to)), PASS, "given up");
        }
    }
}
