//! Takes what Marathon gives an app in the environment: ports, and the name of the machine.
use super::environment;

/// The address to listen on: every address of the machine and the port that Marathon set aside, else `otherwise`.
pub(super) fn listen(port: &str, otherwise: &str) -> String {
    listen_on(environment(port).as_deref(), otherwise)
}

fn listen_on(port: Option<&str>, otherwise: &str) -> String {
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(port) => format!("0.0.0.0:{port}"),
        None => otherwise.to_owned(),
    }
}

/// The name under which Mesos knows this machine. Many shells set `HOST` too, so it counts only beside a port.
pub fn host() -> Option<String> {
    environment("PORT0")?;
    environment("HOST").filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_listens_where_marathon_tells_it_to() {
        assert_eq!(listen_on(Some("31005"), "127.0.0.1:9092"), "0.0.0.0:31005");
        for other in [None, Some(""), Some("port"), Some("70000")] {
            assert_eq!(listen_on(other, "127.0.0.1:9092"), "127.0.0.1:9092");
        }
    }
}
