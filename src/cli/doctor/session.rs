//! One number as Wasender has it, against what we have of it. Pure.

use secrecy::ExposeSecret;
use url::Url;

use super::Finding;
use crate::{
    cli::why::Hints,
    domain::{clock::Millis, event::Connection, id::InstanceId, secret::same, waba::WabaInstance},
    gateway::{WEBHOOK_EVENTS, shown_url},
    provider::wasender::{Session, SessionFault},
};

const CHECK: &str = "session";

/// What was found of one number at Wasender.
#[derive(Debug)]
pub(super) enum OfSession {
    Unread(SessionFault),
    NotConnected(Option<Connection>),
    NumberUntold,
    OtherNumber,
    NoWebhook,
    WebhookElsewhere(String),
    WebhookOff,
    EventsMissing(Vec<&'static str>),
    NoLog,
    NoSessionKey,
    SessionKeyDiffers,
    NoSecret,
    SecretDiffers,
    Fine,
}

/// Compares a session with the number it carries.
pub(super) fn compare(
    number: &WabaInstance,
    session: &Session,
    hook: &Url,
    now: Millis,
) -> Vec<OfSession> {
    let mut found = Vec::new();
    if session.status != Some(Connection::Connected) {
        found.push(OfSession::NotConnected(session.status));
    }
    match &session.phone_number {
        None => found.push(OfSession::NumberUntold),
        Some(it) if it.alias() != number.phone_number.alias() => found.push(OfSession::OtherNumber),
        Some(_) => {}
    }
    found.extend(webhook(session, hook));
    found.extend(secrets(number, session, now));
    if !session.log_messages {
        found.push(OfSession::NoLog);
    }
    if found.is_empty() {
        found.push(OfSession::Fine);
    }
    found
}

fn webhook(session: &Session, hook: &Url) -> Option<OfSession> {
    match &session.webhook_url {
        None => return Some(OfSession::NoWebhook),
        Some(url) if url != hook.as_str() => {
            return Some(OfSession::WebhookElsewhere(shown_url(url)));
        }
        Some(_) if !session.webhook_enabled => return Some(OfSession::WebhookOff),
        Some(_) => {}
    }
    let has = |it: &&str| session.webhook_events.iter().any(|event| event == it);
    let missing: Vec<&'static str> = WEBHOOK_EVENTS.into_iter().filter(|it| !has(it)).collect();
    (!missing.is_empty()).then_some(OfSession::EventsMissing(missing))
}

fn secrets(number: &WabaInstance, session: &Session, now: Millis) -> Vec<OfSession> {
    let mut found = Vec::new();
    let is_same = |a: &secrecy::SecretString, b: &secrecy::SecretString| {
        same(a.expose_secret().as_bytes(), b.expose_secret().as_bytes())
    };
    match (&number.wasender.session_key, &session.api_key) {
        (None, _) => found.push(OfSession::NoSessionKey),
        (Some(ours), Some(its)) if !is_same(ours, its) => found.push(OfSession::SessionKeyDiffers),
        _ => {}
    }
    let mut ours = number.wasender.secrets_at(now).peekable();
    match &session.webhook_secret {
        _ if ours.peek().is_none() => found.push(OfSession::NoSecret),
        Some(its) if !ours.any(|it| is_same(it, its)) => found.push(OfSession::SecretDiffers),
        _ => {}
    }
    found
}

impl OfSession {
    pub(super) fn finding(&self, number: &InstanceId, set_up: &SetUpCommand<'_>) -> Finding {
        match self {
            Self::Unread(fault) => unread(*fault, number, set_up),
            Self::NotConnected(_)
            | Self::NumberUntold
            | Self::OtherNumber
            | Self::NoLog
            | Self::Fine => self.state(number),
            Self::NoWebhook
            | Self::WebhookElsewhere(_)
            | Self::WebhookOff
            | Self::EventsMissing(_)
            | Self::NoSessionKey
            | Self::SessionKeyDiffers
            | Self::NoSecret
            | Self::SecretDiffers => self.set_up(number).command(set_up.command(self)),
        }
    }

