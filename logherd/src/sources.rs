//! Finds the configuration texts that `-f` and `-e` name.
use config::settings::Sources;
use std::path::{Path, PathBuf};

/// A configuration text and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// A path, or `-e`.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// Nothing was named.
    #[error("name a configuration: -f FILE, -f DIR, -f 'PATTERN', or -e TEXT")]
    Nothing,
    /// A path or pattern that leads nowhere.
    #[error("`{0}`: no file is there")]
    NoFile(String),
    /// A file or directory that cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that is no text.
    #[error("`{}` is not UTF-8: byte {at} begins no character", path.display())]
    NotText {
        /// Which one.
        path: PathBuf,
        /// The place.
        at: usize,
    },
}

/// How deep a directory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Its own files, as Logstash does.
    Own,
    /// Also the `.conf` files of directories in it: a directory for `--config-dir` is checked as a whole.
    Below,
}

/// Reads all texts in the order in which they were named; the files of a directory by name. What cannot be read comes
/// back beside them, so that the others can be looked at all the same.
pub(crate) fn read(sources: &Sources, depth: Depth) -> (Vec<Source>, Vec<SourceError>) {
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    if sources.path_config.is_empty() && sources.config_string.is_empty() {
        failed.push(SourceError::Nothing);
    }
    for named in &sources.path_config {
        match paths(named, depth) {
            Ok(paths) if paths.is_empty() => failed.push(SourceError::NoFile(named.clone())),
            Ok(paths) => {
                for path in paths {
                    match text(&path) {
                        Ok(text) => found.push(Source { name: path.display().to_string(), text }),
                        Err(error) => failed.push(error),
                    }
                }
            }
            Err(error) => failed.push(error),
        }
    }
    found.extend(sources.config_string.iter().map(|text| Source { name: "-e".into(), text: text.clone() }));
    (found, failed)
}

fn text(path: &Path) -> Result<String, SourceError> {
    let bytes =
        std::fs::read(path).map_err(|source| SourceError::Unreadable { path: path.into(), source })?;
    String::from_utf8(bytes)
        .map_err(|error| SourceError::NotText { path: path.into(), at: error.utf8_error().valid_up_to() })
}

fn paths(named: &str, depth: Depth) -> Result<Vec<PathBuf>, SourceError> {
    let path = Path::new(named);
    if path.is_dir() {
        return in_directory(path, depth);
    }
    if path.exists() || !named.contains(['*', '?', '[']) {
        return Ok(if path.exists() { vec![path.to_owned()] } else { Vec::new() });
    }
    let (start, rest) = match named.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), named),
    };
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    let mut found = Vec::new();
    expand(&start, &parts, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn in_directory(path: &Path, depth: Depth) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for entry in entries(path)? {
        let name = entry.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if entry.is_file() {
            files.push(entry);
        } else if depth == Depth::Below && entry.is_dir() {
            let below = in_directory(&entry, depth)?;
            files.extend(below.into_iter().filter(|file| file.extension().is_some_and(|e| e == "conf")));
        }
    }
    Ok(files)
}

/// The entries of a directory, by name.
fn entries(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let unreadable = |source| SourceError::Unreadable { path: shown.into(), source };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(shown).map_err(unreadable)? {
        all.push(path.join(entry.map_err(unreadable)?.file_name()));
    }
    all.sort();
    Ok(all)
}

/// Follows a pattern part by part; `**` is any number of directories. Links to directories are not followed by it.
fn expand(at: &Path, parts: &[&str], found: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let Some((part, rest)) = parts.split_first() else {
        if at.is_file() {
            found.push(at.to_owned());
        }
        return Ok(());
    };
    if !part.contains(['*', '?', '[']) {
        let next = at.join(part);
        return if next.exists() { expand(&next, rest, found) } else { Ok(()) };
    }
    if !(at.as_os_str().is_empty() || at.is_dir()) {
        return Ok(());
    }
    if *part == "**" {
        expand(at, rest, found)?;
    }
    for entry in entries(at)? {
        let name = entry.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') && !part.starts_with('.') {
            continue;
        }
        if *part == "**" {
            if entry.is_dir() && !entry.is_symlink() {
                expand(&entry, parts, found)?;
            }
        } else if matches(&part.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>()) {
            expand(&entry, rest, found)?;
        }
    }
    Ok(())
}

/// Whether a name matches a part of a pattern: `*`, `?`, `[a-z]`, `[!a]`.
fn matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        (['*', rest @ ..], _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, after)| matches(pattern, after))
        }
        (['?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        (['[', set @ ..], [c, after @ ..]) => match set.iter().skip(1).position(|c| *c == ']') {
            Some(end) => {
                let (set, rest) = set.split_at(end + 1);
                in_set(set, *c) && matches(rest.get(1..).unwrap_or_default(), after)
            }
            None => *c == '[' && matches(set, after),
        },
        ([p, rest @ ..], [c, after @ ..]) => p == c && matches(rest, after),
        (_, []) => false,
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let (negated, mut set) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    while let [first, rest @ ..] = set {
        match rest {
            ['-', last, after @ ..] => {
                found |= (*first..=*last).contains(&c);
                set = after;
            }
            _ => {
                found |= *first == c;
                set = rest;
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(named: &str, depth: Depth, root: &Path) -> Vec<String> {
        let all = paths(&root.join(named).display().to_string(), depth).unwrap();
        all.iter().map(|p| p.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn files_directories_and_patterns_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("docker/team")).unwrap();
        for file in [
            "b.conf",
            "a.conf",
            ".hidden",
            "a.conf~",
            "notes",
            "docker/x.conf",
            "docker/team/app.conf",
            "docker/n.txt",
        ] {
            std::fs::write(root.join(file), file).unwrap();
        }
        assert_eq!(names("", Depth::Own, root), ["a.conf", "b.conf", "notes"]);
        let all = ["a.conf", "b.conf", "docker/team/app.conf", "docker/x.conf", "notes"];
        assert_eq!(names("", Depth::Below, root), all);
        assert_eq!(names("b.conf", Depth::Own, root), ["b.conf"]);
        assert_eq!(names("*.conf", Depth::Own, root), ["a.conf", "b.conf"]);
        assert_eq!(names("[!b].conf", Depth::Own, root), ["a.conf"]);
        assert_eq!(
            names("**/*.conf", Depth::Own, root),
            ["a.conf", "b.conf", "docker/team/app.conf", "docker/x.conf"]
        );
        assert_eq!(names("d*/?.conf", Depth::Own, root), ["docker/x.conf"]);
        assert_eq!(names("nothing", Depth::Own, root), Vec::<String>::new());
        assert_eq!(names("no*", Depth::Own, root), ["notes"]);
    }

    #[test]
    fn what_cannot_be_read_does_not_hide_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bad"), [b'a', 0xff]).unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let sources = Sources { path_config: vec![at("bad"), at("gone")], config_string: vec!["x".into()] };
        let (found, failed) = read(&sources, Depth::Own);
        assert_eq!(found, [Source { name: "-e".into(), text: "x".into() }]);
        let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert!(failed[0].contains("byte 1 begins no character"), "{failed:?}");
        assert!(failed[1].contains("no file is there"), "{failed:?}");
        assert!(matches!(read(&Sources::default(), Depth::Own).1[..], [SourceError::Nothing]));
    }
}
