//! The socket at which a process tells of itself.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Snapshot, write};
use crate::shard::{Command, Inbox};

/// How long a shard is waited for, and then whoever asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after an error of `accept`: descriptors may be short.
const PAUSE: Duration = Duration::from_millis(100);

/// Numbers the engines of a process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The thread that answers, and its socket. Dropped, both are gone.
pub(crate) struct Live {
    path: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    process: u32,
}

impl Live {
    /// Begins to answer for these shards.
    pub fn start(inboxes: &[Arc<Inbox>]) -> io::Result<Self> {
        let folder = folder()?;
        let process = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{process}-{number}.sock"));
        // One who had our process number before was killed.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let over = Arc::new(AtomicBool::new(false));
        let (inboxes, told) = (inboxes.to_vec(), over.clone());
        let thread = thread::Builder::new()
            .name("tquic-live".to_owned())
            .spawn(move || serve(&listener, &inboxes, &told))?;
        Ok(Self { path, over, thread: Some(thread), process })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // The thread and the socket are those of the process that forked.
            return std::mem::forget(self.thread.take());
        }
        self.over.store(true, Ordering::Release);
        // Wakes it; if that fails it is not there any more.
        let woken = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, inboxes: &[Arc<Inbox>], over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) if !over.load(Ordering::Acquire) => {
                // Who goes away early has seen enough.
                let _ = answer(stream, inboxes);
            }
            Ok(_) => {}
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn answer(mut stream: UnixStream, inboxes: &[Arc<Inbox>]) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let shards = ask(inboxes, super::MOST);
    stream.write_all(write(&shards).as_bytes())
}

/// Asks every shard; those that have ended, or are too busy to answer, are left out.
fn ask(inboxes: &[Arc<Inbox>], most: usize) -> Vec<Snapshot> {
    let question = |inbox: &Arc<Inbox>| {
        let (reply, answer) = sync_channel(1);
        inbox.push(Command::Snapshot { most, reply }).ok().map(|()| answer)
    };
    let answers: Vec<Receiver<Snapshot>> = inboxes.iter().filter_map(question).collect();
    answers.iter().filter_map(|answer| answer.recv_timeout(PATIENCE).ok()).collect()
}

/// The folder for sockets: `TQUIC_RUNTIME_DIR`, or `tquic` in `XDG_RUNTIME_DIR`, or `/tmp/tquic-UID`.
/// Nobody but the user can enter it.
fn folder() -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = set("TQUIC_RUNTIME_DIR")
        .or_else(|| set("XDG_RUNTIME_DIR").map(|dir| dir.join("tquic")))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/tquic-{user}")));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    check(&folder, user)?;
    Ok(folder)
}

/// Somebody else may have made it first, in `/tmp`, to listen in.
fn check(folder: &Path, user: u32) -> io::Result<()> {
    let facts = fs::symlink_metadata(folder)?;
    let private = facts.is_dir() && facts.uid() == user && facts.mode() & 0o077 == 0;
    match private {
        true => Ok(()),
        false => {
            let why = format!("{} is not a folder of this user alone", folder.display());
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_folder_of_ones_own_is_used() {
        let user = rustix::process::geteuid().as_raw();
        let folder = std::env::temp_dir().join(format!("tquic-live-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        assert!(check(&folder, user).is_ok());
        assert!(check(&folder, user + 1).is_err());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check(&folder, user).is_err());
        fs::remove_dir(&folder).unwrap();
        assert!(check(&folder, user).is_err());
    }
}
