//! Makes HTTP clients, one for all outputs of this process that are set up alike: a node with a hundred containers that
//! ship to one cluster has one pool of connections and one set of trusted certificates.
use crate::lang::kinds::Placed;
use crate::lang::problems::Problems;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Proxy};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

/// What a client is made with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Setup {
    /// Sent with each request; secrets in it are marked as such.
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) verify: Verify,
    /// Files with the certificates to trust, instead of those of the system.
    pub(crate) authorities: Vec<PathBuf>,
    /// Whether there are servers that speak TLS: without any, the certificates of the system are not read.
    pub(crate) tls: bool,
    /// Files with the certificate to show, and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The URL of a proxy, which may hold a password.
    pub(crate) proxy: Option<String>,
}

/// How a server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verify {
    #[default]
    AuthorityAndName,
    Authority,
    Nothing,
}

/// The files of a client's certificate and its key, when both are given.
pub(crate) fn identity(
    certificate: Option<&Placed<String>>,
    key: Option<&Placed<String>>,
) -> Option<(PathBuf, PathBuf)> {
    Some((PathBuf::from(&certificate?.value), PathBuf::from(&key?.value)))
}

/// Reports a certificate without its key, and the other way round.
pub(crate) fn both_or_none(
    certificate: Option<&Placed<String>>,
    key: Option<&Placed<String>>,
    problems: &mut Problems,
) {
    match (certificate, key) {
        (Some(certificate), None) => {
            problems
                .error(certificate.span, "the `ssl_certificate` has no `ssl_key`")
                .hint("add `ssl_key => \"/path/to/key.pem\"`");
        }
        (None, Some(key)) => {
            problems
                .error(key.span, "the `ssl_key` has no `ssl_certificate`")
                .hint("add `ssl_certificate => \"/path/to/certificate.pem\"`");
        }
        _ => {}
    }
}

/// A set-up with what its files held, and the client that was made with it, while somebody uses it.
type Made = (Setup, Vec<Vec<u8>>, Weak<Client>);

static MADE: LazyLock<Mutex<Vec<Made>>> = LazyLock::new(Mutex::default);

/// A client of this set-up. The reason why there is none is for people.
pub(crate) fn client(setup: &Setup) -> Result<Arc<Client>, String> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|e| format!("read `{}`: {e}", path.display()));
    let identity = setup.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
    let pems: Vec<Vec<u8>> = setup.authorities.iter().chain(identity).map(read).collect::<Result<_, _>>()?;
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.retain(|(_, _, client)| client.strong_count() > 0);
    let alike = made.iter().find(|(with, held, _)| with == setup && *held == pems);
    if let Some(client) = alike.and_then(|(_, _, client)| client.upgrade()) {
        return Ok(client);
    }
    let client = Arc::new(make(setup, &pems)?);
    made.push((setup.clone(), pems, Arc::downgrade(&client)));
    Ok(client)
}

fn make(setup: &Setup, pems: &[Vec<u8>]) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("logherd/", env!("CARGO_PKG_VERSION")))
        .default_headers(setup.headers.clone())
        .connect_timeout(Duration::from_secs(10))
        .timeout(setup.timeout)
        .redirect(Policy::none());
    builder = match &setup.proxy {
        // Not shown: it may hold a password.
        Some(proxy) => builder.proxy(Proxy::all(proxy).map_err(|_| "the `proxy` is not a URL".to_owned())?),
        None => builder.no_proxy(),
    };
    if let [.., certificate, key] = pems
        && setup.identity.is_some()
    {
        let identity = Identity::from_pem(&[certificate.as_slice(), b"\n", key].concat());
        builder = builder.identity(
            identity.map_err(|error| format!("read the client's certificate and key: {}", chain(&error)))?,
        );
    }
    let mut authorities = Vec::new();
    for (path, pem) in setup.authorities.iter().zip(pems) {
        let bundle = Certificate::from_pem_bundle(pem);
        match bundle.map_err(|error| format!("read `{}`: {}", path.display(), chain(&error)))? {
            none if none.is_empty() => {
                return Err(format!("`{}` holds no certificate in PEM form", path.display()));
            }
            some => authorities.extend(some),
        }
    }
    if !authorities.is_empty() || !setup.tls {
        builder = builder.tls_certs_only(authorities);
    }
    builder = match setup.verify {
        Verify::AuthorityAndName => builder,
        Verify::Authority => builder.tls_danger_accept_invalid_hostnames(true),
        Verify::Nothing => builder.tls_danger_accept_invalid_certs(true),
    };
    builder.build().map_err(|error| format!("prepare requests: {}", chain(&error)))
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(seconds: u64) -> Setup {
        Setup { timeout: Duration::from_secs(seconds), tls: true, ..Setup::default() }
    }

    #[test]
    fn outputs_that_are_set_up_alike_share_a_client() {
        // Another test of this process may have been first.
        let _again = rustls::crypto::ring::default_provider().install_default();
        let (one, same, other) = (client(&setup(901)), client(&setup(901)), client(&setup(902)));
        let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn files_of_authorities_that_are_missing_or_hold_none_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let setup = Setup { authorities: vec![path.clone()], ..setup(903) };
        assert!(client(&setup).unwrap_err().contains("ca.pem"));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(client(&setup).unwrap_err().contains("holds no certificate"));
    }
}
