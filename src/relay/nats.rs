//! Publishing to NATS `JetStream`.
//!
//! Many messages are on their way at the same time, but of each stream of events one at most: whatever is lost, refused or
//! late, none of a stream overtakes another. A connection that breaks is given up with all that waited in it, and what was
//! confirmed beyond a failure is remembered, so that it is not sent again.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use async_trait::async_trait;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::publisher::{Message, Publisher, Unconfirmed};
use super::template::Template;
use crate::error::{Error, Result};

/// The subject where none is given.
const SUBJECT: &str = "annals.{topic}.{aggregate_type}";
/// Messages that wait for their confirmation at the same time.
const IN_FLIGHT: usize = 256;
/// How long a confirmation may take.
const CONFIRMATION: Duration = Duration::from_secs(5);
const NOT_CONFIRMED: &str = "no confirmation in time";
/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// The media type of the messages.
const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The code by which `JetStream` says that a message is larger than its stream allows.
const MESSAGE_TOO_LARGE: u64 = 10_054;

/// Publishes to the `JetStream` of a NATS server.
///
/// A stream that takes the subjects must exist. `Nats-Msg-Id` is the event's id: what is sent twice within the stream's
/// `duplicate_window` is stored once.
#[derive(Debug)]
pub struct Nats {
    servers: Vec<ServerAddr>,
    login: Login,
    creds: Option<PathBuf>,
    subject: Template,
    connection: Option<Connection>,
    /// The keys of what was confirmed beyond the first that was not.
    ahead: HashSet<String>,
}

/// How to log in, as the URL says.
enum Login {
    Nobody,
    Token(String),
    User(String, String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Token(_) => "Token(***)",
            Self::User(..) => "User(***)",
        })
    }
}

/// A connection, and whether it has broken.
#[derive(Debug)]
struct Connection {
    context: Context,
    broken: watch::Receiver<bool>,
    /// Whether every message was answered so far. What was not may still be in it, and must not come later.
    answered: bool,
}

/// What is on its way: its place in the batch, its stream, its confirmation.
struct Sent<'a> {
    index: usize,
    stream: &'a str,
    confirmation: PublishAckFuture,
}

impl Nats {
    /// Publishes to the servers of a URL: `nats://[USER:PASSWORD@ | TOKEN@]HOST[:PORT][,HOST …]`, or `tls://…`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the URL can't be used.
    pub fn new(url: &str) -> Result<Self> {
        let mut login = Login::Nobody;
        let mut servers = Vec::new();
        let scheme = url.split_once("://").map_or("nats", |(scheme, _)| scheme);
        for (index, part) in url.split(',').enumerate() {
            let part = if part.contains("://") { part.to_owned() } else { format!("{scheme}://{part}") };
            let mut server = Url::parse(&part).map_err(|error| wrong(&error.to_string()))?;
            if !matches!(server.scheme(), "nats" | "tls") || server.host_str().is_none_or(str::is_empty) {
                return Err(wrong("write nats://HOST:PORT or tls://HOST:PORT"));
            }
            if index == 0 {
                login = Login::of(&server)?;
            }
            if server.set_username("").and_then(|()| server.set_password(None)).is_err() {
                return Err(wrong("it has no host"));
            }
            servers.push(ServerAddr::from_url(server).map_err(|error| wrong(&error.to_string()))?);
        }
        let subject = Template::parse("subject", SUBJECT)?;
        Ok(Self { servers, login, creds: None, subject, connection: None, ahead: HashSet::new() })
    }

    /// Sets the subject, with places in braces: `topic`, `lane`, `aggregate_type`, `aggregate_id`, `event_type` and
    /// `event_version`; `annals.{topic}.{aggregate_type}` without this. Whatever of a name is neither a letter nor a digit
    /// of ASCII, `-` or `_` is percent-encoded there.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a place is unknown, or the text is no subject that can be published to.
    pub fn subject(mut self, template: &str) -> Result<Self> {
        let subject = Template::parse("subject", template)?;
        let outline = subject.outline();
        let is_token = |token: &str| {
            let usual = |char: char| !char.is_whitespace() && !char.is_control() && !matches!(char, '*' | '>');
            !token.is_empty() && token.chars().all(usual)
        };
        if !outline.split('.').all(is_token) || outline.starts_with('$') {
            let reason = format!("{template:?} has an empty token, white space, a wildcard, or begins with $");
            return Err(Error::invalid("subject", reason));
        }
        self.subject = subject;
        Ok(self)
    }

