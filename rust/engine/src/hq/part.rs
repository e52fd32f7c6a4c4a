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
    /// Makes the file, or empties what an earlier attempt left.
    pub fn create(path: &Path) -> io::Result<(Self, File)> {
        let mut part = OsString::from(path);
        part.push(SUFFIX);
        let part = PathBuf::from(part);
        let file = File::create(&part)?;
        Ok((Self { part, path: path.to_owned() }, file))
    }

    /// The file is whole: it replaces what had its name.
    pub fn finish(self) -> io::Result<()> {
        fs::rename(&self.part, &self.path)
    }

    /// Its content is of no use.
    pub fn discard(self) {
        // What cannot be removed still has a name that tells what it is.
        let _ = fs::remove_file(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hq::testing::Folder;
    use std::io::Write;

    #[test]
    fn the_name_appears_with_the_last_byte() {
        let folder = Folder::new();
        let path = folder.path().join("name.txt");
        fs::write(&path, "old").unwrap();
        let (part, mut file) = PartFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read(folder.path().join("name.txt.part")).unwrap(), b"new");
        part.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let (part, _) = PartFile::create(&path).unwrap();
        part.discard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
