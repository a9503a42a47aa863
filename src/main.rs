//! The `wsfan` command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // a service may be told to reload before it has read its arguments
    if std::env::args_os().nth(1).is_some_and(|command| command == "run") {
        wsfan::keep_reloads();
    }
    wsfan::cli::main()
}
