//! Configuration: read once, from the environment (`.env` included) and `gateway.toml`, and all its
//! faults told at once. It opens nothing. A bad value is never echoed: it may be a secret in the
//! wrong variable.

mod firestore;
mod meta;
mod own;
mod redis;
mod vars;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use url::Url;

use self::vars::Vars;
pub use self::{
    firestore::{FirebaseKey, FirestoreConfig},
    meta::MetaDefaults,
    own::{OwnMeta, OwnNumber, OwnTwilio},
    redis::RedisUrl,
};
use crate::{
    domain::{
        clock::{HOUR, Millis, SECOND},
        secret::{ExposeSecret, SecretString},
        vendor::{Dialect, ResponseApi},
    },
    lang::Language,
};

/// What Wasender documents; `docs/wire/wasender.md` §1.1.
const WASENDER_API_URL: &str = "https://www.wasenderapi.com/api";
/// In many old files, and not an address of the real API (`docs/CONTRACT.md` §1).
const WASENDER_API_URL_WRONG: &str = "api.wasenderapi.com";
/// `docs/wire/meta-unipile-twilio.md` A11: the version that others use too.
const META_API_URL: &str = "https://graph.facebook.com/v25.0";
/// `docs/wire/meta-unipile-twilio.md` D: of the second generation; accounts of the first name theirs.
const UNIPILE_API_URL: &str = "https://api.unipile.com/v2";
/// `docs/wire/meta-unipile-twilio.md` E1.
const TWILIO_API_URL: &str = "https://api.twilio.com";
/// Where Google publishes the keys that prove Firebase ID tokens.
const FIREBASE_KEYS_URL: &str =
    "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
/// What has ended is kept for so many days at least: a message may come again for eight.
const RETENTION_DAYS_MIN: i64 = 9;
const RETENTION_DAYS_MAX: i64 = 36_500;
/// How old a message may be that is answered, in seconds.
const ANSWER_AGES: RangeInclusive<i64> = 1..=365 * 24 * 3_600;
/// The largest webhook: a vendor's share of what is held at once has room for one of 8 MiB.
const BODY_BYTES: RangeInclusive<usize> = 1_024..=8 * 1_024 * 1_024;
/// The shortest admin key.
const ADMIN_KEY_CHARS_MIN: usize = 32;

/// The configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where webhooks and administration are served.
    pub listen: SocketAddr,
    /// Where `/metrics` is served without a key.
    pub metrics_listen: Option<SocketAddr>,
    /// Base of the webhook URLs handed to providers.
    pub base_url: Url,
    /// The embedded journal and store.
    pub data_dir: PathBuf,
    /// Where vendors are kept; `None` is the embedded store.
    pub firestore: Option<FirestoreConfig>,
    /// The admin key, where the operator set one.
    pub admin_key: Option<SecretString>,
    /// The encryption key, where the operator set one.
    pub encryption_key: Option<SecretString>,
    /// The project whose users may call with their ID tokens, and where its keys are published.
    pub firebase: Option<(String, Url)>,
    /// Keys that older data was sealed with.
    pub old_encryption_keys: Vec<SecretString>,
    /// Base of Wasender's API.
    pub wasender_url: Url,
    /// Bases of the other providers' APIs.
    pub apis: Apis,
    /// The vendor and number that the environment names.
    pub own_number: Option<OwnNumber>,
    /// What accounts at Meta have that are brought in without their own.
    pub meta: MetaDefaults,
    /// The operator's personal access token at Wasender.
    pub wasender_token: Option<SecretString>,
    /// Responder of vendors that have none of their own. Without an id of its own, the chatbot has
    /// each vendor's.
    pub response_api: Option<ResponseApi>,
    /// What calls of that responder are signed with.
    pub forward_secret: Option<SecretString>,
    /// Older messages are recorded, not answered.
    pub max_answer_age: Millis,
    /// Below this many free bytes intake answers 503.
    pub min_free_disk_bytes: u64,
    /// What has ended is removed when it is older.
    pub retention: Millis,
    /// The largest webhook, in bytes.
    pub body_bytes_max: usize,
    /// How long a vendor is remembered without asking the store.
    pub cache_ttl: Duration,
    /// The Redis that gateways share. Without it, what is remembered is in memory.
    pub redis: Option<RedisUrl>,
    /// What vendor-supplied URLs may reach although private.
    pub targets: Targets,
}

/// Where the providers besides Wasender are.
#[derive(Debug, Clone)]
pub struct Apis {
    /// Meta's Graph API, its version included.
    pub meta: Url,
    /// Unipile's, for accounts that name none of their own.
    pub unipile: Url,
    /// Twilio's.
    pub twilio: Url,
}

/// Which private addresses vendor-supplied URLs may reach.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Networks.
    pub nets: Vec<IpNet>,
    /// Host names.
    pub hosts: Vec<String>,
    /// All private ones, loopback too; link-local and metadata addresses stay refused.
    pub all_private: bool,
}

