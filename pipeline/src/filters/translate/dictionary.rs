//! Holds the entries of a dictionary, finds them, and reads them from a file.
mod yaml;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::csv::Dialect;
use crate::json;
use crate::ruby::{Dot, Groups, Ruby};
use crate::value::{Text, Value};

/// How long one expression may search in one text.
const PATIENCE: Duration = Duration::from_secs(1);

/// Entries in their order, each with what stands there.
pub(super) type Entries = Vec<(String, Value)>;

/// What is found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matching {
    /// The entry that it is.
    Exact,
    /// The first entry that matches it.
    Regex,
    /// Every entry that is a part of it.
    Parts,
}

/// Entries, ready to be looked up.
#[derive(Debug)]
pub(super) struct Dictionary {
    entries: Entries,
    matching: Matching,
    /// Where each entry stands.
    exact: HashMap<String, usize>,
    /// The expression of each entry.
    regexes: Vec<Ruby>,
}

impl Dictionary {
    pub(super) fn new(entries: Entries, matching: Matching) -> Result<Self, String> {
        let mut dictionary =
            Self { entries: Vec::new(), matching, exact: HashMap::new(), regexes: Vec::new() };
        dictionary.update(entries, false)?;
        Ok(dictionary)
    }

    /// Takes in entries read anew; nothing changes when one of them cannot be used.
    pub(super) fn update(&mut self, entries: Entries, keep_old: bool) -> Result<(), String> {
        let mut all: Entries = if keep_old { self.entries.clone() } else { Vec::new() };
        let mut exact: HashMap<String, usize> =
            all.iter().enumerate().map(|(at, (entry, _))| (entry.clone(), at)).collect();
        for (entry, value) in entries {
            match exact.get(&entry).and_then(|at| all.get_mut(*at)) {
                Some(old) => old.1 = value,
                None => {
                    exact.insert(entry.clone(), all.len());
                    all.push((entry, value));
                }
            }
        }
        let mut regexes = Vec::new();
        if self.matching == Matching::Regex {
            for (entry, _) in &all {
                let compiled = Ruby::compile(entry, Dot::NotNewline);
                regexes.push(
                    compiled
                        .map_err(|error| format!("the entry `{entry}` is no regular expression: {error}"))?,
                );
            }
        }
        (self.entries, self.exact, self.regexes) = (all, exact, regexes);
        Ok(())
    }

    /// What stands at a text.
    pub(super) fn find(&self, text: &Text, groups: &mut Groups) -> Option<Value> {
        let value = |at: usize| self.entries.get(at).map(|(_, value)| value.clone());
        match self.matching {
            Matching::Exact => self.exact.get(text.as_str()).and_then(|at| value(*at)),
            Matching::Regex => {
                let matches = |ruby: &Ruby| ruby.search(text, 0, PATIENCE, groups).unwrap_or(false);
                self.regexes.iter().position(matches).and_then(value)
            }
            Matching::Parts => self.replaced(text),
        }
    }

    /// The text with each entry that is in it replaced; at each place the first entry that fits counts.
    fn replaced(&self, text: &str) -> Option<Value> {
        let (mut out, mut rest, mut found) = (String::new(), text, false);
        while let Some(first) = rest.chars().next() {
            let fits =
                self.entries.iter().find(|(entry, _)| !entry.is_empty() && rest.starts_with(entry.as_str()));
            match fits {
                Some((entry, value)) => {
                    value.write_text(&mut out);
                    rest = rest.get(entry.len()..).unwrap_or_default();
                    found = true;
                }
                None => {
                    out.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                }
            }
        }
        (found && out != text).then(|| Value::from(out))
    }
}

/// A file that holds a dictionary.
#[derive(Debug)]
pub(super) struct DictionaryFile {
    path: PathBuf,
    form: Form,
    interval: Duration,
    looked_at: Instant,
    modified: Option<SystemTime>,
}

/// How a dictionary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Yaml,
    Csv,
}

impl DictionaryFile {
    pub(super) fn new(path: PathBuf, interval: Duration) -> Result<Self, String> {
        let form = Self::form(&path.to_string_lossy())?;
        let modified = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
        Ok(Self { path, form, interval, looked_at: Instant::now(), modified })
    }

    /// How the dictionary at a path is written, by its name.
    pub(super) fn form(path: &str) -> Result<Form, String> {
        match path.rsplit('.').next() {
            Some("json") => Ok(Form::Json),
            Some("yml" | "yaml") => Ok(Form::Yaml),
            Some("csv") => Ok(Form::Csv),
            _ => Err(format!("how `{path}` is written cannot be told from its name")),
        }
    }

