//! Reads what a person writes to say on which nodes executors run: `attribute:rack=r1|r2`, `hostname!~^gpu-`, `zone`.
//!
//! ```text
//! constraint  =  field test  |  field  |  "!" field
//! field       =  "hostname"  |  "region"  |  "zone"  |  "attribute:" NAME
//! test        =  "=" VALUES  |  "!=" VALUES  |  "~" REGEX  |  "!~" REGEX
//! VALUES      =  VALUE { "|" VALUE }
//! ```
//! A field alone asks that there is one, with `!` that there is none. A regular expression matches anywhere unless it is
//! anchored. Where an agent has no such field, `=` and `~` are not met, `!=` and `!~` are. White space around each part
//! does not count. All constraints of a list have to be met.
use regex::Regex;
use std::fmt;
use std::str::FromStr;

/// What a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The agent's host name.
    Hostname,
    /// The region of its fault domain.
    Region,
    /// The zone of its fault domain.
    Zone,
    /// Its attributes of this name, of which there may be several.
    Attribute(String),
}

/// One constraint. It compares and prints as it was written.
#[derive(Clone, Debug)]
pub struct Constraint {
    text: String,
    field: Field,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Matches(Regex),
    MatchesNot(Regex),
}

/// Why a text is no constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {column}: {what}")]
pub struct ConstraintError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there, and what to write.
    pub what: String,
}

impl Constraint {
    /// What it looks at.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Whether an agent that has these values in the field may have an executor.
    pub fn allows(&self, values: &[&str]) -> bool {
        let in_list = |list: &[String]| values.iter().any(|value| list.iter().any(|one| one == value));
        match &self.test {
            Test::Present => !values.is_empty(),
            Test::Absent => values.is_empty(),
            Test::In(list) => in_list(list),
            Test::NotIn(list) => !in_list(list),
            Test::Matches(regex) => values.iter().any(|value| regex.is_match(value)),
            Test::MatchesNot(regex) => !values.iter().any(|value| regex.is_match(value)),
        }
    }
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Constraint {}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let (begin, rest) = match text.trim_start().strip_prefix('!') {
            Some(rest) => (text.len() - rest.len(), rest),
            None => (0, text),
        };
        let fail = |at: usize, what: String| Err(error(text, at, what));
        let (name, test) = match rest.find(['=', '~', '!']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let field = field(name).map_err(|(at, what)| error(text, begin + at, what))?;
        let at = begin + name.len();
        let of = |length: usize| (at + length, test.get(length..).unwrap_or_default());
        let test = match test {
            "" if field == Field::Hostname => {
                return fail(at, "every agent has a host name; say which with `=` or `~`".to_owned());
            }
            "" if begin > 0 => Test::Absent,
            "" => Test::Present,
            _ if begin > 0 => {
                let what = "`!` in front is for a field alone, that no agent may have; write `!=` or `!~`";
                return fail(begin - 1, what.to_owned());
            }
            test if test.starts_with("==") || test.starts_with("=~") => {
                return fail(at, "write `=` for equal, `~` for a regular expression".to_owned());
            }
            test if test.starts_with("!=") => Test::NotIn(values(text, of(2))?),
            test if test.starts_with("!~") => Test::MatchesNot(regex(text, of(2))?),
            test if test.starts_with('=') => Test::In(values(text, of(1))?),
            test if test.starts_with('~') => Test::Matches(regex(text, of(1))?),
            _ => return fail(at, "after `!` comes `=` or `~`".to_owned()),
        };
        Ok(Self { text: text.to_owned(), field, test })
    }
}

/// The field of this name; else where in the name what is wrong.
fn field(name: &str) -> Result<Field, (usize, String)> {
    let begin = name.len() - name.trim_start().len();
    match name.trim() {
        "hostname" => Ok(Field::Hostname),
        "region" => Ok(Field::Region),
        "zone" => Ok(Field::Zone),
        "" => {
            Err((begin, "there is no field; write `hostname`, `region`, `zone` or `attribute:NAME`".into()))
        }
        other => match other.split_once(':').map(|(kind, name)| (kind.trim(), name.trim())) {
            Some(("attribute", "")) => Err((name.trim_end().len(), "the attribute has no name".into())),
            Some(("attribute", name)) => Ok(Field::Attribute(name.to_owned())),
            _ => Err((
                begin,
                format!(
                    "there is no field `{other}`; there are `hostname`, `region`, `zone` and `attribute:NAME`"
                ),
            )),
        },
    }
}

