//! URLs: what is taken, written again, and never shown.

use rstest::rstest;

use super::*;

#[rstest]
#[case::no_value("postgres://u:se?cret@host/db")]
#[case::unknown_option("postgres://u:p?se=cret@host/db")]
#[case::two_of_them("postgres://u:se@x?cret@host/db?topic=a")]
fn a_question_mark_in_a_password_is_told_and_not_shown(#[case] url: &str) {
    let error = url.parse::<Config>().unwrap_err().report();
    assert!(error.contains("%3F") && !error.contains("cret"), "{error}");
}

#[rstest]
#[case::no_slashes("postgres:postgres:secret@127.0.0.1")]
#[case::one_slash("postgres:/u:secret@127.0.0.1:5432/x")]
#[case::sql_server("mssql:sa:secret@127.0.0.1")]
fn a_server_without_two_slashes_is_refused_without_showing_a_password(#[case] url: &str) {
    let error = url.parse::<Config>().unwrap_err().report();
    assert!(error.contains("://") && !error.contains("secret"), "{error}");
}

#[rstest]
#[case::user_and_password("postgres://u:p%40@host/db")]
#[case::password_only("postgres://:p@host/db")]
#[case::user_only("postgres://u@host/db?application_name=a%40b")]
#[case::neither("postgres:///db?host=/run")]
fn a_written_url_reads_as_the_same(#[case] url: &str) {
    let config: Config = url.parse().unwrap();
    let again: Config = config.to_url().parse().unwrap();
    assert_eq!((again.user(), again.password()), (config.user(), config.password()));
    assert_eq!((again.target(), again.option("host")), (config.target(), config.option("host")));
}
