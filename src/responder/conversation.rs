//! Dialect *conversation* (`docs/CONTRACT.md` §3): the field names are its callers'.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Answer, Question, Reply, ResponderError, response_api::REPLY_CHARS_MAX};
use crate::domain::{
    message::Content,
    phone::PhoneNumber,
    secret::{ExposeSecret, SecretString},
};

/// Turns that are told, the present message included.
const TURNS_MAX: usize = 10;
/// Where calls go, below the configured base.
const PATH_END: &str = "response";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    /// The latest turns, as JSON in a string.
    query: String,
    mode: &'static str,
    user: UserBody<'a>,
    metadata: MetadataBody,
    chatbot_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserBody<'a> {
    unique_client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversly_web_id: Option<&'a str>,
    metadata: UserMetadataBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserMetadataBody<'a> {
    platform: &'static str,
    phone_number: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetadataBody {
    origin_url: &'static str,
}

#[derive(Serialize)]
struct TurnBody<'a> {
    role: &'static str,
    content: &'a str,
}

/// `citations` are for web pages, where they can be clicked; a customer is not sent them.
#[derive(Deserialize)]
struct AnswerBody {
    success: bool,
    response: Option<String>,
}

/// The address that is called: `/response` below the base, unless it ends so.
pub(super) fn address(mut base: Url) -> Url {
    let is_whole = base.path().trim_end_matches('/').rsplit('/').next() == Some(PATH_END);
    if !is_whole && let Ok(mut path) = base.path_segments_mut() {
        path.pop_if_empty().push(PATH_END);
    }
    base
}

/// Only text, buttons and what was chosen of a menu go to the response API; the rest is stored.
pub(super) fn is_asked_about(question: &Question) -> bool {
    let is_worded = matches!(question.content, Content::Text { .. } | Content::Choices(_));
    question.option.is_some() || (is_worded && !question.text().trim().is_empty())
}

pub(super) fn body(
    question: &Question,
    chatbot_id: &str,
    web_id: Option<&SecretString>,
) -> Result<Vec<u8>, ResponderError> {
    // A customer known by LID alone still has a conversation of their own.
    let phone = question.from.as_ref().map(PhoneNumber::digits);
    let client = phone.map_or_else(|| question.conversation.to_string(), str::to_owned);
    let body = Body {
        query: query(question)?,
        mode: "default",
        user: UserBody {
            unique_client_id: format!("whatsapp_{client}_{chatbot_id}"),
            conversly_web_id: web_id.map(ExposeSecret::expose_secret),
            metadata: UserMetadataBody {
                platform: "whatsapp",
                phone_number: phone.unwrap_or_default(),
            },
        },
        metadata: MetadataBody { origin_url: "whatsapp://chat" },
        chatbot_id,
    };
    serde_json::to_vec(&body).map_err(|_| ResponderError::Garbled)
}

/// The latest turns that say something, the present message last.
fn query(question: &Question) -> Result<String, ResponderError> {
    let said = question.history.iter().filter(|it| !it.1.0.trim().is_empty());
    let mut turns: Vec<TurnBody<'_>> = said
        .map(|(is_user, text)| TurnBody {
            role: if *is_user { "user" } else { "assistant" },
            content: &text.0,
        })
        .collect();
    turns.push(TurnBody { role: "user", content: question.text() });
    let latest = &turns[turns.len().saturating_sub(TURNS_MAX)..];
    serde_json::to_string(latest).map_err(|_| ResponderError::Garbled)
}

