//! A store elsewhere goes away: known vendors are served from the copy here, a restart included.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::poll_immediate;
use serde_json::json;
use tokio::task::JoinSet;
use waba_gateway::{
    domain::{
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        vendor::{Vendor, VendorStatus},
        waba::InstanceKey,
    },
    gateway::{NewInstance, NewKey, VendorChange},
    store::Store,
    vault::Vault,
};

use super::support::{DEADLINE, Options, Switch, TestApp, TestVendor, spawn_app_with};

/// More than may wait to read the store.
const TOO_MANY: usize = 4_500;

/// A gateway whose store is elsewhere.
async fn gateway() -> (TestApp, Arc<Switch>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let key = Vault::new_key().unwrap();
    let store = Switch::open(directory.path(), &key);
    let variables = vec![
        ("ENCRYPTION_KEY", key.expose_secret().to_owned()),
        ("ADMIN_API_KEY", "an-admin-key-of-more-than-32-characters".to_owned()),
    ];
    let shared: Arc<Switch> = Arc::clone(&store);
    let options = Options { variables, store: Some(shared), ..Options::default() };
    (spawn_app_with(options).await, store, directory)
}

async fn hook(app: &TestApp, vendor: &VendorId, secret: &str) -> u16 {
    static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = N.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let body = json!({"event": "message", "data": {
        "from": format!("22177055{n:04}"), "message": "horaires", "type": "text",
        "id": format!("msg_{n}"), "time": app.now_secs(),
    }});
    let url = format!("{}/api/webhooks/wasender/{vendor}", app.base);
    app.post(&url, &[("x-webhook-signature", secret)], body.to_string().as_bytes()).await.status
}

async fn of(app: &TestApp, vendor: &TestVendor) -> u16 {
    hook(app, &vendor.id, vendor.secret()).await
}

async fn degraded(app: &TestApp) -> bool {
    let answer = app.admin.get("/ready").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text.contains("\"store\"")
}

