//! Documents as other programs have written them: read in every form, and left as they are where
//! nothing of ours changes.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::ExposeSecret,
        vendor::VendorStatus,
        waba::{InstanceKey, ProviderKind, WabaInstance},
    },
    gateway::{AccountsChange, InstanceChange, TwilioChange, VendorChange},
    store::{StoreError, Wanted},
};

use super::{app, lending::ask, secrets, vendor_id};
use crate::support::{Emulator, Program, TestApp, time};

pub(super) const AT: i64 = 1_708_691_234_000;
pub(super) const LATER: &str = "2024-02-23T13:00:00.000Z";

pub(super) async fn one(app: &TestApp, vendor: &str) -> WabaInstance {
    let mut all = app.gateway.store().instances(&vendor_id(vendor)).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[tokio::test]
async fn every_form_of_an_instance_is_read() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let set = async |id: &str, fields| program.set("waba_instances", id, fields).await;
    // Named by the id alone; a numeric session; the older spelling; a status of before.
    set("waba_anna", json!({
        "phoneNumber": "221771234567", "wasenderInstanceId": 4001, "webhookSecret": "annas-secret",
        "wasenderApiKey": "annas-key", "status": "active", "lastSync": "2024-02-23T12:27:14.000Z",
        "createdAt": time(AT), "updatedAt": LATER,
    }))
    .await;
    set(
        "binta",
        json!({
            "phoneNumber": "+221 77 123 45 68", "wasenderWebhookSecret": "bintas-secret",
            "webhookSecret": "an-older-one", "status": "inactive", "provider": "Wasender",
        }),
    )
    .await;
    set(
        "Xq3auto",
        json!({
            "vendorId": "cara", "phoneNumber": "22170111111", "status": "banned",
            "lastSync": time(AT), "updatedAt": time(AT),
        }),
    )
    .await;
    let anna = one(&app, "anna").await;
    assert_eq!(
        (anna.id.as_str(), anna.phone_number.expose()),
        ("waba_anna", "+221771234567".into())
    );
    assert_eq!(anna.wasender.instance_id.as_deref(), Some("4001"));
    assert_eq!(secrets(&anna), ["annas-secret", "annas-key"]);
    assert_eq!((anna.status, anna.last_sync), (Connection::Connected, Some(AT)));
    assert_eq!((anna.created_at, anna.updated_at), (AT, AT + 1_966_000));
    let binta = one(&app, "binta").await;
    assert_eq!((binta.id.as_str(), binta.phone_number.expose()), ("binta", "+221771234568".into()));
    assert_eq!((secrets(&binta), binta.status), (vec!["bintas-secret"], Connection::Disconnected));
    let cara = one(&app, "cara").await;
    assert_eq!((cara.id.as_str(), cara.phone_number.expose()), ("Xq3auto", "+22170111111".into()));
    assert_eq!((cara.status, cara.last_sync), (Connection::Error, Some(AT)));
    // Those without a configuration are recorded, and nobody answers for them.
    let vendor = app.gateway.vendor(&vendor_id("anna")).await.unwrap();
    assert!(!vendor.auto_reply && vendor.status == VendorStatus::Active);
    let listed = app.gateway.vendors(None, 10).await.unwrap().vendors;
    let ids: Vec<String> = listed.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(ids, ["anna", "binta", "cara"], "also who is named by an id alone");
}

#[tokio::test]
async fn vendors_that_ids_of_documents_alone_name_are_listed_in_order_and_once() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    // Before, among and after the ids that begin as documents of numbers do.
    let ids = ["Zoe", "anna", "waba_lo", "waba_zz", "xenia", "zoe"];
    for (n, id) in ids.iter().enumerate() {
        let document = if id.starts_with("waba_") || n % 2 == 0 {
            format!("waba_{id}")
        } else {
            (*id).to_owned()
        };
        let mut fields = json!({ "phoneNumber": format!("+22177123456{n}") });
        if *id == "waba_zz" {
            fields["vendorId"] = json!(id);
        }
        program.set("waba_instances", &document, fields).await;
    }
    program.set("vendor_configs", "xenia", json!({ "businessName": "Xenia" })).await;
    program
        .set(
            "waba_instances",
            "auto",
            json!({ "vendorId": "anna", "phoneNumber": "+221771234599" }),
        )
        .await;
    for limit in [1, 2, 3, 10] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = app.gateway.vendors(after.as_ref(), limit).await.unwrap();
            listed.extend(page.vendors.iter().map(|it| it.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, ids, "{limit} at once");
    }
}

