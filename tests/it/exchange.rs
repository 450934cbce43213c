//! Vendors handed from one gateway to another, exactly.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        event::Connection,
        id::{InstanceId, VendorId},
        message::{Template, Text},
        phone::PhoneNumber,
        vendor::{
            BusinessHours, Dialect, OnUnknown, ResponderConfig, ResponseApi, Rule, Vendor,
            VendorStatus,
        },
        waba::{
            MetaAccount, ProviderKind, Routes, SignatureSchemes, TwilioAccount, UnipileAccount,
            WabaInstance, WasenderAccount, WebhookSecret,
        },
    },
    gateway::VendorChange,
    twin::Customer,
};

use crate::support::{
    Answer, DEADLINE, Emulator, Options, TestApp, rules, spawn_app, spawn_app_with,
};

const EXPORT: &str = "/api/admin/export?secrets=true";
const IMPORT: &str = "/api/admin/import";

async fn export(app: &TestApp, path: &str) -> Value {
    let answer = app.admin.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"vendors.json\"");
    answer.json()
}

#[track_caller]
fn faults(answer: &Answer) -> Vec<(u64, String)> {
    assert_eq!(answer.status, 422, "{}", answer.text);
    let faults = answer.json()["faults"].as_array().unwrap().clone();
    let fault =
        |it: &Value| (it["index"].as_u64().unwrap(), it["field"].as_str().unwrap().to_owned());
    faults.iter().map(fault).collect()
}

fn responder() -> impl Strategy<Value = ResponderConfig> {
    let rule = ("[a-zé]{1,8}", "[ -~é]{1,8}x");
    let rules = (prop::collection::vec(rule, 0..3), prop::option::of("[a-z]{1,9}")).prop_map(
        |(rules, otherwise)| {
            let rule = |it: (String, String)| Rule { contains: it.0, reply: it.1 };
            ResponderConfig::Rules { rules: rules.into_iter().map(rule).collect(), otherwise }
        },
    );
    let header = ("x-[a-z]{1,5}", "[a-zA-Z0-9]{1,30}");
    let web_id = prop::option::of("[a-z0-9]{8,20}");
    let api = (
        "https://[a-z]{1,9}\\.example/[a-z]{0,5}",
        prop::collection::vec(header, 0..3),
        prop::option::of(("[a-z]{1,9}", web_id)),
    )
        .prop_map(|(url, headers, dialect)| {
            let headers = headers.into_iter().map(|it| (it.0, it.1.into())).collect();
            let dialect = dialect.map_or(Dialect::Bot, |(chatbot_id, web_id)| {
                Dialect::Conversation { chatbot_id, web_id: web_id.map(Into::into) }
            });
            ResponderConfig::ResponseApi(ResponseApi { url, headers, dialect })
        });
    prop_oneof![rules, api]
}

fn hours() -> impl Strategy<Value = BusinessHours> {
    let span = (0..1_440_u16, 1..=1_440_u16).prop_filter("two times", |it| it.0 != it.1);
    let day = prop::collection::vec(span, 0..4);
    (
        prop::option::of(prop::sample::select(vec!["Africa/Dakar", "Europe/Paris"])),
        prop::array::uniform7(day),
        prop::collection::vec(responder(), 0..2),
    )
        .prop_map(|(zone, days, out_of_hours)| BusinessHours {
            time_zone: zone.map(str::to_owned),
            days,
            out_of_hours,
        })
}

fn ms() -> impl Strategy<Value = i64> {
    60_000..2_000_000_000_i64
}

