//! Keys of the administration: whose is good for what, for how long, and what is on record of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE, iso},
        secret::ExposeSecret,
    },
    gateway::{self, NewKey},
};

use crate::support::{Client, Options, TestApp, TestVendor, spawn_app, spawn_app_with};

/// Whose keys are good for a route.
#[derive(Clone, Copy, Debug, PartialEq)]
enum For {
    /// Anybody, without a key.
    Open,
    /// A vendor's keys for that vendor, and admins'.
    Vendor,
    /// The same, but not those that may only look.
    VendorChanges,
    /// Admins' keys.
    Admin,
    /// The same, but not those that may only look.
    AdminChanges,
}

/// Every operation of `/openapi.json` besides the webhooks.
const TABLE: &[(For, &[&str])] = &[
    (
        For::Open,
        &[
            "apiHealth",
            "health",
            "ready",
            "openapi",
            "enterDocs",
            "docs",
            "docsFile",
            "getLinkedMedia",
        ],
    ),
    (
        For::Vendor,
        &[
            "countMessages",
            "getBulk",
            "getVendor",
            "getInstance",
            "getMedia",
            "getMessage",
            "getOwnMessage",
            "exportConversation",
            "ledger",
            "listBulk",
            "listConversations",
            "listForwards",
            "listInstances",
            "listMessages",
            "listMessagesOfConversation",
            "numbersStatus",
            "showConversation",
            "wasenderStatus",
            "whatsappStatus",
        ],
    ),
    (
        For::VendorChanges,
        &[
            "cancelBulk",
            "deleteForward",
            "editMessage",
            "eraseConversation",
            "pauseBulk",
            "pauseByMessage",
            "pauseConversation",
            "putVendor",
            "renewSigningSecret",
            "replayForwards",
            "resumeBulk",
            "resumeByMessage",
            "resumeConversation",
            "sendAlert",
            "sendBulk",
            "sendMessage",
            "sendText",
            "setUpProviderWebhook",
            "setUpWebhook",
            "takeBackMessage",
            "testForward",
            "uploadMedia",
        ],
    ),
    (
        For::Admin,
        &[
            "countNumbers",
            "exportVendors",
            "journalEntries",
            "journalEntry",
            "journalLedger",
            "journalStats",
            "listAlerts",
            "listChanges",
            "listKeys",
            "listVendors",
            "metrics",
        ],
    ),
    (
        For::AdminChanges,
        &[
            "changeNumber",
            "createInstance",
            "createKey",
            "deleteKey",
            "deleteNumber",
            "importVendors",
            "journalPark",
            "journalRelease",
            "journalReplay",
            "journalReplayMany",
            "pauseAll",
            "pauseVendor",
            "resumeAll",
            "resumeVendor",
            "rotateSecret",
            "switchProvider",
        ],
    ),
];

