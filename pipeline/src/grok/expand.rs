//! Replaces the names in a grok pattern by what they stand for, and notes which groups are to be kept as which field.
use std::collections::HashMap;

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

/// What is kept of the groups that are written alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capture {
    /// How they are written: `NAME:field:int`, or the name of a plain group.
    written: String,
    /// Their name in the regular expression; several groups may share one.
    pub(crate) group: String,
    /// The field that they are kept as.
    pub(crate) field: FieldRef,
    /// What is there already gives way.
    pub(crate) overwrite: bool,
    /// What the first of them becomes; as in Logstash, those written alike behind it stay text.
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
    /// The fields in which what is there already gives way.
    pub(crate) overwrite: &'a [FieldRef],
}

/// Replaces all names in `pattern`.
pub(crate) fn expand(pattern: &str, library: &Library, style: Style<'_>) -> Result<Expanded, Mistake> {
    let mut expander = Expander {
        library,
        style,
        out: Expanded::default(),
        defined: HashMap::new(),
        path: Vec::new(),
        place: None,
    };
    expander.text(pattern)?;
    Ok(expander.out)
}

struct Expander<'a> {
    library: &'a Library,
    style: Style<'a>,
    out: Expanded,
    /// What was defined within the pattern itself.
    defined: HashMap<String, String>,
    /// The names that are being replaced, outermost first.
    path: Vec<String>,
    /// Where the outermost of them stands in the pattern.
    place: Option<(usize, usize)>,
}

/// A `%{NAME:field:type}` without its brackets.
struct Reference<'a> {
    name: &'a str,
    /// `NAME:field:type`, when there is a field.
    written: Option<&'a str>,
    /// What `%{NAME=…}` defines it as.
    definition: Option<&'a str>,
    /// What stands before the closing bracket, and means nothing.
    ignored: &'a str,
}

/// The field and the type in `NAME:field:type`, or in the name of a group.
fn parts(written: &str) -> (&str, Option<&str>) {
    let mut parts = written.split(':');
    let first = parts.next().unwrap_or_default();
    let field = parts.next().filter(|_| written.trim_end_matches(':').contains(':')).unwrap_or(first);
    (field, parts.next().filter(|coerce| !coerce.is_empty()))
}

impl Expander<'_> {
    fn text(&mut self, text: &str) -> Result<(), Mistake> {
        // How many brackets of character classes are open; groups are not looked for inside.
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
                '%' if rest.starts_with("%{") => {
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
        if let Some(definition) = reference.definition {
            self.defined.insert(name.to_owned(), definition.to_owned());
        }
        let library = self.library;
        let own = self.defined.get(name).cloned();
        let Some(definition) = own.as_deref().or_else(|| library.get(name)) else {
            let mistake = whole(format!("there is no pattern named `{name}`"));
            let hint = match library.closest(name) {
                Some(near) => {
                    format!("did you mean `{near}`? Patterns of your own go into `pattern_definitions`")
                }
                None => "patterns of your own go into `pattern_definitions`".to_owned(),
            };
            return Err(self.placed(mistake.with_hint(hint), start));
        };
        if !reference.ignored.is_empty() {
            let warning = whole(format!("`{}` is not looked at", reference.ignored))
                .with_hint("write `%{NAME}`, `%{NAME:field}` or `%{NAME:field:int}`, without blanks");
            let warning = self.placed(warning, start);
            self.out.warnings.push(warning);
        }
        if self.path.iter().any(|p| p == name) {
            let path = self.path.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(" uses ");
            let mistake = whole(format!("patterns use each other in a circle: {path} uses `{name}`"));
            return Err(self.placed(mistake, start));
        }
        if self.path.len() >= DEEPEST {
            return Err(self.placed(whole(format!("patterns are nested more than {DEEPEST} deep")), start));
        }
        match reference.written.or(self.style.keep_unnamed.then_some(name)) {
            Some(written) => {
                let group = self.capture(None, written, start, end)?;
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

    fn coerce(&mut self, coerce: Option<&str>, start: usize, end: usize) -> Coerce {
        match coerce {
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
        let mut letters = name.bytes();
        let plain = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let group = self.capture(plain.then_some(name), name, start, end)?;
        self.push(&format!("(?<{group}>"), start)
    }

    /// Notes a group to keep; returns its name, which is `wanted` unless that is no name for a group.
    fn capture(
        &mut self,
        wanted: Option<&str>,
        written: &str,
        start: usize,
        end: usize,
    ) -> Result<String, Mistake> {
        if let Some(known) = self.out.captures.iter().find(|c| c.written == written) {
            return Ok(known.group.clone());
        }
        let group = match wanted {
            Some(name) => name.to_owned(),
            None => format!("_n{}", self.out.captures.len()),
        };
        let (field, coerce) = parts(written);
        let coerce = self.coerce(coerce, start, end);
        let field = FieldRef::parse(field)
            .map_err(|error| self.placed(Mistake::new(0, end - start, error.to_string()), start))?;
        self.out.captures.push(Capture {
            written: written.to_owned(),
            group: group.clone(),
            overwrite: self.style.overwrite.contains(&field),
            field: self.style.target.map_or(field.clone(), |target| inside(target, &field)),
            coerce,
        });
        Ok(group)
    }
}

/// Reads `%{NAME}`, `%{NAME:field}`, `%{NAME:field:type}` or any of them with `=definition` at the start of `text`, and its
/// length. What does not begin like one stands for itself.
fn reference(text: &str) -> Result<Option<(Reference<'_>, usize)>, Mistake> {
    let inside = text.get(2..).unwrap_or_default();
    let name_length = inside.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'A'..=b'z')).count();
    let name = inside.get(..name_length).unwrap_or_default();
    if name.is_empty() {
        return Ok(None);
    }
    let mut at = name_length;
    let of_field = |b: &u8| b.is_ascii_digit() || matches!(b, b'A'..=b'z' | b'@' | b':' | b'.' | b'-');
    let after = inside.get(at..).unwrap_or_default();
    let field_length = after.bytes().skip(1).take_while(of_field).count();
    let mut written = None;
    if after.starts_with(':') && field_length > 0 {
        at += 1 + field_length;
        written = inside.get(..at);
    }
    let mut definition = None;
    if let Some(text) = inside.get(at..).and_then(|after| after.strip_prefix('=')) {
        definition = text.get(..definition_length(text)).filter(|text| !text.is_empty());
        at += definition.map_or(0, |text| text.len() + 1);
    }
    let rest = inside.get(at..).unwrap_or_default();
    let Some((ignored, _)) = rest.split_once('}') else {
        let mistake = Mistake::new(0, 2 + name_length, format!("`%{{{name}` is not closed"));
        return Err(mistake.with_hint("close it with `}`"));
    };
    let length = 2 + at + ignored.len() + 1;
    Ok(Some((Reference { name, written, definition, ignored }, length)))
}

/// How long the definition is that `text` starts with: up to the bracket that closes more than was opened.
fn definition_length(text: &str) -> usize {
    let mut open = 0_usize;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => open += 1,
            '}' if open == 0 => return at,
            '}' => open -= 1,
            _ => {}
        }
    }
    0
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