#[tokio::test]
async fn the_time_of_a_session_is_written_in_the_form_it_has() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let forms: [fn(i64) -> Value; 3] =
        [|at| json!(waba_gateway::domain::clock::iso(at)), |at| json!(at), time];
    let store = app.gateway.store();
    for (n, form) in forms.into_iter().enumerate() {
        let name = format!("waba_anna_{n}");
        let number = format!("+22177123456{n}");
        let number = json!({ "vendorId": "anna", "phoneNumber": number, "lastSync": form(AT) });
        program.set("waba_instances", &name, number).await;
        let id = InstanceId::parse(&name).unwrap();
        for (at, written) in [
            // It goes on and never back.
            (AT - 1, AT),
            (AT + 30_000, AT),
            (AT + 60_000, AT + 60_000),
            (AT + 61_000, AT + 60_000),
            (AT + 120_000, AT + 120_000),
        ] {
            store.set_status(&id, None, at).await.unwrap();
            let stored = program.get("waba_instances", &name).await;
            assert_eq!(stored["lastSync"], form(written), "{}", at - AT);
            assert!(stored["status"].is_null(), "{stored}");
        }
    }
}

#[tokio::test]
async fn every_form_of_a_configuration_is_read() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    program
        .set(
            "vendor_configs",
            "anna",
            json!({
                "businessName": "Chez Anna", "status": "Active", "welcomeMessage": "Salam",
            }),
        )
        .await;
    let auto = json!({ "vendorId": "binta", "autoReplyEnabled": false, "status": "closed" });
    program.set("vendor_configs", "aQ7auto", auto).await;
    let older = json!({ "vendorId": "cara", "businessName": "Cara", "status": "inactive" });
    program.set("vendorConfigs", "cara", older).await;
    let vendor = async |id: &str| app.gateway.vendor(&vendor_id(id)).await.unwrap();
    let anna = vendor("anna").await;
    assert_eq!((anna.business_name.as_str(), anna.status), ("Chez Anna", VendorStatus::Active));
    assert!(anna.auto_reply && anna.welcome_message.as_deref() == Some("Salam"));
    // The same on every node, and no other vendor's.
    let signing = anna.signing_secret.expose_secret().to_owned();
    assert!(signing.starts_with("whsec_") && signing.len() > 40);
    let binta = vendor("binta").await;
    assert_ne!(binta.signing_secret.expose_secret(), signing);
    assert_eq!((binta.status, binta.auto_reply), (VendorStatus::Suspended, false));
    let cara = vendor("cara").await;
    assert_eq!((cara.business_name.as_str(), cara.status), ("Cara", VendorStatus::Inactive));
    for limit in [1, 2, 10] {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = app.gateway.vendors(after.as_ref(), limit).await.unwrap();
            ids.extend(page.vendors.iter().map(|it| it.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids, ["anna", "binta", "cara"], "{limit} at once");
    }
    // One that cannot be read hides no other.
    let shut = json!({ "vendorId": "aoua", "gateway": { "signingSecret": "sealed:v1:AAAA" } });
    program.set("vendor_configs", "aoua", shut).await;
    for (limit, next) in [(2, Some(vendor_id("aoua"))), (10, None)] {
        let page = app.gateway.vendors(None, limit).await.unwrap();
        assert_eq!((page.unreadable, page.next), (vec![vendor_id("aoua")], next));
        assert_eq!(page.vendors.len(), limit.min(4) - 1, "{limit} at once");
    }
    program.delete("vendor_configs", "aoua").await;
    // A change goes into the collection of now, in the document that is there.
    let change = || VendorChange { auto_reply: Some(false), ..VendorChange::default() };
    for id in ["anna", "binta", "cara"] {
        app.gateway.put_vendor(&vendor_id(id), change()).await.unwrap();
    }
    let configs = program.all("vendor_configs").await;
    assert_eq!(configs.keys().collect::<Vec<_>>(), ["aQ7auto", "anna", "cara"]);
    assert_eq!(configs["cara"]["businessName"], "Cara");
    assert_eq!(program.all("vendorConfigs").await.len(), 1);
}

#[tokio::test]
async fn accounts_that_other_programs_write_in_clear_are_read() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let number = json!({
        "vendorId": "anna", "phoneNumber": "+221771234567", "provider": "Meta",
        "metaPhoneNumberId": 15_550_001, "metaAccessToken": "clear-token",
        "failoverProvider": "unipile", "unipileInstanceId": "u-1", "unipileApiKey": "clear-key",
    });
    program.set("waba_instances", "waba_anna", number).await;
    let anna = one(&app, "anna").await;
    assert_eq!(anna.provider, ProviderKind::Meta);
    assert_eq!(anna.failover.iter().collect::<Vec<_>>(), [ProviderKind::Unipile]);
    let meta = anna.meta.as_ref().unwrap();
    let token = meta.access_token.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!((meta.phone_number_id.as_str(), token), ("15550001", Some("clear-token")));
    let unipile = anna.unipile.as_ref().unwrap();
    let key = unipile.api_key.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!((unipile.account_id.as_str(), key), ("u-1", Some("clear-key")));
    // One that this version does not know is passed over.
    program.update("waba_instances", "waba_anna", json!({ "failoverProvider": "vonage" })).await;
    assert_eq!(one(&app, "anna").await.failover.iter().count(), 0);
}

