//! `POST …/Messages.json`, well or badly (`docs/wire/meta-unipile-twilio.md` E1).

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use super::{
    api::{refused, shown},
    follow::{Moods, Passage},
    form::Form,
    world::{Entry, TwilioFault, TwilioNumber, TwilioSent, World},
};
use crate::twin::{
    answer::{self, Refusal},
    clock,
};

/// Of a body, in characters.
const BODY_CHARS_MAX: usize = 1_600;
/// How long after the answer to a send its first status callback leaves.
const HOOKS_AFTER: Duration = Duration::from_millis(20);
/// A file could not be fetched.
const NO_MEDIA: u32 = 63_019;

pub(super) async fn send_message(
    State(world): State<Arc<World>>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let number = world.owner(&headers, &account)?;
    let form = Form::read(&body);
    check(&number, &form)?;
    let (late, how, moods) = {
        let mut book = world.book();
        let line = book.lines.get_mut(&account).ok_or_else(|| refused(404, 20404))?;
        let late = line.faults.take(|it| matches!(it, TwilioFault::Slow(_)));
        let how = line.faults.take(shapes_the_answer);
        let takes = takes(how.as_ref());
        (late, how, takes.then(|| Moods::of_send(line)))
    };
    let late = match late {
        Some(TwilioFault::Slow(late)) => late,
        _ => Duration::ZERO,
    };
    let mut taken = None;
    if let Some(moods) = moods {
        taken = Some(take(&world, number, form, moods, late).await);
    }
    tokio::time::sleep(late).await;
    Ok(match how {
        Some(TwilioFault::Cut { accepted: _ }) => answer::cut(),
        Some(TwilioFault::Fail { status, .. }) => answer::broken(status),
        Some(TwilioFault::Garbled) => {
            (StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], r#"{"sid":"SM"#)
                .into_response()
        }
        Some(TwilioFault::Refuse { status, code }) => refused(status, code).into_response(),
        _ => match taken {
            Some(taken) => (StatusCode::CREATED, Json(taken)).into_response(),
            None => future::pending().await,
        },
    })
}

/// Takes a send, and says how it is shown.
async fn take(
    world: &Arc<World>,
    number: TwilioNumber,
    form: Form,
    mut moods: Moods,
    late: Duration,
) -> serde_json::Value {
    let file = match form.get("MediaUrl") {
        Some(url) => {
            let file = fetch(world, url).await;
            if file.is_none() {
                moods.fails_later = Some(NO_MEDIA);
            }
            file
        }
        None => None,
    };
    let sent = TwilioSent {
        account_sid: number.account_sid.clone(),
        sid: world.sid(if file.is_some() { "MM" } else { "SM" }),
        to: form.get("To").unwrap_or_default().to_owned(),
        from: format!("whatsapp:{}", number.phone_number),
        text: form.get("Body").unwrap_or_default().to_owned(),
        form,
        file,
        at: Instant::now(),
    };
    let entry = Entry {
        sent: sent.clone(),
        status: "queued",
        code: None,
        is_listed: !moods.is_unlisted,
        at_secs: clock::now_secs(),
    };
    let taken = shown(&entry);
    world.book().entries.push(entry);
    world.n_sends.send_modify(|it| *it += 1);
    let is_early = moods.is_early;
    let after = if is_early { Duration::ZERO } else { late + HOOKS_AFTER };
    let underway = Passage { number, sent, moods }.start(world, after);
    if let Some(underway) = underway.filter(|_| is_early) {
        // It cannot fail but by a panic, which has been printed by then.
        let _ = underway.await;
    }
    taken
}

fn shapes_the_answer(fault: &TwilioFault) -> bool {
    matches!(
        fault,
        TwilioFault::Cut { .. }
            | TwilioFault::Fail { .. }
            | TwilioFault::Garbled
            | TwilioFault::Refuse { .. }
    )
}

/// Whether the message is taken, whatever the answer.
fn takes(how: Option<&TwilioFault>) -> bool {
    match how {
        Some(TwilioFault::Cut { accepted } | TwilioFault::Fail { accepted, .. }) => *accepted,
        Some(TwilioFault::Refuse { .. }) => false,
        _ => true,
    }
}

fn check(number: &TwilioNumber, form: &Form) -> Result<(), Refusal> {
    let whatsapp = |it: &str| it.strip_prefix("whatsapp:").map(str::to_owned);
    let to = form.get("To").and_then(whatsapp).ok_or_else(|| refused(400, 21_211))?;
    let is_phone = to
        .strip_prefix('+')
        .is_some_and(|it| (7..=15).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_digit()));
    let is_bsuid = to.split_once('.').is_some_and(|it| it.0.len() == 2 && !it.1.is_empty());
    if !is_phone && !is_bsuid {
        return Err(refused(400, 21_211));
    }
    let from = form.get("From").and_then(whatsapp);
    let service = form.get("MessagingServiceSid");
    let is_own = from.is_some_and(|it| it == number.phone_number)
        || service.is_some_and(|it| it == number.messaging_service_sid);
    if !is_own {
        return Err(refused(400, 63_007));
    }
    let has_content = ["Body", "MediaUrl", "ContentSid"].iter().any(|it| form.get(it).is_some());
    if !has_content {
        return Err(refused(400, 21_619));
    }
    if form.get("Body").is_some_and(|it| it.chars().count() > BODY_CHARS_MAX) {
        return Err(refused(400, 21_617));
    }
    let is_text_of_json = |it: &str| serde_json::from_str::<serde_json::Value>(it).is_ok();
    if form.get("ContentVariables").is_some_and(|it| !is_text_of_json(it)) {
        return Err(refused(400, 21_656));
    }
    Ok(())
}

/// Fetches a file as Twilio does.
async fn fetch(world: &World, url: &str) -> Option<(String, Bytes)> {
    let answer = world.hooks.client.get(url).send().await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    let mime_type = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?.to_owned();
    Some((mime_type, answer.bytes().await.ok()?))
}
