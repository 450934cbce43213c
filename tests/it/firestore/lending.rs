//! What only a vendor's configuration has, and which of its numbers has it.

use std::collections::BTreeSet;

use serde_json::json;
use waba_gateway::{
    domain::{
        id::InstanceId,
        phone::PhoneNumber,
        secret::ExposeSecret,
        vendor::VendorStatus,
        waba::{InstanceKey, ProviderKind, WabaInstance, WasenderAccount},
    },
    gateway::{AccountsChange, InstanceChange, MetaChange},
    store::Wanted,
};

use super::{
    app,
    documents::{AT, LATER, one, read},
    secrets, vendor_id,
};
use crate::support::{Emulator, Program, TestApp, time};

#[tokio::test]
async fn what_only_the_configuration_has_is_used_until_the_instance_has_its_own() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let config = json!({
        "businessName": "Anna", "wasenderWebhookSecret": "configs-secret",
        "wasenderAccessToken": "configs-key",
    });
    program.set("vendor_configs", "anna", config).await;
    let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
    program.set("waba_instances", "waba_anna", number).await;
    let id = InstanceId::parse("waba_anna").unwrap();
    let anna = vendor_id("anna");
    assert_eq!(secrets(&one(&app, "anna").await), ["configs-secret", "configs-key"]);
    // A change of something else writes neither.
    let change = InstanceChange { account_protection: Some(Some(true)), ..Default::default() };
    app.gateway.change_instance(&anna, &id, change).await.unwrap();
    let stored = program.get("waba_instances", "waba_anna").await;
    assert!(stored["wasenderWebhookSecret"].is_null() && stored["wasenderApiKey"].is_null());
    assert_eq!(secrets(&one(&app, "anna").await), ["configs-secret", "configs-key"]);
    // Taken away here, it does not come back from there.
    let change = InstanceChange {
        webhook_secret: Some(None),
        session_key: Some(None),
        ..InstanceChange::default()
    };
    app.gateway.change_instance(&anna, &id, change).await.unwrap();
    assert!(secrets(&one(&app, "anna").await).is_empty());
    let config = program.get("vendor_configs", "anna").await;
    assert_eq!(config["wasenderWebhookSecret"], "configs-secret");
    // Another program sets one of its own.
    program.update("waba_instances", "waba_anna", json!({ "webhookSecret": "its-own" })).await;
    assert_eq!(secrets(&one(&app, "anna").await), ["its-own"]);
}

#[tokio::test]
async fn what_the_configuration_lent_stays_when_another_provider_carries_messages() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let both = [("anna", "meta", "+221771234567"), ("binta", "wasender", "+221771234568")];
    for (vendor, provider, number) in both {
        let config = json!({
            "whatsappPhoneNumberId": "1555", "whatsappAccessToken": "meta-token", "whatsappVerifyToken": "verify",
            "wasenderWebhookSecret": "configs-secret", "wasenderAccessToken": "configs-key",
        });
        program.set("vendor_configs", vendor, config).await;
        let it = json!({ "vendorId": vendor, "phoneNumber": number, "provider": provider });
        program.set("waba_instances", &format!("waba_{vendor}"), it).await;
    }
    let to = async |vendor: &str, provider| {
        let before = one(&app, vendor).await;
        let meta = MetaChange {
            phone_number_id: Some("1777".to_owned()),
            access_token: Some("another-token".into()),
            ..MetaChange::default()
        };
        let meta = (provider == ProviderKind::Meta).then_some(Some(meta));
        let accounts =
            AccountsChange { provider: Some(provider), meta, ..AccountsChange::default() };
        let change = InstanceChange { accounts, ..InstanceChange::default() };
        app.gateway.switch_account(&vendor_id(vendor), None, change).await.unwrap();
        (before, one(&app, vendor).await)
    };
    let account = |it: &WabaInstance| {
        let it = it.meta.clone().unwrap();
        let secrets: Vec<String> = it.secrets().map(|it| it.expose_secret().to_owned()).collect();
        (it.phone_number_id, secrets)
    };
    let (before, after) = to("anna", ProviderKind::Wasender).await;
    assert_eq!(account(&before), ("1555".to_owned(), vec!["meta-token".into(), "verify".into()]));
    assert_eq!(account(&after), account(&before));
    assert_eq!(secrets(&after), secrets(&before));
    let (before, after) = to("binta", ProviderKind::Meta).await;
    assert_eq!(secrets(&before), ["configs-secret", "configs-key"]);
    assert_eq!(secrets(&after), secrets(&before));
}

