//! A small HTTP server that answers each request as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A status, and a header or nothing.
    Status(u16, &'static str),
    /// The connection ends without an answer.
    Drop,
    /// 200, but only after so long.
    Late(Duration),
    /// A part of an answer.
    Half,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub answer: Answer,
}

impl Request {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map_or_else(|| panic!("no {name} in {self:?}"), |(_, value)| value.as_str())
    }

    /// Returns the position of the event that it carries.
    pub fn position(&self) -> u64 {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["position"].as_str().unwrap().parse().unwrap()
    }
}

/// A server on loopback; the answer to the n-th request is that of a function.
pub struct WebhookServer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl WebhookServer {
    pub async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&seen), Arc::clone(&answer)));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    connection: TcpStream,
    seen: Arc<Mutex<Vec<Request>>>,
    answer: Arc<impl Fn(usize) -> Answer>,
) -> Option<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            connection.read_line(&mut header).await.ok()?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await.ok()?;
        let answer = {
            let mut seen = seen.lock().unwrap();
            let answer = answer(seen.len());
            let body = String::from_utf8(body).unwrap();
            seen.push(Request { line: line.trim_end().to_owned(), headers, body, answer });
            answer
        };
        let text = match answer {
            Answer::Drop => return None,
            Answer::Half => "HTTP/1.1 200 O".to_owned(),
            Answer::Late(time) => {
                tokio::time::sleep(time).await;
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            Answer::Status(status, header) => {
                let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
                format!("HTTP/1.1 {status} Said\r\n{header}content-length: 3\r\n\r\nwhy")
            }
        };
        connection.write_all(text.as_bytes()).await.ok()?;
        if answer == Answer::Half {
            return None;
        }
    }
}
