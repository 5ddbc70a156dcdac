//! Tests of checking: every text in `tests-data/diagnostics` against the problems that people are told.
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::lang::tests::print;

const SECRET: &str = "s3cret-value";

fn environment(name: &str) -> Option<String> {
    (name == "SECRET").then(|| SECRET.to_owned())
}

/// The problems of a text as people see them.
fn told(scope: Scope, name: &str, text: &str) -> String {
    let problems = check(scope, text, &environment);
    problems.iter().map(|p| p.render(name, text) + "\n").collect::<Vec<_>>().join("\n")
}

fn scope_of(text: &str) -> Scope {
    match text.lines().next() {
        Some("# scope: docker") => Scope::Docker,
        Some("# scope: host") => Scope::Host,
        _ => Scope::Run,
    }
}

/// All `.conf` files of the fixtures' directory. `UPDATE=1 cargo test` rewrites what is expected of them.
fn fixtures() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests-data/diagnostics");
    let files = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().path());
    let mut files: Vec<_> = files.filter(|f| f.extension().is_some_and(|e| e == "conf")).collect();
    files.sort();
    files
}

#[test]
fn problems_are_told_as_expected() {
    for file in fixtures() {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        expect_test::expect_file![file.with_extension("expected")].assert_eq(&told(
            scope_of(&text),
            &name,
            &text,
        ));
    }
}

#[test]
fn nothing_from_the_environment_is_shown() {
    for file in fixtures() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!told(scope_of(&text), "x", &text).contains(SECRET), "{file:?}");
        let plan = compile(scope_of(&text), &text, &environment);
        assert!(!format!("{plan:?}").contains(SECRET), "{file:?}");
    }
}

#[test]
fn a_text_without_problems_tells_none() {
    let text =
        std::fs::read_to_string(fixtures().iter().find(|f| f.ends_with("nothing-wrong.conf")).unwrap())
            .unwrap();
    assert_eq!(told(Scope::Docker, "x", &text), "");
}

fn plan(scope: Scope, text: &str) -> Plan {
    compile(scope, text, &environment).unwrap_or_else(|problems| panic!("{text}: {problems:#?}"))
}

fn feeds(text: &str) -> Vec<(usize, String)> {
    plan(Scope::Docker, text).feeds_wanted().into_iter().map(|f| (f.input, f.path)).collect()
}

