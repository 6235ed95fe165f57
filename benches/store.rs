//! `cargo bench --features bench,postgres`: every workload on a SQLite file, and on the Postgres server that
//! `ANNALS_TEST_POSTGRES` names, beside the raw driver. `annals bench URL` is the same for one database, with options.

use annals::bench::{Plan, Report, Task, Workload, run};

#[tokio::main]
async fn main() -> annals::Result<()> {
    let folder = tempfile::tempdir().map_err(|error| annals::Error::invalid("temporary folder", error.to_string()))?;
    let mut urls = vec![format!("sqlite:{}", folder.path().join("bench.db").display())];
    match std::env::var("ANNALS_TEST_POSTGRES") {
        Ok(url) => urls.push(url),
        Err(_) => eprintln!("SKIPPED: ANNALS_TEST_POSTGRES names no server"),
    }
    let tasks = Workload::ALL.map(Task::Workload).to_vec();
    let plan = Plan { tasks, rounds: 5, thousands: 10, grown_millions: 1, snapshot_seconds: 60 };
    println!(
        "| workload | engine | events/s | raw events/s | ratio | p50 µs | p99 µs |\n|---|---|--:|--:|--:|--:|--:|"
    );
    for url in urls {
        run(&url, &plan, std::future::pending(), |report| {
            let Report::Figures(f) = report else { return };
            println!(
                "| `{}` | {} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} |",
                f.workload, f.engine, f.events_per_s, f.raw_events_per_s, f.ratio, f.p50_us, f.p99_us
            );
        })
        .await?;
    }
    Ok(())
}
