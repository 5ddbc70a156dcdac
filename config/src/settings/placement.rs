//! Holds the settings that say where executors run and on whose resources.
use super::environment;
use crate::constraint::Constraint;
use clap::Args;

/// Where executors run, and on whose resources.
#[derive(Clone, Debug, Args)]
pub struct Placement {
    /// The roles whose resources are used, comma separated; the first is preferred where several would do. `--role` is the
    /// same.
    #[arg(long, alias = "role", env = name_in_use("LOGHERD_ROLES", "LOGHERD_ROLE"), value_delimiter = ',',
        default_value = "logherd", value_parser = role)]
    pub roles: Vec<String>,
    /// Reserve what executors use for their role and this framework, so that nodes which fill up still get their executor.
    /// Needs a role other than `*`.
    #[arg(long, env = "LOGHERD_RESERVE")]
    pub reserve: bool,
    /// On which nodes executors run, e.g. `attribute:rack=r1|r2`, `hostname!~^gpu-`, `zone=a`; several, separated by `;` or each
    /// with its flag, have all to be met. `docs/placement.md` says how they are written.
    #[arg(long, env = "LOGHERD_CONSTRAINT", value_delimiter = ';')]
    pub constraint: Vec<Constraint>,
    /// Run one executor on each host, also where it has several agents.
    #[arg(long, env = "LOGHERD_ONE_PER_HOST")]
    pub one_per_host: bool,
}

/// The name of a variable of the environment: the older one where only that is set.
fn name_in_use(name: &'static str, older: &'static str) -> &'static str {
    let is_set = |name: &str| environment(name).is_some();
    if !is_set(name) && is_set(older) { older } else { name }
}

/// Checks a role as masters do.
fn role(text: &str) -> Result<String, String> {
    let component = |part: &str| match part {
        "" => Err("it has an empty part".to_owned()),
        "." | ".." | "*" => Err(format!("`{part}` cannot be a part of it")),
        part if part.starts_with('-') => Err("no part of it may begin with `-`".to_owned()),
        part if part.chars().any(|c| c.is_whitespace() || c == '\u{7f}') => {
            Err("it has white space in it".to_owned())
        }
        _ => Ok(()),
    };
    match text.split('/').try_for_each(component) {
        _ if text == "*" => Ok(text.to_owned()),
        Ok(()) => Ok(text.to_owned()),
        Err(why) => Err(format!("no role is called that: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_masters_would_refuse_is_refused_with_the_reason() {
        for fine in ["*", "logherd", "ops/logs", "a.b", "ünit"] {
            assert_eq!(role(fine), Ok(fine.to_owned()));
        }
        for (wrong, why) in [
            ("", "it has an empty part"),
            ("/a", "it has an empty part"),
            ("a//b", "it has an empty part"),
            ("a/*", "`*` cannot be a part of it"),
            ("..", "`..` cannot be a part of it"),
            ("-a", "no part of it may begin with `-`"),
            ("a b", "it has white space in it"),
        ] {
            assert_eq!(role(wrong), Err(format!("no role is called that: {why}")), "{wrong}");
        }
    }
}
