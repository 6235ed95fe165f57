//! The requests of the load. All that one holds follows from its number, so that the parent, which knows the number
//! from the pipe, knows every byte of it, and can send the same request again.

use annals::{Append, Command, Expected, Json, NewEvent, Result, Store, Stream};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The event type of the first request of each process, which the durability probe waits for.
pub const OPENED: &str = "Opened";

/// What tells requests apart: the run of a process, its task, the task's count.
pub type Key = (u32, u32, u32);

/// A request that a task is about to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub key: Key,
    /// The version that the request expects of its stream, where it expects one.
    pub version: i64,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Plan {
    pub expected: Expected,
    /// In the order of their positions.
    pub events: Vec<Planned>,
    pub guard: Option<Stream>,
    pub command: Option<Uuid>,
}

#[derive(Debug)]
pub struct Planned {
    pub stream: Stream,
    pub event_type: &'static str,
    pub data: String,
    pub tags: Vec<String>,
    pub id: Option<Uuid>,
}

/// What the data of each event says of its request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mark {
    pub key: Key,
    pub index: usize,
    pad: String,
}

impl Wish {
    /// Chooses a task's next request; for those that expect a version, the stream is read.
    pub async fn next(key: Key, store: &Store) -> Result<Self> {
        let wish = Self { key, version: 0 };
        let version = match key.2 % 8 {
            1 => store.version(wish.own()).await?.get(),
            3 => store.version(race()).await?.get(),
            _ => 0,
        };
        Ok(Self { version, ..wish })
    }

    /// Returns what the request asks for.
    pub fn plan(&self) -> Plan {
        let (run, task, count) = self.key;
        let here = shared(task + count);
        let mut plan = Plan { expected: Expected::Any, events: Vec::new(), guard: None, command: None };
        match count % 8 {
            0 => plan.events = self.events(if count == 0 { OPENED } else { "Noted" }, &[&here], 20),
            1 => {
                plan.expected = Expected::exact(self.version);
                plan.events = self.events("Ordered", &[&self.own(), &self.own(), &self.own()], 100);
            }
            2 => {
                let there = shared(task + count + 1);
                plan.events = self.events("Transferred", &[&here, &here, &there, &here], 50);
            }
            3 => {
                plan.expected = Expected::exact(self.version);
                plan.events = self.events("Raced", &[&race()], 10);
            }
            4 => plan.events = self.events("Imported", &[&here, &here], 200),
            5 => {
                let new = named("new", &format!("new-{run}-{task}-{count}"));
                plan.expected = Expected::NoStream;
                plan.events = self.events("Begun", &[&new; 5], 30);
            }
            6 => plan.events = self.events("Copied", &[&here; 40], 200),
            _ => {
                plan.guard = Some(shared(task + count + 1));
                plan.events = self.events("Guarded", &[&self.own()], 4_000);
            }
        }
        if matches!(count % 8, 1 | 2 | 5 | 7) {
            plan.command = Some(self.uuid(u16::MAX));
        }
        for (index, event) in (0..).zip(&mut plan.events) {
            if matches!(count % 8, 3..=5) {
                event.id = Some(self.uuid(index));
            }
            if matches!(count % 8, 1 | 5 | 6) {
                event.tags = vec![format!("index:{}", index % 3), format!("run:{run}")];
            }
        }
        plan
    }

    fn events(&self, event_type: &'static str, streams: &[&Stream], pad: usize) -> Vec<Planned> {
        let event = |(index, stream): (usize, &&Stream)| {
            let mark = Mark { key: self.key, index, pad: "x".repeat(pad) };
            let data = serde_json::to_string(&mark).unwrap();
            Planned { stream: (*stream).clone(), event_type, data, tags: Vec::new(), id: None }
        };
        streams.iter().enumerate().map(event).collect()
    }

    /// An id of the request's own.
    fn uuid(&self, number: u16) -> Uuid {
        let (run, task, count) = self.key;
        let (run, task, count) = (u128::from(run), u128::from(task), u128::from(count));
        Uuid::from_u128(run << 96 | task << 80 | count << 32 | u128::from(number))
    }

    /// The stream that only this task writes; the next process goes on with it.
    fn own(&self) -> Stream {
        named("own", &format!("own-{}-{}", self.key.0 % 2, self.key.1))
    }
}

impl Plan {
    /// Makes the request.
    pub fn append(&self) -> Append {
        let mut append = Append::new();
        for part in self.events.chunk_by(|one, next| one.stream == next.stream) {
            append = append.to(part[0].stream.clone(), self.expected, part.iter().map(Planned::event));
        }
        if let Some(guard) = &self.guard {
            append = append.guard(guard.clone(), Expected::Exists);
        }
        match self.command {
            Some(id) => append.command(Command::new(id).with_type("crash").unwrap()),
            None => append,
        }
    }
}

impl Planned {
    fn event(&self) -> NewEvent {
        let event = NewEvent::new(self.event_type, Json::parse(self.data.clone()).unwrap().into()).unwrap();
        let event = event.with_tags(self.tags.clone()).unwrap();
        match self.id {
            Some(id) => event.with_id(id),
            None => event,
        }
    }
}

fn named(category: &str, id: &str) -> Stream {
    Stream::new(category, id).unwrap()
}

/// A stream that all tasks of all processes write.
fn shared(number: u32) -> Stream {
    named("shared", &format!("shared-{}", number % 4))
}

/// The stream whose versions all tasks race for.
fn race() -> Stream {
    named("shared", "race")
}
