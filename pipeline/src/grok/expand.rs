//! Replaces the names in a grok pattern by what they stand for, and notes which groups are to be kept as which field.
use super::library::Library;
use crate::field::FieldRef;
use crate::mistake::Mistake;

/// How deep patterns may refer to patterns.
const DEEPEST: usize = 64;
/// How long a pattern may become: a few names that each use another twice would otherwise fill the memory.
const LONGEST: usize = 1 << 18;

/// A pattern without names, and the groups in it that are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expanded {
    /// A regular expression of Ruby's syntax.
    pub(crate) regex: String,
    pub(crate) captures: Vec<Capture>,
    /// What works, but probably not as meant.
    pub(crate) warnings: Vec<Mistake>,
}

/// A group that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capture {
    /// The name of the group in the regular expression; several groups may share one.
    pub(crate) group: String,
    /// The field that it is kept as.
    pub(crate) field: FieldRef,
    pub(crate) coerce: Coerce,
}

/// What a captured text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coerce {
    /// It stays text.
    No,
    /// The number that it starts with.
    Int,
    /// The number that it starts with.
    Float,
}

/// How to expand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style<'a> {
    /// `%{NAME}` is kept as the field `NAME`, too.
    pub(crate) keep_unnamed: bool,
    /// The field under which all are kept.
    pub(crate) target: Option<&'a FieldRef>,
}

/// Replaces all names in `pattern`.
pub(crate) fn expand(pattern: &str, library: &Library, style: Style<'_>) -> Result<Expanded, Mistake> {
    let mut expander = Expander { library, style, out: Expanded::default(), path: Vec::new(), place: None };
    expander.text(pattern)?;
    Ok(expander.out)
}

struct Expander<'a> {
    library: &'a Library,
    style: Style<'a>,
    out: Expanded,
    /// The names that are being replaced, outermost first.
    path: Vec<String>,
    /// Where the outermost of them stands in the pattern.
    place: Option<(usize, usize)>,
}

/// A `%{NAME:field:type}` without its brackets.
struct Reference<'a> {
    name: &'a str,
    field: Option<&'a str>,
    coerce: Option<&'a str>,
}

impl Expander<'_> {
    fn text(&mut self, text: &str) -> Result<(), Mistake> {
        // How many brackets of character classes are open; names are not looked for inside.
        let mut classes = 0_usize;
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = text.get(at..).unwrap_or_default();
            let mut taken = c.len_utf8();
            match c {
                '\\' => taken += rest.chars().nth(1).map_or(0, char::len_utf8),
                '[' => {
                    classes += 1;
                    // A bracket that closes nothing is meant literally: `[]x]`, `[^]x]`.
                    let inside = rest.get(1..).unwrap_or_default();
                    let skipped = usize::from(inside.starts_with('^'));
                    if inside.get(skipped..).is_some_and(|i| i.starts_with(']')) {
                        self.push(rest.get(..=skipped).unwrap_or_default(), at)?;
                        self.push("\\]", at)?;
                        at += 2 + skipped;
                        continue;
                    }
                    taken += skipped;
                }
                ']' => classes = classes.saturating_sub(1),
                '%' if classes == 0 && rest.starts_with("%{") => {
                    if let Some((reference, length)) = reference(rest).map_err(|m| self.placed(m, at))? {
                        self.refer(&reference, at, at + length)?;
                        at += length;
                        continue;
                    }
                }
                '(' if classes == 0 => {
                    if let Some((name, length)) = group_name(rest) {
                        self.inline_group(name, at, at + length)?;
                        at += length;
                        continue;
                    }
                }
                _ => {}
            }
            self.push(rest.get(..taken).unwrap_or(rest), at)?;
            at += taken;
        }
        Ok(())
    }

    fn push(&mut self, text: &str, at: usize) -> Result<(), Mistake> {
        self.out.regex.push_str(text);
        if self.out.regex.len() > LONGEST {
            let message = format!("the pattern grows to more than {LONGEST} characters");
            return Err(self.placed(Mistake::new(0, text.len(), message), at));
        }
        Ok(())
    }

    /// Moves a mistake to its place in the outermost pattern.
    fn placed(&self, mut mistake: Mistake, at: usize) -> Mistake {
        (mistake.start, mistake.end) = match self.place {
            Some(place) => place,
            None => (mistake.start + at, mistake.end + at),
        };
        if let Some(inside) = self.path.last() {
            mistake.message = format!("{} (in the pattern `{inside}`)", mistake.message);
        }
        mistake
    }

    fn refer(&mut self, reference: &Reference<'_>, start: usize, end: usize) -> Result<(), Mistake> {
        let whole = |message| Mistake::new(0, end - start, message);
        let name = reference.name;
        let library = self.library;
        let Some(definition) = library.get(name) else {
            let mistake = whole(format!("there is no pattern named `{name}`"));
            let hint = match library.closest(name) {
                Some(near) => {
                    format!("did you mean `{near}`? Patterns of your own go into `pattern_definitions`")
                }
                None => "patterns of your own go into `pattern_definitions`".to_owned(),
            };
            return Err(self.placed(mistake.with_hint(hint), start));
        };
        if self.path.iter().any(|p| p == name) {
            let path = self.path.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" uses ");
            let mistake = whole(format!("patterns use each other in a circle: {path} uses `{name}`"));
            return Err(self.placed(mistake, start));
        }
        if self.path.len() >= DEEPEST {
            return Err(self.placed(whole(format!("patterns are nested more than {DEEPEST} deep")), start));
        }
        let field = reference.field.or(self.style.keep_unnamed.then_some(name));
        match field {
            Some(field) => {
                let coerce = self.coerce(reference, start, end);
                let group = self.capture(None, field, coerce).map_err(|mut mistake| {
                    mistake.end = end - start;
                    self.placed(mistake, start)
                })?;
                self.push(&format!("(?<{group}>"), start)?;
            }
            None => self.push("(?:", start)?,
        }
        let outer = self.place;
        self.place = outer.or(Some((start, end)));
        self.path.push(name.to_owned());
        self.text(definition)?;
        self.path.pop();
        self.place = outer;
        self.push(")", start)
    }

    fn coerce(&mut self, reference: &Reference<'_>, start: usize, end: usize) -> Coerce {
        match reference.coerce {
            None => Coerce::No,
            Some("int") => Coerce::Int,
            Some("float") => Coerce::Float,
            Some(other) => {
                let message = format!("`{other}` is no type: the field stays text");
                let warning = Mistake::new(0, end - start, message).with_hint("write `int` or `float`");
                let warning = self.placed(warning, start);
                self.out.warnings.push(warning);
                Coerce::No
            }
        }
    }

    fn inline_group(&mut self, name: &str, start: usize, end: usize) -> Result<(), Mistake> {
        let (field, coerce) = match name.split_once(':') {
            Some((field, "int")) => (field, Coerce::Int),
            Some((field, "float")) => (field, Coerce::Float),
            _ => (name, Coerce::No),
        };
        let mut letters = name.bytes();
        let plain = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let capture = self.capture(plain.then_some(name), field, coerce);
        let group = capture.map_err(|mut mistake| {
            mistake.end = end - start;
            self.placed(mistake, start)
        })?;
        self.push(&format!("(?<{group}>"), start)
    }

    /// Notes a group to keep; returns its name, which is `wanted` unless that is no name for a group.
    fn capture(&mut self, wanted: Option<&str>, field: &str, coerce: Coerce) -> Result<String, Mistake> {
        let group = match wanted {
            Some(name) => name.to_owned(),
            None => format!("_n{}", self.out.captures.len()),
        };
        if !self.out.captures.iter().any(|c| c.group == group) {
            let bad = |error: crate::field::FieldRefError| Mistake::new(0, field.len(), error.to_string());
            let field = FieldRef::parse(field).map_err(bad)?;
            let field = self.style.target.map_or(field.clone(), |target| inside(target, &field));
            self.out.captures.push(Capture { group: group.clone(), field, coerce });
        }
        Ok(group)
    }
}

