//! Keeps the authority of the control plane: a certificate that signs those of schedulers and executors, and its key.
//!
//! The certificate of a server is made when a scheduler starts, for the addresses that executors are told; that of an
//! executor is made with its launch, and is worth something only beside its token. The key never leaves its directory.
use config::settings::ControlTls;
use proto::credentials::Credentials;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
const LOCK: &str = "lock";

/// Why there is no authority for the control plane.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Nobody said where it is.
    #[error("--control-tls needs an authority; say with --control-ca-dir in which directory it is kept")]
    Nowhere,
    /// It is not there, and other schedulers would not know one that is made here.
    #[error(
        "there is no authority in `{}`; schedulers that share their state need the same: make one as docs/tls.md says, \
         and copy `ca.pem` and `ca-key.pem` to each of them",
        dir.display()
    )]
    Missing {
        /// Where it should be.
        dir: PathBuf,
    },
    /// A file cannot be used.
    #[error("`{}` cannot be used for the control plane: {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// A certificate cannot be made.
    #[error("the authority in `{}` cannot sign a certificate: {why}", dir.display())]
    Sign {
        /// Where the authority is.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
    /// The fleet has another authority.
    #[error(
        "the executors of this fleet know the authority {known}, which the state at {place} says, and the one in `{}` is \
         {own}; copy `ca.pem` and `ca-key.pem` from a scheduler that has led",
        dir.display()
    )]
    Other {
        /// Where ours is.
        dir: PathBuf,
        /// The fingerprint of ours.
        own: String,
        /// That of the fleet's.
        known: String,
        /// Where the state is.
        place: String,
    },
    /// The fleet has an authority, and this scheduler is to do without.
    #[error(
        "the executors of this fleet talk TLS with the authority {known}, which the state at {place} says; start with \
         --control-tls and a copy of it in --control-ca-dir, or remove `control-authority` there to go on without, which \
         cuts off the executors that run"
    )]
    Unused {
        /// The fingerprint.
        known: String,
        /// Where the state is.
        place: String,
    },
}

/// The authority.
pub(crate) struct Authority {
    dir: PathBuf,
    certificate: String,
    /// SHA-256 of the certificate, in hexadecimal.
    fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.fingerprint)
    }
}

impl Authority {
    /// The authority that the settings want, if any. One of several schedulers (`shared`) makes none of its own.
    pub(crate) fn wanted(settings: &ControlTls, shared: bool) -> Result<Option<Self>, AuthorityError> {
        if !settings.control_tls {
            return Ok(None);
        }
        let dir = settings.control_ca_dir.as_deref().ok_or(AuthorityError::Nowhere)?;
        Self::open(dir, !shared).map(Some)
    }

