//! Holds the tree of a configuration text, exactly as it was written, each part with its place.
//!
//! Strings keep their text without quotes and without escapes undone (Logstash does not undo them by default). Names and
//! values know where they stand, so that every later stage can point at them.

/// A place in the text: byte offsets, `end` just after the last byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The place from the start of `self` to the end of `other`.
    pub(crate) fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }
}

/// A whole text: `input { … } filter { … } output { … }` in any number and order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) sections: Vec<Section>,
}

/// One `input`, `filter` or `output` section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    /// Where the word stands.
    pub(crate) head: Span,
    pub(crate) body: Vec<Item>,
}

/// Which stage a section describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Input,
    Filter,
    Output,
}

/// One thing in a section or in the block of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Plugin(Call),
    If(Branches),
}

/// `if … { … } else if … { … } else { … }`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Branches {
    pub(crate) arms: Vec<Arm>,
    pub(crate) otherwise: Option<Vec<Item>>,
}

/// One condition and what happens when it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arm {
    /// Where `if` or `else if` stands.
    pub(crate) head: Span,
    /// `None` when it could not be read.
    pub(crate) condition: Option<Expr>,
    pub(crate) body: Vec<Item>,
}

/// A plugin with its settings: `name { key => value … }`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: Name,
    pub(crate) settings: Vec<Setting>,
    /// Nothing inside was unreadable: what is not there was not written.
    pub(crate) whole: bool,
}

/// The name of a plugin or of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// `key => value` inside a plugin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) key: Name,
    pub(crate) value: Node,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Raw,
    pub(crate) span: Span,
    /// Part of the text came from the environment: it is never shown and its offsets are not those of the text.
    pub(crate) substituted: bool,
    /// Part of the text will come from an environment that is not known here: nothing can be said about the value.
    pub(crate) unknown: bool,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    /// A quoted string, without the quotes.
    Text(String),
    /// A word without quotes.
    Word(String),
    /// A number, as written: `-3`, `2.5`.
    Number(String),
    /// `[ a, b ]`
    List(Vec<Node>),
    /// `{ key => value key => value }`; keys are [`Raw::Text`], [`Raw::Word`] or [`Raw::Number`].
    Hash(Vec<(Node, Node)>),
    /// A plugin as a value: `json { charset => "UTF-8" }`.
    Plugin(Call),
}

impl Node {
    pub(crate) fn new(value: Raw, span: Span) -> Self {
        Self { value, span, substituted: false, unknown: false }
    }

    /// The text of a string, word or number.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Raw::Text(text) | Raw::Word(text) | Raw::Number(text) => Some(text),
            Raw::List(_) | Raw::Hash(_) | Raw::Plugin(_) => None,
        }
    }

    /// Whether the text of this value stands in the configuration byte for byte: without escapes, without variables.
    pub(crate) fn is_verbatim(&self) -> bool {
        let quotes = 2 * usize::from(matches!(self.value, Raw::Text(_)));
        let written = self.span.end - self.span.start;
        !self.substituted && self.text().is_some_and(|text| text.len() + quotes == written)
    }

    /// Where the `from..to` bytes of the text of this value stand; the whole value when that cannot be said.
    pub(crate) fn part(&self, from: usize, to: usize) -> Span {
        let quote = usize::from(matches!(self.value, Raw::Text(_)));
        match self.text() {
            Some(text) if self.is_verbatim() && from <= to && to <= text.len() => {
                Span::new(self.span.start + quote + from, self.span.start + quote + to)
            }
            _ => self.span,
        }
    }

    /// Whether the value, or one inside of it, depends on an environment that is not known here.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown
            || match &self.value {
                Raw::List(items) => items.iter().any(Self::is_unknown),
                Raw::Hash(entries) => entries.iter().any(|(_, value)| value.is_unknown()),
                Raw::Plugin(call) => call.settings.iter().any(|setting| setting.value.is_unknown()),
                Raw::Text(_) | Raw::Word(_) | Raw::Number(_) => false,
            }
    }

    /// What kind of value this is, for messages: "a string", "a hash".
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Raw::Text(_) => "a string",
            Raw::Word(_) => "a word",
            Raw::Number(_) => "a number",
            Raw::List(_) => "an array",
            Raw::Hash(_) => "a hash",
            Raw::Plugin(_) => "a plugin",
        }
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// Operands of one operator, two or more, read from the left.
    Chain(BoolOp, Vec<Expr>),
    Not(Box<Expr>),
    Compare {
        left: Rvalue,
        op: CompareOp,
        right: Rvalue,
    },
    /// `=~` and, with `negate`, `!~`; the right side is a regexp or a string.
    Match {
        left: Rvalue,
        negate: bool,
        right: Rvalue,
    },
    /// `in` and, with `negate`, `not in`.
    In {
        left: Rvalue,
        negate: bool,
        right: Rvalue,
    },
    Value(Rvalue),
}

/// What joins conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoolOp {
    And,
    Or,
    Xor,
    Nand,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rvalue {
    pub(crate) value: RawRvalue,
    pub(crate) span: Span,
    /// Part of the text came from the environment.
    pub(crate) substituted: bool,
    /// Part of the text will come from an environment that is not known here.
    pub(crate) unknown: bool,
}

/// A value in a condition, as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawRvalue {
    Text(String),
    Number(String),
    /// A field reference with its brackets: `[a][b]`.
    Field(String),
    List(Vec<Rvalue>),
    /// The text between the slashes, with `\/` kept.
    Regexp(String),
}
