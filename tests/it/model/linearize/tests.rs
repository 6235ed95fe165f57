//! Histories written by hand, whose explanation a person can see.

use super::super::words::{Ask, Commit, EVERYTHING, Event, Expect, Named, New, Part};
use super::*;

const A: Named = Named { id: "a", category: "order" };

fn placed(data: u16) -> New {
    New { event_type: "Placed", tags: Vec::new(), id: None, data }
}

/// Appends an event to the stream `a`.
fn append(expected: Expect, data: u16) -> Op {
    let part = Part { stream: A, expected, events: vec![placed(data)] };
    Op::Commit(Commit { parts: vec![part], condition: None, command: None })
}

/// The same, as a command.
fn command(id: u8, data: u16) -> Op {
    let part = Part { stream: A, expected: Expect::Any, events: vec![placed(data)] };
    Op::Commit(Commit { parts: vec![part], condition: None, command: Some(id) })
}

/// The only event of a request landed at a position, in a log of one stream.
fn landed(position: i64) -> Answer {
    Answer::Appended { positions: Some((position, position)), versions: vec![("a", position)], duplicate: false }
}

/// The log, up to some events of the stream `a`.
fn log(data: &[u16], head: i64) -> Answer {
    let event = |(position, data): (i64, &u16)| Event {
        position,
        stream: A,
        version: position,
        event_type: "Placed",
        tags: Vec::new(),
        id: None,
        data: Some(*data),
    };
    Answer::Page { events: (1..).zip(data).map(event).collect(), head, scanned: Some(head) }
}

fn conflict(actual: i64) -> Answer {
    let actual = annals::Version::new(actual);
    let error = annals::Error::Conflict { stream: "a".to_owned(), expected: annals::Expected::NoStream, actual };
    super::super::client::refusal(&error)
}

fn unknown() -> Answer {
    Answer::Unknown("the connection was lost".to_owned())
}

/// A history, each call with its client, and when it was invoked and answered.
fn history(calls: impl IntoIterator<Item = (usize, u64, u64, Op, Answer)>) -> Vec<Call> {
    let call = |(client, invoked, returned, op, answer)| Call { client, step: 0, op, answer, invoked, returned };
    calls.into_iter().map(call).collect()
}

fn is_explained(calls: impl IntoIterator<Item = (usize, u64, u64, Op, Answer)>) -> bool {
    explain(&history(calls)).is_ok()
}

#[test]
fn calls_one_after_the_other_are_explained_by_their_own_order() {
    let calls = history([
        (0, 1, 2, append(Expect::NoStream, 1), landed(1)),
        (0, 3, 4, append(Expect::NoStream, 2), conflict(1)),
        (1, 5, 6, Op::Page(EVERYTHING), log(&[1], 1)),
    ]);
    assert_eq!(explain(&calls).unwrap(), [0, 1, 2]);
}

#[test]
fn calls_at_once_may_take_effect_in_either_order() {
    for (first, second) in [(1, 2), (2, 1)] {
        assert!(is_explained([
            (0, 1, 10, append(Expect::Any, 7), landed(first)),
            (1, 2, 9, append(Expect::Any, 8), landed(second)),
        ]));
    }
}

#[test]
fn a_read_during_a_write_may_see_it_or_not() {
    for version in [0, 1] {
        assert!(is_explained([
            (0, 1, 4, append(Expect::Any, 1), landed(1)),
            (1, 2, 3, Op::Version("a"), Answer::Number(version)),
        ]));
    }
}

#[test]
fn a_stale_read_after_a_write_was_answered_is_not_explained() {
    assert!(!is_explained([
        (0, 1, 2, append(Expect::Any, 1), landed(1)),
        (1, 3, 4, Op::Version("a"), Answer::Number(0)),
    ]));
}

#[test]
fn a_read_that_goes_back_behind_another_is_not_explained() {
    assert!(!is_explained([
        (0, 1, 10, append(Expect::Any, 1), landed(1)),
        (1, 2, 3, Op::Head, Answer::Number(1)),
        (2, 4, 5, Op::Head, Answer::Number(0)),
    ]));
}

#[test]
fn a_read_from_the_future_is_not_explained() {
    assert!(!is_explained([
        (1, 1, 2, Op::Version("a"), Answer::Number(1)),
        (0, 3, 4, append(Expect::Any, 1), landed(1)),
    ]));
}

