//! Parses conditions: operands, comparisons, and what joins them.
//!
//! What binds closer than what is [`super::precedence`]'s.
use super::ast::{BoolOp, CompareOp, Expr, RawRvalue, Rvalue, Span};
use super::cursor::{Quoted, is_word};
use super::parse::{Parser, short};
use super::precedence::{Joined, join};

/// What can stand between two values.
#[derive(Clone, Copy)]
enum Relation {
    Compare(CompareOp),
    Match { negate: bool },
    In { negate: bool },
}

/// Where an operand stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// After `in` or `not in`.
    AfterIn,
    /// In an array, where words are texts.
    InArray,
    Other,
}

impl Parser<'_, '_> {
    /// Parses a condition up to what cannot belong to it; `None` when nothing could be made of it.
    pub(crate) fn condition(&mut self) -> Option<Expr> {
        let mut whole = true;
        let mut first = self.operand_or_group();
        let mut rest = Vec::new();
        while let Some((op, place)) = self.bool_op() {
            match self.operand_or_group() {
                Some(next) if first.is_some() => rest.push((op, place, next)),
                Some(next) => first = Some(next),
                None => whole = false,
            }
        }
        self.after_condition();
        let joined = self.join(first?, rest);
        if whole { joined } else { None }
    }

    /// Makes a tree of conditions that are joined without parentheses.
    fn join(&mut self, first: Expr, rest: Vec<(BoolOp, Span, Expr)>) -> Option<Expr> {
        let here = self.at.here();
        let places: Vec<Span> = rest.iter().map(|(_, place, _)| *place).collect();
        let rest = rest.into_iter().map(|(op, _, next)| (op, next)).collect();
        let Some(Joined { tree, unusual }) = join(first, rest) else {
            self.wrong(here, "the condition is too long", "split it, or use `in` with an array");
            return None;
        };
        if let Some(place) = unusual.and_then(|nth| places.get(nth)) {
            self.problems
                .warning(*place, "only the last two conditions before this `or` belong to it")
                .hint(
                    "`a and b and c or d` is `a and ((b and c) or d)`, as in Logstash: write parentheses around what \
                     belongs together",
                );
        }
        Some(tree)
    }

    fn operand_or_group(&mut self) -> Option<Expr> {
        self.at.skip_blank();
        let here = self.at.here();
        match self.at.peek() {
            Some('(') => self.group(),
            Some('!') => {
                self.at.step();
                self.negated()
            }
            _ => {
                if self.at.peek_word() == Some("not") {
                    self.at.word();
                    self.wrong(
                        Span::new(here.start, here.start + 3),
                        "there is no `not` here",
                        "write `!( … )`, or `[field] not in …`",
                    );
                    return self.negated();
                }
                self.comparison()
            }
        }
    }

    fn negated(&mut self) -> Option<Expr> {
        self.at.skip_blank();
        let inner = match self.at.peek() {
            Some('(') => self.group()?,
            Some('[') => Expr::Value(self.rvalue(Seat::Other)?),
            _ => {
                let here = self.at.here();
                self.wrong(here, "expected `(` or a field after `!`", "write `!( … )` or `![field]`");
                self.comparison()?
            }
        };
        Some(Expr::Not(Box::new(inner)))
    }

    fn group(&mut self) -> Option<Expr> {
        let opener = self.at.here();
        self.at.step();
        if !self.enter(opener) {
            self.skip_deep('(', ')');
            return None;
        }
        let inner = self.condition();
        self.at.skip_blank();
        if self.at.eat(")").is_none() {
            self.unclosed(opener, ")");
        }
        self.leave();
        inner
    }

    fn comparison(&mut self) -> Option<Expr> {
        let left = self.rvalue(Seat::Other);
        let Some(relation) = self.relation() else { return left.map(Expr::Value) };
        let right =
            self.rvalue(if matches!(relation, Relation::In { .. }) { Seat::AfterIn } else { Seat::Other });
        let (left, right) = (left?, right?);
        Some(match relation {
            Relation::Compare(op) => Expr::Compare { left, op, right },
            Relation::Match { negate } => Expr::Match { left, negate, right },
            Relation::In { negate } => Expr::In { left, negate, right },
        })
    }