#[tokio::test]
async fn what_is_lent_to_a_document_goes_to_the_newer_one_of_its_number() {
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, collection, Some("waba_anna")).await;
        program.update("waba_instances", "waba_anna", json!({ "updatedAt": time(AT) })).await;
        let newer =
            json!({ "vendorId": "anna", "phoneNumber": "221771234567", "updatedAt": LATER });
        program.set("waba_instances", "aQ7auto", newer).await;
        let second = json!({ "vendorId": "anna", "phoneNumber": "+221771234568" });
        program.set("waba_instances", "waba_anna_2", second).await;
        assert_eq!(lent_to(&app).await, ["aQ7auto"], "{collection}");
        let change = json!({ "accountProtection": true });
        let answer = app.admin.put("/api/admin/vendors/anna/waba/aQ7auto", change).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(lent_to(&app).await, ["aQ7auto"], "{collection}");
        let gone = app.admin.delete("/api/admin/vendors/anna/waba/aQ7auto?force=true").await;
        assert_eq!(gone.status, 200, "{}", gone.text);
        assert!(lent_to(&app).await.is_empty(), "{collection}");
        assert_eq!(one(&app, "anna").await.id.as_str(), "waba_anna_2");
    }
}

/// Anna's number at Meta is in a configuration, `binta` is free to ask for it.
async fn lend(program: &Program, collection: &str, config: &str) {
    let lends = json!({ "vendorId": "anna", "whatsappPhoneNumberId": "1555", "whatsappAccessToken": "token" });
    program.set(collection, config, lends).await;
    let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567", "provider": "meta" });
    program.set("waba_instances", "aQ7auto", number).await;
}

/// Asks for this number at Meta for Binta.
pub(super) async fn ask(app: &TestApp, phone_number_id: &str) -> u16 {
    let body = json!({ "phoneNumber": "+221771234568", "provider": "meta",
        "meta": { "phoneNumberId": phone_number_id, "accessToken": "hers" } });
    app.admin.post("/api/admin/vendors/binta/waba-instances", body).await.status
}

#[tokio::test]
async fn a_number_at_meta_that_a_configuration_lends_is_found_and_nobody_elses() {
    for (collection, config) in
        [("vendor_configs", "anna"), ("vendor_configs", "cQ7auto"), ("vendorConfigs", "cQ7auto")]
    {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        let store = app.gateway.store();
        let key = InstanceKey::Meta("1555".to_owned());
        lend(&program, collection, config).await;
        let (anna, binta) = (vendor_id("anna"), vendor_id("binta"));
        let owner = store.instance_by_key(&key).await.unwrap().unwrap();
        assert_eq!((&owner.0, owner.1.as_str()), (&anna, "aQ7auto"), "{collection}/{config}");
        assert!(store.is_claimed_by_another(&key, &binta).await.unwrap());
        assert!(!store.is_claimed_by_another(&key, &anna).await.unwrap());
        let wanted = Wanted { keys: vec![key.clone()], ..Wanted::default() };
        let looked = store.look(wanted).await.unwrap();
        assert_eq!(looked.owners[&key], BTreeSet::from([anna.clone()]));
        app.admin.put("/api/admin/vendors/binta", json!({})).await;
        assert_eq!(ask(&app, "1555").await, 409);
        // What it has is no conflict with itself, and is kept where it is.
        let path = "/api/admin/vendors/anna/waba/aQ7auto";
        let answer = app.admin.put(path, json!({ "accountProtection": true })).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(program.get("waba_instances", "aQ7auto").await["metaPhoneNumberId"].is_null());
        // Once Anna has another of her own, it is lent to nobody.
        let other = json!({ "meta": { "phoneNumberId": "1777", "accessToken": "token" } });
        let answer = app.admin.put(path, other).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(store.instance_by_key(&key).await.unwrap().is_none());
        assert_eq!(ask(&app, "1555").await, 201);
    }
}

