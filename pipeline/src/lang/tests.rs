//! Tests of the parser: what it reads, that printed trees are read back, and that no text upsets it.
pub(crate) mod print;

use proptest::prelude::*;

use self::print::{print, shape};
use super::ast::{Item, Node, Raw, Span, Text};
use super::environment::{Environment, substitute};
use super::parse::{MAX_DEPTH, parse};
use super::problems::Problems;
use config::diagnostic::Diagnostic;

fn read(text: &str) -> (Text, Vec<Diagnostic>) {
    let mut problems = Problems::of(text);
    let tree = parse(text, &mut problems);
    (tree, problems.into_diagnostics(text))
}

fn shape_of(text: &str) -> String {
    let (tree, problems) = read(text);
    assert_eq!(problems, [], "{text}");
    shape(&tree)
}

/// The value of the only setting of the only plugin.
fn value_of(tree: &Text) -> &Node {
    match tree.sections.first().and_then(|s| s.body.first()) {
        Some(Item::Plugin(call)) => &call.settings.first().expect("a setting").value,
        other => panic!("expected a plugin, found {other:?}"),
    }
}

#[test]
fn a_whole_configuration_is_read() {
    let text = r#"
        # comment { at => the top }
        input {
          file { path => [ "/var/log/a", '/var/log/b' ] docker-path => "/x" codec => json { charset => "UTF-8" } }
        } # behind
        filter {
          if [type] == "a" and !([x][y] or "b" in [tags]) {
            grok { match => { "message" => "%{X:y}" n => -2.50 } }
          } else if [n] >= 3 { } else { drop { } }
        }
        output { "stdout" { "codec" => rubydebug } }
        output { null {} }"#;
    assert_eq!(
        shape_of(text),
        "input(file(path=['/var/log/a' '/var/log/b'] docker-path='/x' codec=json(charset='UTF-8')))\n\
         filter(if (and [type]=='a' not(or [x][y] 'b' in [tags])) (grok(match={'message'='%{X:y}' n=-2.5})) \
         if [n]>=3 () else (drop()))\n\
         output(stdout(codec=rubydebug))\n\
         output(null())"
    );
}

#[test]
fn an_empty_text_is_an_empty_configuration() {
    assert_eq!(shape_of(""), "");
    assert_eq!(shape_of("\u{feff}# nothing\r\n"), "");
    assert_eq!(shape_of("# no line end"), "");
}

#[test]
fn and_binds_closer_than_or() {
    let condition = |c: &str| shape_of(&format!("filter{{if {c} {{}}}}"));
    assert_eq!(condition("[a] or [b] and [c] or [d]"), "filter(if (or [a] (and [b] [c]) [d]) ())");
    assert_eq!(condition("([a] or [b]) and [c]"), "filter(if (and (or [a] [b]) [c]) ())");
    assert_eq!(condition("[a] and [b] or [c] and [d]"), "filter(if (or (and [a] [b]) (and [c] [d])) ())");
    assert_eq!(condition("[a] or [b] and [c] and [d]"), "filter(if (or [a] (and [b] [c] [d])) ())");
    assert_eq!(condition("[a] nand [b] nand [c]"), "filter(if (nand [a] [b] [c]) ())");
    assert_eq!(condition("[a] nand ([b] nand [c])"), "filter(if (nand [a] (nand [b] [c])) ())");
    assert_eq!(condition("[a] xor [b]"), "filter(if (xor [a] [b]) ())");
}

#[test]
fn only_two_conditions_belong_to_an_or_after_them() {
    for (condition, wanted) in [
        ("[a] and [b] and [c] or [d]", "(and [a] (or (and [b] [c]) [d]))"),
        ("[a] and [b] and [c] and [d] or [e] or [f]", "(and [a] [b] (or (and [c] [d]) [e] [f]))"),
        ("[x] or [a] and [b] and [c] or [d]", "(or [x] (and [a] (or (and [b] [c]) [d])))"),
        (
            "[a] and [b] and [c] or [d] and [e] and [f] or [g] and [h] and [i]",
            "(and [a] (or (and [b] [c]) (and [d] (or (and [e] [f]) (and [g] [h] [i])))))",
        ),
    ] {
        let text = format!("filter{{if {condition} {{}}}}");
        let (tree, problems) = read(&text);
        assert_eq!(shape(&tree), format!("filter(if {wanted} ())"), "{condition}");
        let [problem] = problems.as_slice() else { panic!("{condition}: {problems:?}") };
        assert_eq!(text.get(problem.start..problem.end), Some("or"), "{condition}");
    }
}

#[test]
fn brackets_in_conditions_are_fields_or_arrays() {
    let condition = |c: &str| shape_of(&format!("filter{{if {c} {{}}}}"));
    assert_eq!(condition("[a] in [200, 404]"), "filter(if [a] in [200 404] ())");
    assert_eq!(condition("[a] in [ok, 'b', [c]]"), "filter(if [a] in ['ok' 'b' [c]] ())");
    assert_eq!(condition("[with space][x y] == 'a'"), "filter(if [with space][x y]=='a' ())");
    assert_eq!(condition("[a] not in [b][0]"), "filter(if [a] not in [b][0] ())");
    assert_eq!(condition("[a] in []"), "filter(if [a] in [] ())");
    assert_eq!(condition("[@metadata][x] =~ /a\\/b/"), "filter(if [@metadata][x]=~/a\\/b/ ())");
    assert_eq!(condition("[a] !~ \"b\""), "filter(if [a]!~'b' ())");
}

