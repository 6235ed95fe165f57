//! Where scripts are played: a lane of its own for each, in one database.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use annals::testing::FreshDatabase;
use annals::{Config, Store};
use tokio::sync::Barrier;

use super::client::{Memory, ask};
use super::linearize::Call;
use super::scripts::{Script, Step};
use super::words::{Answer, EVERYTHING, IDS, Op, STREAMS};
use crate::saboteurs::{Fault, Hidden, sabotage};

/// How often a client that gives up lets others go on before it does.
const PATIENCE: usize = 3;

/// A database with several stores, as several processes have them.
pub struct Arena {
    database: FreshDatabase,
    opened: Vec<Store>,
    fault: Option<Fault>,
    played: AtomicUsize,
}

impl Arena {
    /// Opens a fresh database; one with a fault, if one is given.
    pub async fn open(url: &str, stores: usize, fault: Option<Fault>) -> Self {
        let database = FreshDatabase::new(url).unwrap();
        let mut opened = Vec::new();
        for _ in 0..stores {
            opened.push(database.store().await.unwrap());
        }
        Self { database, opened, fault, played: AtomicUsize::new(0) }
    }

    /// Returns how many scripts were played.
    pub fn played(&self) -> usize {
        self.played.load(Ordering::Relaxed)
    }

    pub async fn remove(self) {
        for store in &self.opened {
            store.close().await;
        }
        self.database.remove().await.unwrap();
    }

    /// Opens stores on a new lane.
    async fn stores(&self, count: usize) -> Vec<Store> {
        let topic = format!("played-{}", self.played.fetch_add(1, Ordering::Relaxed));
        self.opened[0].backend().create_topic(&topic, 1).await.unwrap();
        let config = "sqlite:of-which-only-the-topic-counts".parse::<Config>().unwrap().with_topic(&topic).unwrap();
        let hidden = Hidden::default();
        let mut stores = Vec::new();
        for (number, opened) in self.opened[..count].iter().enumerate() {
            let backend = match self.fault {
                None => Arc::clone(opened.backend()),
                Some(fault) => sabotage(Arc::clone(opened.backend()), fault, number, &hidden),
            };
            stores.push(Store::with_backend(backend, &config).await.unwrap());
        }
        stores
    }

    /// Plays a script and returns its history: what all of its clients, at once, and at last one that looks at
    /// everything asked and were answered.
    pub async fn play(&self, script: &Script) -> Vec<Call> {
        let stores = self.stores(script.stores).await;
        let (clock, start) = (Arc::new(AtomicU64::new(1)), Arc::new(Barrier::new(script.clients.len())));
        let clients = script.clients.iter().enumerate().map(|(client, steps)| {
            let (clock, start, store) = (Arc::clone(&clock), Arc::clone(&start), stores[client % stores.len()].clone());
            let steps = steps.clone();
            tokio::spawn(async move {
                start.wait().await;
                play(client, &store, &clock, &steps).await
            })
        });
        let clients: Vec<_> = clients.collect();
        let mut history = Vec::new();
        for client in clients {
            history.extend(client.await.unwrap());
        }
        for store in &stores {
            history.extend(play(script.clients.len(), store, &clock, &look_at_everything()).await);
        }
        history
    }
}

/// A file in the build's folder. Whether it is flushed does not change what is answered.
pub fn sqlite_file() -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    format!("sqlite:{}/model.db?durability=off", folder.display())
}

/// Plays a client's steps, and notes when each request was made and answered.
async fn play(client: usize, store: &Store, clock: &AtomicU64, steps: &[Step]) -> Vec<Call> {
    let (mut memory, mut calls) = (Memory::default(), Vec::new());
    for (number, step) in steps.iter().enumerate() {
        let op = memory.decide(&step.op);
        let invoked = clock.fetch_add(1, Ordering::SeqCst);
        let answer = tokio::select! {
            biased;
            answer = ask(store, &op) => answer,
            () = patience(), if step.gives_up => Answer::Unknown("given up".to_owned()),
        };
        let returned = clock.fetch_add(1, Ordering::SeqCst);
        memory.learn(&op, &answer);
        calls.push(Call { client, step: number, op, answer, invoked, returned });
    }
    calls
}

async fn patience() {
    for _ in 0..PATIENCE {
        tokio::task::yield_now().await;
    }
}

fn look_at_everything() -> Vec<Step> {
    let mut ops = vec![Op::Page(EVERYTHING), Op::Streams { deleted: true }];
    ops.extend(STREAMS.map(Op::Info));
    ops.extend(STREAMS.map(|stream| Op::ReadStream { stream, from: 1, backward: false }));
    ops.extend((0..IDS).map(Op::Command));
    ops.extend((0..IDS).map(Op::Event));
    ops.into_iter().map(|op| Step { op, gives_up: false }).collect()
}