#[test]
fn two_winners_of_one_version_are_not_explained() {
    assert!(!is_explained([
        (0, 1, 10, append(Expect::NoStream, 1), landed(1)),
        (1, 2, 9, append(Expect::NoStream, 2), landed(2)),
    ]));
    assert!(is_explained([
        (0, 1, 10, append(Expect::NoStream, 1), landed(1)),
        (1, 2, 9, append(Expect::NoStream, 2), conflict(1)),
    ]));
}

#[test]
fn two_losers_of_one_version_are_not_explained() {
    assert!(!is_explained([
        (0, 1, 10, append(Expect::NoStream, 1), conflict(1)),
        (1, 2, 9, append(Expect::NoStream, 2), conflict(1)),
    ]));
}

#[test]
fn a_lost_update_is_not_explained() {
    assert!(!is_explained([
        (0, 1, 2, append(Expect::Any, 1), landed(1)),
        (1, 3, 4, append(Expect::Any, 2), landed(1)),
        (0, 5, 6, Op::Page(EVERYTHING), log(&[2], 1)),
    ]));
}

#[test]
fn a_page_whose_head_and_events_are_of_different_times_is_not_explained() {
    for (events, head, explained) in [(&[1][..], 1, true), (&[1, 2], 2, true), (&[1], 2, false), (&[1, 2], 1, false)] {
        let calls = [
            (0, 1, 2, append(Expect::Any, 1), landed(1)),
            (0, 3, 6, append(Expect::Any, 2), landed(2)),
            (1, 4, 5, Op::Page(Ask { after: None, ..EVERYTHING }), log(events, head)),
        ];
        assert_eq!(is_explained(calls), explained, "{events:?} with the head {head}");
    }
}

#[test]
fn a_command_that_is_carried_out_twice_is_not_explained() {
    let duplicate = |position| match landed(position) {
        Answer::Appended { positions, versions, .. } => Answer::Appended { positions, versions, duplicate: true },
        other => other,
    };
    for (second, explained) in [(duplicate(1), true), (landed(2), false), (landed(1), false)] {
        let calls = [(0, 1, 3, command(0, 1), landed(1)), (1, 2, 4, command(0, 1), second)];
        assert_eq!(is_explained(calls), explained);
    }
}

#[test]
fn a_call_without_an_answer_may_have_taken_effect_later_or_not_at_all() {
    for versions in [[0, 0], [0, 1], [1, 1]] {
        let [first, second] = versions.map(Answer::Number);
        assert!(is_explained([
            (0, 1, 2, append(Expect::Any, 1), unknown()),
            (1, 3, 4, Op::Version("a"), first),
            (1, 5, 6, Op::Version("a"), second),
        ]));
    }
    assert!(!is_explained([
        (0, 1, 2, append(Expect::Any, 1), unknown()),
        (1, 3, 4, Op::Version("a"), Answer::Number(1)),
        (1, 5, 6, Op::Version("a"), Answer::Number(0)),
    ]));
    assert!(!is_explained([
        (1, 1, 2, Op::Version("a"), Answer::Number(1)),
        (0, 3, 4, append(Expect::Any, 1), unknown()),
    ]));
}

#[test]
fn the_smallest_part_holds_what_contradicts_and_what_that_rests_on() {
    let calls = history([
        (0, 1, 2, Op::Head, Answer::Number(0)),
        (0, 3, 4, append(Expect::Any, 1), landed(1)),
        (2, 5, 20, append(Expect::Any, 2), landed(2)),
        (1, 6, 7, Op::Version("a"), Answer::Number(0)),
        (1, 8, 9, Op::Count("b"), Answer::Number(0)),
        (0, 21, 22, Op::Page(EVERYTHING), log(&[1, 2], 2)),
    ]);
    let part = smallest(&calls);
    let kept: Vec<_> = part.iter().map(|call| call.invoked).collect();
    assert_eq!(kept, [3, 5, 6]);
    assert!(matches!(part[1].answer, Answer::Unknown(_)), "what was not answered yet is left open");
    let stuck = explain(&part).unwrap_err();
    assert!(stuck.tell(&part).contains("the call of 6 would be answered"), "{}", stuck.tell(&part));
    assert!(Table(&part).to_string().contains("version of a → 0"), "{}", Table(&part));
}

#[test]
fn many_calls_at_once_are_explained_in_time() {
    let writes = (0..60).map(|n: u16| (usize::from(n), 1, 1_000, append(Expect::Any, n), landed(60 - i64::from(n))));
    let reads = (0..60).map(|n: u16| (60 + usize::from(n), 1, 1_000, Op::Version("a"), Answer::Number(n.into())));
    assert!(is_explained(writes.chain(reads)));
}
