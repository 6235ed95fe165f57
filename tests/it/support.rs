//! What the tests share: databases.

#![expect(clippy::unnecessary_wraps, reason = "the suite takes what may be absent")]

use std::path::PathBuf;

use annals::conformance::UrlHarness;

/// The program, for cases that run several processes.
pub fn program() -> Option<PathBuf> {
    Some(PathBuf::from(env!("CARGO_BIN_EXE_annals")))
}

/// Files in the build's folder for temporary things.
#[cfg(feature = "sqlite")]
pub fn sqlite_file(name: &str, options: &str) -> Option<UrlHarness> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let url = format!("sqlite:{}/{name}.db{options}", folder.display());
    Some(UrlHarness::new(&url, program()).unwrap())
}

/// Schemas of the server that `ANNALS_TEST_POSTGRES` or `ANNALS_TEST_MSSQL` names.
#[cfg(any(feature = "postgres", feature = "mssql"))]
pub fn schemas(engine: &str) -> Option<UrlHarness> {
    server(engine).map(|url| UrlHarness::new(&url, program()).unwrap())
}

/// Returns the URL of the server that `ANNALS_TEST_POSTGRES` or `ANNALS_TEST_MSSQL` names. Without one the test is
/// skipped, aloud; where `ANNALS_REQUIRE` lists the engine, it fails.
pub fn server(engine: &str) -> Option<String> {
    let variable = format!("ANNALS_TEST_{}", engine.to_uppercase());
    let url = std::env::var(&variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let required = std::env::var("ANNALS_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == engine), "{variable} is not set, and {engine} is required");
        eprintln!("SKIPPED: {variable} names no server");
    }
    url
}

/// Returns the program nats-server: that of `NATS_SERVER`, or where a system keeps it. Without one the test is skipped,
/// aloud; where `ANNALS_REQUIRE` lists nats, it fails.
#[cfg(all(feature = "sqlite", feature = "nats"))]
pub fn nats_server() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    let mut places = std::env::var_os("NATS_SERVER").map(PathBuf::from).into_iter();
    let server = places.next().or_else(|| folders.map(|folder| folder.join("nats-server")).find(|path| path.exists()));
    if server.is_none() {
        let required = std::env::var("ANNALS_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "nats"), "nats-server is not installed, and nats is required");
        eprintln!("SKIPPED: nats-server is not installed");
    }
    server
}