#[test]
fn brackets_around_one_value_are_a_field_and_warned_of() {
    for of in [r#"["b"]"#, "['b']", "[200]", "[ 200 ]"] {
        let text = format!("filter{{if [a] in {of} {{}}}}");
        let (tree, problems) = read(&text);
        assert_eq!(shape(&tree), format!("filter(if [a] in {of} ())"));
        let [problem] = problems.as_slice() else { panic!("{of}: {problems:?}") };
        assert_eq!(text.get(problem.start..problem.end), Some(of));
    }
}

#[test]
fn escapes_stay_in_strings_as_in_logstash() {
    assert_eq!(shape_of(r#"filter{a{b=>"x\"y\n"}}"#), r#"filter(a(b='x\"y\n'))"#);
}

#[test]
fn everything_that_logstash_reads_is_read() {
    for (text, wanted) in [
        ("input{}output{}", "input()\noutput()"),
        ("filter { a-b_1 { } \"quoted\" { } }", "filter(a-b_1() quoted())"),
        ("filter { a { b => \"json\" { c => d } e => json{} } }", "filter(a(b=json(c=d) e=json()))"),
        ("filter { a { b => [ plain { c => 1 }, \"json\" { } ] } }", "filter(a(b=[plain(c=1) json()]))"),
        (
            "filter { a { b => -1 c => 1.5 d => -0.25 e => 0 f => [ ] g => { } } }",
            "filter(a(b=-1 c=1.5 d=-0.25 e=0 f=[] g={}))",
        ),
        (
            "filter { a { b => { 1 => 2 c => [ { d => e }, [ 1, [ 2 ] ] ] } } }",
            "filter(a(b={1=2 c=[{d=e} [1 [2]]]}))",
        ),
        ("filter {\r\n a {\r\n # c\r\n b => 'é\r\nü'\r\n}\r\n}\r\n", "filter(a(b='é\r\nü'))"),
        ("filter { a { 'b' => \"it's\" \"c\" => 'say \"x\"' } }", "filter(a(b='it's' c='say \"x\"'))"),
        (
            "# early\ninput # x\n{ # x\n a # x\n # x\n { # x\n b # x\n => # x\n c # x\n d => { #x\n 'e' # x\n => # x\n 'f' # x\n } # x\n } # x\n } # end",
            "input(a(b=c d={'e'='f'}))",
        ),
        (
            "filter { if [a] # x\n or [b] # y\n { } # z\n else if [c]\n and [d] { } else # w\n { } }",
            "filter(if (or [a] [b]) () if (and [c] [d]) () else ())",
        ),
        ("filter{if![a]{}else if!([b]==1){}}", "filter(if not[a] () if not[b]==1 ())"),
        ("filter { if ([a]) and (([b] == 'x')) { } }", "filter(if (and [a] [b]=='x') ())"),
        (
            "filter { if 'a' not  in [b] { } if [a]not in[b]{ } }",
            "filter(if 'a' not in [b] () if [a] not in [b] ())",
        ),
    ] {
        assert_eq!(shape_of(text), wanted, "{text}");
    }
}

#[test]
fn digits_after_a_zero_are_octal() {
    let (tree, problems) = read("filter { a { b => 010 c => -017 d => 00 } }");
    assert_eq!(shape(&tree), "filter(a(b=8 c=-15 d=0))");
    assert_eq!(problems.len(), 3);
    assert_eq!(shape(&read("filter { if [a] == 010 { } }").0), "filter(if [a]==8 ())");
    assert_eq!(read("filter { a { b => 089 } }").1[0].message, "`089` is no number");
}

#[test]
fn variables_are_filled_in_after_parsing() {
    let text = r#"filter { x { y => [ "a${HOME}b", "${NONE:-}", '${NONE:}', "$HOME ${1}" ] } }"#;
    let mut problems = Problems::of(text);
    let mut tree = parse(text, &mut problems);
    let environment = |name: &str| (name == "HOME").then(|| "\" } {".to_owned());
    substitute(&mut tree, Environment::Known(&environment), &mut problems);
    assert_eq!(problems.into_diagnostics(text), []);
    let Raw::List(items) = &value_of(&tree).value else { panic!("expected an array") };
    let values: Vec<_> = items.iter().map(|i| (i.text().unwrap_or(""), i.substituted)).collect();
    assert_eq!(values, [("a\" } {b", true), ("-", true), ("", true), ("$HOME ${1}", false)]);
}

#[test]
fn a_variable_without_value_and_default_is_an_error_at_its_place() {
    let text = r#"filter { x { y => "a${NONE}" z => { k => "${NONE}${NONE}" } } }"#;
    let mut problems = Problems::of(text);
    let mut tree = parse(text, &mut problems);
    substitute(&mut tree, Environment::Known(&|_| None), &mut problems);
    let places: Vec<_> =
        problems.into_diagnostics(text).iter().map(|d| text.get(d.start..d.end) == Some("${NONE}")).collect();
    assert_eq!(places, [true, true, true]);
}

#[test]
fn what_is_nested_too_deep_is_told_and_skipped() {
    for (open, close) in [("[", "]"), ("{ a => ", "}"), ("b { a => ", "}")] {
        let text = format!("filter {{ x {{ y => {}1{} }} }}", open.repeat(10_000), close.repeat(10_000));
        let (_, problems) = read(&text);
        assert_eq!(problems.len(), 1, "{open}: {problems:#?}");
        assert_eq!(problems[0].message, format!("nested deeper than {MAX_DEPTH} levels"));
    }
    for text in [
        format!("filter {{ {}{} }}", "if [a] { ".repeat(10_000), "}".repeat(10_000)),
        format!("filter {{ if {}[a]{} {{ }} }}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("filter {{ if {}[a]{} {{ }} }}", "!(".repeat(10_000), ")".repeat(10_000)),
    ] {
        let (_, problems) = read(&text);
        assert_eq!(problems.len(), 1, "{problems:#?}");
    }
}

#[test]
fn long_conditions_do_not_nest() {
    let chain = |op: &str| format!("filter {{ if [a]{} {{ }} }}", format!(" {op} [b]").repeat(20_000));
    for op in ["and", "or", "xor", "nand", "and [c] or"] {
        assert_eq!(read(&chain(op)).1, [], "{op}");
    }
    for op in ["and [c] nand", "or [c] xor"] {
        assert_eq!(read(&chain(op)).1[0].message, "the condition is too long", "{op}");
    }
    let branches = format!("filter {{ if [a] {{ }} {} }}", "else if [b] { } ".repeat(20_000));
    assert_eq!(read(&branches).1, []);
}

fn upset(text: &str) -> Result<(), TestCaseError> {
    let (mut tree, problems) = read(text);
    for problem in &problems {
        prop_assert!(problem.start <= problem.end && problem.end <= text.len(), "{problem:?}");
        prop_assert!(text.get(problem.start..problem.end).is_some(), "{problem:?}");
    }
    if let Some(problem) = problems.first() {
        prop_assert!(problem.render("x.conf", text).contains(&problem.message));
    }
    substitute(&mut tree, Environment::Known(&|_| Some("v".to_owned())), &mut Problems::of(text));
    crate::check(crate::Scope::Docker, text, &|_| None);
    crate::check_remote(crate::Scope::Host, text);
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in any::<String>()) {
        upset(&text)?;
    }

    #[test]
    fn any_mix_of_tokens_is_read_without_panic(
        tokens in prop::collection::vec(prop::sample::select(print::TOKENS), 0..60),
        blank in prop::sample::select(&["", " ", "\n"][..]),
    ) {
        upset(&tokens.join(blank))?;
    }

    #[test]
    fn any_damage_to_a_good_text_is_read_without_panic(
        tree in print::texts(),
        at in any::<prop::sample::Index>(),
        len in 0..4_usize,
        put in prop::sample::select(print::TOKENS),
    ) {
        let good: Vec<char> = print(&tree).chars().collect();
        let at = if good.is_empty() { 0 } else { at.index(good.len()) };
        let end = (at + len).min(good.len());
        let bad: String = good[..at].iter().copied().chain(put.chars()).chain(good[end..].iter().copied()).collect();
        upset(&bad)?;
    }

    #[test]
    fn a_printed_tree_is_read_back(tree in print::texts()) {
        let text = print(&tree);
        let (back, problems) = read(&text);
        prop_assert_eq!(problems, [], "{}", text);
        prop_assert_eq!(shape(&back), shape(&tree), "{}", text);
    }
}

#[test]
fn values_of_the_environment_are_kept_out_of_messages() {
    let text = "filter { x { y => '${A}' z => '${B}' } }";
    let mut problems = Problems::of(text);
    let mut tree = parse(text, &mut problems);
    let environment = |name: &str| Some(if name == "A" { "correct horse battery" } else { "xy" }.to_owned());
    substitute(&mut tree, Environment::Known(&environment), &mut problems);
    let place = |part: &str| text.find(part).map(|at| Span::new(at, at + part.len())).unwrap();
    problems.error(place("filter"), "about horse bat");
    problems.error(place("y =>"), "about horses, xy");
    problems.error(place("${B}"), "about xy").hint("xy");
    problems.error(place("'${B}'"), "about something else").hint("write xy");
    let told: Vec<_> = problems.into_diagnostics(text).into_iter().map(|p| (p.message, p.hint)).collect();
    let hidden = ("the value from the environment cannot be used here".to_owned(), None);
    assert_eq!(told, [hidden.clone(), ("about horses, xy".to_owned(), None), hidden.clone(), hidden]);
}
