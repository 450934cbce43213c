//! The gateway's command line.

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use listenfd::ListenFd;
use secrecy::ExposeSecret;
use std::io::IsTerminal;
use tokio::{
    net::TcpListener,
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
};
use waba_gateway::{
    app::{App, Listeners},
    cli,
    config::{self, Config},
    demo,
    domain::clock::Clock,
    lang::Language,
    priority, telemetry, web,
};

/// Many vendors talk to their customers on WhatsApp, each from their own number.
///
/// Without a command it serves. Configuration comes from the environment, from .env in the working
/// directory and from gateway.toml; .env.example lists every variable.
#[derive(Parser)]
#[command(version, arg_required_else_help = false)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve webhooks and administration (the default). SIGTERM ends it: sends that have begun
    /// end first; a second signal ends it at once.
    Serve,
    /// Show the whole way of a message on this machine, with three vendors and a simulated
    /// Wasender, in a temporary directory. Then serve until Ctrl-C.
    Demo {
        /// End after the show: with 0, or with 1 if anything did not arrive.
        #[arg(long)]
        once: bool,
        /// en or fr; without it, as the locale of the environment says.
        #[arg(long, value_name = "LANGUAGE")]
        lang: Option<Language>,
    },
    /// Everything besides, on the data directory.
    #[command(flatten)]
    Other(Box<cli::Command>),
    /// Print completions for a shell, to be read by it at its start.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

const COMPLETIONS: &str = "\
Examples:
  waba-gateway completions bash > ~/.local/share/bash-completion/completions/waba-gateway
  waba-gateway completions zsh > ~/.zfunc/_waba-gateway      (with ~/.zfunc in fpath)
  waba-gateway completions fish > ~/.config/fish/completions/waba-gateway.fish";

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Serve);
    let run = || -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let end = match command {
            Command::Serve => {
                let work = background()?;
                let end = runtime.block_on(serve(work.handle()));
                work.shutdown_background();
                end
            }
            Command::Demo { once, lang } => {
                let language = lang.unwrap_or_else(config::language);
                runtime.block_on(demo::run(once, language))
            }
            Command::Other(command) => Ok(runtime.block_on(cli::run(*command))),
            Command::Completions { shell } => {
                let mut command = Arguments::command();
                clap_complete::generate(
                    shell,
                    &mut command,
                    "waba-gateway",
                    &mut std::io::stdout(),
                );
                Ok(ExitCode::SUCCESS)
            }
        };
        // A responder's answer that nobody waits for must not hold the end up.
        runtime.shutdown_background();
        end
    };
    run().unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}

/// For what can wait while webhooks cannot.
fn background() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("work")
        .on_thread_start(priority::stand_back)
        .enable_all()
        .build()
}

async fn serve(work: &Handle) -> anyhow::Result<ExitCode> {
    let config = Config::from_environment()?;
    telemetry::start_logging();
    web::raise_open_files();
    let metrics = telemetry::start_metrics()?;
    let listeners = listen(&config).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = App::start(&config, Clock::System, listeners, metrics, work).await?;
    tell_where(&app, &config);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: sends that have begun end first; a second signal stops at once");
    tokio::select! {
        () = app.stop() => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        _ = terminate.recv() => at_once(),
        _ = interrupt.recv() => at_once(),
    }
}

fn at_once() -> anyhow::Result<ExitCode> {
    tracing::warn!("stopped at once; what became of sends in flight is asked after the restart");
    std::process::exit(130)
}

/// Sockets handed over by who started us (systemd, another gateway), else our own.
async fn listen(config: &Config) -> anyhow::Result<Listeners> {
    let mut inherited = ListenFd::from_env();
    let mut take = |at| -> anyhow::Result<Option<TcpListener>> {
        let Ok(Some(socket)) = inherited.take_tcp_listener(at) else { return Ok(None) };
        socket.set_nonblocking(true)?;
        Ok(Some(TcpListener::from_std(socket)?))
    };
    let main = match take(0)? {
        Some(listener) => listener,
        None => TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("LISTEN_ADDR: cannot listen on {}", config.listen))?,
    };
    let metrics = match (take(1)?, config.metrics_listen) {
        (Some(listener), _) => Some(listener),
        (None, Some(address)) => Some(TcpListener::bind(address).await.with_context(|| {
            format!("METRICS_ADDR: cannot listen on {address} (\"off\" does without)")
        })?),
        (None, None) => None,
    };
    Ok(Listeners { main, metrics })
}

fn tell_where(app: &App, config: &Config) {
    tracing::info!(address = %app.address, base_url = %config.base_url, data_dir = %config.data_dir.display(), "serving");
    if let Some(address) = app.metrics_address {
        tracing::info!(%address, "serving /metrics");
    }
    if let Some(key) = &app.new_admin_key {
        let file = config.data_dir.join("admin.key");
        if std::io::stdout().is_terminal() {
            println!("Admin key (also in {}): {}", file.display(), key.expose_secret());
        } else {
            tracing::info!(file = %file.display(), "made an admin key");
        }
    }
}
