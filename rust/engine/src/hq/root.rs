//! The folder that a server serves, and nothing outside of it.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// A folder whose files may be served. It is opened once: renaming it later changes nothing.
#[derive(Debug)]
pub struct Root {
    /// Without symbolic links, to compare with.
    path: PathBuf,
    #[cfg(target_os = "linux")]
    folder: File,
}

/// A file to send.
#[derive(Debug)]
pub struct Found {
    /// Opened for reading.
    pub file: File,
    /// Its size when it was opened, in bytes.
    pub size: u64,
}

impl Root {
    /// Opens a folder.
    ///
    /// # Errors
    ///
    /// If it is none, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if !path.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        // Shows now, not at the first request, that it may not be read.
        path.read_dir()?;
        Ok(Self {
            #[cfg(target_os = "linux")]
            folder: File::open(&path)?,
            path,
        })
    }

    /// The folder's path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file that these parts of a path lead to. Symbolic links are followed as long as
    /// they stay inside the folder.
    ///
    /// # Errors
    ///
    /// If there is no such file, it is no regular one, or it lies outside.
    pub fn find(&self, parts: &[Vec<u8>]) -> io::Result<Found> {
        let (file, metadata) = self.open_parts(parts)?;
        if !metadata.is_file() {
            return Err(not_regular());
        }
        Ok(Found { file, size: metadata.len() })
    }

    /// The same for a file or a folder.
    ///
    /// # Errors
    ///
    /// If there is neither, or it lies outside.
    pub fn open_parts(&self, parts: &[Vec<u8>]) -> io::Result<(File, Metadata)> {
        let mut path = PathBuf::new();
        for part in parts {
            path.push(name(part)?);
        }
        let file = self.open_below(&path)?;
        let metadata = file.metadata()?;
        // Devices and pipes have no end, or block.
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(not_regular());
        }
        Ok((file, metadata))
    }

    /// One call that the kernel carries out without a moment in which a link could change.
    #[cfg(target_os = "linux")]
    fn open_below(&self, path: &Path) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        use rustix::io::Errno;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match openat2(&self.folder, at, flags, Mode::empty(), resolve) {
            Ok(file) => Ok(File::from(file)),
            // Linux before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.open_checked(path),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn open_below(&self, path: &Path) -> io::Result<File> {
        self.open_checked(path)
    }

    /// Resolves first and opens then. Someone who may write into the folder could change it in
    /// between, and read what this process may read.
    fn open_checked(&self, path: &Path) -> io::Result<File> {
        let path = self.path.join(path).canonicalize()?;
        let outside = || io::Error::new(io::ErrorKind::PermissionDenied, "outside of the folder");
        path.strip_prefix(&self.path).map_err(|_| outside())?;
        // A pipe without a writer would block the opening of it.
        let metadata = path.metadata()?;
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(not_regular());
        }
        File::open(path)
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "not a regular file")
}

#[cfg(unix)]
fn name(part: &[u8]) -> io::Result<&std::ffi::OsStr> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(part))
}

#[cfg(not(unix))]
fn name(part: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(part).map_err(|_| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::hq::testing::Folder;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn parts(path: &str) -> Vec<Vec<u8>> {
        path.split('/').map(|p| p.as_bytes().to_vec()).collect()
    }

    fn scene() -> (Folder, Root) {
        let folder = Folder::new();
        let www = folder.path().join("www");
        fs::create_dir_all(www.join("sub")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        fs::write(www.join("file"), "file").unwrap();
        fs::write(www.join("sub/file"), "below").unwrap();
        symlink("sub/file", www.join("inside")).unwrap();
        symlink("../secret", www.join("outside")).unwrap();
        symlink("/etc/passwd", www.join("absolute")).unwrap();
        symlink("..", www.join("up")).unwrap();
        symlink("/proc/self/root/etc/passwd", www.join("magic")).unwrap();
        let root = Root::open(&www).unwrap();
        (folder, root)
    }

    #[test]
    fn files_below_are_found() {
        let (_folder, root) = scene();
        for (path, content) in [("file", "file"), ("sub/file", "below"), ("inside", "below")] {
            let mut found = root.find(&parts(path)).unwrap();
            let mut text = String::new();
            found.file.read_to_string(&mut text).unwrap();
            assert_eq!(text, content);
            assert_eq!(found.size, content.len() as u64);
            assert!(root.open_checked(Path::new(path)).is_ok(), "{path}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let (_folder, root) = scene();
        let pipe = root.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from(0o600),
            0,
        )
        .unwrap();
        for path in ["outside", "absolute", "up/secret", "magic", "missing", "pipe", ".."] {
            assert!(root.find(&parts(path)).is_err(), "{path}");
            assert!(root.open_parts(&parts(path)).is_err(), "{path}");
            assert!(root.open_checked(Path::new(path)).is_err(), "{path} checked");
        }
        assert!(root.find(&parts("sub")).is_err(), "a folder");
        assert!(root.find(&[]).is_err(), "the folder itself");
        assert!(root.find(&[b"file\0".to_vec()]).is_err());
    }

    #[test]
    fn folders_below_are_opened() {
        let (_folder, root) = scene();
        assert!(root.open_parts(&parts("sub")).unwrap().1.is_dir());
        assert!(root.open_parts(&[]).unwrap().1.is_dir());
        assert!(root.open_parts(&parts("sub/file")).unwrap().1.is_file());
        assert!(root.open_parts(&parts("up")).is_err());
    }

    #[test]
    fn a_root_must_be_a_folder() {
        let (_folder, root) = scene();
        assert!(Root::open(&root.path().join("file")).is_err());
        assert!(Root::open(&root.path().join("missing")).is_err());
    }
}
