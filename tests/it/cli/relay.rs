//! `annals relay`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Annals, Run};

const STDOUT: [&str; 5] = ["relay", "--name", "out", "--to", "stdout"];

/// Stores enough events to fill every buffer between two processes.
fn fill(annals: &Annals, count: usize) {
    let line = |n| format!("{{\"aggregate_id\":\"s\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":{n}}}\n");
    let lines: String = (0..count).map(line).collect();
    assert_eq!(annals.feed(["import", "-", "--name", "many"], &lines).code, 0);
}

fn caught_up(annals: &Annals) -> Vec<Value> {
    let run = annals.run(STDOUT.into_iter().chain(["--until-caught-up"]));
    assert_eq!(run.code, 0, "{run:?}");
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for an end.
#[track_caller]
fn ended(mut child: Child) -> Run {
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline || child.kill().is_err(), "it did not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    Run::of(child)
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn events_are_printed_once_as_cloud_events_a_line_each() {
    let annals = Annals::new();
    annals.put("order-1", "OrderPlaced", "{\n\"total\":  0.10}");
    annals.put("order-1", "OrderPaid", "2");
    let run = annals.run(STDOUT.into_iter().chain(["--until-caught-up"]));
    assert_eq!(run.code, 0, "{run:?}");
    let (first, rest) = run.out.split_once('\n').unwrap();
    assert!(
        first.starts_with("{\"specversion\":\"1.0\",") && first.ends_with("\"data\":{ \"total\":  0.10}}"),
        "{first}"
    );
    assert_eq!(rest.lines().count(), 1);
    let told: Vec<&str> = run.err.lines().collect();
    assert_eq!(
        told,
        [
            "relay out: started",
            "relay out: all that was there is published",
            "relay out: 2 events published, 0 skipped"
        ]
    );
    annals.put("order-1", "OrderShipped", "3");
    let events = caught_up(&annals);
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["type"], &events[0]["source"]), (&"OrderShipped".into(), &"/annals/default".into()));
    let lines = annals.run(["--json", "relay", "--name", "out", "--to", "stdout", "--until-caught-up"]).err;
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told[2], serde_json::json!({"relay": "out", "state": "ended", "published": 0, "skipped": 0}));
}

#[test]
fn filters_and_starts_choose_and_a_name_keeps_its_filter() {
    let annals = Annals::new();
    for (event_type, data) in [("A", "{\"n\":1}"), ("B", "{\"n\":2}"), ("A", "{\"n\":3}")] {
        annals.put("s", event_type, data);
    }
    let printed = |name: &str, args: &[&str]| {
        let run = annals.run(["relay", "--name", name, "--to", "stdout", "--until-caught-up"].iter().chain(args));
        assert_eq!(run.code, 0, "{run:?}");
        run.out.lines().count()
    };
    assert_eq!(printed("a", &["--type", "A"]), 2);
    assert_eq!(printed("b", &["--after", "1"]), 2);
    assert_eq!(printed("c", &["--now"]), 0);
    assert_eq!(printed("d", &["--from", "2999-01-01"]), 0);
    assert_eq!(printed("e", &["--where", "data.n=3"]), 1);
    annals.run(["relay", "--name", "a", "--to", "stdout", "--until-caught-up"]).fails(3, "another filter");
}

#[test]
fn a_pipe_that_closes_ends_the_relay_quietly_and_the_rest_comes_the_next_time() {
    let annals = Annals::new();
    fill(&annals, 3_000);
    let mut child = annals.command(STDOUT).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..200 {
        lines.next().unwrap().unwrap();
    }
    drop(lines);
    let run = ended(child);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!run.err.contains("error"), "{run:?}");
    let rest = caught_up(&annals);
    let positions: Vec<usize> = rest.iter().map(|event| event["position"].as_str().unwrap().parse().unwrap()).collect();
    assert!((100..2_500).contains(&positions[0]), "it goes on at {}", positions[0]);
    assert_eq!(positions, (positions[0]..=3_000).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_where_the_relay_stands_and_gives_its_place_to_another() {
    let annals = Annals::new();
    fill(&annals, 10);
    let mut first = annals.command(STDOUT).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    for _ in 0..10 {
        lines.next().unwrap().unwrap();
    }
    let mut second = annals.command(STDOUT).spawn().unwrap();
    let mut told = String::new();
    let mut errors = BufReader::new(second.stderr.take().unwrap());
    errors.read_line(&mut told).unwrap();
    assert!(told.contains("waiting until it ends"), "{told}");
    let asked = Instant::now();
    interrupt(&first);
    ended(first).fails(130, "what was confirmed is saved");
    assert_eq!(lines.count(), 0);
    annals.put("other", "A", "11");
    let mut line = String::new();
    BufReader::new(second.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"position\":\"11\""), "{line}");
    assert!(asked.elapsed() < Duration::from_secs(8), "the lease was not given back, it ended");
    interrupt(&second);
    assert_eq!(ended(second).code, 130);
    errors.read_to_string(&mut told).unwrap();
    assert!(told.contains("1 event published"), "{told}");
    assert_eq!(caught_up(&annals), [0; 0]);
}

#[test]
fn wrong_arguments_are_refused_without_showing_a_secret() {
    let annals = Annals::new();
    let run = |args: &[&str]| annals.run(["relay", "--name", "r"].iter().chain(args));
    run(&[]).fails(2, "--to");
    run(&["--to", "kafka://u:s3cret@h"]).fails(2, "write nats://");
    run(&["--to", "stdout", "--subject", "a"]).fails(2, "--subject means nothing to stdout");
    run(&["--to", "stdout", "--source", "a b"]).fails(2, "no uri");
    run(&["--to", "stdout", "--schema", "https://h/{colour}"]).fails(2, "{colour} is not one of");
    run(&["--to", "stdout", "--now", "--after", "1"]).fails(2, "cannot be used");
    annals.run(["relay", "--name", " ", "--to", "stdout"]).fails(2, "subscription");
    #[cfg(feature = "nats")]
    {
        run(&["--to", "nats://u:s3cret@h:port"]).fails(2, "url of nats");
        run(&["--to", "nats://h", "--subject", "a.*"]).fails(2, "wildcard");
        run(&["--to", "nats://127.0.0.1:1", "--creds", "absent"]).fails(2, "absent");
        let away = ["--to", "nats://u:s3cret@127.0.0.1:1", "--give-up-after", "0"];
        annals.put("s", "A", "1");
        run(&away).fails(5, "nats at 127.0.0.1:1: can't connect");
        assert!(!run(&away).err.contains("s3cret"));
    }
    #[cfg(feature = "webhook")]
    {
        run(&["--to", "https://h", "--secret-env", "ANNALS_ABSENT"]).fails(2, "ANNALS_ABSENT is not set");
        let mut command = annals.command(["relay", "--name", "r", "--to", "https://h", "--secret-env", "SIGN"]);
        let run = Run::of(command.env("SIGN", "s3cret").spawn().unwrap());
        run.fails(2, "write whsec_");
        assert!(!run.err.contains("s3cret"), "{run:?}");
    }
}
