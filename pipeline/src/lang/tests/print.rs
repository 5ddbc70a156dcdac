//! Makes random trees, prints them as texts, and shows their shape without places.
use proptest::prelude::*;

use crate::lang::ast::*;

/// Pieces of texts, for mixing.
pub(crate) const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=>",
    "=",
    "==",
    "!=",
    "=~",
    "!~",
    "<",
    "!",
    ",",
    ":",
    "\"",
    "'",
    "\\",
    "/",
    "#",
    "\n",
    "if",
    "else",
    "elsif",
    "in",
    "not",
    "and",
    "or",
    "nand",
    "xor",
    "input",
    "filter",
    "output",
    "grok",
    "json",
    "codec",
    "match",
    "[a]",
    "[a][b]",
    "\"x\"",
    "'y'",
    "/z/",
    "-1",
    "2.5",
    "${A}",
    "${",
    "%{",
    "é",
    "\u{0}",
    "file",
    "docker-path",
    "input {",
    "filter {",
    "file {",
    "path => \"/a\"",
    "if [a] {",
];

/// Prints a tree so that it can be read back.
pub(crate) fn print(text: &Text) -> String {
    let mut out = String::new();
    for section in &text.sections {
        out += section_word(section.kind);
        out += " {\n";
        print_items(&section.body, &mut out);
        out += "}\n";
    }
    out
}

fn section_word(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Input => "input",
        SectionKind::Filter => "filter",
        SectionKind::Output => "output",
    }
}

fn print_items(items: &[Item], out: &mut String) {
    for item in items {
        match item {
            Item::Plugin(call) => print_call(call, out),
            Item::If(branches) => {
                for (i, arm) in branches.arms.iter().enumerate() {
                    *out += if i == 0 { "if " } else { "else if " };
                    print_expr(arm.condition.as_ref().unwrap(), out);
                    *out += " { # a comment } \" \n";
                    print_items(&arm.body, out);
                    *out += "}\n";
                }
                if let Some(otherwise) = &branches.otherwise {
                    *out += "else{";
                    print_items(otherwise, out);
                    *out += "}\n";
                }
            }
        }
    }
}

fn print_call(call: &Call, out: &mut String) {
    *out += &call.name.text;
    *out += "{";
    for setting in &call.settings {
        *out += &format!(" \"{}\"=>", setting.key.text);
        print_node(&setting.value, out);
        *out += "\n";
    }
    *out += "}\n";
}

fn quote(text: &str) -> String {
    if text.contains('"') { format!("'{text}'") } else { format!("\"{text}\"") }
}

pub(crate) fn print_node(node: &Node, out: &mut String) {
    match &node.value {
        Raw::Text(text) => *out += &quote(text),
        Raw::Word(text) | Raw::Number(text) => *out += text,
        Raw::List(items) => {
            *out += "[";
            for (i, item) in items.iter().enumerate() {
                *out += if i == 0 { "" } else { "," };
                print_node(item, out);
            }
            *out += "]";
        }
        Raw::Hash(entries) => {
            *out += "{";
            for (key, value) in entries {
                print_node(key, out);
                *out += "=>";
                print_node(value, out);
                *out += " ";
            }
            *out += "}";
        }
        Raw::Plugin(call) => print_call(call, out),
    }
}

fn print_expr(expr: &Expr, out: &mut String) {
    match expr {
        Expr::Chain(op, items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    *out += &format!(" {op:?} ").to_lowercase();
                }
                let group = matches!(item, Expr::Chain(..));
                *out += if group { "(" } else { "" };
                print_expr(item, out);
                *out += if group { ")" } else { "" };
            }
        }
        Expr::Not(inner) => {
            *out += "!(";
            print_expr(inner, out);
            *out += ")";
        }
        Expr::Compare { left, op, right } => print_relation(left, compare_sign(*op), right, out),
        Expr::Match { left, negate, right } => {
            print_relation(left, if *negate { "!~" } else { "=~" }, right, out)
        }
        Expr::In { left, negate, right } => {
            print_relation(left, if *negate { " not in " } else { " in " }, right, out);
        }
        Expr::Value(value) => print_rvalue(value, out),
    }
}

fn print_relation(left: &Rvalue, op: &str, right: &Rvalue, out: &mut String) {
    print_rvalue(left, out);
    *out += op;
    print_rvalue(right, out);
}

fn compare_sign(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Equal => "==",
        CompareOp::NotEqual => "!=",
        CompareOp::Less => "<",
        CompareOp::LessOrEqual => "<=",
        CompareOp::Greater => ">",
        CompareOp::GreaterOrEqual => ">=",
    }
}

