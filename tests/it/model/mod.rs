//! The model check: random histories of requests against a model of a lane, [`lane::Lane`], which is written from the
//! contract and not from the code.
//!
//! A script of one client is compared answer by answer. Several clients at once, on one or two stores, are answered as
//! if in some serial order ([`linearize`]), which is looked for. What fails is made smaller and printed as a table.

mod arena;
mod broken;
mod check;
mod client;
mod lane;
mod linearize;
mod scripts;
mod show;
mod smaller;
mod words;

use proptest::strategy::{Just, Strategy};
use tokio::runtime::{Builder, Runtime};

use arena::{Arena, sqlite_file};
use check::{Cases, find_failure};
use scripts::{Script, Step, of_one_client, of_several_clients};
use words::{CATEGORIES, Change, Commit, Expect, Named, New, Op, Part, STREAMS, TYPES};

/// How many scripts are played at most to make a failure smaller.
const SHRINKING: usize = 5_000;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Plays scripts on a database of an engine, and fails with the smallest that can't be explained.
fn all_are_explained(url: &str, stores: usize, scripts: &impl Strategy<Value = Script>, count: u64) {
    let runtime = runtime();
    let arena = runtime.block_on(Arena::open(url, stores, None));
    let failure = find_failure(&arena, scripts, Cases::of_environment(count), SHRINKING);
    if let Some(failure) = runtime.block_on(failure) {
        panic!("{failure}");
    }
    println!("{} histories were explained", arena.played());
    runtime.block_on(arena.remove());
}

#[test]
fn one_client_of_sqlite_in_memory_is_answered_as_by_the_model() {
    all_are_explained("sqlite::memory:", 1, &of_one_client(), 150);
}

#[test]
fn one_client_of_a_sqlite_file_is_answered_as_by_the_model() {
    all_are_explained(&sqlite_file(), 1, &of_one_client(), 150);
}

#[test]
fn clients_of_sqlite_in_memory_are_answered_in_some_serial_order() {
    all_are_explained("sqlite::memory:", 1, &of_several_clients(1), 150);
}

#[test]
fn clients_of_two_stores_of_a_sqlite_file_are_answered_in_some_serial_order() {
    all_are_explained(&sqlite_file(), 2, &of_several_clients(2), 150);
}

#[cfg(feature = "postgres")]
#[test]
fn one_client_of_postgres_is_answered_as_by_the_model() {
    let Some(url) = crate::support::server("postgres") else { return };
    all_are_explained(&url, 1, &of_one_client(), 80);
}

#[cfg(feature = "postgres")]
#[test]
fn clients_of_two_stores_of_postgres_are_answered_in_some_serial_order() {
    let Some(url) = crate::support::server("postgres") else { return };
    all_are_explained(&url, 2, &of_several_clients(2), 80);
}

/// Found by the check: events that came after a read had looked at the stream's life.
#[test]
fn a_read_as_of_a_version_that_is_still_to_come_shows_one_moment() {
    let stream = Named { id: STREAMS[0], category: CATEGORIES[0] };
    let event = New { event_type: TYPES[0], tags: Vec::new(), id: None, data: 1 };
    let part = Part { stream, expected: Expect::Any, events: vec![event] };
    let append = Op::Commit(Commit { parts: vec![part], condition: None, command: None });
    let delete = Op::Live { change: Change::Delete, stream, expected: Expect::Any };
    let read = Op::AsOf { stream: stream.id, version: 9 };
    let step = |op| Step { op, gives_up: false };
    let clients = vec![vec![append, delete], vec![read.clone(); 8], vec![read; 8]];
    let clients = clients.into_iter().map(|ops| ops.into_iter().map(step).collect()).collect();
    all_are_explained(&sqlite_file(), 2, &Just(Script { stores: 2, clients }), 100);
}
