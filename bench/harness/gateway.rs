//! The gateway: the real program, on a directory with vendors in it.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use waba_gateway::{
    domain::{
        clock::{Clock, Millis},
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        vendor::{Dialect, ResponderConfig, ResponseApi, Rule, Vendor},
        waba::{
            ProviderKind, Routes, SignatureSchemes, WabaInstance, WasenderAccount, WebhookSecret,
        },
    },
    journal::{Journal, Ledger, SqliteJournal},
    store::{SqliteStore, Store},
    vault::Vault,
};

use super::{
    hook::{WORDS, secret, vendor},
    http::Messages,
    process::Process,
};

const FILE: &str = "waba.db";
const START_WITHIN: Duration = Duration::from_secs(20);

/// A directory with vendors in it, and what seals it.
pub struct Data<'a> {
    directory: &'a Path,
    key: SecretString,
}

/// Who answers the customers of a vendor.
#[derive(Clone, Default)]
pub enum Replies {
    /// Nobody: what they write is recorded.
    #[default]
    None,
    /// The vendor's rules, one for each word.
    Rules,
    /// Rules for the first half of the words; for the others, the service at this address.
    Service(String),
}

/// The gateway, serving.
pub struct Gateway {
    pub process: Process,
    pub address: SocketAddr,
    /// Where it tells its counters.
    pub metrics: SocketAddr,
}

impl<'a> Data<'a> {
    /// Makes the directory with its vendors.
    pub async fn make(
        directory: &'a Path,
        n_vendors: usize,
        replies: impl Fn(usize) -> Replies,
    ) -> anyhow::Result<Self> {
        Self::make_at(directory, n_vendors, replies, |_, _| {}).await
    }

    /// The same, with other accounts for the vendors' numbers.
    pub async fn make_at(
        directory: &'a Path,
        n_vendors: usize,
        replies: impl Fn(usize) -> Replies,
        account: impl Fn(usize, &mut WabaInstance),
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let data = Self { directory, key: Vault::new_key()? };
        let (journal, store) = data.open().await?;
        let now = Clock::System.now();
        let vendors: Result<Vec<Vendor>, _> =
            (0..n_vendors).map(|it| make_vendor(it, &replies(it), now)).collect();
        let instances: Result<Vec<WabaInstance>, _> =
            (0..n_vendors).map(|it| make_instance(it, now)).collect();
        let mut instances = instances?;
        for (n, instance) in instances.iter_mut().enumerate() {
            account(n, instance);
        }
        store.put_all(&vendors?, &instances).await?;
        journal.db().close();
        Ok(data)
    }