fn print_rvalue(value: &Rvalue, out: &mut String) {
    match &value.value {
        RawRvalue::Text(text) => *out += &quote(text),
        RawRvalue::Number(text) | RawRvalue::Field(text) => *out += text,
        RawRvalue::Regexp(text) => *out += &format!("/{text}/"),
        RawRvalue::List(items) => {
            *out += "[";
            for (i, item) in items.iter().enumerate() {
                *out += if i == 0 { "" } else { "," };
                print_rvalue(item, out);
            }
            *out += "]";
        }
    }
}

/// A tree in one line per section, without places.
pub(crate) fn shape(text: &Text) -> String {
    let sections =
        text.sections.iter().map(|s| format!("{}({})", section_word(s.kind), shape_items(&s.body)));
    sections.collect::<Vec<_>>().join("\n")
}

fn joined<T>(items: &[T], shape: impl Fn(&T) -> String) -> String {
    items.iter().map(shape).collect::<Vec<_>>().join(" ")
}

fn shape_items(items: &[Item]) -> String {
    joined(items, |item| match item {
        Item::Plugin(call) => shape_call(call),
        Item::If(branches) => {
            let arms = joined(&branches.arms, |arm| {
                format!("if {} ({})", shape_expr(arm.condition.as_ref().unwrap()), shape_items(&arm.body))
            });
            match &branches.otherwise {
                Some(items) => format!("{arms} else ({})", shape_items(items)),
                None => arms,
            }
        }
    })
}

fn shape_call(call: &Call) -> String {
    let settings = joined(&call.settings, |s| format!("{}={}", s.key.text, shape_node(&s.value)));
    format!("{}({settings})", call.name.text)
}

fn shape_node(node: &Node) -> String {
    match &node.value {
        Raw::Text(text) => format!("'{text}'"),
        Raw::Word(text) | Raw::Number(text) => text.clone(),
        Raw::List(items) => format!("[{}]", joined(items, shape_node)),
        Raw::Hash(entries) => {
            format!("{{{}}}", joined(entries, |(k, v)| format!("{}={}", shape_node(k), shape_node(v))))
        }
        Raw::Plugin(call) => shape_call(call),
    }
}

fn shape_expr(expr: &Expr) -> String {
    match expr {
        Expr::Chain(op, items) => {
            format!("({} {})", format!("{op:?}").to_lowercase(), joined(items, shape_expr))
        }
        Expr::Not(inner) => format!("not{}", shape_expr(inner)),
        Expr::Compare { left, op, right } => {
            format!("{}{}{}", shape_rvalue(left), compare_sign(*op), shape_rvalue(right))
        }
        Expr::Match { left, negate, right } => {
            format!("{}{}{}", shape_rvalue(left), if *negate { "!~" } else { "=~" }, shape_rvalue(right))
        }
        Expr::In { left, negate, right } => {
            format!("{}{}in {}", shape_rvalue(left), if *negate { " not " } else { " " }, shape_rvalue(right))
        }
        Expr::Value(value) => shape_rvalue(value),
    }
}

fn shape_rvalue(value: &Rvalue) -> String {
    match &value.value {
        RawRvalue::Text(text) => format!("'{text}'"),
        RawRvalue::Number(text) | RawRvalue::Field(text) => text.clone(),
        RawRvalue::Regexp(text) => format!("/{text}/"),
        RawRvalue::List(items) => format!("[{}]", joined(items, shape_rvalue)),
    }
}

// ---- random trees

/// Any tree.
pub(crate) fn texts() -> impl Strategy<Value = Text> {
    prop::collection::vec(sections(), 0..4).prop_map(|sections| Text { sections })
}

fn sections() -> impl Strategy<Value = Section> {
    let kind = prop::sample::select(vec![SectionKind::Input, SectionKind::Filter, SectionKind::Output]);
    (kind, prop::collection::vec(items(), 0..4)).prop_map(|(kind, body)| Section {
        kind,
        head: Span::default(),
        body,
    })
}

fn items() -> impl Strategy<Value = Item> {
    calls(nodes()).prop_map(Item::Plugin).prop_recursive(3, 12, 3, |inner| {
        let body = prop::collection::vec(inner, 0..3);
        let arm = (exprs(), body.clone()).prop_map(|(condition, body)| Arm {
            head: Span::default(),
            condition: Some(condition),
            body,
        });
        (prop::collection::vec(arm, 1..4), prop::option::of(body))
            .prop_map(|(arms, otherwise)| Item::If(Branches { arms, otherwise }))
    })
}

