//! A nats-server with `JetStream`, that can be killed, and a way to it that can be cut.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::until;

/// A server on a free port of loopback, whose files are in a folder of its own.
pub struct NatsServer {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl NatsServer {
    pub async fn start(program: PathBuf) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { program, folder: tempfile::tempdir().unwrap(), port, process: None };
        server.restart().await;
        server
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts the server again over what it stored.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--jetstream", "--port", &self.port.to_string()]);
        command.arg("--store_dir").arg(self.folder.path()).arg("--log").arg(self.folder.path().join("log"));
        self.process = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let address = self.address();
        until("the server's start", async || TcpStream::connect(address).await.is_ok()).await;
    }

    /// Ends the server as a failing machine does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    async fn context(&self) -> Context {
        jetstream::new(self.client().await)
    }

    /// Makes a stream for the subjects of relays.
    pub async fn create(&self, config: Config) -> Stream {
        let config = Config { name: "EVENTS".to_owned(), subjects: vec!["annals.>".to_owned()], ..config };
        self.context().await.create_stream(config).await.unwrap()
    }

    /// Returns the subjects, keys and bodies of what the stream holds, in its order.
    pub async fn stored(&self) -> Vec<(String, String, serde_json::Value)> {
        let mut stream = self.context().await.get_stream("EVENTS").await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        let mut messages = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let key = message.headers.get("Nats-Msg-Id").unwrap().to_string();
            messages.push((message.subject.to_string(), key, serde_json::from_slice(&message.payload).unwrap()));
        }
        assert_eq!(messages.len() as u64, state.messages);
        messages
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Forwards connections to a server, and cuts each after some bytes, in turn of a list.
pub async fn cutting_proxy(server: SocketAddr, cuts: &'static [usize]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let cut = cuts.get(counted.fetch_add(1, Ordering::Relaxed)).copied().unwrap_or(usize::MAX);
            let Ok(server) = TcpStream::connect(server).await else { continue };
            tokio::spawn(forward(client, server, cut));
        }
    });
    (address, connections)
}

/// Forwards until so many bytes went to the server.
async fn forward(client: TcpStream, server: TcpStream, cut: usize) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let (mut left, mut buffer) = (cut, [0; 1024]);
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let sent = read.min(left);
            if to_server.write_all(&buffer[..sent]).await.is_err() || sent < read {
                break;
            }
            left -= sent;
        }
    };
    let back = async {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
    // What the server has got it deals with, so that an answer can be lost.
    tokio::time::sleep(Duration::from_millis(1)).await;
}
