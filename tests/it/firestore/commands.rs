//! The command line and the migration, on the store that is configured.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{DEADLINE, Emulator, gateway_binary, migrate_binary};

fn run(program: &Path, arguments: &[&str], emulator: &Emulator, place: &Path) -> (i32, String) {
    told(&command(program, arguments, emulator, place).output().unwrap())
}

pub(super) fn told(ended: &Output) -> (i32, String) {
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    (ended.status.code().unwrap(), text(&ended.stdout) + &text(&ended.stderr))
}

pub(super) fn command(
    program: &Path,
    arguments: &[&str],
    emulator: &Emulator,
    place: &Path,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(place)
        .env_clear()
        .envs(emulator.variables())
        .env("DATA_DIR", place.join("data"))
        .env("APP_BASE_URL", "https://gw.example/base")
        .env("WASENDER_API_URL", "http://127.0.0.1:9")
        .env("MIN_FREE_DISK", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn the_migration_and_the_commands_work_on_firestore() {
    let mut emulator = Emulator::start();
    let program = emulator.program().await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let csv = "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret,wasenderApiKey\n\
        anna,Chez Anna,+221771234567,4001,marked-secret-anna,marked-key\n";
    std::fs::write(place.join("vendors.csv"), csv).unwrap();
    let migrate = ["batch", "vendors.csv"];
    let (code, told) = run(&migrate_binary(), &migrate, &emulator, place);
    assert!(code == 0 && told.contains("anna  created"), "{code} {told}");
    let number = program.get("waba_instances", "waba_anna").await;
    let fields = ["vendorId", "provider", "status", "businessName", "wasenderInstanceId"];
    let found: Vec<&str> = fields.iter().map(|it| number[*it].as_str().unwrap()).collect();
    assert_eq!(found, ["anna", "wasender", "pending", "Chez Anna", "4001"]);
    assert!(!number.to_string().contains("marked"), "{number}");
    let config = program.get("vendor_configs", "anna").await;
    assert_eq!(
        (&config["wabaInstanceId"], &config["wabaProvider"]),
        (&"waba_anna".into(), &"wasender".into())
    );
    let (code, told) = run(&migrate_binary(), &migrate, &emulator, place);
    assert!(code == 0 && told.contains("anna  unchanged"), "{code} {told}");
    let gateway = gateway_binary();
    let (code, told) = run(&gateway, &["vendor", "list"], &emulator, place);
    assert!(code == 0 && told.contains("Chez Anna"), "{code} {told}");
    let (code, told) = run(&gateway, &["vendor", "pause", "anna"], &emulator, place);
    assert!(code == 0, "{code} {told}");
    assert_eq!(program.all("gateway_pauses").await.keys().collect::<Vec<_>>(), ["anna"]);
    let (code, told) = run(&gateway, &["vendor", "show", "anna", "--json"], &emulator, place);
    let shown: Value = serde_json::from_str(&told).unwrap();
    assert!(code == 0 && shown["paused"] == true, "{told}");
    // A number that two vendors have is found by the doctor.
    let twice = serde_json::json!({ "vendorId": "binta", "phoneNumber": "221771234567" });
    program.set("waba_instances", "waba_binta", twice).await;
    let doctor = ["doctor", "--json", "--vendor", "anna"];
    let (code, told) = run(&gateway, &doctor, &emulator, place);
    assert!(code == 1 && told.contains("another vendor"), "{code} {told}");
    assert!(told.contains("documents of messages are written"), "{told}");
    // Nobody serves: what is due waits.
    let db = rusqlite::Connection::open(place.join("data/waba.db")).unwrap();
    db.execute("INSERT INTO outbox (entry, what, due) VALUES (1, 0, 1)", ()).unwrap();
    let (code, told) = run(&gateway, &doctor, &emulator, place);
    assert!(code == 1 && told.contains("documents of messages wait"), "{code} {told}");
    emulator.kill();
    let (code, told) = run(&gateway, &["doctor", "--json"], &emulator, place);
    assert!(code == 1 && told.contains("Firestore cannot be used"), "{code} {told}");
    let (code, told) = run(&migrate_binary(), &migrate, &emulator, place);
    assert!(code == 2 && told.contains("Firestore has not been reached"), "{code} {told}");
}

#[tokio::test]
async fn many_rows_go_in_together_and_one_in_the_way_is_that_ones_trouble() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let header = "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret\n";
    let row =
        |id: &str, n: usize| format!("{id},Shop,+22177{},{n},marked-secret-{n}\n", 1_000_000 + n);
    std::fs::write(place.join("rival.csv"), format!("{header}{}", row("rival", 70))).unwrap();
    let (code, told) = run(&migrate_binary(), &["batch", "rival.csv"], &emulator, place);
    assert!(code == 0, "{told}");
    // As no query finds it; the claim holds it all the same, and the first look finds that.
    let spelled =
        serde_json::json!({ "phoneNumber": "+221 77 100 00 70", "wasenderInstanceId": null });
    program.update("waba_instances", "waba_rival", spelled).await;
    std::fs::write(place.join("one.csv"), format!("{header}{}", row("shop_070", 70))).unwrap();
    let (code, told) = run(&migrate_binary(), &["batch", "one.csv"], &emulator, place);
    let why = "line 2 (shop_070): phoneNumber belongs to vendor rival";
    assert!(code == 1 && told.contains(why) && told.contains("nothing was written"), "{told}");
    // A document that nothing is served of says that it is shop_070's too: only the write tells.
    let unserved = serde_json::json!({
        "vendorId": "shop_070", "provider": "telegram", "phoneNumber": "+221771000070",
    });
    program.set("waba_instances", "auto", unserved).await;
    let rows: String = (0..120).map(|n| row(&format!("shop_{n:03}"), n)).collect();
    std::fs::write(place.join("many.csv"), format!("{header}{rows}")).unwrap();
    let many = ["batch", "many.csv", "--report", "done.csv"];
    let started = std::time::Instant::now();
    let (code, told) = run(&migrate_binary(), &many, &emulator, place);
    println!("120 rows: {:?}", started.elapsed());
    assert!(code == 1 && told.contains("120 rows: 119 created"), "{told}");
    let why = "line 72 (shop_070): the number or its account has just been taken";
    assert!(told.contains(why), "{told}");
    assert_eq!(program.all("waba_instances").await.len(), 121);
    assert!(program.get("vendor_configs", "shop_070").await.is_null());
    let report = std::fs::read_to_string(place.join("done.csv")).unwrap();
    assert_eq!(report.matches(",row,created,").count(), 119);
    let (code, told) = run(&migrate_binary(), &many, &emulator, place);
    assert!(code == 1 && told.contains("0 created, 0 updated, 119 unchanged, 1 bad"), "{told}");
}

#[tokio::test]
async fn an_import_that_is_kept_in_part_is_effective_on_record_and_can_be_repeated() {
    let emulator = Emulator::start();
    let program = emulator.program().await;
    let app = super::app(&emulator).await;
    let vendor = |n: usize| {
        let number = serde_json::json!({
            "id": format!("waba_shop_{n:03}"), "phoneNumber": format!("+22177{}", 1_000_000 + n),
            "provider": "wasender", "wasenderInstanceId": n.to_string(),
            "wasenderWebhookSecrets": [{ "secret": format!("the-webhook-secret-of-shop-{n}") }],
        });
        serde_json::json!({ "vendorId": format!("shop_{n:03}"), "paused": n == 0, "instances": [number] })
    };
    let all: Vec<Value> = (0..120).map(vendor).collect();
    let document = serde_json::json!({ "version": 1, "vendors": all });
    let knock = async |n: usize| {
        let hook = format!("{}/api/webhooks/wasender/shop_{n:03}", app.base);
        let secret = format!("the-webhook-secret-of-shop-{n}");
        app.post(&hook, &[("x-webhook-signature", &secret)], b"{}").await.status
    };
    // It is remembered that there is no such vendor.
    assert_eq!(knock(0).await, 401);
    // Firestore takes the first hundred vendors with their numbers and not the rest.
    emulator.refuse(Some(("+221771000110", "whole", 7)));
    let answer = app.admin.post("/api/admin/import", document.clone()).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("a part of the document was kept"), "{}", answer.text);
    assert_eq!(program.all("vendor_configs").await.len(), 100);
    assert_eq!(program.all("waba_instances").await.len(), 100);
    assert_eq!(knock(0).await, 200, "what was kept is not effective");
    super::until("it is paused as it was kept", async || {
        app.gateway.work().is_stopped(&super::vendor_id("shop_000"))
    })
    .await;
    let audit = app.admin.get("/api/admin/audit").await;
    assert!(audit.text.contains("importVendors"), "{}", audit.text);
    emulator.refuse(None);
    let answer = app.admin.post("/api/admin/import", document).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((program.all("waba_instances").await.len(), knock(110).await), (120, 200));
}