/// Any vendor; its number in the list becomes part of what must be its own.
fn vendor() -> impl Strategy<Value = Vendor> {
    use VendorStatus::{Active, Inactive, Suspended};
    let texts = (prop::option::of("[a-zé\"\\\\ ]{1,20}"), prop::option::of("[a-z]{1,20}"));
    let spans = (ms(), ms(), prop::option::of(ms()), prop::option::of(ms()));
    let switches = prop::array::uniform5(any::<bool>());
    let status = prop::sample::select(vec![Active, Inactive, Suspended]);
    let forward = prop::option::of("https://[a-z]{1,9}\\.example/hook");
    let responders = prop::collection::vec(responder(), 0..3);
    let template =
        ("[a-z_]{1,9}", prop::option::of("HX[0-9a-f]{32}"), "[a-z]{0,9}").prop_map(|it| {
            let (name, content_sid, text) = it;
            let components = vec![json!({ "type": "body" })];
            let language = "fr".to_owned();
            let text = Text(text);
            Box::new(Template {
                name,
                language,
                components,
                content_sid,
                text,
                ..Template::default()
            })
        });
    let template = prop::option::of(template);
    let rest = (responders, prop::option::of(hours()), forward, "whsec_[a-zA-Z0-9]{32}", template);
    let times = (0..2_000_000_000_000_i64, 0..2_000_000_000_000_i64);
    ("[ -~é]{0,20}", texts, spans, switches, status, rest, times).prop_map(
        |(business_name, texts, spans, switches, status, rest, times)| Vendor {
            id: "vendor_x".parse().unwrap(),
            business_name,
            status,
            auto_reply: switches[0],
            welcome_message: texts.0,
            apology: texts.1,
            silence: spans.0,
            responders: rest.0,
            signing_secret: rest.3.into(),
            on_unknown: if switches[1] { OnUnknown::Retry } else { OnUnknown::GiveUp },
            unknown_deadline: spans.1,
            max_answer_age: spans.2,
            intent_ttl: spans.3,
            mark_as_read: switches[2],
            typing: switches[3],
            hours: rest.1,
            forward_url: rest.2,
            fallback_template: rest.4,
            paused: switches[4],
            created_at: times.0,
            updated_at: times.1,
        },
    )
}

fn accounts() -> impl Strategy<Value = Accounts> {
    let secret = || prop::option::of("[!-~]{1,30}");
    let other = || prop::option::of(Just(PhoneNumber::from_wire("221780000000").unwrap()));
    let meta =
        ("[0-9]{1,15}", prop::option::of("[0-9]{1,15}"), secret(), secret(), secret(), other())
            .prop_map(|it| MetaAccount {
                phone_number_id: it.0,
                waba_id: it.1,
                access_token: it.2.map(Into::into),
                app_secret: it.3.map(Into::into),
                verify_token: it.4.map(Into::into),
                phone_number: it.5,
            });
    let dsn = prop::option::of("https://[a-z]{1,9}\\.example(:13111)?(/api/v1|/v2)?");
    let unipile = ("[a-z]{1,9}", secret(), dsn, secret(), other()).prop_map(|it| UnipileAccount {
        account_id: it.0,
        api_key: it.1.map(Into::into),
        dsn: it.2,
        webhook_secret: it.3.map(Into::into),
        phone_number: it.4,
    });
    let service = prop::option::of("MG[0-9a-f]{32}");
    let twilio = ("AC[0-9a-f]{32}", secret(), other(), service).prop_map(|it| TwilioAccount {
        account_sid: it.0,
        auth_token: it.1.map(Into::into),
        from: it.2,
        messaging_service_sid: it.3,
    });
    let order = Just(ProviderKind::ALL.to_vec()).prop_shuffle();
    let accounts = (
        prop::option::of(meta.prop_map(Box::new)),
        prop::option::of(unipile.prop_map(Box::new)),
        prop::option::of(twilio.prop_map(Box::new)),
    );
    (accounts, order, 1..=4_usize)
}

type Accounts = (
    (Option<Box<MetaAccount>>, Option<Box<UnipileAccount>>, Option<Box<TwilioAccount>>),
    Vec<ProviderKind>,
    usize,
);

/// With these accounts; it goes through some of those that it has.
fn with_accounts(mut it: WabaInstance, (accounts, order, n_ways): Accounts) -> WabaInstance {
    (it.meta, it.unipile, it.twilio) = accounts;
    it.provider = order.iter().copied().find(|kind| it.has(*kind)).unwrap_or(it.provider);
    let others = order.into_iter().filter(|kind| *kind != it.provider && it.has(*kind));
    it.failover = others.take(n_ways - 1).collect();
    it
}

