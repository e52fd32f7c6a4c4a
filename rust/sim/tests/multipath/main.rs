//! Several paths at once, in virtual time: what schedulers and coupled congestion control are worth.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, too")]

mod bond;
mod coupled;
mod failover;
mod goodput;
mod schedulers;
