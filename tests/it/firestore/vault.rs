//! Secrets in Firestore: sealed with another key, sealed at all, and clear again.

use std::{path::Path, process::Command};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use waba_gateway::{
    domain::secret::{ExposeSecret, SecretString},
    gateway::VendorChange,
    vault::Vault,
};

use super::{
    app,
    commands::{command, told},
    secrets, until, vendor_id,
};
use crate::{
    support::{Emulator, Options, Program, TestApp, gateway_binary, rules, spawn_app_with, time},
    vault::{at_a_terminal, boxes, restart},
};

const AT: i64 = 1_708_691_234_000;

/// A command on this Firestore with other keys than the emulator's.
fn run(
    emulator: &Emulator,
    place: &Path,
    arguments: &[&str],
    keys: Option<(&SecretString, &str)>,
) -> (i32, String) {
    let mut command = match keys {
        Some(keys) => with_keys(emulator, place, arguments, keys),
        None => command(&gateway_binary(), arguments, emulator, place),
    };
    told(&command.output().unwrap())
}

fn with_keys(
    emulator: &Emulator,
    place: &Path,
    arguments: &[&str],
    (key, old): (&SecretString, &str),
) -> Command {
    let mut command = command(&gateway_binary(), arguments, emulator, place);
    command.env("ENCRYPTION_KEY", key.expose_secret()).env("ENCRYPTION_KEYS_OLD", old);
    command
}

fn first_key(emulator: &Emulator) -> String {
    emulator.variables().into_iter().find(|it| it.0 == "ENCRYPTION_KEY").unwrap().1
}

/// A node with this key and these older ones.
async fn node(emulator: &Emulator, key: &SecretString, old: &str) -> TestApp {
    let mut variables = emulator.variables();
    variables.retain(|it| it.0 != "ENCRYPTION_KEY");
    variables.push(("ENCRYPTION_KEY", key.expose_secret().to_owned()));
    variables.push(("ENCRYPTION_KEYS_OLD", old.to_owned()));
    spawn_app_with(Options { variables, ..Options::default() }).await
}

/// All that is in the collections that hold secrets.
async fn all(program: &Program) -> Vec<Value> {
    let mut found = Vec::new();
    for name in ["waba_instances", "vendor_configs", "gateway_meta"] {
        found.extend(program.all(name).await.into_values());
    }
    found
}

#[tokio::test]
async fn everything_in_firestore_is_sealed_with_the_new_key() {
    let mut emulator = Emulator::start();
    let (old, new) = (first_key(&emulator), Vault::new_key().unwrap());
    let program = emulator.program().await;
    let first = app(&emulator).await;
    let change = VendorChange { responders: Some(rules()), ..VendorChange::default() };
    let shop = first.vendor_with(1, change).await;
    program.update("waba_instances", "waba_vendor_001", json!({ "theirs": "untouched" })).await;
    let clear = json!({ "phoneNumber": "+221771112233", "wasenderWebhookSecret": "clear-secret" });
    program.set("waba_instances", "waba_clear", clear.clone()).await;
    let (told_before, claims) = (all(&program).await, program.all("gateway_claims").await);
    assert!(told_before.iter().any(|it| it.to_string().contains("sealed:v1:")));
    drop(first);

    // Nodes know both keys first, and a node with the new one alone does not start.
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let (code, told) = run(&emulator, place, &["vendor", "list"], Some((&new, "")));
    assert!(code == 2 && told.contains("another ENCRYPTION_KEY"), "{code} {told}");
    let node_one = node(&emulator, &new, &old).await;
    let hook = format!("{}/api/webhooks/wasender/{}", node_one.base, shop.id);
    let proves = async |app: &TestApp| {
        let hook = hook.replace(&node_one.base, &app.base);
        app.post(&hook, &[("x-webhook-signature", shop.secret())], b"{}").await.status
    };
    assert_eq!(proves(&node_one).await, 200);
    let (code, told) = run(&emulator, place, &["vault", "rotate"], Some((&new, &old)));
    assert_eq!(code, 0, "{told}");
    assert!(!told.contains("secret-") && !told.contains(shop.secret()), "{told}");
    assert_eq!(proves(&node_one).await, 200);
    assert_eq!(program.get("waba_instances", "waba_clear").await, clear, "clear stays clear");
    assert_eq!(program.get("waba_instances", "waba_vendor_001").await["theirs"], "untouched");
    let (code, told) = run(&emulator, place, &["vault", "rotate"], Some((&new, &old)));
    assert!(code == 0 && told.contains("vendor_configs"), "{code} {told}");

    // The old key opens nothing; the new one everything, on a node that never knew another.
    let (code, told) = run(&emulator, place, &["vendor", "list"], None);
    assert!(code == 2 && told.contains("another ENCRYPTION_KEY"), "{code} {told}");
    let node_two = node(&emulator, &new, "").await;
    assert_eq!(proves(&node_two).await, 200);
    let vendor = node_two.gateway.vendor(&shop.id).await.unwrap();
    assert_eq!(vendor.responders.len(), 1);
    // Hashes are what they were: the number is still found and still claimed.
    assert_eq!(program.all("gateway_claims").await, claims);
    let taken = json!({ "phoneNumber": shop.phone, "wasenderWebhookSecret": "some-other-secret" });
    node_two.gateway.put_vendor(&vendor_id("binta"), VendorChange::default()).await.unwrap();
    let answer = node_two.admin.post("/api/admin/vendors/binta/waba-instances", taken).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    // What they are keyed with outlives an outage at the start.
    emulator.kill();
    let mut node_two = node_two;
    node_two.restart().await;
    assert_eq!(proves(&node_two).await, 200);
}