fn instance() -> impl Strategy<Value = WabaInstance> {
    use Connection::{Connected, Disconnected, Error, Pending};
    let secret = ("[a-z]{8,20}", prop::option::of(0..2_000_000_000_000_i64), any::<bool>());
    let secrets = prop::collection::vec(secret, 0..3);
    let account =
        (prop::option::of("[0-9a-f]{64}"), secrets, prop::option::of("[0-9]{2}\\|[a-z]{9}"));
    let states = prop::sample::select(vec![Connected, Pending, Disconnected, Error]);
    let schemes = prop::sample::select(vec![(true, true), (true, false), (false, true)]);
    let times = (0..2_000_000_000_000_i64, 0..2_000_000_000_000_i64);
    let sync = prop::option::of(0..2_000_000_000_000_i64);
    let one = (account, states, schemes, any::<(bool, bool)>(), times, sync).prop_map(
        |(account, status, schemes, (is_protected, has_session), times, last_sync)| WabaInstance {
            id: "waba_x".parse().unwrap(),
            vendor_id: "vendor_x".parse().unwrap(),
            phone_number: PhoneNumber::from_wire("221770000000").unwrap(),
            provider: ProviderKind::Wasender,
            failover: Routes::default(),
            meta: None,
            unipile: None,
            twilio: None,
            status,
            schemes: SignatureSchemes { hmac: schemes.0, secret: schemes.1 },
            account_protection: is_protected,
            wasender: WasenderAccount {
                instance_id: has_session.then(String::new),
                session_key: account.0.map(Into::into),
                webhook_secrets: account
                    .1
                    .into_iter()
                    .map(|(secret, until, is_sessions)| WebhookSecret {
                        secret: secret.into(),
                        until,
                        is_sessions,
                    })
                    .collect(),
                token: account.2.map(Into::into),
            },
            created_at: times.0,
            updated_at: times.1,
            last_sync,
        },
    );
    (one, accounts()).prop_map(|(it, accounts)| with_accounts(it, accounts))
}

/// So many vendors, each with up to three instances, nothing twice.
pub fn any_vendors(runner: &mut TestRunner, n: usize) -> (Vec<Vendor>, Vec<WabaInstance>) {
    let (mut vendors, mut instances) = (Vec::new(), Vec::new());
    for v in 0..n {
        let mut one = vendor().new_tree(runner).unwrap().current();
        one.id = VendorId::parse(&format!("vendor_{v:03}")).unwrap();
        let list = prop::collection::vec(instance(), 0..4).new_tree(runner).unwrap().current();
        for (i, mut it) in list.into_iter().enumerate() {
            let number = instances.len();
            it.id = InstanceId::nth(&one.id, i + 1);
            it.vendor_id = one.id.clone();
            it.phone_number = PhoneNumber::from_wire(&format!("22177{number:07}")).unwrap();
            it.wasender.instance_id = it.wasender.instance_id.map(|_| number.to_string());
            for (s, secret) in it.wasender.webhook_secrets.iter_mut().enumerate() {
                secret.secret = format!("secret-{number}-{s}").into();
            }
            let other =
                |provider| PhoneNumber::from_wire(&format!("2217{provider}{number:07}")).unwrap();
            if let Some(meta) = &mut it.meta {
                meta.phone_number_id = number.to_string();
                meta.phone_number = meta.phone_number.take().map(|_| other(8));
            }
            if let Some(unipile) = &mut it.unipile {
                unipile.account_id = format!("account-{number}");
                unipile.phone_number = unipile.phone_number.take().map(|_| other(6));
            }
            if let Some(twilio) = &mut it.twilio {
                twilio.from = twilio.from.take().map(|_| other(5));
            }
            instances.push(it);
        }
        vendors.push(one);
    }
    (vendors, instances)
}

