//! A child as its parent holds it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use super::child;
use super::line::{self, Line};

/// A running child. Dropping it kills it.
pub struct Process {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts this very binary as a child, whose lines go to a channel.
    pub fn start(url: &str, run: usize, fault: Option<&str>, lines: Sender<Line>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", child::NAME, "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(child::URL, url).env(child::RUN, run.to_string());
        command.envs(fault.map(|fault| (child::FAULT, fault)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while pipe.read_until(b'\n', &mut bytes).unwrap() > 0 {
                // A parent that has seen enough needs no more lines.
                let _ = line::parse(&bytes).map(|line| lines.send(line));
                bytes.clear();
            }
        });
        Self { child, reader: Some(reader) }
    }

    /// Whether the child has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills the child with SIGKILL, and waits until the last of its lines is read.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
