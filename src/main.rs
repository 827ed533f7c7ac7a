//! The program `kv_cli`; the library of the same name holds all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    kv_cli::run()
}