#[tokio::test]
async fn what_is_imported_elsewhere_is_what_was_exported() {
    let mut runner = TestRunner::deterministic();
    // More than one page of an export.
    for n in [0, 1, 60, 205] {
        let (one, other) = (spawn_app().await, spawn_app().await);
        let (vendors, instances) = any_vendors(&mut runner, n);
        one.gateway.store().import(&vendors, &instances).await.unwrap();
        let exported = export(&one, EXPORT).await;
        assert_eq!(exported["vendors"].as_array().unwrap().len(), n);
        let dry = other.admin.post(&format!("{IMPORT}?dryRun=true"), exported.clone()).await;
        assert_eq!(dry.status, 200, "{}", dry.text);
        assert_eq!(export(&other, EXPORT).await["vendors"], json!([]));
        let answer = other.admin.post(IMPORT, exported.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let want = json!({ "success": true, "dryRun": false, "created": n, "updated": 0,
            "instances": instances.len() });
        assert_eq!(answer.json(), want);
        assert_eq!(export(&other, EXPORT).await, exported);
        // Again it changes nothing.
        let again = other.admin.post(IMPORT, exported.clone()).await.json();
        assert_eq!((&again["created"], &again["updated"]), (&json!(0), &json!(n)));
        assert_eq!(export(&other, EXPORT).await, exported);
        let paused = vendors.iter().filter(|it| it.paused).count();
        assert_eq!(other.gateway.store().paused().await.unwrap().0.len(), paused);
    }
}

/// What is there already has everything where the document has nothing, and the other way round.
#[tokio::test]
async fn an_import_leaves_nothing_of_what_was_there_before_on_either_store() {
    let emulator = Emulator::start();
    let variables = Options { variables: emulator.variables(), ..Options::default() };
    for app in [spawn_app().await, spawn_app_with(variables).await] {
        let mut runner = TestRunner::deterministic();
        let (mut vendors, mut instances) = any_vendors(&mut runner, 6);
        for it in &mut vendors {
            // What is blank is nothing in Firestore.
            it.welcome_message = it.welcome_message.take().filter(|it| !it.trim().is_empty());
            it.business_name += "x";
        }
        app.gateway.store().import(&vendors, &instances).await.unwrap();
        let whole = export(&app, EXPORT).await;
        for it in &mut vendors {
            let bare = Vendor::new(it.id.clone(), it.id.to_string(), "whsec_bare".into(), 7);
            let _ = std::mem::replace(it, bare);
        }
        for it in &mut instances {
            it.wasender = WasenderAccount::default();
            (it.provider, it.failover) = (ProviderKind::Wasender, Routes::default());
            (it.meta, it.unipile, it.twilio) = (None, None, None);
        }
        let other = spawn_app().await;
        other.gateway.store().import(&vendors, &instances).await.unwrap();
        let bare = export(&other, EXPORT).await;
        for document in [bare, whole] {
            let answer = app.admin.post(IMPORT, document.clone()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(export(&app, EXPORT).await, document);
        }
    }
}

/// Instances with an account that is at fault, and which field it is.
fn bad_accounts() -> Vec<(Value, &'static str)> {
    let meta = |it: Value| json!({ "provider": "meta", "meta": it });
    let unipile = |it: Value| json!({ "unipile": it });
    let twilio = |it: Value| json!({ "twilio": it });
    vec![
        (meta(json!({})), "meta.phoneNumberId"),
        (meta(json!({ "phoneNumberId": "" })), "meta.phoneNumberId"),
        (meta(json!({ "phoneNumberId": "12a" })), "meta.phoneNumberId"),
        (meta(json!({ "phoneNumberId": null })), "meta.phoneNumberId"),
        (meta(json!({ "phoneNumberId": "1", "wabaId": "x" })), "meta.wabaId"),
        (
            meta(json!({ "phoneNumberId": "1", "accessToken": "hunter2 hunter2" })),
            "meta.accessToken",
        ),
        (meta(json!({ "phoneNumberId": "1", "appSecret": "" })), "meta.appSecret"),
        (meta(json!({ "phoneNumberId": "1", "phoneNumber": "12" })), "meta.phoneNumber"),
        (meta(json!({ "phoneNumberId": "1", "hunter2": 1 })), "meta.hunter2"),
        (meta(json!({ "phoneNumberId": 1 })), "meta.phoneNumberId"),
        (meta(json!("hunter2")), "meta"),
        (meta(json!(null)), "meta"),
        (json!({ "failover": ["twilio"] }), "twilio"),
        (unipile(json!({ "apiKey": "k" })), "unipile.accountId"),
        (unipile(json!({ "accountId": "a", "dsn": "ftp://api1.unipile.com" })), "unipile.dsn"),
        (unipile(json!({ "accountId": "a", "password": "hunter2" })), "unipile.password"),
        (twilio(json!({ "accountSid": "SK1" })), "twilio.accountSid"),
        (twilio(json!({ "accountSid": "AC1", "from": "whatsapp:" })), "twilio.from"),
        (
            twilio(json!({ "accountSid": "AC1", "messagingServiceSid": "AC1" })),
            "twilio.messagingServiceSid",
        ),
    ]
}

#[tokio::test]
async fn accounts_of_a_document_keep_to_the_rules_of_the_administration() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let before = export(&app, EXPORT).await;
    let cases = bad_accounts();
    let waba = |n: usize, it: &Value| {
        let mut all =
            json!({ "id": format!("waba_v{n}"), "phoneNumber": format!("+2217700{n:05}") });
        all.as_object_mut().unwrap().extend(it.as_object().unwrap().clone());
        json!({ "vendorId": format!("v{n}"), "instances": [all] })
    };
    let mut vendors: Vec<Value> = cases.iter().enumerate().map(|(n, it)| waba(n, &it.0)).collect();
    let mut want: Vec<(u64, String)> =
        (0..).zip(&cases).map(|(n, it)| (n, format!("instances[0].{}", it.1))).collect();
    // One account for two numbers, and what is wrong with a vendor's template.
    let both = [1, 2].map(|n| {
        json!({ "id": format!("waba_w{n}"), "phoneNumber": format!("+22177100000{n}"), "meta": { "phoneNumberId": "77" } })
    });
    vendors.push(json!({ "vendorId": "w", "instances": both }));
    want.extend([0, 1].map(|n| (19, format!("instances[{n}].metaPhoneNumberId"))));
    vendors.push(json!({ "vendorId": "x", "fallbackTemplate": { "name": "x" } }));
    vendors
        .push(json!({ "vendorId": "y", "fallbackTemplate": { "contentSid": "HX1", "nom": "x" } }));
    want.extend([20, 21].map(|n| (n, "fallbackTemplate".to_owned())));
    let document = json!({ "version": 1, "vendors": vendors });
    let answer = app.admin.post(IMPORT, document).await;
    assert_eq!(faults(&answer), want);
    assert!(!answer.text.contains("hunter2 hunter2"));
    assert_eq!(export(&app, EXPORT).await, before);
    // The same words as the administration's own.
    let path = format!("/api/admin/vendors/{}/waba/waba_{}", vendor.id, vendor.id);
    for (n, (body, _)) in
        cases.iter().enumerate().filter(|it| ![8, 9, 10, 15].contains(&it.0)).take(8)
    {
        let told = app.admin.put(&path, body.clone()).await.json()["error"].to_string();
        let why = answer.json()["faults"][n]["error"].as_str().unwrap().to_owned();
        assert!(told.contains(&why), "{told}: {why}");
    }
}

#[tokio::test]
async fn of_an_account_what_is_absent_stays_and_null_takes_away() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let of = |it: Value| {
        let id = format!("waba_{}", vendor.id);
        json!({ "version": 1, "vendors": [
            { "vendorId": vendor.id.as_str(), "instances": [{ "id": id, "meta": it }] },
        ]})
    };
    let steps = [
        (
            json!({ "phoneNumberId": "155", "wabaId": "9", "accessToken": "t", "appSecret": "s",
            "phoneNumber": "+221780000001" }),
            ("155", Some("9"), true, true, true),
        ),
        (json!({}), ("155", Some("9"), true, true, true)),
        (json!({ "wabaId": null, "appSecret": null }), ("155", None, true, false, true)),
        (json!({ "phoneNumberId": "156", "phoneNumber": null }), ("156", None, true, false, false)),
    ];
    for (meta, want) in steps {
        let answer = app.admin.post(IMPORT, of(meta)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let it = app.gateway.instances(&vendor.id).await.unwrap().remove(0).meta.unwrap();
        let has = (it.access_token.is_some(), it.app_secret.is_some(), it.phone_number.is_some());
        let found = (it.phone_number_id.as_str(), it.waba_id.as_deref(), has.0, has.1, has.2);
        assert_eq!(found, want);
    }
    let mut none = of(Value::Null);
    // Nor is what is blank anything at Wasender.
    let blank = json!({ "wasenderInstanceId": " ", "wasenderApiKey": "", "wasenderToken": "" });
    let instance = none["vendors"][0]["instances"][0].as_object_mut().unwrap();
    instance.extend(blank.as_object().unwrap().clone());
    assert_eq!(app.admin.post(IMPORT, none).await.status, 200);
    let it = app.gateway.instances(&vendor.id).await.unwrap().remove(0);
    assert!(it.meta.is_none() && it.wasender.instance_id.is_none());
    assert!(it.wasender.session_key.is_none() && it.wasender.token.is_none());
}

#[test]
fn a_document_that_is_read_and_written_is_the_same() {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let strategy = (vendor(), prop::collection::vec(instance(), 0..3), any::<bool>());
    let outcome = TestRunner::new(config).run(&strategy, |(vendor, instances, with_secrets)| {
        use waba_gateway::store::exchange::VendorExchange;
        let written = VendorExchange::of(&vendor, &instances, with_secrets);
        let written = serde_json::to_string(&written).unwrap();
        let raw: &serde_json::value::RawValue = serde_json::from_str(&written).unwrap();
        let read = VendorExchange::read(raw).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), written);
        Ok(())
    });
    outcome.unwrap();
}

