//! The `wsfan` command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wsfan::cli::main()
}
