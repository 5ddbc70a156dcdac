//! Reads the settings file and lays it under the environment and the command line.
//!
//! The file is TOML. A key is the name of a flag without its dashes; at the top it holds for every command that has
//! the flag, in a table named like a command for that command only:
//!
//! ```toml
//! log-level = "debug"
//! [local]
//! nodes = 3
//! ```
//!
//! Its values become the built-in values of the arguments before the command line is parsed, so that `--help` shows
//! them and everything else overrides them. A key that no command knows is an error with its place.
use super::environment;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with the settings file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {message}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there, and what to do.
    pub message: String,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The command line or the environment: clap says what, and whether it is an error at all (`--help`).
    #[error("the command line cannot be used")]
    Usage(#[from] clap::Error),
    /// The settings file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Parses a process's command line over the environment over the settings file.
pub fn parse<C: CommandFactory + FromArgMatches>(argv: &[OsString]) -> Result<C, Unusable> {
    let mut command = C::command();
    if let Some(path) = settings_path(argv) {
        let text = std::fs::read_to_string(&path).map_err(|error| FileError {
            message: format!("the settings file cannot be read: {error}"),
            path: path.clone(),
            line: 1,
            column: 1,
        })?;
        command = layer(command, &path, &text)?;
    }
    parse_over(command, argv)
}

/// Parses `argv` with `command`, and refuses secrets in it.
pub(super) fn parse_over<C: FromArgMatches>(mut command: Command, argv: &[OsString]) -> Result<C, Unusable> {
    let matches = command.try_get_matches_from_mut(argv)?;
    refuse_secrets(&command, &matches)?;
    Ok(C::from_arg_matches(&matches)?)
}

/// The settings file to read: what was asked for, else the first of the usual places that exists.
fn settings_path(argv: &[OsString]) -> Option<PathBuf> {
    if let Some(asked) = asked_path(argv) {
        return Some(asked);
    }
    if let Some(asked) = environment("LOGHERD_SETTINGS").filter(|s| !s.is_empty()) {
        return Some(asked.into());
    }
    let user = environment("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")));
    [
        Some(PathBuf::from("logherd.toml")),
        user.map(|dir| dir.join("logherd/logherd.toml")),
        Some(PathBuf::from("/etc/logherd/logherd.toml")),
    ]
    .into_iter()
    .flatten()
    .find(|path| path.is_file())
}

/// The value of `--settings` on the command line, which has to be known before the command line can be parsed.
pub(super) fn asked_path(argv: &[OsString]) -> Option<PathBuf> {
    let mut words = argv.iter().skip(1).map_while(|word| (word != "--").then_some(word));
    while let Some(word) = words.next() {
        if word == "--settings" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--settings=")) {
            return Some(path.into());
        }
    }
    None
}

/// Makes the values of a settings file the built-in values of `command`.
pub(super) fn layer(command: Command, path: &Path, text: &str) -> Result<Command, FileError> {
    let fail = |at: usize, message: String| place(path, text, at, message);
    let table = DeTable::parse(text)
        .map_err(|error| fail(error.span().map_or(0, |s| s.start), error.message().to_owned()))?;
    // What holds for every command comes first: a command's own table overrides it wherever it stands.
    let is_table = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Table(_));
    let (tables, plain): (Vec<_>, Vec<_>) = table.get_ref().iter().partition(|(_, value)| is_table(value));
    let mut layered = command;
    for (key, value) in plain.into_iter().chain(tables) {
        let name: &str = key.get_ref();
        match value.get_ref() {
            DeValue::Table(inner) => {
                if layered.find_subcommand(name).is_none() {
                    let known = layered.get_subcommands().map(|c| c.get_name().to_owned()).collect();
                    return Err(fail(key.span().start, unknown("command", name, known)));
                }
                for (key, value) in inner {
                    let below = |c: Command| Setting { key, value, command_name: Some(name) }.apply(c, &fail);
                    layered = within(layered, name, below)?;
                }
            }
            _ => layered = Setting { key, value, command_name: None }.apply_everywhere(layered, &fail)?,
        }
    }
    Ok(layered)
}

/// Replaces the subcommand `name` by what `change` makes of it.
fn within(
    command: Command,
    name: &str,
    change: impl FnOnce(Command) -> Result<Command, FileError>,
) -> Result<Command, FileError> {
    let mut result = Ok(());
    let changed = command.mut_subcommand(name, |sub| {
        let unchanged = sub.clone();
        match change(sub) {
            Ok(sub) => sub,
            Err(error) => {
                result = Err(error);
                unchanged
            }
        }
    });
    result.map(|()| changed)
}

/// One key of the file and its value.
struct Setting<'a, 't> {
    key: &'a Spanned<std::borrow::Cow<'t, str>>,
    value: &'a Spanned<DeValue<'t>>,
    command_name: Option<&'a str>,
}

