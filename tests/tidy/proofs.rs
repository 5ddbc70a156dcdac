//! Checks that the proofs that are promised can be repeated: every test that `docs/proof.md` names exists.

use crate::tree::{Report, root, tree};
use std::collections::BTreeSet;

#[test]
fn every_test_that_the_page_of_proofs_names_exists() {
    let files = tree();
    let sources = files.iter().filter(|file| file.is_rust());
    let tests: BTreeSet<&str> = sources.flat_map(|file| file.text.lines().filter_map(tested)).collect();
    let page = std::fs::read_to_string(root().join("docs/proof.md")).expect("docs/proof.md");
    let (mut report, mut named) = (Report::default(), 0);
    for (index, line) in page.lines().enumerate() {
        let words = line.split('`').skip(1).step_by(2);
        for name in words.filter(|word| word.matches('_').count() > 3 && !word.contains([' ', '/', '='])) {
            named += 1;
            if !tests.contains(name) {
                let what = format!("there is no test `{name}`: name the one that shows it, or write it");
                report.add("docs/proof.md", index + 1, what);
            }
        }
    }
    report.end();
    assert!(named > 10, "only {named} tests are named");
}

/// The name of the function that a line begins.
fn tested(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
    rest.split('(').next()
}
