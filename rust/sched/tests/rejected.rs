//! Objects that must not be loaded, and what is said of each: those of `fixtures/bad`, which clang
//! made of C, and those that no compiler makes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod generate;

use std::path::PathBuf;
use std::sync::Arc;

use generate::object::{CALL, Object, TO_DATA, TO_FUNCTION, insn};
use generate::{Source, exercise};
use tquic_sched::{Backend, Fault, Instance, LoadError, PacketContext, PathSnapshot, Program};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(path.with_extension("o")).unwrap()
}

#[track_caller]
fn refused(object: &[u8], message: &str) {
    let error = Program::load(object).expect_err(message).to_string();
    assert!(error.contains(message), "{error}\nand not: {message}");
}

#[test]
fn mistakes_in_c() {
    for (name, message) in [
        (
            "unchecked",
            "instruction 3, `*(u32 *)(r0 + 4) = r1` (unchecked.c:11: path->weight = 1;): r0 may be",
        ),
        ("outside", "8 bytes at an offset from 0 to 64 are not within the 64 bytes of .bss"),
        ("kept", "a path that may be NULL is good for this call only"),
        ("context", "bytes of struct tquic_sched_ctx is read only"),
        ("identity", "path_id of struct tquic_path is read only"),
        ("helper", "helper function number 5 is not available"),
        ("unknown", "there is no function bpf_tquic_path_get_price"),
        ("map", "counts is a map; there are none here"),
        ("atomic", "atomic operations are not supported"),
        ("recursion", "sum (select_path), instruction 6, `call -7` (recursion.c:"),
        ("stack", "this part of the stack was never written"),
        ("constant", "this global variable is read only"),
    ] {
        let object = fixture(&format!("bad/{name}"));
        let error = Program::load(&object).expect_err(name).to_string();
        assert!(error.contains(message), "{name}: {error}");
    }
}

#[test]
fn a_program_without_end_is_stopped_by_its_fuel() {
    let program = Arc::new(Program::load(&fixture("bad/endless")).unwrap());
    let packet =
        PacketContext { stream_id: None, bytes: 1, ack_eliciting: false, retransmission: false };
    for backend in [Backend::Fastest, Backend::Interpreter] {
        let mut scheduler = Instance::new(&program, backend);
        let mut paths = [PathSnapshot::default()];
        assert_eq!(scheduler.select_path(&mut paths, &packet), Err(Fault::OutOfFuel));
        // And again: it is the caller who gives up.
        assert_eq!(scheduler.select_path(&mut paths, &packet), Err(Fault::OutOfFuel));
    }
}

#[test]
fn a_path_that_cannot_be_used_is_not_chosen() {
    // Returns the first path, whatever it is.
    let code = [
        insn(0x79, 1, 1, 0, 0),
        insn(0xb7, 2, 0, 0, 0),
        insn(0x85, 0, 2, 0, -1),
        insn(0x95, 0, 0, 0, 0),
    ];
    let object = Object::select(&code).relocate(2, "bpf_tquic_path_next", CALL).build();
    let program = Arc::new(Program::load(&object).unwrap());
    let mut scheduler = Instance::new(&program, Backend::Fastest);
    let packet =
        PacketContext { stream_id: None, bytes: 1, ack_eliciting: false, retransmission: false };
    let mut paths = [PathSnapshot { schedulable: 1, ..PathSnapshot::default() }];
    assert_eq!(scheduler.select_path(&mut paths, &packet), Err(Fault::UnusablePath(0)));
}

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// `r0 = 0`.
const ZERO: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

fn select(code: &[[u8; 8]]) -> Object {
    Object::select(code)
}