    /// The same in another directory, while no gateway uses it.
    pub fn copy<'b>(&self, directory: &'b Path) -> anyhow::Result<Data<'b>> {
        fs::create_dir_all(directory)?;
        let copy = Data { directory, key: self.key.clone() };
        fs::copy(self.file(), copy.file()).context("copy the database")?;
        Ok(copy)
    }

    /// The key of the admin, which the gateway makes when it starts for the first time.
    pub fn admin_key(&self) -> anyhow::Result<String> {
        let (file, started_at) = (self.directory.join("admin.key"), Instant::now());
        while !file.exists() && started_at.elapsed() < START_WITHIN {
            sleep(Duration::from_millis(1));
        }
        Ok(fs::read_to_string(file).context("the admin's key")?.trim().to_owned())
    }

    /// Starts the gateway on it, and waits until it serves. Its providers are all at this address.
    pub fn start(&self, provider_url: &str) -> anyhow::Result<Gateway> {
        // Somebody else could take the ports in between; then the gateway ends, and so do we.
        let sockets = [TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?];
        let [address, metrics] = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        drop(sockets);
        let mut command = self.command(provider_url, "exec \"$0\" serve")?;
        command
            .stdin(Stdio::null())
            .env("LISTEN_ADDR", address.to_string())
            .env("METRICS_ADDR", metrics.to_string());
        let mut process = Process::new(command.spawn().context("start the gateway")?);
        let started_at = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.check().err();
            let late = || started_at.elapsed() > START_WITHIN;
            if ended.is_some() || late() {
                anyhow::bail!("the gateway does not serve: {ended:?}\n{}", self.log()?);
            }
            sleep(Duration::from_millis(1));
        }
        Ok(Gateway { process, address, metrics })
    }

    /// Starts the gateway on this socket, as a supervisor does that holds it. Callers may connect
    /// at once, and wait.
    pub fn start_on(&self, socket: &TcpListener, provider_url: &str) -> anyhow::Result<Process> {
        // `LISTEN_FDS` means the descriptors from 3 on.
        let run = "exec \"$0\" serve 3<&0 </dev/null";
        let mut command = self.command(provider_url, run)?;
        command
            .stdin(std::os::fd::OwnedFd::from(socket.try_clone()?))
            .env("LISTEN_FDS", "1")
            .env("METRICS_ADDR", "off");
        Ok(Process::new(command.spawn().context("start the gateway")?))
    }

    fn command(&self, provider_url: &str, run: &str) -> anyhow::Result<Command> {
        let log = self.directory.join("gateway.log");
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", run, env!("CARGO_BIN_EXE_waba-gateway")])
            // Away from any .env.
            .current_dir(self.directory)
            .env_clear()
            .env("DATA_DIR", self.directory)
            .env("ENCRYPTION_KEY", self.key.expose_secret())
            .env("WASENDER_API_URL", provider_url)
            .env("WASENDER_API_KEY", "bench")
            .env("META_API_URL", provider_url)
            .env("ALLOW_PRIVATE_TARGETS", "true")
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// What the gateway logged.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.directory.join("gateway.log"))?)
    }

    /// What a gateway that has ended kept: by the ledger, which must be what a fresh count is.
    pub async fn ledger(&self) -> anyhow::Result<Ledger> {
        let journal = self.open().await?.0;
        let (ledger, counted) = (journal.ledger(None).await?, journal.count(None).await?);
        journal.db().close();
        ensure!(
            ledger == counted && ledger.balances(),
            "the ledger has {ledger:?} and the entries {counted:?}"
        );
        Ok(ledger)
    }

    /// Journal and store, while no gateway uses them. The journal's database must be closed.
    pub async fn open(&self) -> anyhow::Result<(SqliteJournal, SqliteStore)> {
        let vault = Arc::new(Vault::new(&self.key, &[])?);
        let journal = SqliteJournal::open(&self.file(), Arc::clone(&vault))?;
        let store = SqliteStore::new(journal.db().clone(), vault);
        store.check_key().await?;
        Ok((journal, store))
    }

    /// The database.
    pub fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

impl Gateway {
    /// What a counter has come to, all its labels together.
    pub async fn counter(&self, name: &str) -> anyhow::Result<f64> {
        let mut stream = tokio::net::TcpStream::connect(self.metrics).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n").await?;
        let mut messages = Messages::new(stream);
        let answer = messages.next().await?.context("no answer")?;
        let text = String::from_utf8_lossy(answer.body);
        let lines = text.lines().filter(|it| it.split(['{', ' ']).next() == Some(name));
        Ok(lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// The number a vendor's messages leave from.
pub fn phone(vendor: usize) -> String {
    format!("+22178{vendor:07}")
}

/// The key a vendor's messages are sent with.
pub fn session_key(vendor: usize) -> String {
    format!("session_key_{vendor:06}_0123456789abcdef")
}

/// Whose key this is.
pub fn vendor_of(session_key: &str) -> Option<usize> {
    session_key.strip_prefix("session_key_")?.get(..6)?.parse().ok()
}

/// The word that a reply's text names.
pub fn word_of(text: &str) -> Option<usize> {
    let word = text.split(' ').nth(1)?;
    WORDS.iter().position(|it| *it == word)
}

fn make_vendor(n: usize, replies: &Replies, now: Millis) -> anyhow::Result<Vendor> {
    let id = VendorId::parse(&vendor(n))?;
    let rule = |word: &&str| Rule {
        contains: (*word).to_owned(),
        reply: format!("{id} {word} : oui, il nous en reste. A demain !"),
    };
    let rules = |n_words: usize| {
        let rules = WORDS[..n_words].iter().map(rule).collect();
        ResponderConfig::Rules { rules, otherwise: None }
    };
    let service = |url: &String| {
        let dialect = Dialect::Bot;
        ResponderConfig::ResponseApi(ResponseApi { url: url.clone(), headers: Vec::new(), dialect })
    };
    let responders = match replies {
        Replies::None => Vec::new(),
        Replies::Rules => vec![rules(WORDS.len())],
        Replies::Service(url) => vec![rules(WORDS.len() / 2), service(url)],
    };
    let signing = waba_gateway::gateway::signing_secret();
    Ok(Vendor {
        auto_reply: !matches!(replies, Replies::None),
        responders,
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
        failover: Routes::default(),
        meta: None,
        unipile: None,
        twilio: None,
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
