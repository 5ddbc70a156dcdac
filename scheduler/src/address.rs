//! Tells the addresses under which others reach this scheduler.
use config::settings::SchedulerSettings;
use std::net::SocketAddr;

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
    let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = config::settings::marathon_host().unwrap_or_else(own);
    if name.is_empty() { bound.to_string() } else { format!("{name}:{}", bound.port()) }
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
}
