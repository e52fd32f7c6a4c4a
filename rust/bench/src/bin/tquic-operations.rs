//! Does one operation a few times: what `scripts/count_instructions.py` runs under callgrind, which
//! collects in `measured` alone.
//!
//! `tquic-operations [NAME]`; without a name it says how often an operation is done, and what there
//! is.

use std::process::ExitCode;

use tquic_bench::OPERATIONS;

/// How often an operation is done; the script divides by it.
const TIMES: u32 = 8;

/// Callgrind knows it by its name.
#[inline(never)]
fn measured(operation: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        operation();
    }
}

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        println!("{TIMES}");
        OPERATIONS.iter().for_each(|operation| println!("{}", operation.name));
        return ExitCode::SUCCESS;
    };
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        eprintln!("there is no operation `{name}`");
        return ExitCode::FAILURE;
    };
    let mut act = (operation.make)();
    // Buffers have their size then, and windows have opened.
    (0..TIMES).for_each(|_| act());
    measured(&mut act);
    ExitCode::SUCCESS
}
