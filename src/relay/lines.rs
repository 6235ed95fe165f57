//! Publishing to a stream of bytes: a line an event.

use std::io::{ErrorKind, Write};

use async_trait::async_trait;

use super::publisher::{Message, Publisher, Unconfirmed};

/// Events that are written before they are flushed.
const BATCH: usize = 64;

/// Publishes to anything that bytes can be written to, such as standard output: one line of JSON an event. Events are
/// confirmed once they are flushed. A write may block its thread.
#[derive(Debug)]
pub struct Lines<W>(W);

impl<W: Write + Send> Lines<W> {
    /// Publishes to a writer.
    pub const fn new(out: W) -> Self {
        Self(out)
    }

    fn write(&mut self, messages: &[Message]) -> std::io::Result<()> {
        for message in messages {
            let body = message.body();
            // In JSON, a line break can stand only between tokens, where a space means the same.
            let line = if body.contains(['\n', '\r']) { &body.replace(['\n', '\r'], " ") } else { body };
            self.0.write_all(format!("{line}\n").as_bytes())?;
        }
        self.0.flush()
    }
}

#[async_trait]
impl<W: Write + Send> Publisher for Lines<W> {
    fn target(&self) -> String {
        "the output".to_owned()
    }

    fn batch_size(&self) -> usize {
        BATCH
    }

    async fn publish(&mut self, messages: &[Message]) -> Result<(), Unconfirmed> {
        self.write(messages).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Unconfirmed::closed(0),
            _ => Unconfirmed::fatal(0, error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::event;
    use super::*;

    #[tokio::test]
    async fn an_event_is_one_line_even_where_its_data_have_several() {
        let message = |body: &str| Message {
            event: Arc::new(event()),
            topic: "default".into(),
            key: String::new(),
            body: body.to_owned(),
        };
        let mut out = Vec::new();
        Lines::new(&mut out).publish(&[message("{\"data\":[1,\r\n2]}"), message("{}")]).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"data\":[1,  2]}\n{}\n");
    }
}