    /// Moves over a comparison operator, or over what people write instead of one.
    fn relation(&mut self) -> Option<Relation> {
        const SYMBOLS: [(&str, Relation, &str); 15] = [
            ("=~", Relation::Match { negate: false }, ""),
            ("!~", Relation::Match { negate: true }, ""),
            ("===", Relation::Compare(CompareOp::Equal), "=="),
            ("!==", Relation::Compare(CompareOp::NotEqual), "!="),
            ("==", Relation::Compare(CompareOp::Equal), ""),
            ("!=", Relation::Compare(CompareOp::NotEqual), ""),
            ("<>", Relation::Compare(CompareOp::NotEqual), "!="),
            ("<=", Relation::Compare(CompareOp::LessOrEqual), ""),
            (">=", Relation::Compare(CompareOp::GreaterOrEqual), ""),
            ("=>", Relation::Compare(CompareOp::GreaterOrEqual), ">="),
            ("=<", Relation::Compare(CompareOp::LessOrEqual), "<="),
            ("<", Relation::Compare(CompareOp::Less), ""),
            (">", Relation::Compare(CompareOp::Greater), ""),
            ("=", Relation::Compare(CompareOp::Equal), "=="),
            ("~", Relation::Match { negate: false }, "=~"),
        ];
        let mut ahead = self.at;
        ahead.skip_blank();
        for (symbol, relation, instead) in SYMBOLS {
            if let Some(span) = ahead.eat(symbol) {
                self.at = ahead;
                if !instead.is_empty() {
                    self.wrong(
                        span,
                        format!("there is no operator `{symbol}` here"),
                        format!("write `{instead}`"),
                    );
                }
                return Some(relation);
            }
        }
        let (word, span) = ahead.word()?;
        match word {
            "in" => {
                self.at = ahead;
                Some(Relation::In { negate: false })
            }
            "not" => {
                ahead.skip_blank();
                let (next, _) = ahead.word()?;
                (next == "in").then(|| {
                    self.at = ahead;
                    Relation::In { negate: true }
                })
            }
            "contains" | "includes" | "is" | "eq" | "equals" | "matches" | "like" => {
                self.at = ahead;
                let hint = match word {
                    "contains" | "includes" => "write `\"text\" in [field]`, or `[field] =~ /text/`",
                    "matches" | "like" => "write `[field] =~ /pattern/`",
                    _ => "write `==`",
                };
                self.wrong(span, format!("there is no operator `{word}`"), hint);
                Some(Relation::Compare(CompareOp::Equal))
            }
            _ => None,
        }
    }

    /// Moves over `and`, `or`, `xor`, `nand`, or over what people write instead.
    fn bool_op(&mut self) -> Option<(BoolOp, Span)> {
        let mut ahead = self.at;
        ahead.skip_blank();
        for (symbol, op, instead) in [
            ("&&", BoolOp::And, "and"),
            ("||", BoolOp::Or, "or"),
            ("&", BoolOp::And, "and"),
            ("|", BoolOp::Or, "or"),
        ] {
            if let Some(span) = ahead.eat(symbol) {
                self.at = ahead;
                self.wrong(span, format!("there is no operator `{symbol}`"), format!("write `{instead}`"));
                return Some((op, span));
            }
        }
        let (word, span) = ahead.word()?;
        let op = match word.to_ascii_lowercase().as_str() {
            "and" => BoolOp::And,
            "or" => BoolOp::Or,
            "xor" => BoolOp::Xor,
            "nand" => BoolOp::Nand,
            _ => return None,
        };
        self.at = ahead;
        if word.chars().any(char::is_uppercase) {
            self.wrong(
                span,
                format!("there is no operator `{word}`"),
                format!("write `{}`", word.to_ascii_lowercase()),
            );
        }
        Some((op, span))
    }

