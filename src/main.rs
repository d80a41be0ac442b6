//! The boxwright command: builds the runtime, runs the command line, returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for every client in this process, before the first of them is made.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: failed to start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(boxwright::cli::run(std::env::args_os()));
    // Work that does not end, such as a read from a terminal, must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    ExitCode::from(code)
}
