//! Files of TLS secrets, in the NSS key log format.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use tquic_crypto::session::KeyLogLine;

type Open = Mutex<HashMap<PathBuf, Weak<Mutex<File>>>>;

/// Open files, so that configurations with the same one share it and lines do not mix.
static OPEN: LazyLock<Open> = LazyLock::new(Open::default);

/// Appends lines to the file, which is made if it is not there.
pub fn append_to(path: &Path) -> io::Result<KeyLogLine> {
    let file = open(path)?;
    Ok(Arc::new(move |line: &str| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // In one write, for other processes may append as well. A full disk must not end
        // connections: the log is for debugging.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }))
}

fn open(path: &Path) -> io::Result<Arc<Mutex<File>>> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = open.get(path).and_then(Weak::upgrade) {
        return Ok(file);
    }
    open.retain(|_, file| file.strong_count() > 0);
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // Whoever reads it reads the connections.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = Arc::new(Mutex::new(options.open(path)?));
    open.insert(path.to_owned(), Arc::downgrade(&file));
    Ok(file)
}