#[tokio::test]
async fn a_number_at_meta_that_two_have_by_lending_is_nobodys_and_both_can_be_changed() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    lend(&program, "vendor_configs", "anna").await;
    let lends = json!({ "whatsappPhoneNumberId": 1555, "whatsappAccessToken": "token" });
    program.set("vendor_configs", "binta", lends).await;
    let number = json!({ "phoneNumber": "+221771234568", "provider": "meta" });
    program.set("waba_instances", "waba_binta", number).await;
    let key = InstanceKey::Meta("1555".to_owned());
    let store = app.gateway.store();
    assert!(store.instance_by_key(&key).await.unwrap().is_none());
    for (vendor, id) in [("anna", "aQ7auto"), ("binta", "waba_binta")] {
        assert!(store.is_claimed_by_another(&key, &vendor_id(vendor)).await.unwrap());
        let path = format!("/api/admin/vendors/{vendor}/waba/{id}");
        let answer = app.admin.put(&path, json!({ "accountProtection": true })).await;
        assert_eq!(answer.status, 200, "{vendor}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_configurations_lend_goes_to_the_number_they_name_and_first_from_the_one_of_now() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let now = json!({ "wasenderWebhookSecret": "of-now", "whatsappVerifyToken": "verify" });
    let before = json!({ "wasenderWebhookSecret": "of-before", "wasenderAccessToken": "key" });
    program.set("vendor_configs", "anna", now).await;
    program.set("vendorConfigs", "anna", before).await;
    let number = |number: &str| json!({ "vendorId": "anna", "phoneNumber": number });
    program.set("waba_instances", "waba_anna", number("+221771234567")).await;
    let all = async || {
        let instances = read(&app, "anna").await.1;
        let of = |it: &WabaInstance| (it.id.to_string(), secrets(it).join(" "));
        instances.iter().map(of).collect::<Vec<_>>()
    };
    let has = |id: &str, secrets: &str| (id.to_owned(), secrets.to_owned());
    assert_eq!(all().await, [has("waba_anna", "of-now key")]);
    // Of two numbers neither is meant, until one is named.
    program.set("waba_instances", "xQ7auto", number("+221771234568")).await;
    assert_eq!(all().await, [has("waba_anna", ""), has("xQ7auto", "")]);
    for (named, wanted) in [
        ("xQ7auto", [has("waba_anna", ""), has("xQ7auto", "of-now key")]),
        ("waba_anna", [has("waba_anna", "of-now key"), has("xQ7auto", "")]),
        ("waba_gone", [has("waba_anna", ""), has("xQ7auto", "")]),
    ] {
        program.update("vendor_configs", "anna", json!({ "wabaInstanceId": named })).await;
        assert_eq!(all().await, wanted, "{named}");
    }
    // What the number has itself goes before what is lent.
    program.update("vendor_configs", "anna", json!({ "wabaInstanceId": "xQ7auto" })).await;
    program.update("waba_instances", "xQ7auto", json!({ "webhookSecret": "its-own" })).await;
    assert_eq!(all().await, [has("waba_anna", ""), has("xQ7auto", "its-own key")]);
}

#[tokio::test]
async fn what_a_configuration_lends_is_not_lost_to_a_second_number_or_a_new_document() {
    for (collection, is_named) in
        [("vendor_configs", false), ("vendorConfigs", false), ("vendorConfigs", true)]
    {
        for id in ["xQ7auto", "waba_anna"] {
            let emulator = Emulator::start();
            let program = emulator.program().await;
            let app = app(&emulator).await;
            let mut config = json!({ "businessName": "Chez Anna", "status": "inactive",
                "wasenderWebhookSecret": "lent", "wasenderAccessToken": "key", "theirs": 1 });
            if is_named {
                config["wabaInstanceId"] = json!(id);
                let other = json!({ "vendorId": "anna", "phoneNumber": "+221771234599" });
                program.set("waba_instances", "yQ7auto", other).await;
            }
            program.set(collection, "anna", config).await;
            let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
            program.set("waba_instances", id, number).await;
            let lent_to = async || {
                let (name, all) = read(&app, "anna").await;
                assert_eq!(name, "Chez Anna");
                let has = |it: &&WabaInstance| secrets(it) == ["lent", "key"];
                let lent: Vec<String> =
                    all.iter().filter(has).map(|it| it.id.to_string()).collect();
                let n_secrets: usize = all.iter().map(|it| secrets(it).len()).sum();
                assert_eq!(n_secrets, 2, "{all:?}");
                lent
            };
            assert_eq!(lent_to().await, [id]);
            let path = "/api/admin/vendors/anna";
            let change = json!({ "businessName": "Chez Anna", "autoReplyEnabled": false });
            let second = json!({ "phoneNumber": "+221771234568", "provider": "wasender" });
            let what = format!("{collection} {is_named} {id}");
            assert_eq!(app.admin.post(&format!("{path}/waba-instances"), second).await.status, 201);
            assert_eq!(lent_to().await, [id], "{what}: after a second number");
            // What the older collection says of the vendor goes on counting.
            let is_made = program.all("vendor_configs").await.len() == 1;
            assert_eq!(is_made, collection == "vendor_configs", "{what}");
            assert_eq!(app.admin.put(path, change).await.status, 200);
            assert_eq!(lent_to().await, [id], "{what}: after a change of the vendor");
            let vendor = app.gateway.vendor(&vendor_id("anna")).await.unwrap();
            assert_eq!((vendor.status, vendor.auto_reply), (VendorStatus::Inactive, false));
            if collection == "vendorConfigs" {
                assert_eq!(program.get(collection, "anna").await["theirs"], 1);
            }
        }
    }
}

#[tokio::test]
async fn a_document_without_a_number_keeps_nothing_from_the_first_number() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let config = json!({ "wasenderWebhookSecret": "lent", "wasenderAccessToken": "key" });
    program.set("vendor_configs", "anna", config).await;
    program.set("waba_instances", "anna", json!({ "vendorId": "anna", "theirs": 1 })).await;
    let first = json!({ "phoneNumber": "+221771234567", "provider": "wasender" });
    let path = "/api/admin/vendors/anna/waba-instances";
    assert_eq!(app.admin.post(path, first).await.status, 201);
    let config = program.get("vendor_configs", "anna").await;
    assert_eq!(config["wabaInstanceId"], "waba_anna");
    assert_eq!(secrets(&one(&app, "anna").await), ["lent", "key"]);
}

