//! What every store must do.

use futures_util::future::join_all;
use waba_gateway::{
    domain::{
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::ExposeSecret,
        vendor::{
            BusinessHours, Dialect, OnUnknown, ResponderConfig, ResponseApi, Rule, Vendor,
            VendorStatus,
        },
        waba::{
            InstanceKey, ProviderKind, Routes, SignatureSchemes, WabaInstance, WasenderAccount,
            WebhookSecret,
        },
    },
    store::{ApiKey, Deed, SharedStore, StoreError},
};

pub use super::{accounts::*, many::*, numbers::*, planned::*};

const NOW: i64 = 1_700_000_000_000;

pub fn vendor_id(id: &str) -> VendorId {
    VendorId::parse(id).unwrap()
}

pub fn vendor(id: &str) -> Vendor {
    Vendor::new(vendor_id(id), format!("Chez {id}"), format!("whsec_{id}").into(), NOW)
}

pub fn instance(vendor: &str, n: usize, phone: &str) -> WabaInstance {
    let id = vendor_id(vendor);
    WabaInstance {
        id: InstanceId::nth(&id, n),
        vendor_id: id,
        phone_number: PhoneNumber::from_wire(phone).unwrap(),
        provider: ProviderKind::Wasender,
        failover: Routes::default(),
        meta: None,
        unipile: None,
        twilio: None,
        status: Connection::Pending,
        schemes: SignatureSchemes::default(),
        account_protection: false,
        wasender: WasenderAccount::default(),
        created_at: NOW + i64::try_from(n).unwrap(),
        updated_at: NOW,
        last_sync: None,
    }
}

pub fn phone(number: &str) -> InstanceKey {
    InstanceKey::Phone(PhoneNumber::from_wire(number).unwrap().alias())
}

/// Everything in it, secrets too, as one text.
fn all_of(it: &impl std::fmt::Debug, secrets: &[&str]) -> String {
    format!("{it:?} {secrets:?}")
}

fn all_of_instance(it: &WabaInstance) -> String {
    let secrets: Vec<&str> = it.wasender.secrets().map(ExposeSecret::expose_secret).collect();
    format!("{} {}", all_of(it, &secrets), it.phone_number.expose())
}

fn all_of_vendor(it: &Vendor) -> String {
    let mut secrets = vec![it.signing_secret.expose_secret()];
    let out_of_hours = it.hours.iter().flat_map(|it| &it.out_of_hours);
    for responder in it.responders.iter().chain(out_of_hours) {
        if let ResponderConfig::ResponseApi(api) = responder {
            secrets.extend(api.headers.iter().map(|it| it.1.expose_secret()));
            if let Dialect::Conversation { web_id, .. } = &api.dialect {
                secrets.extend(web_id.iter().map(ExposeSecret::expose_secret));
            }
        }
    }
    all_of(it, &secrets)
}

pub async fn a_vendor_comes_back_as_it_was_kept(store: &SharedStore) {
    let plain = vendor("anna");
    store.put_vendor(&plain).await.unwrap();
    let found = store.vendor(&plain.id).await.unwrap().unwrap();
    assert_eq!(all_of_vendor(&found), all_of_vendor(&plain));
    let mut full = Vendor { updated_at: NOW + 5, ..plain };
    "Chez Ánna, «boutique»".clone_into(&mut full.business_name);
    (full.status, full.auto_reply) = (VendorStatus::Suspended, false);
    full.welcome_message = Some("Salam".to_owned());
    full.apology = Some("Désolé".to_owned());
    full.silence = 60_000;
    full.signing_secret = "whsec_another".into();
    (full.on_unknown, full.unknown_deadline) = (OnUnknown::Retry, 7_000);
    (full.max_answer_age, full.intent_ttl) = (Some(1_000), Some(2_000));
    (full.mark_as_read, full.typing) = (true, true);
    full.forward_url = Some("https://shop.example/hook?token=t".to_owned());
    let api = |dialect| ResponseApi {
        url: "https://bot.example/".to_owned(),
        headers: vec![("authorization".to_owned(), "Bearer hush".into())],
        dialect,
    };
    let conversation =
        Dialect::Conversation { chatbot_id: "bot_1".to_owned(), web_id: Some("web-hush".into()) };
    let rule = Rule { contains: "prix".to_owned(), reply: "1 000 F".to_owned() };
    full.responders = vec![
        ResponderConfig::Rules { rules: vec![rule], otherwise: Some("merci".to_owned()) },
        ResponderConfig::ResponseApi(api(Dialect::Bot)),
    ];
    full.hours = Some(BusinessHours {
        time_zone: Some("Africa/Dakar".to_owned()),
        days: std::array::from_fn(|_| vec![(480, 1_140)]),
        out_of_hours: vec![ResponderConfig::ResponseApi(api(conversation))],
    });
    store.put_vendor(&full).await.unwrap();
    let found = store.vendor(&full.id).await.unwrap().unwrap();
    assert_eq!(all_of_vendor(&found), all_of_vendor(&full));
    // And back: what is taken away is gone.
    let mut bare = vendor("anna");
    bare.signing_secret = "whsec_another".into();
    store.put_vendor(&bare).await.unwrap();
    let found = store.vendor(&bare.id).await.unwrap().unwrap();
    assert_eq!(all_of_vendor(&found), all_of_vendor(&bare));
    assert!(store.vendor(&vendor_id("nobody")).await.unwrap().is_none());
}

