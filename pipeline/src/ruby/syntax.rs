//! Reads regular expressions of Ruby's syntax into a tree, as far as they are understood here; Oniguruma knows the rest.
use super::set::Set;

/// How deep groups may be nested.
const DEEPEST: usize = 100;
/// What `max` of a repetition is when there is no limit.
pub(crate) const NO_LIMIT: u32 = u32::MAX;

/// A part of an expression. What characters beyond ASCII can match is left out: see [`super::program`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// One after the other; none is the empty text.
    All(Vec<Node>),
    /// The first that leads to a match.
    Either(Vec<Node>),
    /// This very character.
    Byte(u8),
    /// One of these, and perhaps others beyond ASCII.
    Set(Set),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: u32,
        how: How,
    },
    Group {
        name: Option<String>,
        node: Box<Node>,
    },
    /// Once matched, not tried in another way.
    Atomic(Box<Node>),
    Look {
        ahead: bool,
        negative: bool,
        node: Box<Node>,
    },
    /// `^` and `\A`: the same in a text without newlines.
    Begin,
    /// `$`, `\z` and `\Z`: likewise.
    End,
    /// `\b`, or `\B` when negative.
    WordEdge {
        negative: bool,
    },
}

/// In which order the counts of a repetition are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Most first.
    Greedy,
    /// Fewest first.
    Lazy,
    /// Only the most.
    Possessive,
}

/// Reads an expression; `None` when it has something that is not understood.
pub(crate) fn read(pattern: &str) -> Option<Node> {
    let mut reader = Reader { rest: pattern, any_case: false, ascii: pattern.is_ascii() };
    let node = reader.either(0)?;
    reader.rest.is_empty().then_some(node)
}