/// Anna's configuration lends, and `waba_anna` is her only number.
async fn lends(program: &Program, collection: &str, names: Option<&str>) {
    let mut config = json!({ "wasenderWebhookSecret": "lent", "wasenderAccessToken": "key" });
    if let Some(id) = names {
        config["wabaInstanceId"] = json!(id);
    }
    program.set(collection, "anna", config).await;
    let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
    program.set("waba_instances", "waba_anna", number).await;
}

async fn lent_to(app: &TestApp) -> Vec<String> {
    let all = read(app, "anna").await.1;
    let lent = all.iter().filter(|it| !secrets(it).is_empty());
    lent.map(|it| it.id.to_string()).collect()
}

#[tokio::test]
async fn what_was_lent_to_a_number_that_is_deleted_is_lent_to_no_other() {
    let path = "/api/admin/vendors/anna";
    let second = json!({ "phoneNumber": "+221771234568", "provider": "wasender" });
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, collection, None).await;
        let create = async || {
            let answer = app.admin.post(&format!("{path}/waba-instances"), second.clone()).await;
            assert_eq!(answer.status, 201, "{collection}: {}", answer.text);
        };
        create().await;
        assert_eq!(lent_to(&app).await, ["waba_anna"], "{collection}");
        let deleted = app.admin.delete(&format!("{path}/waba/waba_anna?force=true")).await;
        assert_eq!(deleted.status, 200, "{}", deleted.text);
        assert!(lent_to(&app).await.is_empty(), "{collection}");
    }
    // Nor to one that comes later, whatever is written in between.
    for collection in ["vendor_configs", "vendorConfigs"] {
        for is_put in [false, true] {
            let emulator = Emulator::start();
            let program = emulator.program().await;
            let app = app(&emulator).await;
            lends(&program, collection, None).await;
            let deleted = app.admin.delete(&format!("{path}/waba/waba_anna?force=true")).await;
            assert_eq!(deleted.status, 200, "{}", deleted.text);
            if is_put {
                let put = app.admin.put(path, json!({ "businessName": "Anna" })).await;
                assert_eq!(put.status, 200, "{}", put.text);
            }
            let created = app.admin.post(&format!("{path}/waba-instances"), second.clone()).await;
            assert_eq!(created.status, 201, "{}", created.text);
            assert!(lent_to(&app).await.is_empty(), "{collection} {is_put}");
        }
    }
    // Of two nobody knows whose it is, also when one of them is gone.
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, collection, None).await;
        let other = json!({ "vendorId": "anna", "phoneNumber": "+221771234569" });
        program.set("waba_instances", "aQ7auto", other).await;
        assert!(lent_to(&app).await.is_empty(), "{collection}");
        let deleted = app.admin.delete(&format!("{path}/waba/waba_anna?force=true")).await;
        assert_eq!(deleted.status, 200, "{}", deleted.text);
        assert!(lent_to(&app).await.is_empty(), "{collection}");
    }
}

