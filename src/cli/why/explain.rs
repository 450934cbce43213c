//! Why a message is where it is, and what can be done. Pure.

use super::Hints;
use crate::cli::ago::span;
use crate::{
    domain::{clock::Millis, vendor::Vendor},
    journal::Journey,
    lang::Words,
};

/// What is known of the case.
pub(super) struct Case<'a> {
    pub(super) journey: &'a Journey,
    pub(super) vendor: &'a Vendor,
    /// Until when its conversation is paused, and why.
    pub(super) pause: Option<&'a (Millis, String)>,
    pub(super) now: Millis,
    /// The server answers.
    pub(super) is_serving: bool,
    pub(super) hints: &'a Hints,
}

/// What happened, and what can be done.
#[derive(Debug, Default)]
pub(super) struct Explained {
    pub(super) what: Vec<Words>,
    pub(super) next: Vec<Words>,
}

impl Explained {
    fn of(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self { what: vec![Words::new(en, fr)], next: Vec::new() }
    }

    fn then(mut self, en: impl Into<String>, fr: impl Into<String>) -> Self {
        self.next.push(Words::new(en, fr));
        self
    }

    fn command(mut self, command: String) -> Self {
        self.next.push(Words::same(command));
        self
    }
}

/// Explains a message or a send.
pub(super) fn explain(case: &Case<'_>) -> Explained {
    let row = &case.journey.row;
    if row.is_inbound {
        return inbound(case);
    }
    if row.by_human {
        return Explained::of(
            "Somebody typed it on the vendor's phone, so the bot keeps quiet in this conversation for a while.",
            "Quelqu'un l'a tapé sur le téléphone du vendeur : le robot se tait un moment dans cette conversation.",
        );
    }
    if ["status", "reaction", "edit", "revoke", "connection", "send_failed", "other"]
        .contains(&row.kind.as_str())
    {
        return Explained::of(
            format!(
                "It is no message but an event ({}), which is recorded and never answered.",
                row.kind
            ),
            format!(
                "Ce n'est pas un message mais un événement ({}), enregistré et jamais suivi d'une réponse.",
                row.kind
            ),
        );
    }
    outbound(case)
}

fn inbound(case: &Case<'_>) -> Explained {
    let row = &case.journey.row;
    if row.status == "waiting" {
        return waiting(case);
    }
    if let Some(reason) = &row.reason {
        return unanswered(case, reason);
    }
    match case.journey.answers.len() {
        0 => Explained::of(
            "It was worked on, and no answer was made.",
            "Il a été traité, sans qu'une réponse soit faite.",
        ),
        1 => Explained::of(
            "It was answered; the answer follows.",
            "Il a reçu une réponse ; la voici.",
        ),
        n => Explained::of(
            format!("It was answered with {n} messages, which follow."),
            format!("Il a reçu {n} messages en réponse ; les voici."),
        ),
    }
}

fn waiting(case: &Case<'_>) -> Explained {
    if !case.is_serving {
        return Explained::of(
            "It waits: the server does not run. Nothing is lost; it is answered when the server runs again.",
            "Il attend : le serveur ne tourne pas. Rien n'est perdu ; il sera traité quand le serveur tournera.",
        )
        .command("waba-gateway serve".to_owned());
    }
    let waited = span(case.now - case.journey.row.id.ms());
    let (en, fr) = (waited.of(crate::lang::Language::En), waited.of(crate::lang::Language::Fr));
    Explained::of(
        format!("It has waited for {en}: an earlier message of the conversation is being answered, or its responder is being asked (for 45 s at most)."),
        format!("Il attend depuis {fr} : un message précédent de la conversation est en cours, ou son répondeur est interrogé (45 s au plus)."),
    )
    .then("ask again in a minute", "reposez la question dans une minute")
}