    /// Reads the authority in a directory; makes one there if there is none and `alone` says that nobody else needs it.
    pub(crate) fn open(dir: &Path, alone: bool) -> Result<Self, AuthorityError> {
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        let is_there = || (certificate.exists(), key.exists());
        match is_there() {
            (true, true) => {}
            (false, false) if !alone => return Err(AuthorityError::Missing { dir: dir.to_owned() }),
            // Of several that are started at once one makes it, and the others wait and take what it has made.
            _ if alone => {
                let _locked = lock(dir)?;
                if is_there() == (false, false) {
                    make(dir)?;
                }
            }
            // Half of one: what is wrong with it is said below.
            _ => {}
        }
        let mode = fs::metadata(&key).map_err(|e| unusable(&key, &e))?.mode();
        if mode & 0o077 != 0 {
            let why = "others may read it, so that anybody may have it; make a new authority, or take their right away";
            return Err(unusable(&key, &why));
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|e| unusable(path, &e));
        let (pem, private) = (read(&certificate)?, read(&key)?);
        let pair = KeyPair::from_pem(&private)
            .map_err(|_| unusable(&key, &"it holds no private key that can sign"))?;
        let (_, der) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|_| unusable(&certificate, &"it holds no certificate"))?;
        let parsed = der.parse_x509().map_err(|e| unusable(&certificate, &e))?;
        if !parsed.is_ca() {
            return Err(unusable(
                &certificate,
                &"its certificate may not sign others; make one of an authority",
            ));
        }
        if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(unusable(&key, &format!("it is not the key of `{CERTIFICATE}` beside it")));
        }
        let issuer = Issuer::from_ca_cert_pem(&pem, pair).map_err(|e| unusable(&certificate, &e))?;
        let fingerprint = hex(&Sha256::digest(&der.contents));
        Ok(Self { dir: dir.to_owned(), certificate: pem, fingerprint, issuer })
    }

    /// What a server needs that executors reach by these addresses, each `host:port`: a certificate of its own, and from
    /// everybody one that this authority has signed.
    pub(crate) fn server(&self, addresses: &[String]) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut hosts: Vec<String> = addresses.iter().map(|address| host(address).to_owned()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let (certificate, key) =
            self.sign("logherd scheduler", hosts, ExtendedKeyUsagePurpose::ServerAuth)?;
        let config = receiving(&self.certificate, &certificate, &key);
        config.map_err(|e| AuthorityError::Sign { dir: self.dir.clone(), why: e.to_string() })
    }

    /// What is handed to an executor with its launch.
    pub(crate) fn executor(&self, id: &str) -> Result<Credentials, AuthorityError> {
        let (certificate, key) = self.sign(id, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Credentials { authority: self.certificate.clone(), certificate, key })
    }

    /// A certificate and its key. It holds as long as the authority; what ends an executor's is the end of its launch.
    fn sign(
        &self,
        name: &str,
        hosts: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(String, String), AuthorityError> {
        let sign = || {
            let mut params = CertificateParams::new(hosts)?;
            params.distinguished_name.remove(DnType::CommonName);
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
        };
        sign().map_err(|e: rcgen::Error| AuthorityError::Sign { dir: self.dir.clone(), why: e.to_string() })
    }

    /// SHA-256 of its certificate, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the fleet whose state is at `place` knows this authority, or none.
    fn is_of(&self, known: Option<&str>, place: &str) -> Result<(), AuthorityError> {
        match known {
            Some(known) if known != self.fingerprint => Err(AuthorityError::Other {
                dir: self.dir.clone(),
                own: self.fingerprint.clone(),
                known: known.to_owned(),
                place: place.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Checks that a scheduler with this authority, or none, may lead the fleet whose state is at `place` and whose executors
/// know the authority with the fingerprint `known`. Answers what is to be remembered for the next.
pub(crate) fn fits(
    own: Option<&Authority>,
    known: Option<&str>,
    place: &str,
) -> Result<Option<String>, AuthorityError> {
    match (own, known) {
        (None, None) => Ok(None),
        (None, Some(known)) => {
            Err(AuthorityError::Unused { known: known.to_owned(), place: place.to_owned() })
        }
        (Some(own), known) => {
            own.is_of(known, place)?;
            Ok(known.is_none().then(|| own.fingerprint.clone()))
        }
    }
}

/// The common name of a certificate: for those of executors, the executor's id.
pub(crate) fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// How a server receives whom this authority has signed: HTTP/2 with certificates of both sides. Sessions are not kept to be
/// taken up again: an executor stays for weeks.
fn receiving(
    authority: &str,
    certificate: &str,
    key: &str,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let own = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Makes the directory, and keeps others from making an authority there until the file is closed.
fn lock(dir: &Path) -> Result<File, AuthorityError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| unusable(dir, &e))?;
    let path = dir.join(LOCK);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|e| unusable(&path, &e))?;
    file.lock().map_err(|e| unusable(&path, &e))?;
    Ok(file)
}

/// Makes an authority, which only this user can read.
fn make(dir: &Path) -> Result<(), AuthorityError> {
    let signed = || {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, "logherd control plane");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    let signed = signed();
    let (certificate, key) =
        signed.map_err(|e: rcgen::Error| AuthorityError::Sign { dir: dir.to_owned(), why: e.to_string() })?;
    // The key first: a certificate that is there means that both are.
    for (name, text) in [(KEY, key), (CERTIFICATE, certificate)] {
        write(&dir.join(name), &text)?;
    }
    tracing::info!(dir = %dir.display(), "made an authority for the control plane");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), AuthorityError> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unusable(&beside, &error)),
        _ => {}
    }
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(|e| unusable(path, &e))
}

