//! Holds the settings that say how masters are reached.
use super::Secret;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Who somebody is to the masters.
#[derive(Clone, Debug, Default, Args)]
pub struct MasterCredentials {
    /// The principal to authenticate as.
    #[arg(long, env = "LOGHERD_PRINCIPAL")]
    pub principal: Option<String>,
    /// A file that holds the principal's secret.
    #[arg(long, env = "LOGHERD_SECRET_FILE")]
    pub secret_file: Option<PathBuf>,
    /// The principal's secret, when it is in no file. Only from the environment: a command line can be read by others.
    #[arg(long, env = "LOGHERD_SECRET", hide_env_values = true)]
    pub secret: Option<Secret>,
}

/// TLS to the masters.
#[derive(Clone, Debug, Default, Args)]
pub struct MasterTls {
    /// Talk TLS to the masters, as it is with masters that are written `https://host:port`.
    #[arg(long, env = "LOGHERD_MASTER_TLS")]
    pub master_tls: bool,
    /// The certificates (PEM) that sign the masters' certificates.
    #[arg(long, env = "LOGHERD_MASTER_CA")]
    pub master_ca: Option<PathBuf>,
    /// The certificate (PEM) to show to masters that ask for one.
    #[arg(long, env = "LOGHERD_MASTER_CERT")]
    pub master_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[arg(long, env = "LOGHERD_MASTER_KEY")]
    pub master_key: Option<PathBuf>,
}

/// How a command that talks to the masters itself reaches them.
#[derive(Clone, Debug, Args)]
pub struct MasterAccess {
    /// The Mesos master: `host:port` or `https://host:port`, a comma-separated list of them, or `zk://…/mesos`. Default: the
    /// one that the scheduler at `--api` is subscribed to.
    #[arg(long, env = "LOGHERD_MASTER")]
    pub master: Option<String>,
    /// Who asks.
    #[command(flatten)]
    pub credentials: MasterCredentials,
    /// TLS to the masters.
    #[command(flatten)]
    pub master_tls: MasterTls,
    /// The ZooKeeper session timeout.
    #[arg(long, env = "LOGHERD_ZK_SESSION_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub zk_session_timeout: Duration,
}

/// The longest time that masters take: nanoseconds in 63 bits.
const FAILOVER_MAX: Duration = Duration::from_secs(i64::MAX as u64 / 1_000_000_000);

/// Reads how long executors outlive their last scheduler. Masters refuse what they cannot count, and with nothing at all the
/// end of any connection would end every executor.
pub(super) fn failover_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text).map_err(|error| error.to_string())? {
        short if short < Duration::from_secs(60) => {
            Err("every connection that breaks for so long would end all executors; give a minute or more"
                .to_owned())
        }
        long if long > FAILOVER_MAX => Err("masters count 292 years at most".to_owned()),
        fine => Ok(fine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_timeout_that_ends_all_executors_or_that_masters_cannot_count_is_refused_with_the_reason() {
        assert_eq!(failover_timeout("7days"), Ok(Duration::from_secs(604_800)));
        assert_eq!(failover_timeout("1m"), Ok(Duration::from_secs(60)));
        for (wrong, why) in [
            ("0s", "end all executors"),
            ("59s", "end all executors"),
            ("300years", "292 years"),
            ("soon", ""),
        ] {
            assert!(failover_timeout(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