    /// Logs in with a file of credentials, as `nsc` writes it.
    #[must_use]
    pub fn creds(mut self, file: impl Into<PathBuf>) -> Self {
        self.creds = Some(file.into());
        self
    }

    async fn connect(&self) -> Result<Connection, Unconfirmed> {
        let (tell, broken) = watch::channel(false);
        let mut options = ConnectOptions::new()
            .name("annals relay")
            .connection_timeout(CONNECTING)
            .ping_interval(Duration::from_secs(10))
            .max_reconnects(1)
            .event_callback(move |event| {
                let breaks = matches!(event, Event::Disconnected | Event::Closed | Event::LameDuckMode);
                tell.send_if_modified(|broken| !std::mem::replace(broken, *broken || breaks) && breaks);
                std::future::ready(())
            });
        options = match &self.login {
            Login::Nobody => options,
            Login::Token(token) => options.token(token.clone()),
            Login::User(user, password) => options.user_and_password(user.clone(), password.clone()),
        };
        if let Some(file) = &self.creds {
            let wrong = |error: std::io::Error| {
                Unconfirmed::fatal(0, format!("can't read the credentials in {}: {error}", file.display()))
            };
            options = options.credentials_file(file).await.map_err(wrong)?;
        }
        let client = options.connect(&self.servers[..]).await.map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                Unconfirmed::fatal(0, "the server refuses the credentials")
            }
            _ => Unconfirmed::retry(0, format!("can't connect: {}", chain(&error))),
        })?;
        let context = ContextBuilder::new().timeout(CONFIRMATION).max_ack_inflight(2 * IN_FLIGHT).build(client);
        Ok(Connection { context, broken, answered: true })
    }

    /// Sends what is not confirmed yet; returns the place and the trouble of the first message that fails.
    async fn send(&mut self, connection: &mut Connection, messages: &[Message]) -> Result<(), (usize, Unconfirmed)> {
        let mut waiting: VecDeque<Sent<'_>> = VecDeque::new();
        let mut streams: HashSet<&str> = HashSet::new();
        let mut failure = None;
        for (index, message) in messages.iter().enumerate() {
            if self.ahead.contains(message.key()) {
                continue;
            }
            let stream = message.event().aggregate_id.as_str();
            while failure.is_none()
                && (streams.contains(stream) || waiting.len() == IN_FLIGHT)
                && let Some(sent) = waiting.pop_front()
            {
                streams.remove(sent.stream);
                failure = self.confirm(connection, messages, sent).await.err();
            }
            if failure.is_some() {
                break;
            }
            match self.start(connection, message).await {
                Ok(confirmation) => waiting.push_back(Sent { index, stream, confirmation }),
                Err(trouble) => {
                    failure = Some((index, trouble));
                    break;
                }
            }
            streams.insert(stream);
        }
        // After a failure, what else is confirmed is worth knowing, but not worth waiting long.
        let mut patience = failure.as_ref().map(|_| Instant::now() + CONFIRMATION);
        for sent in waiting {
            let (index, confirming) = (sent.index, self.confirm(connection, messages, sent));
            let confirmed = match patience {
                Some(end) => match timeout_at(end, confirming).await {
                    Ok(confirmed) => confirmed,
                    Err(_) => Err((index, Unconfirmed::retry(0, NOT_CONFIRMED))),
                },
                None => confirming.await,
            };
            if let Err(other) = confirmed {
                patience.get_or_insert_with(|| Instant::now() + CONFIRMATION);
                if failure.as_ref().is_none_or(|(first, _)| index < *first) {
                    failure = Some(other);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn start(&self, connection: &mut Connection, message: &Message) -> Result<PublishAckFuture, Unconfirmed> {
        let subject = self.subject.fill(message.topic(), message.event());
        let publish = PublishMessage::build()
            .payload(Bytes::copy_from_slice(message.body().as_bytes()))
            .header("Content-Type", CONTENT_TYPE)
            .message_id(message.key());
        let context = &connection.context;
        context.send_publish(subject.clone(), publish).await.map_err(|error| {
            connection.answered &= is_answer(&error);
            trouble(&subject, &error)
        })
    }

    async fn confirm(
        &mut self,
        connection: &mut Connection,
        messages: &[Message],
        sent: Sent<'_>,
    ) -> Result<(), (usize, Unconfirmed)> {
        let message = &messages[sent.index];
        let answered = std::mem::replace(&mut connection.answered, false);
        let outcome = tokio::select! {
            biased;
            outcome = sent.confirmation.into_future() => {
                connection.answered = answered && outcome.as_ref().err().is_none_or(is_answer);
                outcome.map_err(|error| trouble(&self.subject.fill(message.topic(), message.event()), &error))
            }
            _ = connection.broken.wait_for(|broken| *broken) => Err(Unconfirmed::retry(0, "the connection broke")),
        };
        outcome.map_err(|trouble| (sent.index, trouble))?;
        self.ahead.insert(message.key().to_owned());
        Ok(())
    }
}

impl Login {
    fn of(url: &Url) -> Result<Self> {
        let decode = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().map_err(|_| wrong("its credentials are not utf-8"))?;
            Ok::<_, Error>(text.into_owned())
        };
        Ok(match (url.username(), url.password()) {
            ("", None) => Self::Nobody,
            (token, None) => Self::Token(decode(token)?),
            (user, Some(password)) => Self::User(decode(user)?, decode(password)?),
        })
    }
}

#[async_trait]
impl Publisher for Nats {
    fn target(&self) -> String {
        let server = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
        format!("nats at {}", self.servers.iter().map(server).collect::<Vec<_>>().join(", "))
    }

    fn batch_size(&self) -> usize {
        2 * IN_FLIGHT
    }

    async fn publish(&mut self, messages: &[Message]) -> Result<(), Unconfirmed> {
        let usable = |connection: &Connection| connection.answered && !*connection.broken.borrow();
        let mut connection = match self.connection.take().filter(usable) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let sent = self.send(&mut connection, messages).await;
        self.connection = Some(connection).filter(usable);
        match sent {
            Ok(()) => {
                self.ahead.clear();
                Ok(())
            }
            Err((first, unconfirmed)) => {
                self.ahead.retain(|key| messages[first..].iter().any(|message| message.key() == key));
                Err(Unconfirmed { confirmed: first, ..unconfirmed })
            }
        }
    }
}

fn wrong(reason: &str) -> Error {
    Error::invalid("url of nats", reason)
}

/// Whether an error is what the server, or the client in its place, says about a message, so that nothing is on its way.
fn is_answer(error: &PublishError) -> bool {
    let source = std::error::Error::source(error);
    let answered = source.is_some_and(<dyn std::error::Error>::is::<async_nats::jetstream::Error>);
    answered || matches!(error.kind(), PublishErrorKind::StreamNotFound | PublishErrorKind::MaxPayloadExceeded)
}

/// Says what can be done about a message that was not confirmed.
fn trouble(subject: &str, error: &PublishError) -> Unconfirmed {
    let source = std::error::Error::source(error);
    let answer = source.and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Unconfirmed::refused(0, format!("{}: raise max_payload of the server", chain(error)))
        }
        PublishErrorKind::StreamNotFound => {
            Unconfirmed::retry(0, format!("no stream of jetstream takes the subject {subject}: add one that does"))
        }
        PublishErrorKind::TimedOut => {
            Unconfirmed::retry(0, format!("no confirmation of {subject} within {CONFIRMATION:?}"))
        }
        _ if answer.is_some_and(|error| error.error_code().0 == MESSAGE_TOO_LARGE) => {
            Unconfirmed::refused(0, format!("{}: raise max_msg_size of the stream", chain(error)))
        }
        _ => Unconfirmed::retry(0, chain(error)),
    }
}

