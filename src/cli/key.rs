//! `key`: keys for the administration.

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    EXIT_FAULT, Ended,
    ago::typed_span,
    opened::Opened,
    output::{complain, json, line, print, table},
};
use crate::{
    domain::{
        clock::{Clock, HOUR, Millis, iso},
        id::VendorId,
    },
    gateway::{NewKey, is_adopted},
    store::ApiKey,
};

/// What is to be done.
#[derive(Subcommand)]
pub enum Command {
    /// Make a key and print it, this once
    #[command(long_about = CREATE, after_help = CREATE_AFTER)]
    Create {
        /// What it is for, as `key list` shows it
        #[arg(long)]
        name: String,
        /// The one vendor it is good for; without it, an admin's key
        #[arg(long, value_name = "VENDOR")]
        vendor: Option<VendorId>,
        /// It may look and change nothing
        #[arg(long)]
        read_only: bool,
        /// It is good for nothing after so long: 12h, 90d
        #[arg(long, value_name = "TIME", value_parser = lasting)]
        expires_in: Option<Millis>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// List the keys, without themselves
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key: it is good for nothing from now on
    #[command(after_help = REVOKE_AFTER)]
    Revoke {
        /// The key's id, from the list of keys
        id: String,
    },
}

/// The longest life of a key that is not to last for ever.
const LASTING_MAX: Millis = 3_660 * 24 * HOUR;

const CREATE: &str = "\
Make a key and print it, this once.

Only its hash is kept, so it cannot be shown again. The key alone goes to standard output. A
running server takes it at once.";

const CREATE_AFTER: &str = "\
Examples:
  KEY=$(waba-gateway key create --name deploy)
  waba-gateway key create --name shop --vendor vendor_001
  waba-gateway key create --name dashboard --read-only --expires-in 90d --json

Exit codes: 0 made, 1 no such vendor, 2 could not run";

const REVOKE_AFTER: &str = "\
Example:
  waba-gateway key revoke key_1a2b3c4d5e6f

Exit codes: 0 revoked, 1 no such key, 2 could not run";

pub(super) async fn run(command: Command) -> Ended {
    match command {
        Command::Create { name, vendor, read_only, expires_in, json } => {
            let expires_at = expires_in.map(|it| Clock::System.now() + it);
            create(NewKey { name, vendor, read_only, expires_at }, json).await
        }
        Command::List { json } => list(json).await,
        Command::Revoke { id } => revoke(&id).await,
    }
}

async fn create(new: NewKey, as_json: bool) -> Ended {
    let opened = Opened::to_write().await?;
    if let Some(vendor) = &new.vendor
        && opened.vendor(vendor).await?.is_none()
    {
        return Ok(EXIT_FAULT);
    }
    let (made, key) = opened.gateway.create_key(new).await?;
    opened.record("createKey", made.vendor.as_ref(), Some(&made.id)).await;
    opened.close();
    if as_json {
        let mut document = shown(&made);
        document["key"] = json!(key.expose_secret());
        json(&document);
    } else {
        complain(&format!("Made {} ({}). It is shown this once:", made.id, access(&made)));
        line(key.expose_secret());
    }
    Ok(0)
}

async fn list(as_json: bool) -> Ended {
    let opened = Opened::to_read().await?;
    let keys = opened.gateway.keys().await?;
    opened.close();
    if as_json {
        json(&json!({ "keys": keys.iter().map(shown).collect::<Vec<_>>() }));
        return Ok(0);
    }
    let now = Clock::System.now();
    let ends = |it: &ApiKey| match it.expires_at {
        None => "never".to_owned(),
        Some(at) if at <= now => "expired".to_owned(),
        Some(at) => iso(at),
    };
    let used = |it: &ApiKey| it.used_at.map_or("never".to_owned(), iso);
    let row = |it: &ApiKey| {
        [it.id.clone(), it.name.clone(), access(it), iso(it.created_at), ends(it), used(it)]
    };
    let rows: Vec<[String; 6]> = keys.iter().map(row).collect();
    print(&table(["ID", "NAME", "ACCESS", "CREATED", "EXPIRES", "LAST USED"], &rows));
    Ok(0)
}

async fn revoke(id: &str) -> Ended {
    let opened = Opened::to_write().await?;
    let has_been = opened.gateway.revoke_key(id).await?;
    if has_been {
        opened.record("deleteKey", None, Some(id)).await;
    }
    opened.close();
    if !has_been {
        complain(&format!("there is no key {id}; \"waba-gateway key list\" shows those there are"));
        return Ok(EXIT_FAULT);
    }
    line(&format!("revoked {id}"));
    if is_adopted(id) {
        complain(
            "note: this key comes from ADMIN_API_KEY or from admin.key in the data directory; take it away there too, or the next start takes it up again",
        );
    }
    Ok(0)
}

fn lasting(text: &str) -> Result<Millis, String> {
    let lasting = typed_span(text).filter(|it| *it <= LASTING_MAX);
    lasting.ok_or_else(|| "it is a span like 12h or 90d, of at most 10 years".to_owned())
}

fn access(key: &ApiKey) -> String {
    let of = key.vendor.as_ref().map_or("admin".to_owned(), ToString::to_string);
    if key.read_only { format!("{of}, read only") } else { of }
}

fn shown(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "vendorId": key.vendor,
        "readOnly": key.read_only,
        "createdAt": iso(key.created_at),
        "expiresAt": key.expires_at.map(iso),
        "lastUsedAt": key.used_at.map(iso),
    })
}
