//! The set-up guide, followed word by word: what it shows is typed into a shell, one block after
//! another, with both stores.

use std::{path::Path, process::Command};

use waba_gateway::twin::{Customer, NewSession, Twin};

use crate::support::{Client, DEADLINE, Emulator, Process, RedisServer, gateway_binary};

/// A directory of an operator's, with the gateway running in it.
struct Desk {
    directory: tempfile::TempDir,
    gateway: Process,
    twin: Twin,
    /// The guide's, not done yet.
    blocks: std::vec::IntoIter<String>,
    /// Where the gateway is, in place of the guide's.
    exports: String,
}

/// The blocks of the guide that are typed, those of other set-ups, and the file that it shows.
fn guide(name: &str) -> (Vec<String>, Vec<String>, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let of = |fence: &str| -> Vec<String> {
        let fence = format!("\n```{fence}\n");
        let parts = text.split(&fence).skip(1);
        parts.map(|it| it.split("\n```").next().unwrap().to_owned()).collect()
    };
    (of("bash"), of("sh"), of("csv").remove(0))
}

/// What a block writes into `.env`, with values of this place where the guide's are another's.
fn dot_env(block: &str, here: &mut Vec<(&str, String)>) -> String {
    let from = block.find("cat >").expect("it writes .env");
    let mut typed = String::new();
    for line in block[from..].lines() {
        let name = line.split_once('=').map_or("", |it| it.0);
        let value = here.iter().position(|it| it.0 == name).map(|it| here.swap_remove(it).1);
        typed += &value.map_or_else(|| line.to_owned(), |it| format!("{name}={it}"));
        typed.push('\n');
        if line == "END" {
            break;
        }
    }
    typed
}

impl Desk {
    async fn new(name: &str, store: &[(&str, String)]) -> Self {
        let twin = Twin::start().await.unwrap();
        for (id, number) in [(1_001, "+221771234567"), (1_002, "+221772345678")] {
            twin.add_session(NewSession { id: Some(id), ..NewSession::new(number) });
        }
        let directory = tempfile::tempdir().unwrap();
        let (blocks, others, csv) = guide(name);
        std::fs::write(directory.path().join("vendors.csv"), csv + "\n").unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut here = vec![
            ("APP_BASE_URL", format!("http://127.0.0.1:{port}")),
            ("WASENDER_API_KEY", twin.pat().to_owned()),
        ];
        let mut typed = dot_env(&blocks[0], &mut here);
        here.extend(store.iter().cloned());
        if !store.is_empty() {
            typed += &dot_env(&others[0], &mut here);
        }
        // What the guide has no word of: where everything else is here.
        here.extend([
            ("WASENDER_API_URL", twin.api_url()),
            ("LISTEN_ADDR", format!("127.0.0.1:{port}")),
            ("METRICS_ADDR", "off".to_owned()),
            ("ALLOW_PRIVATE_TARGETS", "true".to_owned()),
            ("MIN_FREE_DISK", "0".to_owned()),
        ]);
        let left: Vec<String> = here.iter().map(|it| format!("{}={}", it.0, it.1)).collect();
        typed = format!("{typed}cat >> .env <<'END'\n{}\nEND\n", left.join("\n"));
        let data = directory.path().join("data");
        let log = directory.path().join("gateway.log");
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &typed]).current_dir(directory.path());
        assert!(shell.status().unwrap().success(), "{typed}");
        let gateway = Process::serve(&data, port, &[], &log).await;
        let exports = format!("export BASE={}\n", gateway.base);
        let mut desk = Self { directory, gateway, twin, blocks: blocks.into_iter(), exports };
        // Building and starting is done; the address is another here.
        assert!(desk.next().contains("cargo build --release"));
        let exports = desk.next();
        let key = if typed.contains("\nADMIN_API_KEY=") {
            "export KEY=$(sed -n s/^ADMIN_API_KEY=//p .env)"
        } else {
            exports.lines().find(|it| it.contains("KEY")).unwrap()
        };
        desk.exports += key;
        desk
    }

    fn next(&mut self) -> String {
        self.blocks.next().expect("the guide has one more block")
    }

    /// Types the next block, which must have this in it.
    async fn types(&mut self, part: &str, code: i32) -> String {
        let block = self.next();
        assert!(block.contains(part), "{part:?} is not in {block:?}");
        self.runs(&block, code).await
    }

    async fn runs(&self, block: &str, code: i32) -> String {
        let binaries = gateway_binary();
        let path = format!("{}:/usr/bin:/bin", binaries.parent().unwrap().display());
        let script = format!("set -euo pipefail\n{}\n{block}", self.exports);
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).current_dir(self.directory.path()).env_clear();
        command.env("PATH", path).env("LC_ALL", "C.UTF-8");
        // The twin answers on this runtime.
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = [ended.stdout, ended.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{block}\n{told}");
        told
    }
}