/// Returns an error's message with those of its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        // Some of them repeat their source.
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url_and_show_nowhere() {
        let nats = Nats::new("nats://ada:s3%40cret@a.example:4222,b.example").unwrap();
        assert!(matches!(&nats.login, Login::User(user, password) if user == "ada" && password == "s3@cret"));
        assert_eq!(nats.target(), "nats at a.example:4222, b.example:4222");
        let shown = format!("{nats:?}");
        assert!(!shown.contains("s3") && !shown.contains("ada"), "{shown}");
        let nats = Nats::new("tls://t0ken@a.example").unwrap();
        assert!(matches!(&nats.login, Login::Token(token) if token == "t0ken"));
        assert!(!format!("{nats:?}").contains("t0ken"));
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_without_its_password() {
        for url in ["", "nats://", "http://u:s3cret@h", "nats://u:s3cret@h:port", "nats://u:s3cret@h,ftp://x"] {
            let error = Nats::new(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn subjects_that_cannot_be_published_to_are_refused() {
        let nats = || Nats::new("nats://localhost").unwrap();
        for subject in ["a b", "a..b", ".a", "a.", "a.*", ">", "$JS.API.{topic}", "{colour}", "a.\u{7f}"] {
            assert!(matches!(nats().subject(subject), Err(Error::Invalid { .. })), "{subject:?}");
        }
        assert!(nats().subject("orders.{aggregate_type}.{aggregate_id}.{event_type}").is_ok());
    }
}
