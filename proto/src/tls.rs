//! Shakes hands by TLS with servers of Mesos: whose certificates are believed, and which one is shown.
//!
//! By rustls; with the build feature `openssl` by OpenSSL, which still has the ciphers that Mesos offers by default.
#[cfg(feature = "openssl")]
mod by_openssl;
#[cfg(not(feature = "openssl"))]
mod by_rustls;

#[cfg(feature = "openssl")]
pub use by_openssl::Tls;
#[cfg(not(feature = "openssl"))]
pub use by_rustls::Tls;
use std::path::{Path, PathBuf};

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("`{}` is no PEM file with {what}: {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The parts do not fit together.
    #[error("the certificate to show cannot be used: {0}")]
    Unusable(String),
}

/// Which servers are talked to.
#[derive(Clone, Copy, Debug)]
pub enum Believed<'a> {
    /// Those whose certificate is signed by one in these files, and has the name that is asked for.
    SignedBy(&'a [PathBuf]),
    /// Any. What is said is hidden from those who only listen, and that is all.
    Any,
}

/// The files that settings name.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Whose certificates are believed.
    pub believed: Believed<'a>,
    /// The certificate that we show, with those that sign it, and its key.
    pub shown: Option<(&'a Path, &'a Path)>,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The two have no cipher in common.
    NoCommonCipher,
    /// The server wants a certificate, and none was shown.
    CertificateWanted,
    /// What signed the server's certificate is not known.
    UnknownSigner,
    /// The server does not talk TLS.
    NotTls,
    /// Something else, which the error says.
    Other,
}

/// A handshake that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no TLS: {said}")]
pub struct NoTls {
    /// In the words of who found it.
    pub said: String,
    /// What is behind it.
    pub cause: Cause,
}

fn file(path: &Path, what: &'static str, why: &str) -> TlsError {
    TlsError::File { path: path.to_owned(), what, why: why.to_owned() }
}