#[test]
fn unsafe_code() {
    for (code, message) in [
        (&[EXIT][..], "must return a path or NULL, and r0 holds nothing"),
        (&[insn(0xb7, 0, 0, 0, 1), EXIT], "must return a path or NULL, and r0 holds the number 1"),
        (&[insn(0xbf, 0, 1, 0, 0), EXIT], "r0 holds a pointer into the arguments"),
        (&[ZERO], "instruction 0, `r0 = 0`: the function ends here without `exit`"),
        (&[insn(0x05, 0, 0, 5, 0), EXIT], "a jump by +5 leaves the function"),
        (&[insn(0x05, 0, 0, -9, 0), EXIT], "a jump by -9 leaves the function"),
        (&[insn(0xbf, 0, 7, 0, 0), EXIT], "r7 holds nothing here"),
        (&[insn(0xb7, 10, 0, 0, 0), EXIT], "r10, the frame pointer, is read only"),
        (&[insn(0xb7, 11, 0, 0, 0), EXIT], "there is no register r11"),
        (&[insn(0xff, 0, 0, 0, 0), EXIT], "there is no instruction with code 0xff"),
        (&[insn(0x79, 0, 10, -520, 0), EXIT], "8 bytes at offset -8 are not within the 512 bytes"),
        (&[insn(0x7a, 10, 0, -4, 0), EXIT], "8 bytes at offset 508 are not within the 512 bytes"),
        (&[insn(0x7b, 10, 10, -12, 0), EXIT], "a pointer is kept in 8 aligned bytes"),
        (&[insn(0x79, 0, 1, 16, 0), EXIT], "select_path has 2 arguments, none with number 2"),
        (&[insn(0x79, 0, 1, -8, 0), EXIT], "select_path has 2 arguments"),
        (&[insn(0x61, 0, 1, 0, 0), EXIT], "an argument is read in part"),
        (&[insn(0x7a, 1, 0, 0, 0), EXIT], "the arguments are read only"),
        (&[insn(0xb7, 2, 0, 0, 0), insn(0x79, 0, 2, 0, 0), EXIT], "r2 is NULL here"),
        (&[insn(0xb7, 2, 0, 0, 64), insn(0x79, 0, 2, 0, 0), EXIT], "r2 holds the number 64"),
        (&[insn(0x0f, 1, 10, 0, 0), EXIT], "is calculated with; a pointer can only be moved"),
        (&[insn(0x04, 1, 0, 0, 1), EXIT], "is calculated with; a pointer can only be moved"),
        (&[insn(0x84, 1, 0, 0, 0), EXIT], "which cannot be negated"),
        (&[insn(0xbc, 2, 1, 0, 0), EXIT], "is cut to 32 bits"),
        (&[insn(0x25, 1, 0, 0, 9), EXIT], "is compared with the number 9"),
        (&[insn(0x67, 0, 0, 0, 64), EXIT], "a shift by 64 bits of 64"),
        (&[insn(0x37, 0, 0, 0, 0), EXIT], "a division by zero"),
        (&[insn(0x3f, 0, 1, 1, 0), EXIT], "compile with -mcpu=v3"),
        (&[insn(0x18, 0, 0, 0, 0), EXIT], "a 64-bit constant lacks its second half"),
        (&[insn(0x18, 0, 1, 0, 0), insn(0, 0, 0, 0, 0), EXIT], "an address of a map"),
        (
            &[insn(0x05, 0, 0, 1, 0), insn(0x18, 0, 0, 0, 0), insn(0, 0, 0, 0, 0), EXIT],
            "instruction 0: a jump into the middle of a 64-bit constant",
        ),
        (&[insn(0x85, 0, 1, 0, 100), EXIT], "no function begins at byte 808"),
        (&[insn(0x85, 0, 1, 0, -2), EXIT], "a call to nowhere"),
        (&[insn(0x85, 0, 1, 0, -1), EXIT], "a function that is still running is called"),
        (&[insn(0x85, 0, 2, 0, 7), EXIT], "by its number"),
    ] {
        refused(&select(code).build(), message);
    }
}