    /// The entries of the file, when it is time to look and it was changed.
    pub(super) fn changed(&mut self) -> Option<Result<Entries, String>> {
        if self.interval.is_zero() || self.looked_at.elapsed() < self.interval {
            return None;
        }
        self.looked_at = Instant::now();
        let modified = std::fs::metadata(&self.path).and_then(|meta| meta.modified()).ok();
        if modified == self.modified {
            return None;
        }
        self.modified = modified;
        Some(self.read())
    }

    /// The entries of the file.
    pub(super) fn read(&self) -> Result<Entries, String> {
        let name = self.path.display();
        let text = std::fs::read_to_string(&self.path)
            .map_err(|error| format!("the dictionary `{name}` cannot be read: {error}"))?;
        let text = text.trim_start_matches('\u{feff}');
        entries(self.form, text).map_err(|error| format!("the dictionary `{name}` cannot be used: {error}"))
    }
}

fn entries(form: Form, text: &str) -> Result<Entries, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed = match form {
        Form::Csv => return rows(text),
        Form::Json => json::parse_exactly(&Text::from(text)).map_err(|error| error.to_string())?,
        Form::Yaml => return yaml::entries(text),
    };
    match parsed {
        Value::Map(map) => Ok(map.into_iter().map(|(entry, value)| (entry.to_string(), value)).collect()),
        _ => Err("it is no object of entries and what stands there".to_owned()),
    }
}

fn rows(text: &str) -> Result<Entries, String> {
    let dialect = Dialect { separator: ",".to_owned(), quote: Some('"') };
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let row = dialect.row(&Text::from(line)).map_err(|error| format!("line {number}: {error}"))?;
        let mut values = row.unwrap_or_default().into_iter();
        if let Some(entry) = values.next().flatten() {
            entries.push((entry.to_string(), values.next().flatten().map_or(Value::Null, Value::Str)));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_yaml_stand_in_the_order_of_the_file_and_only_texts_are_found() {
        let text = "b: [1, two, 2.5, null]\na: {k: {z: true}}\n100: no\n'200': \"yes\"\n1.5: no\ntrue: no\nnull: no\n";
        let found: Vec<(String, String)> = entries(Form::Yaml, text)
            .unwrap()
            .into_iter()
            .map(|(entry, value)| (entry, crate::ruby::to_s(&value).to_string()))
            .collect();
        let wanted = [("b", "[1, \"two\", 2.5, nil]"), ("a", "{\"k\"=>{\"z\"=>true}}"), ("200", "yes")];
        assert_eq!(found, wanted.map(|(entry, value)| (entry.to_owned(), value.to_owned())));
        assert!(entries(Form::Yaml, "just a text").is_err());
    }

    #[test]
    fn dictionaries_are_read_from_all_forms_of_files() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.json", "{\"100\": \"Continue\", \"x\": 5}"),
            ("a.yml", "\"100\": Continue\nx: 5\n"),
            ("a.csv", "100,Continue\nx,5\n"),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            let file = DictionaryFile::new(path, Duration::ZERO).unwrap();
            let entries = file.read().unwrap();
            assert_eq!(entries[0], ("100".to_owned(), Value::from("Continue")), "{name}");
            assert_eq!(entries[1].1.to_text(), Text::from("5"), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_no_dictionary_is_told_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list.json");
        std::fs::write(&path, "[1]").unwrap();
        let error = DictionaryFile::new(path, Duration::ZERO).unwrap().read().unwrap_err();
        assert!(error.ends_with("it is no object of entries and what stands there"), "{error}");
    }

    #[test]
    fn entries_read_anew_are_added_or_take_the_place_of_all() {
        let entry = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        let mut dictionary =
            Dictionary::new(vec![entry("a", "1"), entry("b", "2")], Matching::Exact).unwrap();
        let mut groups = Groups::new();
        dictionary.update(vec![entry("a", "3")], true).unwrap();
        assert_eq!(dictionary.find(&Text::from("a"), &mut groups), Some(Value::from("3")));
        assert_eq!(dictionary.find(&Text::from("b"), &mut groups), Some(Value::from("2")));
        dictionary.update(vec![entry("a", "4")], false).unwrap();
        assert_eq!(dictionary.find(&Text::from("b"), &mut groups), None);
    }
}