/// How many sealed texts of a collection are not sealed with this key.
async fn n_old(program: &Program, collection: &str, vault: &Vault) -> u64 {
    let is_old = |it: &Value| {
        let sealed = it.as_str().and_then(|it| it.strip_prefix("sealed:v1:"));
        sealed.is_some_and(|it| !vault.is_current(&URL_SAFE_NO_PAD.decode(it).unwrap()))
    };
    let all = program.all(collection).await;
    let own = all.values().flat_map(|it| it.as_object().unwrap().values());
    let ours = all.values().filter_map(|it| it["gateway"].as_object()).flat_map(|it| it.values());
    own.chain(ours).filter(|it| is_old(it)).count() as u64
}

async fn knock(app: &TestApp, vendor: &str, secret: &str) -> u16 {
    let hook = format!("{}/api/webhooks/wasender/{vendor}", app.base);
    app.post(&hook, &[("x-webhook-signature", secret)], b"{}").await.status
}

#[tokio::test]
async fn a_rotation_that_was_killed_is_gone_on_with_while_webhooks_come() {
    const N: u32 = 350;
    const COPY: (&str, &str) = ("known", "doc");
    let emulator = Emulator::start();
    let (old, new) = (SecretString::from(first_key(&emulator)), Vault::new_key().unwrap());
    let vault = Vault::new(&new, &[]).unwrap();
    let program = emulator.program().await;
    let mut app = app(&emulator).await;
    let (shop, data) = (app.vendor(1).await, app.data_dir());
    let place = app.directory.path().to_owned();
    sealed(&emulator, &place, N).await;
    for (vendor, secret) in [(shop.id.as_str(), shop.secret()), ("shop_007", "secret-of-shop_007")]
    {
        assert_eq!(knock(&app, vendor, secret).await, 200);
    }
    until("both are copied", async || boxes(&data, COPY, &old).0 >= 2).await;
    restart(&mut app, &new, &[&old]).await;
    let rotate = |how: &[&str]| {
        let arguments = [&["vault", "rotate"], how].concat();
        with_keys(&emulator, &place, &arguments, (&new, old.expose_secret()))
    };
    let n_all = n_old(&program, "waba_instances", &vault).await;
    assert!(n_all >= 2 * u64::from(N), "{n_all}");

    // Cut off after the first page or the second.
    let before = emulator.commits("waba_instances").len();
    let mut rotation = rotate(&[]).spawn().unwrap();
    until("it has begun", async || emulator.commits("waba_instances").len() > before).await;
    rotation.kill().unwrap();
    rotation.wait().unwrap();
    let (code, said) = run(&emulator, &place, &["vendor", "list"], Some((&new, "")));
    assert!(code == 2 && said.contains("another ENCRYPTION_KEY"), "{code} {said}");
    let left = n_old(&program, "waba_instances", &vault).await;
    assert!(left > 0 && left < n_all, "{left} of {n_all}");

    // What was killed is on record.
    let audit = app.admin.get("/api/admin/audit").await;
    assert!(audit.text.contains("rotateVault"), "{}", audit.text);

    // Gone on with, and nobody who knocks meanwhile is refused.
    let rotation = rotate(&["--json"]).spawn().unwrap();
    let rotation = tokio::task::spawn_blocking(move || rotation.wait_with_output().unwrap());
    let mut n_knocks = 0;
    while !rotation.is_finished() {
        let vendor = format!("shop_{:03}", n_knocks % N);
        n_knocks += 1;
        assert_eq!(knock(&app, &vendor, &format!("secret-of-{vendor}")).await, 200, "{vendor}");
        assert_eq!(knock(&app, shop.id.as_str(), shop.secret()).await, 200);
    }
    assert!(n_knocks > 0);
    let (code, said) = told(&rotation.await.unwrap());
    let report: Value = serde_json::from_str(&said).unwrap();
    assert!(code == 0 && report["clean"] == true, "{code} {said}");
    // A page may have been on its way when the first one was killed.
    assert!((1..=left).contains(&resealed(&report, "waba_instances")), "{left} {said}");
    assert!(resealed(&report, "vendor_configs") >= u64::from(N), "{said}");
    for collection in ["waba_instances", "vendor_configs"] {
        assert_eq!(n_old(&program, collection, &vault).await, 0, "{collection}");
    }
    // So is the copy of this node.
    let (n, n_old) = boxes(&data, COPY, &new);
    assert!(n >= 2 && n_old == 0, "{n_old} of {n}");
    let (code, said) = at_a_terminal(&rotate(&[]));
    assert!(code == 0 && said.contains("waba_instances "), "{code} {said}");
}

