//! Reads `zk://` addresses and connects to the ZooKeeper servers they name.
use std::time::Duration;
use zookeeper_client::{Acls, Client, Connector, Error};

/// The servers, the credentials and the path of a `zk://[user:pass@]host:port[,host:port…]/path` address.
#[derive(Clone, PartialEq, Eq)]
pub struct Ensemble {
    servers: String,
    auth: Option<String>,
    /// The path, beginning with a slash and not ending with one.
    pub path: String,
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

/// Why a text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no ZooKeeper address: {why}; write it as `zk://host:2181,host:2181/path`")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl Ensemble {
    /// Reads an address. Blanks after commas are allowed; ports are not optional, as Mesos wants it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (auth, shown) = match text.strip_prefix("zk://").and_then(|rest| rest.rsplit_once('@')) {
            Some((auth, rest)) => (Some(auth.to_owned()), format!("zk://***@{rest}")),
            None => (None, text.to_owned()),
        };
        let wrong = |why| AddressError { text: shown.clone(), why };
        let rest = text.strip_prefix("zk://").ok_or_else(|| wrong("it does not begin with `zk://`"))?;
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        if auth.as_ref().is_some_and(|auth| !auth.contains(':')) {
            return Err(wrong("the credentials are not `user:password`"));
        }
        let (servers, path) = rest.split_once('/').ok_or_else(|| wrong("the path is missing"))?;
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Err(wrong("the path is missing"));
        }
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(wrong("the path has an empty or relative part"));
        }
        let servers: Vec<&str> = servers.split(',').map(str::trim).collect();
        let fits = |server: &str| {
            server
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !servers.iter().all(|server| fits(server)) {
            return Err(wrong("a server is not `host:port`"));
        }
        Ok(Self { servers: servers.join(","), auth, path: format!("/{path}") })
    }

    /// The address without its credentials.
    pub fn describe(&self) -> String {
        format!("zk://{}{}", self.servers, self.path)
    }

    /// The servers, each `host:port`.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.split(',')
    }

    /// Who may use the nodes that we make: everybody, or with credentials only we.
    pub fn acls(&self) -> Acls<'static> {
        if self.auth.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
    }

    /// Opens a session; gives up after about one session timeout.
    pub async fn connect(&self, session_timeout: Duration) -> Result<Client, Error> {
        let mut connector: Connector = Client::connector().with_session_timeout(session_timeout);
        if let Some(auth) = &self.auth {
            connector = connector.with_auth("digest", auth.as_bytes());
        }
        connector.connect(&self.servers).await
    }
}

/// Whether an error says that the connection or the session is lost: what was asked may have happened or not.
/// A broken socket shows as `Custom`.
pub fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::ConnectionLoss
            | Error::Custom(_)
            | Error::Timeout
            | Error::SessionExpired
            | Error::SessionMoved
            | Error::ClientClosed
            | Error::NoHosts
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_taken_apart_and_never_shows_its_password() {
        let ensemble = Ensemble::parse("zk://user:p@ss@a:2181, b:2182/logherd/x/").unwrap();
        assert_eq!(ensemble.auth.as_deref(), Some("user:p@ss"));
        assert_eq!(format!("{ensemble:?}"), "zk://a:2181,b:2182/logherd/x");
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong_and_keeps_the_password_to_itself() {
        let error = |text| Ensemble::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("zk://me:secret@a:2181"),
            "`zk://***@a:2181` is no ZooKeeper address: the path is missing; write it as `zk://host:2181,host:2181/path`"
        );
        assert!(error("zk://a/x").contains("a server is not `host:port`"));
        assert!(error("zk://a:1/x//y").contains("empty or relative part"));
        assert!(error("a:2181/x").contains("does not begin with"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(zk://)?[a-z:@,/0-9 .]{0,40}") {
            if let Ok(ensemble) = Ensemble::parse(&text) {
                prop_assert!(ensemble.path.starts_with('/') && !ensemble.path.ends_with('/'));
            }
        }
    }
}
