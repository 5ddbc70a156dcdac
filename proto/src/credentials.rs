//! Hands an executor with its launch what it needs for TLS on the control plane: whom to believe, and who it is itself.
//!
//! One line of text, so that it fits into a variable of the environment everywhere: three PEM texts, each in base64, with
//! dots between them. It holds a private key: it is never logged, and never on a command line.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// What an executor shows, and whom it believes. All are PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The certificate that signs those of schedulers.
    pub authority: String,
    /// The executor's certificate; its common name is the executor's id.
    pub certificate: String,
    /// The key of the certificate.
    pub key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A text that holds no credentials. What it holds instead is not said: it may be part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not hold two certificates and a key, as they come with a launch")]
pub struct Garbled;

impl Credentials {
    /// Writes them as one line.
    pub fn write(&self) -> String {
        [&self.authority, &self.certificate, &self.key].map(|pem| STANDARD.encode(pem)).join(".")
    }

    /// Reads what [`Credentials::write`] wrote.
    pub fn read(text: &str) -> Result<Self, Garbled> {
        let parts: Vec<String> = text.trim().split('.').map(pem).collect::<Option<_>>().ok_or(Garbled)?;
        let [authority, certificate, key]: [String; 3] = parts.try_into().map_err(|_| Garbled)?;
        let whole = authority.contains("BEGIN CERTIFICATE")
            && certificate.contains("BEGIN CERTIFICATE")
            && key.contains("PRIVATE KEY");
        if whole { Ok(Self { authority, certificate, key }) } else { Err(Garbled) }
    }
}

fn pem(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_on_one_line_is_read_again_and_never_shown() {
        let certificate =
            |what: &str| format!("-----BEGIN CERTIFICATE-----\n{what}\n-----END CERTIFICATE-----\n");
        let credentials = Credentials {
            authority: certificate("authority"),
            certificate: certificate("own"),
            key: "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n".into(),
        };
        let line = credentials.write();
        assert!(!line.contains(['\n', ' ']));
        assert_eq!(Credentials::read(&line), Ok(credentials.clone()));
        assert_eq!(Credentials::read(line.rsplit_once('.').unwrap().0), Err(Garbled));
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in ".{0,80}") {
            prop_assert!(Credentials::read(&text).is_err());
        }
    }
}
