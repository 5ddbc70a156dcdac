use super::*;
use proptest::prelude::*;

const SHA: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn applies(pattern: &str, image: &str) -> bool {
    ImagePattern::parse(pattern).unwrap().matches(image)
}

#[test]
fn a_pattern_applies_to_every_spelling_of_its_image() {
    for pattern in [
        "nginx",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx",
        "index.docker.io/library/nginx",
        "registry-1.docker.io/library/nginx",
        "Docker.IO/library/nginx",
    ] {
        for image in [
            "nginx".to_owned(),
            "nginx:1.27".into(),
            "library/nginx".into(),
            format!("docker.io/library/nginx@{SHA}"),
            format!("nginx:1.27@{SHA}"),
            "index.docker.io/library/nginx:x".into(),
            "docker.io/nginx".into(),
        ] {
            assert!(applies(pattern, &image), "{pattern} ~ {image}");
        }
        for image in [
            "nginx2",
            "my/nginx",
            "quay.io/nginx",
            "quay.io/library/nginx:1",
            "nginx/nginx",
            "localhost/nginx",
        ] {
            assert!(!applies(pattern, image), "{pattern} !~ {image}");
        }
    }
}

#[test]
fn tags_digests_and_wildcards_decide_as_documented() {
    let other = SHA.replace('9', "8");
    let short = format!("nginx@{SHA}");
    let table: &[(&str, &str, bool)] = &[
        ("nginx:1.27", "nginx:1.27", true),
        ("nginx:1.27", "docker.io/library/nginx:1.27", true),
        ("nginx:1.27", &format!("nginx:1.27@{SHA}"), true),
        ("nginx:1.27", &short, false),
        ("nginx:1.27", "nginx:1.28", false),
        ("nginx:1.27", "nginx", false),
        ("nginx:latest", "nginx", true),
        ("nginx:Latest", "nginx:latest", false),
        (&short, &short, true),
        (&short, &format!("nginx:1.27@{SHA}"), true),
        (&short, &format!("nginx@{other}"), false),
        (&short, "nginx:1.27", false),
        (&format!("nginx:1.27@{SHA}"), &short, true),
        (&format!("nginx:1.27@{SHA}"), &format!("nginx:1.28@{SHA}"), false),
        ("*@sha256:9f86*", &short, true),
        ("*", "nginx", true),
        ("*", "nginx:1.27", true),
        ("*", "host:5000/team/app:1", true),
        ("*", SHA, true),
        ("*", &short, true),
        ("*:1.27", SHA, false),
        ("team/*", "team/app", true),
        ("team/*", "team/web/app:3", true),
        ("team/*", "docker.io/team/app", true),
        ("team/*", "team", false),
        ("team/*", "myteam/app", false),
        ("team/*", "host:5000/team/app", false),
        ("*/app", "host:5000/team/app", true),
        ("library/*", "nginx", true),
        ("library/*", "team/app", false),
        ("docker.io/*", "team/app", true),
        ("docker.io/*", "quay.io/team/app", false),
        ("nginx:1.*", "nginx:1.27", true),
        ("nginx:1.*", "nginx:2.1", false),
        ("nginx:1.2?", "nginx:1.27", true),
        ("nginx:1.2?", "nginx:1.2", false),
        ("ngin?", "nginx", true),
        ("team?app", "team/app", false),
        ("nginx*", "nginx-exporter:2", true),
        ("host:5000/team/app", "host:5000/team/app:1", true),
        ("HOST:5000/team/app", "host:5000/team/app:1", true),
        ("host:5000/team/app:1", "host:5000/team/app:1", true),
        ("host:5000/team/app:1", "host:5000/team/app:2", false),
        ("host:5000/*", "host:5000/team/app:2", true),
        ("host:*/app", "host:5000/app", true),
        ("localhost/app", "localhost/app:1", true),
        ("*.example.com/app", "eu.example.com/app", true),
        (SHA, SHA, true),
        ("sha256:9f86*", SHA, true),
        ("sha256:0000*", SHA, false),
        ("nginx", SHA, false),
        ("web/nginx", "web/nginx:1.27", true),
    ];
    for (pattern, image, expected) in table {
        assert_eq!(applies(pattern, image), *expected, "`{pattern}` on `{image}`");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "it is empty"),
        ("/nginx", "empty part"),
        ("nginx/", "empty part"),
        ("a//b", "empty part"),
        ("nginx:", "no tag after the colon"),
        ("nginx:1:2", "no tag can have"),
        ("nginx@", "holds no digest"),
        ("nginx@sha256", "holds no digest"),
        ("nginx@sha256:xyz", "holds no digest"),
        ("sha256:xyz", "holds no digest"),
        ("sha256:", "holds no digest"),
        ("Nginx", "did you mean `nginx`?"),
        ("team/App", "did you mean `team/app`?"),
        ("ngin x", "no image name can have"),
        ("reg$istry.io/app", "no registry can have"),
        ("nginx,redis", "no image name can have"),
    ] {
        let error = ImagePattern::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "`{text}`: {error}");
    }
}