struct Reader<'a> {
    rest: &'a str,
    /// `(?i)` holds here.
    any_case: bool,
    /// The whole expression is ASCII, so that letters have one other case at most.
    ascii: bool,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads alternatives up to the end or a closing bracket, which is left.
    fn either(&mut self, depth: usize) -> Option<Node> {
        if depth > DEEPEST {
            return None;
        }
        let mut ways = vec![self.all(depth)?];
        while self.eat("|") {
            ways.push(self.all(depth)?);
        }
        if ways.len() == 1 { ways.pop() } else { Some(Node::Either(ways)) }
    }

    fn all(&mut self, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            let before = self.any_case;
            if let Some(any_case) = self.option_to_the_end() {
                // What follows, alternatives too, is inside: `a(?i)b|c` is `a(?i:b|c)`.
                self.any_case = any_case?;
                items.push(self.either(depth + 1)?);
                self.any_case = before;
                break;
            }
            let item = self.item(depth)?;
            items.push(self.repeated(item)?);
        }
        Some(Node::All(items))
    }

    /// Reads `(?i)` and the like, if one is next: whether any case will do from here.
    fn option_to_the_end(&mut self) -> Option<Option<bool>> {
        let inside = self.rest.strip_prefix("(?")?;
        let length = inside.find([')', ':'])?;
        let letters = inside.get(..length)?;
        let closes = inside.get(length..)?.starts_with(')');
        if !closes || letters.is_empty() || !letters.chars().all(|c| matches!(c, 'i' | 'm' | 'x' | '-')) {
            return None;
        }
        self.rest = inside.get(length + 1..)?;
        Some(self.case_after(letters))
    }

    /// Whether any case will do after the options `letters`; `None` for an option that is not understood.
    fn case_after(&self, letters: &str) -> Option<bool> {
        let (on, off) = letters.split_once('-').unwrap_or((letters, ""));
        // `m` is about newlines, which there are none of.
        if letters.contains('x') || off.contains('-') {
            return None;
        }
        let any_case = (self.any_case || on.contains('i')) && !off.contains('i');
        (!any_case || self.ascii).then_some(any_case)
    }

    fn item(&mut self, depth: usize) -> Option<Node> {
        match self.next()? {
            '(' => self.group(depth),
            '[' => self.class(depth).map(Node::Set),
            '.' => Some(Node::Set(Set::ALL)),
            '^' => Some(Node::Begin),
            '$' => Some(Node::End),
            '\\' => self.escape(),
            '*' | '+' | '?' | '{' | ')' => None,
            c => Some(self.character(c)),
        }
    }

    fn character(&self, c: char) -> Node {
        let Ok(byte) = u8::try_from(c) else { return Node::Set(Set::NONE) };
        match byte {
            128.. => Node::Set(Set::NONE),
            _ if self.any_case && byte.is_ascii_alphabetic() => {
                Node::Set(Set::NONE.with(byte.to_ascii_lowercase()).with(byte.to_ascii_uppercase()))
            }
            _ => Node::Byte(byte),
        }
    }

    fn escape(&mut self) -> Option<Node> {
        match self.peek()? {
            'b' => self.next().map(|_| Node::WordEdge { negative: false }),
            'B' => self.next().map(|_| Node::WordEdge { negative: true }),
            'A' => self.next().map(|_| Node::Begin),
            'z' | 'Z' => self.next().map(|_| Node::End),
            _ => match self.escaped()? {
                Escaped::Set(set) => Some(Node::Set(set)),
                Escaped::Char(c) => Some(self.character(c)),
            },
        }
    }

    /// Reads what an escape stands for inside and outside of classes alike, after its backslash.
    fn escaped(&mut self) -> Option<Escaped> {
        let c = self.next()?;
        Some(match c {
            't' => Escaped::Char('\t'),
            'n' => Escaped::Char('\n'),
            'r' => Escaped::Char('\r'),
            'f' => Escaped::Char('\x0c'),
            'v' => Escaped::Char('\x0b'),
            'a' => Escaped::Char('\x07'),
            'e' => Escaped::Char('\x1b'),
            'x' => {
                let value = u8::from_str_radix(self.rest.get(..2)?, 16).ok()?;
                self.rest = self.rest.get(2..)?;
                return value.is_ascii().then(|| Escaped::Char(char::from(value)));
            }
            _ if c.is_ascii_alphanumeric() => {
                let set = Set::named(c.to_ascii_lowercase())?;
                Escaped::Set(if c.is_ascii_uppercase() { set.inverted() } else { set })
            }
            c => Escaped::Char(c),
        })
    }

    /// Reads a class, after its opening bracket.
    fn class(&mut self, depth: usize) -> Option<Set> {
        if depth > DEEPEST {
            return None;
        }
        let negative = self.eat("^");
        let mut set = Set::NONE;
        // A bracket that closes nothing, or an intersection: left to Oniguruma.
        if self.peek()? == ']' {
            return None;
        }
        while !self.eat("]") {
            if self.rest.starts_with("&&") {
                return None;
            }
            if self.eat("[:") {
                let (name, rest) = self.rest.split_once(":]")?;
                self.rest = rest;
                set = set.or(Set::posix(name)?);
                continue;
            }
            if self.eat("[") {
                set = set.or(self.class(depth + 1)?);
                continue;
            }
            let first = match self.class_item()? {
                Escaped::Set(named) => {
                    set = set.or(named);
                    continue;
                }
                Escaped::Char(c) => c,
            };
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            if !is_range {
                set = set.or(Set::range(first, first));
                continue;
            }
            self.next();
            match self.class_item()? {
                Escaped::Char(last) if first <= last && last != '[' => set = set.or(Set::range(first, last)),
                _ => return None,
            }
        }
        if self.any_case {
            set = set.in_any_case();
        }
        Some(if negative { set.inverted() } else { set })
    }

    fn class_item(&mut self) -> Option<Escaped> {
        match self.next()? {
            '\\' if self.peek() == Some('b') => None,
            '\\' => self.escaped(),
            '[' => None,
            c => Some(Escaped::Char(c)),
        }
    }

    /// Reads a group, after its opening bracket.
    fn group(&mut self, depth: usize) -> Option<Node> {
        let before = self.any_case;
        let look = |ahead, negative| move |node| Node::Look { ahead, negative, node };
        let wrap: Box<dyn FnOnce(Box<Node>) -> Node> = if !self.eat("?") {
            Box::new(|node| Node::Group { name: None, node })
        } else if self.eat(":") {
            Box::new(|node| *node)
        } else if self.eat(">") {
            Box::new(Node::Atomic)
        } else if self.eat("=") {
            Box::new(look(true, false))
        } else if self.eat("!") {
            Box::new(look(true, true))
        } else if self.eat("<=") {
            Box::new(look(false, false))
        } else if self.eat("<!") {
            Box::new(look(false, true))
        } else if self.eat("<") {
            let (name, rest) = self.rest.split_once('>')?;
            self.rest = rest;
            let name = Some(name.to_owned());
            Box::new(|node| Node::Group { name, node })
        } else {
            let (letters, rest) = self.rest.split_once(':')?;
            if !letters.chars().all(|c| matches!(c, 'i' | 'm' | 'x' | '-')) {
                return None;
            }
            self.any_case = self.case_after(letters)?;
            self.rest = rest;
            Box::new(|node| *node)
        };
        let node = self.either(depth + 1)?;
        self.any_case = before;
        self.eat(")").then(|| wrap(Box::new(node)))
    }

    fn repeated(&mut self, node: Node) -> Option<Node> {
        let (min, max, counted) = match self.peek() {
            Some('*') => (0, NO_LIMIT, false),
            Some('+') => (1, NO_LIMIT, false),
            Some('?') => (0, 1, false),
            Some('{') => {
                let (min, max) = self.counts()?;
                (min, max, true)
            }
            _ => return Some(node),
        };
        if !counted {
            self.next();
        }
        let how = match self.peek() {
            // After counts these mean something else.
            Some('?' | '+' | '*' | '{') if counted => return None,
            Some('?') => How::Lazy,
            Some('+') => How::Possessive,
            Some('*' | '{') => return None,
            _ => How::Greedy,
        };
        if how != How::Greedy {
            self.next();
            if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
                return None;
            }
        }
        // What is repeated must be something: `^*` is an error or nonsense.
        if matches!(node, Node::Begin | Node::End | Node::WordEdge { .. } | Node::Look { .. }) {
            return None;
        }
        Some(Node::Repeat { node: Box::new(node), min, max, how })
    }

    /// Reads `{n}`, `{n,}`, `{n,m}` or `{,m}`.
    fn counts(&mut self) -> Option<(u32, u32)> {
        let (inside, rest) = self.rest.strip_prefix('{')?.split_once('}')?;
        self.rest = rest;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse::<u32>().ok() } else { None }
        };
        let (min, max) = match inside.split_once(',') {
            None => (number(inside)?, number(inside)?),
            Some(("", max)) => (0, number(max)?),
            Some((min, "")) => (number(min)?, NO_LIMIT),
            Some((min, max)) => (number(min)?, number(max)?),
        };
        (min <= max).then_some((min, max))
    }
}

/// What an escape stands for.
enum Escaped {
    Char(char),
    Set(Set),
}
