//! What is refused before anything leaves (`docs/wire/meta-unipile-twilio.md` B2).

use super::*;

fn interactive(kind: &str, action: &Value) -> Value {
    let body = json!({ "text": "Which?" });
    let it = json!({ "type": kind, "body": body, "action": action });
    json!({ "type": "interactive", "interactive": it })
}

fn buttons(n: usize, title: &str) -> Value {
    let button = |n: usize| json!({ "type": "reply", "reply": { "id": n.to_string(), "title": format!("{title}{n}") } });
    interactive("button", &json!({ "buttons": (0..n).map(button).collect::<Vec<_>>() }))
}

fn list(n_sections: usize, n_rows: usize) -> Value {
    let row = |at: usize, n: usize| json!({ "id": format!("{at}.{n}"), "title": "t" });
    let section = |at: usize| {
        let rows: Vec<_> = (0..n_rows).map(|n| row(at, n)).collect();
        json!({ "title": format!("s{at}"), "rows": rows })
    };
    let sections: Vec<_> = (0..n_sections).map(section).collect();
    interactive("list", &json!({ "button": "Show", "sections": sections }))
}

fn flow(parameters: &Value) -> Value {
    let mut all = json!({ "flow_message_version": "3", "flow_id": "1", "flow_cta": "Book" });
    all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    interactive("flow", &json!({ "name": "flow", "parameters": all }))
}

fn text(n: usize) -> Value {
    json!({ "text": { "body": "é".repeat(n) } })
}

fn link(kind: &str, more: &Value) -> Value {
    let mut object = json!({ "link": "https://x/f" });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "type": kind, kind: object })
}

fn caption(n: usize) -> Value {
    json!({ "caption": "c".repeat(n) })
}

fn cta(label: &str) -> Value {
    let parameters = json!({ "display_text": label, "url": "https://x" });
    interactive("cta_url", &json!({ "name": "cta_url", "parameters": parameters }))
}

fn card(name: &Value) -> Value {
    json!({ "type": "contacts", "contacts": [{ "name": name }] })
}

fn template(components: &Value) -> Value {
    let it = json!({ "name": "t", "language": { "code": "fr" }, "components": components });
    json!({ "type": "template", "template": it })
}

fn cases() -> Vec<(Value, u64)> {
    vec![
        (text(4_096), 0),
        (text(4_097), 131_009),
        (text(0), 131_008),
        (json!({ "to": "abc", "text": { "body": "x" } }), 131_009),
        (json!({ "recipient": "1349", "text": { "body": "x" } }), 131_009),
        (json!({ "text": { "body": "x" }, "biz_opaque_callback_data": "x".repeat(513) }), 131_009),
        (link("image", &caption(1_024)), 0),
        (link("image", &caption(1_025)), 131_009),
        (link("audio", &json!({})), 0),
        (link("audio", &caption(1)), 131_009),
        (link("document", &json!({ "filename": "a.pdf" })), 0),
        (link("video", &json!({ "filename": "a.mp4" })), 131_009),
        (link("sticker", &json!({ "id": "1" })), 131_009),
        (json!({ "type": "image", "image": { "id": "1" } }), 131_009),
        (json!({ "type": "image", "image": {} }), 131_008),
        (json!({ "type": "image" }), 131_008),
        (json!({ "type": "poll", "poll": {} }), 131_051),
        (json!({ "type": "location", "location": { "latitude": 1.5, "longitude": "2" } }), 0),
        (json!({ "type": "location", "location": { "latitude": 91, "longitude": 2 } }), 131_009),
        (json!({ "type": "reaction", "reaction": { "message_id": "w", "emoji": "" } }), 0),
        (json!({ "type": "reaction", "reaction": { "message_id": "w" } }), 131_008),
        (card(&json!({ "formatted_name": "A", "first_name": "A" })), 0),
        (card(&json!({ "formatted_name": "A" })), 131_008),
        (buttons(3, "b"), 0),
        (buttons(4, "b"), 131_009),
        (buttons(1, &"b".repeat(20)), 131_009),
        (list(1, 10), 0),
        (list(2, 6), 131_009),
        (list(11, 1), 131_009),
        (cta("Open"), 0),
        (cta(&"o".repeat(21)), 131_009),
        (flow(&json!({})), 0),
        (flow(&json!({ "flow_cta": "b".repeat(31) })), 131_009),
        (flow(&json!({ "flow_name": "n" })), 131_008),
        (flow(&json!({ "flow_action": "navigate" })), 131_008),
        (interactive("location_request_message", &json!({ "name": "send_location" })), 0),
        (interactive("location_request_message", &json!({})), 131_009),
        (interactive("carousel", &json!({})), 131_009),
        (template(&json!([{ "type": "BODY", "parameters": [] }])), 0),
        (template(&json!([{ "type": "button", "index": 0 }])), 131_008),
        (template(&json!([{ "type": "tail" }])), 131_009),
    ]
}

#[tokio::test]
async fn every_type_is_taken_at_its_limit_and_refused_beyond() {
    let rig = rig().await;
    for (body, want) in cases() {
        let (status, answer) = rig.send(body.clone()).await;
        let code = answer["error"]["code"].as_u64().unwrap_or_default();
        assert_eq!((status, code), (if want == 0 { 200 } else { 400 }, want), "{body} {answer}");
    }
    let mut twice = buttons(2, "b");
    twice["interactive"]["action"]["buttons"][1]["reply"]["title"] = json!("b0");
    assert_eq!(rig.send(twice).await.0, 400);
    let mut titled = buttons(1, "b");
    titled["interactive"]["header"] = json!({ "type": "text", "text": "h".repeat(61) });
    assert_eq!(rig.send(titled.clone()).await.0, 400);
    titled["interactive"]["header"]["text"] = json!("h".repeat(60));
    titled["interactive"]["footer"] = json!({ "text": "f".repeat(60) });
    assert_eq!(rig.send(titled).await.0, 200);
}