pub async fn an_instance_comes_back_as_it_was_kept(store: &SharedStore) {
    let secret = |secret: &str, until, is_sessions| WebhookSecret {
        secret: secret.into(),
        until,
        is_sessions,
    };
    store.put_vendor(&vendor("anna")).await.unwrap();
    let mut it = instance("anna", 1, "221771234567");
    let lists = [
        vec![],
        vec![secret("first-secret", None, false)],
        vec![secret("first-secret", None, true)],
        vec![secret("second", None, false), secret("first-secret", Some(NOW), false)],
        vec![secret("old", Some(NOW), false), secret("second", None, true)],
        vec![secret("old", Some(NOW), false)],
        vec![secret("one", None, false), secret("two", None, true)],
    ];
    for (n, secrets) in lists.into_iter().enumerate() {
        it.wasender.webhook_secrets = secrets;
        it.wasender.instance_id = (n % 2 == 0).then(|| format!("40{n}"));
        it.wasender.session_key = (n % 3 != 0).then(|| format!("session-key-{n}").into());
        it.wasender.token = (n % 2 == 1).then(|| format!("token-{n}").into());
        it.schemes = SignatureSchemes { hmac: n % 2 == 0, secret: n % 2 == 1 };
        it.account_protection = n % 2 == 0;
        it.updated_at += 1;
        store.put_instance(&it).await.unwrap();
        let found = store.instances(&it.vendor_id).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(all_of_instance(&found[0]), all_of_instance(&it), "{n}");
    }
    let second = instance("anna", 2, "221771234568");
    store.put_instance(&second).await.unwrap();
    let found = store.instances(&it.vendor_id).await.unwrap();
    assert_eq!(found.iter().map(|it| &it.id).collect::<Vec<_>>(), [&it.id, &second.id]);
}

pub async fn what_is_taken_away_stays_away(store: &SharedStore) {
    store.put_vendor(&vendor("anna")).await.unwrap();
    let mut it = instance("anna", 1, "221771234567");
    it.wasender.instance_id = Some("4001".to_owned());
    it.wasender.session_key = Some("session-key".into());
    it.wasender.adopt_secret("a-secret".into(), 0);
    store.put_instance(&it).await.unwrap();
    let session = InstanceKey::Wasender("4001".to_owned());
    assert!(store.instance_by_key(&session).await.unwrap().is_some());
    it.wasender = WasenderAccount::default();
    store.put_instance(&it).await.unwrap();
    let found = store.instances(&it.vendor_id).await.unwrap().remove(0);
    assert_eq!(found.wasender.secrets().count(), 0);
    assert!(store.instance_by_key(&session).await.unwrap().is_none());
    assert!(store.instance_by_key(&phone("221771234567")).await.unwrap().is_some());
}

pub async fn vendors_come_in_the_order_of_their_ids_page_by_page(store: &SharedStore) {
    let ids = ["Zoe", "_x", "anna", "anna-2", "anna_2", "binta", "c0"];
    for id in ids.iter().rev() {
        store.put_vendor(&vendor(id)).await.unwrap();
    }
    for limit in 1..=ids.len() + 1 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.vendors(after.as_ref(), limit).await.unwrap();
            found.extend(page.vendors.iter().map(|it| it.id.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ids, "{limit} at once");
    }
}