/// Reads `%{NAME}`, `%{NAME:field}` or `%{NAME:field:type}` at the start of `text`, and its length. What does not look
/// like one stands for itself.
fn reference(text: &str) -> Result<Option<(Reference<'_>, usize)>, Mistake> {
    let inside = text.get(2..).unwrap_or_default();
    let name_length = inside.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let name = inside.get(..name_length).unwrap_or_default();
    let after = inside.get(name_length..).unwrap_or_default();
    if name.is_empty() || !after.starts_with(['}', ':']) {
        return Ok(None);
    }
    let Some(length) = inside.find('}') else {
        let mistake = Mistake::new(0, 2 + name_length, format!("`%{{{name}` is not closed"));
        return Err(mistake.with_hint("close it with `}`"));
    };
    let rest = inside.get(name_length..length).unwrap_or_default();
    let mut parts = rest.split(':').skip(1);
    let (field, coerce) = (parts.next(), parts.next());
    let known = |c: char| c.is_alphanumeric() || "@[]_.-".contains(c);
    let fits = field.is_none_or(|f| !f.is_empty() && f.chars().all(known)) && parts.next().is_none();
    if !fits {
        let mistake = Mistake::new(
            0,
            length + 3,
            format!("`{}` cannot be read", text.get(..length + 3).unwrap_or(text)),
        );
        return Err(
            mistake.with_hint("write `%{NAME}`, `%{NAME:field}` or `%{NAME:field:int}`, without blanks")
        );
    }
    Ok(Some((Reference { name, field, coerce }, length + 3)))
}

/// The name in `(?<name>` or `(?'name'` at the start of `text`, and the length of all that.
fn group_name(text: &str) -> Option<(&str, usize)> {
    let (rest, close) = match text.strip_prefix("(?<") {
        Some(rest) => (rest, '>'),
        None => (text.strip_prefix("(?'")?, '\''),
    };
    if rest.starts_with(['=', '!']) {
        return None;
    }
    let (name, _) = rest.split_once(close)?;
    Some((name, name.len() + 4))
}

/// The field `of` this name in the field `outer`.
fn inside(outer: &FieldRef, of: &FieldRef) -> FieldRef {
    let path = outer.path.iter().chain(&of.path).cloned().collect();
    FieldRef { root: outer.root, path }
}