/// Keys of every kind.
struct Keys(BTreeMap<&'static str, Client>);

impl Keys {
    async fn of(app: &TestApp, own: &TestVendor, other: &TestVendor) -> Self {
        let make = async |vendor: Option<&TestVendor>, read_only, expires_at| {
            let vendor = vendor.map(|it| it.id.clone());
            let new = NewKey { name: "k".to_owned(), vendor, read_only, expires_at };
            let (made, key) = app.gateway.create_key(new).await.unwrap();
            (made.id, app.admin.with_key(key.expose_secret()))
        };
        let revoked = make(None, false, None).await;
        app.gateway.store().delete_key(&revoked.0).await.unwrap();
        let past = app.clock.now() - 1;
        Self(BTreeMap::from([
            ("none", app.admin.with_key("")),
            ("garbage", app.admin.with_key("wgk_garbage")),
            ("revoked", revoked.1),
            ("expired", make(None, false, Some(past)).await.1),
            ("other vendor", make(Some(other), false, None).await.1),
            ("vendor, read only", make(Some(own), true, None).await.1),
            ("vendor", make(Some(own), false, None).await.1),
            ("admin, read only", make(None, true, None).await.1),
            ("admin", make(None, false, None).await.1),
        ]))
    }
}

/// What a request with this key is refused with; `None` is not at all.
fn refusal(class: For, key: &str) -> Option<u16> {
    let forbidden_unless = |is_allowed: bool| (!is_allowed).then_some(403);
    match (class, key) {
        (For::Open, _) => None,
        (_, "none" | "garbage" | "revoked" | "expired") => Some(401),
        (For::Vendor, key) => forbidden_unless(key != "other vendor"),
        (For::VendorChanges, key) => forbidden_unless(matches!(key, "vendor" | "admin")),
        (For::Admin, key) => forbidden_unless(key.starts_with("admin")),
        (For::AdminChanges, key) => forbidden_unless(key == "admin"),
    }
}

#[tokio::test]
async fn every_route_takes_every_kind_of_key_as_it_should() {
    let app = spawn_app().await;
    let document = app.admin.get("/openapi.json").await.json();
    let other = app.vendor(999).await;
    let (mut wrong, mut n_operations) = (Vec::new(), 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        if path.starts_with("/api/webhooks/") {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            // A path has other things besides.
            let Some(id) = operation["operationId"].as_str() else { continue };
            let class = TABLE.iter().find(|it| it.1.contains(&id));
            let Some(class) = class.map(|it| it.0) else { panic!("{id} is not in the table") };
            // Its own vendor and keys, for the limits of each.
            let own = app.vendor(n_operations).await;
            n_operations += 1;
            let path = path
                .replace("{vendor_id}", own.id.as_str())
                .replace("{waba_id}", "waba_none")
                .replace("{file}", "index.js")
                .replace("{message_id}", "msg_0000000000000001")
                .replace("{token}", "none")
                .replace("{media_id}", "med_0000000000000001")
                .replace("{event_id}", "evt_0000000000000001")
                .replace("{conversation_id}", "conv_1")
                .replace("{job_id}", "bulk_0000000000000001")
                .replace("{key_id}", "key_none");
            for (kind, client) in Keys::of(&app, &own, &other).await.0 {
                let method = method.to_uppercase();
                let body = (method != "GET").then(|| json!({}));
                let answer = client.call(&method, &path, body, &[]).await;
                let refused = Some(answer.status).filter(|it| [401, 403].contains(it));
                if refused != refusal(class, kind) {
                    wrong.push(format!("{id} with {kind}: {}", answer.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(n_operations as usize, TABLE.iter().map(|it| it.1.len()).sum::<usize>());
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to_and_shows_when_it_was_used() {
    let clock = Clock::fixed(1_800_000_000_000);
    let app = spawn_app_with(Options { clock: clock.clone(), ..Options::default() }).await;
    let ends = iso(clock.now() + 2 * HOUR);
    let made = app.admin.post("/api/admin/keys", json!({ "name": "short", "expiresAt": ends }));
    let made = made.await.json();
    assert_eq!((&made["expiresAt"], &made["lastUsedAt"]), (&json!(ends), &Value::Null));
    let client = app.admin.with_key(made["key"].as_str().unwrap());
    clock.advance(HOUR);
    assert_eq!(client.get("/api/admin/alerts").await.status, 200);
    let shown = async || {
        let keys = app.admin.get("/api/admin/keys").await.json();
        let all = keys["keys"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["id"] == made["id"]).unwrap()["lastUsedAt"].clone()
    };
    assert_eq!(shown().await, json!(iso(clock.now())), "before it is written");
    app.gateway.keep_keys_used().await.unwrap();
    let stored = app.gateway.store().keys().await.unwrap();
    let stored = stored.iter().find(|it| it.id == made["id"].as_str().unwrap()).unwrap();
    assert_eq!(stored.used_at, Some(clock.now()), "after it is written");
    clock.advance(HOUR);
    let refused = client.get("/api/admin/alerts").await;
    assert_eq!((refused.status, shown().await), (401, json!(iso(clock.now() - HOUR))));
    let unknown = app.admin.with_key("wgk_unknown").get("/api/admin/alerts").await;
    assert_eq!(refused.text, unknown.text, "nothing tells that there once was such a key");
    for (at, why) in [(iso(clock.now() - MINUTE), "has passed"), ("soon".to_owned(), "no time")] {
        let body = json!({ "name": "x", "expiresAt": at });
        let refused = app.admin.post("/api/admin/keys", body).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert!(refused.text.contains("expiresAt") && refused.text.contains(why));
    }
}

#[tokio::test]
async fn every_change_is_on_record_with_who_made_it_and_no_value() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let body = json!({ "name": "boss", "expiresAt": "2100-01-01T00:00:00Z" });
    let made = app.admin.post("/api/admin/keys", body).await.json();
    let boss = app.admin.with_key(made["key"].as_str().unwrap());
    let of_vendor = format!("/api/admin/vendors/{}", vendor.id);
    let secret = "a-very-new-webhook-secret-0000042";
    let number = format!("{of_vendor}/waba/waba_{}", vendor.id);
    let changed = boss.put(&number, json!({ "wasenderWebhookSecret": secret })).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(boss.post(&format!("{of_vendor}/pause"), json!({})).await.status, 200);
    // Neither what was refused nor what only looked.
    assert_eq!(boss.put(&number, json!({ "phoneNumber": "?" })).await.status, 422);
    assert_eq!(boss.get(&of_vendor).await.status, 200);
    let message = json!({ "to": "+221705550001", "message": "bonjour" });
    assert_eq!(boss.post(&format!("{of_vendor}/send-message"), message).await.status, 202);

    let page = boss.get("/api/admin/audit").await;
    let list: Vec<[Value; 4]> = page.json()["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| ["by", "what", "vendorId", "about"].map(|name| it[name].clone()))
        .collect();
    let (by, id) = (&made["id"], json!(vendor.id.as_str()));
    let waba = json!(format!("waba_{}", vendor.id));
    let wanted = [
        [by.clone(), json!("pauseVendor"), id.clone(), Value::Null],
        [by.clone(), json!("changeNumber"), id, waba],
    ];
    assert_eq!(list[..2], wanted);
    assert_eq!(list[2][1..], [json!("createKey"), Value::Null, by.clone()]);
    assert_eq!(list.len(), 3);
    assert!(!page.text.contains(secret) && !page.text.contains(&vendor.phone));

    let first = boss.get("/api/admin/audit?limit=2").await.json();
    let next = format!("/api/admin/audit?limit=2&cursor={}", first["nextCursor"]);
    let second = boss.get(&next).await.json();
    assert_eq!(second["changes"].as_array().unwrap().len(), 1);
    assert_eq!(second["nextCursor"], Value::Null);
    let of_one = format!("/api/admin/audit?vendorId={}", vendor.id);
    assert_eq!(boss.get(&of_one).await.json()["changes"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn changes_of_every_kind_are_on_record_with_when_they_were_made() {
    let clock = Clock::fixed(1_800_000_000_000);
    let app = spawn_app_with(Options { clock: clock.clone(), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let (of_all, of_vendor) = ("/api/admin", format!("/api/admin/vendors/{}", vendor.id));
    let made = app.admin.post("/api/admin/keys", json!({ "name": "k" })).await.json();
    let export = app.admin.get("/api/admin/export").await.json();
    let number = json!({ "phoneNumber": "+221771110002" });
    let twilio = json!({ "provider": "twilio", "config": { "accountSid": format!("AC{}", "0".repeat(32)),
        "authToken": "t", "from": "+14155238886" } });
    let (waba, second) = (format!("waba/waba_{}", vendor.id), format!("waba/waba_{}_2", vendor.id));
    let deeds = [
        ("putVendor", "PUT", of_vendor.clone(), json!({ "businessName": "Shop" })),
        ("renewSigningSecret", "POST", format!("{of_vendor}/signing-secret"), json!({})),
        ("createInstance", "POST", format!("{of_vendor}/waba-instances"), number),
        (
            "changeNumber",
            "PUT",
            format!("{of_vendor}/{second}"),
            json!({ "accountProtection": true }),
        ),
        ("deleteNumber", "DELETE", format!("{of_vendor}/{second}"), Value::Null),
        ("rotateSecret", "POST", format!("{of_vendor}/{waba}/rotate-secret"), json!({})),
        ("switchProvider", "POST", format!("{of_vendor}/switch-provider"), twilio),
        ("pauseVendor", "POST", format!("{of_vendor}/pause"), json!({})),
        ("resumeVendor", "POST", format!("{of_vendor}/resume"), json!({})),
        ("pauseAll", "POST", format!("{of_all}/pause"), json!({})),
        ("resumeAll", "POST", format!("{of_all}/resume"), json!({})),
        ("exportVendors", "GET", format!("{of_all}/export"), Value::Null),
        ("importVendors", "POST", format!("{of_all}/import"), export),
        ("createKey", "POST", format!("{of_all}/keys"), json!({ "name": "another" })),
        (
            "deleteKey",
            "DELETE",
            format!("{of_all}/keys/{}", made["id"].as_str().unwrap()),
            Value::Null,
        ),
    ];
    for (what, method, path, body) in deeds {
        clock.advance(MINUTE);
        let answer =
            app.admin.call(method, &path, Some(body).filter(|it| !it.is_null()), &[]).await;
        assert!((200..300).contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
        let latest = app.admin.get("/api/admin/audit?limit=1").await.json()["changes"][0].clone();
        let at = iso(clock.now());
        assert_eq!((&latest["what"], &latest["at"]), (&json!(what), &json!(at)), "{latest}");
        let is_of_vendor = path.starts_with(&of_vendor);
        let of = is_of_vendor.then(|| vendor.id.as_str());
        assert_eq!(latest["vendorId"].as_str(), of, "{latest}");
    }
}

#[tokio::test]
async fn of_a_key_nothing_but_its_hash_is_on_disk() {
    let mut app = spawn_app().await;
    let mut clear = Vec::new();
    for body in [json!({ "name": "one" }), json!({ "name": "two", "vendorId": "anna" })] {
        app.admin.put("/api/admin/vendors/anna", json!({})).await;
        let made = app.admin.post("/api/admin/keys", body).await.json();
        let key = made["key"].as_str().unwrap().to_owned();
        assert_eq!(app.admin.with_key(&key).get("/api/admin/vendors/anna").await.status, 200);
        clear.push(key);
    }
    app.gateway.keep_keys_used().await.unwrap();
    let is_on_disk = |what: &[u8]| {
        let files = std::fs::read_dir(app.data_dir()).unwrap().map(|it| it.unwrap().path());
        let files = files.filter(|it| it.is_file());
        files
            .map(|it| std::fs::read(it).unwrap())
            .any(|it| it.windows(what.len()).any(|it| it == what))
    };
    for key in &clear {
        // Nor any part of it that is random.
        assert!(!is_on_disk(&key.as_bytes()[key.len() - 16..]), "a key is on disk");
        assert!(is_on_disk(&gateway::hash(key)), "its hash is nowhere");
    }
    app.app.take().unwrap().stop().await;
}

#[tokio::test]
async fn a_renewed_webhook_secret_and_the_old_one_are_both_good_for_a_time() {
    let clock = Clock::fixed(1_800_000_000_000);
    let app = spawn_app_with(Options { clock: clock.clone(), ..Options::default() }).await;
    let vendor = app.vendor(1).await;
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}/rotate-secret", vendor.id);
    let ours = "the-shops-own-secret-0042";
    let first = json!({ "wasenderWebhookSecret": ours, "overlapSeconds": 0 });
    assert_eq!(app.admin.post(&path, first).await.status, 200);
    let rotated = app.admin.post(&path, json!({ "overlapSeconds": 3_600 })).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let rotated = rotated.json();
    assert_eq!(rotated["oldValidUntil"], json!(iso(clock.now() + HOUR)));
    let new = rotated["webhookSecret"].as_str().unwrap().to_owned();
    let says = async |secret: &str| {
        let body = json!({ "event": "messages.update", "data": { "n": secret.len() } }).to_string();
        app.post(&vendor.hook, &[("x-webhook-signature", secret)], body.as_bytes()).await.status
    };
    for secret in [&new, ours, vendor.secret()] {
        assert_eq!(says(secret).await, 200, "what Wasender itself sends stays good as well");
    }
    clock.advance(HOUR);
    assert_eq!((says(&new).await, says(ours).await, says(vendor.secret()).await), (200, 401, 200));
    for (body, why) in [
        (json!({ "overlapSeconds": 604_801 }), "overlapSeconds"),
        (json!({ "overlapSeconds": -1 }), "overlapSeconds"),
        (json!({ "wasenderWebhookSecret": "short" }), "8 characters"),
    ] {
        let refused = app.admin.post(&path, body).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text.contains(why), "{}", refused.text);
    }
    let missing = path.replace("waba_vendor", "waba_none");
    assert_eq!(app.admin.post(&missing, json!({})).await.status, 404);
}

#[tokio::test]
async fn about_one_vendor_ten_are_answered_at_once_and_ten_a_second_after_that() {
    let app = spawn_app().await;
    let started = std::time::Instant::now();
    let path = "/api/admin/vendors/nobody";
    let all = futures_util::future::join_all((0..60).map(|_| app.admin.get(path))).await;
    let renewed = started.elapsed().as_millis() / 100 + 1;
    let n_taken = all.iter().filter(|it| it.status == 404).count() as u128;
    assert!(n_taken >= 10 && n_taken <= 10 + renewed, "{n_taken} and {renewed}");
    for refused in all.iter().filter(|it| it.status != 404) {
        assert!(refused.status == 429 && refused.text.contains("10 a second"), "{}", refused.text);
        assert!(refused.headers.contains_key("retry-after"));
    }
    // Another vendor has its own.
    assert_eq!(app.admin.get("/api/admin/vendors/nobody_else").await.status, 404);
}