pub async fn a_number_that_another_vendor_has_is_refused(store: &SharedStore) {
    store.put_all(&[vendor("anna"), vendor("binta")], &[]).await.unwrap();
    let mut annas = instance("anna", 1, "221771234567");
    annas.wasender.instance_id = Some("4001".to_owned());
    store.put_instance(&annas).await.unwrap();
    let (number, session) = (phone("221771234567"), InstanceKey::Wasender("4001".to_owned()));
    let owner = Some((annas.vendor_id.clone(), annas.id.clone()));
    for key in [&number, &session] {
        assert_eq!(store.instance_by_key(key).await.unwrap(), owner);
        assert!(store.is_claimed_by_another(key, &vendor_id("binta")).await.unwrap());
        assert!(!store.is_claimed_by_another(key, &annas.vendor_id).await.unwrap());
    }
    let mut bintas = instance("binta", 1, "221771234567");
    let refused = store.put_instance(&bintas).await;
    assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
    bintas.phone_number = PhoneNumber::from_wire("221771234568").unwrap();
    bintas.wasender.instance_id = Some("4001".to_owned());
    // Nothing of what comes with it is kept either.
    let renamed = Vendor { business_name: "X".to_owned(), ..vendor("binta") };
    let refused = store.put_all(&[renamed], std::slice::from_ref(&bintas)).await;
    assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
    let kept = store.vendor(&bintas.vendor_id).await.unwrap().unwrap();
    assert_eq!(kept.business_name, "Chez binta");
    assert!(store.instances(&bintas.vendor_id).await.unwrap().is_empty());
    // What was given up is free.
    annas.wasender.instance_id = Some("4002".to_owned());
    store.put_instance(&annas).await.unwrap();
    store.put_instance(&bintas).await.unwrap();
    let owner = store.instance_by_key(&session).await.unwrap().unwrap();
    assert_eq!(owner.0, bintas.vendor_id);
    assert!(store.delete_instance(&annas.vendor_id, &annas.id).await.unwrap());
    bintas.phone_number = annas.phone_number;
    store.put_instance(&bintas).await.unwrap();
    assert_eq!(store.instance_by_key(&number).await.unwrap().unwrap().0, bintas.vendor_id);
}

pub async fn of_many_who_take_one_number_at_once_one_gets_it(store: &SharedStore) {
    let ids: Vec<String> = (0..8).map(|n| format!("vendor_{n}")).collect();
    let vendors: Vec<Vendor> = ids.iter().map(|it| vendor(it)).collect();
    store.put_all(&vendors, &[]).await.unwrap();
    for round in 0..3 {
        let number = format!("22177000000{round}");
        let instances: Vec<_> = ids.iter().map(|it| instance(it, round + 1, &number)).collect();
        let takes = instances.iter().map(|it| store.put_instance(it));
        let ends: Vec<_> = join_all(takes).await;
        let n_taken = ends.iter().filter(|it| it.is_ok()).count();
        let are_refused = ends.iter().all(|it| matches!(it, Ok(()) | Err(StoreError::Claimed)));
        assert!(n_taken == 1 && are_refused, "{ends:?}");
        let owner = store.instance_by_key(&phone(&number)).await.unwrap().unwrap();
        let winner = ends.iter().position(Result::is_ok).unwrap();
        assert_eq!(owner.0.as_str(), ids[winner]);
    }
}

pub async fn numbers_are_swapped_in_one_step(store: &SharedStore) {
    let (mut annas, mut bintas) =
        (instance("anna", 1, "221771234567"), instance("binta", 1, "221771234568"));
    let vendors = [vendor("anna"), vendor("binta")];
    store.put_all(&vendors, &[annas.clone(), bintas.clone()]).await.unwrap();
    std::mem::swap(&mut annas.phone_number, &mut bintas.phone_number);
    store.put_all(&[], &[annas.clone(), bintas]).await.unwrap();
    let owner = store.instance_by_key(&phone("221771234568")).await.unwrap().unwrap();
    assert_eq!(owner.0, annas.vendor_id);
    // Two of one step cannot have one.
    let cara = instance("cara", 1, "221771234569");
    let dado = instance("dado", 1, "221771234569");
    let refused = store.put_all(&[], &[cara, dado]).await;
    assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
}

pub async fn both_forms_of_a_number_are_one(store: &SharedStore) {
    store.put_all(&[vendor("anna"), vendor("binta")], &[]).await.unwrap();
    for (n, (new, old)) in [
        ("5511987654321", "551187654321"),
        ("525512345678", "5215512345678"),
        ("2290197123456", "22997123456"),
    ]
    .into_iter()
    .enumerate()
    {
        let (kept, asked) = if n == 1 { (old, new) } else { (new, old) };
        store.put_instance(&instance("anna", n + 1, kept)).await.unwrap();
        assert!(store.instance_by_key(&phone(asked)).await.unwrap().is_some(), "{asked}");
        let refused = store.put_instance(&instance("binta", n + 1, asked)).await;
        assert!(matches!(refused, Err(StoreError::Claimed)), "{asked}: {refused:?}");
    }
}