impl Setting<'_, '_> {
    fn apply_everywhere(
        &self,
        command: Command,
        fail: &dyn Fn(usize, String) -> FileError,
    ) -> Result<Command, FileError> {
        let holders: Vec<String> = command
            .get_subcommands()
            .filter(|c| find(c, self.key.get_ref()).is_some())
            .map(|c| c.get_name().to_owned())
            .collect();
        let at_root = find(&command, self.key.get_ref()).is_some();
        if holders.is_empty() && !at_root {
            let known = command.get_subcommands().chain([&command]).flat_map(flag_names).collect();
            return Err(fail(self.key.span().start, unknown("setting", self.key.get_ref(), known)));
        }
        let mut command = if at_root { self.apply(command, fail)? } else { command };
        for holder in holders {
            command = within(command, &holder, |c| self.apply(c, fail))?;
        }
        Ok(command)
    }

    fn apply(
        &self,
        command: Command,
        fail: &dyn Fn(usize, String) -> FileError,
    ) -> Result<Command, FileError> {
        let name: &str = self.key.get_ref();
        let Some(arg) = find(&command, name).cloned() else {
            let mut message = unknown("setting", name, flag_names(&command));
            if let Some(command) = self.command_name {
                message = format!("`logherd {command}`: {message}");
            }
            return Err(fail(self.key.span().start, message));
        };
        let values = self.values(&arg).map_err(|message| fail(self.value.span().start, message))?;
        for value in &values {
            try_value(&arg, value).map_err(|message| fail(self.value.span().start, message))?;
        }
        let secret = arg.is_hide_env_values_set();
        Ok(command.mut_arg(arg.get_id().clone(), |arg| {
            arg.required(false).hide_default_value(secret).default_values(values)
        }))
    }

    fn values(&self, arg: &Arg) -> Result<Vec<String>, String> {
        let many = matches!(arg.get_action(), ArgAction::Append);
        match self.value.get_ref() {
            DeValue::Array(items) if many => items.iter().map(|item| scalar(item.get_ref())).collect(),
            DeValue::Array(_) => Err("this setting takes one value, not a list".into()),
            value => Ok(vec![scalar(value)?]),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        other => {
            Err(format!("a {} cannot be a setting; write a text, a number or a boolean", other.type_str()))
        }
    }
}

/// Parses a value as the argument itself would: clap checks built-in values only by a panic.
fn try_value(arg: &Arg, value: &str) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return match value {
            "true" | "false" => Ok(()),
            _ => Err(format!("`{value}` is neither `true` nor `false`")),
        };
    }
    let Some(long) = arg.get_long() else { return Ok(()) };
    let lone = arg.clone().required(false).allow_hyphen_values(true);
    match Command::new("settings").arg(lone).try_get_matches_from(["settings", &format!("--{long}={value}")])
    {
        Ok(_) => Ok(()),
        Err(_) if arg.is_hide_env_values_set() => Err("this value cannot be used".into()),
        Err(error) => {
            let text = error.to_string();
            let first = text.split("\n\nFor more information").next().unwrap_or(&text);
            Err(first.trim_start_matches("error: ").trim().to_owned())
        }
    }
}

fn find<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    let is_named = |arg: &Arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    command.get_arguments().find(|arg| is_named(arg) && is_setting(arg))
}

fn flag_names(command: &Command) -> Vec<String> {
    command
        .get_arguments()
        .filter(|a| is_setting(a))
        .filter_map(|a| a.get_long())
        .map(str::to_owned)
        .collect()
}

/// Whether a flag may be in the file: what only makes sense in the moment may not (`--help`, `--settings` itself).
fn is_setting(arg: &Arg) -> bool {
    !matches!(arg.get_long(), None | Some("help" | "version" | "settings"))
}

fn unknown(what: &str, name: &str, mut known: Vec<String>) -> String {
    known.sort_unstable();
    known.dedup();
    match known.iter().map(|k| (distance(k, name), k)).min().filter(|(d, k)| *d <= 1 + k.len() / 4) {
        Some((_, near)) => format!("there is no {what} `{name}`; did you mean `{near}`?"),
        None => format!("there is no {what} `{name}`; there are: {}", known.join(", ")),
    }
}

/// How many characters must be changed, added or removed to make `a` of `b`; `_` and `-` count as the same.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.replace('_', "-").chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((cb, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let &[diagonal, above] = pair else { continue };
            let beside = next.get(left).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(ca != *cb)).min(above + 1).min(beside + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn place(path: &Path, text: &str, at: usize, message: String) -> FileError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    FileError { path: path.to_owned(), line, column, message }
}

/// Refuses secrets on the command line, which every user of the machine can read.
fn refuse_secrets(command: &Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    for arg in command.get_arguments().filter(|arg| arg.is_hide_env_values_set()) {
        if matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
            let variable = arg.get_env().map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
            let message = format!(
                "--{} is a secret, and command lines can be read by others; set {variable}\n",
                arg.get_id()
            );
            return Err(clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message));
        }
    }
    match matches.subcommand() {
        Some((name, below)) => match command.find_subcommand(name) {
            Some(command) => refuse_secrets(command, below),
            None => Ok(()),
        },
        None => Ok(()),
    }
}
