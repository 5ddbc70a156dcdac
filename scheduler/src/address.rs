//! Tells the addresses under which others reach this scheduler.
use crate::Error;
use config::settings::SchedulerSettings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long the names of the masters may take to be looked up. What is not known by then is not held against the settings.
const LOOKUP_WITHIN: Duration = Duration::from_secs(2);

/// The way to the masters, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They are on this machine, by its loopback address.
    Loopback,
    /// They are on this machine, by this address.
    Own(IpAddr),
    /// They are on another machine, and see this one by this address.
    Out(IpAddr),
    /// Their names cannot be looked up now, or nothing leads there.
    Unknown,
}

/// Finds the way to the first of `places` (`host:port`) that is not on loopback. Nothing is sent there.
pub(crate) async fn way_to(places: &[String]) -> Way {
    let mut way = Way::Unknown;
    let looking = async {
        for place in places {
            let Ok(found) = lookup_host(place).await else { continue };
            for target in found {
                match way_to_one(target) {
                    Way::Unknown => {}
                    Way::Loopback => way = Way::Loopback,
                    out => {
                        way = out;
                        return;
                    }
                }
            }
        }
    };
    if timeout(LOOKUP_WITHIN, looking).await.is_err() {
        tracing::debug!(?places, "the masters' names were not looked up in time");
    }
    way
}

/// A connected datagram socket has the address that the way there begins with.
fn way_to_one(target: SocketAddr) -> Way {
    let to = target.ip().to_canonical();
    if to.is_loopback() || to.is_unspecified() {
        return Way::Loopback;
    }
    let any = match to {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0));
    let from = socket.and_then(|socket| {
        socket.connect((to, target.port()))?;
        socket.local_addr()
    });
    match from.map(|from| from.ip()) {
        Ok(from) if from == to => Way::Own(from),
        Ok(from) if !from.is_loopback() && !from.is_unspecified() => Way::Out(from),
        _ => Way::Unknown,
    }
}

/// What executors are told to attach to: what was asked for, else where it listens; for every address at once, the one that
/// the masters see, else the machine's name.
pub(crate) fn control(
    settings: &SchedulerSettings,
    bound: SocketAddr,
    way: &Way,
    masters: &str,
) -> Result<String, Error> {
    if let Some(given) = &settings.control_advertise {
        return Ok(given.clone());
    }
    if bound.ip().is_loopback() && matches!(way, Way::Out(_)) {
        return Err(Error::Loopback {
            what: "the control plane",
            address: bound,
            masters: masters.to_owned(),
            listen: "--control-listen",
            advertise: "--control-advertise HOST:PORT",
        });
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound.to_string());
    }
    let seen = match way {
        // `0.0.0.0` takes nobody who comes by IPv6.
        Way::Own(seen) | Way::Out(seen) if seen.is_ipv4() || bound.is_ipv6() => Some(*seen),
        _ => None,
    };
    match (config::settings::marathon_host(), seen) {
        (None, Some(seen)) => Ok(SocketAddr::new(seen, bound.port()).to_string()),
        _ => named(bound).ok_or(Error::Nameless),
    }
}

/// Agents that are to fetch the program from a page that only this machine reaches would fail at every launch.
pub(crate) fn reached_by_agents(settings: &SchedulerSettings, way: &Way, masters: &str) -> Result<(), Error> {
    let fetched = settings.artifact.is_some() && settings.executors_fetch();
    let loopback = settings.advertise.is_none() && settings.listen.ip().is_loopback();
    if !fetched || !loopback || !matches!(way, Way::Out(_)) {
        return Ok(());
    }
    Err(Error::Loopback {
        what: "the page, from which agents fetch the program,",
        address: settings.listen,
        masters: masters.to_owned(),
        listen: "--listen",
        advertise: "--advertise HOST:PORT",
    })
}

/// Where other schedulers send people who want to change something: `http://host:port`.
pub(crate) fn api(settings: &SchedulerSettings) -> String {
    match &settings.advertise {
        Some(given) if given.contains("://") => given.trim_end_matches('/').to_owned(),
        Some(given) => format!("http://{given}"),
        None => format!("http://{}", reachable(settings.listen)),
    }
}

/// An address that is no address of this machine in particular is replaced by the machine's name: the one that Marathon
/// gave, else its own.
pub(crate) fn reachable(bound: SocketAddr) -> String {
    if !bound.ip().is_unspecified() {
        return bound.to_string();
    }
    named(bound).unwrap_or_else(|| bound.to_string())
}

