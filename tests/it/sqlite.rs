//! SQLite, in memory and in a file.

use annals::Store;
use tokio::task::JoinSet;

mod memory {
    annals::conformance_suite!(|| annals::conformance::UrlHarness::new("sqlite::memory:", None).ok());
}

mod file {
    annals::conformance_suite!(|| crate::support::sqlite_file("suite", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_can_be_opened_by_many_at_once() {
    for _ in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}?migrate=auto", folder.path().join("new.db").display());
        let open = |url: String| async move { Store::connect(&url).await.unwrap().close().await };
        let opening: JoinSet<()> = std::iter::repeat_n(url, 3).map(open).collect();
        opening.join_all().await;
    }
}
