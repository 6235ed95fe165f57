//! Connection strings of ADO.NET, such as `Server=tcp:host,1433;Database=orders;User Id=app;Password=…;Encrypt=yes`.

use std::collections::BTreeMap;

use super::{Parts, url_error};
use crate::error::Result;

/// Takes a connection string apart into what a URL would say. Keys that are not of ADO.NET are options.
///
/// No message repeats a value: it may be the password.
pub(super) fn parse(text: &str) -> Result<Parts> {
    let mut parts = Parts { target: String::new(), user: None, password: None, options: BTreeMap::new() };
    let (mut server, mut database) = (None, None);
    for (key, value) in pairs(text)? {
        let option = match key.as_str() {
            "server" | "data source" | "address" | "addr" | "network address" => {
                server = Some(value);
                continue;
            }
            "database" | "initial catalog" => {
                database = Some(value);
                continue;
            }
            "user id" | "uid" | "user" | "username" => {
                parts.user = Some(value);
                continue;
            }
            "password" | "pwd" => {
                parts.password = Some(value);
                continue;
            }
            "integrated security" | "trusted_connection" => return Err(integrated(&key)),
            "trustservercertificate" | "trust server certificate" => "trust_server_certificate",
            "connect timeout" | "connection timeout" | "timeout" => "connect_timeout",
            "command timeout" => "statement_timeout",
            "max pool size" => "pool_max",
            other => other,
        };
        let value = if option == "encrypt" { encrypt(&value) } else { value };
        if parts.options.insert(option.to_owned(), value).is_some() {
            return Err(url_error(format!("{key:?} stands twice")));
        }
    }
    let server = server.ok_or_else(|| url_error("no server is named; write Server=tcp:host,1433"))?;
    parts.target = target(&server, database.as_deref().unwrap_or_default(), &mut parts.options);
    Ok(parts)
}

fn integrated(key: &str) -> crate::Error {
    url_error(format!("{key:?} is not supported: log in with User Id and Password"))
}

/// The words of newer clients for what `yes` and `no` say.
fn encrypt(value: &str) -> String {
    match value.to_ascii_lowercase().as_str() {
        "mandatory" => "yes".to_owned(),
        "optional" => "no".to_owned(),
        other => other.to_owned(),
    }
}

/// Writes `tcp:host\instance,port` as `host:port/database`; the instance becomes an option.
fn target(server: &str, database: &str, options: &mut BTreeMap<String, String>) -> String {
    let server = server.strip_prefix("tcp:").unwrap_or(server);
    let (host, port) = server.split_once(',').map_or((server, None), |(host, port)| (host, Some(port)));
    let (host, instance) = host.split_once('\\').map_or((host, None), |(host, name)| (host, Some(name)));
    if let Some(instance) = instance {
        options.insert("instance".to_owned(), instance.to_owned());
    }
    let host = match host.trim() {
        "." | "(local)" => "localhost".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let port = port.map(|port| format!(":{}", port.trim())).unwrap_or_default();
    format!("{host}{port}/{database}")
}

/// Splits `key=value;…`, keys in lower case. A value with a semicolon, a quote or outer spaces stands in single or
/// double quotes, in which the quote itself is doubled.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
        if rest.is_empty() {
            return Ok(pairs);
        }
        let (key, after) = rest
            .split_once('=')
            .filter(|(key, _)| !key.contains(';'))
            .ok_or_else(|| url_error("a connection string consists of Key=Value pairs separated by semicolons"))?;
        let key = key.trim().to_lowercase();
        let (value, after) = value(&key, after.trim_start())?;
        pairs.push((key, value));
        rest = after;
    }
}

/// Takes a value off the front of a text, and returns what follows it.
fn value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str)> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = text.find(';').unwrap_or(text.len());
        return Ok((text[..end].trim_end().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut rest = &text[1..];
    loop {
        let end = rest.find(quote).ok_or_else(|| url_error(format!("the quoted value of {key:?} has no end")))?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None if rest.trim_start().is_empty() || rest.trim_start().starts_with(';') => return Ok((value, rest)),
            None => return Err(url_error(format!("something follows the quoted value of {key:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::config::Config;

    #[test]
    fn a_connection_string_says_what_a_url_says() {
        let text = "sqlserver:Server=tcp:db.example.com,1444;Initial Catalog=orders;User Id=app;Password=se;\
                    Encrypt=Mandatory;TrustServerCertificate=True;Connect Timeout=7;Max Pool Size=3;topic=sales;schema=app";
        let config: Config = text.parse().unwrap();
        assert_eq!((config.scheme(), config.target()), ("mssql", "db.example.com:1444/orders"));
        assert_eq!((config.user(), config.password()), (Some("app"), Some("se")));
        assert_eq!((config.option("encrypt"), config.option("trust_server_certificate")), (Some("yes"), Some("True")));
        assert_eq!((config.connect_timeout().as_secs(), config.pool_max(), config.topic()), (7, 3, "sales"));
        assert_eq!(config.option("schema"), Some("app"));
    }

    #[rstest]
    #[case::bare("se?c=ret", "se?c=ret")]
    #[case::single("'se;c''ret '", "se;c'ret ")]
    #[case::double("\"se;'cret\"", "se;'cret")]
    #[case::empty("", "")]
    fn a_password_is_taken_as_it_stands_and_not_shown(#[case] written: &str, #[case] password: &str) {
        let text = format!("mssql:Server=db;Database=orders;UID=app;PWD={written};");
        let config: Config = text.parse().unwrap();
        assert_eq!(config.password(), Some(password));
        assert_eq!(config.to_string(), "mssql://app:***@db/orders");
        assert_eq!(config.to_url().parse::<Config>().unwrap().password(), Some(password));
        assert!(!format!("{config:?}{}", config.target()).contains("cret"));
    }

    #[rstest]
    #[case::instance("Server=db\\OTHER,1444", "db:1444/x", Some("OTHER"))]
    #[case::local("Data Source=(local)", "localhost/x", None)]
    #[case::dot("Server=.", "localhost/x", None)]
    #[case::six("Server=tcp:::1,1433", "[::1]:1433/x", None)]
    fn a_server_is_host_port_and_instance(#[case] server: &str, #[case] target: &str, #[case] instance: Option<&str>) {
        let config: Config = format!("mssql:{server};Database=x;UID=app").parse().unwrap();
        assert_eq!((config.target(), config.option("instance")), (target, instance));
    }

    #[rstest]
    #[case::no_server("Database=x;Password=secret", "no server")]
    #[case::no_value("Server=db;secret", "Key=Value")]
    #[case::open_quote("Server=db;Password='secret", "has no end")]
    #[case::after_quote("Server=db;Password='secret'x;UID=a", "something follows")]
    #[case::twice("Server=db;Encrypt=yes;encrypt=no;Password=secret", "stands twice")]
    #[case::integrated("Server=db;Integrated Security=SSPI;Password=secret", "User Id")]
    fn a_broken_connection_string_is_refused_without_its_values(#[case] text: &str, #[case] says: &str) {
        let error = format!("mssql:{text}").parse::<Config>().unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
}