#[tokio::test]
async fn a_migration_goes_on_after_a_kill_and_after_firestore_was_away() {
    const N: usize = 400;
    let mut emulator = Emulator::start();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let header = "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret\n";
    let row = |n| format!("shop_{n:03},Shop,+22177{},{n},marked-secret-{n}\n", 1_000_000 + n);
    let rows: Vec<String> = (0..N).map(row).collect();
    std::fs::write(place.join("many.csv"), format!("{header}{}", rows.concat())).unwrap();
    let many = ["batch", "many.csv", "--report", "done.csv"];
    let n_told = || {
        let report = std::fs::read_to_string(place.join("done.csv")).unwrap_or_default();
        report.matches(",row,").count()
    };
    let begins = |child: &mut std::process::Child, n_before: usize| {
        let started = std::time::Instant::now();
        while n_told() <= n_before {
            assert!(started.elapsed() < DEADLINE, "it does not begin");
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    };
    let mut child = command(&migrate_binary(), &many, &emulator, place).spawn().unwrap();
    begins(&mut child, 0);
    child.kill().unwrap();
    child.wait().unwrap();
    let n_first = n_told();
    assert!((1..N).contains(&n_first), "{n_first} were done");
    let mut child = command(&migrate_binary(), &many, &emulator, place).spawn().unwrap();
    begins(&mut child, n_first);
    emulator.kill();
    let (code, said) = told(&child.wait_with_output().unwrap());
    let words = "rows are done; the same command goes on from there";
    assert!(code == 2 && said.contains(words), "{code} {said}");
    assert!((n_first..N).contains(&n_told()), "{} were done", n_told());
    emulator.restart();
    let (code, said) = run(&migrate_binary(), &many, &emulator, place);
    assert!(code == 0 && said.contains("400 rows: "), "{code} {said}");
    let program = emulator.program().await;
    for collection in ["waba_instances", "vendor_configs"] {
        assert_eq!(program.all(collection).await.len(), N);
    }
    assert_eq!(n_told(), N);
    let (code, said) = run(&migrate_binary(), &many, &emulator, place);
    assert!(code == 0 && said.contains("0 created, 0 updated, 400 unchanged, 0 bad"), "{said}");
    // Fifty rows, each a vendor with a number, go in together; what was cut off may be done again.
    let commits = emulator.commits("waba_instances");
    assert!((8..=12).contains(&commits.len()), "{commits:?}");
}
