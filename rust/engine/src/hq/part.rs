//! Files that get their name only when they are whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Appended to the name while bytes are missing.
const SUFFIX: &str = ".part";

/// A file under way: `NAME.part` until `finish`.
#[derive(Debug)]
pub(super) struct PartFile {
    part: PathBuf,
    path: PathBuf,
}

impl PartFile {
    /// Makes the file, or empties what an earlier attempt left. It stays locked, where files can be,
    /// so that two programs do not write the same.
    /// `origin` is written down beside its content, where the system can.
    pub fn create(path: &Path, origin: Option<&str>) -> io::Result<(Self, File)> {
        let mut part = OsString::from(path);
        part.push(SUFFIX);
        let part = PathBuf::from(part);
        let file = File::options().write(true).create(true).truncate(false).open(&part)?;
        if is_locked(&file) {
            let why = format!("another program is writing {}", part.display());
            return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
        }
        file.set_len(0)?;
        if let Some(origin) = origin {
            mark(&file, origin);
        }
        Ok((Self { part, path: path.to_owned() }, file))
    }

    /// The file is whole: it replaces what had its name.
    pub fn finish(self) -> io::Result<()> {
        unmark(&self.part);
        fs::rename(&self.part, &self.path)
    }

    /// Its content is of no use.
    pub fn discard(self) {
        // What cannot be removed still has a name that tells what it is.
        let _ = fs::remove_file(&self.part);
    }
}

/// The extended attribute that says what a partial file is a part of.
#[cfg(target_os = "linux")]
const ORIGIN: &str = "user.tquic.origin";

#[cfg(target_os = "linux")]
fn mark(file: &File, origin: &str) {
    // A file system without attributes is no reason not to store a file.
    let _ = rustix::fs::fsetxattr(file, ORIGIN, origin.as_bytes(), rustix::fs::XattrFlags::empty());
}

#[cfg(target_os = "linux")]
fn unmark(path: &Path) {
    // There may be none.
    let _ = rustix::fs::removexattr(path, ORIGIN);
}

/// Locks the file; whether somebody else has.
#[cfg(target_os = "linux")]
fn is_locked(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock};
    // A file system without locks is no reason not to store a file.
    flock(file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK)
}

#[cfg(not(target_os = "linux"))]
fn is_locked(_file: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn mark(_file: &File, _origin: &str) {}

#[cfg(not(target_os = "linux"))]
fn unmark(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hq::testing::Folder;
    use std::io::Write;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let folder = Folder::new();
        let path = folder.path().join("name.txt");
        let (first, mut file) = PartFile::create(&path, Some("https://x/")).unwrap();
        file.write_all(b"first").unwrap();
        let error = PartFile::create(&path, Some("https://x/")).unwrap_err();
        assert!(error.to_string().contains("name.txt.part"), "{error}");
        assert_eq!(fs::read(folder.path().join("name.txt.part")).unwrap(), b"first");
        drop(file);
        // What an earlier attempt left is emptied.
        let (again, file) = PartFile::create(&path, Some("https://x/")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        drop((first, again));
    }

    #[test]
    fn the_name_appears_with_the_last_byte() {
        let folder = Folder::new();
        let path = folder.path().join("name.txt");
        fs::write(&path, "old").unwrap();
        let (part, mut file) = PartFile::create(&path, Some("https://x/")).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read(folder.path().join("name.txt.part")).unwrap(), b"new");
        part.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let (part, _) = PartFile::create(&path, Some("https://x/")).unwrap();
        part.discard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
