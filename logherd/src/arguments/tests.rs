use super::*;
use clap::CommandFactory as _;

#[test]
fn the_command_line_is_sound_and_every_flag_is_documented() {
    let mut command = Arguments::command();
    command.build();
    command.clone().debug_assert();
    let mut open = vec![&command];
    while let Some(command) = open.pop() {
        assert!(command.get_about().is_some() || command.get_name() == "help", "{}", command.get_name());
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some() || arg.get_long_help().is_some(), "{}", arg.get_id());
        }
        open.extend(command.get_subcommands().filter(|c| c.get_name() != "help"));
    }
}

#[test]
fn commands_read_as_documented() {
    for argv in [
        "logherd local --nodes 5 --log-format json",
        "logherd local --mesos-only",
        "logherd scheduler --master zk://a:2181/mesos --state zk://a:2181/logherd",
        "logherd run -f a.conf -f b.conf",
        "logherd run -e filter{}",
        "logherd run --config.support_escapes --pipeline.ecs_compatibility v8 -e filter{}",
        "logherd check docker host --scope guess --format json",
        "logherd plugins",
        "logherd plugins grok --format json",
        "logherd configs list --api http://h:1",
        "logherd configs put web/nginx nginx.conf",
        "logherd configs delete --host out",
        "logherd nodes --json",
        "logherd nodes --format json",
        "logherd check --format json docker",
        "logherd teardown --framework f-0001 --master zk://a:2181/mesos --yes",
        "logherd status",
        "logherd why node-1",
    ] {
        Arguments::try_parse_from(argv.split(' ')).unwrap_or_else(|e| panic!("{argv}: {e}"));
    }
    Arguments::try_parse_from(["logherd"]).unwrap_err();
}

/// Prints the reference page of all settings.
fn page() -> String {
    let mut page = String::from(
        "# Settings\n\nThis page is printed from the declarations of the settings: `UPDATE=1 cargo test -p logherd` rewrites it.\n\n\
         The command line wins over the environment, the environment over the settings file, the file over what is built in. In the \
         settings file a key is the name of a flag without its dashes: at the top for every command, in a table such as `[local]` for \
         one command. A key that no command knows is an error with its place.\n",
    );
    let mut command = Arguments::command();
    command.build();
    let process = command.get_arguments().filter(|arg| arg.is_global_set());
    page.push_str(&section("Every command", "", process));
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let below: Vec<_> = sub.get_subcommands().filter(|c| c.get_name() != "help").collect();
        let own: Vec<_> = sub.get_arguments().filter(|arg| !arg.is_global_set()).collect();
        if below.is_empty() || own.iter().any(|arg| arg.get_id() != "help") {
            page.push_str(&section(&format!("`logherd {}`", sub.get_name()), &about, own.into_iter()));
        }
        for leaf in below {
            let about = leaf.get_about().map(ToString::to_string).unwrap_or_default();
            let own = leaf.get_arguments().filter(|arg| !arg.is_global_set());
            page.push_str(&section(
                &format!("`logherd {} {}`", sub.get_name(), leaf.get_name()),
                &about,
                own,
            ));
        }
    }
    page
}

fn section<'a>(title: &str, about: &str, arguments: impl Iterator<Item = &'a clap::Arg>) -> String {
    let mut text = format!("\n## {title}\n\n");
    if !about.is_empty() {
        text.push_str(&format!("{about}.\n\n"));
    }
    text.push_str("| flag | environment | built in | |\n|---|---|---|---|\n");
    for arg in arguments.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
        let takes_value = arg.get_action().takes_values();
        let value = match arg.get_value_names() {
            Some(names) if takes_value => format!(" {}", names.join(" ").replace('|', "\\|")),
            _ => String::new(),
        };
        let flag = match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}{value}"),
            (None, Some(long)) => format!("--{long}{value}"),
            _ => value.trim().to_owned(),
        };
        let env = arg.get_env().map(|e| format!("`{}`", e.to_string_lossy())).unwrap_or_default();
        let default: Vec<String> = match takes_value {
            true => arg.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy())).collect(),
            false => Vec::new(),
        };
        let help =
            arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let help = help.replace('\n', " ").replace('|', "\\|");
        text.push_str(&format!("| `{flag}` | {env} | {} | {help} |\n", default.join(", ")));
    }
    text
}

#[test]
fn the_reference_page_of_settings_is_printed_from_their_declarations() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let printed = page();
    if config::settings::environment("UPDATE").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == printed, "docs/settings.md is old: `UPDATE=1 cargo test -p logherd` rewrites it");
}
