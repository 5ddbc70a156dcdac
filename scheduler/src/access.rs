//! Says by the settings how masters are reached: as whom, and with TLS or without.
use crate::Error;
use crate::mesos::{Access, Credentials, Files, Masters, read_tls};
use config::settings::{MasterCredentials, MasterTls, Secret};
use proto::tls::Tls;

/// How the masters that are written so are reached.
pub(crate) fn to_masters(who: &MasterCredentials, tls: &MasterTls, masters: &str) -> Result<Access, Error> {
    Ok(Access { credentials: credentials(who)?, tls: tls_to(tls, masters)? })
}

fn credentials(who: &MasterCredentials) -> Result<Option<Credentials>, Error> {
    let given = who.secret.is_some() || who.secret_file.is_some();
    let principal = match &who.principal {
        Some(principal) => principal,
        None if given => return Err(Error::SecretOfNobody),
        None => return Ok(None),
    };
    let secret = match (&who.secret, &who.secret_file) {
        (_, Some(path)) => {
            Secret::read(path).map_err(|source| Error::Secret { path: path.clone(), source })?
        }
        (Some(secret), None) => secret.clone(),
        (None, None) => {
            tracing::warn!(
                principal,
                "no secret is given, so masters that ask for credentials will refuse; --secret-file names one"
            );
            return Ok(None);
        }
    };
    let secret = secret.expose().to_owned();
    if secret.contains(':') || principal.contains(':') {
        return Err(Error::ColonInCredentials);
    }
    Ok(Some(Credentials { principal: principal.clone(), secret }))
}

/// What TLS to masters needs, if it is wanted.
fn tls_to(named: &MasterTls, masters: &str) -> Result<Option<Tls>, Error> {
    let wanted = named.master_tls || Masters::ask_for_tls(masters);
    let files = Files {
        authority: named.master_ca.as_deref(),
        certificate: named.master_cert.as_deref(),
        key: named.master_key.as_deref(),
    };
    Ok(if wanted { Some(read_tls(files)?) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn settings(principal: Option<&str>, secret: Option<&str>, file: Option<&Path>) -> MasterCredentials {
        MasterCredentials {
            principal: principal.map(str::to_owned),
            secret: secret.map(|secret| Secret::from(secret.to_owned())),
            secret_file: file.map(Path::to_owned),
        }
    }

    fn refused(settings: &MasterCredentials) -> String {
        match credentials(settings) {
            Ok(found) => panic!("taken: {}", found.is_some()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_principal_without_a_secret_is_only_named() {
        assert!(credentials(&settings(Some("logherd"), None, None)).unwrap().is_none());
    }

    #[test]
    fn a_secret_without_a_principal_is_refused_with_what_to_give() {
        for (secret, file) in [(Some("s"), None), (None, Some(Path::new("/secret")))] {
            let error = refused(&settings(None, secret, file));
            assert!(error.contains("--principal"), "{error}");
        }
    }

    #[test]
    fn a_principal_and_its_secret_authenticate_and_neither_is_fine() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from file\n").unwrap();
        let by_file = credentials(&settings(Some("logherd"), Some("s"), Some(file.path()))).unwrap().unwrap();
        assert_eq!((by_file.principal.as_str(), by_file.secret.as_str()), ("logherd", "from file"));
        assert_eq!(credentials(&settings(Some("logherd"), Some("s"), None)).unwrap().unwrap().secret, "s");
        assert!(credentials(&settings(None, None, None)).unwrap().is_none());
    }
}