/// Numbers of seven vendors, each written in another way; two of them have one session.
async fn put_every_form(program: &Program) {
    let double = |vendor: &str, number: &str| json!({ "vendorId": vendor, "phoneNumber": number, "wasenderInstanceId": "4009" });
    let documents = [
        ("waba_anna", json!({ "phoneNumber": "221771234567", "wasenderInstanceId": 4001 })),
        ("binta", json!({ "phoneNumber": 221_771_234_568_i64, "metaPhoneNumberId": 15_550_001 })),
        (
            "Xq3auto",
            json!({ "vendorId": "cara", "phoneNumber": "2290197123456", "unipileInstanceId": "u-4003" }),
        ),
        ("Xq4auto", double("dora", "+221771234570")),
        ("waba_eve", double("eve", "+221771234571")),
        ("waba_fanta", json!({ "phoneNumber": "+221771234572" })),
        ("waba_gina", json!({ "phoneNumber": "+221771234574" })),
    ];
    for (id, fields) in documents {
        program.set("waba_instances", id, fields).await;
    }
    let older = json!({ "vendorId": "gina", "businessName": "Gina", "wasenderAccessToken": "key" });
    program.set("vendorConfigs", "gQ7auto", older).await;
}

#[tokio::test]
async fn many_vendors_and_keys_are_found_in_every_form_in_which_one_is() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let store = app.gateway.store();
    put_every_form(&program).await;
    // In no field that is asked for: this gateway's claim says whose it is.
    for (vendor, from) in [("fanta", "+14155238886"), ("gina", "+14155238887")] {
        let twilio = TwilioChange {
            account_sid: Some("AC1".to_owned()),
            from: Some(from.to_owned()),
            ..TwilioChange::default()
        };
        let accounts = AccountsChange { twilio: Some(Some(twilio)), ..AccountsChange::default() };
        let change = InstanceChange { accounts, ..InstanceChange::default() };
        let id = InstanceId::nth(&vendor_id(vendor), 1);
        app.gateway.change_instance(&vendor_id(vendor), &id, change).await.unwrap();
    }
    let phone = |it: &str| InstanceKey::Phone(PhoneNumber::from_wire(it).unwrap().alias());
    let keys = [
        (phone("221771234567"), &["anna"][..]),
        (InstanceKey::Wasender("4001".to_owned()), &["anna"]),
        (phone("221771234568"), &["binta"]),
        (InstanceKey::Meta("15550001".to_owned()), &["binta"]),
        (phone("22997123456"), &["cara"]),
        (InstanceKey::Unipile("u-4003".to_owned()), &["cara"]),
        (InstanceKey::Wasender("4009".to_owned()), &["dora", "eve"]),
        (phone("14155238886"), &["fanta"]),
        (phone("14155238887"), &["gina"]),
        (phone("221799999999"), &[]),
    ];
    let vendors = ["anna", "binta", "cara", "dora", "eve", "fanta", "gina", "nobody"];
    let wanted = Wanted {
        vendors: vendors.iter().map(|it| vendor_id(it)).collect(),
        keys: keys.iter().map(|it| it.0.clone()).collect(),
        instances: documents_ids(&["waba_anna", "binta", "Xq3auto", "waba_nobody"]),
    };
    let looked = store.look(wanted.clone()).await.unwrap();
    for (key, owners) in keys {
        let want: BTreeSet<VendorId> = owners.iter().map(|it| vendor_id(it)).collect();
        assert_eq!(looked.owners.get(&key).cloned().unwrap_or_default(), want, "{key:?}");
        // What two have is nobody's.
        let alone = store.instance_by_key(&key).await.unwrap().map(|it| it.0);
        assert_eq!(alone, want.first().filter(|_| want.len() == 1).cloned(), "{key:?}");
    }
    for id in wanted.vendors {
        let alone = (store.vendor(&id).await.unwrap(), store.instances(&id).await.unwrap());
        let many = looked.vendors.get(&id).map(|it| it.as_ref().unwrap().clone());
        let many = many.map(|it| (it.vendor, it.instances)).unwrap_or_default();
        assert_eq!(format!("{many:?}"), format!("{alone:?}"));
        assert_eq!(alone.1.len(), usize::from(id.as_str() != "nobody"));
    }
    let present: HashSet<InstanceId> = wanted.instances[..3].iter().cloned().collect();
    assert_eq!(looked.instances, present);
}

fn documents_ids(ids: &[&str]) -> Vec<InstanceId> {
    ids.iter().map(|it| InstanceId::parse(it).unwrap()).collect()
}

/// What another program keeps in the documents, in forms that are none of ours.
fn foreign() -> Value {
    json!({
        "theme": { "color": "blue", "sizes": [1, 2.5, true, null] },
        "ownerUid": "u1", "since": time(AT), "wasenderApiUrl": "https://old.example/api",
    })
}

fn with_foreign(fields: &Value) -> Value {
    let mut all = foreign();
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}