#[test]
fn the_most_specific_pattern_comes_first() {
    let digest = format!("nginx@{SHA}");
    let expected = [
        digest.as_str(),
        "nginx:1.27",
        "nginx:1.2?",
        "nginx:1.*",
        "*:1.27",
        "nginx",
        "ngin?",
        "ng*",
        "n*",
        "*",
    ];
    let mut shuffled = expected;
    shuffled.reverse();
    shuffled.swap(1, 5);
    assert_eq!(applicable(shuffled, &format!("nginx:1.27@{SHA}")), expected);
    assert_eq!(applicable(["*", "nope", "nginx:", "nginx"], "nginx:3"), ["nginx", "*"]);
}

/// The plain definition of a wildcard match, to compare with.
fn glob_by_definition(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some(('*', after)), rest) => {
            glob_by_definition(after, text) || rest.is_some_and(|(_, rest)| glob_by_definition(pattern, rest))
        }
        (Some((p, after)), Some((t, rest))) => {
            (p == t || (*p == '?' && *t != '/')) && glob_by_definition(after, rest)
        }
        (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn wildcards_match_as_defined(pattern in "[ab/*?]{0,10}", text in "[ab/]{0,12}") {
        let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(glob(&pattern, &text), glob_by_definition(&p, &t));
    }

    #[test]
    fn no_text_makes_parsing_or_matching_panic(pattern in "\\PC{0,40}", image in "\\PC{0,40}") {
        if let Ok(pattern) = ImagePattern::parse(&pattern) {
            pattern.matches(&image);
        }
    }

    #[test]
    fn an_image_matches_its_own_name(
        registry in prop::option::of("[a-z]{1,6}(\\.[a-z]{2,3}|:[0-9]{2,5})"),
        path in "[a-z0-9]{1,8}(/[a-z0-9_.-]{1,8}){0,3}",
        tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}"),
    ) {
        let name = registry.map_or(path.clone(), |r| format!("{r}/{path}"));
        let image = tag.map_or(name.clone(), |t| format!("{name}:{t}"));
        prop_assert!(applies(&image, &image));
        prop_assert!(applies(&name, &image));
        prop_assert!(applies("*", &image));
    }

    #[test]
    fn precedence_is_a_total_order_that_ignores_how_the_patterns_were_listed(
        patterns in prop::collection::vec("[a-c*?]{1,4}(:[0-9*]{1,2})?", 0..8), seed in any::<usize>()
    ) {
        let mut rotated: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let first = applicable(rotated.clone(), "abc:1");
        if !rotated.is_empty() {
            let by = seed % rotated.len();
            rotated.rotate_left(by);
        }
        prop_assert_eq!(applicable(rotated, "abc:1"), first);
        for a in patterns.iter().filter_map(|p| ImagePattern::parse(p).ok()) {
            for b in patterns.iter().filter_map(|p| ImagePattern::parse(p).ok()) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
                prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            }
        }
    }
}
