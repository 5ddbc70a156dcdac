//! Checks the documents at the top of the tree: what they name exists, and what exists they name.

use super::{DECISION_CORES, members};
use crate::tree::{Report, root, tree};

const MAX_ARCHITECTURE_LINES: usize = 250;

#[test]
fn the_architecture_page_is_short_and_names_every_crate() {
    let mut report = Report::default();
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = page.lines().count();
    if lines > MAX_ARCHITECTURE_LINES {
        report.add(
            "ARCHITECTURE.md",
            lines,
            format!("{lines} lines of {MAX_ARCHITECTURE_LINES}: shorten it"),
        );
    }
    for name in members() {
        if !page.contains(&format!("`{name}`")) {
            report.add(
                "ARCHITECTURE.md",
                1,
                format!("crate `{name}` is not named: say what it holds and what it does not"),
            );
        }
    }
    for core in DECISION_CORES
        .iter()
        .filter(|core| root().join(format!("{core}.rs")).exists() || root().join(core).exists())
    {
        if !page.contains(core) {
            report.add("ARCHITECTURE.md", 1, format!("the decision core `{core}` is not named"));
        }
    }
    report.end();
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let mut report = Report::default();
    for page in ["ARCHITECTURE.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for (index, line) in text.lines().enumerate() {
            for name in line.split('`').skip(1).step_by(2) {
                let first = name.split('/').next().unwrap_or_default();
                let is_path = name.contains('/') && members().iter().any(|member| member == first);
                let is_plain = !name.contains([' ', '{', '*']);
                if is_path
                    && is_plain
                    && !root().join(name).exists()
                    && !root().join(format!("{name}.rs")).exists()
                {
                    report.add(page, index + 1, format!("there is no `{name}`"));
                }
            }
        }
    }
    report.end();
}

#[test]
fn continuous_integration_runs_what_a_person_runs() {
    let script = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    let commands: Vec<&str> =
        script.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    let only = "exec \"$(dirname \"$0\")/../tests/run\" \"$@\"";
    assert_eq!(commands, [only], ".ci/run calls tests/run and nothing else");
}

/// So many points are to be reproduced by the embedded cluster.
const POINTS: usize = 46;

#[test]
fn every_point_of_the_embedded_cluster_names_its_place_and_a_test_that_exists() {
    const PAGE: &str = "docs/embedded-cluster.md";
    let mut report = Report::default();
    let sources: String = tree()
        .into_iter()
        .filter(|file| file.is_rust() && (file.under(&["local/"]) || file.under(&["tests/conformance/"])))
        .map(|file| file.text)
        .collect();
    let text = std::fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let mut points = 0;
    for (index, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = cells.get(1).and_then(|point| point.split(' ').next()?.parse::<usize>().ok());
        let (Some(number), [_, _, places, tests, _]) = (number, cells.as_slice()) else { continue };
        points += 1;
        if number != points {
            report.add(PAGE, index + 1, format!("point {number} where point {points} belongs"));
        }
        let named =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        for place in named(places).iter().filter(|place| !root().join(place).exists()) {
            report.add(PAGE, index + 1, format!("there is no `{place}`"));
        }
        if named(tests).is_empty() {
            report.add(PAGE, index + 1, format!("point {number} names no test: nothing shows it"));
        }
        for test in named(tests).iter().filter(|test| !sources.contains(&format!("fn {test}("))) {
            report.add(PAGE, index + 1, format!("there is no test `{test}`"));
        }
    }
    if points != POINTS {
        report.add(PAGE, 1, format!("{points} points of {POINTS}"));
    }
    report.end();
}
