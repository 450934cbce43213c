//! The gateway: the real program, on a directory with vendors in it.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Context;
use waba_gateway::{
    domain::{
        clock::{Clock, Millis},
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        vendor::{ResponderConfig, Rule, Vendor},
        waba::{ProviderKind, SignatureSchemes, WabaInstance, WasenderAccount, WebhookSecret},
    },
    journal::{Journal, Ledger, SqliteJournal},
    store::{SqliteStore, Store},
    vault::Vault,
};

use crate::{
    hook::{VENDORS, WORDS, secret, vendor},
    process::Process,
};

const FILE: &str = "waba.db";
const START_WITHIN: Duration = Duration::from_secs(20);

/// A directory with vendors in it, and what seals it.
pub struct Data<'a> {
    directory: &'a Path,
    key: SecretString,
}

impl<'a> Data<'a> {
    /// Makes the directory with its vendors; with `replies`, their customers are answered.
    pub async fn make(directory: &'a Path, replies: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let data = Self { directory, key: Vault::new_key()? };
        let (journal, vault) = data.open()?;
        let store = SqliteStore::new(journal.db().clone(), vault);
        store.check_key().await?;
        let now = Clock::System.now();
        let vendors: Result<Vec<Vendor>, _> =
            (0..VENDORS).map(|it| make_vendor(it, replies, now)).collect();
        let instances: Result<Vec<WabaInstance>, _> =
            (0..VENDORS).map(|it| make_instance(it, now)).collect();
        store.put_all(&vendors?, &instances?).await?;
        journal.db().close();
        Ok(data)
    }

    /// Starts the gateway on it.
    pub fn start(&self, wasender_url: &str) -> anyhow::Result<(Process, SocketAddr)> {
        // Somebody else could take the port in between; then the gateway ends, and so do we.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let log = File::create(self.directory.join("gateway.log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_waba-gateway"));
        command
            .arg("serve")
            // Away from any .env.
            .current_dir(self.directory)
            .env_clear()
            .env("DATA_DIR", self.directory)
            .env("ENCRYPTION_KEY", self.key.expose_secret())
            .env("LISTEN_ADDR", address.to_string())
            .env("METRICS_ADDR", "off")
            .env("WASENDER_API_URL", wasender_url)
            .env("WASENDER_API_KEY", "bench")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = Process::new(command.spawn().context("start the gateway")?);
        let started_at = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.check().err();
            let late = || started_at.elapsed() > START_WITHIN;
            if ended.is_some() || late() {
                let log = fs::read_to_string(self.directory.join("gateway.log"))?;
                anyhow::bail!("the gateway does not serve: {ended:?}\n{log}");
            }
            sleep(Duration::from_millis(10));
        }
        Ok((process, address))
    }

    /// What a gateway that has ended kept: by the ledger, and counted afresh.
    pub async fn ledger(&self) -> anyhow::Result<(Ledger, Ledger)> {
        let journal = self.open()?.0;
        let both = (journal.ledger(None).await?, journal.count(None).await?);
        journal.db().close();
        Ok(both)
    }

    fn open(&self) -> anyhow::Result<(SqliteJournal, Arc<Vault>)> {
        let vault = Arc::new(Vault::new(&self.key, &[])?);
        Ok((SqliteJournal::open(&self.directory.join(FILE), Arc::clone(&vault))?, vault))
    }
}

/// The number a vendor's messages leave from.
pub fn phone(vendor: usize) -> String {
    format!("+22178{vendor:07}")
}

/// The key a vendor's messages are sent with.
pub fn session_key(vendor: usize) -> String {
    format!("session_key_{vendor:04}_0123456789abcdef")
}

/// The vendor and the word that a reply's text names.
pub fn read_reply(text: &str) -> Option<(usize, usize)> {
    let mut parts = text.split(' ');
    let vendor = parts.next()?.strip_prefix("vendor_")?.parse().ok()?;
    let word = parts.next()?;
    Some((vendor, WORDS.iter().position(|it| *it == word)?))
}

fn make_vendor(n: usize, replies: bool, now: Millis) -> anyhow::Result<Vendor> {
    let id = VendorId::parse(&vendor(n))?;
    let rule = |word: &&str| Rule {
        contains: (*word).to_owned(),
        reply: format!("{id} {word} : oui, il nous en reste. A demain !"),
    };
    let rules = WORDS.iter().map(rule).collect();
    let signing = waba_gateway::gateway::signing_secret();
    Ok(Vendor {
        auto_reply: replies,
        responders: vec![ResponderConfig::Rules { rules, otherwise: None }],
        ..Vendor::new(id.clone(), format!("Boutique {n}"), signing, now)
    })
}

fn make_instance(n: usize, now: Millis) -> anyhow::Result<WabaInstance> {
    let vendor_id = VendorId::parse(&vendor(n))?;
    let webhook_secret =
        WebhookSecret { secret: secret(n).into(), until: None, is_sessions: false };
    Ok(WabaInstance {
        id: InstanceId::nth(&vendor_id, 1),
        vendor_id,
        phone_number: PhoneNumber::from_person(&phone(n), None)?,
        provider: ProviderKind::Wasender,
        status: Connection::Connected,
        schemes: SignatureSchemes::default(),
        account_protection: false,
        wasender: WasenderAccount {
            instance_id: Some((n + 1).to_string()),
            session_key: Some(session_key(n).into()),
            webhook_secrets: vec![webhook_secret],
            token: None,
        },
        created_at: now,
        updated_at: now,
        last_sync: None,
    })
}
