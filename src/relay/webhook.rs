//! Publishing to a webhook: a POST request an event, signed as Standard Webhooks define it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

use super::publisher::{Message, Publisher, Unconfirmed};
use super::signature::WebhookSecrets;
use crate::error::{Error, Result};

/// How long a request may take, where nothing else is set.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(10);
/// The media type of the requests.
const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// How much of an answer is read.
const ANSWER: usize = 8 * 1024;
/// How many characters of a refusal are shown.
const SHOWN: usize = 200;
/// The longest pause that a receiver can ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Publishes to an HTTP endpoint, one event a request and one request at a time.
///
/// An answer of 2xx confirms the event. 408, 425, 429, 5xx, and none at all are tried again, not before `Retry-After`;
/// every other answer refuses the event. Redirects are not followed.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    secrets: Option<WebhookSecrets>,
    timeout: Duration,
}

impl Webhook {
    /// Publishes to an `https` or `http` URL, without a signature.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the URL can't be used, and [`Error::Backend`] where TLS can't be set up.
    pub fn new(url: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::invalid("url of the webhook", reason);
        let url = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("write https://HOST/PATH"));
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECTING)
            .user_agent(concat!("annals/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Error::backend("webhook", "set up", crate::error::ErrorClass::Fatal, error.without_url())
            })?;
        Ok(Self { client, url, secrets: None, timeout: TIMEOUT })
    }

    /// Signs the requests.
    #[must_use]
    pub fn secrets(mut self, secrets: WebhookSecrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Sets how long a request may take; 20 s without this.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn post(&self, message: &Message) -> Result<(), Unconfirmed> {
        let timestamp = Utc::now().timestamp();
        let mut request = self.client.post(self.url.clone()).timeout(self.timeout);
        request = request.header(CONTENT_TYPE, MEDIA_TYPE);
        request = request.header("webhook-id", message.key()).header("webhook-timestamp", timestamp);
        if let Some(secrets) = &self.secrets {
            let signature = secrets.sign(message.key(), timestamp, message.body());
            let signature = signature.map_err(|error| Unconfirmed::fatal(0, error.to_string()))?;
            request = request.header("webhook-signature", signature);
        }
        let response = request.body(message.body().to_owned()).send().await;
        // The URL may hold a secret.
        let response = response.map_err(|error| Unconfirmed::retry(0, chain(&error.without_url())))?;
        judge(response).await
    }
}

#[async_trait]
impl Publisher for Webhook {
    fn target(&self) -> String {
        format!("the webhook at {}", self.url.origin().ascii_serialization())
    }

    async fn publish(&mut self, messages: &[Message]) -> Result<(), Unconfirmed> {
        for (confirmed, message) in messages.iter().enumerate() {
            self.post(message).await.map_err(|unconfirmed| Unconfirmed { confirmed, ..unconfirmed })?;
        }
        Ok(())
    }
}

/// Decides what an answer means.
async fn judge(mut response: Response) -> Result<(), Unconfirmed> {
    let (status, pause) = (response.status(), retry_after(response.headers(), Utc::now()));
    // An answer that was read to its end leaves the connection for the next request.
    let mut answer = Vec::new();
    while answer.len() < ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        answer.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(());
    }
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || passing.contains(&status) {
        return Err(Unconfirmed::retry(0, format!("it answered {status}")).after(pause));
    }
    let answer = String::from_utf8_lossy(&answer);
    let shown = answer.chars().map(|char| if char.is_control() { ' ' } else { char }).take(SHOWN);
    let shown = shown.collect::<String>();
    let said = if shown.trim().is_empty() { String::new() } else { format!(": {}", shown.trim()) };
    Err(Unconfirmed::refused(0, format!("it answered {status}{said}")))
}

/// Reads `Retry-After`: seconds, or a time.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().ok()?,
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// Returns an error's message with those of its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_asks_for_a_pause_in_seconds_or_by_a_time() {
        let now: DateTime<Utc> = "2026-01-31T09:30:00Z".parse().unwrap();
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked("Sat, 31 Jan 2026 09:31:00 GMT"), Some(60));
        assert_eq!(asked("Sat, 31 Jan 2026 09:29:00 GMT"), None);
        assert_eq!(asked("99999999"), Some(3_600));
        assert_eq!((asked("soon"), asked("-1"), asked("")), (None, None, None));
    }

    #[test]
    fn nothing_of_a_url_shows_but_its_host() {
        let webhook = Webhook::new("https://u:s3cret@example.org:8443/t0ken?key=s3cret").unwrap();
        assert_eq!(webhook.target(), "the webhook at https://example.org:8443");
        for url in ["", "example.org", "ftp://u:s3cret@example.org", "https://u:s3cret@:1"] {
            let error = Webhook::new(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
    }
}
