//! Cuts a Joda date pattern into its items.
use crate::mistake::Mistake;

/// One item of a pattern, in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Literal(Box<str>),
    /// A number written with at least `min` digits and read with at most `max`.
    Number {
        field: Number,
        min: u8,
        max: u8,
    },
    /// `yy`: the last two digits; when `lenient`, any other number of digits is read as the year itself.
    ShortYear {
        lenient: bool,
        /// `xx`: the year of weeks.
        of_weeks: bool,
    },
    /// `SSS`: the fraction of the second in so many digits.
    Fraction(u8),
    Text {
        field: Text,
        long: bool,
    },
    /// `z`: a zone's abbreviation, e.g. `CET`.
    ZoneName,
    /// `Z` (`+0100`) or `ZZ` (`+01:00`).
    Offset {
        colon: bool,
    },
    /// `ZZZ`: a zone's identifier, e.g. `Europe/Berlin`.
    ZoneId,
}

/// Fields that are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Century,
    YearOfEra,
    Year,
    WeekYear,
    Week,
    DayOfWeek,
    DayOfYear,
    Month,
    Day,
    /// `K`: 0 to 11.
    HourOfHalf,
    /// `h`: 1 to 12.
    ClockHourOfHalf,
    /// `H`: 0 to 23.
    Hour,
    /// `k`: 1 to 24.
    ClockHour,
    Minute,
    Second,
}

/// Fields that are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Era,
    Month,
    Weekday,
    HalfDay,
}

/// A run of one letter, or a literal.
enum Token {
    Letters { letter: char, count: usize, start: usize },
    Literal(String),
}

impl Token {
    fn is_number(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Letters { letter: 'M', count, .. } => *count <= 2,
            Self::Letters { letter, .. } => "CxyYdhHmsSeDwkK".contains(*letter),
        }
    }
}

/// Compiles `pattern`.
pub(super) fn items(pattern: &str) -> Result<Vec<Item>, Mistake> {
    if pattern.is_empty() {
        let mistake = Mistake::new(0, 0, "a date pattern must not be empty");
        return Err(mistake.with_hint("write one such as `yyyy-MM-dd HH:mm:ss`"));
    }
    let tokens = tokens(pattern)?;
    let mut items = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let before_number = rest.peek().is_some_and(Token::is_number);
        items.push(match token {
            Token::Literal(text) => Item::Literal(text.into()),
            Token::Letters { letter, count, start } => field(letter, count, before_number)
                .ok_or_else(|| meaningless(letter, start, start + count * letter.len_utf8()))?,
        });
    }
    Ok(items)
}

fn tokens(pattern: &str) -> Result<Vec<Token>, Mistake> {
    let mut tokens = Vec::new();
    let mut literal = String::new();
    let mut chars = pattern.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if c == '\'' {
            if chars.next_if(|(_, next)| *next == '\'').is_some() {
                literal.push('\'');
            } else {
                quoted(&mut chars, &mut literal).ok_or_else(|| unclosed(start, pattern.len()))?;
            }
        } else if c.is_ascii_alphabetic() {
            if !literal.is_empty() {
                tokens.push(Token::Literal(std::mem::take(&mut literal)));
            }
            let mut count = 1;
            while chars.next_if(|(_, next)| *next == c).is_some() {
                count += 1;
            }
            tokens.push(Token::Letters { letter: c, count, start });
        } else {
            literal.push(c);
        }
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal));
    }
    Ok(tokens)
}

/// Reads quoted text up to its closing quote, which is consumed; `''` stands for one quote.
fn quoted(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, literal: &mut String) -> Option<()> {
    loop {
        match chars.next()?.1 {
            '\'' if chars.next_if(|(_, next)| *next == '\'').is_some() => literal.push('\''),
            '\'' => return Some(()),
            c => literal.push(c),
        }
    }
}

fn field(letter: char, count: usize, before_number: bool) -> Option<Item> {
    let digits = u8::try_from(count).unwrap_or(u8::MAX);
    let number = |field, max: u8| Item::Number { field, min: digits, max: max.max(digits) };
    let text = |field| Item::Text { field, long: count >= 4 };
    let year_max = if before_number { digits } else { 9 };
    Some(match letter {
        'G' => text(Text::Era),
        'C' => number(Number::Century, digits),
        'Y' | 'y' | 'x' if count == 2 => Item::ShortYear { lenient: !before_number, of_weeks: letter == 'x' },
        'Y' => number(Number::YearOfEra, year_max),
        'y' => number(Number::Year, year_max),
        'x' => number(Number::WeekYear, year_max),
        'w' => number(Number::Week, 2),
        'e' => number(Number::DayOfWeek, 1),
        'E' => text(Text::Weekday),
        'D' => number(Number::DayOfYear, 3),
        'M' if count >= 3 => text(Text::Month),
        'M' => number(Number::Month, 2),
        'd' => number(Number::Day, 2),
        'a' => text(Text::HalfDay),
        'K' => number(Number::HourOfHalf, 2),
        'h' => number(Number::ClockHourOfHalf, 2),
        'H' => number(Number::Hour, 2),
        'k' => number(Number::ClockHour, 2),
        'm' => number(Number::Minute, 2),
        's' => number(Number::Second, 2),
        'S' => Item::Fraction(digits),
        'z' => Item::ZoneName,
        'Z' if count <= 2 => Item::Offset { colon: count == 2 },
        'Z' => Item::ZoneId,
        _ => return None,
    })
}

fn meaningless(letter: char, start: usize, end: usize) -> Mistake {
    let meant = match letter {
        'u' | 'g' => Some("the year is `y`"),
        'L' => Some("the month is `M`"),
        'n' | 'N' | 'f' | 'A' => Some("fractions of a second are `S`, as in `SSS`"),
        'i' => Some("minutes are `m`"),
        'X' | 'O' | 'V' => Some("a zone offset is `Z` (+0100, or the letter Z) or `ZZ` (+01:00)"),
        'p' | 'P' => Some("AM or PM is `a`"),
        _ => None,
    };
    let quoted = format!("quote it if it stands for itself: `'{letter}'`");
    let message = format!("the letter `{letter}` means nothing in a date pattern");
    Mistake::new(start, end, message).with_hint(match meant {
        Some(meant) => format!("{meant}; {quoted}"),
        None => quoted,
    })
}

fn unclosed(start: usize, end: usize) -> Mistake {
    Mistake::new(start, end, "this quote is not closed")
        .with_hint("close it with `'`; for a quote itself write `''`")
}