#[tokio::test]
async fn an_imported_vendor_is_served_at_once() {
    let (one, other) = (spawn_app().await, spawn_app().await);
    let vendor = one.vendor(1).await;
    let mut document = export(&one, EXPORT).await;
    let session = other.twin.add_session(waba_gateway::twin::NewSession::new(&vendor.phone));
    let secret = json!([{ "secret": session.webhook_secret }]);
    document["vendors"][0]["instances"][0]["wasenderWebhookSecrets"] = secret;
    document["vendors"][0]["instances"][0]["wasenderApiKey"] = json!(session.api_key);
    let hook = format!("{}/api/webhooks/wasender/{}", other.base, vendor.id);
    other.twin.set_webhook(session.id, &hook);
    assert_eq!(other.post(&hook, &[("x-webhook-signature", "anything")], b"{}").await.status, 401);
    assert_eq!(other.admin.post(IMPORT, document).await.status, 200);
    let customer = Customer::new("+221705550001");
    assert!(other.twin.customer_says(session.id, &customer, "horaires").await.is_ok());
    let sends = other.twin.wait_sends(1, DEADLINE).await;
    assert_eq!(sends[0].text, "ouvert de 8 h à 19 h");
}

#[tokio::test]
async fn without_asking_for_them_no_secret_is_exported_and_none_is_lost() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let api = ResponseApi {
        url: "https://bot.example/".to_owned(),
        headers: vec![("x-key".to_owned(), "the-key-of-the-bot".into())],
        dialect: Dialect::Conversation {
            chatbot_id: "bot-1".to_owned(),
            web_id: Some("the-web-id-of-it".into()),
        },
    };
    let responders = Some(vec![ResponderConfig::ResponseApi(api)]);
    let change = VendorChange { responders, ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, change).await.unwrap();
    let before = export(&app, EXPORT).await;
    let bare = app.admin.get("/api/admin/export").await;
    for secret in [
        "the-key-of-the-bot",
        "the-web-id-of-it",
        "whsec_",
        vendor.secret(),
        &vendor.session.api_key,
    ] {
        assert!(!bare.text.contains(secret) && before.to_string().contains(secret));
    }
    assert_eq!(app.admin.post(IMPORT, bare.json()).await.status, 200);
    assert_eq!(export(&app, EXPORT).await, before);
    // Elsewhere the header's value is nowhere to be had.
    let other = spawn_app().await;
    let answer = other.admin.post(IMPORT, bare.json()).await;
    assert_eq!(faults(&answer), [(0, "responders[0]".to_owned())]);
}

