//! `docs/conformance.md`: which cases prove which rule of the contract. It is generated, and a test says that it is
//! current.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use annals::conformance::cases;

const CONTRACT: &str = include_str!("../../docs/contract.md");

const INTRODUCTION: &str = "\
# The cases of the contract

Which cases of the conformance suite prove which rule of [contract.md](contract.md). `annals conformance URL` runs them.
Written by the test `the_table_of_cases_is_current`, with `ANNALS_UPDATE=1` in the environment: change the cases, not
this page.
";

/// Returns the sections and rules of the contract, in order: `("3", "Append")`, `("3.2", "Expectation")`.
fn rules() -> Vec<(&'static str, &'static str)> {
    let heading = |line: &'static str| {
        let rule = line.strip_prefix("- **").and_then(|rest| rest.split_once(".**")).map(|(rule, _)| rule);
        let (number, title) = rule.or(line.strip_prefix("## "))?.split_once(' ')?;
        let number = number.trim_end_matches('.');
        number.starts_with(|digit: char| digit.is_ascii_digit()).then_some((number, title))
    };
    CONTRACT.split("## What is not built yet").next().unwrap_or_default().lines().filter_map(heading).collect()
}

fn table() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (number, title) in rules() {
        let proofs: Vec<String> =
            cases().filter(|(_, case)| case.clauses.contains(&number)).map(|(name, _)| format!("`{name}`")).collect();
        if number.contains('.') {
            let _ = writeln!(text, "| {number} | {title} | {} |", proofs.join(" "));
            continue;
        }
        let _ = writeln!(text, "\n## {number}. {title}\n\n| | rule | cases |\n|---|---|---|");
        if !proofs.is_empty() {
            let _ = writeln!(text, "| {number} | the section | {} |", proofs.join(" "));
        }
    }
    text
}

#[test]
fn every_case_proves_a_rule_of_the_contract() {
    let known: BTreeSet<&str> = rules().into_iter().map(|(number, _)| number).collect();
    for (name, case) in cases() {
        assert!(!case.clauses.is_empty(), "{name} names no rule");
        for clause in case.clauses {
            assert!(known.contains(clause), "{name} names {clause}, which the contract does not have");
        }
    }
}

#[test]
fn the_table_of_cases_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    if std::env::var_os("ANNALS_UPDATE").is_some() {
        std::fs::write(&path, table()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), table(), "run it again with ANNALS_UPDATE=1");
}