/// What is wrong with the configuration: every fault, one a line.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration:\n  {}", .0.join("\n  "))]
pub struct BadConfig(pub Vec<String>);

impl Config {
    /// Reads `.env` of the working directory, the environment and `gateway.toml`. The environment
    /// wins over `.env`, both win over the file.
    pub fn from_environment() -> Result<Self, BadConfig> {
        Self::from_environment_with(|_| None)
    }

    /// The same, with what `fixed` knows in place of it.
    pub fn from_environment_with(
        fixed: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, BadConfig> {
        // Here and nowhere above: a `.env` there is another program's.
        if let Err(error) = dotenvy::from_path(".env")
            && !error.not_found()
        {
            return Err(BadConfig(vec![".env cannot be read".to_owned()]));
        }
        let file = match std::fs::read_to_string("gateway.toml") {
            Ok(text) => file_values(&text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            Err(_) => return Err(BadConfig(vec!["gateway.toml cannot be read".to_owned()])),
        };
        #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
        let set = |name: &str| std::env::var(name).ok().filter(|it| !it.trim().is_empty());
        let lookup = |name: &str| set(name).or_else(|| file.get(name).cloned());
        Self::from_lookup(|name| fixed(name).or_else(|| lookup(name)))
    }

    /// Reads what `lookup` knows.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut vars = Vars { lookup: &lookup, faults: Vec::new() };
        vars.refuse_planned();
        let listen = vars.listen();
        let base_url = vars.base_url(listen);
        let config = Self {
            listen,
            metrics_listen: vars.metrics_listen(),
            base_url,
            data_dir: vars.text("DATA_DIR").unwrap_or_else(|| "./data".to_owned()).into(),
            firestore: vars.firestore(),
            admin_key: vars.admin_key(),
            encryption_key: vars.encryption_key("ENCRYPTION_KEY"),
            firebase: vars.firebase(),
            old_encryption_keys: vars.old_keys(),
            wasender_url: vars.wasender_url(),
            apis: Apis {
                meta: vars.meta_url(),
                unipile: vars.api("UNIPILE_API_URL", UNIPILE_API_URL),
                twilio: vars.api("TWILIO_API_URL", TWILIO_API_URL),
            },
            own_number: vars.own_number(),
            meta: vars.meta(),
            wasender_token: vars.secret("WASENDER_API_KEY"),
            response_api: vars.response_api(),
            forward_secret: vars.secret("WEBHOOK_FORWARD_SECRET"),
            max_answer_age: vars.within("MAX_ANSWER_AGE", 6 * HOUR / SECOND, ANSWER_AGES) * SECOND,
            min_free_disk_bytes: vars.parsed("MIN_FREE_DISK", 512 * 1024 * 1024),
            retention: vars.retention(),
            body_bytes_max: vars.within("BODY_BYTES_MAX", 3 * 1024 * 1024, BODY_BYTES),
            cache_ttl: Duration::from_secs(vars.parsed("WABA_CACHE_TTL_SECONDS", 3_600)),
            redis: vars.redis(),
            targets: vars.targets(),
        };
        if vars.faults.is_empty() { Ok(config) } else { Err(BadConfig(vars.faults)) }
    }
}

/// The language that the process's environment asks for.
#[must_use]
pub fn language() -> Language {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    Language::of_locale(|name| std::env::var(name).ok())
}

impl<L: Fn(&str) -> Option<String>> Vars<'_, L> {
    fn refuse_planned(&mut self) {
        if self.text("JOURNAL").is_some_and(|it| it != "sqlite") {
            self.faults.push("JOURNAL: this version knows sqlite only".to_owned());
        }
    }

    fn firebase(&mut self) -> Option<(String, Url)> {
        let default = Url::parse(FIREBASE_KEYS_URL).expect("the constant is a URL");
        let keys_url = self.url("FIREBASE_KEYS_URL").unwrap_or(default);
        self.text("FIREBASE_PROJECT_ID").map(|it| (it, keys_url))
    }

