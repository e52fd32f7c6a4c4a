//! What a probe leaves in the binary: a `nop`, and a note in the section `.note.stapsdt` as SystemTap
//! defined it and every tool reads it. A tool finds the `nop` by the note, puts a breakpoint there, and
//! reads the arguments from the registers that the note names.

use core::sync::atomic::{AtomicU16, Ordering};

use super::Probe;

const PROBES: usize = Probe::ALL.len();

/// How many are attached to each probe. The kernel, or the tool through `/proc/PID/mem`, writes here;
/// this program only reads.
// SAFETY: the section is an ordinary one of writable data, and what lies in it has no destructor and no
// alignment beyond that of its type. Tools find the counters by the address in the note.
#[unsafe(link_section = ".probes")]
#[used]
pub(super) static SEMAPHORES: [AtomicU16; PROBES] = [const { AtomicU16::new(0) }; PROBES];

pub(super) fn is_attached(probe: usize) -> bool {
    SEMAPHORES.get(probe).is_some_and(|semaphore| semaphore.load(Ordering::Relaxed) > 0)
}

/// What stands before a register's name in a note: tools expect it as AT&T's syntax has it.
#[cfg(target_arch = "x86_64")]
macro_rules! register {
    () => {
        "%"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! register {
    () => {
        ""
    };
}

/// The site of a probe, in a function that is not inlined: one note for each probe. Arguments are
/// 64-bit integers, written as `8@REGISTER`.
macro_rules! site {
    ($name:ident, $first:ident $(, $arg:ident)*) => {
        // SAFETY: the code is a `nop`. It reads and changes nothing; the rest describes its place to
        // tools, in sections that are not code. Registers are inputs only.
        unsafe {
            core::arch::asm!(
                "990: nop",
                ".pushsection .note.stapsdt, \"\", \"note\"",
                ".balign 4",
                // Lengths of name and descriptor, type 3.
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                // Where the probe is, where a section was at link time, where the semaphore is.
                "993: .8byte 990b",
                ".8byte _.stapsdt.base",
                ".8byte {semaphores} + {semaphore_at}",
                ".asciz \"tquic\"",
                concat!(".asciz \"", stringify!($name), "\""),
                concat!(
                    ".asciz \"8@", site::register!(), "{", stringify!($first), "}",
                    $(" 8@", site::register!(), "{", stringify!($arg), "}",)* "\""
                ),
                "994: .balign 4",
                ".popsection",
                // By this section tools see how far a prelinker has moved the program.
                ".ifndef _.stapsdt.base",
                // Nothing else refers to it: R keeps the linker from dropping it.
                ".pushsection .stapsdt.base, \"aGR\", \"progbits\", .stapsdt.base, comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base, 1",
                ".popsection",
                ".endif",
                semaphores = sym crate::probes::site::SEMAPHORES,
                semaphore_at = const 2 * (crate::probes::Probe::$name as usize),
                $first = in(reg) $first,
                $($arg = in(reg) $arg,)*
                options(nostack, preserves_flags, readonly),
            );
        }
    };
}
pub(super) use {register, site};