#[test]
fn calls_with_wrong_arguments() {
    let call = insn(0x85, 0, 2, 0, -1);
    let can_send = |code: &[[u8; 8]]| {
        select(code).relocate(code.len() - 2, "bpf_tquic_path_can_send", CALL).build()
    };
    let sched = insn(0x79, 1, 1, 0, 0);
    refused(&can_send(&[sched, call, EXIT]), "argument 1 must be a path that is not NULL");
    refused(&can_send(&[insn(0xb7, 1, 0, 0, 0), call, EXIT]), "and r1 holds the number 0");
    let next = |code: &[[u8; 8]]| {
        select(code).relocate(code.len() - 2, "bpf_tquic_path_next", CALL).build()
    };
    refused(&next(&[call, EXIT]), "argument 1 must be the scheduler");
    refused(&next(&[sched, call, EXIT]), "r2 holds nothing here");
    refused(&next(&[sched, insn(0xb7, 2, 0, 0, 8), call, EXIT]), "must be a path or NULL");
    // Not the scheduler any more.
    let moved = [sched, insn(0x07, 1, 0, 0, 8), insn(0xb7, 2, 0, 0, 0), call, EXIT];
    refused(&next(&moved), "argument 1 must be the scheduler");
    // A handle that was moved into its struct, returned.
    let check =
        [sched, insn(0xb7, 2, 0, 0, 0), call, insn(0x15, 0, 0, 1, 0), insn(0x07, 0, 0, 0, 4), EXIT];
    refused(&select(&check).relocate(2, "bpf_tquic_path_next", CALL).build(), "must return a path");
}

#[test]
fn a_returned_stack_is_gone() {
    let mut object = select(&[insn(0x85, 0, 1, 0, -1), insn(0x79, 0, 0, -8, 0), EXIT]);
    object.function("dangling", &[insn(0x7a, 10, 0, -8, 0), insn(0xbf, 0, 10, 0, 0), EXIT]);
    refused(&object.relocate(0, "dangling", CALL).build(), "r0 holds nothing here");
}

#[test]
fn too_many_frames_ways_and_instructions() {
    let mut deep = select(&[insn(0x85, 0, 1, 0, -1), ZERO, EXIT]).relocate(0, "f0", CALL);
    for number in 0..8 {
        let start = deep.function(&format!("f{number}"), &[insn(0x85, 0, 1, 0, -1), ZERO, EXIT]);
        deep = deep.relocate(start / 8, &format!("f{}", number + 1), CALL);
    }
    deep.function("f8", &[ZERO, EXIT]);
    refused(&deep.build(), "calls go deeper than 8 functions");

    refused(&select(&vec![ZERO; 16_385]).build(), "more than 16384 instructions");

    // Each branch doubles what may be known of the stack, and calls keep the ways apart.
    let mut code = vec![insn(0x79, 6, 1, 8, 0), insn(0x79, 6, 6, 0, 0)];
    for slot in 1..=60 {
        code.push(insn(0x7a, 10, 0, -8 * slot, 0));
    }
    for round in 0..400 {
        let slot = 1 + round % 60;
        code.push(insn(0x67, 6, 0, 0, 1));
        code.push(insn(0xc5, 6, 0, 1, 0));
        code.push(insn(0x7a, 10, 0, -8 * slot, i32::from(round)));
    }
    code.extend([ZERO, EXIT]);
    refused(&select(&code).build(), "too complex to be verified");
}

#[test]
fn files_that_are_something_else() {
    let good = select(&[ZERO, EXIT]).build();
    Program::load(&good).unwrap();
    refused(b"", "not an ELF file");
    refused(b"#!/bin/sh\n", "not an ELF file");
    refused(&good[..40], "the ELF header is cut off");
    refused(&vec![0; (4 << 20) + 1], "at most 4194304 are read");
    let with = |at: usize, bytes: &[u8]| {
        let mut object = good.clone();
        object[at..at + bytes.len()].copy_from_slice(bytes);
        object
    };
    refused(&with(4, &[1]), "not a 64-bit little-endian ELF file");
    refused(&with(5, &[2]), "not a 64-bit little-endian ELF file");
    refused(&with(18, &[62, 0]), "for another machine; compile with -target bpf");
    refused(&with(16, &[3, 0]), "linked already");
    refused(&with(40, &[0xff; 8]), "the table of sections lies outside of the file");
    refused(&with(60, &[0xff, 0xff]), "a table of 65535 sections");
    refused(&with(62, &[0xff, 0x00]), "the names of the sections lie outside of the file");
    // The second section's offset and size.
    let table = u64::from_le_bytes(good[40..48].try_into().unwrap()) as usize;
    refused(&with(table + 64 + 24, &[0xff; 8]), "section 1 (struct_ops) lies outside of the file");
    refused(&with(table + 64 + 32, &[0xff; 8]), "section 1 (struct_ops) lies outside of the file");
    refused(&with(table + 64, &[0xff; 4]), "section 1 has no valid name");
    // Relocations without number, by sections that are all the same one.
    let mut many = select(&[ZERO, EXIT]);
    many.relocations = vec![(800, "x".into(), CALL); 65_537];
    refused(&many.build(), "section .relstruct_ops makes it more than 65536 relocations");
}

