//! Reads what is shipped to operators: everything parses, nothing names a setting that there is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

#[path = "packaging/mustache.rs"]
mod mustache;

use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parsed(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The version of the workspace.
fn version() -> String {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    manifest["workspace"]["package"]["version"].as_str().unwrap().to_owned()
}

/// The files that an operator starts from.
fn shipped() -> Vec<(String, String)> {
    let mut waiting = vec![root().join("packaging")];
    let mut files = vec![root().join("docs/running.md"), root().join("docker-compose.yml")];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { waiting.push(path) } else { files.push(path) }
        }
    }
    files
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// What the schema says when nobody says anything: the options of a package that is installed as it is.
fn defaults(schema: &Value) -> Value {
    match schema.get("properties").and_then(Value::as_object) {
        None => schema.get("default").unwrap_or_else(|| panic!("no default: {schema}")).clone(),
        Some(properties) => {
            for required in schema["required"].as_array().unwrap() {
                assert!(
                    properties.contains_key(required.as_str().unwrap()),
                    "{required} is required and not there"
                );
            }
            properties.iter().map(|(name, of)| (name.clone(), defaults(of))).collect::<Map<_, _>>().into()
        }
    }
}

/// The app that DC/OS starts, with `change` made to the defaults.
fn rendered(change: impl FnOnce(&mut Value)) -> Value {
    let mut options = defaults(&parsed("packaging/dcos/config.json"));
    options["resource"] = parsed("packaging/dcos/resource.json");
    change(&mut options);
    let text = mustache::render(&text("packaging/dcos/marathon.json.mustache"), &options).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// What every app has to have, however it came about.
fn assert_app(app: &Value, name: &str) {
    assert_eq!(app["networks"], json!([{"mode": "host"}]), "executors reach the scheduler at its host");
    let ports: Vec<_> = app["portDefinitions"].as_array().unwrap().iter().map(|port| &port["name"]).collect();
    assert_eq!(ports, ["api", "control"], "PORT0 is the page's, PORT1 the control plane's");
    let check = &app["healthChecks"][0];
    assert_eq!(
        (&check["protocol"], &check["path"], &check["portIndex"]),
        (&json!("MESOS_HTTP"), &json!("/health"), &json!(0))
    );
    let labels = &app["labels"];
    for label in ["DCOS_PACKAGE_FRAMEWORK_NAME", "DCOS_SERVICE_NAME"] {
        assert_eq!(labels[label], name);
    }
    assert_eq!(
        (&labels["DCOS_SERVICE_SCHEME"], &labels["DCOS_SERVICE_PORT_INDEX"]),
        (&json!("http"), &json!("0"))
    );
    for (variable, value) in app["env"].as_object().unwrap() {
        // A secret is named in the environment and found in the store.
        let secret = value.get("secret").and_then(Value::as_str).map(|name| &app["secrets"][name]["source"]);
        let stored = secret.is_some_and(|source| source.as_str().is_some_and(|source| !source.is_empty()));
        assert!(value.is_string() || stored, "{variable} is {value}: neither a text nor a secret");
    }
    for required in ["LOGHERD_MASTER", "LOGHERD_STATE"] {
        assert!(app["env"][required].as_str().unwrap().starts_with("zk://"), "{required}");
    }
}

#[test]
fn marathon_gets_apps_that_listen_where_it_says() {
    let image = parsed("packaging/marathon/logherd.json");
    assert_app(&image, "logherd");
    assert_eq!(
        image["args"],
        json!(["scheduler"]),
        "the image has no shell; the binary reads PORT0 and PORT1"
    );
    let fetched = parsed("packaging/marathon/logherd-without-docker.json");
    assert_app(&fetched, "logherd");
    let command = fetched["cmd"].as_str().unwrap();
    for part in ["exec ./logherd scheduler", "--listen 0.0.0.0:$PORT0", "--control-listen 0.0.0.0:$PORT1"] {
        assert!(command.contains(part), "{part} in {command}");
    }
}

#[test]
fn the_package_is_one_that_dcos_takes() {
    let package = parsed("packaging/dcos/package.json");
    // The schema of the universe, packaging version 4.0: what is required, and what else is allowed.
    let required = [
        "packagingVersion",
        "name",
        "version",
        "maintainer",
        "description",
        "tags",
        "upgradesFrom",
        "downgradesTo",
        "minDcosReleaseVersion",
    ];
    let allowed = [
        "scm",
        "website",
        "framework",
        "preInstallNotes",
        "postInstallNotes",
        "postUninstallNotes",
        "selected",
        "licenses",
    ];
    for name in required {
        assert!(package.get(name).is_some(), "{name} is missing");
    }
    for name in package.as_object().unwrap().keys() {
        assert!(
            required.contains(&name.as_str()) || allowed.contains(&name.as_str()),
            "{name} is not allowed"
        );
    }
    assert_eq!(package["packagingVersion"], "4.0");
    assert_eq!(package["framework"], true);
    assert_eq!(package["version"].as_str().unwrap(), version());
    assert!(package["tags"].as_array().unwrap().iter().all(|tag| !tag.as_str().unwrap().contains(' ')));
    let images = parsed("packaging/dcos/resource.json");
    let image = images["assets"]["container"]["docker"]["logherd"].as_str().unwrap();
    assert!(image.ends_with(&format!(":{}", version())), "{image}");
}

#[test]
fn the_package_installs_as_it_is_and_with_every_option() {
    let app = rendered(|_| {});
    assert_app(&app, "logherd");
    assert_eq!((&app["id"], &app["instances"], &app["mem"]), (&json!("logherd"), &json!(1), &json!(384)));
    assert!(
        app["env"].get("LOGHERD_EXECUTOR_IMAGE").is_none() && app["env"].get("LOGHERD_PRINCIPAL").is_none()
    );
    let app = rendered(|options| {
        options["service"]["name"] = json!("logs");
        options["mesos"]["principal"] = json!("logherd");
        options["mesos"]["secret"] = json!("logherd/secret");
        options["executor"]["in_image"] = json!(true);
    });
    assert_app(&app, "logs");
    assert_eq!(app["env"]["LOGHERD_EXECUTOR_IMAGE"], app["container"]["docker"]["image"]);
    assert_eq!(app["env"]["LOGHERD_PRINCIPAL"], "logherd");
    assert_eq!(app["env"]["LOGHERD_SECRET"], json!({"secret": "principal"}));
}

/// What is built in for a setting of the scheduler, as its page says.
fn built_in(variable: &str) -> String {
    let page = text("docs/settings.md");
    let of_scheduler = page.split("## `logherd scheduler`").nth(1).unwrap();
    let row = of_scheduler.lines().find(|line| line.contains(&format!("`{variable}`"))).unwrap();
    row.split('|').nth(3).unwrap().trim().trim_matches('`').to_owned()
}

#[test]
fn what_is_built_in_is_what_packages_ask_for_and_agents_set_aside() {
    let with_image = rendered(|options| options["executor"]["in_image"] = json!(true));
    for variable in [
        "LOGHERD_EXECUTOR_CPUS",
        "LOGHERD_EXECUTOR_MEM",
        "LOGHERD_EXECUTOR_DISK",
        "LOGHERD_EXECUTOR_MOUNTS",
        "LOGHERD_ROLES",
        "LOGHERD_USER",
        "LOGHERD_FRAMEWORK_NAME",
        "LOGHERD_FAILOVER_TIMEOUT",
        "LOGHERD_ZK_SESSION_TIMEOUT",
        "DOCKER_HOST",
    ] {
        assert_eq!(with_image["env"][variable], built_in(variable), "{variable}");
    }
    // The task itself takes a little more than its executor.
    let flags = text("packaging/mesos/agent");
    for (resource, needed) in [("cpus", "CPUS"), ("mem", "MEM"), ("disk", "DISK")] {
        let after = flags.split(&format!("{resource}(logherd):")).nth(1).unwrap();
        let aside: f64 = after.split([';', '\n']).next().unwrap().parse().unwrap();
        let needed: f64 = built_in(&format!("LOGHERD_EXECUTOR_{needed}")).parse().unwrap();
        assert!(aside > needed, "{resource}: {aside} are set aside, more than {needed} are needed");
    }
}

#[test]
fn every_setting_that_is_shipped_is_a_setting() {
    let known = text("docs/settings.md");
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let mut wrong = Vec::new();
    for (path, content) in shipped() {
        for (number, line) in content.lines().enumerate() {
            let words = line.split(|letter: char| !is_word(letter));
            for word in words.filter(|word| word.starts_with("LOGHERD_") && word.len() > "LOGHERD_".len()) {
                if !known.contains(&format!("`{word}`")) {
                    wrong.push(format!("{path}:{}: there is no setting {word}", number + 1));
                }
            }
            let ours = line.contains("logherd ") || line.contains('`');
            for word in line.split_whitespace().map(|word| word.trim_matches(|letter| !is_word(letter))) {
                let flag = word.split('=').next().unwrap();
                let of_logherd =
                    ["--executor-", "--control-", "--zk-", "--framework-", "--failover-", "--advertise"];
                if ours
                    && of_logherd.iter().any(|start| flag.starts_with(start))
                    && !known.contains(&format!("`{flag}"))
                {
                    wrong.push(format!("{path}:{}: there is no flag {flag}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_unit_says_it_is_ready_the_way_the_binary_does() {
    let unit = text("packaging/systemd/logherd-scheduler.service");
    assert!(unit.contains("Type=exec\n"), "the binary does not notify systemd");
    assert!(unit.contains("ExecStart=/usr/local/bin/logherd scheduler\n"));
}
