//! Finds the word that was probably meant, and lists the words there are.

/// The closest of `words` to `typed`, when one is close enough to be what was meant.
pub(crate) fn closest<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = typed.chars().count();
    if letters > 64 {
        return None;
    }
    let flat = flattened(typed);
    words
        .into_iter()
        .map(|word| {
            let distance = if flattened(word) == flat { 0 } else { distance(typed, word) };
            (distance, word)
        })
        .filter(|(distance, word)| {
            *distance <= (letters.max(word.chars().count()) / 3).max(1) && *distance < letters.max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The words between backquotes: `a`, `b` and `c`.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    joined(words, "and")
}

/// The words between backquotes: `a`, `b` or `c`.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    joined(words, "or")
}

fn joined<'a>(words: impl IntoIterator<Item = &'a str>, last_by: &str) -> String {
    let mut words: Vec<String> = words.into_iter().map(|w| format!("`{w}`")).collect();
    match words.pop() {
        None => "nothing".to_owned(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} {last_by} {last}", words.join(", ")),
    }
}

/// A word without case, `-` and `_`: `docker_path` and `docker-path` are the same mistake.
fn flattened(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to come from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last_letter = None;
    for (i, letter) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(b.len() + 1);
        next.push(i + 1);
        for (j, other) in b.iter().enumerate() {
            let at = |of: &[usize], index: usize| of.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&row, j) + usize::from(letter != *other);
            let mut best = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let before = j.checked_sub(1).and_then(|k| b.get(k));
            if last_letter == Some(*other) && before == Some(&letter) {
                best = best.min(at(&above, j - 1) + 1);
            }
            next.push(best);
        }
        above = std::mem::replace(&mut row, next);
        last_letter = Some(letter);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_found_if_it_is_close() {
        let words = ["start_position", "docker-path", "path", "host-path", "mode"];
        let near = |typed| closest(typed, words);
        assert_eq!(near("start_postion"), Some("start_position"));
        assert_eq!(near("docker_path"), Some("docker-path"));
        assert_eq!(near("dockerPath"), Some("docker-path"));
        assert_eq!(near("paht"), Some("path"));
        assert_eq!(near("mdoe"), Some("mode"));
        assert_eq!(near("charset"), None);
        assert_eq!(near(""), None);
    }

    #[test]
    fn distances_count_edits_and_swaps() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
