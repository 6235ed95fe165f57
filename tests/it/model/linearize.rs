//! Whether there is a serial order that explains what concurrent clients were answered.
//!
//! A history is linearizable if its calls can be put in an order in which each call takes effect between its invocation
//! and its answer, and in which the model, asked one call after the other, gives exactly the recorded answers. A call
//! without a certain answer may have taken effect at any time after its invocation, or not at all. The search is that
//! of Wing and Gong, which tries what may come next, with the memory that Lowe added: a set of calls that are done and
//! the state that they led to are looked at once.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;

use super::lane::Lane;
use super::words::{Answer, Op};

/// A call of a client. Invocations and answers of all clients are numbered together, in the order of real time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub client: usize,
    /// Which of its client's requests it is.
    pub step: usize,
    pub op: Op,
    pub answer: Answer,
    pub invoked: u64,
    pub returned: u64,
}

impl Call {
    fn is_certain(&self) -> bool {
        !matches!(self.answer, Answer::Unknown(_))
    }

    /// Returns whether the rest of a history can be explained without this call if the whole of it can: it changed
    /// nothing.
    fn is_needless(&self) -> bool {
        match &self.answer {
            Answer::Appended { duplicate, .. } => *duplicate || !self.op.writes(),
            Answer::Unknown(_) => !self.op.writes(),
            _ => true,
        }
    }
}

/// How far the search came: the longest serial order, and what the model answers to each call that could come next.
#[derive(Debug, Clone, Default)]
pub struct Stuck {
    order: Vec<usize>,
    next: Vec<(usize, Answer)>,
}

/// Finds a serial order of a history's calls, as their indexes.
///
/// # Errors
/// How far the search came, where there is none.
pub fn explain(calls: &[Call]) -> Result<Vec<usize>, Stuck> {
    assert!(calls.len() <= 128, "a set of calls is a number of 128 bits");
    let certain = calls.iter().enumerate().filter(|(_, call)| call.is_certain());
    let wanted = certain.fold(0, |set, (index, _)| set | 1 << index);
    let mut search = Search { calls, wanted, seen: HashSet::new(), order: Vec::new(), stuck: Stuck::default() };
    if search.go_on(0, &Lane::default()) { Ok(search.order) } else { Err(search.stuck) }
}

struct Search<'a> {
    calls: &'a [Call],
    /// The calls that have to be explained, a bit each.
    wanted: u128,
    seen: HashSet<(u128, Lane)>,
    order: Vec<usize>,
    stuck: Stuck,
}

impl Search<'_> {
    /// Puts the calls that are left into an order after those that are done.
    fn go_on(&mut self, done: u128, lane: &Lane) -> bool {
        if done & self.wanted == self.wanted {
            return true;
        }
        if !self.seen.insert((done, lane.clone())) {
            return false;
        }
        let (mut fitting, mut contradicted) = (Vec::new(), Vec::new());
        for index in self.candidates(done) {
            let call = &self.calls[index];
            let mut after = lane.clone();
            let answer = after.apply(&call.op);
            if call.is_certain() && answer != call.answer {
                contradicted.push((index, answer));
            } else if after != *lane {
                fitting.push((index, after));
            } else if call.is_certain() {
                // What fits and changes nothing can come first in any order that there is: no other need be tried.
                fitting = vec![(index, after)];
                contradicted.clear();
                break;
            }
        }
        if self.order.len() >= self.stuck.order.len() && !contradicted.is_empty() {
            self.stuck = Stuck { order: self.order.clone(), next: contradicted };
        }
        fitting.into_iter().any(|(index, after)| {
            self.order.push(index);
            let explained = self.go_on(done | 1 << index, &after);
            if !explained {
                self.order.pop();
            }
            explained
        })
    }

    /// Returns the calls that may take effect next: those that were invoked before any other was answered.
    fn candidates(&self, done: u128) -> Vec<usize> {
        let left = || self.calls.iter().enumerate().filter(|(index, _)| done & 1 << index == 0);
        let certain = left().filter(|(_, call)| call.is_certain());
        let first_answer = certain.map(|(_, call)| call.returned).min().unwrap_or(u64::MAX);
        left().filter(|(_, call)| call.invoked < first_answer).map(|(index, _)| index).collect()
    }
}

/// Returns the smallest part of a history, as far as it is known how to get there, that can't be explained either.
///
/// It is a prefix, in which what is not answered yet is left open, without calls that changed nothing. Both leave a
/// history that can be explained if the whole one can.
pub fn smallest(calls: &[Call]) -> Vec<Call> {
    let mut answers: Vec<u64> = calls.iter().map(|call| call.returned).collect();
    answers.sort_unstable();
    let prefix = |end: u64| -> Vec<Call> {
        let begun = calls.iter().filter(|call| call.invoked < end).cloned();
        begun.map(|call| if call.returned > end { unanswered(call) } else { call }).collect()
    };
    let mut left = answers.into_iter().map(prefix).find(|calls| explain(calls).is_err()).unwrap_or_default();
    let mut index = 0;
    while index < left.len() {
        let mut without = left.clone();
        let call = without.remove(index);
        if call.is_needless() && explain(&without).is_err() {
            left = without;
        } else {
            index += 1;
        }
    }
    left
}

fn unanswered(call: Call) -> Call {
    Call { answer: Answer::Unknown("not answered yet".to_owned()), ..call }
}

/// A history as a table, in the order of the invocations.
pub struct Table<'a>(pub &'a [Call]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:>7} {:>8} {:>6}  request → answer", "invoked", "returned", "client")?;
        let mut calls: Vec<&Call> = self.0.iter().collect();
        calls.sort_by_key(|call| call.invoked);
        for call in calls {
            let returned = if call.is_certain() { call.returned.to_string() } else { "?".to_owned() };
            writeln!(f, "  {:>7} {returned:>8} {:>6}  {} → {}", call.invoked, call.client, call.op, call.answer)?;
        }
        Ok(())
    }
}

impl Stuck {
    /// Says in sentences where no order goes on.
    pub fn tell(&self, calls: &[Call]) -> String {
        let name = |index: usize| format!("the call of {}", calls[index].invoked);
        let order: Vec<String> = self.order.iter().map(|index| calls[*index].invoked.to_string()).collect();
        let mut text = format!("  the longest order that fits is that of the calls of [{}]; then\n", order.join(", "));
        for (index, answer) in &self.next {
            text.push_str(&format!("  - {} would be answered: {answer}\n", name(*index)));
        }
        text
    }
}