    /// What a person must see to.
    fn state(&self, number: &InstanceId) -> Finding {
        match self {
            Self::NotConnected(state) => {
                let state = state.map_or("unknown", Connection::as_str);
                Finding::fault(
                    CHECK,
                    format!("{number}: the session at Wasender is not connected ({state}): nothing is received or sent"),
                    format!("{number} : la session chez Wasender n'est pas connectée ({state}) : rien n'est reçu ni envoyé"),
                )
                .then("link the phone again in the Wasender dashboard", "reliez de nouveau le téléphone dans le tableau de bord de Wasender")
            }
            Self::NumberUntold => Finding::warning(
                CHECK,
                format!("{number}: Wasender does not tell the session's number, so it was not compared"),
                format!("{number} : Wasender ne donne pas le numéro de la session ; il n'a pas été comparé"),
            )
            .then("compare it in the Wasender dashboard", "comparez-le dans le tableau de bord de Wasender"),
            Self::OtherNumber => Finding::fault(
                CHECK,
                format!("{number}: the session at Wasender belongs to another phone number"),
                format!("{number} : la session chez Wasender appartient à un autre numéro"),
            )
            .then(
                "correct the number's wasenderInstanceId, or link the right phone to that session",
                "corrigez le wasenderInstanceId du numéro, ou reliez le bon téléphone à cette session",
            ),
            Self::NoLog => Finding::warning(
                CHECK,
                format!("{number}: log_messages is off at Wasender: a send whose outcome is unknown cannot be looked up"),
                format!("{number} : log_messages est coupé chez Wasender : un envoi au sort inconnu ne peut pas être vérifié"),
            )
            .then("turn it on in the session's settings", "activez-le dans les réglages de la session"),
            _ => Finding::ok(
                CHECK,
                format!("{number}: connected; number, webhook, events, secret and key are as they should be"),
                format!("{number} : connecté ; numéro, webhook, événements, secret et clé sont comme il faut"),
            ),
        }
    }

    /// What a set-up mends.
    fn set_up(&self, number: &InstanceId) -> Finding {
        let (en, fr) = match self {
            Self::NoWebhook => ("Wasender has no webhook address for it: no message arrives".to_owned(), "Wasender n'a pas d'adresse de webhook : aucun message n'arrive".to_owned()),
            Self::WebhookElsewhere(url) => (format!("its webhooks go to {url}"), format!("ses webhooks vont à {url}")),
            Self::WebhookOff => ("its webhook is switched off at Wasender".to_owned(), "son webhook est coupé chez Wasender".to_owned()),
            Self::EventsMissing(missing) => {
                let missing = missing.join(", ");
                (format!("its webhook does not tell of {missing}"), format!("son webhook n'annonce pas {missing}"))
            }
            Self::NoSessionKey => ("it has no session key: its sends are parked".to_owned(), "il n'a pas de clé de session : ses envois sont mis de côté".to_owned()),
            Self::SessionKeyDiffers => ("Wasender has another session key for it: sends will be refused".to_owned(), "Wasender a une autre clé de session : les envois seront refusés".to_owned()),
            Self::NoSecret => ("it has no webhook secret: every webhook is refused".to_owned(), "il n'a pas de secret de webhook : tous les webhooks sont refusés".to_owned()),
            _ => ("its webhook secret differs from the one at Wasender: every webhook is refused".to_owned(), "son secret de webhook diffère de celui de Wasender : tous les webhooks sont refusés".to_owned()),
        };
        Finding::fault(CHECK, format!("{number}: {en}"), format!("{number} : {fr}"))
    }
}

/// How a vendor's webhook is set up from a shell.
pub(super) struct SetUpCommand<'a> {
    pub(super) hints: &'a Hints,
    pub(super) vendor: &'a crate::domain::id::VendorId,
    /// The session, where the vendor has several.
    pub(super) session: Option<&'a str>,
}