fn resealed(report: &Value, name: &str) -> u64 {
    let parts = report["parts"].as_array().unwrap();
    parts.iter().find(|it| it["name"] == name).unwrap()["resealed"].as_u64().unwrap()
}

/// Vendors of the predecessor's, sealed by a command.
async fn sealed(emulator: &Emulator, place: &Path, n_vendors: u32) {
    let program = emulator.program().await;
    for n in 0..n_vendors {
        predecessors(&program, &format!("shop_{n:03}"), 5_000 + n).await;
    }
    let (code, said) = run(emulator, place, &["vault", "seal", "--all", "--apply"], None);
    assert_eq!(code, 0, "{said}");
}

/// As the predecessor has written it.
async fn predecessors(program: &Program, vendor: &str, number: u32) {
    let instance = json!({
        "vendorId": vendor, "phoneNumber": format!("+22177000{number:04}"), "provider": "wasender",
        "wasenderInstanceId": number, "wasenderApiKey": format!("key-of-{vendor}"),
        "wasenderWebhookSecret": format!("secret-of-{vendor}"), "metaAccessToken": "",
        "updatedAt": time(AT), "theirs": { "a": 1 },
    });
    program.set("waba_instances", &format!("waba_{vendor}"), instance).await;
    let config = json!({
        "businessName": vendor, "whatsappVerifyToken": format!("token-of-{vendor}"),
        "updatedAt": "2024-02-23T13:00:00.000Z", "wabaInstanceId": format!("waba_{vendor}"),
    });
    program.set("vendor_configs", vendor, config).await;
}

async fn documents(program: &Program, vendor: &str) -> [Value; 2] {
    let mut instance = program.get("waba_instances", &format!("waba_{vendor}")).await;
    // Each webhook may write it.
    instance.as_object_mut().unwrap().remove("lastSync");
    [instance, program.get("vendor_configs", vendor).await]
}

fn without_secrets(document: &Value) -> Value {
    let mut all = document.as_object().unwrap().clone();
    let is_secret = |it: &str| it.contains("-of-") || it.starts_with("sealed:");
    all.retain(|_, value| !value.as_str().is_some_and(is_secret));
    all.into()
}