fn names() -> impl Strategy<Value = Name> {
    // No word that means something of its own where a plugin stands.
    "[a-z][a-z0-9_-]{0,5}x".prop_map(|text| Name { text, span: Span::default() })
}

fn calls(values: impl Strategy<Value = Node>) -> impl Strategy<Value = Call> {
    let setting = (names(), values).prop_map(|(key, value)| Setting { key, value });
    (names(), prop::collection::vec(setting, 0..3)).prop_map(|(name, settings)| Call {
        name,
        settings,
        whole: true,
    })
}

fn texts_in_quotes() -> impl Strategy<Value = String> {
    prop_oneof!["[ -!#-&(-\\[\\]-~é]{0,8}", "[a-z\"]{0,5}", "[a-z']{0,5}", "a\\\\\"b", "two\nlines"]
}

fn node(value: Raw) -> Node {
    Node::new(value, Span::default())
}

fn numbers() -> impl Strategy<Value = String> {
    // Without zeros before other digits, which would make them octal, and with fractions as floats are written.
    "-?(0|[1-9][0-9]{0,3})(\\.(0|[0-9]?[1-9]))?"
}

pub(crate) fn nodes() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        texts_in_quotes().prop_map(Raw::Text),
        "[A-Za-z_][A-Za-z0-9_]{0,5}".prop_map(Raw::Word),
        numbers().prop_map(Raw::Number),
    ]
    .prop_map(node);
    leaf.prop_recursive(3, 12, 3, |inner| {
        let key = prop_oneof![
            texts_in_quotes().prop_map(Raw::Text),
            "[A-Za-z_][A-Za-z0-9_]{0,5}x".prop_map(Raw::Word),
            numbers().prop_map(Raw::Number)
        ]
        .prop_map(node);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Raw::List),
            prop::collection::vec((key, inner.clone()), 0..4).prop_map(Raw::Hash),
            calls(inner).prop_map(Raw::Plugin),
        ]
        .prop_map(node)
    })
}

fn rvalue(value: RawRvalue) -> Rvalue {
    Rvalue { value, span: Span::default(), substituted: false, unknown: false }
}

fn fields() -> impl Strategy<Value = Rvalue> {
    "(\\[[a-z@][a-z0-9_ .-]{0,5}\\]){1,3}".prop_map(|f| rvalue(RawRvalue::Field(f)))
}

fn rvalues() -> impl Strategy<Value = Rvalue> {
    let leaf = prop_oneof![
        fields(),
        texts_in_quotes().prop_map(|t| rvalue(RawRvalue::Text(t))),
        numbers().prop_map(|n| rvalue(RawRvalue::Number(n))),
    ];
    // An array of one field would be a field itself.
    let list = prop::collection::vec(leaf.clone(), 2..4).prop_map(|items| rvalue(RawRvalue::List(items)));
    prop_oneof![4 => leaf, 1 => list]
}

fn exprs() -> impl Strategy<Value = Expr> {
    use CompareOp::*;
    let op = prop::sample::select(vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual]);
    let pattern = prop_oneof![
        "[a-z.*^$+? ]{0,5}(\\\\/)?[a-z]{0,2}".prop_map(RawRvalue::Regexp),
        "[a-z.*]{0,5}".prop_map(RawRvalue::Text)
    ]
    .prop_map(rvalue);
    let leaf = prop_oneof![
        rvalues().prop_map(Expr::Value),
        (rvalues(), op, rvalues()).prop_map(|(left, op, right)| Expr::Compare { left, op, right }),
        (rvalues(), any::<bool>(), pattern).prop_map(|(left, negate, right)| Expr::Match {
            left,
            negate,
            right
        }),
        (rvalues(), any::<bool>(), rvalues()).prop_map(|(left, negate, right)| Expr::In {
            left,
            negate,
            right
        }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let op = prop::sample::select(vec![BoolOp::And, BoolOp::Or, BoolOp::Xor, BoolOp::Nand]);
        prop_oneof![
            inner.clone().prop_map(|e| Expr::Not(Box::new(e))),
            (op, prop::collection::vec(inner, 2..4)).prop_map(|(op, items)| flat(op, items)),
        ]
    })
}

/// A chain whose first operand is no chain of the same operator: that is how a fold from the left reads it.
fn flat(op: BoolOp, items: Vec<Expr>) -> Expr {
    let mut items = items.into_iter();
    let mut all = match items.next() {
        Some(Expr::Chain(first, inner)) if first == op => inner,
        Some(other) => vec![other],
        None => Vec::new(),
    };
    all.extend(items);
    Expr::Chain(op, all)
}
