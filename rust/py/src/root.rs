//! A folder to serve, for servers in Python: under the rules of the one in Rust.

use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use tquic_engine::hq;

use crate::error;

/// A folder whose files may be opened, and nothing outside of it.
#[pyclass(frozen, module = "tquic._engine")]
pub struct Root(hq::Root);

/// Descriptor, whether it is a folder, size, and nanoseconds from 1970 to its last change.
type Opened = (i32, bool, u64, i64);

#[pymethods]
impl Root {
    #[new]
    #[pyo3(signature = (path, /))]
    fn new(path: PathBuf) -> PyResult<Self> {
        Ok(Self(hq::Root::open(&path).map_err(|why| error::file(why, &path))?))
    }

    #[getter]
    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Opens the file or folder at these parts of a path; the descriptor is the caller's.
    #[pyo3(signature = (parts, /))]
    fn open(&self, parts: Vec<Vec<u8>>) -> PyResult<Opened> {
        let (file, metadata) = self.0.open_parts(&parts)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = i64::try_from(modified.as_nanos()).unwrap_or(i64::MAX);
        Ok((file.into_raw_fd(), metadata.is_dir(), metadata.len(), modified))
    }
}

/// The parts of a request's path, decoded: none is empty, `.`, `..` or has a separator in it.
#[pyfunction]
#[pyo3(signature = (target, /))]
pub fn path_parts(target: &[u8]) -> PyResult<Vec<Vec<u8>>> {
    hq::path_parts(target).map_err(|why| PyValueError::new_err(why.to_string()))
}
