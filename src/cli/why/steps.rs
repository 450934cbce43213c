//! The steps of a journey, in words.

use crate::{domain::clock::Millis, lang::Words};

/// The steps worth telling: what was heard again is no news.
pub(in crate::cli) fn worth_telling(steps: &[(Millis, String)]) -> Vec<(Millis, &str)> {
    let mut told: Vec<(Millis, &str)> = Vec::new();
    for (at, step) in steps {
        let may_repeat = !(step == "sent" || step.starts_with("heard_"));
        if may_repeat || !told.iter().any(|it| it.1 == step) {
            told.push((*at, step));
        }
    }
    told
}

/// What a step's word means. One that this version does not know is shown as it is.
pub(in crate::cli) fn words(step: &str) -> Words {
    let (en, fr) = match step {
        "received" => ("received, and on disk", "reçu et écrit sur le disque"),
        "waiting" => ("waits for its answer", "attend sa réponse"),
        "answered" => ("answered", "une réponse a été décidée"),
        "not_answered" => ("not answered", "resté sans réponse"),
        "queued" => ("waits for its turn to be sent", "attend son tour d'envoi"),
        "sending" => ("the request leaves", "la requête part"),
        "accepted" => ("taken by the provider", "accepté par le fournisseur"),
        "unknown_yet" => ("its outcome is not known yet", "son sort n'est pas encore connu"),
        "unknown" => ("given up without knowing", "abandonné sans savoir"),
        "parked" => ("waits for a person", "attend quelqu'un"),
        "released" => ("let go on by a person", "remis en route par quelqu'un"),
        "replayed" => ("replayed by a person", "rejoué par quelqu'un"),
        "dead" => ("given up", "abandonné"),
        "pending" | "heard_pending" => ("queued at the provider", "en file chez le fournisseur"),
        "sent" => ("sent", "envoyé"),
        "heard_sent" => ("on WhatsApp's server", "sur le serveur de WhatsApp"),
        "delivered" | "heard_delivered" => ("on the customer's device", "sur l'appareil du client"),
        "read" | "heard_read" => ("read by the customer", "lu par le client"),
        "played" | "heard_played" => ("played by the customer", "écouté par le client"),
        "failed" | "heard_failed" => ("failed at the provider", "échoué chez le fournisseur"),
        other => return Words::same(other),
    };
    Words::new(en, fr)
}