async fn assert_foreign(program: &Program, collection: &str, id: &str, after: &str) {
    let stored = program.get(collection, id).await;
    for (field, value) in foreign().as_object().unwrap() {
        assert_eq!(stored[field], *value, "{collection} {field} after {after}");
    }
}

#[tokio::test]
async fn fields_of_other_programs_are_unchanged_after_each_of_our_writes() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let clear = json!({
        "vendorId": "anna", "phoneNumber": "221771234567", "wasenderInstanceId": 4001,
        "wasenderWebhookSecret": "annas-secret", "wasenderApiKey": "annas-key",
        "status": "connected", "createdAt": LATER, "updatedAt": LATER,
    });
    program.set("waba_instances", "waba_anna", with_foreign(&clear)).await;
    let config = json!({ "businessName": "Anna", "status": "active", "updatedAt": LATER });
    program.set("vendor_configs", "anna", with_foreign(&config)).await;
    let (anna, id) = (vendor_id("anna"), InstanceId::parse("waba_anna").unwrap());
    let store = app.gateway.store();
    let unchanged = async |after: &str| {
        assert_foreign(&program, "waba_instances", "waba_anna", after).await;
        assert_foreign(&program, "vendor_configs", "anna", after).await;
    };
    // The state touches itself, and the time is kept in its form.
    let before = program.get("waba_instances", "waba_anna").await;
    store.set_status(&id, Some(Connection::Disconnected), AT).await.unwrap();
    let mut after = program.get("waba_instances", "waba_anna").await;
    assert_eq!((&after["status"], &after["lastSync"]), (&json!("disconnected"), &time(AT)));
    after["status"] = json!("connected");
    after.as_object_mut().unwrap().remove("lastSync");
    assert_eq!(after, before);
    // Another minute, another time; within it, none.
    store.set_status(&id, None, AT + 59_000).await.unwrap();
    assert_eq!(program.get("waba_instances", "waba_anna").await["lastSync"], time(AT));
    store.set_status(&id, None, AT + 60_000).await.unwrap();
    assert_eq!(program.get("waba_instances", "waba_anna").await["lastSync"], time(AT + 60_000));
    unchanged("a state").await;
    store.set_failure(&id, "expired", AT).await.unwrap();
    unchanged("a failure").await;
    let change = InstanceChange {
        token: Some(Some("a-token".into())),
        account_protection: Some(Some(true)),
        ..InstanceChange::default()
    };
    app.gateway.change_instance(&anna, &id, change).await.unwrap();
    unchanged("a change of the instance").await;
    let stored = program.get("waba_instances", "waba_anna").await;
    // What did not change is as it was, in clear and in its form.
    for field in [
        "phoneNumber",
        "wasenderInstanceId",
        "wasenderWebhookSecret",
        "wasenderApiKey",
        "createdAt",
    ] {
        assert_eq!(stored[field], before[field], "{field}");
    }
    assert!(stored["updatedAt"].as_str().is_some_and(|it| it > LATER), "{stored}");
    assert_eq!(stored["gateway"]["lastError"], "expired");
    let change = VendorChange { apology: Some(Some("Pardon".to_owned())), ..Default::default() };
    app.gateway.put_vendor(&anna, change).await.unwrap();
    unchanged("a change of the vendor").await;
    app.gateway.renew_signing_secret(&anna).await.unwrap();
    app.gateway.pause(Some(&anna), true).await.unwrap();
    unchanged("a pause").await;
    let config = program.get("vendor_configs", "anna").await;
    assert_eq!(config["gateway"]["apology"], "Pardon");
    assert_eq!((&config["businessName"], &config["status"]), (&json!("Anna"), &json!("active")));
}

#[tokio::test]
async fn no_call_of_the_administration_touches_fields_of_other_programs() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let shop = app.vendor(1).await;
    let (vendor, number) = (shop.id.as_str(), format!("waba_{}", shop.id));
    program.update("waba_instances", &number, foreign()).await;
    program.update("vendor_configs", vendor, foreign()).await;
    let path = format!("/api/admin/vendors/{vendor}");
    let mut import = app.admin.get("/api/admin/export").await.json();
    import["vendors"][0]["businessName"] = json!("Imported");
    let twilio = json!({ "accountSid": format!("AC{}", "0".repeat(32)), "authToken": "t", "from": "+14155238886" });
    let session = json!({ "wasenderInstanceId": shop.session.id.to_string() });
    for (what, method, path, body) in [
        ("a set-up", "POST", format!("{path}/setup-wasender-webhook"), session),
        ("a new secret", "POST", format!("{path}/waba/{number}/rotate-secret"), json!({})),
        (
            "another provider",
            "POST",
            format!("{path}/switch-provider"),
            json!({ "provider": "twilio", "config": twilio }),
        ),
        (
            "a change",
            "PUT",
            path.clone(),
            json!({ "businessName": "Shop", "welcomeMessage": "Salam" }),
        ),
        (
            "a second number",
            "POST",
            format!("{path}/waba-instances"),
            json!({ "phoneNumber": "+221771112233" }),
        ),
        ("an import", "POST", "/api/admin/import".to_owned(), import),
    ] {
        let answer = app.admin.call(method, &path, Some(body), &[]).await;
        assert!(matches!(answer.status, 200 | 201), "{what}: {} {}", answer.status, answer.text);
        assert_foreign(&program, "waba_instances", &number, what).await;
        assert_foreign(&program, "vendor_configs", vendor, what).await;
    }
    assert_eq!(program.get("vendor_configs", vendor).await["businessName"], "Imported");
}

