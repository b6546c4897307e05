//! The start: read the command line, open what is needed, serve, and end in order.

use std::{process::ExitCode, time::Duration};
use twarga_cloud::server::{
    commands,
    config::{self, Command, ConfigCommand, LoadError},
    user_commands,
};

fn main() -> ExitCode {
    let mut loaded = match config::load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(LoadError::CommandLine(error)) => error.exit(),
        Err(LoadError::File(text)) => return failed(&text),
    };
    let command = loaded.cli.command.take();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("The system gives no threads: {error}.")),
    };
    let done = match command.unwrap_or_else(|| Command::Serve(loaded.cli.serve.clone())) {
        Command::Serve(arguments) => runtime.block_on(commands::serve(arguments)),
        Command::Config { command: ConfigCommand::Check(arguments) } => {
            loaded.check(&arguments).map(|text| print!("{text}"))
        }
        Command::User { command } => runtime.block_on(user_commands::run(command)),
        Command::Audit { command } => runtime.block_on(commands::audit(command)),
        Command::Backup { file, data } => runtime.block_on(commands::back_up(&file, &data.data_dir)),
        Command::Restore { file, data } => runtime.block_on(commands::restore(&file, &data.data_dir)),
    };
    // Dropped, it would wait for ever for a thread that is stuck in a disk that hangs.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    eprintln!("twarga-cloud: {text}");
    ExitCode::FAILURE
}
