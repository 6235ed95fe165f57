//! `annals health`: a sign of life.

use serde_json::json;

use super::{Context, Failure, output::counted};

/// The arguments of `annals health`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let milliseconds = store.health().await?.as_secs_f64() * 1_000.0;
    let heads = store.heads().await?;
    let (backend, topic) = (store.backend().name(), &store.topic().name);
    let mut out = context.output();
    if context.json {
        let lanes: Vec<_> = heads.iter().map(|(lane, head)| json!({"lane": lane, "head": head})).collect();
        return out.json(&json!({
            "status": "ok", "backend": backend, "topic": topic, "lanes": lanes, "ms": milliseconds,
        }));
    }
    out.line(format_args!("ok: {backend} answered in {milliseconds:.2} ms"))?;
    for (lane, head) in heads {
        let events = counted(head.get().unsigned_abs(), "event");
        out.line(format_args!("topic {topic}, lane {lane}: {events}"))?;
    }
    Ok(())
}
