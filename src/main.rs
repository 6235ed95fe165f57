//! The `annals` command line; all of it is in [`annals::cli`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    annals::cli::main()
}
