//! Following a message until its answer is settled.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Trial,
    post::{Answered, Scheme},
};
use crate::{
    cli::why::{Asked, Told, step_words, worth_telling},
    domain::id::EntryId,
    journal::Journey,
    lang::Words,
};

/// How often the data is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What an answer is while it may still become something else.
const UNSETTLED: [&str; 3] = ["queued", "sending", "unknown_yet"];
/// What an answer is when it has left.
const LEFT: [&str; 6] = ["accepted", "pending", "sent", "delivered", "read", "played"];

/// How one message ended.
pub(super) struct Followed {
    scheme: Scheme,
    status: Option<u16>,
    id: Option<EntryId>,
    ms: u128,
    /// Why it was not answered, or how.
    explained: Vec<String>,
    pub(super) is_answered: bool,
}

impl Followed {
    pub(super) fn document(&self) -> Value {
        json!({
            "header": self.scheme.header(),
            "httpStatus": self.status,
            "messageId": self.id.map(|it| it.to_string()),
            "answered": self.is_answered,
            "milliseconds": self.ms,
            "explanation": self.explained,
        })
    }
}

impl Trial {
    /// Posts the message in one dialect and follows it.
    pub(super) async fn try_one(&self, scheme: Scheme) -> anyhow::Result<Followed> {
        self.say_line(&format!("{} → {}", scheme.header(), self.hook));
        let started = Instant::now();
        let answered = self.post(scheme).await?;
        let mut followed = Followed {
            scheme,
            status: answered.as_ref().map(|it| it.status),
            id: None,
            ms: 0,
            explained: Vec::new(),
            is_answered: false,
        };
        match kept(answered.as_ref()) {
            Ok(id) => {
                followed.id = Some(id);
                followed.is_answered = self.follow(id, started).await?;
                let asked = Asked {
                    id,
                    vendor: self.vendor.clone(),
                    is_serving: true,
                    server: None,
                    hints: self.hints.clone(),
                };
                let told = Told::of(&self.gateway, asked).await?;
                followed.explained = told.sentences(self.language);
            }
            Err(refused) => {
                let command = format!("→ waba-gateway doctor --vendor {}", self.vendor);
                followed.explained = vec![refused.of(self.language).to_owned(), command];
            }
        }
        followed.ms = started.elapsed().as_millis();
        self.conclude(&followed);
        Ok(followed)
    }

    fn conclude(&self, followed: &Followed) {
        for sentence in &followed.explained {
            self.say_line(&format!("  {sentence}"));
        }
        let ms = followed.ms;
        self.say(&if followed.is_answered {
            Words::new(format!("  ANSWERED after {ms} ms"), format!("  RÉPONSE après {ms} ms"))
        } else {
            Words::new("  NOT ANSWERED", "  PAS DE RÉPONSE")
        });
        self.say_line("");
    }

    /// Prints the steps as they come. Whether the message was answered, and the answer has left.
    async fn follow(&self, id: EntryId, started: Instant) -> anyhow::Result<bool> {
        let mut n_told: BTreeMap<EntryId, usize> = BTreeMap::new();
        loop {
            let message = self.gateway.journey(&self.vendor, id).await?;
            self.tell_news(&message, &mut n_told, started);
            let answers: Vec<String> = message.answers.iter().map(|it| it.status.clone()).collect();
            for answer in &message.answers {
                let answer = self.gateway.journey(&self.vendor, answer.id).await?;
                self.tell_news(&answer, &mut n_told, started);
            }
            let is_settled = message.row.status != "waiting"
                && answers.iter().all(|it| !UNSETTLED.contains(&it.as_str()));
            if is_settled {
                let has_left = answers.iter().all(|it| LEFT.contains(&it.as_str()));
                return Ok(has_left && !answers.is_empty());
            }
            if started.elapsed() >= self.wait {
                let seconds = self.wait.as_secs();
                self.say(&Words::new(
                    format!("  not settled after {seconds} s (--wait)"),
                    format!("  toujours pas réglé après {seconds} s (--wait)"),
                ));
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn tell_news(
        &self,
        journey: &Journey,
        n_told: &mut BTreeMap<EntryId, usize>,
        started: Instant,
    ) {
        let n_told = n_told.entry(journey.row.id).or_default();
        let steps = worth_telling(&journey.steps);
        for (_, step) in steps.iter().skip(*n_told) {
            let ms = started.elapsed().as_millis();
            let words = step_words(step);
            self.say_line(&format!(
                "  {ms:>6} ms  {}  {}",
                journey.row.id,
                words.of(self.language)
            ));
        }
        *n_told = steps.len();
    }
}

/// The message's id, or why it was not kept.
fn kept(answered: Option<&Answered>) -> Result<EntryId, Words> {
    let Some(Answered { status, id }) = answered else {
        return Err(Words::new(
            "Nothing answers there: the server does not run, or APP_BASE_URL does not lead to it.",
            "Rien ne répond à cette adresse : le serveur ne tourne pas, ou APP_BASE_URL n'y mène pas.",
        ));
    };
    match (*status, id.as_ref().and_then(|it| it.parse().ok())) {
        (200, Some(id)) => Ok(id),
        (401, _) => Err(Words::new(
            "Refused (401): the server at this address knows another secret of this vendor, or it is another gateway.",
            "Refusé (401) : le serveur à cette adresse connaît un autre secret de ce vendeur, ou c'est une autre passerelle.",
        )),
        (404, _) => Err(Words::new(
            "Answered 404: APP_BASE_URL leads to something else, or a proxy changes the path.",
            "Réponse 404 : APP_BASE_URL mène ailleurs, ou un relais change le chemin.",
        )),
        (503, _) => Err(Words::new(
            "Answered 503: the server cannot keep messages now (disk, or too much waiting).",
            "Réponse 503 : le serveur ne peut pas garder de messages en ce moment (disque, ou trop d'attente).",
        )),
        (status, _) => Err(Words::new(
            format!(
                "Answered {status}, which is not this gateway's answer: look at the proxy in front of it."
            ),
            format!(
                "Réponse {status}, qui n'est pas celle de cette passerelle : regardez le relais placé devant elle."
            ),
        )),
    }
}