#[tokio::test]
async fn one_bad_vendor_keeps_all_out_and_each_fault_is_named() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let before = export(&app, EXPORT).await;
    let number = |id: &str, phone: &str| json!({ "id": id, "phoneNumber": phone });
    let document = json!({ "version": 1, "vendors": [
        { "vendorId": "good" },
        { "vendorId": "not an id" },
        { "vendorId": "a", "silenceMs": -1, "status": "busy", "secretive": "hunter2" },
        { "vendorId": "b", "silenceMs": -1, "onUnknown": "pray", "forwardUrl": "ftp://x" },
        { "vendorId": "c", "instances": [number("waba_c", "12"), number("waba_c2", &vendor.phone)] },
        { "vendorId": "d", "instances": [
            { "id": "waba_d", "phoneNumber": "+221770001111", "wasenderWebhookSecrets": [{ "secret": "short" }] },
            { "id": "waba_d", "phoneNumber": "+221770001112", "wasenderInstanceId": vendor.session.id.to_string() },
            { "id": "waba_vendor_001", "phoneNumber": "+221770001113" },
        ] },
        { "vendorId": "e", "businessHours": { "days": [[["08:00", "8"]], [], [], [], [], [], []] } },
        { "vendorId": "good" },
        { "businessName": "nobody" },
        7,
    ]});
    let answer = app.admin.post(IMPORT, document).await;
    assert!(!answer.text.contains("hunter2"));
    let found = faults(&answer);
    let want = [
        (1, "vendorId"),
        (2, "secretive"),
        (3, "onUnknown"),
        (3, "silenceMs"),
        (3, "forwardUrl"),
        (4, "instances[0].phoneNumber"),
        (4, "instances[1].phoneNumber"),
        (5, "instances[1].id"),
        (5, "instances[1].wasenderInstanceId"),
        (5, "instances[2].id"),
        (5, "instances[0].wasenderWebhookSecrets"),
        (6, "businessHours.days[0]"),
        (7, "vendorId"),
        (8, ""),
        (9, ""),
    ];
    assert_eq!(found, want.map(|it| (it.0, it.1.to_owned())));
    assert_eq!(answer.json()["faults"][2]["vendorId"], "b");
    assert_eq!(export(&app, EXPORT).await, before);
    for bad in [json!([]), json!({ "vendors": [] }), json!({ "version": 2, "vendors": [] })] {
        assert_eq!(app.admin.post(IMPORT, bad).await.status, 422);
    }
    let many: Vec<Value> = (0..=10_000).map(|n| json!({ "vendorId": format!("v{n}") })).collect();
    let answer = app.admin.post(IMPORT, json!({ "version": 1, "vendors": many })).await;
    assert_eq!(answer.status, 422);
    assert!(answer.json()["error"].as_str().unwrap().contains("10000"));
}