#[test]
fn schedulers_that_are_none() {
    let mut unnamed = select(&[ZERO, EXIT]);
    unnamed.name.clear();
    refused(&unnamed.build(), "it must have 1 to 15 printable ASCII characters");
    unnamed.name = vec![b'x'; 16];
    refused(&unnamed.build(), "it must have 1 to 15 printable ASCII characters");
    unnamed.name = b"a\nb".to_vec();
    refused(&unnamed.build(), "it must have 1 to 15 printable ASCII characters");
    unnamed.name = vec![b'x'; 80];
    refused(&unnamed.build(), "it must have 1 to 15 printable");

    let mut idle = select(&[ZERO, EXIT]);
    idle.callbacks = vec![(0, 0)];
    refused(&idle.build(), "scheduler drawn has no function select_path");
    idle.callbacks = vec![(7, 0)];
    refused(&idle.build(), "a relocation of kind 2 at offset 72 is no function pointer");

    let mut cut = select(&[ZERO, EXIT]);
    cut.functions[0].1 = 0..12;
    refused(&cut.build(), "function select does not lie in a section of code");
    cut.functions[0].1 = 0..usize::MAX;
    refused(&cut.build(), "function select does not lie in a section of code");
}

#[test]
fn relocations_that_make_no_sense() {
    let address = [insn(0x18, 1, 0, 0, 0), insn(0, 0, 0, 0, 0), ZERO, EXIT];
    for (symbol, kind, message) in [
        ("select", TO_DATA, "pointers to functions are not supported"),
        ("ops", TO_DATA, "which holds no global variables"),
        ("missing", TO_DATA, "missing is not defined in this object"),
        (".bss", TO_FUNCTION, "a relocation of kind 2 for an address"),
    ] {
        refused(&select(&address).relocate(0, symbol, kind).build(), message);
    }
    let call = [insn(0x85, 0, 1, 0, -1), ZERO, EXIT];
    refused(&select(&call).relocate(0, ".bss", CALL).build(), "no function begins at byte 0");
    refused(&select(&call).relocate(0, "select", TO_DATA).build(), "of kind 1 for a call");
    refused(&select(&call).relocate(1, "select", CALL).build(), "neither a call nor an address");
    let mut huge = select(&address).relocate(0, ".bss", TO_DATA);
    huge.bss = 65_537;
    refused(&huge.build(), "at most 65536 of global variables");
    huge.bss = usize::MAX;
    refused(&huge.build(), "at most 65536 of global variables");
}

#[test]
fn cut_off_and_spoilt_objects_do_no_harm() {
    let object = fixture("guide");
    for len in 0..object.len() {
        let kept = &object[..len];
        if let Ok(_) | Err(LoadError::Unsafe(_)) = Program::load(kept) {
            panic!("cut off at {len}, it is still an object");
        }
    }
    let small = select(&[insn(0x79, 6, 1, 0, 0), ZERO, EXIT]).build();
    for at in 0..small.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut spoilt = small.clone();
            spoilt[at] = byte;
            // Whatever comes of it is safe to run.
            let _ = exercise(&spoilt, &mut Source(&[7; 40]));
        }
    }
}