#[tokio::test]
async fn secrets_that_we_write_are_sealed_and_those_we_do_not_stay_readable() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let clear = json!({
        "vendorId": "anna", "phoneNumber": "+221771234567", "webhookSecret": "clear-secret",
        "wasenderApiKey": "clear-key",
    });
    program.set("waba_instances", "waba_anna", clear).await;
    program.set("vendor_configs", "anna", json!({ "businessName": "Anna" })).await;
    let (anna, id) = (vendor_id("anna"), InstanceId::parse("waba_anna").unwrap());
    let change = InstanceChange {
        webhook_secret: Some(Some("marked-secret".into())),
        token: Some(Some("marked-token".into())),
        ..InstanceChange::default()
    };
    app.gateway.change_instance(&anna, &id, change).await.unwrap();
    let instance = one(&app, "anna").await;
    assert_eq!(secrets(&instance), ["marked-secret", "clear-secret", "clear-key", "marked-token"]);
    let stored = program.get("waba_instances", "waba_anna").await;
    // In the spelling that is there.
    assert!(stored["webhookSecret"].as_str().unwrap().starts_with("sealed:v1:"), "{stored}");
    assert!(stored["wasenderWebhookSecret"].is_null());
    assert_eq!(stored["wasenderApiKey"], "clear-key");
    let change = VendorChange {
        forward_url: Some(Some("https://shop.example/?token=marked-url".to_owned())),
        ..VendorChange::default()
    };
    app.gateway.put_vendor(&anna, change).await.unwrap();
    app.gateway.renew_signing_secret(&anna).await.unwrap();
    for collection in ["waba_instances", "vendor_configs", "gateway_claims", "gateway_meta"] {
        let all = Value::Object(program.all(collection).await).to_string();
        assert!(all.len() > 2, "{collection} is empty");
        for secret in ["marked", "whsec_"] {
            assert!(!all.contains(secret), "{collection}: {all}");
        }
        if collection.starts_with("gateway") {
            assert!(!all.contains("77123"), "{collection}: {all}");
        }
    }
    // Moved to another document, a sealed secret stays shut, and nothing is proven by it.
    let moved = json!({
        "vendorId": "binta", "phoneNumber": "+221771234568", "webhookSecret": stored["webhookSecret"],
    });
    program.set("waba_instances", "waba_binta", moved).await;
    let hook = format!("{}/api/webhooks/wasender/binta", app.base);
    let headers = [("x-webhook-signature", "marked-secret")];
    assert_eq!(app.post(&hook, &headers, b"{}").await.status, 503);
}

#[tokio::test]
async fn of_two_documents_with_one_number_the_newest_wins_and_two_vendors_get_none() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let number = |vendor: &str, session: &str, at: Value| {
        json!({ "vendorId": vendor, "phoneNumber": "+221771234567", "wasenderInstanceId": session,
            "updatedAt": at, "wasenderWebhookSecret": session })
    };
    program.set("vendor_configs", "anna", json!({ "businessName": "Anna" })).await;
    program.set("waba_instances", "waba_anna", number("anna", "old-session", time(AT))).await;
    program.set("waba_instances", "aQ7auto", number("anna", "new-session", json!(LATER))).await;
    assert_eq!(one(&app, "anna").await.id.as_str(), "aQ7auto");
    let key = waba_gateway::domain::waba::InstanceKey::Phone("221771234567".to_owned());
    let owner = app.gateway.store().instance_by_key(&key).await.unwrap().unwrap();
    assert_eq!(owner.1.as_str(), "aQ7auto");
    program.set("waba_instances", "waba_binta", number("binta", "hers", time(AT))).await;
    assert!(app.gateway.store().instance_by_key(&key).await.unwrap().is_none());
    for vendor in ["anna", "binta"] {
        let vendor: VendorId = vendor_id(vendor);
        assert!(app.gateway.store().is_claimed_by_another(&key, &vendor).await.unwrap());
    }
}

