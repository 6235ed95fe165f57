//! Smaller scripts, to try in the place of one whose history can't be explained.

use std::iter::once;

use super::linearize::Call;
use super::scripts::{Script, Step};
use super::words::{Answer, Commit, Expect, Op, Part};

/// Returns scripts that are smaller than one, those that leave away most first. `part` is the part of the script's
/// history that can't be explained: what is not in it may not matter.
pub fn smaller(script: &Script, part: &[Call]) -> Vec<Script> {
    let in_part = |certain: bool| {
        let is_in = move |client, step| {
            let answered = |call: &&Call| !certain || !matches!(call.answer, Answer::Unknown(_));
            part.iter().filter(answered).any(|call| (call.client, call.step) == (client, step))
        };
        keep(script, is_in)
    };
    let mut scripts = vec![in_part(true), in_part(false)];
    scripts.extend((0..script.clients.len()).map(|client| keep(script, |other, _| other != client)));
    if script.stores > 1 {
        scripts.push(Script { stores: 1, ..script.clone() });
    }
    let places = || {
        script
            .clients
            .iter()
            .enumerate()
            .flat_map(|(client, steps)| steps.iter().enumerate().map(move |(index, step)| (client, index, step)))
    };
    scripts.extend(places().map(|(client, index, _)| keep(script, |a, b| (a, b) != (client, index))));
    for (client, index, step) in places() {
        scripts.extend(simpler_steps(step).map(|simpler| {
            let mut script = script.clone();
            script.clients[client][index] = simpler;
            script
        }));
    }
    scripts.retain(|smaller| smaller != script && smaller.len() > 0);
    scripts
}

/// Keeps some of a script's steps, and the clients that are left with any.
fn keep(script: &Script, wanted: impl Fn(usize, usize) -> bool) -> Script {
    let clients = script.clients.iter().enumerate().map(|(client, steps)| {
        let steps = steps.iter().enumerate().filter(|(index, _)| wanted(client, *index));
        steps.map(|(_, step)| step.clone()).collect()
    });
    // A client that asks nothing keeps its number where others would come to another store without it.
    let mut clients: Vec<Vec<Step>> = clients.collect();
    while clients.last().is_some_and(Vec::is_empty) {
        clients.pop();
    }
    if script.stores == 1 {
        clients.retain(|steps| !steps.is_empty());
    }
    Script { clients, ..script.clone() }
}

fn simpler_steps(step: &Step) -> Box<dyn Iterator<Item = Step> + '_> {
    let patient = step.gives_up.then(|| Step { gives_up: false, ..step.clone() });
    match &step.op {
        Op::Commit(commit) => {
            let step = |commit| Step { op: Op::Commit(commit), ..step.clone() };
            Box::new(patient.into_iter().chain(simpler_commits(commit).map(step)))
        }
        _ => Box::new(patient.into_iter()),
    }
}

fn simpler_commits(commit: &Commit) -> impl Iterator<Item = Commit> + '_ {
    let bare =
        once(Commit { condition: None, ..commit.clone() }).chain(once(Commit { command: None, ..commit.clone() }));
    let with = |index: usize, part: Option<Part>| {
        let mut parts = commit.parts.clone();
        parts.splice(index..=index, part);
        Commit { parts, ..commit.clone() }
    };
    let fewer = (0..commit.parts.len()).filter(|_| commit.parts.len() > 1).map(move |index| with(index, None));
    let parts = commit.parts.iter().enumerate();
    let simpler = parts.flat_map(move |(index, part)| simpler_parts(part).map(move |part| with(index, Some(part))));
    bare.chain(fewer).chain(simpler).filter(move |simpler| simpler != commit)
}

fn simpler_parts(part: &Part) -> impl Iterator<Item = Part> + '_ {
    let any = once(Part { expected: Expect::Any, ..part.clone() });
    let with = |change: &dyn Fn(&mut Part)| {
        let mut part = part.clone();
        change(&mut part);
        part
    };
    let events = (0..part.events.len()).flat_map(move |index| {
        [
            with(&|part| {
                part.events.remove(index);
            }),
            with(&|part| part.events[index].tags.clear()),
            with(&|part| part.events[index].id = None),
        ]
    });
    any.chain(events)
}
