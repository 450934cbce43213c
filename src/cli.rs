//! The commands besides `serve` and `demo`. They work on the data directory itself, beside a
//! running server or without one; the server notices what they change in the store. What changes the
//! journal is done by the server, or here while none may run.

mod ago;
mod audit;
mod backup;
mod doctor;
mod exchange;
mod journal;
mod key;
mod opened;
mod output;
pub mod progress;
mod serving;
mod status;
mod trial;
mod twin;
mod vault;
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
    /// Look at the journal, verify it, put work aside and let it go on.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Copy the data while the server runs.
    #[command(long_about = backup::BACK_UP, after_help = backup::BACK_UP_AFTER)]
    Backup(backup::BackUp),
    /// Bring a backup back; nothing in it is sent by itself.
    #[command(long_about = backup::RESTORE, after_help = backup::RESTORE_AFTER)]
    Restore(backup::Restore),
    /// Make, list and revoke keys for the administration.
    #[command(subcommand)]
    Key(key::Command),
    /// Show what was changed, when and by whom.
    #[command(long_about = audit::ABOUT, after_help = audit::AFTER)]
    Audit(audit::Arguments),
    /// Seal the data with another key; seal or unseal what the predecessor wrote in the clear.
    #[command(subcommand)]
    Vault(vault::Command),
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
        Command::Journal(command) => journal::run(command).await,
        Command::Backup(arguments) => backup::back_up(arguments).await,
        Command::Restore(arguments) => backup::restore(arguments).await,
        Command::Key(command) => key::run(command).await,
        Command::Audit(arguments) => audit::run(&arguments).await,
        Command::Vault(command) => vault::run(command).await,
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
