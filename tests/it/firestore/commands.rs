//! The command line and the migration, on the store that is configured.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{Emulator, gateway_binary, migrate_binary};

fn run(program: &Path, arguments: &[&str], emulator: &Emulator, place: &Path) -> (i32, String) {
    let ended: Output = Command::new(program)
        .args(arguments)
        .current_dir(place)
        .env_clear()
        .envs(emulator.variables())
        .env("DATA_DIR", place.join("data"))
        .env("APP_BASE_URL", "https://gw.example/base")
        .env("WASENDER_API_URL", "http://127.0.0.1:9")
        .env("MIN_FREE_DISK", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    (ended.status.code().unwrap(), text(&ended.stdout) + &text(&ended.stderr))
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
    // As no query finds it; the claim holds it all the same.
    let spelled =
        serde_json::json!({ "phoneNumber": "+221 77 100 00 70", "wasenderInstanceId": null });
    program.update("waba_instances", "waba_rival", spelled).await;
    let rows: String = (0..120).map(|n| row(&format!("shop_{n:03}"), n)).collect();
    std::fs::write(place.join("many.csv"), format!("{header}{rows}")).unwrap();
    let many = ["batch", "many.csv", "--report", "done.csv"];
    let started = std::time::Instant::now();
    let (code, told) = run(&migrate_binary(), &many, &emulator, place);
    println!("120 rows: {:?}", started.elapsed());
    assert!(code == 1 && told.contains("120 rows: 119 created"), "{told}");
    let why = "line 72 (shop_070): phoneNumber or wasenderInstanceId has just been taken";
    assert!(told.contains(why), "{told}");
    assert_eq!(program.all("waba_instances").await.len(), 120);
    assert!(program.get("vendor_configs", "shop_070").await.is_null());
    let report = std::fs::read_to_string(place.join("done.csv")).unwrap();
    assert_eq!(report.matches(",row,created,").count(), 119);
    let (code, told) = run(&migrate_binary(), &many, &emulator, place);
    assert!(code == 1 && told.contains("0 created, 0 updated, 119 unchanged, 1 bad"), "{told}");
}