#[tokio::test]
async fn clear_secrets_are_sealed_and_made_clear_again_as_they_were() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    for (n, vendor) in ["anna", "binta"].into_iter().enumerate() {
        predecessors(&program, vendor, 4_001 + u32::try_from(n).unwrap()).await;
    }
    let before = [documents(&program, "anna").await, documents(&program, "binta").await];
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let (code, told) = run(&emulator, directory.path(), arguments, None);
        assert_eq!(code, 0, "{arguments:?} {told}");
        assert!(!told.contains("-of-"), "a secret is told: {told}");
        told
    };
    let secrets_of = async |vendor: &str| {
        let all = app.gateway.store().instances(&vendor_id(vendor)).await.unwrap();
        secrets(&all[0]).join(" ")
    };
    // First dry, and then one vendor alone.
    for whose in [&["--vendor", "anna"][..], &["--all"]] {
        let told = run(&[&["vault", "seal"], whose].concat());
        assert!(told.contains("nothing was changed"), "{told}");
    }
    assert_eq!(documents(&program, "anna").await, before[0]);
    run(&["vault", "seal", "--vendor", "anna", "--apply"]);
    let [instance, config] = documents(&program, "anna").await;
    for (document, field) in [
        (&instance, "wasenderApiKey"),
        (&instance, "wasenderWebhookSecret"),
        (&config, "whatsappVerifyToken"),
    ] {
        let stored = document[field].as_str().unwrap();
        assert!(stored.starts_with("sealed:v1:") && !stored.contains("-of-"), "{field}");
    }
    // Nothing else was touched, the time of the last change included: the newest wins by it.
    assert_eq!(without_secrets(&instance), without_secrets(&before[0][0]));
    assert_eq!(without_secrets(&config), without_secrets(&before[0][1]));
    assert_eq!(documents(&program, "binta").await, before[1]);
    for vendor in ["anna", "binta"] {
        let wanted = format!("secret-of-{vendor} key-of-{vendor}");
        until("they are read", async || secrets_of(vendor).await == wanted).await;
        let hook = format!("{}/api/webhooks/wasender/{vendor}", app.base);
        let secret = format!("secret-of-{vendor}");
        assert_eq!(app.post(&hook, &[("x-webhook-signature", &secret)], b"{}").await.status, 200);
    }
    let told = run(&["vault", "seal", "--all", "--apply", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let n: u64 =
        told["fields"].as_array().unwrap().iter().map(|it| it["secrets"].as_u64().unwrap()).sum();
    assert_eq!(n, 3, "binta's alone: {told:#}");
    assert!(run(&["vault", "seal", "--all"]).contains("nothing to do"));
    // The way back gives exactly what was there.
    assert!(run(&["vault", "unseal", "--all"]).contains("nothing was changed"));
    run(&["vault", "unseal", "--all", "--apply"]);
    assert_eq!([documents(&program, "anna").await, documents(&program, "binta").await], before);
    assert_eq!(secrets_of("anna").await, "secret-of-anna key-of-anna");
    let audit = app.admin.get("/api/admin/audit").await;
    assert!(audit.text.contains("sealSecrets") && audit.text.contains("unsealSecrets"));
}

#[tokio::test]
async fn sealing_makes_no_document_newer_than_another() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let number = |secret: &str| json!({ "vendorId": "anna", "phoneNumber": "+221771234567", "wasenderWebhookSecret": secret });
    let config = |name: &str| json!({ "vendorId": "anna", "businessName": name, "whatsappVerifyToken": "t-of-anna" });
    program.set("waba_instances", "old", number("stale-of-anna")).await;
    program.set("vendor_configs", "old", config("Old")).await;
    // The newer ones have nothing to seal, and their time may be written or not.
    for fields in [json!({}), json!({ "updatedAt": time(4_000_000_000_000) })] {
        let mut newer = json!({ "vendorId": "anna", "phoneNumber": "+221771234567" });
        let mut name = json!({ "vendorId": "anna", "businessName": "New" });
        for it in [&mut newer, &mut name] {
            it.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        program.set("waba_instances", "new", newer).await;
        program.set("vendor_configs", "new", name).await;
        let store = app.gateway.store();
        for turn in ["seal", "unseal"] {
            let directory = tempfile::tempdir().unwrap();
            let (code, told) =
                run(&emulator, directory.path(), &["vault", turn, "--all", "--apply"], None);
            assert_eq!(code, 0, "{told}");
            let is_sealed = program.get("waba_instances", "old").await["wasenderWebhookSecret"]
                .as_str()
                .unwrap()
                .starts_with("sealed:");
            assert_eq!(is_sealed, turn == "seal", "{told}");
            let all = store.instances(&vendor_id("anna")).await.unwrap();
            let counts: Vec<&str> = all.iter().map(|it| it.id.as_str()).collect();
            assert_eq!(counts, ["new"], "{turn}");
            let vendor = store.vendor(&vendor_id("anna")).await.unwrap().unwrap();
            assert_eq!(vendor.business_name, "New", "{turn}");
        }
    }
}

#[tokio::test]
async fn every_secret_of_the_contract_is_sealed_and_made_clear_again() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let mut before = Vec::new();
    for (collection, fields) in &waba_gateway::store::firestore::SECRETS {
        if *collection == "vendorConfigs" {
            continue;
        }
        let secrets =
            fields.iter().map(|it| ((*it).to_owned(), json!(format!("the-{it}-of-anna"))));
        let mut document: serde_json::Map<String, Value> = secrets.collect();
        document.insert("vendorId".to_owned(), json!("anna"));
        // Without it, sealing would write which of two is the newer.
        document.insert("updatedAt".to_owned(), time(AT));
        let id = if *collection == "waba_instances" { "waba_anna" } else { "anna" };
        program.set(collection, id, document.into()).await;
        before.push((*collection, id, *fields, program.get(collection, id).await));
    }
    let directory = tempfile::tempdir().unwrap();
    let (code, told) =
        run(&emulator, directory.path(), &["vault", "seal", "--all", "--apply"], None);
    assert!(code == 0 && !told.contains("-of-anna"), "{code} {told}");
    for (collection, id, fields, _) in &before {
        let stored = program.get(collection, id).await;
        for field in *fields {
            let stored = stored[field].as_str().unwrap();
            assert!(stored.starts_with("sealed:v1:"), "{collection} {field}: {stored}");
        }
    }
    let (code, told) =
        run(&emulator, directory.path(), &["vault", "unseal", "--all", "--apply"], None);
    assert_eq!(code, 0, "{told}");
    for (collection, id, _, document) in before {
        assert_eq!(program.get(collection, id).await, document, "{collection}");
    }
}