    /// Reports what follows a condition and cannot, and moves on to its `{` or `)`.
    fn after_condition(&mut self) {
        let mut ahead = self.at;
        ahead.skip_blank();
        if ahead.peek().is_none_or(|c| matches!(c, '{' | ')' | '}'))
            || Self::line_break(self.at.at, ahead.at, ahead.text)
        {
            return;
        }
        self.at = ahead;
        let start = self.at.at;
        let span = self.at.chunk();
        let found = short(self.at.text.get(span.start..span.end).unwrap_or(""));
        self.wrong(
            Span::new(start, span.end),
            format!("expected `{{` or an operator, found `{found}`"),
            "conditions are joined with `and`, `or`, `xor` or `nand`",
        );
        while let Some(c) = self.at.peek() {
            match c {
                '{' | '}' | ')' | '\n' => return,
                '"' | '\'' => {
                    self.at.quoted(c);
                }
                _ => self.at.step(),
            }
        }
    }

    fn line_break(from: usize, to: usize, text: &str) -> bool {
        text.get(from..to).unwrap_or("").contains('\n')
    }

    // ---- operands

    fn rvalue(&mut self, seat: Seat) -> Option<Rvalue> {
        self.at.skip_blank();
        let start = self.at.at;
        let value = match self.at.peek() {
            Some(quote @ ('"' | '\'')) => RawRvalue::Text(self.string(quote).0.to_owned()),
            Some('/') => self.regexp(),
            Some('[') if self.at_field(seat) => {
                let field = self.field()?;
                if let RawRvalue::Field(name) = &field
                    && seat == Seat::AfterIn
                {
                    self.looks_like_array(name, start);
                }
                field
            }
            Some('[') => self.operands()?,
            Some(c) if seat == Seat::InArray && (c.is_ascii_alphabetic() || c == '_') => {
                RawRvalue::Text(self.at.word().map(|(word, _)| word).unwrap_or_default().to_owned())
            }
            Some(c) if c.is_ascii_digit() || c == '-' => match self.at.number() {
                Some((number, span)) => RawRvalue::Number(self.number(number, span)),
                None => return self.no_operand(),
            },
            Some(c) if is_word(c) || c == '@' => self.bare_operand(start)?,
            _ => return self.no_operand(),
        };
        Some(Rvalue { value, span: self.at.since(start), substituted: false, unknown: false })
    }

    fn no_operand(&mut self) -> Option<Rvalue> {
        let here = self.at.here();
        self.wrong(
            here,
            "expected a field or a value",
            "a field is written `[name]`, a value in quotes or as a number",
        );
        if self.at.peek().is_some_and(|c| !matches!(c, '{' | '}' | ')' | '(')) {
            self.at.chunk();
        }
        None
    }

    /// Whether the `[` here opens a field reference and no array: a field's name is anything but brackets and commas.
    fn at_field(&self, seat: Seat) -> bool {
        let mut ahead = self.at;
        ahead.step();
        let inside = ahead.take_while(|c| !matches!(c, '[' | ']' | ',' | '{' | '\n'));
        ahead.skip_blank();
        let first = inside.trim_start().chars().next();
        let whole = match first {
            Some(quote @ ('"' | '\'')) => inside.trim().len() > 1 && inside.trim_end().ends_with(quote),
            _ => !inside.is_empty(),
        };
        match ahead.peek() {
            Some(']') if seat != Seat::InArray => whole,
            Some(',') => false,
            _ => !matches!(first, None | Some('"' | '\'' | '/')),
        }
    }

    /// Warns of a field that looks like an array of one value, and is none in Logstash.
    fn looks_like_array(&mut self, field: &str, start: usize) {
        let inside = field.trim_start_matches('[').trim_end_matches(']').trim();
        if inside.starts_with(['"', '\'']) || inside.parse::<f64>().is_ok() && !field.contains("][") {
            let span = self.at.since(start);
            self.problems.warning(span, format!("`{}` is a field, not an array", short(field))).hint(
                format!(
                    "Logstash reads it so, too; compare with `== {0}`, or give the array a second value",
                    short(inside)
                ),
            );
        }
    }

