//! Shows when a teardown counts as done.
use super::*;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

#[derive(clap::Parser)]
struct Typed {
    #[command(flatten)]
    client: ClientSettings,
}

/// Follows a scheduler that says these details, each once, and is gone then.
async fn followed(details: &'static [&'static str]) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let scheduler = thread::spawn(move || {
        for detail in details {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            assert!(stream.read(&mut asked).unwrap() > 0);
            let body = json!({ "phase": "tearing down", "detail": detail }).to_string();
            let head =
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length";
            write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    // As the process does at its beginning.
    drop(rustls::crypto::ring::default_provider().install_default());
    let typed = <Typed as clap::Parser>::parse_from(["", "--api", &address]);
    let end = follow(&Api::new(&typed.client).unwrap(), &|_: &str| {}, Duration::ZERO).await;
    scheduler.join().unwrap();
    end
}

#[tokio::test]
async fn a_scheduler_that_said_that_all_is_done_may_be_gone() {
    assert!(followed(&["forgetting the framework", TORN_DOWN]).await.unwrap().contains("--register-anew"));
}

#[tokio::test]
async fn one_that_is_gone_before_is_no_end_and_the_answer_says_that_it_is_not_known() {
    for details in [&["3 executors are ending"][..], &["asking Mesos to remove the framework"]] {
        let why = followed(details).await.unwrap_err().to_string();
        assert!(why.contains("it is not known") && why.contains(details[0]), "{why}");
    }
}