#[tokio::test]
async fn a_number_that_is_deleted_is_so_in_all_of_its_documents() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let number = |number: &str, session: &str, at: Value| {
        json!({ "vendorId": "anna", "phoneNumber": number, "wasenderInstanceId": session,
            "updatedAt": at, "wasenderWebhookSecret": session })
    };
    program.set("vendor_configs", "anna", json!({ "businessName": "Anna" })).await;
    let ids = async || -> Vec<String> {
        let all = app.gateway.store().instances(&vendor_id("anna")).await.unwrap();
        all.iter().map(|it| it.id.to_string()).collect()
    };
    let old = number("+221771234567", "old-session", time(AT));
    program.set("waba_instances", "waba_anna", old.clone()).await;
    let other = number("+221771234568", "other", time(AT));
    program.set("waba_instances", "waba_anna_2", other.clone()).await;
    program.set("waba_instances", "aQ7auto", number("221771234567", "new", json!(LATER))).await;
    assert_eq!(ids().await, ["waba_anna_2", "aQ7auto"]);
    // Who wants to delete what has become hidden is to look again.
    let store = app.gateway.store();
    let (anna, hidden) = (vendor_id("anna"), InstanceId::parse("waba_anna").unwrap());
    let deleted = store.delete_instance(&anna, &hidden).await;
    assert!(matches!(deleted, Err(StoreError::Changed)), "{deleted:?}");
    // Nor does it when the number is another: it goes with it.
    let change = json!({ "phoneNumber": "+221771234569" });
    let answer = app.admin.put("/api/admin/vendors/anna/waba/aQ7auto", change).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(ids().await, ["waba_anna_2", "aQ7auto"]);
    let mut moved = old.clone();
    moved["phoneNumber"] = json!("+221771234569");
    assert_eq!(program.get("waba_instances", "waba_anna").await, moved);
    let gone = app.admin.delete("/api/admin/vendors/anna/waba/aQ7auto?force=true").await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(ids().await, ["waba_anna_2"], "the older document does not come up");
    assert_eq!(program.get("waba_instances", "waba_anna_2").await, other);
    for id in ["aQ7auto", "waba_anna"] {
        assert!(app.gateway.store().had_instance(&InstanceId::parse(id).unwrap()).await.unwrap());
    }
    app.admin.put("/api/admin/vendors/binta", json!({})).await;
    let body = json!({ "phoneNumber": "+221771234567", "provider": "wasender",
        "wasenderInstanceId": "old-session" });
    let answer = app.admin.post("/api/admin/vendors/binta/waba-instances", body).await;
    assert_eq!(answer.status, 201, "nobody has it any more: {}", answer.text);
}

#[tokio::test]
async fn a_hidden_document_without_a_time_stays_hidden_when_its_number_is_another() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    program.set("vendor_configs", "anna", json!({ "businessName": "Anna" })).await;
    let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
    program.set("waba_instances", "waba_anna", number.clone()).await;
    program.set("waba_instances", "aQ7auto", number).await;
    assert_eq!(one(&app, "anna").await.id.as_str(), "aQ7auto");
    for number in ["+221771234569", "+221771234570"] {
        let path = "/api/admin/vendors/anna/waba/aQ7auto";
        let answer = app.admin.put(path, json!({ "phoneNumber": number })).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let left = one(&app, "anna").await;
        assert_eq!((left.id.as_str(), &*left.phone_number.expose()), ("aQ7auto", number));
    }
}

#[tokio::test]
async fn a_document_that_counts_goes_on_to_whatever_its_time_and_ours() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    // By clocks that are far ahead of this gateway's.
    for (id, at) in [("old", 4_000_000_000_000), ("new", 4_000_000_001_000_i64)] {
        let number =
            json!({ "vendorId": "anna", "phoneNumber": "+221771234567", "updatedAt": time(at) });
        program.set("waba_instances", id, number).await;
        let config = json!({ "vendorId": "anna", "businessName": id, "updatedAt": time(at) });
        program.set("vendor_configs", id, config).await;
    }
    let change = json!({ "accountProtection": true, "phoneNumber": "+221771234568" });
    let answer = app.admin.put("/api/admin/vendors/anna/waba/new", change).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let counts = one(&app, "anna").await;
    assert_eq!((counts.id.as_str(), counts.account_protection), ("new", true));
    let change = json!({ "businessName": "Chez Anna" });
    let answer = app.admin.put("/api/admin/vendors/anna", change).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(read(&app, "anna").await.0, "Chez Anna");
}

#[tokio::test]
async fn vendors_are_listed_once_whatever_is_where_they_are_named() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let name = |it: Value| json!({ "vendorId": it, "businessName": "Shop" });
    program.set("vendor_configs", "acme", name(json!("acme"))).await;
    program.set("waba_instances", "waba_acme", name(json!("acme "))).await;
    program.set("waba_instances", "x1", name(json!("bob "))).await;
    for n in [5, 6, 7] {
        program.set("waba_instances", &format!("waba_{n}"), name(json!(n))).await;
    }
    for (n, it) in
        [json!(null), json!(true), json!({ "a": 1 }), json!(["b"])].into_iter().enumerate()
    {
        program.set("waba_instances", &format!("y{n}"), name(it)).await;
    }
    program.set("waba_instances", "x2", name(json!("3fa"))).await;
    program.set("waba_instances", "x3", name(json!("zoe"))).await;
    for limit in 1..=12 {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = app.gateway.store().vendors(after.as_ref(), limit).await.unwrap();
            listed.extend(page.vendors.iter().map(|it| it.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
            assert!(listed.len() < 30, "{limit} at once never end: {listed:?}");
        }
        let named: Vec<&str> =
            listed.iter().map(String::as_str).filter(|it| !it.starts_with('y')).collect();
        assert_eq!(named, ["3fa", "5", "6", "7", "acme", "bob", "zoe"], "{limit} at once");
    }
}

