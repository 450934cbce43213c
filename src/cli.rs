//! The commands besides `serve` and `demo`. They work on the data directory itself, beside a
//! running server or without one; the server notices what they change.

mod ago;
mod doctor;
mod exchange;
mod key;
mod opened;
mod output;
mod serving;
mod status;
mod trial;
mod twin;
mod vendor;
mod why;

use std::process::ExitCode;

use clap::Subcommand;

/// Something is wrong, or is not there.
const EXIT_FAULT: u8 = 1;
/// The command could not do its work.
const EXIT_FAILED: u8 = 2;

/// What a command came to: its exit code, or why it could not run.
type Ended = anyhow::Result<u8>;

/// A command.
#[derive(Subcommand)]
pub enum Command {
    /// Find out what is wrong with the set-up, and what to do about it.
    #[command(long_about = doctor::ABOUT, after_help = doctor::AFTER)]
    Doctor(doctor::Arguments),
    /// Tell how the gateway is: what waits, what is parked, who is paused or refused.
    #[command(long_about = status::ABOUT, after_help = status::AFTER)]
    Status(status::Arguments),
    /// Explain why a message was or was not answered, or where a send stands.
    #[command(long_about = why::ABOUT, after_help = why::AFTER)]
    Why(why::Arguments),
    /// Make, list and revoke keys for the administration.
    #[command(subcommand)]
    Key(key::Command),
    /// List, show, pause, resume and test vendors.
    #[command(subcommand)]
    Vendor(vendor::Command),
    /// Run a simulated Wasender alone, to develop against.
    #[command(long_about = twin::ABOUT, after_help = twin::AFTER)]
    Twin(twin::Arguments),
}

/// Runs a command to its end. What kept it from running is told on standard error.
pub async fn run(command: Command) -> ExitCode {
    let ended = match command {
        Command::Doctor(arguments) => doctor::run(&arguments).await,
        Command::Status(arguments) => status::run(&arguments).await,
        Command::Why(arguments) => why::run(&arguments).await,
        Command::Key(command) => key::run(command).await,
        Command::Vendor(command) => vendor::run(command).await,
        Command::Twin(arguments) => twin::run(&arguments).await,
    };
    match ended {
        Ok(code) => code.into(),
        Err(error) => {
            output::complain(&format!("Error: {error:#}"));
            EXIT_FAILED.into()
        }
    }
}
