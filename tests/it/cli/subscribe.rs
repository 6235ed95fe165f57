//! Following the log in a terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Annals, Run};

#[test]
fn what_is_there_is_printed_and_then_what_other_processes_append() {
    let annals = Annals::new();
    annals.put("order-1", "Placed", "1");
    let args = ["subscribe", "--beginning", "--limit", "3", "--json"];
    let mut child = annals.command(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["data"], 1);
    for number in 2..=3 {
        annals.put("order-1", "Placed", &number.to_string());
        assert_eq!(next()["data"], number);
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn filters_hold_for_what_is_there_and_for_what_comes() {
    let annals = Annals::new();
    annals.put("order-1", "Placed", "1");
    annals.put("invoice-1", "Placed", "2");
    annals.put("order-2", "Paid", "3");
    annals.put("order-3", "Placed", "4");
    let data = |args: &[&str]| {
        let all = ["subscribe", "--beginning", "--until-now"].iter().chain(args).copied();
        annals.json(all).into_iter().map(|event| event["data"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(data(&[]), [1, 2, 3, 4]);
    assert_eq!(data(&["--prefix", "order-", "--type", "Placed"]), [1, 4]);
    assert_eq!(data(&["--stream", "order-2"]), [3]);
    assert_eq!(data(&["--aggregate-type", "order", "--type", "Paid", "--type", "Placed"]), [1, 2, 3, 4]);
    assert_eq!(data(&["--tag", "none"]), Vec::<Value>::new());
}

#[test]
fn a_checkpoint_is_where_the_next_run_goes_on() {
    let annals = Annals::new();
    for number in 1..=3 {
        annals.put("order-1", "Placed", &number.to_string());
    }
    let first = annals.json(["subscribe", "--beginning", "--limit", "2", "--checkpoints"]);
    let checkpoint = first[2]["checkpoint"].as_str().unwrap().to_owned();
    let second = annals.json(["subscribe", "--checkpoint", &checkpoint, "--until-now"]);
    assert_eq!(second.iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), [3]);
    annals.ok(["reincarnate"]);
    let refused = annals.run(["subscribe", "--checkpoint", &checkpoint, "--until-now"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("it was restored or made anew"), "{refused:?}");
    let refused = annals.run(["subscribe", "--checkpoint", "no text of ours"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn a_new_incarnation_is_shown() {
    let annals = Annals::new();
    let made = annals.json(["reincarnate"]).remove(0);
    assert_eq!(made["topic"], json!("default"));
    assert_eq!(annals.json(["topic", "list"]).remove(0)["incarnation"], made["incarnation"]);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_ends_it() {
    let annals = Annals::new();
    for number in 1..=50 {
        annals.put("order-1", "Placed", &number.to_string());
    }
    let mut child = annals.command(["subscribe", "--beginning"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    annals.put("order-1", "Placed", "51");
    let run = Run::of(child);
    assert_eq!(run.err, "", "{run:?}");
}