async fn follow(name: &str, store: &[(&str, String)]) {
    let mut desk = Desk::new(name, store).await;
    let told = desk.types("/api/admin/vendors/vendor_001\"", 0).await;
    assert!(told.contains("signingSecret"), "{told}");
    let told = desk.types("/waba-instances", 0).await;
    assert!(told.contains("waba_vendor_001"), "{told}");
    let told = desk.types("doctor --vendor vendor_001", 1).await;
    assert!(told.contains("setup-wasender-webhook"), "{told}");
    let told = desk.types("/setup-wasender-webhook", 0).await;
    assert!(told.contains("\"status\":\"configured\""), "{told}");
    desk.types("doctor --vendor vendor_001", 0).await;
    let told = desk.types("vendor test vendor_001", 0).await;
    assert!(!told.is_empty());
    let customer = Customer::new("+221705550001");
    let n_before = desk.twin.n_sends();
    assert!(desk.twin.customer_says(1_001, &customer, "Vos horaires ?").await.is_ok());
    let sent = desk.twin.wait_sends(n_before + 1, DEADLINE).await;
    assert!(sent[n_before].text.contains("de 8 h à 19 h"), "{sent:?}");
    let block = desk.next();
    let (list, why) = block.split_once('\n').unwrap();
    let told = desk.runs(list, 0).await;
    let id = told.split("\"msg_").nth(1).unwrap().split('"').next().unwrap();
    assert!(why.contains("waba-gateway why msg_…"), "{why}");
    desk.runs(&why.replace("msg_…", &format!("msg_{id}")), 0).await;
    let told = desk.types("/wasender-status", 0).await;
    assert!(told.contains("lastVerifiedAt"), "{told}");
    many_vendors(&mut desk).await;
    desk.types("https://bot.example/answer", 0).await;
    assert!(desk.blocks.next().is_none(), "the guide has more to type");
    assert_eq!(Client::new(&desk.gateway.base, "").get("/ready").await.status, 200);
}

async fn many_vendors(desk: &mut Desk) {
    let block = desk.next();
    let (dry, real) = block.split_once('\n').unwrap();
    let told = desk.runs(dry, 0).await;
    assert!(told.contains("vendor_002  would be created"), "{told}");
    let told = desk.runs(real, 0).await;
    assert!(told.contains("vendor_002  created  webhook set up"), "{told}");
    let hook = format!("{}/api/webhooks/wasender/vendor_002", desk.gateway.base);
    assert_eq!(desk.twin.session(1_002).unwrap().webhook_url, Some(hook));
    let report = std::fs::read_to_string(desk.directory.path().join("done.csv")).unwrap();
    assert!(report.contains(",webhook,set up,"), "{report}");
    let customer = Customer::new("+221705550002");
    assert!(desk.twin.customer_says(1_002, &customer, "Bonjour").await.is_ok());
    desk.runs("waba-gateway doctor", 0).await;
    let told = desk.types("waba-migrate export numbers.csv", 0).await;
    assert!(told.contains("2 numbers are in numbers.csv"), "{told}");
    let told = desk.runs("waba-migrate batch numbers.csv", 0).await;
    assert!(told.contains("2 rows: 0 created, 0 updated, 2 unchanged"), "{told}");
}

#[tokio::test]
async fn the_guide_is_followed_word_by_word_with_sqlite() {
    follow("MULTI_WABA_SETUP.md", &[]).await;
}

#[tokio::test]
async fn the_guide_in_french_is_followed_word_by_word() {
    follow("MULTI_WABA_SETUP.fr.md", &[]).await;
}

#[tokio::test]
async fn the_guide_is_followed_word_by_word_with_firestore_and_redis() {
    for guide in ["MULTI_WABA_SETUP.md", "MULTI_WABA_SETUP.fr.md"] {
        let (emulator, redis) = (Emulator::start(), RedisServer::start().await);
        let mut store = emulator.variables();
        // The guide makes keys.
        store.retain(|it| !matches!(it.0, "STORE" | "ENCRYPTION_KEY" | "ADMIN_API_KEY"));
        store.push(("REDIS_URL", redis.url()));
        follow(guide, &store).await;
    }
}