#[tokio::test]
async fn what_a_document_does_not_name_stays_and_null_takes_away() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let change = VendorChange {
        apology: Some(Some("pardon".to_owned())),
        welcome_message: Some(Some("bienvenue".to_owned())),
        responders: Some(rules()),
        ..VendorChange::default()
    };
    app.gateway.put_vendor(&vendor.id, change).await.unwrap();
    let document = json!({ "version": 1, "vendors": [
        { "vendorId": vendor.id.as_str(), "apology": null, "businessName": "Chez Awa", "paused": true,
          "instances": [{ "id": "waba_vendor_001", "phoneNumber": "+221770009999", "wasenderToken": null }] },
        { "vendorId": "fresh" },
    ]});
    let answer = app.admin.post(IMPORT, document).await;
    let want =
        json!({ "success": true, "dryRun": false, "created": 1, "updated": 1, "instances": 1 });
    assert_eq!(answer.json(), want);
    let stored = app.gateway.vendor(&vendor.id).await.unwrap();
    assert_eq!((stored.apology, stored.business_name.as_str()), (None, "Chez Awa"));
    assert_eq!(stored.welcome_message.as_deref(), Some("bienvenue"));
    assert!(stored.paused && stored.responders.len() == 1);
    let instance = app.gateway.instances(&vendor.id).await.unwrap().remove(0);
    assert_eq!(instance.phone_number.expose(), "+221770009999");
    assert!(instance.wasender.session_key.is_some());
    // It is paused where it runs, too.
    crate::delivery::send(&app, &vendor, "+221705550001", "plus tard").await;
    assert_eq!(app.twin.n_sends(), 0);
    let resume = format!("/api/admin/vendors/{}/resume", vendor.id);
    assert_eq!(app.admin.post(&resume, Value::Null).await.status, 200);
    app.twin.wait_sends(1, DEADLINE).await;
}

#[tokio::test]
async fn export_and_import_are_the_operators() {
    let app = spawn_app().await;
    let vendor = app.vendor(1).await;
    let bodies = [
        json!({ "name": "shop", "vendorId": vendor.id.as_str() }),
        json!({ "name": "look", "readOnly": true }),
    ];
    let mut keys = Vec::new();
    for body in bodies {
        let made = app.admin.post("/api/admin/keys", body).await.json();
        keys.push(app.admin.with_key(made["key"].as_str().unwrap()));
    }
    let document = json!({ "version": 1, "vendors": [] });
    assert_eq!(keys[0].get("/api/admin/export").await.status, 403);
    assert_eq!(keys[0].post(IMPORT, document.clone()).await.status, 403);
    assert_eq!(keys[1].get("/api/admin/export").await.status, 200);
    assert_eq!(keys[1].get(EXPORT).await.status, 403);
    assert_eq!(keys[1].post(IMPORT, document).await.status, 403);
}
