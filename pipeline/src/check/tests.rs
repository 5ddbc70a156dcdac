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
        filter { if [a] =~ '(${C}' { json { source => '[${D}' target => '[x' } } }
        output { elasticsearch { hosts => '${E}' password => '${F}' sniffing => true } }";
    let wrong: Vec<_> = check_remote(Scope::Host, text).iter().map(|p| text.get(p.start..p.end)).collect();
    assert_eq!(wrong, [Some("'[x'"), Some("sniffing")]);
}

#[test]
fn texts_of_a_directory_become_one_plan() {
    let sources = ["input { generator { } }", "filter { drop { } }", "output { null { } }"];
    let sources = sources.map(|text| SourceText { name: "x", text });
    let joined = compile_all(Scope::Run, &sources, &environment).unwrap();
    assert!(joined.has_inputs() && joined.has_outputs());
    let bad = [sources[0], SourceText { name: "bad.conf", text: "filter {" }];
    let failed = compile_all(Scope::Run, &bad, &environment).unwrap_err();
    assert_eq!(failed.iter().map(|(source, _)| source.name).collect::<Vec<_>>(), ["bad.conf"]);
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
