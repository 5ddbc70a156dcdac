//! Listens on a Unix socket at a path of any length.

use crate::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use tokio::net::UnixListener;

/// Listens at `path`, in place of whatever an earlier run has left there.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |doing: &'static str| move |source| Error::File { doing, path: path.to_owned(), source };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove what an earlier run has left at")(error));
        }
        _ => {}
    }
    bind(path).map_err(failed("listen on"))
}

/// The address of a Unix socket has room for 108 bytes, so a long path is named by its directory's descriptor.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixListener::bind(path);
    };
    let directory = File::open(parent)?;
    UnixListener::bind(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}