#[tokio::test]
async fn what_the_gateway_seals_is_spared_an_index() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrate/firestore/indexes.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let of = |it: &Value| {
        let word = |field: &str| it[field].as_str().unwrap().to_owned();
        assert_eq!(it["indexes"], json!([]));
        (word("collectionGroup"), word("fieldPath"))
    };
    let named: std::collections::BTreeSet<(String, String)> =
        file["fieldOverrides"].as_array().unwrap().iter().map(of).collect();
    let mut sealed = std::collections::BTreeSet::new();
    for (collection, fields) in &waba_gateway::store::firestore::SECRETS {
        sealed.extend(fields.iter().map(|it| ((*collection).to_owned(), (*it).to_owned())));
    }
    // The older collection is never written.
    sealed.retain(|it| it.0 != "vendorConfigs");
    // Everything of ours that a whole vendor and its number have sealed.
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = app(&emulator).await;
    let change = VendorChange {
        responders: Some(rules()),
        forward_url: Some(Some("https://shop.example/".to_owned())),
        ..VendorChange::default()
    };
    let shop = app.vendor_with(1, change).await;
    app.gateway.renew_signing_secret(&shop.id).await.unwrap();
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", shop.id);
    let accounts = json!({
        "wasenderToken": "a-token", "wasenderWebhookSecret": "another-webhook-secret-of-the-shop",
        "meta": { "phoneNumberId": "1555", "accessToken": "t", "appSecret": "s", "verifyToken": "v" },
        "unipile": { "accountId": "u1", "apiKey": "k", "webhookSecret": "w" },
        "twilio": { "accountSid": format!("AC{}", "0".repeat(32)), "authToken": "t", "from": "+14155238886" },
    });
    let answer = app.admin.put(&path, accounts).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for collection in ["waba_instances", "vendor_configs"] {
        for document in program.all(collection).await.values() {
            let ours = document["gateway"].as_object().unwrap();
            let shut = |it: &Value| it.as_str().is_some_and(|it| it.starts_with("sealed:v1:"));
            let shut = ours.iter().filter(|it| shut(it.1));
            sealed.extend(shut.map(|it| (collection.to_owned(), format!("gateway.{}", it.0))));
        }
    }
    sealed.insert(("vendor_configs".to_owned(), "gateway.hours".to_owned()));
    assert_eq!(named, sealed);
}

#[tokio::test]
async fn the_embedded_store_has_nothing_to_seal() {
    let app = crate::support::spawn_app().await;
    app.vendor(1).await;
    let ended = Command::new(gateway_binary())
        .args(["vault", "seal", "--all", "--apply"])
        .current_dir(app.directory.path())
        .env_clear()
        .env("DATA_DIR", app.data_dir())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && told.contains("nothing to do"), "{told}");
}
