//! The CA certificates of the operating system.

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::{Authority, NAME, NOW, Pair};
use tquic_crypto::{ClientConfig, ServerConfig};

/// Names the directory with the files, in the process that `ask` starts.
const DIRECTORY: &str = "TQUIC_TEST_SYSTEM_ROOTS";

/// Runs the test `child` in a process of its own, which sees `ca` as the system's CA file: a
/// process cannot safely change its own environment.
fn ask(ca: &Path, directory: &Path) -> bool {
    Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--ignored", "--exact", "child"])
        .env(DIRECTORY, directory)
        .env("SSL_CERT_FILE", ca)
        .env("SSL_CERT_DIR", directory.join("none"))
        .output()
        .expect("the program starts")
        .status
        .success()
}

#[test]
fn the_systems_file_decides() {
    let directory = std::env::temp_dir().join(format!("tquic-roots-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let identity = ours.server(&[NAME]);
    std::fs::write(directory.join("ours.pem"), ours.pem()).unwrap();
    std::fs::write(directory.join("other.pem"), other.pem()).unwrap();
    std::fs::write(directory.join("chain.pem"), identity.chain).unwrap();
    std::fs::write(directory.join("key.pem"), identity.key).unwrap();
    let answers = [
        ask(&directory.join("ours.pem"), &directory),
        ask(&directory.join("other.pem"), &directory),
        ask(&directory.join("missing.pem"), &directory),
    ];
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(answers, [true, false, false]);
}

/// Connects with the system's roots to the server whose files the directory holds.
#[test]
#[ignore = "run by the other test, with an environment"]
fn child() {
    let directory = std::env::var(DIRECTORY).unwrap();
    let read = |name: &str| std::fs::read(Path::new(&directory).join(name)).unwrap();
    let server = ServerConfig::builder()
        .certificate(&read("chain.pem"), &read("key.pem"))
        .unwrap()
        .alpn(&["h3"])
        .build()
        .unwrap();
    let client = ClientConfig::builder()
        .system_roots()
        .unwrap()
        .alpn(&["h3"])
        .clock(Arc::new(|| NOW))
        .build()
        .unwrap();
    Pair::connected(&client, &server);
}