#[test]
fn docker_paths_are_accepted_however_they_are_written() {
    for setting in [
        "docker-path => '/a'",
        "\"docker-path\" => \"/a\"",
        "'docker-path'=>[\"/a\"]",
        "docker-path=>'${A:/a}'",
    ] {
        assert_eq!(feeds(&format!("input {{ file {{ {setting} }} }}")), [(0, "/a".to_owned())], "{setting}");
    }
    let several = "input { file { docker-path => ['/a', \"/b\"] docker-path => '/c' 'host-path' => '/h' }
        file { host-path => ['/i'] } } input { file { path => '/p' \"docker-path\" => '/d' } }";
    let wanted = [(0, "/a"), (0, "/b"), (0, "/c"), (2, "/d")].map(|(input, path)| (input, path.to_owned()));
    assert_eq!(feeds(several), wanted);
}

#[test]
fn a_docker_path_has_its_place_in_docker_configs_only() {
    let text = "input { file { docker-path => '/a' } }";
    assert_eq!(check(Scope::Docker, text, &environment), []);
    for scope in [Scope::Run, Scope::Host] {
        assert!(has_errors(&check(scope, text, &environment)), "{scope:?}");
    }
    for scope in [Scope::Run, Scope::Host, Scope::Docker] {
        assert_eq!(check(scope, "input { file { host-path => '/a' } }", &environment), [], "{scope:?}");
    }
}

#[test]
fn every_plugin_of_a_plan_has_an_id_of_its_own() {
    let text = "filter { drop { } drop { id => 'drop-4' } if [a] { drop { } } drop { } drop { } }";
    let mut one = plan(Scope::Run, text);
    let mut joined =
        Plan::joined(Some(one.clone()), &[one.clone(), plan(Scope::Host, "output { null { } }")]);
    let ids = |plan: &mut Plan| {
        let mut ids = Vec::new();
        crate::plan::each_call(&mut plan.filters, &mut |call| ids.push(call.id.clone()));
        ids
    };
    assert_eq!(ids(&mut one), ["drop-1", "drop-4", "drop-3", "drop-4-2", "drop-5"]);
    let all: std::collections::HashSet<_> = ids(&mut joined).into_iter().collect();
    assert_eq!(all.len(), 10);
    assert!(joined.has_outputs() && !joined.has_inputs());
}

#[test]
fn a_containers_plan_has_its_own_inputs_and_everyones_filters_and_outputs() {
    let docker = plan(
        Scope::Docker,
        "input { file { docker-path => '/a' } } filter { json { source => a } } output { null { } }",
    );
    let host = plan(Scope::Host, "input { file { path => '/h' } } filter { drop { } } output { stdout { } }");
    let names = |steps: &[Step]| -> Vec<&str> {
        let name = |step: &Step| match step {
            Step::Plugin(call) => call.spec.name,
            Step::If { .. } => "if",
        };
        steps.iter().map(name).collect()
    };
    let joined = Plan::joined(Some(docker), std::slice::from_ref(&host));
    assert_eq!(joined.inputs.len(), 1);
    assert_eq!(
        (names(&joined.filters), names(&joined.outputs)),
        (vec!["json", "drop"], vec!["null", "stdout"])
    );
    let joined = Plan::joined(None, &[host.clone(), host]);
    assert_eq!((joined.inputs.len(), joined.filters.len(), joined.outputs.len()), (2, 2, 2));
    assert_eq!(joined.feeds_wanted(), []);
}

#[test]
fn variables_of_other_machines_are_no_problem_but_other_problems_are_told() {
    let text = "input { file { path => ['${A}', 'relative'] start_position => '${B:end}' } }
        filter { if [a] =~ '${C}' { json { source => '[${D}' target => '[x' } } }
        output { elasticsearch { hosts => '${E}' password => '${F}' truststore => '/a' } }";
    let wrong: Vec<_> = check_remote(Scope::Host, text).iter().map(|p| text.get(p.start..p.end)).collect();
    assert_eq!(wrong, [Some("'[x'"), Some("truststore")]);
}

#[test]
fn texts_of_a_directory_become_one_plan() {
    let sources = ["input { generator { } }", "filter { drop { } }", "output { null { } }"];
    let sources = sources.map(|text| SourceText { name: "x", text });
    let all = |sources| compile_all(Dialect::default(), Scope::Run, sources, &environment);
    let joined = all(&sources[..]).plan.unwrap();
    assert!(joined.has_inputs() && joined.has_outputs());
    let bad = [sources[0], SourceText { name: "bad.conf", text: "filter {" }];
    let failed = all(&bad[..]);
    assert!(failed.plan.is_none());
    assert_eq!(failed.problems.iter().map(|(source, _)| source.name).collect::<Vec<_>>(), ["bad.conf"]);
}

/// The options of the only plugin, as the plan has them.
fn options_in(dialect: Dialect, text: &str) -> String {
    let source = SourceText { name: "x", text };
    let compiled = compile_all(dialect, Scope::Run, &[source], &|name| match name {
        "LIST" => Some("['a', \"b\", c]".to_owned()),
        "QUOTED" => Some("'a b'".to_owned()),
        "NAME" => Some("name".to_owned()),
        _ => None,
    });
    let Some(plan) = compiled.plan else { panic!("{text}: {:#?}", compiled.problems) };
    let options = plan.filters.iter().filter_map(|step| match step {
        Step::Plugin(call) => Some((&call.options, &call.common)),
        Step::If { .. } => None,
    });
    let told = |(options, common): (&crate::spec::AnyOptions, &crate::plan::Common)| {
        let mutate = options.downcast_ref::<crate::filters::mutate::MutateOptions>();
        let grok = options.downcast_ref::<crate::filters::grok::GrokOptions>();
        format!("{mutate:?} {grok:?} {common:?}")
    };
    options.map(told).collect()
}

#[test]
fn what_is_given_several_times_is_joined() {
    let same = |one: &str, other: &str| {
        let told = |text| options_in(Dialect::default(), &format!("filter {{ {text} }}"));
        assert_eq!(told(one), told(other));
    };
    same(
        "mutate { replace => { 'a' => '1' } replace => { 'b' => '2' } }",
        "mutate { replace => { 'a' => '1' 'b' => '2' } }",
    );
    same(
        "mutate { add_tag => 'a' add_tag => ['b', 'c'] add_tag => d }",
        "mutate { add_tag => ['a', 'b', 'c', 'd'] }",
    );
    same(
        "mutate { add_field => { 'a' => '1' } add_field => { 'a' => '2' } add_field => { 'a' => ['3', '4'] } }",
        "mutate { add_field => { 'a' => ['1', '2', '3', '4'] } }",
    );
    same(
        "mutate { add_field => { 'a' => '1' } add_field => { 'a' => '1' } }",
        "mutate { add_field => { 'a' => '1' } }",
    );
    same(
        "mutate { add_field => ['a', '1', 'b', '2', 'a', '3'] }",
        "mutate { add_field => { 'a' => ['1', '3'] 'b' => '2' } }",
    );
    same("mutate { id => 'x' id => 'x' }", "mutate { id => 'x' }");
    same("mutate { tag_on_failure => ['x'] }", "mutate { tag_on_failure => 'x' }");
}

#[test]
fn escapes_are_undone_where_that_is_asked_for() {
    let text = r#"filter { mutate { replace => { "a\tb" => "c\"d\ne" } } }"#;
    let plain = options_in(Dialect::default(), text);
    assert!(plain.contains(r#"a\\tb"#) && plain.contains(r#"c\\\"d\\ne"#), "{plain}");
    let undone = options_in(Dialect { support_escapes: true, ..Dialect::default() }, text);
    assert!(
        undone.contains(r#"a\tb"#) && undone.contains(r#"c\"d\ne"#) && !undone.contains(r"\\"),
        "{undone}"
    );
}

#[test]
fn plugins_take_the_names_of_the_pipeline_unless_they_say_their_own() {
    let told = |ecs, own| {
        let text = format!("filter {{ grok {{ match => {{ 'message' => '%{{WORD:w}}' }} {own} }} }}");
        let told = options_in(Dialect { ecs_compatibility: ecs, ..Dialect::default() }, &text);
        told.split("ecs_compatibility: ").nth(1).unwrap().split([' ', ',']).next().unwrap().to_owned()
    };
    assert_eq!(told(None, ""), "Disabled");
    assert_eq!(told(Some("v8"), ""), "V8");
    assert_eq!(told(Some("v8"), "ecs_compatibility => disabled"), "Disabled");
    let codec = "input { stdin { codec => json } } output { stdout { codec => json { } } }";
    let dialect = Dialect { ecs_compatibility: Some("v1"), ..Dialect::default() };
    assert_eq!(check_in(dialect, Scope::Run, codec, &environment), []);
}

#[test]
fn variables_lose_their_quotes_and_become_arrays() {
    let told = |text: &str| options_in(Dialect::default(), &format!("filter {{ {text} }}"));
    assert_eq!(told("mutate { add_tag => '${LIST}' }"), told("mutate { add_tag => ['a', 'b', 'c'] }"));
    assert_eq!(told("mutate { add_tag => '${QUOTED}' }"), told("mutate { add_tag => 'a b' }"));
    assert_eq!(told("mutate { add_tag => '[x][${NAME}]' }"), told("mutate { add_tag => '[x][name]' }"));
    let condition = "filter { if [a] == '${NAME}' and [b] == 'x${NONE}' { drop { } } }";
    let Some(Step::If { arms, .. }) = plan_with_name(condition).filters.into_iter().next() else {
        panic!("no if")
    };
    let shown = format!("{arms:?}");
    assert!(shown.contains("\"name\"") && shown.contains("\"x${NONE}\""), "{shown}");
}

fn plan_with_name(text: &str) -> Plan {
    compile(Scope::Run, text, &|name| (name == "NAME").then(|| "name".to_owned())).unwrap()
}

#[test]
fn the_line_of_a_plugin_is_known() {
    let one = plan(Scope::Run, "# a\nfilter {\n\n  drop { } }");
    let Some(Step::Plugin(call)) = one.filters.first() else { panic!("{one:?}") };
    assert_eq!(call.line, 4);
}

#[test]
fn very_many_problems_are_told_up_to_a_limit_and_quickly() {
    for piece in [
        "} ",
        "grok { a => b } ",
        "filter { x { } } ",
        "\" ",
        "filter { json { source => a source => b } } ",
        "{}{}{ ",
    ] {
        let text = piece.repeat(60_000 / piece.len());
        let problems = check(Scope::Run, &text, &environment);
        assert!((1..=101).contains(&problems.len()), "{piece}: {}", problems.len());
        assert!(has_errors(&problems), "{piece}");
    }
}

/// Values that mean something to one plugin or another.
fn telling_values() -> impl Strategy<Value = String> {
    let telling = prop::sample::select(vec![
        "\"%{IP:client} %{NUMBER:bytes:int}\"",
        "\"%{\"",
        "\"%{A:B:C:D}\"",
        "\"(?<a>\"",
        "\"(?<x>a|(b*)*)+$\"",
        "\"[[:alpha:]\"",
        "[ \"t\", \"ISO8601\", \"UNIX_MS\" ]",
        "[ \"t\", \"yyyy-MM-dd'T\" ]",
        "[ \"f\", \"a\", \"\\\\1\" ]",
        "\"[a][b]\"",
        "\"[a\"",
        "\"\"",
        "\"0\"",
        "-1",
        "99999999999999999999",
        "0.5",
        "1e9",
        "\"10mb\"",
        "\"5 weeks\"",
        "true",
        "\"false\"",
        "beginning",
        "\"/a/%{b}/c\"",
        "\"/a/*\"",
        "\"é\"",
        "json",
        "json { charset => \"UTF-16\" }",
        "line { delimiter => \"\" }",
        "\"UTC\"",
        "\"Europe/Berlin\"",
        "\"http://a:b@[::1]:99999/x?y#z\"",
        "[ \"https://h\", \"h:1\" ]",
        "{ \"a\" => \"integer\" }",
        "{ \"message\" => [ \"%{WORD:w}\", \"x\" ] }",
        "{ \"a\" => { \"b\" => [ 1, 2 ] } }",
        "[ ]",
        "{ }",
    ]);
    let secret = prop::sample::select(vec![
        "\"${SECRET}\"",
        "\"%{${SECRET}:x}\"",
        "\"(${SECRET}\"",
        "\"[${SECRET}\"",
        "{ a => \"%{${SECRET}}(\" }",
        "[ \"t\", \"${SECRET}\" ]",
        "{ \"message\" => \"%{${SECRET}}\" }",
        "{ \"a\" => \"${SECRET}\" }",
        "{ a => \"[${SECRET}\" }",
        "\"${SECRET}:9200\"",
        "\"http://${SECRET}:x@h\"",
        "[ \"f\", \"(${SECRET}\", \"x\" ]",
        "json { charset => \"${SECRET}\" }",
    ]);
    let any = print::nodes().prop_map(|node| {
        let mut out = String::new();
        print::print_node(&node, &mut out);
        out
    });
    prop_oneof![3 => telling.prop_map(str::to_owned), 2 => secret.prop_map(str::to_owned), 1 => any]
}

/// A text with one plugin and any values for any of its options.
fn plugin_texts() -> impl Strategy<Value = String> {
    let plugin = prop::sample::select(crate::plugins::PLUGINS.iter().map(|p| p.spec).collect::<Vec<_>>());
    plugin.prop_flat_map(|spec| {
        let every = crate::every::spec(spec.kind).options;
        let names: Vec<&str> = spec.options.iter().chain(every).map(|o| o.name).collect();
        let settings = prop::collection::vec((prop::sample::select(names), telling_values()), 0..5);
        settings.prop_map(move |settings| {
            let settings: String =
                settings.iter().map(|(name, value)| format!("\"{name}\" => {value} ")).collect();
            match spec.kind {
                Kind::Codec => format!("input {{ stdin {{ codec => {} {{ {settings} }} }} }}", spec.name),
                kind => format!("{} {{ {} {{ {settings} }} }}", kind.word(), spec.name),
            }
        })
    })
}

proptest! {
    #[test]
    fn any_values_of_any_options_are_checked_without_panic(text in plugin_texts()) {
        for scope in [Scope::Run, Scope::Docker, Scope::Host] {
            let problems = check(scope, &text, &environment);
            prop_assert_eq!(compile(scope, &text, &environment).is_err(), has_errors(&problems));
            for problem in &problems {
                prop_assert!(text.get(problem.start..problem.end).is_some(), "{:?}", problem);
                prop_assert!(!format!("{problem:?}").contains(SECRET), "{:?} shows what nobody should see", problem);
                prop_assert!(problem.end > 0, "{:?} has no place in {}", problem, text);
            }
        }
        check_remote(Scope::Run, &text);
    }
}
