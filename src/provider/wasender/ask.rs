//! Questions to Wasender: what became of a message, whose a LID is, how a session is
//! (`docs/wire/wasender.md` §2.2, §2.3, §2.5, §3).

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{Wasender, connection_of, content, send::number_text};
use crate::{
    domain::{
        clock::{Millis, SECOND},
        contact::Lid,
        event::{Connection, Status},
        phone::PhoneNumber,
        waba::WabaInstance,
    },
    provider::{Found, NoAnswer, Question},
};

/// Entries of the message log that are looked at.
const LOG_ENTRIES: &str = "100";
/// The log's clock may be behind ours by this much.
const LOG_BEFORE: Millis = 3 * SECOND;
/// An entry later than this after the request is another send.
const LOG_AFTER: Millis = 120 * SECOND;

impl Wasender {
    /// `GET /messages/{msgId}/info`: the only bridge from Wasender's id to WhatsApp's.
    pub(super) async fn ask_info(&self, instance: &WabaInstance, ticket: &str) -> Option<Found> {
        let key = instance.wasender.session_key.as_ref()?;
        let url = self.url(&["messages", ticket, "info"]);
        let reply = self.call(Method::GET, &url, key, None).await.ok()?;
        if !reply.status.is_success() {
            return None;
        }
        let body: Value = serde_json::from_slice(&reply.body).ok()?;
        let data = &body["data"];
        let provider_id = [&data["key"]["id"], &data["id"]].into_iter().find_map(Value::as_str);
        Some(Found {
            status: status_of(&data["status"]),
            failure: None,
            provider_id: provider_id.map(str::to_owned),
            ticket: None,
        })
    }

    /// The account's log of API sends. It is only believed when exactly one entry fits; an entry
    /// that is missing proves nothing.
    pub(super) async fn ask_log(
        &self,
        instance: &WabaInstance,
        question: &Question<'_>,
    ) -> Option<Found> {
        let token = self.token(instance)?;
        let id = instance.wasender.instance_id.as_deref()?;
        let mut url = self.url(&["whatsapp-sessions", id, "message-logs"]);
        url.query_pairs_mut().append_pair("page", "1").append_pair("per_page", LOG_ENTRIES);
        let reply = self.call(Method::GET, &url, token, None).await.ok()?;
        if !reply.status.is_success() {
            return None;
        }
        let body: Value = serde_json::from_slice(&reply.body).ok()?;
        let items = body["data"]["data"].as_array().or_else(|| body["data"].as_array())?;
        let mut fitting = items.iter().filter(|it| fits(it, question));
        let only = fitting.next().filter(|_| fitting.next().is_none())?;
        let status = match only["status"].as_str()? {
            "sent" => Status::Sent,
            "failed" => Status::Failed,
            _ => Status::Pending,
        };
        Some(Found {
            status: Some(status),
            failure: None,
            provider_id: None,
            ticket: number_text(&only["id"]),
        })
    }

    /// `GET /pn-from-lid/{lid}`. Whether it wants the JID or its digits is not said: both are
    /// tried.
    pub(super) async fn ask_phone(
        &self,
        instance: &WabaInstance,
        lid: &Lid,
    ) -> Result<Option<PhoneNumber>, NoAnswer> {
        let Some(key) = instance.wasender.session_key.as_ref() else { return Ok(None) };
        for lid in [format!("{}@lid", lid.digits()), lid.digits().to_owned()] {
            let url = self.url(&["pn-from-lid", &lid]);
            let reply = self.call(Method::GET, &url, key, None).await.map_err(|_| NoAnswer)?;
            if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS {
                return Err(NoAnswer);
            }
            let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else { continue };
            let told = [&body["data"]["pn"], &body["pn"]].into_iter().find_map(Value::as_str);
            let phone = told.and_then(|it| PhoneNumber::from_wire(it).ok());
            if reply.status.is_success() && phone.is_some() {
                return Ok(phone);
            }
        }
        Ok(None)
    }

    /// `GET /status` with the session's key: a bare `{"status":"connected"}`.
    pub(super) async fn ask_connection(&self, instance: &WabaInstance) -> Option<Connection> {
        let key = instance.wasender.session_key.as_ref()?;
        let reply = self.call(Method::GET, &self.url(&["status"]), key, None).await.ok()?;
        let body: Value = serde_json::from_slice(&reply.body).ok()?;
        let word = body["status"].as_str().or_else(|| body["data"]["status"].as_str())?;
        connection_of(word).filter(|_| reply.status.is_success())
    }
}

fn fits(item: &Value, question: &Question<'_>) -> bool {
    let to = item["to"].as_str().and_then(|it| PhoneNumber::from_wire(it).ok());
    let content = item["content"].as_str().and_then(|it| serde_json::from_str::<Value>(it).ok());
    let at = item["created_at"].as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
    let is_near = at.is_some_and(|at| {
        let after = at.as_millisecond() - question.begun_at;
        // The log has whole seconds.
        (-LOG_BEFORE - SECOND..=LOG_AFTER).contains(&after)
    });
    is_near
        && to.is_some_and(|it| {
            question.to.phone.as_ref().is_some_and(|asked| asked.alias() == it.alias())
        })
        && content.is_some_and(|it| content::fits(&it, question.content))
}

/// The codes of `docs/wire/wasender.md` §4.5.
fn status_of(value: &Value) -> Option<Status> {
    let code = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    match code {
        0 => Some(Status::Failed),
        1 => Some(Status::Pending),
        2 => Some(Status::Sent),
        3 => Some(Status::Delivered),
        4 => Some(Status::Read),
        5 => Some(Status::Played),
        _ => None,
    }
}