/// The values of a list that begins at byte `at` of `text`.
fn values(text: &str, (mut at, list): (usize, &str)) -> Result<Vec<String>, ConstraintError> {
    let mut values = Vec::new();
    for part in list.split('|') {
        let value = part.trim();
        if value.is_empty() {
            return Err(error(text, at, "there is no value; several are separated by `|`".to_owned()));
        }
        values.push(value.to_owned());
        at += part.len() + 1;
    }
    Ok(values)
}

/// The regular expression that begins at byte `at` of `text`.
fn regex(text: &str, (at, expression): (usize, &str)) -> Result<Regex, ConstraintError> {
    let trimmed = expression.trim();
    if trimmed.is_empty() {
        return Err(error(text, at, "there is no regular expression".to_owned()));
    }
    Regex::new(trimmed).map_err(|wrong| {
        let wrong = wrong.to_string();
        let why = wrong.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let begin = at + (expression.len() - expression.trim_start().len());
        error(text, begin, format!("`{trimmed}` is no regular expression: {why}"))
    })
}

/// What is wrong at byte `at` of `text`.
fn error(text: &str, at: usize, what: String) -> ConstraintError {
    let column = text.char_indices().take_while(|(index, _)| *index < at).count() + 1;
    ConstraintError { column, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Constraint {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_test_says_which_values_it_allows() {
        for (text, values, allowed) in [
            ("attribute:rack=r1", &["r1"][..], true),
            ("attribute:rack = r1 | r2", &["r2"], true),
            ("attribute:rack=r1", &["r10"], false),
            ("attribute:rack=r1", &["r0", "r1"], true),
            ("attribute:rack=r1", &[], false),
            ("attribute:rack!=r1|r2", &["r3"], true),
            ("attribute:rack!=r1|r2", &["r3", "r2"], false),
            ("attribute:rack!=r1", &[], true),
            ("hostname~^gpu-", &["gpu-7"], true),
            ("hostname~^gpu-", &["a-gpu-7"], false),
            ("hostname!~^(gpu|db)-", &["db-7"], false),
            ("hostname!~^(gpu|db)-", &["web-7"], true),
            ("zone", &["a"], true),
            ("zone", &[], false),
            ("!zone", &[], true),
            (" ! attribute:ssd", &["true"], false),
        ] {
            assert_eq!(parse(text).allows(values), allowed, "{text} {values:?}");
        }
        assert_eq!(parse("attribute: rack =r1").field(), &Field::Attribute("rack".into()));
        assert_eq!(parse(" region =eu").field(), &Field::Region);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, column, what) in [
            ("", 1, "there is no field; write `hostname`"),
            ("=a", 1, "there is no field"),
            ("rack=r1", 1, "there is no field `rack`; there are `hostname`"),
            ("  rack=r1", 3, "there is no field `rack`"),
            ("attribute:=r1", 11, "the attribute has no name"),
            ("hostname", 9, "every agent has a host name"),
            ("!hostname", 10, "every agent has a host name"),
            ("zone=", 6, "there is no value"),
            ("zone=a||b", 8, "there is no value"),
            ("zöne=a", 1, "there is no field `zöne`"),
            ("attribute:ä=é|", 15, "there is no value"),
            ("zone==a", 5, "write `=` for equal"),
            ("zone=~a", 5, "write `=` for equal"),
            ("zone!a", 5, "after `!` comes `=` or `~`"),
            ("!zone=a", 1, "`!` in front is for a field alone"),
            ("zone~", 6, "there is no regular expression"),
            ("hostname~ (a", 11, "`(a` is no regular expression: unclosed group"),
        ] {
            let error = text.parse::<Constraint>().unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.what.starts_with(what), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_errors_point_into_it(text in "[!a-z:=~|( ä]{0,12}|\\PC{0,30}") {
            match text.parse::<Constraint>() {
                Ok(constraint) => prop_assert_eq!(constraint.to_string(), text),
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}"),
            }
        }

        #[test]
        fn a_list_and_its_negation_share_all_values_between_them(
            name in "[a-z_.-]{1,6}", list in prop::collection::vec("[a-z0-9.]{1,3}", 1..4),
            values in prop::collection::vec("[a-z0-9.]{1,3}", 0..3),
        ) {
            let list = list.join(" | ");
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let (with, without) = (format!("attribute:{name}={list}"), format!("attribute:{name} != {list}"));
            prop_assert_ne!(parse(&with).allows(&values), parse(&without).allows(&values));
        }
    }
}
