//! What the engine answers to a peer that breaks the rules: the exact error code, and the type of
//! the frame to blame. The QUIC and TLS rows of h3spec (`h3spec_*`) and those that audits of other
//! stacks found wanting, each against a server and, where it can be done there, a client.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    clippy::field_reassign_with_default,
    reason = "tests fail by panicking, and change one thing at a time"
)]

#[path = "../rogue/mod.rs"]
mod rogue;

mod conduct;
mod early;
mod established;
mod handshake;
mod multipath;

use rogue::arena::Arena;
use tquic_wire::{Side, TransportErrorCode};

/// How far the handshake has come when the rule is broken.
#[derive(Clone, Copy)]
pub enum Stage {
    /// Nothing was sent; the act does everything.
    Fresh,
    /// Both ends have Handshake keys.
    Handshaking,
    /// The handshake is confirmed.
    Established,
}

/// The frame type to be blamed is not specified.
pub const ANY: u64 = u64::MAX;

/// Breaks a rule and looks at the CONNECTION_CLOSE that comes back.
pub fn run(under: Side, stage: Stage, act: fn(&mut Arena), code: TransportErrorCode, frame: u64) {
    let mut arena = Arena::new(under);
    match stage {
        Stage::Fresh => {}
        Stage::Handshaking => arena.half_handshake(),
        Stage::Established => arena.handshake(),
    }
    assert_eq!(arena.closed(), None);
    act(&mut arena);
    let closed = arena.closed().expect("the engine did not close the connection");
    assert_eq!(closed.code, code);
    if frame != ANY {
        assert_eq!(closed.frame, Some(frame));
    }
}

/// One test for each row and role: name, roles, stage, act, code, type of the frame to blame.
#[macro_export]
macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident [$($under:ident),+] $stage:ident
        $act:expr => $code:expr, $frame:expr;)*) => {
        $($(#[$doc])* mod $name {
            #[allow(unused_imports, reason = "not every row needs all")]
            use super::*;
            $(#[test]
            #[allow(non_snake_case, reason = "named by the role of the engine")]
            fn $under() {
                $crate::run(tquic_wire::Side::$under, $crate::Stage::$stage, $act, $code, $frame);
            })+
        })*
    };
}
