//! Says what TLS to masters needs: who signs their certificates, and which certificate we show.
use proto::tls::{Believed, Cause, NoTls, Tls};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

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
    /// A file is not what it should be.
    #[error(transparent)]
    Files(#[from] proto::tls::TlsError),
}

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

/// Reads the files.
pub(crate) fn read(files: Files<'_>) -> Result<Tls, TlsError> {
    let authority: PathBuf = files.authority.ok_or(TlsError::NoAuthority)?.to_owned();
    let shown = match (files.certificate, files.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err(TlsError::Half),
    };
    let believed = Believed::SignedBy(std::slice::from_ref(&authority));
    Ok(Tls::read(proto::tls::Files { believed, shown }, &[])?)
}

/// Shakes hands with a master, given as `host:port`.
pub(super) async fn connect(
    tls: &Tls,
    master: &str,
    socket: TcpStream,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, String> {
    tls.connect(host(master), socket).await.map_err(|error| explained(&error))
}

/// The host of a master, given as `host:port`.
fn host(master: &str) -> &str {
    let host = master.rsplit_once(':').map_or(master, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// What a failed handshake says, with what is usually behind it.
fn explained(error: &NoTls) -> String {
    let hint = match error.cause {
        Cause::NoCommonCipher => {
            "; Mesos' default ciphers are too old: set LIBPROCESS_SSL_CIPHERS on the masters, see docs/tls.md"
        }
        Cause::CertificateWanted => "; the master wants a certificate: give --master-cert and --master-key",
        Cause::UnknownSigner => "; --master-ca does not hold what signed the master's certificate",
        Cause::NotTls => "; the master does not seem to talk TLS",
        Cause::Other => "",
    };
    format!("{error}{hint}")
}

#[cfg(test)]
mod default_ciphers;
#[cfg(not(feature = "openssl"))]
#[cfg(test)]
mod tests;
