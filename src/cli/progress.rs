//! Progress bars, on standard error where it is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// A bar over the bytes of a file; without their number, a count.
pub(crate) fn bytes(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => bar(ProgressBar::new(total), "{wide_bar} {bytes} of {total_bytes}, {eta} left"),
        None => bar(ProgressBar::no_length(), "{spinner} {bytes}, {bytes_per_sec}"),
    }
}

/// A bar over events; without their number, a count.
pub(crate) fn events(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => bar(ProgressBar::new(total), "{wide_bar} {human_pos} of {human_len} events, {eta} left"),
        None => bar(ProgressBar::no_length(), "{spinner} {human_pos} events"),
    }
}

/// A bar over the events of a copy, with a message.
pub(crate) fn copied(total: u64) -> ProgressBar {
    bar(ProgressBar::new(total), "{msg} {wide_bar} {human_pos} of {human_len} events, {per_sec}, {eta} left")
}

/// A bar over the positions of a log, whose length comes later, with a message.
pub(crate) fn replay() -> ProgressBar {
    bar(ProgressBar::no_length(), "{wide_bar} {human_pos} of {human_len}, {msg}, {eta} left")
}

/// A bar over the cases of the conformance suite.
pub(crate) fn cases(total: u64) -> ProgressBar {
    bar(ProgressBar::new(total), "{wide_bar} {human_pos} of {human_len} cases, {eta} left")
}

fn bar(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bar.with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}