    fn listen(&mut self) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 9002));
        if self.text("LISTEN_ADDR").is_none() && self.text("PORT").is_some() {
            return SocketAddr::from(([0, 0, 0, 0], self.parsed("PORT", default.port())));
        }
        self.parsed("LISTEN_ADDR", default)
    }

    fn metrics_listen(&mut self) -> Option<SocketAddr> {
        if self.text("METRICS_ADDR").is_some_and(|it| it == "off") {
            return None;
        }
        Some(self.parsed("METRICS_ADDR", SocketAddr::from(([127, 0, 0, 1], 9003))))
    }

    fn base_url(&mut self, listen: SocketAddr) -> Url {
        let default = format!("http://localhost:{}", listen.port());
        let default = Url::parse(&default).expect("a URL with a port number is one");
        self.url("APP_BASE_URL").unwrap_or(default)
    }

    /// The predecessor's name for it means the predecessor's dialect, unless that is chosen too.
    fn response_api(&mut self) -> Option<ResponseApi> {
        let new = self.url("RESPONSE_API_URL");
        let old = self.url("RESPONSE_API_BASE_URL");
        let default = if new.is_none() && old.is_some() { "conversation" } else { "bot" };
        let dialect = self.text("RESPONSE_API_DIALECT").unwrap_or_else(|| default.to_owned());
        let dialect = match dialect.as_str() {
            "bot" => Dialect::Bot,
            "conversation" => Dialect::Conversation {
                chatbot_id: self.text("RESPONSE_API_CHATBOT_ID").unwrap_or_default(),
                web_id: self.secret("RESPONSE_API_WEB_ID"),
            },
            _ => {
                self.faults.push("RESPONSE_API_DIALECT is bot or conversation".to_owned());
                Dialect::Bot
            }
        };
        let url = new.or(old)?.to_string();
        Some(ResponseApi { url, headers: Vec::new(), dialect })
    }

    fn redis(&mut self) -> Option<RedisUrl> {
        let text = self.text("REDIS_URL")?;
        RedisUrl::parse(&text).map_err(|it| self.faults.push(format!("REDIS_URL: {it}"))).ok()
    }

    fn wasender_url(&mut self) -> Url {
        let default = Url::parse(WASENDER_API_URL).expect("the constant is a URL");
        let url = self.url("WASENDER_API_URL").unwrap_or(default);
        if url.host_str() == Some(WASENDER_API_URL_WRONG) {
            self.faults.push(format!(
                "WASENDER_API_URL: {WASENDER_API_URL_WRONG} is not an address of the Wasender API; use {WASENDER_API_URL}"
            ));
        }
        url
    }

    fn api(&mut self, name: &str, default: &str) -> Url {
        let default = Url::parse(default).expect("the constant is a URL");
        self.url(name).unwrap_or(default)
    }

    fn retention(&mut self) -> Millis {
        let days = RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX;
        self.within("RETENTION_DAYS", 30, days) * 24 * HOUR
    }

    fn admin_key(&mut self) -> Option<SecretString> {
        let text = self.text("ADMIN_API_KEY")?;
        if text.chars().count() < ADMIN_KEY_CHARS_MIN {
            self.faults
                .push(format!("ADMIN_API_KEY has fewer than {ADMIN_KEY_CHARS_MIN} characters"));
        }
        Some(text.into())
    }

    fn encryption_key(&mut self, name: &str) -> Option<SecretString> {
        let key = self.secret(name)?;
        if !is_key(&key) {
            self.faults.push(format!("{name} is not 32 bytes in base64"));
        }
        Some(key)
    }

    fn old_keys(&mut self) -> Vec<SecretString> {
        let text = self.text("ENCRYPTION_KEYS_OLD").unwrap_or_default();
        let keys: Vec<SecretString> =
            text.split([',', ' ']).filter(|it| !it.is_empty()).map(SecretString::from).collect();
        if !keys.iter().all(is_key) {
            self.faults
                .push("ENCRYPTION_KEYS_OLD has a key that is not 32 bytes in base64".to_owned());
        }
        keys
    }

    fn targets(&mut self) -> Targets {
        let mut targets = Targets {
            all_private: self.parsed("ALLOW_PRIVATE_TARGETS", false),
            ..Targets::default()
        };
        let text = self.text("ALLOW_TARGETS").unwrap_or_default();
        for word in text.split([',', ' ']).filter(|it| !it.is_empty()) {
            let address = || word.parse::<IpAddr>().map(IpNet::from);
            match word.parse::<IpNet>().or_else(|_| address()) {
                Ok(net) => targets.nets.push(net),
                Err(_) if word.contains('/') => {
                    self.faults.push("ALLOW_TARGETS has a malformed network".to_owned());
                }
                Err(_) => targets.hosts.push(word.to_ascii_lowercase()),
            }
        }
        targets
    }
}

/// 32 bytes in base64.
fn is_key(key: &SecretString) -> bool {
    STANDARD.decode(key.expose_secret()).is_ok_and(|it| it.len() == 32)
}

/// The file's keys are the variables' names, in any case: `base_url` would be a second name for
/// `APP_BASE_URL`, and one is enough.
fn file_values(text: &str) -> Result<HashMap<String, String>, BadConfig> {
    // The parser's message can quote a secret.
    let bad = || BadConfig(vec!["gateway.toml is not TOML".to_owned()]);
    let table: toml::Table = text.parse().map_err(|_| bad())?;
    let mut values = HashMap::new();
    for (name, value) in table {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(n) => n.to_string(),
            toml::Value::Boolean(it) => it.to_string(),
            _ => return Err(BadConfig(vec![format!("gateway.toml: {name} is not a plain value")])),
        };
        values.insert(name.to_ascii_uppercase(), text);
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
