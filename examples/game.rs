//! Noughts and crosses: replay, audit trail, analytics, time travel, and the recovery of every unfinished game after the
//! program that played them was killed.
//!
//! `cargo run --example game` plays in a temporary file, and is its own victim.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command as Program, Stdio};

use annals::{ActorType, Aggregate, Query, Store, StreamFilter, TypedEvent, Version};
use serde::{Deserialize, Serialize};

/// Tells the victim which database to play in.
const DATABASE: &str = "ANNALS_GAME_DATABASE";

const LINES: [[usize; 3]; 8] = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Mark {
    Cross,
    Nought,
}

#[derive(Debug, Default, PartialEq)]
struct Game {
    board: [Option<Mark>; 9],
    moves: usize,
    over: bool,
}

/// Marks a cell, 0 to 8, for whoever's turn it is.
struct Play(usize);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Marked { cell: usize, mark: Mark },
    Won { by: Mark },
    Drawn,
}

impl TypedEvent for Event {}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Foul {
    #[error("cell {0} can't be marked")]
    Cell(usize),
    #[error("the game is over")]
    Over,
}

impl Game {
    fn turn(&self) -> Mark {
        if self.moves.is_multiple_of(2) { Mark::Cross } else { Mark::Nought }
    }

    fn free(&self) -> Vec<usize> {
        (0..9).filter(|cell| self.board[*cell].is_none()).collect()
    }

    /// Whether marking a cell completes a line.
    fn wins(&self, cell: usize) -> bool {
        let mine = |other: &usize| *other == cell || self.board[*other] == Some(self.turn());
        LINES.iter().any(|line| line.contains(&cell) && line.iter().all(mine))
    }
}

impl Aggregate for Game {
    const TYPE: &'static str = "game";
    type Command = Play;
    type Event = Event;
    type Error = Foul;

    fn decide(&self, &Play(cell): &Play) -> Result<Vec<Event>, Foul> {
        if self.over {
            return Err(Foul::Over);
        }
        if !self.free().contains(&cell) {
            return Err(Foul::Cell(cell));
        }
        let mark = self.turn();
        let mut events = vec![Event::Marked { cell, mark }];
        if self.wins(cell) {
            events.push(Event::Won { by: mark });
        } else if self.moves == 8 {
            events.push(Event::Drawn);
        }
        Ok(events)
    }

    fn evolve(&mut self, event: Event) {
        match event {
            Event::Marked { cell, mark } => {
                self.board[cell] = Some(mark);
                self.moves += 1;
            }
            Event::Won { .. } | Event::Drawn => self.over = true,
        }
    }
}

/// Makes a move that depends on the game alone, and returns the version that it led to.
async fn play(store: &Store, id: &str, player: &str) -> Result<(Version, bool), Box<dyn Error>> {
    let free = store.load::<Game>(id).await?.state.free();
    let cell = free[id.len() * 7 % free.len()];
    let done = store.execute::<Game>(id, Play(cell)).actor(player, ActorType::User).await?;
    Ok((done.version, done.state.over))
}

/// Plays three games at a time, on and on, and says what was stored; until it is killed.
async fn play_until_killed(url: &str) -> Result<(), Box<dyn Error>> {
    let store = Store::connect(url).await?;
    let say = |id: &str, version: Version| writeln!(std::io::stdout(), "stored {id} {version}");
    let (version, _) = play(&store, "adjourned", "ada").await?;
    say("adjourned", version)?;
    for round in 0.. {
        let mut open: Vec<String> =
            (0..3).map(|number| format!("{}game-{round}-{number}", "x".repeat(number))).collect();
        while let Some(id) = open.pop() {
            let (version, over) = play(&store, &id, "ada").await?;
            say(&id, version)?;
            if !over {
                open.insert(0, id);
            }
        }
    }
    Ok(())
}

