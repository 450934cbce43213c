//! The floor: the least program that keeps a webhook as safely. It checks the signature, parses,
//! and has one row on disk before it answers; it knows no tenants, no duplicates and no work.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Path as UrlPath, State},
    http::{HeaderMap, StatusCode},
    routing::post,
    serve::ListenerExt,
};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::oneshot};

use crate::harness::{
    hook::{VENDORS, secret, vendor},
    process::Process,
};

const FILE: &str = "floor.db";
/// Rows in one transaction, as many as the gateway's.
const BATCH_MAX: usize = 256;
const ROWS_WAITING_MAX: usize = 8_192;

struct Row {
    id: String,
    vendor: String,
    body: Bytes,
    kept: oneshot::Sender<i64>,
}

struct Floor {
    secrets: HashMap<String, String>,
    rows: mpsc::SyncSender<Row>,
}

#[derive(Deserialize)]
struct Hook {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    messages: Message,
}

#[derive(Deserialize)]
struct Message {
    key: Key,
}

#[derive(Deserialize)]
struct Key {
    id: String,
}

/// Starts the floor as a process of its own.
pub fn start(directory: &Path) -> anyhow::Result<(Process, SocketAddr)> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.arg("--floor").arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("start the floor")?;
    let mut line = String::new();
    let out = child.stdout.take().context("its output")?;
    let process = Process::new(child);
    BufReader::new(out).read_line(&mut line).context("read where the floor is")?;
    Ok((process, line.trim().parse().context("the floor has no address")?))
}

/// How many rows a floor that has ended kept.
pub fn n_rows(directory: &Path) -> anyhow::Result<usize> {
    let connection = Connection::open(directory.join(FILE))?;
    let n: i64 = connection.query_row("SELECT count(*) FROM events", (), |row| row.get(0))?;
    Ok(usize::try_from(n)?)
}

/// Is the floor, until its standard input ends.
pub fn run(directory: &Path) -> anyhow::Result<()> {
    thread::spawn(|| {
        let mut all = Vec::new();
        // Whether it ends or breaks, nobody is left who would end this process.
        let _ = std::io::stdin().read_to_end(&mut all);
        std::process::exit(0);
    });
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(directory))
}

async fn serve(directory: &Path) -> anyhow::Result<()> {
    let connection = open(directory)?;
    let (rows, waiting) = mpsc::sync_channel(ROWS_WAITING_MAX);
    thread::spawn(move || write(&connection, &waiting));
    let secrets = (0..VENDORS).map(|it| (vendor(it), secret(it))).collect();
    let router = Router::new()
        .route("/api/webhooks/wasender/{vendor}", post(receive))
        .with_state(Arc::new(Floor { secrets, rows }));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    let listener = listener.tap_io(|it| {
        // Without it answers are late, not wrong.
        let _ = it.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

fn open(directory: &Path) -> anyhow::Result<Connection> {
    fs::create_dir_all(directory)?;
    let connection = Connection::open(directory.join(FILE))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // As the gateway has it, so that what is compared is the work and not the settings.
    connection.pragma_update(None, "cache_size", -16 * 1_024)?;
    connection.pragma_update(None, "wal_autocheckpoint", 16 * 1_024)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1_024 * 1_024)?;
    connection.execute_batch(
        "CREATE TABLE events (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, vendor TEXT NOT NULL,
            body BLOB NOT NULL)",
    )?;
    Ok(connection)
}

async fn receive(
    State(floor): State<Arc<Floor>>,
    UrlPath(vendor): UrlPath<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    if !is_signed(&floor, &vendor, &headers, &body) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let hook: Hook = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let (kept, answer) = oneshot::channel();
    let row = Row { id: hook.data.messages.key.id, vendor, body, kept };
    floor.rows.try_send(row).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let n = answer.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let id = format!("msg_{n:016x}");
    Ok(Json(json!({ "success": true, "status": "received", "processId": id })))
}

fn is_signed(floor: &Floor, vendor: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let given = headers.get("x-wasender-signature").and_then(|it| it.to_str().ok());
    let mut mac_given = [0; 32];
    let is_mac = given.is_some_and(|it| hex::decode_to_slice(it, &mut mac_given).is_ok());
    let Some(secret) = floor.secrets.get(vendor).filter(|_| is_mac) else { return false };
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    mac.verify_slice(&mac_given).is_ok()
}

/// Commits whatever waits in one transaction, and answers when that is on disk.
fn write(connection: &Connection, waiting: &mpsc::Receiver<Row>) {
    while let Ok(first) = waiting.recv() {
        let mut rows = vec![first];
        rows.extend(waiting.try_iter().take(BATCH_MAX - 1));
        // Without an answer the callers are told that it was not kept.
        let Ok(ids) = keep(connection, &rows) else { continue };
        for (row, id) in rows.into_iter().zip(ids) {
            let _ = row.kept.send(id);
        }
    }
}

fn keep(connection: &Connection, rows: &[Row]) -> rusqlite::Result<Vec<i64>> {
    let transaction = connection.unchecked_transaction()?;
    let mut ids = Vec::with_capacity(rows.len());
    {
        let sql = "INSERT INTO events (id, vendor, body) VALUES (?1, ?2, ?3)
            ON CONFLICT DO NOTHING";
        let mut insert = transaction.prepare_cached(sql)?;
        for row in rows {
            insert.execute(params![row.id, row.vendor, &row.body[..]])?;
            ids.push(transaction.last_insert_rowid());
        }
    }
    transaction.commit()?;
    Ok(ids)
}
