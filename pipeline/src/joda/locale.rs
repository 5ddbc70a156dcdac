//! Holds the names of months and weekdays in the languages that dates are read in.

/// The names of all languages but English.
const NAMES: &str = include_str!("../../locales/names");

/// A language's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locale {
    language: &'static str,
    months: [(&'static str, &'static str); 12],
    weekdays: [(&'static str, &'static str); 7],
}

impl PartialEq for Locale {
    fn eq(&self, other: &Self) -> bool {
        self.language == other.language
    }
}

impl Eq for Locale {}

impl Locale {
    /// English, in which dates are written, and read unless another language is asked for.
    pub(crate) const ENGLISH: Self = Self {
        language: "en",
        months: [
            ("Jan", "January"),
            ("Feb", "February"),
            ("Mar", "March"),
            ("Apr", "April"),
            ("May", "May"),
            ("Jun", "June"),
            ("Jul", "July"),
            ("Aug", "August"),
            ("Sep", "September"),
            ("Oct", "October"),
            ("Nov", "November"),
            ("Dec", "December"),
        ],
        weekdays: [
            ("Mon", "Monday"),
            ("Tue", "Tuesday"),
            ("Wed", "Wednesday"),
            ("Thu", "Thursday"),
            ("Fri", "Friday"),
            ("Sat", "Saturday"),
            ("Sun", "Sunday"),
        ],
    };

    /// The locale for a tag such as `en`, `en-US` or `de_AT`: its language counts, its region does not.
    pub(crate) fn named(tag: &str) -> Option<Self> {
        let language = tag.split(['-', '_']).next().unwrap_or(tag);
        if language.eq_ignore_ascii_case(Self::ENGLISH.language) {
            return Some(Self::ENGLISH);
        }
        lines().find(|line| language_of(line).eq_ignore_ascii_case(language)).and_then(Self::read)
    }

    /// The languages there are, for a message.
    pub(crate) fn languages() -> String {
        std::iter::once(Self::ENGLISH.language).chain(lines().map(language_of)).collect::<Vec<_>>().join(", ")
    }

    /// Reads a line of names.
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = line.split(' ');
        let language = columns.next()?;
        Some(Self {
            language,
            months: pairs(columns.next()?, columns.next()?)?,
            weekdays: pairs(columns.next()?, columns.next()?)?,
        })
    }

    /// The name of month 1 to 12.
    pub(super) fn month(&self, month: i8, long: bool) -> &'static str {
        nth(&self.months, month, long)
    }

    /// The name of weekday 1 (Monday) to 7.
    pub(super) fn weekday(&self, weekday: i8, long: bool) -> &'static str {
        nth(&self.weekdays, weekday, long)
    }

    /// The month whose name `text` starts with, and the bytes of that name.
    pub(super) fn read_month(&self, text: &str) -> Option<(i8, usize)> {
        longest(&self.months, text)
    }

    /// The weekday whose name `text` starts with, and the bytes of that name.
    pub(super) fn read_weekday(&self, text: &str) -> Option<(i8, usize)> {
        longest(&self.weekdays, text)
    }
}

fn lines() -> impl Iterator<Item = &'static str> {
    NAMES.lines().filter(|line| !line.starts_with('#'))
}

fn language_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// Short and long names in pairs.
fn pairs<const N: usize>(
    short: &'static str,
    long: &'static str,
) -> Option<[(&'static str, &'static str); N]> {
    short.split(',').zip(long.split(',')).collect::<Vec<_>>().try_into().ok()
}

fn nth(names: &[(&'static str, &'static str)], number: i8, long: bool) -> &'static str {
    let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
    names.get(index).map_or("", |(short, full)| if long { full } else { short })
}

/// The number (from 1) and length of the longest of `names` that `text` starts with; short names that end with a full stop
/// are also read without it.
fn longest(names: &[(&'static str, &'static str)], text: &str) -> Option<(i8, usize)> {
    let mut best: Option<(i8, usize)> = None;
    for (number, (short, long)) in (1i8..).zip(names) {
        for name in [short, short.trim_end_matches('.'), long] {
            if let Some(length) = name_at(text, name)
                && best.is_none_or(|(_, longest)| length > longest)
            {
                best = Some((number, length));
            }
        }
    }
    best
}

/// The bytes of `text` that spell `name` as it is, in small letters or in capitals, if it starts so.
pub(super) fn name_at(text: &str, name: &str) -> Option<usize> {
    let length = spelled(text, name.chars().map(|letter| if letter == '_' { ' ' } else { letter }))?;
    let written = text.get(..length)?;
    let small = !written.chars().any(char::is_uppercase);
    let capital = !written.chars().any(char::is_lowercase);
    (written == name || small || capital).then_some(length)
}

/// The bytes of `text` that spell `name` in any case, if it starts so.
pub(super) fn prefix(text: &str, name: &str) -> Option<usize> {
    spelled(text, name.chars())
}

fn spelled(text: &str, name: impl Iterator<Item = char>) -> Option<usize> {
    let mut chars = text.char_indices();
    for wanted in name {
        let (_, found) = chars.next()?;
        if found != wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(text.len() - chars.as_str().len())
}