#[tokio::test]
async fn of_several_configurations_a_list_tells_the_one_that_counts_wherever_it_is_cut() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let config = |vendor: &str, name: &str, at: i64| json!({ "vendorId": vendor, "businessName": name, "updatedAt": time(at) });
    for (n, vendor) in ["anna", "binta", "zoe"].into_iter().enumerate() {
        for (id, name, at) in
            [("a", "old", AT), ("b", "new", AT + 2_000), ("c", "older", AT - 2_000)]
        {
            let id = format!("{id}{n}");
            program.set("vendor_configs", &id, config(vendor, name, at)).await;
        }
    }
    for limit in 1..=10 {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = app.gateway.store().vendors(after.as_ref(), limit).await.unwrap();
            let told = |it: &waba_gateway::domain::vendor::Vendor| {
                format!("{} {}", it.id, it.business_name)
            };
            listed.extend(page.vendors.iter().map(told));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, ["anna new", "binta new", "zoe new"], "{limit} at once");
    }
}

#[tokio::test]
async fn a_document_of_a_new_vendors_id_that_names_another_is_left_alone() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let annas = json!({ "vendorId": "anna", "businessName": "Anna" });
    program.set("vendor_configs", "binta", annas.clone()).await;
    let answer = app.admin.put("/api/admin/vendors/binta", json!({})).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(!answer.text.contains("away"), "{}", answer.text);
    assert_eq!(program.get("vendor_configs", "binta").await, annas);
    assert_eq!(read(&app, "anna").await.0, "Anna");
}

#[tokio::test]
async fn a_number_in_a_document_of_another_program_is_a_conflict() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let theirs =
        json!({ "vendorId": "anna", "phoneNumber": "221771234567", "wasenderInstanceId": 4001 });
    program.set("waba_instances", "aQ7auto", theirs).await;
    app.admin.put("/api/admin/vendors/binta", json!({})).await;
    for body in [
        json!({ "phoneNumber": "+221771234567", "provider": "wasender" }),
        json!({ "phoneNumber": "+221771234568", "provider": "wasender", "wasenderInstanceId": "4001" }),
    ] {
        let answer = app.admin.post("/api/admin/vendors/binta/waba-instances", body).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
    }
    // Whose it is need not be readable.
    program.update("waba_instances", "aQ7auto", json!({ "vendorId": "an/na" })).await;
    let answer = app
        .admin
        .post(
            "/api/admin/vendors/binta/waba-instances",
            json!({ "phoneNumber": "+221771234567", "provider": "wasender" }),
        )
        .await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    program.delete("waba_instances", "aQ7auto").await;
    let body = json!({ "phoneNumber": "+221771234567", "provider": "wasender" });
    let answer = app.admin.post("/api/admin/vendors/binta/waba-instances", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let config = program.get("vendor_configs", "binta").await;
    assert_eq!(config["wabaInstanceId"], "waba_binta");
    assert_eq!(config["wabaProvider"], "wasender");
    let stored = program.get("waba_instances", "waba_binta").await;
    assert_eq!(stored["businessName"], "binta");
    assert_eq!(stored["status"], "pending");
}

/// What a vendor is called and has, as one vendor is read and as many are.
pub(super) async fn read(app: &TestApp, vendor: &str) -> (String, Vec<WabaInstance>) {
    let (store, id) = (app.gateway.store(), vendor_id(vendor));
    let name = store.vendor(&id).await.unwrap().unwrap().business_name;
    let read = (name, store.instances(&id).await.unwrap());
    let wanted = Wanted { vendors: vec![id.clone()], ..Wanted::default() };
    let looked = store.look(wanted).await.unwrap().vendors.remove(&id).unwrap().unwrap();
    let many = (looked.vendor.unwrap().business_name, looked.instances);
    assert_eq!(format!("{many:?}"), format!("{read:?}"));
    read
}

