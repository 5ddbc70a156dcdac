//! Makes and checks the tokens by which executors prove to their agent who they are: JWTs with HS256, one per container.
//!
//! The key stays the same over restarts of the agent, since a container keeps the token that it was started with.

use super::core::{Claims, RunKey};
use crate::error::Error;
use crate::wire::body::{self, Answer};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use ring::hmac;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const REALM: &str = "mesos-agent-executor";
/// What every token begins with: `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const KEY_LENGTH: usize = 32;

/// The key of an agent (`--jwt_secret_key` of a real one).
#[derive(Clone)]
pub(crate) struct Tokens(hmac::Key);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// Reads the key in the agent's work directory, or makes one that only this user can read.
    pub(crate) fn open(work_dir: &Path) -> Result<Self, Error> {
        let path = work_dir.join("jwt.key");
        let failed = |doing: &'static str| {
            let path = path.clone();
            move |source| Error::File { doing, path, source }
        };
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let key = match made {
            Ok(mut file) => {
                let key: [u8; KEY_LENGTH] = rand::random();
                file.write_all(&key).and_then(|()| file.sync_data()).map_err(failed("write"))?;
                key.to_vec()
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::read(&path).map_err(failed("read"))?
            }
            Err(error) => return Err(failed("create")(error)),
        };
        if key.len() != KEY_LENGTH {
            let problem = format!("it holds {} bytes where a key of {KEY_LENGTH} belongs", key.len());
            return Err(Error::Damaged { path, problem });
        }
        Ok(Self::with_key(&key))
    }

    fn with_key(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token of one container.
    pub(crate) fn make(&self, run: &RunKey) -> String {
        let claims = serde_json::json!({
            "cid": run.container.0, "eid": run.executor.0, "fid": run.framework.0,
        });
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Who makes a request; a 401 when it does not say, or nobody can tell.
    pub(crate) fn claims(&self, headers: &HeaderMap) -> Result<Claims, Box<Answer>> {
        let Some(given) = headers.get(AUTHORIZATION) else { return Err(unauthorized("")) };
        let invalid = |problem: &str| {
            unauthorized(&format!(", error=\"invalid_token\", error_description=\"{problem}\""))
        };
        let token = given.to_str().ok().and_then(|given| given.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| invalid("Malformed 'Authorization' header"))?;
        self.read(token).map_err(|problem| invalid(&format!("Invalid JWT: {problem}")))
    }

    fn read(&self, token: &str) -> Result<Claims, &'static str> {
        let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
        let (header, payload) = signed.split_once('.').unwrap_or_default();
        if header.is_empty() || payload.contains('.') {
            return Err("Expected 3 components in token");
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text);
        let signature = decode(signature).map_err(|_| "Token signature does not match")?;
        hmac::verify(&self.0, signed.as_bytes(), &signature).map_err(|_| "Token signature does not match")?;
        // The signature covers the header, and no other is ever signed with this key.
        let payload = decode(payload).map_err(|_| "Failed to decode token payload")?;
        serde_json::from_slice(&payload).map_err(|_| "Failed to parse token payload")
    }
}

fn unauthorized(problem: &str) -> Box<Answer> {
    let mut answer = body::text(401, "401 Unauthorized.");
    if let Ok(challenge) = HeaderValue::from_str(&format!("Bearer realm=\"{REALM}\"{problem}")) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    Box::new(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::core::ContainerId;
    use crate::ids::{ExecutorId, FrameworkId};
    use proptest::prelude::*;

    /// The container of a recorded token (`13-executor-authentication/env.txt`).
    fn recorded_run() -> RunKey {
        RunKey {
            framework: FrameworkId("b5e08672-9252-4e07-8716-792a7aef1705-0000".into()),
            executor: ExecutorId("logherd-exec.1".into()),
            container: ContainerId("e85142b5-5014-4a16-9e1c-e03c5c22099c".into()),
        }
    }

    const RECORDED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJjaWQiOiJlODUxNDJiNS01MDE0LTRhMTYtOWUxYy1lMDNjNWMyMjA5OWMiLCJlaWQiOiJsb2doZXJkLWV4ZWMuMSIsImZpZCI6ImI1ZTA4NjcyLTkyNTItNGUwNy04NzE2LTc5MmE3YWVmMTcwNS0wMDAwIn0.";

    fn challenge(tokens: &Tokens, authorization: Option<&str>) -> Result<Claims, String> {
        let headers = authorization.map(|text| (AUTHORIZATION, HeaderValue::from_str(text).unwrap()));
        tokens.claims(&headers.into_iter().collect()).map_err(|answer| {
            assert_eq!(answer.status(), 401);
            answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned()
        })
    }

    #[test]
    fn a_token_is_that_of_a_real_agent_but_for_the_key() {
        let tokens = Tokens::with_key(b"key");
        let token = tokens.make(&recorded_run());
        assert!(token.starts_with(RECORDED), "{token}");
        let claims = challenge(&tokens, Some(&format!("Bearer {token}"))).unwrap();
        assert_eq!(claims.eid, "logherd-exec.1");
        assert_eq!(claims.cid, recorded_run().container.0);
    }

    #[test]
    fn who_shows_no_token_or_a_wrong_one_hears_what_a_real_agent_says() {
        let tokens = Tokens::with_key(b"key");
        let realm = r#"Bearer realm="mesos-agent-executor""#;
        assert_eq!(challenge(&tokens, None).unwrap_err(), realm);
        let broken = format!("Bearer {RECORDED}Bvp8fWM0teYYJ1s_NuKrDiMg55BpdLiipVqIXFbExyz");
        let said = challenge(&tokens, Some(&broken)).unwrap_err();
        let why =
            r#", error="invalid_token", error_description="Invalid JWT: Token signature does not match""#;
        assert_eq!(said, format!("{realm}{why}"));
        for wrong in ["Bearer", "Basic eDp5", "Bearer a.b", "Bearer a.b.c.d"] {
            assert!(challenge(&tokens, Some(wrong)).unwrap_err().contains("invalid_token"), "{wrong}");
        }
        let other = Tokens::with_key(b"another").make(&recorded_run());
        challenge(&tokens, Some(&format!("Bearer {other}"))).unwrap_err();
    }

    #[test]
    fn the_key_outlives_the_agent_and_is_for_this_user_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let token = Tokens::open(dir.path()).unwrap().make(&recorded_run());
        let again = Tokens::open(dir.path()).unwrap();
        challenge(&again, Some(&format!("Bearer {token}"))).unwrap();
        let path = dir.path().join("jwt.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(Tokens::open(dir.path()).unwrap_err().to_string().contains("is damaged"));
    }

    proptest! {
        #[test]
        fn no_text_is_a_token(text in "[ -~]{0,80}") {
            prop_assert!(challenge(&Tokens::with_key(b"key"), Some(&text)).is_err());
        }
    }
}
