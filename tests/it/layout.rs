//! The rules of ARCHITECTURE.md that the text of the sources shows, and the links of the documents.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the files below a folder, as paths from the repository's root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} holds no {ending}");
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Returns the sources that contain one of some texts, those below `allowed` apart.
fn sources_with(texts: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut sources = files("src", ".rs");
    sources.retain(|path| !allowed.iter().any(|allowed| path.starts_with(allowed)));
    sources.retain(|path| {
        let source = read(path);
        texts.iter().any(|text| source.contains(text))
    });
    sources
}

#[test]
fn only_an_engine_names_its_driver() {
    for (driver, allowed) in [
        ("rusqlite::", &["src/backend/sqlite/", "src/bench/raw_sqlite.rs", "src/schema/tests/"][..]),
        ("sqlx::", &["src/backend/postgres/"]),
        ("tokio_postgres::", &["src/bench/raw_postgres.rs"]),
        ("tiberius::", &["src/backend/mssql/"]),
        ("deadpool::", &["src/backend/mssql/"]),
        ("sea_query::", &["src/schema/render/"]),
        ("async_nats::", &["src/relay/nats.rs"]),
        ("reqwest::", &["src/relay/webhook.rs"]),
    ] {
        assert_eq!(sources_with(&[driver], allowed), [""; 0], "{driver}");
    }
}

#[test]
fn the_words_of_the_contract_hold_no_sql() {
    let statements = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE FROM "];
    let allowed =
        ["src/backend/", "src/bench/", "src/conformance/", "src/index.rs", "src/migrate/", "src/schema/", "src/sql/"];
    // Their examples and tests show SQL of a caller's own.
    let callers = ["src/cli/replay/", "src/projection/mod.rs", "src/transaction.rs"];
    let allowed = [&allowed[..], &callers].concat();
    assert_eq!(sources_with(&statements, &allowed), [""; 0]);
}

#[test]
fn what_all_engines_share_names_none_of_them() {
    let engines = ["backend::sqlite", "backend::postgres", "backend::mssql", "super::sqlite", "super::postgres"];
    let allowed = ["src/backend/mod.rs", "src/backend/registry.rs", "src/backend/sqlite/", "src/backend/postgres/"];
    assert_eq!(sources_with(&engines, &allowed), [""; 0]);
}

#[test]
fn links_of_the_documents_lead_to_files() {
    let mut documents = files("docs", ".md");
    documents.extend(files("docker", ".md"));
    documents.extend(files("examples", ".md"));
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    for document in documents {
        let folder = Path::new(ROOT).join(&document).parent().unwrap().to_owned();
        for link in read(&document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            assert!(link.contains("://") || folder.join(target).exists(), "{document} links to {link}");
        }
    }
}
