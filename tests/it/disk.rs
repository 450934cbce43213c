//! Torn and failing disks: what was answered 200 is there, whatever became of the rest.

mod damage;
mod full;
mod layer;
mod power;
mod start;
mod wal;

use std::{collections::HashSet, path::Path};

use serde_json::json;
use waba_gateway::{
    domain::{
        clock::Clock,
        id::{EntryId, VendorId},
    },
    journal::{Counters, Journal, SqliteJournal},
    twin::{Customer, NewSession, Twin, real_message},
    vault::Vault,
};

use self::layer::Layer;
use crate::{
    restart::free_port,
    support::{Client, Process},
};

const ADMIN_KEY: &str = "an-admin-key-of-at-least-32-characters";
const ENCRYPTION_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % n
    }
}

/// The gateway as a process of its own, over a disk of ours.
struct Server {
    process: Option<Process>,
    twin: Twin,
    layer: Layer,
    directory: tempfile::TempDir,
    port: u16,
    hook: String,
    secret: String,
    session: u64,
    admin: Client,
}

impl Server {
    /// Over an empty disk, with one vendor `v`.
    async fn start(responders: serde_json::Value) -> Self {
        let (twin, directory) = (Twin::start().await.unwrap(), tempfile::tempdir().unwrap());
        let (layer, port) = (Layer::new(&directory.path().join("data")), free_port());
        let session = twin.add_session(NewSession::new("+221770000001"));
        let base = format!("http://127.0.0.1:{port}");
        let mut server = Self {
            process: None,
            layer,
            directory,
            port,
            hook: format!("{base}/api/webhooks/wasender/v"),
            secret: String::new(),
            session: session.id,
            admin: Client::new(&base, ADMIN_KEY),
            twin,
        };
        server.serve(true).await;
        let vendor = json!({ "responders": responders });
        assert_eq!(server.admin.put("/api/admin/vendors/v", vendor).await.status, 201);
        let instance = json!({ "phoneNumber": "+221770000001", "wasenderInstanceId": session.id });
        let made = server.admin.post("/api/admin/vendors/v/waba-instances", instance).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let set_up =
            server.admin.post("/api/admin/vendors/v/setup-wasender-webhook", json!({})).await;
        assert_eq!(set_up.status, 200, "{}", set_up.text);
        server.secret = server.twin.session(session.id).unwrap().webhook_secret;
        server
    }

    /// Starts the process, over the disk that fails or over the plain one.
    async fn serve(&mut self, is_layered: bool) {
        let (data, log) = (self.data(), self.directory.path().join("log"));
        let variables = self.variables(is_layered);
        self.process = Some(Process::serve(&data, self.port, &variables, &log).await);
    }

    /// The same over the disk that fails, without waiting: it may not get ready.
    fn start_process(&mut self) {
        let (data, log) = (self.data(), self.directory.path().join("log"));
        let variables = self.variables(true);
        self.process = Some(Process::start(&data, self.port, &variables, &log));
    }

    fn variables(&self, is_layered: bool) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("WASENDER_API_URL", self.twin.api_url()),
            ("WASENDER_API_KEY", self.twin.pat().to_owned()),
            ("ADMIN_API_KEY", ADMIN_KEY.to_owned()),
            ("ENCRYPTION_KEY", ENCRYPTION_KEY.to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        if is_layered {
            variables.extend(self.layer.variables());
        }
        variables
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// A customer's message; its entry when it was answered 200.
    async fn post(&self, n: usize) -> Result<EntryId, u16> {
        self.post_text(n, "horaires").await
    }

    async fn post_text(&self, n: usize, text: &str) -> Result<EntryId, u16> {
        let customer = Customer::new(&format!("+22170555{n:04}"));
        let body = real_message(&format!("K{n}"), &customer, text, now_secs());
        let headers = [("x-webhook-signature", self.secret.as_str())];
        let body = body.to_string().into_bytes();
        let Some(answer) = self.admin.try_raw("POST", &self.hook, &headers, body).await else {
            return Err(0);
        };
        match answer.status {
            200 => Ok(answer.json()["processId"].as_str().unwrap().parse().unwrap()),
            status => Err(status),
        }
    }
}

fn now_secs() -> i64 {
    Clock::System.now() / 1_000
}

fn vault() -> std::sync::Arc<Vault> {
    Vault::new(&ENCRYPTION_KEY.to_owned().into(), &[]).unwrap().into()
}

/// Starts on a damaged copy, as a process would, and checks that nothing of `wanted` is missing and
/// all else adds up.
async fn check(directory: &Path, vault: std::sync::Arc<Vault>, wanted: &[EntryId], what: &str) {
    let path = directory.join("waba.db");
    let opened = SqliteJournal::open(&path, vault);
    let journal = opened.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let waiting = journal.waiting(EntryId(0), 100_000).await;
    assert!(waiting.is_ok(), "{what}: {:?}", waiting.err());
    let there: HashSet<EntryId> = {
        let db = rusqlite::Connection::open(&path).unwrap();
        let mut all = db.prepare("SELECT id FROM entries").unwrap();
        let all = all.query_map((), |row| row.get(0).map(EntryId)).unwrap();
        all.map(Result::unwrap).collect()
    };
    let n_lost = wanted.iter().filter(|it| !there.contains(it)).count();
    assert_eq!(n_lost, 0, "{what}: of {} that were answered 200, {n_lost} are lost", wanted.len());
    let (ledger, counted) =
        (journal.ledger(None).await.unwrap(), journal.count(None).await.unwrap());
    assert_eq!(ledger, counted, "{what}");
    assert!(ledger.balances(), "{what}: {ledger:?}");
    for vendor in ["v", "vendor_001"] {
        let vendor = VendorId::parse(vendor).unwrap();
        assert!(journal.messages(&vendor, None, 200).await.is_ok(), "{what}");
        let all = 0..1_000_000;
        assert_eq!(
            journal.hours(&vendor, all.clone()).await.unwrap(),
            journal.count_hours(&vendor, all).await.unwrap(),
            "{what}"
        );
    }
    assert!(journal.ready().await.is_ok(), "{what}");
    let db = journal.db().clone();
    tokio::task::spawn_blocking(move || db.close()).await.unwrap();
}