#[tokio::test]
async fn what_is_no_number_takes_nothing_of_what_is_lent() {
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, collection, None).await;
        let draft = json!({ "vendorId": "anna", "status": "pending" });
        program.set("waba_instances", "aQ7auto", draft).await;
        assert_eq!(lent_to(&app).await, ["waba_anna"], "{collection}");
        let second = json!({ "phoneNumber": "+221771234568", "provider": "wasender" });
        let path = "/api/admin/vendors/anna/waba-instances";
        assert_eq!(app.admin.post(path, second).await.status, 201);
        assert_eq!(lent_to(&app).await, ["waba_anna"], "{collection}");
    }
}

#[tokio::test]
async fn a_vendor_without_a_configuration_gets_none_that_names_its_second_number() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let number = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
    program.set("waba_instances", "waba_anna", number).await;
    let (store, id) = (app.gateway.store(), vendor_id("anna"));
    let vendor = store.vendor(&id).await.unwrap().unwrap();
    let mut second = store.instances(&id).await.unwrap().remove(0);
    second.id = InstanceId::nth(&id, 2);
    second.phone_number = PhoneNumber::from_wire("221771234568").unwrap();
    store.put_all(&[vendor], &[second]).await.unwrap();
    let config = program.get("vendor_configs", "anna").await;
    assert!(config["wabaInstanceId"].is_null(), "{config}");
}

#[tokio::test]
async fn a_number_at_meta_with_an_account_of_its_own_keeps_what_else_is_lent() {
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        let config = json!({
            "whatsappAccessToken": "lent-token", "whatsappVerifyToken": "lent-verify-token",
            "wasenderWebhookSecret": "lent-secret", "wasenderAccessToken": "lent-key",
        });
        program.set(collection, "anna", config).await;
        let number = json!({
            "vendorId": "anna", "phoneNumber": "+221771234567", "provider": "meta",
            "metaPhoneNumberId": "1551",
        });
        program.set("waba_instances", "waba_anna", number).await;
        let kept = ["lent-key", "lent-secret", "lent-verify-token"];
        let has = async |token: &str| {
            let it = read(&app, "anna").await.1.remove(0);
            let mut all: Vec<_> = it.secrets().map(ExposeSecret::expose_secret).collect();
            all.sort_unstable();
            let mut wanted = [&kept[..], &[token]].concat();
            wanted.sort_unstable();
            assert_eq!(all, wanted, "{collection}");
        };
        has("lent-token").await;
        let change = json!({ "meta": { "accessToken": "own-token" } });
        let path = "/api/admin/vendors/anna/waba/waba_anna";
        let changed = app.admin.put(path, change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        has("own-token").await;
    }
}

#[tokio::test]
async fn a_configuration_that_names_what_is_not_there_hinders_nothing() {
    for named in ["waba_gone", "waba_binta", "no/id"] {
        for collection in ["vendor_configs", "vendorConfigs"] {
            let emulator = Emulator::start();
            let program = emulator.program().await;
            let app = app(&emulator).await;
            lends(&program, collection, Some(named)).await;
            let binta = json!({ "vendorId": "binta", "phoneNumber": "+221771234569" });
            program.set("waba_instances", "waba_binta", binta.clone()).await;
            let path = "/api/admin/vendors/anna";
            let second = json!({ "phoneNumber": "+221771234568", "provider": "wasender" });
            let answer = app.admin.post(&format!("{path}/waba-instances"), second).await;
            assert_eq!(answer.status, 201, "{collection} {named}: {}", answer.text);
            let change = json!({ "accountProtection": true });
            let answer = app.admin.put(&format!("{path}/waba/waba_anna"), change).await;
            assert_eq!(answer.status, 200, "{collection} {named}: {}", answer.text);
            assert_eq!(program.get("waba_instances", "waba_binta").await, binta);
        }
    }
}

