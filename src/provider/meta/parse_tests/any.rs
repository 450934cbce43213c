//! Whatever comes is read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn one_bad_part_does_not_cost_the_others() {
    let hi = message("text", &json!({ "body": "hi" }), &json!({}));
    let value = json!({ "contacts": "nobody", "messages": [7, hi, null, { "type": "text" }, [hi]],
        "statuses": [{}, "sent"], "errors": {} });
    let body = json!({ "object": "whatsapp_business_account", "entry": [
        5, { "changes": [{ "field": 9 }, change("messages", value)] }, { "id": WABA },
    ] });
    let briefs: Vec<_> = parsed(&body).iter().flat_map(|it| &it.events).map(brief).collect();
    assert_eq!(briefs.iter().filter(|it| *it == "text hi").count(), 1);
    assert_eq!(briefs[0], "other unknown");
    for strange in [json!({ "object": "page", "entry": [] }), json!([1]), json!("x"), json!({})] {
        let parts = parsed(&strange);
        assert!(matches!(parts[0].events[0].what, What::Other { .. }), "{strange}");
    }
    assert!(parse::read(b"{\"object\":", &[]).is_err());
    assert!(parse::read(b"", &[]).is_err());
    // JavaScript cuts emojis in two.
    let cut = br#"{"object":"\ud83d"}"#;
    assert_eq!(parse::read(cut, &[]).unwrap().parts.len(), 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = [
        "object",
        "entry",
        "changes",
        "field",
        "value",
        "messages",
        "statuses",
        "type",
        "text",
        "id",
        "from",
        "whatsapp_business_account",
        "metadata",
        "phone_number_id",
        "interactive",
        "image",
        "system",
        "contacts",
        "name",
        "errors",
        "code",
        "edit",
        "message",
        "1749854575",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let fields = prop::collection::vec((key.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            fields.prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_without_a_panic(value in any_json()) {
        let in_place = [
            value.clone(),
            json!({ "object": "whatsapp_business_account", "entry": value }),
            body(&[json!({ "field": "messages", "value": value })]),
            body(&[change("messages", json!({ "messages": [value], "statuses": [value] }))]),
            body(&[said(&message("interactive", &value, &json!({})))]),
            body(&[said(&message("edit", &value, &json!({})))]),
            body(&[json!({ "field": "account_update", "value": value })]),
        ];
        for it in in_place {
            let parts = parse::read(it.to_string().as_bytes(), &[]).unwrap().parts;
            // Whatever it was, something of it is kept.
            prop_assert!(!parts.is_empty() && parts.iter().all(|it| !it.events.is_empty()));
        }
    }

    #[test]
    fn a_body_that_was_cut_off_is_told_and_nothing_else_is_lost(at in 0_usize..1_000) {
        let whole = body(&[said(&message("text", &json!({ "body": "hi 😀" }), &json!({})))]);
        let whole = whole.to_string();
        let cut = &whole.as_bytes()[..at.min(whole.len() - 1)];
        prop_assert!(parse::read(cut, &[]).is_err());
        prop_assert_eq!(parse::read(whole.as_bytes(), &[]).unwrap().parts.len(), 1);
    }
}
