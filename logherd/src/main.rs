//! Parses the command line and calls the command it names.
mod arguments;
mod check;
mod client;
mod executor;
mod exit;
mod framework;
mod limits;
mod local;
mod logging;
mod plugins;
mod run;
mod scheduler;
mod signals;
mod sources;
mod terminal;

use arguments::{Arguments, Command};
use config::settings::{Unusable, parse};
use exit::Exit;
use signals::{FEW_THREADS, all_processors, until_stopped};
use std::ffi::OsString;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    limits::set();
    // First of all: two TLS providers may be linked in. An error means that one is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let argv: Vec<OsString> = std::env::args_os().collect();
    let arguments = match parse::<Arguments>(&argv) {
        Ok(arguments) => arguments,
        Err(Unusable::Usage(error)) => error.exit(),
        Err(Unusable::File(error)) => return exit::report(Err(error.into()), Exit::BadConfiguration),
    };
    if let Err(error) = logging::start(&arguments.process, arguments.command.sandbox()) {
        return exit::report(Err(error), Exit::Usage);
    }
    exit::report(call(arguments.command), Exit::Failed)
}

fn call(command: Command) -> anyhow::Result<Exit> {
    let all = all_processors();
    match command {
        Command::Local(settings) => until_stopped(all, async |stop| local::local(*settings, stop).await),
        Command::Scheduler(settings) => {
            until_stopped(all, async |stop| scheduler::scheduler(*settings, stop).await)
        }
        Command::Executor(settings) => {
            until_stopped(FEW_THREADS, async |stop| executor::executor(*settings, stop).await)
        }
        Command::Run(settings) => until_stopped(FEW_THREADS, async |stop| run::run(settings, stop).await),
        Command::Check(settings) => check::check(&settings),
        Command::Plugins(settings) => plugins::plugins(&settings),
        Command::Dlq(command) => until_stopped(FEW_THREADS, async |stop| run::dlq::call(command, stop).await),
        Command::Client(command) => until_stopped(FEW_THREADS, async |_| client::call(command).await),
    }
}