pub async fn a_status_is_news_once_and_touches_nothing_else(store: &SharedStore) {
    store.put_vendor(&vendor("anna")).await.unwrap();
    let mut it = instance("anna", 1, "221771234567");
    it.wasender.adopt_secret("a-secret".into(), 0);
    store.put_instance(&it).await.unwrap();
    assert!(store.set_status(&it.id, Some(Connection::Connected), NOW).await.unwrap());
    assert!(!store.set_status(&it.id, Some(Connection::Connected), NOW + 61_000).await.unwrap());
    assert!(!store.set_status(&it.id, None, NOW + 122_000).await.unwrap());
    let found = store.instances(&it.vendor_id).await.unwrap().remove(0);
    (it.status, it.last_sync) = (Connection::Connected, Some(NOW + 122_000));
    assert_eq!(all_of_instance(&found), all_of_instance(&it));
    // An older view of it does not bring the old state back.
    it.status = Connection::Error;
    it.account_protection = true;
    store.put_instance(&it).await.unwrap();
    let found = store.instances(&it.vendor_id).await.unwrap().remove(0);
    assert_eq!((found.status, found.account_protection), (Connection::Connected, true));
    assert!(store.set_status(&it.id, Some(Connection::Disconnected), NOW).await.unwrap());
    let both = [it.vendor_id, vendor_id("nobody")];
    assert_eq!(store.disconnected(&both).await.unwrap(), both[..1]);
    // One that is not there is not made.
    let nobodys = InstanceId::parse("waba_nobody").unwrap();
    assert!(!store.set_status(&nobodys, Some(Connection::Connected), NOW).await.unwrap());
    assert!(!store.set_status(&nobodys, None, NOW).await.unwrap());
    assert!(!store.had_instance(&nobodys).await.unwrap());
}

pub async fn pauses_are_kept_apart_from_vendors(store: &SharedStore) {
    let anna = vendor("anna");
    store.put_all(&[anna.clone(), vendor("binta")], &[]).await.unwrap();
    store.pause(Some(&anna.id), true).await.unwrap();
    store.pause(None, true).await.unwrap();
    assert_eq!(store.paused().await.unwrap(), (vec![anna.id.clone()], true));
    // A vendor that was read before is written after.
    store.put_vendor(&anna).await.unwrap();
    assert!(store.vendor(&anna.id).await.unwrap().unwrap().paused);
    assert!(!store.vendor(&vendor_id("binta")).await.unwrap().unwrap().paused);
    store.pause(Some(&anna.id), false).await.unwrap();
    store.pause(None, false).await.unwrap();
    assert_eq!(store.paused().await.unwrap(), (vec![], false));
}

pub async fn an_import_keeps_pauses_too(store: &SharedStore) {
    let mut anna = Vendor { paused: true, ..vendor("anna") };
    let one = [instance("anna", 1, "221771234567")];
    store.import(std::slice::from_ref(&anna), &one).await.unwrap();
    assert!(store.vendor(&anna.id).await.unwrap().unwrap().paused);
    anna.paused = false;
    store.import(std::slice::from_ref(&anna), &one).await.unwrap();
    assert_eq!(store.paused().await.unwrap(), (vec![], false));
}

pub async fn a_key_is_found_by_its_hash_until_it_is_deleted(store: &SharedStore) {
    let key = |n: u8, vendor: Option<&str>| ApiKey {
        id: format!("key_{n}"),
        hash: [n; 32],
        name: format!("the {n}th"),
        vendor: vendor.map(vendor_id),
        read_only: vendor.is_some(),
        created_at: NOW + i64::from(n),
        expires_at: vendor.map(|_| NOW + 1_000),
        used_at: None,
    };
    let (admins, annas) = (key(1, None), key(2, Some("anna")));
    store.put_key(&annas).await.unwrap();
    store.put_key(&admins).await.unwrap();
    // Again, under another name: the first stays.
    store.put_key(&ApiKey { name: "x".to_owned(), ..admins.clone() }).await.unwrap();
    let found = store.keys().await.unwrap();
    assert_eq!(format!("{found:?}"), format!("{:?}", [&admins, &annas]));
    let found = store.key_by_hash(&annas.hash).await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{annas:?}"));
    let used = [("key_2".to_owned(), NOW + 7), ("key_9".to_owned(), NOW)];
    store.set_keys_used(&used).await.unwrap();
    let found = store.key_by_hash(&annas.hash).await.unwrap().unwrap();
    assert_eq!((found.used_at, found.expires_at), (Some(NOW + 7), Some(NOW + 1_000)));
    assert!(store.key_by_hash(&[9; 32]).await.unwrap().is_none());
    assert!(store.delete_key("key_2").await.unwrap());
    assert!(!store.delete_key("key_2").await.unwrap());
    assert!(store.key_by_hash(&annas.hash).await.unwrap().is_none());
}

