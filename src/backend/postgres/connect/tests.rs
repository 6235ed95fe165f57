use rstest::rstest;
use sqlx::postgres::PgSslMode;

use super::{Connector, Purpose};
use crate::error::{Error, Result};

fn connector(url: &str) -> Result<Connector> {
    Connector::new(&url.parse()?)
}

fn hosts(url: &str) -> Vec<(String, u16)> {
    let connector = connector(url).unwrap();
    connector.hosts.iter().map(|host| (host.get_host().to_owned(), host.get_port())).collect()
}

#[rstest]
#[case::a_name("postgres://u@db.example:5433/app", &[("db.example", 5433)])]
#[case::several_in_order("postgres://u@b:1,a:2,c:3/app", &[("b", 1), ("a", 2), ("c", 3)])]
#[case::an_ipv6_address("postgres://u@[::1]:5433/app", &[("::1", 5433)])]
#[case::ipv6_beside_a_name("postgres://u@[fe80::1]:6,a:7/app", &[("fe80::1", 6), ("a", 7)])]
#[case::without_a_user("postgres://a:5/app", &[("a", 5)])]
fn a_url_names_hosts(#[case] url: &str, #[case] expected: &[(&str, u16)]) {
    let expected: Vec<(String, u16)> = expected.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
    assert_eq!(hosts(url), expected);
}

#[rstest]
#[case("postgres:///app?host=/run/pg")]
#[case("postgres://u@:5433/app?host=/run/pg")]
#[case("postgres://u:p@/app?host=%2Frun%2Fpg")]
fn a_folder_of_sockets_is_an_option(#[case] url: &str) {
    let connector = connector(url).unwrap();
    assert_eq!(connector.hosts[0].get_socket().map(|path| path.to_str().unwrap()), Some("/run/pg"));
    assert_eq!(connector.hosts[0].get_database(), Some("app"));
}

#[test]
fn without_a_host_it_is_the_one_of_the_servers_own_tools() {
    let unnamed = sqlx::postgres::PgConnectOptions::new_without_pgpass();
    let host = unnamed.get_host().to_owned();
    let connector = connector("postgres://u@/app").unwrap();
    let socket = connector.hosts[0].get_socket().map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(socket.unwrap_or_else(|| connector.hosts[0].get_host().to_owned()), host);
}

#[test]
fn credentials_may_hold_any_character() {
    let connector = connector("postgres://us%40er%2F:p%3A%2F%40w@a:1/da%20ta").unwrap();
    assert_eq!(connector.hosts[0].get_username(), "us@er/");
    assert_eq!(connector.hosts[0].get_database(), Some("da ta"));
}

#[test]
fn a_password_is_shown_nowhere() {
    let connector = connector("postgres://u:geheim@a:1/app").unwrap();
    assert!(!format!("{connector:?}").contains("geheim"));
    assert!(!connector.set_up(Purpose::Store).contains("geheim"));
}

#[rstest]
#[case("disable", PgSslMode::Disable)]
#[case("prefer", PgSslMode::Prefer)]
#[case("require", PgSslMode::Require)]
#[case("verify-ca", PgSslMode::VerifyCa)]
#[case("verify-full", PgSslMode::VerifyFull)]
fn sslmode_is_taken_from_the_url(#[case] mode: &str, #[case] expected: PgSslMode) {
    let connector = connector(&format!("postgres://u@a:1/app?sslmode={mode}")).unwrap();
    assert_eq!(format!("{:?}", connector.hosts[0].get_ssl_mode()), format!("{expected:?}"));
}

#[rstest]
#[case::unknown_option("postgres://a/app?shema=x", "sslmode")]
#[case::unknown_ssl_mode("postgres://a/app?sslmode=on", "verify-full")]
#[case::missing_certificate("postgres://a/app?sslrootcert=/no/such.pem", "/no/such.pem")]
#[case::unknown_durability("postgres://a/app?durability=normal", "full, off")]
#[case::port_is_no_number("postgres://a:b/app", "host:port")]
#[case::port_is_nought("postgres://a:0/app", "host:port")]
#[case::port_is_too_large("postgres://a:65536/app", "host:port")]
#[case::bracket_is_open("postgres://[::1/app", "[ipv6]:port")]
#[case::text_behind_the_bracket("postgres://[::1]5/app", "[ipv6]:port")]
#[case::hosts_named_twice("postgres://a/app?host=/run/pg", "twice")]
#[case::empty_schema("postgres://a/app?schema=", "1 to 63")]
#[case::long_schema(
    "postgres://a/app?schema=ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss",
    "1 to 63"
)]
fn what_a_url_can_not_mean_is_an_error_that_names_the_choices(#[case] url: &str, #[case] says: &str) {
    match connector(url) {
        Err(Error::Url { reason }) => assert!(reason.contains(says), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::default("", "set_config('search_path', '\"public\"', false)")]
#[case::schema("?schema=app", "set_config('search_path', '\"app\"', false)")]
#[case::hostile_schema("?schema=a%22%27b", "set_config('search_path', '\"a\"\"''b\"', false)")]
#[case::full("?durability=full", "set_config('synchronous_commit', 'on', false)")]
#[case::off("?durability=off", "set_config('synchronous_commit', 'off', false)")]
#[case::timeout("?statement_timeout=2s", "set_config('statement_timeout', '2000ms', false)")]
#[case::lock("?statement_timeout=2s", "set_config('lock_timeout', '1800ms', false)")]
fn a_connection_is_set_up_as_the_url_says(#[case] options: &str, #[case] expected: &str) {
    let sql = connector(&format!("postgres://a/app{options}")).unwrap().set_up(Purpose::Store);
    assert!(sql.contains(expected), "{sql}");
}
