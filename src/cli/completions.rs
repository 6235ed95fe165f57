//! `annals completions`: what a shell needs to complete the verbs and options.

use clap::CommandFactory;

use super::{Cli, Context, Failure};

/// The arguments of `annals completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "annals", &mut script);
    context.output().line(String::from_utf8_lossy(&script).trim_end())
}