pub(super) fn read(body: &[u8]) -> Result<Answer, ResponderError> {
    let body: AnswerBody = serde_json::from_slice(body).map_err(|_| ResponderError::Garbled)?;
    let text = body.response.unwrap_or_default();
    if !body.success || text.trim().is_empty() {
        return Err(ResponderError::Failed);
    }
    if text.chars().count() > REPLY_CHARS_MAX {
        return Err(ResponderError::Unusable("response has more than 65,536 characters"));
    }
    Ok(Answer::Reply(Reply::text(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        id::{ContactId, EntryId, InstanceId, VendorId},
        message::{Choice, Text},
    };

    fn text(it: &str) -> Text {
        Text(it.to_owned())
    }

    fn question(content: Content) -> Question {
        let history = (1..=10).map(|n| (n % 2 == 1, text(&format!("tour {n}")))).collect();
        Question {
            vendor: VendorId::parse("vendor_001").unwrap(),
            instance: InstanceId::parse("waba_vendor_001").unwrap(),
            conversation: ContactId(7),
            from: PhoneNumber::from_wire("221771234567").ok(),
            name: Some(text("Awa")),
            content,
            option: None,
            id: EntryId(9),
            at: 0,
            history,
            is_open: true,
        }
    }

    fn asked(question: &Question, web_id: Option<&str>) -> Value {
        let web_id = web_id.map(SecretString::from);
        serde_json::from_slice(&body(question, "bot_9", web_id.as_ref()).unwrap()).unwrap()
    }

    #[test]
    fn a_question_is_as_its_callers_know_it() {
        let body = asked(&question(Content::text("tour 11 «\"»")), Some("web-key"));
        let turns = (2..=10).map(|n| {
            let role = if n % 2 == 1 { "user" } else { "assistant" };
            json!({ "role": role, "content": format!("tour {n}") })
        });
        let present = json!({ "role": "user", "content": "tour 11 «\"»" });
        let turns: Vec<Value> = turns.chain([present]).collect();
        let query: Value = serde_json::from_str(body["query"].as_str().unwrap()).unwrap();
        assert_eq!(query, json!(turns));
        let want = json!({
            "query": body["query"],
            "mode": "default",
            "user": {
                "uniqueClientId": "whatsapp_221771234567_bot_9",
                "converslyWebId": "web-key",
                "metadata": { "platform": "whatsapp", "phoneNumber": "221771234567" },
            },
            "metadata": { "originUrl": "whatsapp://chat" },
            "chatbotId": "bot_9",
        });
        assert_eq!(body, want);
    }

    #[test]
    fn turns_without_words_are_left_out_and_an_option_is_its_title() {
        let option =
            Choice { id: "b".to_owned(), title: text("Livraison"), description: Text::default() };
        let history = vec![(true, text(" ")), (false, text("1. Retrait\n2. Livraison"))];
        let question = Question { option: Some(option), history, ..question(Content::text("2")) };
        let body = asked(&question, None);
        let query: Value = serde_json::from_str(body["query"].as_str().unwrap()).unwrap();
        assert_eq!(query.as_array().unwrap().len(), 2);
        assert_eq!(query[1], json!({ "role": "user", "content": "Livraison" }));
        assert_eq!(body["user"].get("converslyWebId"), None);
    }

    #[test]
    fn only_text_and_options_are_asked_about() {
        let place = Content::Location { latitude: 0.0, longitude: 0.0, text: text("Dakar") };
        let strange = Content::Unsupported { kind: "poll".to_owned(), text: text("x") };
        for content in [place, strange, Content::text(" ")] {
            assert!(!is_asked_about(&question(content)));
        }
        assert!(is_asked_about(&question(Content::text("horaires"))));
    }

    #[test]
    fn the_address_ends_in_response_once() {
        for (base, want) in [
            ("https://api.x.sn", "https://api.x.sn/response"),
            ("https://api.x.sn/", "https://api.x.sn/response"),
            ("https://api.x.sn/v1", "https://api.x.sn/v1/response"),
            ("https://api.x.sn/v1/?k=1", "https://api.x.sn/v1/response?k=1"),
            ("https://api.x.sn/v1/response", "https://api.x.sn/v1/response"),
            ("https://api.x.sn/v1/response/", "https://api.x.sn/v1/response/"),
            ("https://api.x.sn/my-response", "https://api.x.sn/my-response/response"),
        ] {
            assert_eq!(address(Url::parse(base).unwrap()).as_str(), want);
        }
    }

    #[test]
    fn an_answer_is_a_text_or_a_failure() {
        let read = |it: Value| read(it.to_string().as_bytes());
        let good = json!({ "success": true, "response": "Oui", "citations": ["https://x"] });
        assert_eq!(read(good), Ok(Answer::Reply(Reply::text("Oui"))));
        for bad in [
            json!({ "success": false, "response": "Oui" }),
            json!({ "success": true }),
            json!({ "success": true, "response": " " }),
        ] {
            assert_eq!(read(bad.clone()), Err(ResponderError::Failed), "{bad}");
        }
        for garbled in [json!({ "response": "Oui" }), json!([]), json!("Oui")] {
            assert_eq!(read(garbled), Err(ResponderError::Garbled));
        }
    }
}
