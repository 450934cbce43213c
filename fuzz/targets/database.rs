//! A database file whose bytes, or whose columns, are not what we wrote.

use std::{path::Path, sync::Arc, sync::OnceLock};

use bytes::Bytes;
use rusqlite::Connection;
use tokio::runtime::Runtime;
use waba_gateway::{
    domain::route::{ProviderKind, Routes},
    gateway::Came,
    journal::Ways,
};
use waba_gateway::{
    domain::{
        id::{EntryId, VendorId},
        webhook::Headers,
    },
    journal::{Counters, Forwards, Journal, MessageEnd, SqliteJournal},
    store::{SqliteStore, Store},
    twin::{Customer, real_message},
    vault::Vault,
};

use super::request::{SECRET, Served};

const ENCRYPTION_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A small database with some messages and intents.
struct Template {
    runtime: Runtime,
    file: Vec<u8>,
    vault: Arc<Vault>,
}

impl Template {
    fn make() -> Self {
        let Served { runtime, gateway, data, directory } = Served::start();
        runtime.block_on(async {
            let secret = ("x-webhook-signature".to_owned(), SECRET.to_owned());
            let headers = Headers(vec![secret]);
            let by = ProviderKind::Wasender;
            let (service, _) = gateway.knock(by, "v", &headers).await.expect("the vendor");
            for n in 0..3 {
                let customer = Customer::new(&format!("+22170555000{n}"));
                let body = real_message(&format!("K{n}"), &customer, "bonjour", 1_760_000_000);
                let body = Bytes::from(body.to_string());
                let came = Came { by, headers: headers.clone(), url: String::new(), body };
                gateway.accept(&service, came).await.expect("kept");
            }
            drop(gateway);
            data.close();
        });
        let path = directory.path().join("waba.db");
        let db = Connection::open(&path).expect("the database");
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).expect("copied back");
        drop(db);
        let file = std::fs::read(&path).expect("the file");
        let vault = Vault::new(&ENCRYPTION_KEY.to_owned().into(), &[]).expect("a vault");
        Self { runtime, file, vault: Arc::new(vault) }
    }
}

/// The first byte chooses what is damaged: bytes of the file (its header first), or a column of all
/// entries.
pub fn database(data: &[u8]) {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    let Some((first, rest)) = data.split_first() else { return };
    let template = TEMPLATE.get_or_init(Template::make);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("waba.db");
    let column = ["life", "body", "note", "status", "account", "kind", "vendor", "contact"];
    match usize::from(*first) {
        0 => {
            let mut file = template.file.clone();
            file.iter_mut().zip(rest).for_each(|(byte, new)| *byte = *new);
            std::fs::write(&path, file).expect("written");
        }
        1 => {
            let mut file = template.file.clone();
            for patch in rest.chunks_exact(4) {
                let at = usize::from(patch[0]) << 16 | usize::from(patch[1]) << 8;
                let at = (at | usize::from(patch[2])) % file.len();
                file[at] = patch[3];
            }
            std::fs::write(&path, file).expect("written");
        }
        n => {
            std::fs::write(&path, &template.file).expect("written");
            let db = Connection::open(&path).expect("the database");
            let column = column[n % column.len()];
            let sql = format!("UPDATE entries SET {column} = ?1");
            // A column may refuse what is not of its type.
            let _ = match str::from_utf8(rest) {
                Ok(text) => db.execute(&sql, [text]),
                Err(_) => db.execute(&sql, [rest]),
            };
        }
    }
    template.runtime.block_on(open(&path, Arc::clone(&template.vault)));
}

/// What a start and a caller do; it may fail.
async fn open(path: &Path, vault: Arc<Vault>) {
    let Ok(journal) = SqliteJournal::open(path, Arc::clone(&vault)) else { return };
    let v = VendorId::parse("v").expect("an id");
    let _ = journal.waiting(EntryId(0), 100).await;
    let _ = (journal.ledger(None).await, journal.count(None).await);
    let _ = (journal.hours(&v, 0..1_000_000).await, journal.forwarding().await);
    let page = journal.messages(&v, None, 50).await;
    for row in page.into_iter().flat_map(|it| it.rows) {
        let _ = journal.journey(&v, row.id).await;
        let _ = (journal.message(row.id, true).await, journal.intent(row.id).await);
        let _ = journal.begin(row.id, Ways::of(Routes::WASENDER), 1_760_000_000_000).await;
        let end = MessageEnd {
            intents: Vec::new(),
            unanswered: None,
            pause: None,
            intent: None,
            now: 1_760_000_000_000,
        };
        let _ = journal.settle(row.id, end).await;
    }
    let store = SqliteStore::new(journal.db().clone(), vault);
    let _ = (store.check_key().await, store.vendor(&v).await, store.instances(&v).await);
    let _ = journal.ready().await;
    let db = journal.db().clone();
    drop((journal, store));
    let closed = tokio::task::spawn_blocking(move || db.close()).await;
    assert!(closed.is_ok());
}
