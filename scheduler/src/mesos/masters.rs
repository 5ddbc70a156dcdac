//! Finds the master to talk to: a list in turn, or the leader that ZooKeeper names.
use crate::ensemble::{AddressError, Ensemble};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zookeeper_client::{Client, Error};

/// The pause before ZooKeeper is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Where masters may be.
#[derive(Clone, Debug)]
pub(crate) enum Masters {
    /// One of these, in turn; the index of the next one.
    List(Vec<String>, usize),
    /// The one that ZooKeeper names; `None`: none leads now.
    Elected(Ensemble, watch::Receiver<Option<String>>),
}

/// What is wanted of a master's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The address that it listens at.
    Address,
    /// The name that its certificate says, if it has one.
    Name,
}

/// What [`detect`] needs: where to look, and whom to tell.
pub(crate) type Election = (Ensemble, watch::Sender<Option<String>>);

/// Why a `--master` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MasterError {
    /// Not `host:port`.
    #[error(
        "`{0}` is no master: write `host:port`, a comma-separated list of them, or `zk://host:2181/mesos`"
    )]
    NotAnAddress(String),
    /// Not a ZooKeeper address.
    #[error("the masters cannot be found")]
    Zookeeper(#[from] AddressError),
}

impl Masters {
    /// Reads `--master`. For `zk://` the second value is where [`detect`] has to say who leads.
    pub(crate) fn parse(text: &str) -> Result<(Self, Option<Election>), MasterError> {
        let plain = text.split(',').map(|m| m.trim().strip_prefix("https://").unwrap_or(m.trim()));
        let text = &plain.map(|m| m.trim_end_matches('/')).collect::<Vec<_>>().join(",");
        if text.starts_with("zk://") {
            let ensemble = Ensemble::parse(text)?;
            let (leader, seen) = watch::channel(None);
            return Ok((Self::Elected(ensemble.clone(), seen), Some((ensemble, leader))));
        }
        let masters: Vec<String> = text.split(',').map(|m| m.trim().to_owned()).collect();
        let fits = |master: &String| {
            master.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && !host.contains(['/', ' ', '@'])
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        match masters.iter().find(|master| !fits(master)) {
            // What stands before the `@` may be a password.
            Some(wrong) => Err(MasterError::NotAnAddress(match wrong.rsplit_once('@') {
                Some((_, rest)) => format!("***@{rest}"),
                None => wrong.clone(),
            })),
            None => Ok((Self::List(masters, 0), None)),
        }
    }

    /// Whether masters are written with `https://`.
    pub(crate) fn ask_for_tls(text: &str) -> bool {
        text.split(',').any(|master| master.trim().starts_with("https://"))
    }

    /// Whether ZooKeeper says who leads. Then masters that say otherwise do not know yet.
    pub(super) fn are_elected(&self) -> bool {
        matches!(self, Self::Elected(..))
    }

    /// Waits until another one than `master` is known to lead; for ever if nobody would say so.
    pub(super) async fn moved_from(&mut self, master: &str) -> String {
        let Self::Elected(_, leader) = self else { return std::future::pending().await };
        let other = leader.wait_for(|leader| leader.as_deref().is_some_and(|leader| leader != master)).await;
        match other.ok().and_then(|leader| leader.clone()) {
            Some(other) => other,
            None => std::future::pending().await,
        }
    }

    /// The master to try next; waits while none leads.
    pub(super) async fn next(&mut self) -> String {
        match self {
            Self::List(masters, at) => {
                let master = masters.get(*at % masters.len().max(1)).cloned().unwrap_or_default();
                *at = at.wrapping_add(1);
                master
            }
            Self::Elected(_, leader) => {
                let found = leader.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
                match found {
                    Some(master) => master,
                    // The detector ended, which happens only when everything stops.
                    None => std::future::pending().await,
                }
            }
        }
    }

    /// Where the masters are, or the servers that name the one that leads, each `host:port`.
    pub(crate) fn places(&self) -> Vec<String> {
        match self {
            Self::List(masters, _) => masters.clone(),
            Self::Elected(ensemble, _) => ensemble.servers().map(str::to_owned).collect(),
        }
    }

    /// What is waited for while none answers, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::List(masters, _) => masters.join(", "),
            Self::Elected(ensemble, _) => ensemble.describe(),
        }
    }
}

