//! SQLite, in memory and in a file.

mod memory {
    annals::conformance_suite!(|| annals::conformance::UrlHarness::new("sqlite::memory:", None).ok());
}

mod file {
    annals::conformance_suite!(|| crate::support::sqlite_file("suite", ""));
}
