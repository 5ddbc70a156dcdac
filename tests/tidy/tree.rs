//! Reads the files of the tree and gathers what is wrong with them.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Where the tree is.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// One text file of the tree.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Whether another file declares it as a module of tests.
    declared_test: bool,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_test(&self) -> bool {
        self.declared_test
            || self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
    }

    /// Its lines, numbered from 1, up to the module of unit tests.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = if self.is_test() { 0 } else { self.tests_start() };
        self.lines().take(end)
    }

    /// Its lines of test code.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let start = if self.is_test() { 0 } else { self.tests_start() };
        self.lines().skip(start)
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn tests_start(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let opens = |index: usize| {
            let after = lines.get(index + 1..).unwrap_or_default();
            let module = after.iter().find(|line| !line.starts_with("#["));
            lines[index] == "#[cfg(test)]"
                && module.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
        };
        (0..lines.len()).find(|&index| opens(index)).unwrap_or(lines.len())
    }

    /// The files that it declares as modules of tests.
    fn modules_of_tests(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let folder =
            ["/lib", "/main", "/mod"].iter().find_map(|name| stem.strip_suffix(name)).unwrap_or(stem);
        let lines: Vec<&str> = self.text.lines().collect();
        let names = lines
            .windows(2)
            .filter(|pair| pair[0].trim() == "#[cfg(test)]")
            .filter_map(|pair| pair[1].trim().strip_prefix("mod "));
        names.filter_map(|name| name.strip_suffix(';')).map(|name| format!("{folder}/{name}.rs")).collect()
    }

    /// Whether it lives in one of these folders (`a/`), or is one of these modules or in it (`a/b`).
    pub(crate) fn under(&self, places: &[&str]) -> bool {
        let is_under = |rest: &str| rest == ".rs" || rest.is_empty() || rest.starts_with('/');
        places.iter().any(|place| match self.path.strip_prefix(place) {
            Some(rest) => place.ends_with('/') || is_under(rest),
            None => false,
        })
    }
}

/// A line without its comment.
pub(crate) fn code(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split(" // ").next().unwrap_or(line)
}

/// Every text file of the tree, by path.
pub(crate) fn tree() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), &root(), &mut files);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let declared: Vec<String> =
        files.iter().filter(|file| file.is_rust()).flat_map(File::modules_of_tests).collect();
    for file in &mut files {
        file.declared_test = declared.contains(&file.path);
    }
    assert!(files.len() > 30, "only {} files were found below {}", files.len(), root().display());
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let skipped = matches!(name.as_str(), "target" | "fixtures" | "Cargo.lock")
            || name.starts_with('.') && name != ".ci";
        if skipped || entry.file_type().unwrap().is_symlink() {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(root, &entry.path(), files);
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            let path = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            files.push(File { path, text, declared_test: false });
        }
    }
}

/// Gathers what is wrong and reports all of it at once.
#[derive(Default)]
pub(crate) struct Report(Vec<String>);

impl Report {
    pub(crate) fn add(&mut self, file: &str, line: usize, problem: impl Display) {
        self.0.push(format!("{file}:{line}: {problem}"));
    }

    pub(crate) fn end(self) {
        assert!(self.0.is_empty(), "\n{} to tidy:\n{}\n", self.0.len(), self.0.join("\n"));
    }
}
