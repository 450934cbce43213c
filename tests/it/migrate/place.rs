//! An operator's machine: files, runs of `waba-migrate`, and the store they leave behind.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use rusqlite::{Connection as Sqlite, types::Value};
use tempfile::TempDir;
use waba_gateway::{
    app,
    config::Config,
    domain::{
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::ExposeSecret,
        vendor::Vendor,
        waba::{SignatureSchemes, WabaInstance},
    },
    gateway::{AccountsChange, NewInstance},
    journal::SqliteJournal,
    sqlite::Db,
    store::{SqliteStore, Store},
};

pub(super) const HEADER: &str =
    "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret,wasenderApiKey";
pub(super) const ANNA: &str =
    "anna,Anna's,+221 77 123 45 67,4001,marked-secret-anna,marked-key-anna";
pub(super) const BINTA: &str = "binta,\"Binta, Fils\",+221 77 123 45 68,4002,marked-secret-binta,";
pub(super) const BAD: &str = "bad,,1,4003,marked,";

/// An operator's machine.
pub(super) struct Place {
    pub(super) dir: TempDir,
}

/// What a run came to.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    /// A file of these rows under the header.
    pub(super) fn file(&self, rows: &[&str]) -> String {
        self.raw_file(format!("{HEADER}\n{}\n", rows.join("\n")))
    }

    pub(super) fn raw_file(&self, text: impl AsRef<[u8]>) -> String {
        let n_files = fs::read_dir(self.dir.path()).unwrap().count();
        let path = self.dir.path().join(format!("{n_files}.csv"));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(super) fn command(&self, arguments: &[&str], vars: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waba-migrate"));
        command.args(arguments).current_dir(self.dir.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("APP_BASE_URL", "https://gw.example/base");
        command.env("DATA_DIR", self.data()).envs(vars.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn run_with(&self, arguments: &[&str], vars: &[(&str, &str)]) -> Ran {
        Ran::of(&self.command(arguments, vars).output().unwrap())
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    #[track_caller]
    pub(super) fn migrate(&self, rows: &[&str]) -> Ran {
        let ran = self.run(&["batch", &self.file(rows)]);
        assert_eq!(ran.code, 0, "{}", ran.all());
        ran
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.data().join("waba-migrate.log")).unwrap_or_default()
    }

    pub(super) fn config(&self) -> Config {
        let data = self.data().to_str().unwrap().to_owned();
        Config::from_lookup(|it| (it == "DATA_DIR").then(|| data.clone())).unwrap()
    }

    pub(super) fn open(&self) -> Opened {
        let vault = Arc::new(app::vault(&self.config()).unwrap());
        let journal =
            SqliteJournal::open(&self.data().join("waba.db"), Arc::clone(&vault)).unwrap();
        let db = journal.db().clone();
        Opened { store: SqliteStore::new(db.clone(), vault), db }
    }

    /// What is stored of a vendor cannot be opened any more.
    pub(super) fn damage(&self, vendor: &str) {
        let connection = Sqlite::open(self.data().join("waba.db")).unwrap();
        let sql = "UPDATE vendors SET doc = x'00' WHERE id = ?1";
        assert_eq!(connection.execute(sql, [vendor]).unwrap(), 1);
    }

    /// Everything in the store, to the byte: what is sealed again looks different.
    pub(super) fn content(&self) -> Vec<Vec<Value>> {
        let Ok(connection) = Sqlite::open(self.data().join("waba.db")) else { return Vec::new() };
        let mut content = Vec::new();
        // What is kept of the keys that seal the data says nothing of what is in them.
        let meta = "meta WHERE key NOT IN ('key_check', 'hash_key', 'shared_hash_key')";
        for from in [meta, "vendors", "instances", "instance_keys", "changes", "sqlite_sequence"] {
            let mut statement = connection.prepare(&format!("SELECT * FROM {from}")).unwrap();
            let n_columns = statement.column_count();
            let rows =
                statement.query_map((), |row| (0..n_columns).map(|it| row.get(it)).collect());
            content.extend(rows.unwrap().map(Result::unwrap));
        }
        content
    }
}

impl Ran {
    pub(super) fn of(output: &Output) -> Self {
        let text = |it: &[u8]| String::from_utf8(it.to_vec()).unwrap();
        let code = output.status.code().unwrap();
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub(super) fn all(&self) -> String {
        format!("{}\n{}{}", self.code, self.out, self.err)
    }

    #[track_caller]
    pub(super) fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.all());
        // Columns are as wide as they must be.
        let mut told = self.all();
        while told.contains("   ") {
            told = told.replace("   ", "  ");
        }
        for word in words {
            assert!(told.contains(word), "no {word:?} in:\n{told}");
        }
    }
}

/// The store as the library sees it.
pub(super) struct Opened {
    pub(super) store: SqliteStore,
    db: Db,
}

impl Opened {
    pub(super) async fn vendor(&self, id: &str) -> Option<Vendor> {
        self.store.vendor(&vendor_id(id)).await.unwrap()
    }

    pub(super) async fn instance(&self, vendor: &str) -> Option<WabaInstance> {
        self.store.instances(&vendor_id(vendor)).await.unwrap().into_iter().next()
    }

    pub(super) async fn has_nothing(&self) -> bool {
        self.store.vendors(None, 1).await.unwrap().vendors.is_empty()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.db.close();
    }
}

pub(super) fn vendor_id(text: &str) -> VendorId {
    VendorId::parse(text).unwrap()
}

pub(super) fn secrets(instance: &WabaInstance) -> Vec<&str> {
    instance.wasender.webhook_secrets.iter().map(|it| it.secret.expose_secret()).collect()
}

/// Another instance, as the administration makes them.
pub(super) fn other_instance(
    id: &str,
    vendor: &str,
    number: &str,
    session: &str,
    secret: &str,
) -> WabaInstance {
    let new = NewInstance {
        phone_number: PhoneNumber::from_wire(number).unwrap(),
        wasender_instance_id: Some(session.to_owned()),
        session_key: Some("session-key".into()),
        webhook_secret: Some(secret.into()),
        token: Some("token".into()),
        account_protection: true,
        schemes: SignatureSchemes { hmac: true, secret: false },
        accounts: AccountsChange::default(),
    };
    new.instance(InstanceId::parse(id).unwrap(), vendor_id(vendor), 1_000)
}
