//! `annals reincarnate`: a log that was restored is another log.

use serde_json::json;

use super::{Context, Failure};

/// The arguments of `annals reincarnate`. Run it after the database was restored from a backup: readers whose checkpoints
/// are from before are then told so, where they would skip what was lost in silence.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let incarnation = store.reincarnate().await?;
    let text = format!(
        "topic {:?} is now incarnation {incarnation}: checkpoints from before are refused, and open stores are to be \
         opened again",
        store.topic().name
    );
    context.say(&json!({"topic": store.topic().name, "incarnation": incarnation}), &text)
}
