//! Packet protection.

use std::hint::black_box;

use tquic_crypto::{HeaderKey, PacketKey, Suite, initial_keys};
use tquic_wire::{ConnectionId, Side, Version};

/// Bytes of the header that is authenticated.
const HEADER: usize = 12;
/// A full packet on Ethernet.
const PACKET: usize = 1452;
/// Stream bytes of it that are read from where the application left them.
const TAIL: usize = 1400;

fn key() -> PacketKey {
    PacketKey::new(Suite::Aes128Gcm, &[7; 16], [9; 12]).unwrap()
}

/// Seals a full packet, its stream's bytes read from elsewhere.
pub fn seal() -> Box<dyn FnMut()> {
    let (key, mut packet, tail, mut pn) = (key(), vec![1; PACKET], vec![2; TAIL], 0);
    Box::new(move || {
        pn += 1;
        key.seal(0, pn, black_box(&mut packet), HEADER, black_box(&tail));
    })
}

/// Opens one; the copy that is opened in place is part of it.
pub fn open() -> Box<dyn FnMut()> {
    let (key, mut sealed) = (key(), vec![1; PACKET]);
    key.seal(0, 1, &mut sealed, HEADER, &[]);
    let mut packet = sealed.clone();
    Box::new(move || {
        packet.copy_from_slice(&sealed);
        black_box(key.open(0, 1, black_box(&mut packet), HEADER).unwrap());
    })
}

/// The masks of a whole train.
pub fn masks() -> Box<dyn FnMut()> {
    let key = HeaderKey::new(Suite::Aes128Gcm, &[7; 16]).unwrap();
    let (samples, mut masks) = ([[3; 16]; 64], [[0; 5]; 64]);
    Box::new(move || key.masks(black_box(&samples), black_box(&mut masks)))
}

/// The Initial keys of a connection.
pub fn initial() -> Box<dyn FnMut()> {
    let dcid = ConnectionId::new(&[5; 8]).unwrap();
    Box::new(move || {
        black_box(initial_keys(Version::V1, black_box(&dcid), Side::Server));
    })
}
