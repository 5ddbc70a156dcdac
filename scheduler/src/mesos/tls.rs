//! Talks TLS to masters: who signs their certificates, and which certificate we show.
//!
//! By rustls; with the build feature `openssl` by OpenSSL, which still has the ciphers that Mesos offers by default.
#[cfg(feature = "openssl")]
mod by_openssl;
#[cfg(not(feature = "openssl"))]
mod by_rustls;

#[cfg(feature = "openssl")]
pub(crate) use by_openssl::Tls;
#[cfg(not(feature = "openssl"))]
pub(crate) use by_rustls::Tls;
use std::path::{Path, PathBuf};

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody said whom to believe.
    #[error(
        "the masters are to be reached with TLS; name the certificates that sign theirs with --master-ca"
    )]
    NoAuthority,
    /// One of certificate and key is missing.
    #[error("--master-cert and --master-key belong together; give both or none")]
    Half,
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
    #[error("the certificate for masters cannot be used: {0}")]
    Unusable(String),
}

/// A certificate and its key.
type Identity<'a> = (&'a Path, &'a Path);

/// The files that the settings name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files<'a> {
    /// The certificates that sign the masters'.
    pub(crate) authority: Option<&'a Path>,
    /// The certificate that we show, with those that sign it.
    pub(crate) certificate: Option<&'a Path>,
    /// Its key.
    pub(crate) key: Option<&'a Path>,
}

impl<'a> Files<'a> {
    /// Whom to believe, and what we show, if anything.
    fn whole(self) -> Result<(&'a Path, Option<Identity<'a>>), TlsError> {
        let authority = self.authority.ok_or(TlsError::NoAuthority)?;
        match (self.certificate, self.key) {
            (None, None) => Ok((authority, None)),
            (Some(certificate), Some(key)) => Ok((authority, Some((certificate, key)))),
            _ => Err(TlsError::Half),
        }
    }
}

/// The host of a master, given as `host:port`.
fn host(master: &str) -> &str {
    let host = master.rsplit_once(':').map_or(master, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn file(path: &Path, what: &'static str, why: &str) -> TlsError {
    TlsError::File { path: path.to_owned(), what, why: why.to_owned() }
}