/// The machine's name and the port; `None` when it has no name that means it elsewhere too.
fn named(bound: SocketAddr) -> Option<String> {
    machine().map(|name| format!("{name}:{}", bound.port()))
}

/// The machine's name: the one that Marathon gave, else its own; `None` when that means it nowhere else.
pub(crate) fn machine() -> Option<String> {
    let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = config::settings::marathon_host().unwrap_or_else(own);
    (!name.is_empty() && name != "localhost" && name != "(none)").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, advertise: Option<&str>) -> SchedulerSettings {
        let mut settings = SchedulerSettings::for_master("m:5050", "zk://z:2181/logherd").unwrap();
        settings.listen = listen.parse().unwrap();
        settings.advertise = advertise.map(str::to_owned);
        settings
    }

    #[test]
    fn what_is_advertised_is_what_was_asked_for_or_where_it_listens() {
        assert_eq!(api(&settings("127.0.0.1:9092", None)), "http://127.0.0.1:9092");
        assert_eq!(api(&settings("0.0.0.0:1", Some("logs.example:80"))), "http://logs.example:80");
        assert_eq!(api(&settings("0.0.0.0:1", Some("https://logs.example/"))), "https://logs.example");
    }

    #[test]
    fn every_address_at_once_is_told_by_the_name_of_the_machine() {
        let told = api(&settings("0.0.0.0:9092", None));
        assert!(told.ends_with(":9092") && !told.contains("0.0.0.0"), "{told}");
    }

    const FAR: Way = Way::Out(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)));

    fn told(bound: &str, advertise: Option<&str>, way: Way) -> Result<String, String> {
        let mut settings = settings("127.0.0.1:9092", None);
        settings.control_advertise = advertise.map(str::to_owned);
        control(&settings, bound.parse().unwrap(), &way, "m1:5050").map_err(|error| error.to_string())
    }

    #[test]
    fn a_control_plane_on_loopback_is_refused_when_the_masters_are_elsewhere() {
        let error = told("127.0.0.1:9094", None, FAR).unwrap_err();
        for part in ["127.0.0.1:9094", "m1:5050", "--control-listen 0.0.0.0:9094", "--control-advertise"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(told("127.0.0.1:9094", Some("tunnel:1"), FAR).unwrap(), "tunnel:1");
        let own = Way::Own([10, 0, 0, 5].into());
        for way in [Way::Loopback, Way::Unknown, own] {
            assert_eq!(told("127.0.0.1:9094", None, way).unwrap(), "127.0.0.1:9094");
        }
    }

    #[test]
    fn every_address_at_once_is_told_by_the_one_that_the_masters_see() {
        assert_eq!(told("0.0.0.0:9094", None, FAR).unwrap(), "10.0.0.5:9094");
        assert_eq!(told("[::]:9094", None, FAR).unwrap(), "10.0.0.5:9094");
        let six = Way::Out("2001:db8::5".parse().unwrap());
        assert_eq!(told("[::]:9094", None, six).unwrap(), "[2001:db8::5]:9094");
        assert!(!told("0.0.0.0:9094", None, six).unwrap_or_default().contains("2001"));
        assert_eq!(told("0.0.0.0:9094", Some("logs:1"), FAR).unwrap(), "logs:1");
    }

    #[test]
    fn a_program_that_agents_cannot_fetch_is_refused_with_what_to_set() {
        let refused = |settings: &SchedulerSettings, way: Way| {
            reached_by_agents(settings, &way, "m1:5050").err().map(|error| error.to_string())
        };
        let mut fetched = settings("127.0.0.1:9092", None);
        assert_eq!(refused(&fetched, FAR), None);
        fetched.artifact = Some("artifacts/logherd-1".to_owned());
        let error = refused(&fetched, FAR).unwrap();
        assert!(error.contains("--listen 0.0.0.0:9092") && error.contains("--advertise"), "{error}");
        assert_eq!(refused(&fetched, Way::Loopback), None);
        fetched.advertise = Some("logs:9092".to_owned());
        assert_eq!(refused(&fetched, FAR), None);
    }

    #[tokio::test]
    async fn masters_on_this_machine_are_known_by_their_address() {
        assert_eq!(way_to(&["127.0.0.1:5050".to_owned(), "[::1]:5050".to_owned()]).await, Way::Loopback);
        assert_eq!(way_to(&["0.0.0.0:5050".to_owned()]).await, Way::Loopback);
        assert_eq!(way_to(&[]).await, Way::Unknown);
    }
}