/// Waits until the provider has this many answers.
async fn answered(app: &TestApp, n: usize) {
    let started = Instant::now();
    while app.twin.sends().len() < n {
        let n_sent = app.twin.sends().len();
        assert!(started.elapsed() < DEADLINE, "{n_sent} of {n}: {:?}", app.gateway.work().load());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < DEADLINE, "in the end it was not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn known_vendors_are_served_while_the_store_is_away_also_after_a_restart() {
    let (mut app, store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    assert_eq!(of(&app, &vendor).await, 200);
    answered(&app, 1).await;
    // One that this gateway has never heard of.
    let other = VendorId::parse("vendor_of_another_gateway").unwrap();
    let new = Vendor::new(other.clone(), "Boutique".to_owned(), SecretString::default(), 0);
    store.put_vendor(&new).await.unwrap();
    assert!(!degraded(&app).await);

    store.switch(false);
    assert_eq!(of(&app, &vendor).await, 200);
    answered(&app, 2).await;
    app.restart().await;
    assert_eq!(of(&app, &vendor).await, 200);
    answered(&app, 3).await;
    // Who is not known may exist: nobody can say.
    assert_eq!(hook(&app, &other, "a-secret").await, 503);
    assert_eq!(hook(&app, &VendorId::parse("nobody").unwrap(), "a-secret").await, 503);
    // The secret may have been changed since: nobody can say that it is wrong.
    assert_eq!(hook(&app, &vendor.id, "a-wrong-secret").await, 503);
    assert!(degraded(&app).await);
    let metrics = app.gateway.degraded();
    assert_eq!(metrics, ["store"]);
    let key = InstanceKey::Wasender(vendor.session.id.to_string());
    let found = app.gateway.manager().by_key(&key).await.unwrap().unwrap();
    assert_eq!(found.vendor_id, vendor.id);
    let unknown = InstanceKey::Wasender("1".to_owned());
    assert!(app.gateway.manager().by_key(&unknown).await.is_err());

    store.switch(true);
    until("the store is asked again", async || {
        hook(&app, &VendorId::parse("nobody").unwrap(), "a-secret").await == 401
    })
    .await;
    assert!(!degraded(&app).await);
    assert_eq!(of(&app, &vendor).await, 200);
    // The admin key could not be looked up at the start; it can by now.
    until("administration works", async || app.admin.get("/api/admin/vendors").await.status == 200)
        .await;
}

#[tokio::test]
async fn a_copy_is_of_the_vendor_as_it_last_was() {
    let (mut app, store, _directory) = gateway().await;
    let (vendor, gone) = (app.vendor(1).await, app.vendor(2).await);
    assert_eq!((of(&app, &vendor).await, of(&app, &gone).await), (200, 200));
    let change = VendorChange { status: Some(VendorStatus::Suspended), ..VendorChange::default() };
    app.gateway.put_vendor(&vendor.id, change).await.unwrap();
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}?force=true", gone.id);
    assert_eq!(app.admin.delete(&path).await.status, 200);
    app.gateway.pause(Some(&vendor.id), true).await.unwrap();
    app.gateway.pause(None, true).await.unwrap();
    // Nobody asks for them again before the store goes away; the copies are renewed all the same.
    let copy = waba_gateway::store::LocalCopy::new(app.db(), app.vault());
    until("the copies are renewed", async || {
        let known = copy.vendor(&vendor.id).await.unwrap().unwrap();
        let gone = copy.vendor(&gone.id).await.unwrap().unwrap();
        known.vendor.paused
            && known.vendor.status == VendorStatus::Suspended
            && gone.instances.is_empty()
    })
    .await;
    store.switch(false);
    app.restart().await;
    let known = app.gateway.manager().known(&vendor.id).await.unwrap().unwrap();
    assert_eq!(known.vendor.status, VendorStatus::Suspended);
    assert!(app.gateway.work().is_paused(&vendor.id));
    assert!(app.gateway.work().is_stopped(&gone.id), "everybody is paused");
    assert_eq!(of(&app, &gone).await, 503);
}

#[tokio::test]
async fn a_known_vendors_back_end_goes_on_sending_without_the_store_and_after_a_restart() {
    let (mut app, store, _directory) = gateway().await;
    let (vendor, other) = (app.vendor(1).await, app.vendor(2).await);
    let path = |of: &TestVendor| format!("/api/admin/vendors/{}/send-message", of.id);
    let make = async |app: &TestApp, name: &str| {
        let (name, vendor) = (name.to_owned(), Some(vendor.id.clone()));
        let new = NewKey { name, vendor, read_only: false, expires_at: None };
        app.gateway.create_key(new).await.unwrap()
    };
    let (known, unused, revoked) =
        (make(&app, "known").await, make(&app, "unused").await, make(&app, "revoked").await);
    let send = async |app: &TestApp, key: &str, of: &TestVendor| {
        let body = json!({ "to": "+221705550001", "message": "bonjour" });
        app.admin.with_key(key).post(&path(of), body).await.status
    };
    for it in [&known, &revoked] {
        assert_eq!(send(&app, it.1.expose_secret(), &vendor).await, 202);
    }
    let copy = waba_gateway::store::LocalCopy::new(app.db(), app.vault());
    for it in [&known, &revoked] {
        until("it is kept", async || copy.key(&it.0.hash).await.unwrap().is_some()).await;
    }
    let path_of_key = format!("/api/admin/keys/{}", revoked.0.id);
    assert_eq!(app.admin.delete(&path_of_key).await.status, 200);
    assert!(copy.key(&revoked.0.hash).await.unwrap().is_none());
    // All are forgotten with it, and kept again when they are used.
    assert_eq!(send(&app, known.1.expose_secret(), &vendor).await, 202);
    until("it is kept", async || copy.key(&known.0.hash).await.unwrap().is_some()).await;
    store.switch(false);
    for is_restarted in [false, true] {
        if is_restarted {
            app.restart().await;
        }
        assert_eq!(send(&app, known.1.expose_secret(), &vendor).await, 202, "{is_restarted}");
        assert_eq!(send(&app, known.1.expose_secret(), &other).await, 403);
        for key in [unused.1.expose_secret(), revoked.1.expose_secret(), "wgk_nobodys"] {
            assert_eq!(send(&app, key, &vendor).await, 503, "nobody can say");
        }
    }
    assert_eq!(app.twin.wait_sends(5, DEADLINE).await.len(), 5);
    store.switch(true);
    until("the store is back", async || send(&app, "wgk_nobodys", &vendor).await == 401).await;
    assert!(app.gateway.revoke_key(&known.0.id).await.unwrap());
    let copy = waba_gateway::store::LocalCopy::new(app.db(), app.vault());
    assert!(copy.key(&known.0.hash).await.unwrap().is_none());
    assert_eq!(send(&app, known.1.expose_secret(), &vendor).await, 401);
}

#[tokio::test]
async fn no_webhook_waits_long_for_a_store_that_does_not_answer() {
    let (app, store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    assert_eq!(of(&app, &vendor).await, 200);
    store.hold(true);
    app.gateway.manager().forget_all();
    // The first one finds out; providers wait five seconds.
    for _ in 0..3 {
        let answered = tokio::time::timeout(DEADLINE, of(&app, &vendor)).await;
        assert_eq!(answered, Ok(200), "it waits for the store");
    }
    assert!(degraded(&app).await);
    store.hold(false);
}

#[tokio::test]
async fn a_vendor_of_whom_nothing_can_be_learnt_keeps_no_change_of_others_back() {
    let (app, store, _directory) = gateway().await;
    let (stuck, other) = (app.vendor(1).await, app.vendor(2).await);
    assert_eq!((of(&app, &stuck).await, of(&app, &other).await), (200, 200));
    // Somebody is changing it here, and waits for the store.
    store.hold_only([stuck.id.clone()]);
    let mut change = Box::pin(app.gateway.put_vendor(&stuck.id, VendorChange::default()));
    assert!(poll_immediate(&mut change).await.is_none());

    let program: &dyn Store = store.as_ref();
    program.pause(Some(&stuck.id), true).await.unwrap();
    store.tell();
    until("its sends are stopped", async || app.gateway.work().is_stopped(&stuck.id)).await;
    let mut instance = program.instances(&other.id).await.unwrap().remove(0);
    instance.wasender.webhook_secrets[0].secret = "another-secret".to_owned().into();
    program.put_instance(&instance).await.unwrap();
    store.tell();
    until("the secret is another", async || hook(&app, &other.id, "another-secret").await == 200)
        .await;

    store.hold_only([]);
    change.await.unwrap();
    assert!(app.gateway.work().is_paused(&stuck.id));
    program.pause(Some(&stuck.id), false).await.unwrap();
    store.tell();
    until("it goes on", async || !app.gateway.work().is_stopped(&stuck.id)).await;
}

#[tokio::test]
async fn however_many_vendors_change_they_take_no_turn_from_others() {
    let (app, store, _directory) = gateway().await;
    let many = |n| VendorId::parse(&format!("changed_{n}")).unwrap();
    let changed: Vec<VendorId> = (0..TOO_MANY).map(many).collect();
    let new = VendorId::parse("vendor_of_another_gateway").unwrap();
    let vendor = Vendor::new(new.clone(), "Boutique".to_owned(), SecretString::default(), 0);
    store.put_vendor(&vendor).await.unwrap();
    store.hold_only(changed.iter().cloned());
    let n_before = store.n_vendor_reads.load(Ordering::SeqCst);
    let n_reads = || store.n_vendor_reads.load(Ordering::SeqCst) - n_before;
    app.gateway.notice(&changed).await;
    until("they are looked at", async || n_reads() > 0).await;
    let known = app.gateway.manager().known(&new).await;
    assert!(known.unwrap().is_some());
    assert!(n_reads() < 32, "{}", n_reads());
    store.hold_only([]);
}

#[tokio::test]
async fn a_known_vendor_is_served_while_too_many_ask_the_store() {
    let (app, store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    assert_eq!(of(&app, &vendor).await, 200);
    store.hold(true);
    let manager = app.gateway.manager().clone();
    manager.forget_all();
    let (mut asking, n_asking) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for n in 0..TOO_MANY {
        let id = VendorId::parse(&format!("nobody_{n}")).unwrap();
        let (manager, n_asking) = (manager.clone(), Arc::clone(&n_asking));
        asking.spawn(async move {
            n_asking.fetch_add(1, Ordering::SeqCst);
            manager.known(&id).await.map(|_| ())
        });
    }
    until("all of them ask", async || n_asking.load(Ordering::SeqCst) == TOO_MANY).await;
    let served = async {
        assert_eq!(hook(&app, &VendorId::parse("nobody").unwrap(), "a-secret").await, 503);
        assert_eq!(of(&app, &vendor).await, 200);
        let key = InstanceKey::Wasender(vendor.session.id.to_string());
        assert_eq!(manager.by_key(&key).await.unwrap().unwrap().vendor_id, vendor.id);
    };
    tokio::time::timeout(DEADLINE, served).await.expect("it waits for the store");
    store.hold(false);
}

/// Asks for something that writes an instance, and does something else just before that.
async fn just_before<T>(
    store: &Switch,
    asked: impl Future<Output = T>,
    done: impl AsyncFnOnce(),
) -> T {
    let n_before = store.n_puts.load(Ordering::SeqCst);
    store.hold_puts(true);
    let meanwhile = async {
        until("it is to be written", async || store.n_puts.load(Ordering::SeqCst) > n_before).await;
        done().await;
        store.hold_puts(false);
    };
    tokio::join!(asked, meanwhile).0
}

#[tokio::test]
async fn what_another_program_changes_while_an_instance_is_changed_stays() {
    let (app, store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    let program: &dyn Store = store.as_ref();
    let path = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
    let rotate = format!("{path}/rotate-secret");
    let set_up = format!("/api/admin/vendors/{}/setup-wasender-webhook", vendor.id);
    let protect = || json!({ "accountProtection": true });
    for n in 0..3 {
        let key = format!("their-key-{n}");
        let theirs = async || {
            let mut instance = program.instances(&vendor.id).await.unwrap().remove(0);
            instance.wasender.session_key = Some(key.clone().into());
            program.put_instance(&instance).await.unwrap();
        };
        let asked = async {
            match n {
                0 => app.admin.put(&path, protect()).await,
                1 => app.admin.post(&rotate, json!({})).await,
                _ => app.admin.post(&set_up, json!({})).await,
            }
        };
        let answer = just_before(&store, asked, theirs).await;
        assert_eq!(answer.status, 409, "{n}: {}", answer.text);
        assert!(answer.text.contains("meanwhile"), "{n}: {}", answer.text);
        let stored = program.instances(&vendor.id).await.unwrap().remove(0);
        let stored_key = stored.wasender.session_key.as_ref().map(ExposeSecret::expose_secret);
        assert_eq!(stored_key, Some(key.as_str()));
        assert!(!stored.account_protection);
    }
    // Deleted meanwhile, it does not come back.
    let gone = stored_id(program, &vendor).await;
    let delete = async || {
        assert!(program.delete_instance(&vendor.id, &gone).await.unwrap());
    };
    let answer = just_before(&store, app.admin.put(&path, protect()), delete).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(program.instances(&vendor.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_another_program_changes_while_a_vendor_is_changed_stays() {
    let (app, store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    let program: &dyn Store = store.as_ref();
    let path = format!("/api/admin/vendors/{}", vendor.id);
    let document = app.admin.get("/api/admin/export?secrets=true").await.json();
    for n in 0..4 {
        let name = format!("Their name {n}");
        let theirs = async || {
            if n == 3 {
                program.pause(Some(&vendor.id), true).await.unwrap();
            }
            let mut stored = program.vendor(&vendor.id).await.unwrap().unwrap();
            stored.business_name.clone_from(&name);
            program.put_vendor(&stored).await.unwrap();
        };
        let asked = async {
            match n {
                0 => app.admin.put(&path, json!({ "welcomeMessage": "bonjour" })).await,
                1 => app.admin.post(&format!("{path}/signing-secret"), json!({})).await,
                _ => app.admin.post("/api/admin/import", document.clone()).await,
            }
        };
        let before = program.vendor(&vendor.id).await.unwrap().unwrap();
        let answer = just_before(&store, asked, theirs).await;
        // What is asked of one vendor is done anew on top of it.
        let status = if n < 2 { 200 } else { 409 };
        assert_eq!(answer.status, status, "{n}: {}", answer.text);
        assert!(n < 2 || answer.text.contains("meanwhile"), "{n}: {}", answer.text);
        let stored = program.vendor(&vendor.id).await.unwrap().unwrap();
        assert_eq!(stored.business_name, name);
        assert_eq!(stored.welcome_message.as_deref(), Some("bonjour"));
        let secret = stored.signing_secret.expose_secret();
        assert_eq!(secret != before.signing_secret.expose_secret(), n == 1);
        assert_eq!(stored.paused, n == 3);
    }
    assert_eq!(app.admin.post("/api/admin/import", document).await.status, 200);
}

async fn stored_id(store: &dyn Store, vendor: &TestVendor) -> InstanceId {
    store.instances(&vendor.id).await.unwrap().remove(0).id
}

#[tokio::test]
async fn of_two_instances_that_are_made_at_once_neither_is_lost() {
    let (app, store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    let program: &dyn Store = store.as_ref();
    let path = format!("/api/admin/vendors/{}/waba-instances", vendor.id);
    let number = |it: &str| json!({ "phoneNumber": it, "provider": "wasender" });
    let theirs = async |n, phone: &str| {
        let phone = PhoneNumber::from_wire(phone).unwrap();
        let id = InstanceId::nth(&vendor.id, n);
        let new = NewInstance::at(phone).instance(id, vendor.id.clone(), 0);
        program.put_instance(&new).await.unwrap();
    };
    let asked = app.admin.post(&path, number("+221771111111"));
    let answer = just_before(&store, asked, async || theirs(2, "+221772222222").await).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert!(answer.text.contains("waba_vendor_001_3"), "{}", answer.text);
    let stored = program.instances(&vendor.id).await.unwrap();
    let mut phones: Vec<String> = stored.iter().map(|it| it.phone_number.expose()).collect();
    phones.sort_unstable();
    assert_eq!(phones, [vendor.phone.as_str(), "+221771111111", "+221772222222"]);
    // The same number under another id.
    let asked = app.admin.post(&path, number("+221773333333"));
    let answer = just_before(&store, asked, async || theirs(9, "+221773333333").await).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(program.instances(&vendor.id).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_copy_tells_nothing_to_who_has_no_key() {
    let (app, _store, _directory) = gateway().await;
    let vendor = app.vendor(1).await;
    assert_eq!(of(&app, &vendor).await, 200);
    let private = [vendor.secret(), &vendor.session.api_key, &vendor.phone[1..], "ouvert de 8 h"];
    let files = ["waba.db", "waba.db-wal"].map(|it| std::fs::read(app.data_dir().join(it)));
    for bytes in files.into_iter().flatten() {
        for it in private {
            let is_in = bytes.windows(it.len()).any(|part| part == it.as_bytes());
            assert!(!is_in, "something private is in clear");
        }
    }
}