pub async fn the_id_of_a_deleted_instance_is_remembered(store: &SharedStore) {
    store.put_vendor(&vendor("anna")).await.unwrap();
    let it = instance("anna", 1, "221771234567");
    assert!(!store.had_instance(&it.id).await.unwrap());
    store.put_instance(&it).await.unwrap();
    assert!(store.had_instance(&it.id).await.unwrap());
    assert!(!store.delete_instance(&vendor_id("binta"), &it.id).await.unwrap());
    assert!(store.delete_instance(&it.vendor_id, &it.id).await.unwrap());
    assert!(!store.delete_instance(&it.vendor_id, &it.id).await.unwrap());
    assert!(store.had_instance(&it.id).await.unwrap());
    assert!(store.instances(&it.vendor_id).await.unwrap().is_empty());
    assert!(store.vendor(&it.vendor_id).await.unwrap().is_some());
}

pub async fn vendors_and_instances_are_counted(store: &SharedStore) {
    let vendors = [vendor("anna"), vendor("binta"), vendor("cara")];
    let numbers = [instance("anna", 1, "221771234567"), instance("binta", 1, "221771234568")];
    store.put_all(&vendors, &numbers).await.unwrap();
    let (annas, bintas) = (&numbers[0].id, &numbers[1].id);
    store.set_status(annas, Some(Connection::Connected), NOW).await.unwrap();
    store.set_failure(annas, "expired", NOW + 1).await.unwrap();
    store.set_failure(bintas, "plan", NOW + 2).await.unwrap();
    // A change of the instance forgets nothing of it.
    let changed = WabaInstance { account_protection: true, ..numbers[0].clone() };
    store.put_instance(&changed).await.unwrap();
    let census = store.census().await.unwrap();
    assert_eq!((census.n_vendors, census.n_instances), (3, 2));
    assert_eq!(census.by_provider["wasender"], 2);
    let states = [("connected", 1), ("pending", 1)].map(|it| (it.0.to_owned(), it.1));
    assert_eq!(census.by_status.into_iter().collect::<Vec<_>>(), states);
    let failures = census.failures.iter().map(|it| (it.vendor.as_str(), it.error.as_str(), it.at));
    let failures: Vec<_> = failures.collect();
    assert_eq!(failures, [("binta", "plan", NOW + 2), ("anna", "expired", NOW + 1)]);
}

pub async fn an_instance_of_another_vendor_is_not_overwritten(store: &SharedStore) {
    store.put_all(&[vendor("a"), vendor("a_2")], &[]).await.unwrap();
    let second = instance("a", 2, "221771234567");
    let first = instance("a_2", 1, "221771234568");
    assert_eq!(second.id, first.id);
    store.put_instance(&second).await.unwrap();
    assert!(store.put_instance(&first).await.is_err());
    assert_eq!(store.instances(&second.vendor_id).await.unwrap().len(), 1);
    assert!(store.instances(&first.vendor_id).await.unwrap().is_empty());
}

pub async fn changes_on_record_come_newest_first_page_by_page(store: &SharedStore) {
    let deed = |n: i64, vendor: Option<&str>| Deed {
        at: NOW + n,
        by: format!("key_{n}"),
        what: "putVendor".to_owned(),
        vendor: vendor.map(vendor_id),
        about: (n % 2 == 0).then(|| format!("waba_{n}")),
    };
    let all: Vec<Deed> =
        (0..7).map(|n| deed(n, (n != 3).then_some(if n < 5 { "anna" } else { "bob" }))).collect();
    for it in &all {
        store.add_deed(it).await.unwrap();
    }
    let page = async |vendor: Option<&str>, before| {
        let vendor = vendor.map(vendor_id);
        store.deeds(vendor.as_ref(), before, 3).await.unwrap()
    };
    let first = page(None, None).await;
    let second = page(None, Some(first[2].0)).await;
    let third = page(None, Some(second[2].0)).await;
    let found = first.into_iter().chain(second).chain(third).map(|it| it.1);
    assert_eq!(found.collect::<Vec<_>>(), all.iter().rev().cloned().collect::<Vec<_>>());
    let annas: Vec<Deed> = page(Some("anna"), None).await.into_iter().map(|it| it.1).collect();
    assert_eq!(annas, [&all[4], &all[2], &all[1]].map(Clone::clone));
    assert_eq!(page(Some("nobody"), None).await, vec![]);
}
