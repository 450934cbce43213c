//! What the doctor says of a vendor.

use super::Finding;
use crate::{
    cli::{ago, ago::span, why::Hints},
    domain::{clock::Millis, id::VendorId},
    lang::{
        Language::{En, Fr},
        count,
    },
};

/// What was found of a vendor's settings.
#[derive(Debug)]
pub(super) enum Setting {
    NotActive(&'static str),
    AutoReplyOff,
    Paused,
    NoNumber,
    ClaimedTwice(String),
    /// What of it answers from another number: which of its numbers, through whom.
    OtherNumber {
        number: String,
        through: &'static str,
    },
    NoResponder,
    Unreadable,
}

/// What was found of a vendor's callers.
#[derive(Debug)]
pub(super) enum Heard {
    Proven(Millis),
    NeverProven,
    Refused { since: Millis, n: i64 },
    RefusedBefore { at: Millis, n: i64 },
    Silent { since: Millis, expected: i64 },
}

/// What of a vendor's is left for a person, or for later.
#[derive(Debug)]
pub(super) enum Left {
    Parked { n: i64, reasons: String },
    Fenced(i64),
    ForwardsDead(i64),
}

impl Setting {
    pub(super) fn finding(&self, id: &VendorId, hints: &Hints) -> Finding {
        const CHECK: &str = "vendor";
        match self {
            Self::NotActive(status) => Finding::warning(
                CHECK,
                format!("it is {status}: its messages are recorded, never answered"),
                format!("il est {status} : ses messages sont enregistrés, sans réponse"),
            )
            .command(hints.curl("PUT", id, "", r#"{"status":"active"}"#)),
            Self::AutoReplyOff => Finding::warning(
                CHECK,
                "its automatic replies are off",
                "ses réponses automatiques sont coupées",
            )
            .command(hints.curl("PUT", id, "", r#"{"autoReplyEnabled":true}"#)),
            Self::Paused => Finding::warning(
                CHECK,
                "its sends are paused",
                "ses envois sont en pause",
            )
            .command(format!("waba-gateway vendor resume {id}")),
            Self::NoNumber => Finding::fault(CHECK, "it has no number", "il n'a pas de numéro")
                .command(hints.curl(
                    "POST",
                    id,
                    "waba-instances",
                    r#"{"phoneNumber":"+…","wasenderInstanceId":"…"}"#,
                )),
            Self::ClaimedTwice(number) => Finding::fault(
                "claims",
                format!("{number}: another vendor has the same phone number or Wasender session; by it neither is found"),
                format!("{number} : un autre vendeur a le même numéro ou la même session Wasender ; aucun des deux n'est trouvé par là"),
            )
            .then("take it away from one of the two", "retirez-le de l'un des deux"),
            Self::OtherNumber { number, through } => Finding::warning(
                "failover",
                format!("{number}: when its provider fails, {through} answers from another number"),
                format!("{number} : si son fournisseur tombe, {through} répond depuis un autre numéro"),
            )
            .then(
                "tell its customers of both numbers, or move the number itself",
                "faites connaître les deux numéros à ses clients, ou déplacez le numéro lui-même",
            ),
            Self::NoResponder => Finding::warning(
                "responder",
                "nobody answers for it: it has no responder, and RESPONSE_API_URL is not set",
                "personne ne répond pour lui : il n'a pas de répondeur, et RESPONSE_API_URL n'est pas renseigné",
            )
            .command(hints.curl(
                "PUT",
                id,
                "",
                r#"{"responders":[{"kind":"rules","otherwise":"Merci !"}]}"#,
            )),
            Self::Unreadable => unreadable(CHECK),
        }
    }
}

fn unreadable(check: &'static str) -> Finding {
    Finding::fault(
        check,
        "what is stored of it cannot be opened or read: its webhooks are answered 503",
        "ce qui est enregistré de lui ne peut être ouvert ou lu : ses webhooks reçoivent 503",
    )
    .then(
        "give the gateway the key it was sealed with (ENCRYPTION_KEYS_OLD), or mend the document",
        "rendez à la passerelle la clé de l'époque (ENCRYPTION_KEYS_OLD), ou réparez le document",
    )
}

impl Heard {
    pub(super) fn finding(&self, id: &VendorId, now: Millis, hints: &Hints) -> Finding {
        const CHECK: &str = "webhooks";
        match self {
            Self::Proven(at) => {
                let ago = ago::ago(*at, now);
                Finding::ok(
                    CHECK,
                    format!("a webhook was proven {}", ago.of(En)),
                    format!("un webhook prouvé {}", ago.of(Fr)),
                )
            }
            Self::NeverProven => Finding::warning(
                CHECK,
                "no webhook of it was ever proven",
                "aucun de ses webhooks n'a jamais été prouvé",
            )
            .then(
                "write to its number from another phone, or let the gateway do it",
                "écrivez à son numéro depuis un autre téléphone, ou laissez faire la passerelle",
            )
            .command(format!("waba-gateway vendor test {id}")),
            Self::Refused { since, n } => {
                let since = span(now - since);
                Finding::fault(
                    CHECK,
                    format!("its webhooks have been refused for {} and none was proven ({n} refused in all)", since.of(En)),
                    format!("ses webhooks sont refusés depuis {} et aucun n'est prouvé ({n} refusés en tout)", since.of(Fr)),
                )
                .command(hints.curl("POST", id, "setup-wasender-webhook", ""))
            }
            Self::RefusedBefore { at, n } => {
                let ago = ago::ago(*at, now);
                Finding::ok(
                    CHECK,
                    format!("{n} refused in all, the last {}", ago.of(En)),
                    format!("{n} refusés en tout, le dernier {}", ago.of(Fr)),
                )
            }
            Self::Silent { since, expected } => {
                let since = span(now - since);
                Finding::fault(
                    "silence",
                    format!("no message for {}, where about {expected} are usual", since.of(En)),
                    format!(
                        "aucun message depuis {}, alors qu'environ {expected} sont habituels",
                        since.of(Fr)
                    ),
                )
                .command(format!("waba-gateway vendor test {id}"))
            }
        }
    }
}

impl Left {
    pub(super) fn finding(&self, id: &VendorId, hints: &Hints) -> Finding {
        match self {
            Self::Parked { n, reasons } => {
                let n = count(
                    *n,
                    ["message waits", "messages wait"],
                    ["message attend", "messages attendent"],
                );
                Finding::warning(
                    "parked",
                    format!("{} for a person ({reasons})", n.of(En)),
                    format!("{} quelqu'un ({reasons})", n.of(Fr)),
                )
                .command(hints.curl("GET", id, "messages?limit=50", ""))
            }
            Self::Fenced(n) => Finding::warning(
                "fenced",
                format!("sends whose outcome is not known yet: {n}"),
                format!("envois au sort encore inconnu : {n}"),
            )
            .then(
                "wait: they are settled within minutes",
                "attendez : ils seront réglés en quelques minutes",
            ),
            Self::ForwardsDead(n) => Finding::warning(
                "forwards",
                format!("events that could not be forwarded to its back end: {n}"),
                format!("événements qui n'ont pas pu être transmis à son serveur : {n}"),
            )
            .then(
                "see whether its forwardUrl answers, then replay them",
                "vérifiez que son forwardUrl répond, puis rejouez-les",
            )
            .command(hints.curl("POST", id, "forwards/test", ""))
            .command(hints.curl("POST", id, "forwards/replay", r#"{"all":true}"#)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::check_languages, config::Config};

    #[test]
    fn every_sentence_about_a_vendor_is_in_both_languages() {
        let config = Config::from_lookup(|_| None).unwrap();
        let (hints, id) = (Hints::of(&config), VendorId::parse("v").unwrap());
        let settings = [
            Setting::NotActive("inactive"),
            Setting::AutoReplyOff,
            Setting::Paused,
            Setting::NoNumber,
            Setting::ClaimedTwice("waba_v".to_owned()),
            Setting::OtherNumber { number: "waba_v".to_owned(), through: "meta" },
            Setting::NoResponder,
            Setting::Unreadable,
        ]
        .map(|it| it.finding(&id, &hints));
        let heard = [
            Heard::Proven(0),
            Heard::NeverProven,
            Heard::Refused { since: 0, n: 3 },
            Heard::RefusedBefore { at: 0, n: 3 },
            Heard::Silent { since: 0, expected: 12 },
        ]
        .map(|it| it.finding(&id, 100_000_000, &hints));
        let left = [
            Left::Parked { n: 2, reasons: "no_phone 2".to_owned() },
            Left::Fenced(1),
            Left::ForwardsDead(4),
        ]
        .map(|it| it.finding(&id, &hints));
        settings.iter().chain(&heard).chain(&left).for_each(check_languages);
    }
}