/// Runs this program once more, kills it in the middle of its games, and returns what it said was stored.
fn kill_in_the_middle(url: &str) -> Result<HashMap<String, i64>, Box<dyn Error>> {
    let mut program = Program::new(std::env::current_exe()?);
    program.args(std::env::args().skip(1)).env(DATABASE, url).stdout(Stdio::piped());
    let mut victim = program.spawn()?;
    let (mut moves, mut stored) = (0, HashMap::new());
    for line in BufReader::new(victim.stdout.take().ok_or("no output")?).lines() {
        let line = line?;
        let Some((id, version)) = line.strip_prefix("stored ").and_then(|rest| rest.split_once(' ')) else { continue };
        stored.insert(id.to_owned(), version.parse()?);
        moves += 1;
        if moves == 50 {
            victim.kill()?; // What it said before it died is read to the end.
        }
    }
    victim.wait()?;
    assert!(moves >= 50, "the victim gave up after {moves} moves");
    Ok(stored)
}

/// Returns the ids of all games, or of those that are not over.
async fn games(store: &Store, unfinished: bool) -> Result<Vec<String>, Box<dyn Error>> {
    let mut ids = Vec::new();
    let filter = StreamFilter { aggregate_type: Some(Game::TYPE.to_owned()), limit: 1_000, ..StreamFilter::default() };
    for stream in store.streams(&filter).await? {
        if !unfinished || !store.load::<Game>(&stream.aggregate_id).await?.state.over {
            ids.push(stream.aggregate_id);
        }
    }
    Ok(ids)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(url) = std::env::var(DATABASE) {
        return play_until_killed(&url).await;
    }
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}?migrate=auto", folder.path().join("games.db").display());
    Store::connect(&url).await?.close().await;
    let stored = kill_in_the_middle(&url)?;

    // Recovery: what was acknowledged is there, and every unfinished game goes on.
    let store = Store::connect(&url).await?;
    for (id, version) in &stored {
        assert!(store.version(id).await?.get() >= *version, "{id} lost a move");
    }
    let (all, open) = (games(&store, false).await?, games(&store, true).await?);
    println!("killed after {} games; {} of them are unfinished", all.len(), open.len());
    assert!(open.iter().any(|id| id == "adjourned"));
    for id in &open {
        while !play(&store, id, "bob").await?.1 {}
    }
    assert_eq!(games(&store, true).await?, [""; 0]);

    // Replay: the state is what its events make it.
    let mut replayed = Game::default();
    for event in store.read_stream("adjourned").await? {
        replayed.evolve(Event::decode(&event)?.ok_or("not an event of a game")?);
    }
    assert_eq!(replayed, store.load::<Game>("adjourned").await?.state);

    // The audit trail: who did what, and when.
    for event in store.read_stream("adjourned").await? {
        let (time, actor) = (event.event_timestamp.time(), event.actor.unwrap_or_default());
        println!("{time} {actor}: {} {}", event.event_type, event.payload.as_json().map_or("", |data| data.as_str()));
    }
    let by_bob = store.query(Query::stream("adjourned").actor("bob")?).await?;
    assert_eq!(by_bob.first().map(|event| event.aggregate_version.get()), Some(2));

    // Analytics by type: each game has one end.
    let counts = store.statistics().await?;
    let of = |wanted: &str| counts.iter().find(|count| count.event_type == wanted).map_or(0, |count| count.events);
    println!("{} moves, {} games won, {} drawn", of("Marked"), of("Won"), of("Drawn"));
    assert_eq!(of("Won") + of("Drawn"), i64::try_from(all.len())?);

    // Time travel: the first version at which the next move could end the game.
    let newest = store.load::<Game>("adjourned").await?.version;
    let mut at = Version::new(1);
    let then = loop {
        let then = store.load_as_of::<Game>("adjourned", at).await?.state;
        if then.over || then.free().into_iter().any(|cell| then.wins(cell)) {
            break then;
        }
        at = at.next();
    };
    println!("after event {at} of {newest}, {:?} could win", then.turn());
    assert!(at < newest);
    store.close().await;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().unwrap();
}
