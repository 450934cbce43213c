//! The server, the public address, Wasender.

use url::Url;

use super::{Finding, Report};
use crate::{
    app,
    cli::{
        ago::span,
        serving::{self, Health},
    },
    config::Config,
    domain::clock::{Clock, HOUR, MINUTE, Millis, SECOND},
    gateway::{Gateway, can_reach},
    http::Http,
    lang::Language::{En, Fr},
    provider::wasender::{Reached, SessionFault, Wasender},
};

/// Our clock and Wasender's may differ by this much before anybody is told.
const CLOCK_WARNING: Millis = 30 * SECOND;
/// By this much, messages are taken for stale or not believed.
const CLOCK_FAULT: Millis = 5 * MINUTE;
/// A webhook that was proven this lately shows that the public address works.
const PROVEN_LATELY: Millis = HOUR;

/// What was found of the server.
#[derive(Debug)]
pub(super) enum Server {
    Runs { at: String },
    OtherVersion { at: String, version: String },
    NotReady { at: String },
    NotRunning { at: String },
    Taken { at: String, status: u16 },
}

/// What was found of the public address.
#[derive(Debug)]
pub(super) enum Base {
    NotPublic(Url),
    Leads(Url),
    Foreign { base: Url, status: u16 },
    Nothing(Url),
    NotFromHere(Url),
}

/// What was found of Wasender.
#[derive(Debug)]
pub(super) enum AtWasender {
    Unreachable(Url),
    Garbled(u16),
    NoToken,
    TokenIsSessionKey,
    TokenRefused,
    TokenFine,
    ClockOff { by: Millis },
    ClockFine,
}

impl Server {
    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "server";
        match self {
            Self::OtherVersion { at, version } => {
                let own = env!("CARGO_PKG_VERSION");
                Finding::warning(
                    CHECK,
                    format!("the server on {at} is of version {version}, this program of {own}"),
                    format!("le serveur sur {at} est en version {version}, ce programme en {own}"),
                )
                .then(
                    "restart the server with this program",
                    "relancez le serveur avec ce programme",
                )
            }
            Self::NotReady { at } => Finding::fault(
                CHECK,
                format!("the server on {at} cannot keep webhooks now"),
                format!("le serveur sur {at} ne peut pas garder de webhooks en ce moment"),
            )
            .then(
                "look at the disk above and at the server's log",
                "regardez le disque ci-dessus et le journal du serveur",
            ),
            Self::NotRunning { at } => Finding::fault(
                CHECK,
                format!("the server does not run: nothing answers on {at}"),
                format!("le serveur ne tourne pas : rien ne répond sur {at}"),
            )
            .command("waba-gateway serve".to_owned()),
            Self::Taken { at, status } => Finding::fault(
                CHECK,
                format!("something else answers on {at} (status {status})"),
                format!("autre chose répond sur {at} (statut {status})"),
            )
            .then(
                "give this gateway another LISTEN_ADDR, or stop the other program",
                "donnez un autre LISTEN_ADDR à cette passerelle, ou arrêtez l'autre programme",
            ),
            Self::Runs { at } => Finding::ok(
                CHECK,
                format!("the server is ready on {at}"),
                format!("le serveur est prêt sur {at}"),
            ),
        }
    }
}