/// Watches who leads, as Mesos' own masters elect it: the child with the smallest number below the path.
pub(crate) async fn detect(
    (ensemble, leader): Election,
    session_timeout: Duration,
    seek: Seek,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let watching = async {
            let client = ensemble.connect(session_timeout).await?;
            watch_leader(&client, &ensemble.path, &leader, seek).await
        };
        tokio::select! {
            () = stop.cancelled() => return,
            ended = watching => if let Err(error) = ended {
                tracing::warn!(zookeeper = %ensemble.describe(), %error, "cannot see who leads the masters; trying again");
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Says who leads as often as it changes, until the session is over. A leader that was found stays until another one is
/// known: whoever talks to it notices by itself when it is gone.
async fn watch_leader(
    client: &Client,
    path: &str,
    leader: &watch::Sender<Option<String>>,
    seek: Seek,
) -> Result<(), Error> {
    loop {
        let (children, watcher) = match client.list_and_watch_children(path).await {
            Ok(found) => found,
            Err(Error::NoNode) => {
                let (stat, watcher) = client.check_and_watch_stat(path).await?;
                if stat.is_none() {
                    leader.send_replace(None);
                    watcher.changed().await;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        let found = match leading(&children) {
            None => None,
            Some(child) => match client.get_data(&format!("{path}/{child}")).await {
                Ok((data, _)) => address_in(&data, seek),
                // It went away in between; the watch fires at once.
                Err(Error::NoNode) => None,
                Err(error) => return Err(error),
            },
        };
        leader.send_if_modified(|known| {
            let changed = *known != found;
            *known = found;
            changed
        });
        // Also fires when the session is over; then the next read says so.
        watcher.changed().await;
    }
}

/// The member with the smallest number; what does not end in `_` and a number is no member.
fn leading(children: &[String]) -> Option<&String> {
    let number = |child: &String| -> Option<u64> { child.rsplit_once('_')?.1.parse().ok() };
    let members = children.iter().filter(|child| child.starts_with("json.info_"));
    members.filter_map(|child| Some((number(child)?, child))).min().map(|(_, child)| child)
}

/// The parts of a master's entry that say where it listens.
#[derive(Deserialize)]
struct Entry {
    address: Option<EntryAddress>,
    hostname: Option<String>,
    port: Option<u16>,
    pid: Option<String>,
}

#[derive(Deserialize)]
struct EntryAddress {
    ip: Option<String>,
    hostname: Option<String>,
    port: u16,
}

fn address_in(data: &[u8], seek: Seek) -> Option<String> {
    let entry: Entry = serde_json::from_slice(data).ok()?;
    if let Some(address) = entry.address
        && let Some(host) = match seek {
            Seek::Address => address.ip.or(address.hostname),
            Seek::Name => address.hostname.or(address.ip),
        }
    {
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        return Some(format!("{host}:{}", address.port));
    }
    let by_pid = entry.pid.and_then(|pid| pid.split_once('@').map(|(_, address)| address.to_owned()));
    by_pid.or_else(|| Some(format!("{}:{}", entry.hostname?, entry.port?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_member_with_the_smallest_number_leads_and_others_are_no_members() {
        let children = ["log_replicas", "json.info_0000000010", "json.info_0000000009", "info_0000000001"];
        let children = children.map(str::to_owned);
        assert_eq!(leading(&children).unwrap(), "json.info_0000000009");
        assert_eq!(leading(&["log_replicas".to_owned()]), None);
    }

    #[test]
    fn an_entry_gives_the_address_that_the_master_listens_at() {
        let entry = br#"{"id":"x","pid":"master@10.0.0.1:5050","port":5050,"hostname":"m1",
            "address":{"hostname":"m1","ip":"10.0.0.1","port":5051}}"#;
        assert_eq!(address_in(entry, Seek::Address).as_deref(), Some("10.0.0.1:5051"));
        assert_eq!(
            address_in(br#"{"pid":"master@10.0.0.1:5050"}"#, Seek::Address).as_deref(),
            Some("10.0.0.1:5050")
        );
        assert_eq!(
            address_in(br#"{"hostname":"m1","port":5050}"#, Seek::Address).as_deref(),
            Some("m1:5050")
        );
        assert_eq!(address_in(b"master@10.0.0.1:5050", Seek::Address), None);
    }

    #[test]
    fn with_tls_the_name_is_wanted_since_certificates_rarely_hold_addresses() {
        let entry =
            br#"{"address":{"hostname":"m1","ip":"10.0.0.1","port":5051},"pid":"master@10.0.0.1:5050"}"#;
        assert_eq!(address_in(entry, Seek::Name).as_deref(), Some("m1:5051"));
        assert!(Masters::ask_for_tls("https://a:1, https://b:2/") && !Masters::ask_for_tls("a:1"));
        let (masters, _) = Masters::parse("https://a:1, https://b:2/").unwrap();
        assert!(matches!(masters, Masters::List(masters, 0) if masters == ["a:1", "b:2"]));
    }

    /// What a real Mesos 1.12 had in ZooKeeper from moment to moment.
    #[test]
    fn the_masters_that_were_recorded_lead_in_turn() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../proto/fixtures/mesos-1.12/16-zookeeper");
        for (moment, leads) in [
            ("before", Some("127.0.0.1:5050")),
            ("leader-dead-session-not-expired", Some("127.0.0.1:5050")),
            ("after", Some("127.0.0.1:5060")),
            ("old-master-back", Some("127.0.0.1:5060")),
            ("no-master", None),
        ] {
            let listed = std::fs::read(root.join(format!("zk-{moment}.json"))).unwrap();
            let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
            let children: Vec<String> = serde_json::from_value(listed["children"].clone()).unwrap();
            let found = leading(&children).and_then(|child| {
                let entry = std::fs::read(root.join(format!("zk-{moment}-{child}.json"))).unwrap();
                address_in(&entry, Seek::Address)
            });
            assert_eq!(found.as_deref(), leads, "{moment}");
        }
    }

    #[test]
    fn a_master_without_a_port_is_refused_with_what_to_write() {
        let error = Masters::parse("a:5050,b").unwrap_err().to_string();
        assert_eq!(
            error,
            "`b` is no master: write `host:port`, a comma-separated list of them, or `zk://host:2181/mesos`"
        );
    }

    #[test]
    fn credentials_that_are_written_where_none_belong_are_not_shown() {
        let error = Masters::parse("https://user:secret@m:5050").unwrap_err().to_string();
        assert!(error.starts_with("`***@m:5050` is no master"), "{error}");
    }

    proptest! {
        #[test]
        fn any_entry_is_read_or_refused(data in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(address_in(&data, Seek::Address));
        }

        #[test]
        fn any_list_of_masters_is_read_or_refused(text in ".{0,40}") {
            drop(Masters::parse(&text));
        }
    }
}
