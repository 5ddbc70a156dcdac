//! Holds what an agent that talks TLS says about it in the environment of its executors.
use clap::Args;
use std::path::PathBuf;

/// The variables by which every process of Mesos learns how to talk TLS. An agent hands them on with
/// `--executor_environment_variables`.
#[derive(Clone, Debug, Default, Args)]
pub struct LibprocessTls {
    /// `1` or `true` when the agent talks TLS.
    #[arg(long, env = "LIBPROCESS_SSL_ENABLED")]
    pub libprocess_ssl_enabled: Option<String>,
    /// `1` or `true` when the agent's certificate is to be verified.
    #[arg(long, env = "LIBPROCESS_SSL_VERIFY_SERVER_CERT")]
    pub libprocess_ssl_verify_server_cert: Option<String>,
    /// An older name of the same.
    #[arg(long, env = "LIBPROCESS_SSL_VERIFY_CERT")]
    pub libprocess_ssl_verify_cert: Option<String>,
    /// `1` or `true` when clients must show certificates, which means that those of servers are verified, too.
    #[arg(long, env = "LIBPROCESS_SSL_REQUIRE_CLIENT_CERT")]
    pub libprocess_ssl_require_client_cert: Option<String>,
    /// An older name of the same.
    #[arg(long, env = "LIBPROCESS_SSL_REQUIRE_CERT")]
    pub libprocess_ssl_require_cert: Option<String>,
    /// `legacy`: the agent's certificate has a name of its machine, or its address; `openssl`: its address.
    #[arg(long, env = "LIBPROCESS_SSL_HOSTNAME_VALIDATION_SCHEME", default_value = "legacy")]
    pub libprocess_ssl_hostname_validation_scheme: String,
    /// The certificates (PEM) that sign the agent's.
    #[arg(long, env = "LIBPROCESS_SSL_CA_FILE")]
    pub libprocess_ssl_ca_file: Option<PathBuf>,
    /// A directory with such files.
    #[arg(long, env = "LIBPROCESS_SSL_CA_DIR")]
    pub libprocess_ssl_ca_dir: Option<PathBuf>,
    /// The certificate (PEM) to show to the agent.
    #[arg(long, env = "LIBPROCESS_SSL_CERT_FILE")]
    pub libprocess_ssl_cert_file: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[arg(long, env = "LIBPROCESS_SSL_KEY_FILE")]
    pub libprocess_ssl_key_file: Option<PathBuf>,
}

impl LibprocessTls {
    /// Whether the agent talks TLS.
    pub fn is_enabled(&self) -> bool {
        is_on(self.libprocess_ssl_enabled.as_deref())
    }

    /// Whether the agent's certificate is verified. By default it is not, as everywhere in Mesos.
    pub fn verifies(&self) -> bool {
        let switches = [
            &self.libprocess_ssl_verify_server_cert,
            &self.libprocess_ssl_verify_cert,
            &self.libprocess_ssl_require_client_cert,
            &self.libprocess_ssl_require_cert,
        ];
        switches.into_iter().any(|switch| is_on(switch.as_deref()))
    }
}

/// A switch as Mesos reads it.
fn is_on(switch: Option<&str>) -> bool {
    matches!(switch, Some("1" | "true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_verified_only_when_some_switch_says_so() {
        let on = || Some("true".to_owned());
        let none = LibprocessTls::default();
        assert!(!none.is_enabled() && !none.verifies());
        let enabled = LibprocessTls { libprocess_ssl_enabled: Some("1".into()), ..LibprocessTls::default() };
        assert!(enabled.is_enabled() && !enabled.verifies());
        for all in [
            LibprocessTls { libprocess_ssl_verify_server_cert: on(), ..LibprocessTls::default() },
            LibprocessTls { libprocess_ssl_verify_cert: on(), ..LibprocessTls::default() },
            LibprocessTls { libprocess_ssl_require_client_cert: on(), ..LibprocessTls::default() },
            LibprocessTls { libprocess_ssl_require_cert: on(), ..LibprocessTls::default() },
        ] {
            assert!(all.verifies(), "{all:?}");
        }
        let off = LibprocessTls { libprocess_ssl_verify_cert: Some("0".into()), ..LibprocessTls::default() };
        assert!(!off.verifies());
    }
}
