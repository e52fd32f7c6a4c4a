//! Hands the target triple, which only Cargo knows, to the crate for `build_info`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo always sets TARGET for build scripts.
    let target = std::env::var("TARGET").expect("TARGET is set by Cargo");
    println!("cargo::rustc-env=TQUIC_TARGET={target}");
}