impl Base {
    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "baseUrl";
        match self {
            Self::NotPublic(base) => Finding::fault(
                CHECK,
                format!("APP_BASE_URL is {base}, which Wasender cannot call: it needs https and a public host name"),
                format!("APP_BASE_URL vaut {base}, que Wasender ne peut pas appeler : il faut https et un nom public"),
            )
            .then(
                "put a TLS proxy in front of the gateway and set APP_BASE_URL to its https address",
                "placez un relais TLS devant la passerelle et mettez son adresse https dans APP_BASE_URL",
            ),
            Self::Foreign { base, status } => Finding::fault(
                CHECK,
                format!("APP_BASE_URL ({base}) leads to something else: /health answers {status}"),
                format!("APP_BASE_URL ({base}) mène ailleurs : /health répond {status}"),
            )
            .then(
                "let the proxy pass /api/ and /health on to LISTEN_ADDR, unchanged",
                "faites passer /api/ et /health vers LISTEN_ADDR, sans les changer",
            ),
            Self::Nothing(base) => Finding::fault(
                CHECK,
                format!("nothing answers at APP_BASE_URL ({base})"),
                format!("rien ne répond à APP_BASE_URL ({base})"),
            )
            .command(format!("curl -v {}health", with_slash(base))),
            Self::NotFromHere(base) => Finding::warning(
                CHECK,
                format!("nothing answers at APP_BASE_URL ({base}) from this machine, but webhooks arrive"),
                format!("rien ne répond à APP_BASE_URL ({base}) depuis cette machine, mais les webhooks arrivent"),
            )
            .then("nothing to do, if this network cannot reach its own public address", "rien à faire, si ce réseau n'atteint pas sa propre adresse publique"),
            Self::Leads(base) => Finding::ok(CHECK, format!("{base} leads to this gateway"), format!("{base} mène à cette passerelle")),
        }
    }
}

impl AtWasender {
    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "wasender";
        match self {
            Self::Unreachable(url) => Finding::fault(
                CHECK,
                format!("Wasender cannot be reached at {url}"),
                format!("Wasender est injoignable à {url}"),
            )
            .then("see whether this machine reaches the internet, and WASENDER_API_URL", "vérifiez l'accès à Internet de cette machine, et WASENDER_API_URL"),
            Self::Garbled(status) => Finding::warning(
                CHECK,
                format!("Wasender answered {status} when asked about the token"),
                format!("Wasender a répondu {status} à la question sur le jeton"),
            )
            .then("try again later", "réessayez plus tard"),
            Self::NoToken => Finding::warning(
                CHECK,
                "there is no personal access token (WASENDER_API_KEY): webhooks cannot be set up, sends work",
                "il n'y a pas de jeton d'accès personnel (WASENDER_API_KEY) : pas de configuration des webhooks, les envois marchent",
            )
            .then(
                "make one in the Wasender dashboard (Settings, Personal Access Token) and set WASENDER_API_KEY",
                "créez-en un dans le tableau de bord de Wasender (Settings, Personal Access Token) et renseignez WASENDER_API_KEY",
            ),
            Self::TokenIsSessionKey => Finding::fault(
                CHECK,
                "WASENDER_API_KEY is a session's key, not a personal access token",
                "WASENDER_API_KEY est une clé de session, pas un jeton d'accès personnel",
            )
            .then("a personal access token looks like 123|abc… (dashboard, Settings)", "un jeton d'accès personnel ressemble à 123|abc… (tableau de bord, Settings)"),
            Self::TokenRefused => Finding::fault(
                CHECK,
                "Wasender refused the personal access token (WASENDER_API_KEY)",
                "Wasender a refusé le jeton d'accès personnel (WASENDER_API_KEY)",
            )
            .then("make a new one in the dashboard, Settings, Personal Access Token", "créez-en un nouveau dans le tableau de bord, Settings, Personal Access Token"),
            Self::ClockOff { by } => {
                let off = span(by.abs());
                let (en, fr) = if *by > 0 { ("ahead of", "en avance") } else { ("behind", "en retard") };
                let (en, fr) = (
                    format!("this machine's clock is {} {en} Wasender's", off.of(En)),
                    format!("l'horloge de cette machine est {fr} de {} sur celle de Wasender", off.of(Fr)),
                );
                let found = if by.abs() >= CLOCK_FAULT { Finding::fault("clock", en, fr) } else { Finding::warning("clock", en, fr) };
                found.then("let a time service set it (timedatectl set-ntp true)", "laissez un service de temps la régler (timedatectl set-ntp true)")
            }
            Self::ClockFine => Finding::ok("clock", "the clock agrees with Wasender's", "l'horloge s'accorde avec celle de Wasender"),
            Self::TokenFine => Finding::ok(CHECK, "Wasender answers and takes the token", "Wasender répond et accepte le jeton"),
        }
    }
}

fn with_slash(base: &Url) -> String {
    format!("{}/", base.as_str().trim_end_matches('/'))
}