/// Why a message got no answer.
fn unanswered(case: &Case<'_>, reason: &str) -> Explained {
    let (id, hints) = (&case.vendor.id, case.hints);
    if case.journey.row.status == "parked" {
        return put_aside(case, reason);
    }
    match reason {
        "not_private" => Explained::of(
            "It came from a group, a broadcast or a channel. Only private chats are answered.",
            "Il vient d'un groupe, d'une diffusion ou d'une chaîne. Seules les conversations privées reçoivent une réponse.",
        ),
        "vendor_inactive" => Explained::of(
            "The vendor was not active: its messages are recorded, never answered.",
            "Le vendeur n'était pas actif : ses messages sont enregistrés, sans réponse.",
        )
        .command(hints.curl("PUT", id, "", r#"{"status":"active"}"#)),
        "auto_reply_off" => Explained::of(
            "The vendor's automatic replies were off.",
            "Les réponses automatiques du vendeur étaient coupées.",
        )
        .command(hints.curl("PUT", id, "", r#"{"autoReplyEnabled":true}"#)),
        "stale" => Explained::of(
            "It was too old when it came, or dated in the future. Old messages are recorded, not answered (MAX_ANSWER_AGE, or the vendor's maxAnswerAgeSeconds).",
            "Il était trop ancien à son arrivée, ou daté dans le futur. Les vieux messages sont enregistrés sans réponse (MAX_ANSWER_AGE, ou maxAnswerAgeSeconds du vendeur).",
        )
        .then(
            "if this happens to new messages, look at this machine's clock: waba-gateway doctor",
            "si cela arrive à des messages récents, vérifiez l'horloge de cette machine : waba-gateway doctor",
        ),
        "paused" => paused(case),
        "loop" => Explained::of(
            "Two bots seemed to be talking: more than 20 automatic answers in a minute, or three equal ones in a row within an hour. The conversation was paused.",
            "Deux robots semblaient se parler : plus de 20 réponses automatiques en une minute, ou trois réponses identiques de suite en une heure. La conversation a été mise en pause.",
        )
        .command(resume(case)),
        "silence" if case.vendor.responders.is_empty() => Explained::of(
            "Nobody answers for this vendor: it has no responder, and there is none for everybody (RESPONSE_API_URL).",
            "Personne ne répond pour ce vendeur : il n'a pas de répondeur, et il n'y en a pas de commun (RESPONSE_API_URL).",
        )
        .command(hints.curl("PUT", id, "", r#"{"responders":[{"kind":"rules","otherwise":"Merci !"}]}"#)),
        "silence" => Explained::of(
            "The responders had no answer: no rule fits, or the response API chose to say nothing (204 or an empty message).",
            "Les répondeurs n'avaient rien à dire : aucune règle ne convient, ou l'API de réponse a choisi de se taire (204 ou message vide).",
        ),
        "responder_failed" => Explained::of(
            "Every responder failed, again and again for 45 s, and there was no apology to send (none is set, or the conversation had one within the hour).",
            "Tous les répondeurs ont échoué, plusieurs fois pendant 45 s, et il n'y avait pas d'excuse à envoyer (aucune n'est réglée, ou la conversation en a eu une dans l'heure).",
        )
        .then(
            "the log names each failure (\"a responder failed\"); test the responder's address from this machine",
            "le journal nomme chaque échec (« a responder failed ») ; essayez l'adresse du répondeur depuis cette machine",
        ),
        "gone" => Explained::of(
            "The number it came to was deleted before it was answered.",
            "Le numéro qui l'a reçu a été supprimé avant la réponse.",
        ),
        other => Explained::of(
            format!("It was not answered, for the reason \"{other}\"."),
            format!("Il est resté sans réponse, pour la raison « {other} »."),
        ),
    }
}

fn resume(case: &Case<'_>) -> String {
    let path = format!("messages/{}/resume", case.journey.row.id);
    case.hints.curl("POST", &case.vendor.id, &path, "")
}

fn paused(case: &Case<'_>) -> Explained {
    let reason = case.pause.map_or("", |it| it.1.as_str());
    let (en, fr) = match reason {
        "human" => ("somebody answered from the phone", "quelqu'un a répondu depuis le téléphone"),
        "requires_human" => {
            ("its responder asked for a person", "son répondeur a demandé une personne")
        }
        "loop" => ("two bots seemed to be talking", "deux robots semblaient se parler"),
        "admin" => ("an admin paused it", "un administrateur l'a mise en pause"),
        _ => ("it was paused", "elle était en pause"),
    };
    let explained = Explained::of(
        format!("The bot was quiet in this conversation: {en}."),
        format!("Le robot se taisait dans cette conversation : {fr}."),
    );
    match case.pause.filter(|it| it.0 > case.now) {
        Some((until, _)) => {
            let left = span(until - case.now);
            let left = left.with(
                |it| format!("it answers again in {it}, or at once with"),
                |it| format!("il répondra de nouveau dans {it}, ou tout de suite avec"),
            );
            let mut explained = explained;
            explained.next.push(left);
            explained.command(resume(case))
        }
        None => explained.then(
            "the pause is over: later messages are answered",
            "la pause est finie : les messages suivants reçoivent une réponse",
        ),
    }
}

fn outbound(case: &Case<'_>) -> Explained {
    let row = &case.journey.row;
    let reason = row.reason.as_deref().unwrap_or_default();
    match row.status.as_str() {
        "queued" => queued(case),
        "sending" => Explained::of(
            "Its request is on the way to the provider.",
            "Sa requête est en route vers le fournisseur.",
        ),
        "unknown_yet" => Explained::of(
            "Its request left and no answer came: it may or may not have been sent. It is never sent again by itself; a status, an echo or the provider's log settles it, or the vendor's choice after some minutes (onUnknown).",
            "Sa requête est partie et aucune réponse n'est venue : il a pu être envoyé ou non. Il n'est jamais renvoyé tout seul ; un statut, un écho ou le journal du fournisseur tranchera, ou le choix du vendeur après quelques minutes (onUnknown).",
        ),
        "unknown" => Explained::of(
            "Nobody could say whether it was sent, and it was given up: sending it again could have shown it twice.",
            "Personne n'a pu dire s'il a été envoyé, et il a été abandonné : le renvoyer aurait pu l'afficher deux fois.",
        )
        .then(
            "look at the chat on the phone; turn log_messages on at Wasender so that its log can tell the next time",
            "regardez la conversation sur le téléphone ; activez log_messages chez Wasender pour que son journal tranche la prochaine fois",
        ),
        "accepted" | "pending" => Explained::of(
            "The provider has taken it. No status has come yet.",
            "Le fournisseur l'a accepté. Aucun statut n'est encore arrivé.",
        ),
        "sent" => Explained::of("It was sent.", "Il a été envoyé."),
        "delivered" => Explained::of("It is on the customer's device.", "Il est sur l'appareil du client."),
        "read" | "played" => Explained::of("The customer has seen it.", "Le client l'a vu."),
        "parked" => parked(case, reason),
        "dead" | "failed" => dead(case, reason),
        other => Explained::of(
            format!("It is \"{other}\"."),
            format!("Il est « {other} »."),
        ),
    }
}

fn queued(case: &Case<'_>) -> Explained {
    let id = &case.vendor.id;
    if !case.is_serving {
        return Explained::of(
            "It waits: the server does not run. It is sent when the server runs again, if it has not expired by then.",
            "Il attend : le serveur ne tourne pas. Il partira quand le serveur tournera, s'il n'a pas expiré d'ici là.",
        )
        .command("waba-gateway serve".to_owned());
    }
    if case.vendor.paused {
        return Explained::of(
            "It waits: the vendor's sends are paused.",
            "Il attend : les envois du vendeur sont en pause.",
        )
        .command(format!("waba-gateway vendor resume {id}"));
    }
    match case.journey.attempts {
        0 => Explained::of(
            "It waits for its turn: sends leave one at a time in a conversation, at the provider's pace.",
            "Il attend son tour : les envois d'une conversation partent l'un après l'autre, au rythme du fournisseur.",
        ),
        n => Explained::of(
            format!("The provider refused it {n} times for now (busy, or its session is down); it is tried again until it expires."),
            format!("Le fournisseur l'a refusé {n} fois pour l'instant (occupé, ou session coupée) ; il sera retenté jusqu'à son expiration."),
        )
        .command(format!("waba-gateway doctor --vendor {id}")),
    }
}

fn parked(case: &Case<'_>, reason: &str) -> Explained {
    let (id, hints) = (&case.vendor.id, case.hints);
    match reason {
        "no_session_key" => Explained::of(
            "It is parked: the number has no session key of its own, and another number's is never used.",
            "Il est mis de côté : le numéro n'a pas de clé de session à lui, et celle d'un autre n'est jamais utilisée.",
        )
        .command(hints.curl("POST", id, "setup-wasender-webhook", "")),
        "no_phone" => Explained::of(
            "It is parked: the customer hides their phone number and the provider does not tell it.",
            "Il est mis de côté : le client cache son numéro et le fournisseur ne le donne pas.",
        )
        .then(
            "nothing can be sent to them until they show their number",
            "rien ne peut lui être envoyé tant que son numéro reste caché",
        ),
        "unauthorized" => Explained::of(
            "It is parked: the provider refused the number's session key.",
            "Il est mis de côté : le fournisseur a refusé la clé de session du numéro.",
        )
        .command(hints.curl("POST", id, "setup-wasender-webhook", "")),
        "plan" => Explained::of(
            "It is parked: the provider asks for a plan or a payment.",
            "Il est mis de côté : le fournisseur demande un abonnement ou un paiement.",
        )
        .then("see to it in the Wasender dashboard", "réglez-le dans le tableau de bord de Wasender"),
        "restored" | "held" => put_aside(case, reason),
        other => Explained::of(
            format!("It is parked until a person acts, for the reason \"{other}\"."),
            format!("Il est mis de côté jusqu'à ce que quelqu'un agisse, pour la raison « {other} »."),
        ),
    }
}

/// A person must say that it goes on.
fn put_aside(case: &Case<'_>, reason: &str) -> Explained {
    let explained = match reason {
        "restored" => Explained::of(
            "It is parked: it comes from a backup, and may have been sent or answered after that was made.",
            "Il est mis de côté : il vient d'une sauvegarde, et a peut-être été envoyé ou traité après celle-ci.",
        ),
        _ => Explained::of(
            "It is parked: a person put it aside.",
            "Il est mis de côté : quelqu'un l'a écarté.",
        ),
    };
    explained.command(format!("waba-gateway journal release {}", case.journey.row.id))
}

fn dead(case: &Case<'_>, reason: &str) -> Explained {
    let (en, fr) = match reason {
        "expired" => (
            "It could not be sent in time and was given up: a reply is worth sending for 1 h, a message of the API for 24 h, unless the vendor says otherwise (intentTtlSeconds).",
            "Il n'a pas pu partir à temps et a été abandonné : une réponse vaut 1 h, un message de l'API 24 h, sauf autre choix du vendeur (intentTtlSeconds).",
        ),
        "silenced" => (
            "A person took the conversation over before it left, so it was not sent.",
            "Quelqu'un a repris la conversation avant son départ ; il n'a donc pas été envoyé.",
        ),
        "invalid" => (
            "The provider refused the message itself: its form or its recipient.",
            "Le fournisseur a refusé le message lui-même : sa forme ou son destinataire.",
        ),
        "failed" | "" => (
            "The provider took it and said later that it failed: the number may not be on WhatsApp.",
            "Le fournisseur l'a accepté, puis a annoncé un échec : le numéro n'est peut-être pas sur WhatsApp.",
        ),
        "gone" => ("Its vendor or number is gone.", "Son vendeur ou son numéro n'existe plus."),
        "part_before" => (
            "It is a part of a longer text, and the part before it was not sent.",
            "C'est une partie d'un texte plus long, et la partie précédente n'est pas partie.",
        ),
        "unauthorized" => (
            "The provider refused the number's credentials.",
            "Le fournisseur a refusé les identifiants du numéro.",
        ),
        other => {
            return Explained::of(
                format!("It was given up, for the reason \"{other}\"."),
                format!("Il a été abandonné, pour la raison « {other} »."),
            );
        }
    };
    let explained = Explained::of(en, fr);
    if matches!(reason, "expired" | "unauthorized") {
        return explained.command(format!("waba-gateway doctor --vendor {}", case.vendor.id));
    }
    explained
}