impl SetUpCommand<'_> {
    fn command(&self, why: &OfSession) -> String {
        let mut fields = Vec::new();
        fields.extend(self.session.map(|it| format!(r#""wasenderInstanceId":"{it}""#)));
        if matches!(why, OfSession::WebhookElsewhere(_)) {
            fields.push(r#""replace":true"#.to_owned());
        }
        let body =
            if fields.is_empty() { String::new() } else { format!("{{{}}}", fields.join(",")) };
        self.hints.curl("POST", self.vendor, "setup-wasender-webhook", &body)
    }
}

fn unread(fault: SessionFault, number: &InstanceId, set_up: &SetUpCommand<'_>) -> Finding {
    match fault {
        SessionFault::NoToken => Finding::warning(
            CHECK,
            format!("{number}: not compared with Wasender, there is no personal access token"),
            format!("{number} : pas comparé avec Wasender, il n'y a pas de jeton d'accès personnel"),
        )
        .then("set WASENDER_API_KEY", "renseignez WASENDER_API_KEY"),
        SessionFault::SessionToken | SessionFault::Refused => Finding::fault(
            CHECK,
            format!("{number}: Wasender refused the personal access token"),
            format!("{number} : Wasender a refusé le jeton d'accès personnel"),
        )
        .then("correct WASENDER_API_KEY, or the number's wasenderToken", "corrigez WASENDER_API_KEY, ou le wasenderToken du numéro"),
        SessionFault::NoSessionId => Finding::fault(
            CHECK,
            format!("{number}: it has no wasenderInstanceId, so its session is not known"),
            format!("{number} : il n'a pas de wasenderInstanceId, sa session est inconnue"),
        )
        .command(set_up.hints.curl("POST", set_up.vendor, "setup-wasender-webhook", r#"{"wasenderInstanceId":"ID"}"#)),
        SessionFault::NotFound => Finding::fault(
            CHECK,
            format!("{number}: the Wasender account of this token has no such session"),
            format!("{number} : le compte Wasender de ce jeton n'a pas cette session"),
        )
        .then(
            "correct the number's wasenderInstanceId, or give it a wasenderToken of the account that has it",
            "corrigez le wasenderInstanceId du numéro, ou donnez-lui le wasenderToken du compte qui l'a",
        ),
        SessionFault::Unreachable => Finding::warning(
            CHECK,
            format!("{number}: Wasender did not answer, so the session was not compared"),
            format!("{number} : Wasender n'a pas répondu, la session n'a pas été comparée"),
        )
        .then("try again", "réessayez"),
        SessionFault::Garbled(status) => Finding::warning(
            CHECK,
            format!("{number}: Wasender answered {status}, so the session was not compared"),
            format!("{number} : Wasender a répondu {status}, la session n'a pas été comparée"),
        )
        .then("try again later", "réessayez plus tard"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::check_languages, config::Config, domain::id::VendorId};

    #[test]
    fn every_sentence_about_a_session_is_in_both_languages() {
        let config = Config::from_lookup(|_| None).unwrap();
        let (hints, vendor) = (Hints::of(&config), VendorId::parse("v").unwrap());
        let set_up = SetUpCommand { hints: &hints, vendor: &vendor, session: Some("7") };
        let number = InstanceId::nth(&vendor, 1);
        let faults = [
            SessionFault::NoToken,
            SessionFault::SessionToken,
            SessionFault::Refused,
            SessionFault::NoSessionId,
            SessionFault::NotFound,
            SessionFault::Unreachable,
            SessionFault::Garbled(500),
        ];
        let found = [
            OfSession::NotConnected(None),
            OfSession::NumberUntold,
            OfSession::OtherNumber,
            OfSession::NoWebhook,
            OfSession::WebhookElsewhere("https://other.example".to_owned()),
            OfSession::WebhookOff,
            OfSession::EventsMissing(vec!["message.sent"]),
            OfSession::NoLog,
            OfSession::NoSessionKey,
            OfSession::SessionKeyDiffers,
            OfSession::NoSecret,
            OfSession::SecretDiffers,
            OfSession::Fine,
        ];
        let found = found.into_iter().chain(faults.map(OfSession::Unread));
        for it in found {
            let finding = it.finding(&number, &set_up);
            check_languages(&finding);
            let is_mended =
                finding.next.iter().any(|it| !it.of(crate::lang::Language::En).is_empty());
            assert!(is_mended || matches!(it, OfSession::Fine), "{it:?} says what to do");
        }
    }
}
