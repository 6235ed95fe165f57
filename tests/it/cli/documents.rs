//! The commands of the documents: each block of a page is run, in an empty folder.

use std::path::Path;
use std::process::Command;

use rstest::rstest;

use crate::copy::database;

#[rstest]
#[case::topics("topics.md", "sqlite")]
#[case::copy("copy.md", "sqlite")]
#[case::copy_to_postgres("copy.md", "postgres")]
#[case::export("export.md", "sqlite")]
#[tokio::test]
async fn the_commands_of_a_page_run(#[case] page: &str, #[case] to: &str) {
    let Some(target) = database(to) else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_annals")).parent().unwrap();
    let search = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut blocks = 0;
    for block in text.split("```sh\n").skip(1) {
        let (commands, _) = block.split_once("```").unwrap();
        let mut shell = Command::new("sh");
        shell.current_dir(folder.path()).env("PATH", &search).env_remove("ANNALS_URL");
        if to != "sqlite" {
            shell.env("NEW_URL", target.url());
        }
        shell.args(["-euc", commands]);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
        blocks += 1;
    }
    assert!(blocks > 0, "{page} has no commands");
    target.remove().await.unwrap();
}
