//! Machine code for verified programs, on x86-64 Linux; everything else is interpreted.
//!
//! Its safety does not rest on the verifier alone. Every access to memory goes through one sequence
//! that cuts the address to the size of the arena, every jump goes to the beginning of a translated
//! instruction, what the verifier found out of reach stops the call, and going back or calling
//! costs fuel. So the worst that a program which should have been rejected can do is to spoil its
//! own connection's memory. The pages are written first and made executable then, never both.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod asm;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod none;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod pages;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod x86_64;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) use none::Code;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use x86_64::Code;
