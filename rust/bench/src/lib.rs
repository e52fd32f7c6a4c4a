//! The hot paths as operations: each is made once, with everything that is not to be measured, and
//! then done as often as one likes. Nothing is drawn by chance but certificates and keys.
//!
//! `cargo bench -p tquic-bench` takes their times (Criterion), `make instructions` counts their
//! instructions under callgrind and compares them with `instructions.json`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a bench that cannot be made has nothing to measure")]

mod crypto;
mod duo;
mod recovery;
mod wire;

/// Something to measure.
pub struct Operation {
    /// For reports: what, and how much of it.
    pub name: &'static str,
    /// Makes it; each call of the result does it once.
    pub make: fn() -> Box<dyn FnMut()>,
}

/// All of them.
pub const OPERATIONS: [Operation; 13] = [
    Operation { name: "frames-encode-36", make: wire::encode },
    Operation { name: "frames-decode-36", make: wire::decode },
    Operation { name: "packet-seal-1452", make: crypto::seal },
    Operation { name: "packet-open-1452", make: crypto::open },
    Operation { name: "header-masks-64", make: crypto::masks },
    Operation { name: "initial-keys", make: crypto::initial },
    Operation { name: "packets-acknowledge-64", make: recovery::acknowledge },
    Operation { name: "packets-lose-8-of-64", make: recovery::lose },
    Operation { name: "transfer-1M", make: duo::transfer },
    Operation { name: "transfer-1M-16-streams", make: duo::streams },
    Operation { name: "requests-16", make: duo::few_requests },
    Operation { name: "requests-256", make: duo::many_requests },
    Operation { name: "handshake", make: duo::handshake },
];

#[cfg(test)]
mod tests {
    use super::OPERATIONS;

    #[test]
    fn every_operation_can_be_repeated() {
        for operation in &OPERATIONS {
            let mut act = (operation.make)();
            (0..3).for_each(|_| act());
        }
    }
}
