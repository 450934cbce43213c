//! What is sent through Meta, and what becomes of it.

use super::*;

#[expect(clippy::too_many_lines, reason = "it is a table")]
#[tokio::test]
async fn every_kind_of_content_is_what_meta_takes() {
    let shop = shop().await;
    let options = json!([{ "id": "a", "title": "Oui" }, { "id": "b", "title": "Non" }]);
    let choices = |is_list: bool| {
        json!({ "type": "choices", "text": "On livre ?\n\n1. Oui\n2. Non", "prompt": "On livre ?",
            "options": options, "isList": is_list })
    };
    let components = json!([{ "type": "body", "parameters": [{ "type": "text", "text": "Zoë" }] }]);
    let media = |kind: &str| json!({ "type": "media", "kind": kind, "caption": "", "url": "https://files.example/a" });
    let kinds = [
        (json!({ "type": "text", "text": "Bonjour" }), "text", "/text/body", json!("Bonjour")),
        (media("image"), "image", "/image/link", json!("https://files.example/a")),
        (media("document"), "document", "/document/link", json!("https://files.example/a")),
        (choices(false), "interactive", "/interactive/action/buttons/1/reply/id", json!("b")),
        (choices(true), "interactive", "/interactive/action/sections/0/rows/0/title", json!("Oui")),
        (
            json!({ "type": "template", "name": "rappel", "language": "fr",
                "components": components, "text": "" }),
            "template",
            "/template/components",
            components.clone(),
        ),
        (
            json!({ "type": "ctaUrl", "text": "Voir", "label": "Ouvrir", "url": "https://x.example" }),
            "interactive",
            "/interactive/action/parameters/url",
            json!("https://x.example"),
        ),
        (
            json!({ "type": "flow", "text": "RDV", "cta": "Prendre", "id": "42" }),
            "interactive",
            "/interactive/action/parameters/flow_id",
            json!("42"),
        ),
        (
            json!({ "type": "locationRequest", "text": "Où ?" }),
            "interactive",
            "/interactive/action/name",
            json!("send_location"),
        ),
        (
            json!({ "type": "location", "latitude": 14.7, "longitude": -17.5, "text": "Dakar" }),
            "location",
            "/location/name",
            json!("Dakar"),
        ),
        (
            json!({ "type": "contact", "name": "Awa", "phone": "+221770555009" }),
            "contacts",
            "/contacts/0/phones/0/phone",
            json!("+221770555009"),
        ),
        (
            json!({ "type": "poll", "question": "Quand ?", "options": ["lundi", "mardi"] }),
            "text",
            "/text/body",
            json!("Quand ?\n\n1. lundi\n2. mardi"),
        ),
    ];
    // Before the window is closed for what is not a template.
    shop.says(&customer(), &MetaInbound::text("merci")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    for (n, (content, kind, at, want)) in kinds.into_iter().enumerate() {
        let id = shop.send(content.clone()).await;
        let sends = shop.meta.wait_sends(n + 2, DEADLINE).await;
        let sent = sends.last().unwrap();
        assert_eq!((sends.len(), sent.kind.as_str()), (n + 2, kind), "{content}");
        assert_eq!(sent.json().pointer(at), Some(&want), "{content}");
        assert_eq!(sent.json()["biz_opaque_callback_data"], id.as_str());
    }
    shop.app.settled().await;
}

#[tokio::test]
async fn a_message_that_fails_later_ends_by_what_its_code_means() {
    let shop = shop().await;
    for (code, want) in [(131_026, "undeliverable"), (131_049, "opted_out"), (132_001, "template")]
    {
        shop.misbehave(MetaMisbehaviour::FailsLater(code));
        let template = json!({ "type": "template", "name": "t", "language": "fr", "text": "" });
        let id = shop.send(template).await;
        assert_eq!(shop.is(&id, "dead").await, want, "{code}");
    }
    shop.app.settled().await;
    assert_eq!(shop.meta.sends().len(), 3, "none was sent again");
}

#[tokio::test]
async fn a_message_that_is_refused_waits_or_ends_by_what_its_code_means() {
    let shop = shop().await;
    let template = json!({ "type": "template", "name": "t", "language": "fr", "text": "" });
    for (code, status, want) in [
        (190, "parked", "unauthorized"),
        (368, "parked", "restricted"),
        (131_042, "parked", "plan"),
        (133_010, "parked", "not_registered"),
        (131_047, "parked", "window_closed"),
        (131_048, "parked", "quality"),
        (131_051, "dead", "unsupported"),
        (131_050, "dead", "opted_out"),
    ] {
        // Each on a number of its own: some of these close the way for a while.
        let number = shop.meta.add_number(NewMetaNumber::new(&format!("+22177{code:07}")));
        let vendor = vendor(&shop.app, &format!("vendor_{code}"), &[&number]).await;
        shop.meta.misbehave(&number.id, MetaMisbehaviour::Refuse(code), Times::Once);
        let id = shop.send_of(&vendor, template.clone()).await;
        assert_eq!(shop.is_of(&vendor, &id, status).await, want, "{code}");
    }
    assert!(shop.meta.sends().is_empty());
    // What is only too much now is sent a little later, once.
    shop.misbehave(MetaMisbehaviour::Refuse(130_429));
    let id = shop.send(template).await;
    shop.is(&id, "read").await;
    assert_eq!(shop.meta.sends().len(), 1);
}

#[tokio::test]
async fn a_send_that_nobody_answered_is_settled_by_its_status_and_not_repeated() {
    let shop = shop().await;
    let template = json!({ "type": "template", "name": "t", "language": "fr", "text": "" });
    shop.misbehave(MetaMisbehaviour::Cut { accepted: true });
    let cut = shop.send(template.clone()).await;
    shop.is(&cut, "read").await;
    shop.misbehave(MetaMisbehaviour::Fail { status: 500, accepted: true });
    let failed = shop.send(template.clone()).await;
    shop.is(&failed, "read").await;
    shop.misbehave(MetaMisbehaviour::Garbled);
    let garbled = shop.send(template.clone()).await;
    shop.is(&garbled, "read").await;
    // A status that overtakes its answer, and all of them in one webhook, in any order.
    shop.misbehave(MetaMisbehaviour::EarlyStatuses);
    let early = shop.send(template.clone()).await;
    shop.is(&early, "read").await;
    shop.misbehave(MetaMisbehaviour::BatchedStatuses);
    shop.misbehave(MetaMisbehaviour::StatusesOutOfOrder);
    let batched = shop.send(template).await;
    shop.is(&batched, "read").await;
    shop.app.settled().await;
    assert_eq!(shop.meta.sends().len(), 5);
}

#[tokio::test]
async fn a_message_of_ours_is_quoted_and_reacted_to_by_its_id_at_meta() {
    let shop = shop().await;
    shop.says(&customer(), &MetaInbound::text("merci")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    let first = shop.send(json!({ "type": "text", "text": "Bonjour" })).await;
    shop.is(&first, "read").await;
    let wamid = shop.meta.sends()[1].wamid.clone();
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    for (n, (message, place)) in [
        (json!({ "type": "text", "text": "Encore" }), "/context/message_id"),
        (json!({ "type": "reaction", "reaction": { "emoji": "👍" } }), "/reaction/message_id"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = message;
        body["to"] = json!(CUSTOMER);
        body["replyTo"] = json!(first);
        let taken = shop.app.admin.post(&path, body).await;
        assert_eq!(taken.status, 202, "{}", taken.text);
        let sends = shop.meta.wait_sends(n + 3, DEADLINE).await;
        assert_eq!(sends[n + 2].json().pointer(place), Some(&json!(wamid)), "{place}");
    }
    shop.app.settled().await;
}

#[tokio::test]
async fn customers_see_that_they_are_read_and_answered() {
    let shop = shop().await;
    let change =
        VendorChange { mark_as_read: Some(true), typing: Some(true), ..VendorChange::default() };
    shop.app.gateway.put_vendor(&shop.vendor.id, change).await.unwrap();
    shop.says(&customer(), &MetaInbound::text("horaires").with_id("wamid.IN")).await;
    let reads = shop.meta.wait_reads(2, DEADLINE).await;
    let seen: Vec<_> = reads.iter().map(|it| (it.wamid.as_str(), it.is_typing)).collect();
    assert_eq!(seen, [("wamid.IN", true), ("wamid.IN", false)]);
}

#[tokio::test]
async fn what_meta_has_no_form_for_is_refused_before_any_call() {
    let shop = shop().await;
    let path = format!("/api/v1/vendors/{}/messages", shop.vendor.id);
    let n_asked = shop.meta.requests().len();
    let template = |it: Value| json!({ "to": CUSTOMER, "type": "template", "template": it });
    let poll = |options: &[&str]| {
        let poll = json!({ "question": "Quand ?", "options": options });
        json!({ "to": CUSTOMER, "type": "poll", "poll": poll })
    };
    for (body, want) in [
        (template(json!({ "contentSid": "HX1" })), "template.name: Meta sends templates by"),
        (poll(&["lundi"]), "poll.options: are 2 to 12"),
        (poll(&[]), "poll.options: are 2 to 12"),
    ] {
        let refused = shop.app.admin.post(&path, body).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        let why = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(why.starts_with(want), "{why}");
    }
    assert!(shop.app.messages(&shop.vendor).await.is_empty());
    assert_eq!(shop.meta.requests().len(), n_asked);
}