#[tokio::test]
async fn of_several_configurations_the_one_of_its_id_counts_and_else_the_newest() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let set = async |collection: &str, id: &str, name: &str, at: Value| {
        let fields = json!({ "vendorId": "anna", "businessName": name, "updatedAt": at });
        program.set(collection, id, fields).await;
    };
    let mut steps = vec![
        ("vendorConfigs", "zQ7auto", "of before", json!("2030-01-01T00:00:00.000Z")),
        ("vendorConfigs", "anna", "of before, by its id", time(AT)),
        ("vendor_configs", "aQ1auto", "of now", time(AT)),
        ("vendor_configs", "aQ0auto", "of now and newer", json!(LATER)),
        ("vendor_configs", "anna", "of now, by its id", time(AT - 1)),
    ];
    // The better ones last, and then in the other order: what is there already changes nothing.
    for (collection, id, name, at) in steps.clone() {
        set(collection, id, name, at).await;
        assert_eq!(read(&app, "anna").await.0, name);
    }
    for (collection, id, ..) in &steps {
        program.delete(collection, id).await;
    }
    steps.reverse();
    for (collection, id, name, at) in steps {
        set(collection, id, name, at).await;
        assert_eq!(read(&app, "anna").await.0, "of now, by its id", "{name}");
    }
}

#[tokio::test]
async fn a_number_at_meta_in_a_document_of_another_program_is_a_conflict() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    app.admin.put("/api/admin/vendors/binta", json!({})).await;
    for id in [json!("1555"), json!(1555)] {
        let theirs = json!({ "vendorId": "anna", "phoneNumber": "221771234567", "provider": "meta",
            "metaPhoneNumberId": id });
        program.set("waba_instances", "aQ7auto", theirs).await;
        assert_eq!(ask(&app, "1555").await, 409, "{id}");
    }
    assert_eq!(ask(&app, "1556").await, 201);
}

#[tokio::test]
async fn of_a_number_that_two_have_the_claim_stays_the_first_ones() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let store = app.gateway.store();
    for vendor in ["anna", "binta", "cara"] {
        app.admin.put(&format!("/api/admin/vendors/{vendor}"), json!({})).await;
    }
    let number = json!({ "phoneNumber": "+221771234567", "provider": "wasender" });
    let create = async |vendor: &str, number: &Value| {
        let path = format!("/api/admin/vendors/{vendor}/waba-instances");
        app.admin.post(&path, number.clone()).await.status
    };
    assert_eq!(create("anna", &number).await, 201);
    // Another program spells it as no query finds it, and gives it to somebody else, too.
    let spelled = json!({ "phoneNumber": "+221 77 123 45 67" });
    program.update("waba_instances", "waba_anna", spelled).await;
    let theirs = json!({ "vendorId": "binta", "phoneNumber": "+221771234567" });
    program.set("waba_instances", "waba_binta", theirs).await;
    let key = InstanceKey::Phone("221771234567".to_owned());
    assert!(store.instance_by_key(&key).await.unwrap().is_none());
    // Neither can be kept from other changes by it, and nobody wins it by one.
    for vendor in ["anna", "binta", "anna"] {
        let path = format!("/api/admin/vendors/{vendor}/waba/waba_{vendor}");
        let answer = app.admin.put(&path, json!({ "accountProtection": true })).await;
        assert_eq!(answer.status, 200, "{vendor}: {}", answer.text);
        assert!(store.instance_by_key(&key).await.unwrap().is_none(), "{vendor} won it");
    }
    let export = app.admin.get("/api/admin/export").await.json();
    let answer = app.admin.post("/api/admin/import", export).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(store.instance_by_key(&key).await.unwrap().is_none());
    assert_eq!(create("cara", &number).await, 409);
    assert_eq!(
        app.admin.delete("/api/admin/vendors/binta/waba/waba_binta?force=true").await.status,
        200
    );
    assert_eq!(create("cara", &number).await, 409);
    let owner = store.instance_by_key(&key).await.unwrap().unwrap();
    assert_eq!(owner.0, vendor_id("anna"));
}

#[tokio::test]
async fn numbers_that_are_swapped_in_one_step_are_claimed_by_whom_they_are_now() {
    let emulator = Emulator::start();
    let app = app(&emulator).await;
    let (one, two) = (app.vendor(1).await, app.vendor(2).await);
    let store = app.gateway.store();
    // In a field of ours, so that the claim alone says whose it is.
    let twilio = |from: &str| json!({ "twilio": { "accountSid": format!("AC{}", "0".repeat(32)), "authToken": "t", "from": from } });
    for (vendor, from) in [(&one, "+14155238886"), (&two, "+14155238887")] {
        let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
        assert_eq!(app.admin.put(&path, twilio(from)).await.status, 200);
    }
    let mut instances = Vec::new();
    for vendor in [&one, &two] {
        instances.extend(store.instances(&vendor.id).await.unwrap());
    }
    let [first, second] = &mut instances[..] else { panic!("two numbers") };
    std::mem::swap(&mut first.twilio, &mut second.twilio);
    store.put_all(&[], &instances).await.unwrap();
    for (vendor, from) in [(&two, "14155238886"), (&one, "14155238887")] {
        let key = InstanceKey::Phone(from.to_owned());
        let owner = store.instance_by_key(&key).await.unwrap().map(|it| it.0);
        assert_eq!(owner.as_ref(), Some(&vendor.id), "{from}");
    }
}