pub(super) async fn look(
    config: &Config,
    gateway: Option<&Gateway>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let http = app::http(config)?;
    let at = serving::local(config);
    report.add(server(&http, at).await.finding());
    let proven = match gateway {
        Some(gateway) => gateway.store().vitals_of_all().await?.verified_at,
        None => None,
    };
    let now = Clock::System.now();
    let is_proven_lately = proven.is_some_and(|it| now - it < PROVEN_LATELY);
    report.add(base(config, &http, is_proven_lately).await.finding());
    let (url, token) = (config.wasender_url.clone(), config.wasender_token.clone());
    let wasender = Wasender::new(http, url, token, Clock::System);
    let reached = wasender.check_token().await;
    report.add(token_found(reached.as_ref(), &config.wasender_url).finding());
    if let Some(date) = reached.and_then(|it| it.date) {
        // Its header has whole seconds.
        let by = Clock::System.now() - date;
        let is_off = by.abs() >= CLOCK_WARNING;
        report.add(
            if is_off { AtWasender::ClockOff { by } } else { AtWasender::ClockFine }.finding(),
        );
    }
    Ok(())
}

async fn server(http: &Http, at: String) -> Server {
    match serving::health(http, &at).await {
        Health::Nothing => Server::NotRunning { at },
        Health::Foreign { status } => Server::Taken { at, status },
        Health::Ours { version } if version != env!("CARGO_PKG_VERSION") => {
            Server::OtherVersion { at, version }
        }
        Health::Ours { .. } => match serving::is_ready(http, &at).await {
            Some(true) => Server::Runs { at },
            _ => Server::NotReady { at },
        },
    }
}

async fn base(config: &Config, http: &Http, is_proven_lately: bool) -> Base {
    let base = config.base_url.clone();
    if !can_reach(&config.wasender_url, &base) {
        return Base::NotPublic(base);
    }
    match serving::health(http, base.as_str()).await {
        Health::Ours { .. } => Base::Leads(base),
        Health::Foreign { status } => Base::Foreign { base, status },
        Health::Nothing if is_proven_lately => Base::NotFromHere(base),
        Health::Nothing => Base::Nothing(base),
    }
}

fn token_found(reached: Option<&Reached>, url: &Url) -> AtWasender {
    match reached.map(|it| it.fault) {
        None => AtWasender::Unreachable(url.clone()),
        Some(None) => AtWasender::TokenFine,
        Some(Some(SessionFault::NoToken)) => AtWasender::NoToken,
        Some(Some(SessionFault::SessionToken)) => AtWasender::TokenIsSessionKey,
        Some(Some(SessionFault::Garbled(status))) => AtWasender::Garbled(status),
        Some(Some(_)) => AtWasender::TokenRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check_languages;

    #[test]
    fn every_sentence_about_the_outside_is_in_both_languages() {
        let at = || "http://127.0.0.1:9002".to_owned();
        let url = || Url::parse("https://gateway.example/").unwrap();
        let server = [
            Server::Runs { at: at() },
            Server::OtherVersion { at: at(), version: "9.9.9".to_owned() },
            Server::NotReady { at: at() },
            Server::NotRunning { at: at() },
            Server::Taken { at: at(), status: 404 },
        ]
        .map(|it| it.finding());
        let base = [
            Base::NotPublic(url()),
            Base::Leads(url()),
            Base::Foreign { base: url(), status: 502 },
            Base::Nothing(url()),
            Base::NotFromHere(url()),
        ]
        .map(|it| it.finding());
        let wasender = [
            AtWasender::Unreachable(url()),
            AtWasender::Garbled(500),
            AtWasender::NoToken,
            AtWasender::TokenIsSessionKey,
            AtWasender::TokenRefused,
            AtWasender::TokenFine,
            AtWasender::ClockOff { by: MINUTE },
            AtWasender::ClockOff { by: -HOUR },
            AtWasender::ClockFine,
        ]
        .map(|it| it.finding());
        server.iter().chain(&base).chain(&wasender).for_each(check_languages);
    }
}