fn unusable(path: &Path, why: &impl ToString) -> AuthorityError {
    AuthorityError::File { path: path.to_owned(), why: why.to_string() }
}

/// The host of `host:port`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_authority_is_made_once_for_this_user_only_and_is_the_same_ever_after() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("authority");
        let first = Authority::open(&dir, true).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join(KEY))), (0o700, 0o600));
        assert_eq!(Authority::open(&dir, false).unwrap().fingerprint, first.fingerprint);
        let credentials = first.executor("logherd-S1-1-abcd").unwrap();
        let (_, der) = x509_parser::pem::parse_x509_pem(credentials.certificate.as_bytes()).unwrap();
        assert_eq!(common_name(&der.contents).as_deref(), Some("logherd-S1-1-abcd"));
        assert_eq!(common_name(b"no certificate"), None);
        let shown = format!("{first:?} {credentials:?}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }

    #[test]
    fn of_many_that_find_no_authority_at_once_one_makes_it_and_all_have_that_one() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("authority");
            let open = || Authority::open(&dir, true).unwrap().fingerprint;
            let fingerprints: Vec<String> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert!(fingerprints.iter().all(|one| *one == fingerprints[0]), "{fingerprints:?}");
            assert_eq!(open(), fingerprints[0]);
        }
    }

    /// By the command in `docs/tls.md`.
    #[test]
    fn an_authority_that_openssl_has_made_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/authority/made_by_openssl");
        for name in [CERTIFICATE, KEY] {
            fs::copy(made.join(name), dir.path().join(name)).unwrap();
        }
        fs::set_permissions(dir.path().join(KEY), fs::Permissions::from_mode(0o600)).unwrap();
        let authority = Authority::open(dir.path(), false).unwrap();
        authority.server(&["10.0.0.1:9094".to_owned()]).unwrap();
        assert!(authority.executor("e").unwrap().certificate.contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn schedulers_that_share_their_state_are_not_given_an_authority_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let error = Authority::open(&dir.path().join("none"), false).unwrap_err().to_string();
        assert!(error.contains("copy `ca.pem` and `ca-key.pem`"), "{error}");
        assert!(!dir.path().join("none").exists());
    }

    #[test]
    fn files_that_cannot_be_used_are_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let told = |dir: &Path| Authority::open(dir, true).unwrap_err().to_string();
        Authority::open(&one, true).unwrap();
        Authority::open(&two, true).unwrap();
        fs::set_permissions(two.join(KEY), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(told(&two).contains("others may read it"));
        fs::set_permissions(two.join(KEY), fs::Permissions::from_mode(0o600)).unwrap();
        fs::copy(one.join(CERTIFICATE), two.join(CERTIFICATE)).unwrap();
        assert!(told(&two).contains("is not the key of"));
        fs::write(two.join(KEY), "text").unwrap();
        assert!(told(&two).contains("no private key"));
        fs::remove_file(two.join(KEY)).unwrap();
        assert!(told(&two).contains("ca-key.pem"), "half an authority is not replaced");
        let leaf = Authority::open(&one, true).unwrap().executor("e").unwrap();
        fs::write(one.join(CERTIFICATE), leaf.certificate).unwrap();
        assert!(told(&one).contains("may not sign others"));
    }

    #[test]
    fn only_the_authority_that_the_executors_know_may_lead() {
        let dir = tempfile::tempdir().unwrap();
        let own = Authority::open(&dir.path().join("own"), true).unwrap();
        let known = own.fingerprint.clone();
        assert_eq!(fits(None, None, "zk").unwrap(), None);
        assert_eq!(fits(Some(&own), None, "zk").unwrap(), Some(known.clone()));
        assert_eq!(fits(Some(&own), Some(&known), "zk").unwrap(), None);
        let other = fits(Some(&own), Some("ab12"), "zk").unwrap_err().to_string();
        assert!(other.contains("ab12") && other.contains("copy `ca.pem`"), "{other}");
        let without = fits(None, Some(&known), "zk").unwrap_err().to_string();
        assert!(without.contains("--control-tls") && without.contains(&known), "{without}");
    }
}