    fn field(&mut self) -> Option<RawRvalue> {
        let start = self.at.at;
        let mut open = 0_usize;
        while let Some(c) = self.at.peek() {
            match c {
                '[' => open += 1,
                ']' if open > 0 => open -= 1,
                ',' | '{' | '\n' => break,
                _ if open == 0 => break,
                _ => {}
            }
            self.at.step();
        }
        if open > 0 {
            let written = self.at.text.get(start..self.at.at).unwrap_or("").trim_end();
            let span = Span::new(start, start + written.len());
            self.wrong(span, "this field reference is not closed", "add `]`");
            return None;
        }
        self.at.text.get(start..self.at.at).map(|field| RawRvalue::Field(field.to_owned()))
    }

    fn operands(&mut self) -> Option<RawRvalue> {
        let opener = self.at.here();
        self.at.step();
        if !self.enter(opener) {
            self.skip_deep('[', ']');
            return None;
        }
        let mut items = Vec::new();
        loop {
            self.at.skip_blank();
            match self.at.peek() {
                Some(']') => {
                    self.at.step();
                    break;
                }
                None | Some('{' | '}' | ')') => {
                    self.unclosed(opener, "]");
                    break;
                }
                _ if self.at.eat(",").is_some() => {}
                _ => {
                    let before = self.at.at;
                    items.extend(self.rvalue(Seat::InArray));
                    if self.at.at == before {
                        self.at.step();
                    }
                }
            }
        }
        self.leave();
        Some(RawRvalue::List(items))
    }

    fn regexp(&mut self) -> RawRvalue {
        let start = self.at.at;
        let text = match self.at.quoted('/') {
            Quoted::Closed(text) => {
                self.no_flags();
                text
            }
            Quoted::Open(text) => {
                let span = self.at.since(start);
                self.wrong(
                    span,
                    "this regular expression is not closed",
                    "add `/`; a `/` inside of it is written `\\/`",
                );
                text
            }
        };
        RawRvalue::Regexp(text.to_owned())
    }

    /// Reports letters right after a regular expression.
    fn no_flags(&mut self) {
        let start = self.at.at;
        let flags = self.at.take_while(|c| c.is_ascii_alphabetic());
        if !flags.is_empty() {
            let hint = format!("they go into the expression: `/(?{})…/`", short(flags));
            self.wrong(self.at.since(start), "there are no flags after a regular expression", hint);
        }
    }

    /// A word where an operand should be: a field without brackets, or a text without quotes.
    fn bare_operand(&mut self, start: usize) -> Option<RawRvalue> {
        self.at.take_while(|c| is_word(c) || matches!(c, '@' | '.'));
        let span = self.at.since(start);
        let word = self.at.text.get(span.start..span.end).unwrap_or("");
        if self.at.peek() == Some('(') {
            self.wrong(
                span,
                format!("there are no functions such as `{}`", short(word)),
                "use a filter to compute values",
            );
            self.at.step();
            self.skip_deep('(', ')');
            return None;
        }
        let hint = match word {
            "true" => "a boolean is asked for by `[field]` alone; a text is written \"true\"".to_owned(),
            "false" => "a boolean is asked for by `![field]`; a text is written \"false\"".to_owned(),
            "nil" | "null" | "none" | "undefined" => {
                "whether a field is there is asked by `[field]` alone, whether it is not by `![field]`"
                    .to_owned()
            }
            _ => format!("a field is written `[{0}]`, a text \"{0}\"", short(word)),
        };
        self.wrong(span, format!("`{}` needs brackets or quotes", short(word)), hint);
        Some(RawRvalue::Field(format!("[{word}]")))
    }
}
