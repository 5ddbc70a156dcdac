//! Shows which settings a scheduler does not start with.
use super::*;

fn settings(principal: Option<&str>, secret: Option<&str>, file: Option<&Path>) -> SchedulerSettings {
    let mut settings = SchedulerSettings::for_master("127.0.0.1:5050", "/state").unwrap();
    settings.principal = principal.map(str::to_owned);
    settings.secret = secret.map(|secret| Secret::from(secret.to_owned()));
    settings.secret_file = file.map(Path::to_owned);
    settings
}

fn refused(settings: &SchedulerSettings) -> String {
    match credentials(settings) {
        Ok(found) => panic!("taken: {}", found.is_some()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_principal_without_a_secret_is_only_named() {
    assert!(credentials(&settings(Some("logherd"), None, None)).unwrap().is_none());
}

#[test]
fn a_secret_without_a_principal_is_refused_with_what_to_give() {
    for (secret, file) in [(Some("s"), None), (None, Some(Path::new("/secret")))] {
        let error = refused(&settings(None, secret, file));
        assert!(error.contains("--principal"), "{error}");
    }
}

#[test]
fn a_principal_and_its_secret_authenticate_and_neither_is_fine() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from file\n").unwrap();
    let by_file = credentials(&settings(Some("logherd"), Some("s"), Some(file.path()))).unwrap().unwrap();
    assert_eq!((by_file.principal.as_str(), by_file.secret.as_str()), ("logherd", "from file"));
    assert_eq!(credentials(&settings(Some("logherd"), Some("s"), None)).unwrap().unwrap().secret, "s");
    assert!(credentials(&settings(None, None, None)).unwrap().is_none());
}
