//! Finds the files that a path with `*`, `?`, `[…]`, `{a,b}` and `**` names.
use std::fs;
use std::path::{Path, PathBuf};

/// The deepest that `**` goes down.
const DEPTH_MAX: usize = 32;
/// The most paths that braces may stand for.
const BRACES_MAX: usize = 256;
/// The most files that one path may name; further ones are left out, and the caller is told.
pub(crate) const FILES_MAX: usize = 4096;

/// The files that `pattern` names now, sorted.
pub(crate) fn files(pattern: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in braces(pattern) {
        if !pattern.contains(['*', '?', '[', '\\']) {
            found.push(PathBuf::from(pattern));
            continue;
        }
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        walk(PathBuf::from("/"), &parts, 0, &mut found);
    }
    found.retain(|path| fs::metadata(path).is_ok_and(|m| m.is_file()));
    found.sort();
    found.dedup();
    found
}

/// The deepest directory that is the same for every file that `pattern` can name.
pub(crate) fn fixed_directory(pattern: &str) -> PathBuf {
    let fixed = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    let fixed = pattern.get(..fixed).unwrap_or_default();
    let directory = fixed.rsplit_once('/').map_or("", |(directory, _)| directory);
    if directory.is_empty() { PathBuf::from("/") } else { PathBuf::from(directory) }
}

fn walk(at: PathBuf, parts: &[&str], depth: usize, found: &mut Vec<PathBuf>) {
    if found.len() > FILES_MAX || depth > DEPTH_MAX {
        return;
    }
    let Some((part, rest)) = parts.split_first() else {
        found.push(at);
        return;
    };
    if *part == "**" {
        walk(at.clone(), rest, depth, found);
        for (name, path) in entries(&at) {
            // Links to directories are not followed: they may lead back up.
            if !name.starts_with('.') && fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
                walk(path, parts, depth + 1, found);
            }
        }
    } else if part.contains(['*', '?', '[', '\\']) {
        for (name, path) in entries(&at) {
            if matches_name(part, &name) {
                walk(path, rest, depth, found);
            }
        }
    } else {
        walk(at.join(part), rest, depth, found);
    }
}

fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.filter_map(Result::ok);
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

/// Whether a name fits a pattern without slashes. A leading dot must be written.
pub(crate) fn matches_name(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go back to: after the last star, and what it has to swallow then.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(n) {
        match one(pattern.get(p..).unwrap_or_default(), *c) {
            Fit::Star => {
                star = Some((p + 1, n));
                p += 1;
            }
            Fit::Yes(used) => {
                p += used;
                n += 1;
            }
            Fit::No => match star {
                Some((after, swallowed)) => {
                    star = Some((after, swallowed + 1));
                    (p, n) = (after, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

enum Fit {
    /// The pattern goes on after so many characters.
    Yes(usize),
    No,
    Star,
}

fn one(pattern: &[char], c: char) -> Fit {
    match pattern {
        ['*', ..] => Fit::Star,
        ['?', ..] => Fit::Yes(1),
        ['\\', escaped, ..] => if_fits(*escaped == c, 2),
        ['[', set @ ..] => match set.iter().skip(1).position(|c| *c == ']') {
            Some(at) => if_fits(in_set(set.get(..=at).unwrap_or_default(), c), at + 3),
            None => if_fits(c == '[', 1),
        },
        [literal, ..] => if_fits(*literal == c, 1),
        [] => Fit::No,
    }
}

fn if_fits(fits: bool, used: usize) -> Fit {
    if fits { Fit::Yes(used) } else { Fit::No }
}

fn in_set(set: &[char], c: char) -> bool {
    let (negate, mut set) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut inside = false;
    while let [first, rest @ ..] = set {
        set = match rest {
            ['-', last, after @ ..] => {
                inside |= (*first..=*last).contains(&c);
                after
            }
            _ => {
                inside |= *first == c;
                rest
            }
        };
    }
    inside != negate
}

/// Writes out `{a,b}`.
fn braces(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        let innermost = next.find('}').and_then(|end| Some((next.get(..end)?.rfind('{')?, end)));
        match innermost {
            Some((start, end)) if open.len() + done.len() < BRACES_MAX => {
                let (before, after) = (next.get(..start).unwrap_or(""), next.get(end + 1..).unwrap_or(""));
                let inside = next.get(start + 1..end).unwrap_or("");
                open.extend(inside.split(',').map(|choice| format!("{before}{choice}{after}")));
            }
            _ => done.push(next),
        }
    }
    done.sort();
    done.dedup();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name, fits) in [
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("*.log", ".hidden.log", false),
            (".*", ".hidden", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[", "[", true),
            ("*", "", true),
        ] {
            assert_eq!(matches_name(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn braces_are_written_out() {
        assert_eq!(braces("/{a,b{1,2}}/x"), ["/a/x", "/b1/x", "/b2/x"]);
        assert_eq!(braces("/a}{"), ["/a}{"]);
    }

    #[test]
    fn stars_find_files_at_their_depth_and_two_stars_at_any() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/1.log", "a/b/2.log", "a/b/c/3.log", "a/b/x.txt", "4.log"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = dir.path().to_str().unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let found = files(&format!("{root}/{pattern}"));
            found.iter().map(|p| p.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(found("a/*.log"), ["a/1.log"]);
        assert_eq!(found("*/*/*.log"), ["a/b/2.log"]);
        assert_eq!(found("**/*.log"), ["4.log", "a/1.log", "a/b/2.log", "a/b/c/3.log"]);
        assert_eq!(found("{4.log,a/1.log}"), ["4.log", "a/1.log"]);
        assert_eq!(found("a"), [""; 0]);
        assert_eq!(fixed_directory("/var/log/*/x"), PathBuf::from("/var/log"));
        assert_eq!(fixed_directory("/*.log"), PathBuf::from("/"));
    }

    proptest! {
        #[test]
        fn any_pattern_can_be_matched(pattern in "[a\\]\\[*?!^\\\\-]{0,12}", name in "[a\\-.\\[\\]]{0,12}") {
            matches_name(&pattern, &name);
        }

        #[test]
        fn a_name_fits_itself(name in "[a-z][a-z.]{0,12}") {
            prop_assert!(matches_name(&name, &name));
        }
    }
}
