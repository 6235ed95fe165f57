//! A connection URL, taken apart. Passwords never leave it: `Debug` and `Display` hide them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::limits;

mod ado;

/// The options that every backend takes.
const COMMON: [&str; 8] = [
    "topic",
    "pool_max",
    "connect_timeout",
    "statement_timeout",
    "durability",
    "migrate",
    "max_event_bytes",
    "password_file",
];

/// A connection URL, taken apart and checked as far as all backends agree.
///
/// ```
/// let config: annals::Config = "sqlite:orders.db?topic=orders".parse()?;
/// assert_eq!((config.scheme(), config.topic()), ("sqlite", "orders"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Config {
    scheme: String,
    /// What stands between the scheme and the options, without credentials.
    target: String,
    user: Option<String>,
    password: Option<String>,
    topic: String,
    names_topic: bool,
    pool_max: u32,
    connect_timeout: Duration,
    statement_timeout: Duration,
    durability: Option<String>,
    migrate: bool,
    max_event_bytes: usize,
    options: BTreeMap<String, String>,
}

impl Config {
    /// Returns the scheme, which names the backend: `sqlite`, `postgres`, `mssql`, or one that was registered.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns what stands between the scheme and the options, without credentials: a path, or `host:port/database`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns whether it is a SQLite database in memory.
    pub(crate) fn is_memory(&self) -> bool {
        let target = self.target.strip_prefix("//").unwrap_or(&self.target);
        self.scheme() == "sqlite" && (target == ":memory:" || self.option("mode") == Some("memory"))
    }

    /// Returns the user, percent-decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the password, percent-decoded, from the URL or from the file that `password_file` names.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Returns the topic that the store opens; `default` without.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns how many connections the store holds at most.
    #[must_use]
    pub const fn pool_max(&self) -> u32 {
        self.pool_max
    }

    /// Returns how long making a connection, or waiting for a free one, may take.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns how long one operation may take.
    #[must_use]
    pub const fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Returns the durability that is asked for; `None` is the engine's full durability.
    #[must_use]
    pub fn durability(&self) -> Option<&str> {
        self.durability.as_deref()
    }

    /// Returns whether opening the store brings its schema up to date.
    #[must_use]
    pub const fn migrate(&self) -> bool {
        self.migrate
    }

    /// Returns the limit of one event in bytes.
    #[must_use]
    pub const fn max_event_bytes(&self) -> usize {
        self.max_event_bytes
    }

    /// Returns one of the backend's own options.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Returns the options that are the backend's own.
    pub(crate) const fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// Returns whether the URL says which topic is meant.
    #[must_use]
    pub const fn names_topic(&self) -> bool {
        self.names_topic
    }

    /// Sets the topic.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where it is not a name.
    pub fn with_topic(mut self, topic: &str) -> Result<Self> {
        self.topic = crate::name::check("topic", topic)?;
        self.names_topic = false;
        Ok(self)
    }

    /// Sets the durability of commits, one of the backend's.
    #[must_use]
    pub fn with_durability(mut self, durability: &str) -> Self {
        self.durability = Some(durability.to_owned());
        self
    }

    /// Makes opening the store bring its schema up to date.
    #[must_use]
    pub const fn with_migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Sets what stands between the scheme and the options.
    #[must_use]
    pub fn with_target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Returns the whole URL, **with its password**: for another process, never for a log.
    #[must_use]
    pub fn to_url(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!("{}:", self.scheme);
        if self.scheme != "sqlite" {
            url.push_str("//");
        }
        if self.user.is_some() || self.password.is_some() {
            let user = self.user.as_deref().map(encode).unwrap_or_default();
            let password = self.password.as_deref().map(|password| format!(":{}", encode(password)));
            url.extend([user, password.unwrap_or_default(), "@".to_owned()]);
        }
        url.push_str(&self.target.replace('%', "%25").replace('?', "%3F"));
        let mut options = vec![
            ("pool_max", self.pool_max.to_string()),
            ("connect_timeout", format!("{}ms", self.connect_timeout.as_millis())),
            ("statement_timeout", format!("{}ms", self.statement_timeout.as_millis())),
            ("migrate", if self.migrate { "auto" } else { "never" }.to_owned()),
            ("max_event_bytes", self.max_event_bytes.to_string()),
        ];
        if self.names_topic || self.topic != "default" {
            options.push(("topic", self.topic.clone()));
        }
        options.extend(self.durability.clone().map(|durability| ("durability", durability)));
        options.extend(self.options.iter().map(|(name, value)| (name.as_str(), value.clone())));
        for (index, (name, value)) in options.into_iter().enumerate() {
            url.extend([if index == 0 { "?" } else { "&" }, name, "=", &encode(&value)]);
        }
        url
    }

    /// Sets one of the backend's own options.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets how long a call may take.
    #[cfg(feature = "_sql")]
    pub(crate) const fn with_statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = limit;
        self
    }

    /// Checks that the URL has no option beyond the common ones and `accepted`.
    ///
    /// # Errors
    /// [`Error::Url`], which names the option and the choices.
    pub fn check_options(&self, accepted: &[&str]) -> Result<()> {
        match self.options.keys().find(|name| !accepted.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let mut choices: Vec<&str> = COMMON.iter().chain(accepted).copied().collect();
                choices.sort_unstable();
                Err(url_error(format!("unknown option {name:?}; {} takes {}", self.scheme, choices.join(", "))))
            }
        }
    }

    /// Returns the durability, which must be one of `accepted`; the first is the default.
    ///
    /// # Errors
    /// [`Error::Url`], which names the choices.
    pub fn check_durability<'a>(&self, accepted: &[&'a str]) -> Result<&'a str> {
        let wanted = self.durability.as_deref().or(accepted.first().copied()).unwrap_or_default();
        accepted.iter().find(|known| **known == wanted).copied().ok_or_else(|| {
            url_error(format!("unknown durability {wanted:?}; {} takes {}", self.scheme, accepted.join(", ")))
        })
    }
}

