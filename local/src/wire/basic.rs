//! Checks HTTP Basic credentials the way Mesos does.

use super::body::{self, Answer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};

/// The principal of a request; none when nobody needs one, a 401 when somebody does.
pub(crate) fn principal(
    credentials: &[(String, String)],
    realm: &'static str,
    headers: &HeaderMap,
) -> Result<Option<String>, Box<Answer>> {
    if credentials.is_empty() {
        return Ok(None);
    }
    let given = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).and_then(decode);
    let known = given.and_then(|(principal, secret)| {
        credentials
            .iter()
            .find(|known| known.0 == principal && known.1 == secret)
            .map(|known| known.0.clone())
    });
    known.map(Some).ok_or_else(|| Box::new(unauthorized(realm)))
}

/// `Basic`, one space, base64 of `principal:secret`; more than one colon can never be right.
fn decode(header: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (principal, secret) = text.split_once(':')?;
    (!secret.contains(':')).then(|| (principal.to_owned(), secret.to_owned()))
}

fn unauthorized(realm: &'static str) -> Answer {
    let mut answer = body::text(401, "401 Unauthorized.");
    if let Ok(challenge) = HeaderValue::from_str(&format!("Basic realm=\"{realm}\"")) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_in_the_right_form_is_let_in() {
        let credentials =
            vec![("logherd".to_owned(), "secret".to_owned()), ("a".to_owned(), "b:c".to_owned())];
        let check = |header: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
            principal(&credentials, "realm", &headers).map_err(|answer| answer.status().as_u16())
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(check(&basic("logherd:secret")), Ok(Some("logherd".into())));
        for wrong in
            [basic("logherd:wrong"), basic("logherd"), basic("a:b:c"), "Basic ?".into(), "Bearer x".into()]
        {
            assert_eq!(check(&wrong), Err(401), "{wrong}");
        }
        assert_eq!(check(&basic("logherd:secret").replace("Basic", "basic")), Err(401));
        assert!(principal(&[], "realm", &HeaderMap::new()).unwrap().is_none());
    }
}
