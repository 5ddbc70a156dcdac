//! Shakes hands with OpenSSL's own server as a Mesos has it whose defaults nobody has changed.
use super::*;
use crate::mesos::http::Connection;
use crate::mesos::{Access, Credentials};
use std::process::Stdio;
use std::time::Duration;
#[cfg(feature = "openssl")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval};

/// What Mesos offers where nobody has set `LIBPROCESS_SSL_CIPHERS`.
const DEFAULT_CIPHERS: &str = "AES128-SHA:AES256-SHA:RC4-SHA:DHE-RSA-AES128-SHA:DHE-DSS-AES128-SHA:DHE-RSA-AES256-SHA:DHE-DSS-AES256-SHA";

/// OpenSSL's own server with the ciphers and the protocol of a Mesos whose defaults nobody has changed.
struct DefaultMaster {
    port: u16,
    authority: PathBuf,
    #[cfg_attr(not(feature = "openssl"), expect(dead_code, reason = "it ends when it is dropped"))]
    server: Child,
    _dir: tempfile::TempDir,
}

impl DefaultMaster {
    /// Starts it. `None`, said loudly, when there is no `openssl` here; in CI that is a failure.
    async fn start() -> Option<Self> {
        if Command::new("openssl").arg("version").output().await.is_err() {
            let ci = config::settings::environment("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "`openssl` is missing: install Debian's package of that name");
            eprintln!("SKIPPED: no `openssl` here; install Debian's package of that name");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (authority, key) = (dir.path().join("master.pem"), dir.path().join("master-key.pem"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]);
        make.args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&authority);
        let made = make.output().await.unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut serve = Command::new("openssl");
        serve.args(["s_server", "-quiet", "-tls1_2", "-cipher", DEFAULT_CIPHERS, "-accept"]);
        serve.arg(format!("127.0.0.1:{port}")).arg("-cert").arg(&authority).arg("-key").arg(&key);
        serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let server = serve.spawn().unwrap();
        Some(Self { port, authority, server, _dir: dir })
    }

    fn access(&self) -> Access {
        let files = Files { authority: Some(&self.authority), ..Files::default() };
        let credentials = Credentials { principal: "logherd".into(), secret: "pass".into() };
        Access { credentials: Some(credentials), tls: Some(read(files).unwrap()) }
    }

    /// A connection to it, or why there is none, once it listens.
    async fn shake(&self) -> Result<Connection, String> {
        let mut look = interval(Duration::from_millis(50));
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            look.tick().await;
            let opened = Connection::open(&format!("localhost:{}", self.port), self.access()).await;
            match opened {
                Err(error) if error.to_string().contains("refused") && Instant::now() < deadline => {}
                other => return other.map_err(|error| error.to_string()),
            }
        }
    }
}

#[cfg(not(feature = "openssl"))]
#[tokio::test]
async fn a_master_with_mesos_default_ciphers_is_an_error_that_says_what_to_set() {
    let Some(master) = DefaultMaster::start().await else { return };
    let error = master.shake().await.err().expect("nothing in common");
    assert!(error.contains("LIBPROCESS_SSL_CIPHERS") && error.contains("docs/tls.md"), "{error}");
}

#[cfg(feature = "openssl")]
#[tokio::test]
async fn a_master_with_mesos_default_ciphers_is_asked_and_answers() {
    let Some(mut master) = DefaultMaster::start().await else { return };
    let mut connection = master.shake().await.unwrap();
    let (mut heard, mut says) = (master.server.stdout.take().unwrap(), master.server.stdin.take().unwrap());
    let answering = async {
        let mut asked = Vec::new();
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(heard.read_buf(&mut asked).await.unwrap() > 0, "the server ended");
        }
        says.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        says.flush().await.unwrap();
        String::from_utf8_lossy(&asked).to_lowercase()
    };
    let (answer, asked) = tokio::join!(connection.ask("/api/v1", None, Vec::new(), 100), answering);
    assert_eq!(answer.unwrap(), "hello");
    assert!(asked.starts_with("post /api/v1") && asked.contains("authorization: basic"), "{asked}");
}
