//! Signatures of webhooks, as Standard Webhooks define them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, Result};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// How many bytes a secret may have.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets by which a webhook's receiver knows who sent it: one, or while it is being replaced several, separated by
/// spaces. A secret is `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Clone)]
pub struct WebhookSecrets(Vec<Vec<u8>>);

impl WebhookSecrets {
    /// Returns the value of `webhook-signature`: a signature by each secret.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> Result<String> {
        let content = format!("{id}.{timestamp}.{body}");
        let mut signatures = Vec::new();
        for secret in &self.0 {
            let mac = Hmac::<Sha256>::new_from_slice(secret);
            let mut mac = mac.map_err(|error| Error::invalid("secret", error.to_string()))?;
            mac.update(content.as_bytes());
            signatures.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
        }
        Ok(signatures.join(" "))
    }
}

impl FromStr for WebhookSecrets {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`], which does not show the text.
    fn from_str(text: &str) -> Result<Self> {
        let secret = |text: &str| {
            let bytes = text.strip_prefix(PREFIX).and_then(|base64| STANDARD.decode(base64).ok());
            bytes.filter(|bytes| LENGTHS.contains(&bytes.len()))
        };
        let secrets: Option<Vec<_>> = text.split_ascii_whitespace().map(secret).collect();
        let secrets = secrets.filter(|secrets| !secrets.is_empty()).ok_or_else(|| {
            let (least, most) = (LENGTHS.start(), LENGTHS.end());
            Error::invalid("secret", format!("write {PREFIX} and the base64 of {least} to {most} bytes"))
        })?;
        Ok(Self(secrets))
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn a_signature_is_that_of_the_published_vector() {
        let secrets: WebhookSecrets = SECRET.parse().unwrap();
        assert_eq!(secrets.sign(ID, 1_614_265_330, BODY).unwrap(), SIGNATURE);
    }

    #[test]
    fn each_secret_signs_while_one_is_replaced() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let secrets: WebhookSecrets = format!("{other} {SECRET}").parse().unwrap();
        let signatures = secrets.sign(ID, 1_614_265_330, BODY).unwrap();
        let (first, second) = signatures.split_once(' ').unwrap();
        assert!(first.starts_with("v1,") && first != SIGNATURE && second == SIGNATURE, "{signatures}");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        for text in ["", " ", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_!", &short] {
            let error = text.parse::<WebhookSecrets>().unwrap_err().to_string();
            assert!(error.contains("write whsec_") && !error.contains("MfKQ"), "{error}");
        }
        assert_eq!(format!("{:?}", SECRET.parse::<WebhookSecrets>().unwrap()), "WebhookSecrets(***)");
    }
}
