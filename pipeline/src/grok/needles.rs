//! Finds the literal texts without which a regular expression cannot match, so that most misses cost no matching.
use memchr::memmem::Finder;

/// A shorter literal rejects too little for what it costs to look for it.
const SHORTEST: usize = 2;
/// More literals reject hardly more.
const MOST: usize = 4;

/// Literals that must all occur, in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Needles {
    finders: Vec<Finder<'static>>,
}

impl Needles {
    /// The literals of a regular expression of Ruby's syntax; none when in doubt.
    pub(super) fn of(regex: &str) -> Self {
        let mut scanner = Scanner { rest: regex.chars().collect::<Vec<_>>().into_iter().peekable() };
        // What follows an unmatched bracket is not understood.
        let sequence = match scanner.alternatives(0) {
            Some(sequence) if scanner.rest.peek().is_none() => sequence,
            _ => Vec::new(),
        };
        let mut kept: Vec<(usize, String)> =
            sequence.into_iter().enumerate().filter(|(_, literal)| literal.len() >= SHORTEST).collect();
        kept.sort_by_key(|(_, literal)| std::cmp::Reverse(literal.len()));
        kept.truncate(MOST);
        kept.sort_by_key(|(place, _)| *place);
        Self { finders: kept.iter().map(|(_, literal)| Finder::new(literal).into_owned()).collect() }
    }

    /// Whether `text` has all of them in order; if not, it does not match.
    pub(super) fn may_match(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        self.finders.iter().all(|finder| match finder.find(rest) {
            Some(at) => {
                rest = rest.get(at + finder.needle().len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }

    #[cfg(test)]
    pub(super) fn literals(&self) -> Vec<&str> {
        self.finders.iter().filter_map(|f| std::str::from_utf8(f.needle()).ok()).collect()
    }
}

/// Reads a regular expression just far enough to see which characters it cannot do without.
struct Scanner {
    rest: std::iter::Peekable<std::vec::IntoIter<char>>,
}

/// What one item of a regular expression demands.
enum Demand {
    /// Exactly this character.
    Char(char),
    /// These literals, in order, somewhere in what it matches.
    Literals(Vec<String>),
    /// Something that is not known.
    Unknown,
}

/// How deep groups are followed.
const DEEPEST: usize = 100;

impl Scanner {
    /// Reads alternatives up to the end or to a closing bracket, which is left. With more than one alternative nothing
    /// is demanded. `None`: not understood.
    fn alternatives(&mut self, depth: usize) -> Option<Vec<String>> {
        if depth > DEEPEST {
            return None;
        }
        let mut literals = Vec::new();
        let mut current = String::new();
        let mut several = false;
        loop {
            match self.rest.peek() {
                None | Some(')') => break,
                Some('|') => {
                    self.rest.next();
                    several = true;
                    continue;
                }
                Some(_) => {}
            }
            let demand = self.item(depth)?;
            let (least, exactly_one) = self.quantifier()?;
            match demand {
                Demand::Char(c) if exactly_one => {
                    current.push(c);
                    continue;
                }
                // At least once, but it is not known what comes right after the first.
                Demand::Char(c) if least > 0 => {
                    current.push(c);
                    literals.push(std::mem::take(&mut current));
                }
                Demand::Literals(inner) if least > 0 => {
                    literals.push(std::mem::take(&mut current));
                    literals.extend(inner);
                }
                _ => literals.push(std::mem::take(&mut current)),
            }
        }
        literals.push(current);
        Some(if several { Vec::new() } else { literals })
    }

    fn item(&mut self, depth: usize) -> Option<Demand> {
        match self.rest.next()? {
            '\\' => self.escape(),
            '[' => {
                self.class(0)?;
                Some(Demand::Unknown)
            }
            '(' => self.group(depth),
            '.' | '^' | '$' => Some(Demand::Unknown),
            '*' | '+' | '?' => None,
            c => Some(Demand::Char(c)),
        }
    }

    fn escape(&mut self) -> Option<Demand> {
        let c = self.rest.next()?;
        Some(match c {
            't' => Demand::Char('\t'),
            'n' => Demand::Char('\n'),
            // Classes and anchors of one letter; everything else with letters or digits is not understood.
            'w' | 'W' | 's' | 'S' | 'd' | 'D' | 'h' | 'H' | 'b' | 'B' | 'A' | 'z' | 'Z' => Demand::Unknown,
            c if c.is_ascii_alphanumeric() => return None,
            c => Demand::Char(c),
        })
    }

    fn class(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.rest.next_if_eq(&'^');
        loop {
            match self.rest.next()? {
                '\\' => {
                    self.rest.next()?;
                }
                '[' => self.class(depth + 1)?,
                ']' => return Some(()),
                _ => {}
            }
        }
    }

    /// Reads a group, after its opening bracket.
    fn group(&mut self, depth: usize) -> Option<Demand> {
        let mut looks_around = false;
        if self.rest.next_if_eq(&'?').is_some() {
            match self.rest.next()? {
                ':' | '>' => {}
                '=' | '!' => looks_around = true,
                '<' => {
                    if self.rest.next_if(|c| matches!(c, '=' | '!')).is_some() {
                        looks_around = true;
                    } else {
                        while self.rest.next()? != '>' {}
                    }
                }
                // Options (`(?i)`), comments, conditions, absence: what follows may mean anything.
                _ => return None,
            }
        }
        let inner = self.alternatives(depth + 1)?;
        self.rest.next_if_eq(&')')?;
        Some(if looks_around { Demand::Unknown } else { Demand::Literals(inner) })
    }

    /// Reads the quantifiers after an item: the least number of times, and whether it is exactly one.
    fn quantifier(&mut self) -> Option<(u32, bool)> {
        let (mut least, mut exactly_one) = (1, true);
        loop {
            match self.rest.peek() {
                Some('*') => least = 0,
                // After another quantifier these change its greed, which changes nothing here but `?` after `{n}`.
                Some('?') => least = 0,
                Some('+') => {}
                Some('{') => {
                    self.rest.next();
                    least = least.min(self.repetition()?);
                    exactly_one = false;
                    continue;
                }
                _ => return Some((least, exactly_one)),
            }
            exactly_one = false;
            self.rest.next();
        }
    }

    /// Reads a repetition after its opening bracket; `None` when it is a literal bracket.
    fn repetition(&mut self) -> Option<u32> {
        let mut least = 0_u32;
        while let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(10)) {
            least = least.saturating_mul(10).saturating_add(digit);
            self.rest.next();
        }
        if self.rest.next_if_eq(&',').is_some() {
            while self.rest.next_if(char::is_ascii_digit).is_some() {}
        }
        self.rest.next_if_eq(&'}').map(|_| least)
    }
}
