//! Logins at a broker in this process.
use super::*;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A broker that knows this password; it answers one connection.
async fn broker(password: &'static str) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut said, mut scram) = (Vec::new(), None);
        while let Ok(length) = stream.read_i32().await {
            let mut request = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut request).await.unwrap();
            // The API, its version, the number of the request, the name of the client: `c`.
            let body = request.split_off(8 + 2 + 1);
            let mut answer = request[4..8].to_vec();
            if request[..2] == 17_i16.to_be_bytes() {
                let known = [b"\0\x05PLAIN".as_slice(), b"\0\x0dSCRAM-SHA-256"].contains(&body.as_slice());
                answer.extend_from_slice(&if known { 0_i16 } else { 33 }.to_be_bytes());
                answer.extend_from_slice(&0_i32.to_be_bytes());
            } else {
                let words = String::from_utf8(body[4..].to_vec()).unwrap();
                said.push(words.clone());
                let reply = match &scram {
                    _ if words.starts_with('\0') => (words == format!("\0u\0{password}")).then(String::new),
                    None => {
                        let nonce = words.rsplit_once("r=").unwrap().1;
                        let challenge = format!("r={nonce}broker,s=AAEC,i=4096");
                        let own = Scram::begin(Hash::Sha256, "u", password, nonce);
                        scram = Some(own.answer(&challenge).unwrap());
                        Some(challenge)
                    }
                    Some(proof) => (words == proof.message).then(|| proof.told()),
                };
                match reply {
                    Some(reply) => {
                        answer.extend_from_slice(&[0, 0, 0xff, 0xff]);
                        answer.extend_from_slice(&i32::try_from(reply.len()).unwrap().to_be_bytes());
                        answer.extend_from_slice(reply.as_bytes());
                    }
                    None => answer.extend_from_slice(b"\0\x3a\0\x05wrong\0\0\0\0"),
                }
            }
            stream.write_i32(i32::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
        assert!(said.iter().all(|words| words.starts_with('\0') || !words.contains(password)));
    });
    (port, tasks)
}

async fn login(mechanism: Mechanism, password: &str) -> Result<(), String> {
    let (port, mut tasks) = broker("s3cret").await;
    let login = Login { mechanism, user: "u".to_owned(), password: password.to_owned() };
    let manner = Manner {
        way: Way::Tcp,
        client_id: "c".to_owned(),
        login: Some(login),
        patience: Duration::from_secs(20),
    };
    let opened = Connection::open(&("127.0.0.1".to_owned(), port), &manner).await;
    let result = opened.map(drop).map_err(|error| error.to_string());
    tasks.join_next().await.unwrap().unwrap();
    result
}

#[tokio::test]
async fn who_knows_the_password_is_let_in_and_with_a_challenge_it_does_not_travel() {
    let scram = Mechanism::named("SCRAM-SHA-256").unwrap();
    for mechanism in [Mechanism::Plain, scram] {
        assert_eq!(login(mechanism, "s3cret").await, Ok(()), "{mechanism:?}");
        assert_eq!(login(mechanism, "guess").await, Err("wrong".to_owned()), "{mechanism:?}");
    }
    let unknown = login(Mechanism::Scram(Hash::Sha512), "s3cret").await;
    assert_eq!(unknown, Err("the broker does not know SASL SCRAM-SHA-512".to_owned()));
}
