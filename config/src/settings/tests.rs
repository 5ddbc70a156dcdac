use super::file::{asked_path, layer, parse_over};
use super::*;
use clap::{Command, CommandFactory, Parser, Subcommand};
use proptest::prelude::*;
use std::path::Path;

#[derive(Debug, Parser)]
struct Everything {
    #[command(flatten)]
    process: ProcessSettings,
    #[command(subcommand)]
    command: AnyCommand,
}

#[derive(Debug, Subcommand)]
enum AnyCommand {
    Local(Box<LocalSettings>),
    Scheduler(Box<SchedulerSettings>),
    Executor(Box<ExecutorSettings>),
    Run(RunSettings),
    Check(CheckSettings),
    Nodes(ClientSettings),
}

fn with_file(text: &str) -> Result<Command, String> {
    layer(Everything::command(), Path::new("logherd.toml"), text).map_err(|e| e.to_string())
}

fn settings(text: &str, argv: &[&str]) -> Everything {
    let argv: Vec<_> = argv.iter().map(Into::into).collect();
    parse_over(with_file(text).unwrap(), &argv).unwrap()
}

fn local(text: &str, argv: &[&str]) -> LocalSettings {
    match settings(text, argv).command {
        AnyCommand::Local(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_file_is_over_the_built_in_and_below_the_command_line() {
    assert_eq!(local("", &["logherd", "local"]).nodes, 1);
    assert_eq!(local("nodes = 3", &["logherd", "local"]).nodes, 3);
    assert_eq!(local("nodes = 3", &["logherd", "local", "--nodes", "5"]).nodes, 5);
    assert_eq!(local("[local]\nnodes = 4", &["logherd", "local"]).nodes, 4);
    let text = "spool-max = \"7MB\"\n[scheduler]\nspool-max = \"8MB\"\nmaster = 'm:5050'\nstate = '/s'";
    assert_eq!(local(text, &["logherd", "local"]).collecting.spool_max, bytesize::ByteSize::mb(7));
    let AnyCommand::Scheduler(scheduler) = settings(text, &["logherd", "scheduler"]).command else {
        panic!()
    };
    assert_eq!(scheduler.collecting.spool_max, bytesize::ByteSize::mb(8));
    assert_eq!(scheduler.master, "m:5050");
}

#[test]
fn the_environment_is_over_the_file_and_below_the_command_line() {
    // `PATH` is set in every environment that runs this test, and nothing is changed in it.
    let command = |file: Option<&'static str>| {
        let mut arg = clap::Arg::new("path").long("path").env("PATH");
        if let Some(file) = file {
            arg = arg.default_value(file);
        }
        Command::new("x").arg(arg)
    };
    let plain = layer(command(None), Path::new("f"), "path = 'from the file'").unwrap();
    let matches = plain.clone().try_get_matches_from(["x"]).unwrap();
    assert_eq!(matches.get_one::<String>("path"), environment("PATH").as_ref());
    let matches = plain.try_get_matches_from(["x", "--path", "typed"]).unwrap();
    assert_eq!(matches.get_one::<String>("path").unwrap(), "typed");
}

#[test]
fn flags_lists_numbers_and_global_settings_can_be_in_the_file() {
    let text = "mesos-only = true\nexecutor-cpus = 0.5\nlog-level = 'debug'\n[run]\npath-config = ['a', 'b']";
    let all = settings(text, &["logherd", "local"]);
    assert_eq!(all.process.log_level, "debug");
    let AnyCommand::Local(local) = all.command else { panic!() };
    assert!(local.mesos_only);
    assert!((local.executor.executor_cpus - 0.5).abs() < f64::EPSILON);
    let AnyCommand::Run(run) = settings(text, &["logherd", "run"]).command else { panic!() };
    assert_eq!(run.sources.path_config, ["a", "b"]);
    let AnyCommand::Run(run) = settings(text, &["logherd", "run", "-f", "c"]).command else { panic!() };
    assert_eq!(run.sources.path_config, ["c"]);
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_place() {
    for (text, expected) in [
        ("nodes = 1\nnodez = 2", "logherd.toml:2:1: there is no setting `nodez`; did you mean `nodes`?"),
        ("spool_max = '1MB'", "logherd.toml:1:1: there is no setting `spool_max`; did you mean `spool-max`?"),
        ("[locale]\nnodes = 2", "logherd.toml:1:2: there is no command `locale`; did you mean `local`?"),
        (
            "[local]\n  master = 'x'",
            "logherd.toml:2:3: `logherd local`: there is no setting `master`; there are: config-dir, ",
        ),
        ("nodes = 'three'", "logherd.toml:1:9: invalid value 'three' for '--nodes <NODES>'"),
        ("spool-full = 'maybe'", "logherd.toml:1:14: invalid value 'maybe'"),
        ("nodes = [1, 2]", "logherd.toml:1:9: this setting takes one value"),
        ("mesos-only = 3", "logherd.toml:1:14: `3` is neither `true` nor `false`"),
        ("nodes = 1979-05-27", "logherd.toml:1:9: a datetime cannot be a setting"),
        ("nodes = ", "logherd.toml:1:"),
        ("settings = 'other.toml'", "logherd.toml:1:1: there is no setting `settings`"),
    ] {
        let error = with_file(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn the_settings_file_is_found_on_any_side_of_the_command() {
    let path = |argv: &[&str]| asked_path(&argv.iter().map(Into::into).collect::<Vec<_>>());
    assert_eq!(path(&["logherd", "--settings", "a", "local"]), Some("a".into()));
    assert_eq!(path(&["logherd", "local", "--settings=b"]), Some("b".into()));
    assert_eq!(path(&["logherd", "check", "--", "--settings=b"]), None);
}

#[test]
fn secrets_are_neither_taken_from_the_command_line_nor_shown() {
    let mesos = "[executor]\nmesos-framework-id='f'\nmesos-executor-id='e'\nmesos-slave-id='s'\n\
                 mesos-agent-endpoint='a:1'\nmesos-directory='/d'\ncontrol='c:1'\n";
    let argv = ["logherd", "executor", "--control-token", "hunter2"].map(Into::into);
    let error = parse_over::<Everything>(with_file(mesos).unwrap(), &argv).unwrap_err();
    let Unusable::Usage(error) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("set LOGHERD_CONTROL_TOKEN"), "{error}");

    let text = format!("{mesos}control-token='hunter2'\n");
    let all = settings(&text, &["logherd", "executor"]);
    assert!(!format!("{all:?}").contains("hunter2"));
    let AnyCommand::Executor(executor) = all.command else { panic!() };
    assert_eq!(executor.control_token.unwrap().expose(), "hunter2");
    let mut command = with_file(&text).unwrap();
    let help = command.find_subcommand_mut("executor").unwrap().render_long_help().to_string();
    assert!(!help.contains("hunter2"), "{help}");
}

#[test]
fn every_flag_is_documented_and_named_alike_in_the_environment() {
    let command = Everything::command();
    for holder in command.get_subcommands().chain([&command]) {
        for arg in holder.get_arguments() {
            let id = arg.get_id().as_str();
            assert!(arg.get_help().is_some_and(|h| !h.to_string().is_empty()), "--{id} has no documentation");
            let Some(long) = arg.get_long() else { continue };
            let env = arg.get_env().map(|e| e.to_string_lossy().into_owned());
            let named = format!("LOGHERD_{}", long.to_uppercase().replace('-', "_"));
            let outside = long.to_uppercase().replace('-', "_");
            let foreign =
                ["MESOS_", "LIBPROCESS_", "DOCKER_"].iter().any(|prefix| outside.starts_with(prefix));
            let fixed = foreign.then_some(outside);
            assert!(
                env == Some(named.clone()) || (env.is_some() && env == fixed),
                "--{long}: {env:?} is not {named}"
            );
        }
    }
}

#[test]
fn a_scheduler_beside_a_local_master_has_the_usual_settings() {
    let settings = SchedulerSettings::for_master("127.0.0.1:5050", "/state").unwrap();
    assert_eq!((settings.master.as_str(), settings.state.as_str()), ("127.0.0.1:5050", "/state"));
    assert_eq!(settings.zk_session_timeout, Duration::from_secs(10));
}

#[test]
fn roles_can_be_several_in_every_way_of_saying_so() {
    let roles = |text: &str, more: &[&str]| {
        let mut argv = vec!["logherd", "scheduler", "--master", "m:5050", "--state", "/s"];
        argv.extend(more);
        match settings(text, &argv).command {
            AnyCommand::Scheduler(settings) => settings.placement.roles,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(roles("", &[]), ["logherd"]);
    for (text, more) in [
        ("", &["--roles", "a,b/c"][..]),
        ("", &["--role", "a", "--role", "b/c"]),
        ("roles = ['a', 'b/c']", &[]),
        ("role = 'a,b/c'", &[]),
        ("role = 'x'", &["--roles", "a", "--roles", "b/c"]),
    ] {
        assert_eq!(roles(text, more), ["a", "b/c"], "{text} {more:?}");
    }
    let error = with_file("roles = ['a', 'b//c']").unwrap_err();
    assert!(error.contains("no role is called that: it has an empty part"), "{error}");
}

proptest! {
    #[test]
    fn no_file_makes_the_layer_panic(text in "\\PC{0,60}|[a-z-]{1,8} = [0-9\"'a-z\\[\\],.-]{0,12}") {
        if let Err(message) = with_file(&text) {
            prop_assert!(message.starts_with("logherd.toml:"), "{message}");
        }
    }
}

#[test]
fn the_program_is_fetched_unless_the_nodes_have_it_or_an_image_does() {
    let scheduler = |more: &[&str]| {
        let mut argv = vec!["logherd", "scheduler", "--master", "m:5050", "--state", "/s"];
        argv.extend(more);
        match settings("", &argv).command {
            AnyCommand::Scheduler(settings) => *settings,
            other => panic!("{other:?}"),
        }
    };
    assert!(scheduler(&[]).executors_fetch());
    assert!(!scheduler(&["--executor-binary", "/opt/logherd"]).executors_fetch());
    let image = scheduler(&["--executor-image", "logherd:1", "--executor-mounts", "/var/log,/srv/logs"]);
    assert!(!image.executors_fetch());
    assert_eq!(image.executor_mounts, [Path::new("/var/log"), Path::new("/srv/logs")]);
    let argv = ["logherd", "scheduler", "--master", "m:5050", "--state", "/s"].map(Into::into);
    let both = ["--executor-image", "a", "--executor-binary", "b"].map(Into::into);
    assert!(parse_over::<Everything>(with_file("").unwrap(), &[&argv[..], &both[..]].concat()).is_err());
}