/// Makes an [`Error::Url`].
pub(crate) fn url_error(reason: impl Into<String>) -> Error {
    Error::Url { reason: reason.into() }
}

impl FromStr for Config {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let (scheme, rest) = url
            .split_once(':')
            .filter(|(scheme, _)| {
                !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            })
            .ok_or_else(|| {
                url_error("it does not begin with a scheme, as in sqlite:events.db, postgres://… or mssql://…")
            })?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "postgresql" => "postgres".to_owned(),
            "sqlserver" => "mssql".to_owned(),
            other => other.to_owned(),
        };
        let ado = scheme == "mssql" && !rest.starts_with("//") && rest.contains('=');
        if matches!(scheme.as_str(), "postgres" | "mssql") && !ado && !rest.starts_with("//") {
            return Err(url_error(format!("write {scheme}://, then user@host/database")));
        }
        let Parts { target, user, password, mut options } = if ado { ado::parse(rest)? } else { parts(rest)? };
        if scheme == "sqlite" && target.trim_start_matches("//").is_empty() {
            return Err(url_error("no file is named; write sqlite:events.db or sqlite::memory:"));
        }
        let mut config = Self {
            scheme,
            target,
            user,
            password,
            names_topic: options.contains_key("topic"),
            topic: crate::name::check("topic", options.remove("topic").unwrap_or_else(|| "default".to_owned()))?,
            pool_max: number(&mut options, "pool_max", 8, 1, 1_000)?.try_into().unwrap_or(u32::MAX),
            connect_timeout: seconds(&mut options, "connect_timeout", "10s")?,
            statement_timeout: seconds(&mut options, "statement_timeout", "30s")?,
            durability: options.remove("durability"),
            migrate: match options.remove("migrate").as_deref() {
                None | Some("never") => false,
                Some("auto") => true,
                Some(other) => return Err(url_error(format!("migrate={other:?} is neither auto nor never"))),
            },
            max_event_bytes: usize::try_from(number(
                &mut options,
                "max_event_bytes",
                limits::EVENT_BYTES as u64,
                1,
                limits::EVENT_BYTES_MAX as u64,
            )?)
            .unwrap_or(limits::EVENT_BYTES),
            options: BTreeMap::new(),
        };
        if let Some(path) = options.remove("password_file") {
            config.password = Some(read_password(&path)?);
        }
        config.options = options;
        Ok(config)
    }
}

/// A URL without its scheme, or a connection string, taken apart.
struct Parts {
    target: String,
    user: Option<String>,
    password: Option<String>,
    options: BTreeMap<String, String>,
}

fn parts(rest: &str) -> Result<Parts> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, target) = match rest.strip_prefix("//") {
        Some(rest) => rest.rsplit_once('@').map_or((None, rest), |(credentials, rest)| (Some(credentials), rest)),
        None => (None, rest),
    };
    let (user, password) = match credentials {
        None => (None, None),
        Some(text) => {
            let (user, password) = text.split_once(':').map_or((text, None), |(user, word)| (user, Some(word)));
            (Some(decode(user)?).filter(|user| !user.is_empty()), password.map(decode).transpose()?)
        }
    };
    Ok(Parts { target: decode(target)?, user, password, options: options(query)? })
}

fn read_password(path: &str) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| url_error(format!("password_file {path:?}: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn decode(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| url_error("a percent-encoded part is not utf-8"))?;
    Ok(text.into_owned())
}

fn options(query: &str) -> Result<BTreeMap<String, String>> {
    // Nothing of it is shown, as it may be the end of a password.
    if query.contains('@') {
        return Err(url_error(
            "there is an @ behind the ?: write %3F for a ? in the user or password, %40 for an @ in an option",
        ));
    }
    let mut options = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| url_error(format!("option {pair:?} has no value; write {pair}=…")))?;
        let name = decode(name)?;
        if options.insert(name.clone(), decode(value)?).is_some() {
            return Err(url_error(format!("option {name:?} stands twice")));
        }
    }
    Ok(options)
}

fn number(options: &mut BTreeMap<String, String>, name: &str, default: u64, least: u64, most: u64) -> Result<u64> {
    let Some(text) = options.remove(name) else { return Ok(default) };
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| url_error(format!("{name}={text:?} is not a whole number from {least} to {most}")))
}

/// Parses a time such as `500ms`, `10s`, `2m`, or a bare number of seconds.
fn seconds(options: &mut BTreeMap<String, String>, name: &str, default: &str) -> Result<Duration> {
    let text = options.remove(name).unwrap_or_else(|| default.to_owned());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let milliseconds = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    match milliseconds.filter(|milliseconds| (1..=86_400_000).contains(milliseconds)) {
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        None => Err(url_error(format!("{name}={text:?} is not a time from 1ms to 1440m, such as 500ms, 10s or 2m"))),
    }
}

impl fmt::Display for Config {
    /// Writes the URL without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        match (&self.user, &self.password) {
            (Some(user), Some(_)) => write!(f, "//{user}:***@{}", self.target)?,
            (Some(user), None) => write!(f, "//{user}@{}", self.target)?,
            _ if self.scheme == "sqlite" => f.write_str(&self.target)?,
            _ => write!(f, "//{}", self.target)?,
        }
        for (index, (name, value)) in self.options.iter().enumerate() {
            let value = if name.contains("pass") || name.contains("pwd") { "***" } else { value };
            write!(f, "{}{name}={value}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({self})")
    }
}

#[cfg(test)]
mod tests;