#[tokio::test]
async fn a_number_and_a_second_one_that_are_written_together_leave_it_what_is_lent() {
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, collection, None).await;
        let mut first = one(&app, "anna").await;
        first.account_protection = true;
        let mut second = first.clone();
        second.id = InstanceId::nth(&vendor_id("anna"), 2);
        second.phone_number = PhoneNumber::from_wire("221771234568").unwrap();
        second.wasender = WasenderAccount::default();
        app.gateway.store().put_all(&[], &[first, second]).await.unwrap();
        assert_eq!(lent_to(&app).await, ["waba_anna"], "{collection}");
        let stored = program.get("waba_instances", "waba_anna").await;
        assert_eq!(stored["gateway"]["accountProtection"], true, "{stored}");
    }
}

/// A newer document of this number of Anna's, as a person makes it.
async fn made_again(program: &Program, id: &str, number: &str) {
    let newer = json!({ "vendorId": "anna", "phoneNumber": number,
        "updatedAt": "2100-01-01T00:00:00.000Z" });
    program.set("waba_instances", id, newer).await;
}

#[tokio::test]
async fn what_a_number_was_said_to_have_or_not_is_so_of_a_newer_document_of_it() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    lends(&program, "vendorConfigs", None).await;
    let path = "/api/admin/vendors/anna";
    let second = json!({ "phoneNumber": "+221771234568", "provider": "wasender" });
    let answer = app.admin.post(&format!("{path}/waba-instances"), second).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(lent_to(&app).await, ["waba_anna"]);
    made_again(&program, "aQ7auto", "221771234567").await;
    assert_eq!(lent_to(&app).await, ["aQ7auto"]);
    let gone = app.admin.delete(&format!("{path}/waba/aQ7auto?force=true")).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert!(lent_to(&app).await.is_empty());
    // The one that is left never had it.
    made_again(&program, "waba_anna", "221771234568").await;
    assert_eq!(one(&app, "anna").await.id.as_str(), "waba_anna");
    assert!(lent_to(&app).await.is_empty());
}

#[tokio::test]
async fn nothing_is_lent_to_a_number_that_needs_nothing() {
    for provider in ["unipile", "twilio"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, "vendor_configs", None).await;
        let other =
            json!({ "provider": provider, "unipileInstanceId": "u1", "unipileApiKey": "k" });
        program.update("waba_instances", "waba_anna", other).await;
        assert!(lent_to(&app).await.is_empty(), "{provider}");
    }
}

#[tokio::test]
async fn the_first_of_two_numbers_that_are_imported_has_what_the_configuration_had() {
    for collection in ["vendor_configs", "vendorConfigs"] {
        let emulator = Emulator::start();
        let program = emulator.program().await;
        let app = app(&emulator).await;
        lends(&program, collection, None).await;
        let exported = app.admin.get("/api/admin/export?secrets=true").await.json();
        program.delete("waba_instances", "waba_anna").await;
        let mut document = exported.clone();
        let mut numbers = document["vendors"][0]["instances"].as_array().unwrap().clone();
        let number = numbers[0].as_object_mut().unwrap();
        number.retain(|name, _| {
            ["instanceId", "id", "phoneNumber", "provider"].contains(&name.as_str())
        });
        let mut second = numbers[0].clone();
        for (name, value) in second.as_object_mut().unwrap() {
            let text = value.as_str().unwrap().to_owned();
            match name.as_str() {
                "phoneNumber" => *value = json!("+221771234568"),
                "provider" => {}
                _ => *value = json!(format!("{text}_2")),
            }
        }
        numbers.push(second);
        document["vendors"][0]["instances"] = numbers.into();
        let answer = app.admin.post("/api/admin/import", document).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(lent_to(&app).await, ["waba_anna"], "{collection}");
    }
}
