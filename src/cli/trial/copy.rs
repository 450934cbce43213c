//! A copy of the vendor with a simulated Wasender: nothing leaves this machine.

use std::collections::HashMap;

use anyhow::Context;
use tokio::runtime::Handle;
use url::{Host, Url};

use crate::{
    app::{App, Listeners, loopback},
    config::Config,
    domain::{
        clock::Clock,
        vendor::{ResponderConfig, Vendor},
        waba::{WabaInstance, WasenderAccount, WebhookSecret},
    },
    gateway::shown_url,
    lang::Words,
    telemetry,
    twin::{NewSession, Session, Twin},
};

/// The copy, running.
pub(super) struct Copied {
    pub(super) app: App,
    pub(super) base: Url,
    pub(super) config: Config,
    pub(super) number: WabaInstance,
    /// In what it differs from the vendor.
    pub(super) notes: Vec<Words>,
    twin: Twin,
    /// Goes with the copy.
    _directory: tempfile::TempDir,
}

impl Copied {
    /// Copies a vendor and one of its numbers, and starts both sides.
    pub(super) async fn start(
        config: &Config,
        vendor: &Vendor,
        number: &WabaInstance,
    ) -> anyhow::Result<Self> {
        let twin = Twin::start().await.context("start the simulated Wasender")?;
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        let listeners = Listeners { main: loopback().await?, metrics: None };
        let base = Url::parse(&format!("http://{}", listeners.main.local_addr()?))?;
        let mut notes = Vec::new();
        let mut vendor = vendor.clone();
        let response_api = config.response_api.as_ref().filter(|it| is_here(&it.url));
        if let (Some(api), None) = (&config.response_api, response_api)
            && vendor.responders.is_empty()
        {
            notes.push(not_asked(&api.url));
            vendor.responders.push(instead_of(&api.url));
        }
        let variables = HashMap::from([
            ("DATA_DIR", directory.path().join("data").display().to_string()),
            ("APP_BASE_URL", base.to_string()),
            ("WASENDER_API_URL", twin.api_url()),
            ("WASENDER_API_KEY", twin.pat().to_owned()),
            ("ALLOW_PRIVATE_TARGETS", "true".to_owned()),
            ("MIN_FREE_DISK", "0".to_owned()),
        ]);
        let mut copy_config = Config::from_lookup(|name| variables.get(name).cloned())?;
        copy_config.response_api = response_api.cloned();
        copy_config.forward_secret.clone_from(&config.forward_secret);
        let metrics = telemetry::start_metrics()?;
        let app =
            App::start(&copy_config, Clock::System, listeners, metrics, &Handle::current()).await?;
        let session = twin.add_session(NewSession {
            id: number.wasender.instance_id.as_ref().and_then(|it| it.parse().ok()),
            account_protection: number.account_protection,
            ..NewSession::new(&number.phone_number.expose())
        });
        let (vendor, number) = (copy_of(vendor, &mut notes), number_of(number, &session));
        let store = app.gateway.store();
        store.put_all(std::slice::from_ref(&vendor), std::slice::from_ref(&number)).await?;
        if vendor.paused {
            app.gateway.pause(Some(&vendor.id), true).await?;
        }
        let hook = crate::gateway::webhook_url(&base, &vendor.id);
        twin.set_webhook(session.id, hook.as_str());
        Ok(Self { app, base, config: copy_config, number, notes, twin, _directory: directory })
    }

    pub(super) async fn stop(self) {
        self.app.stop().await;
        self.twin.stop().await;
    }
}

/// The vendor, without what would leave this machine.
fn copy_of(mut copy: Vendor, notes: &mut Vec<Words>) -> Vendor {
    let here = |it: &ResponderConfig, notes: &mut Vec<Words>| match it {
        ResponderConfig::ResponseApi(api) if !is_here(&api.url) => {
            notes.push(not_asked(&api.url));
            instead_of(&api.url)
        }
        other => other.clone(),
    };
    copy.responders = copy.responders.iter().map(|it| here(it, notes)).collect();
    if let Some(hours) = &mut copy.hours {
        hours.out_of_hours = hours.out_of_hours.iter().map(|it| here(it, notes)).collect();
    }
    copy.forward_url = None;
    copy
}

/// What stands for a responder elsewhere.
fn instead_of(url: &str) -> ResponderConfig {
    let otherwise = Some(format!("({})", shown_url(url)));
    ResponderConfig::Rules { rules: Vec::new(), otherwise }
}

fn not_asked(url: &str) -> Words {
    let url = shown_url(url);
    Words::new(
        format!("the responder at {url} is not asked: nothing leaves this machine"),
        format!(
            "le répondeur à l'adresse {url} n'est pas interrogé : rien ne quitte cette machine"
        ),
    )
}

/// The number, as the simulated session has it.
fn number_of(number: &WabaInstance, session: &Session) -> WabaInstance {
    let mut copy = number.clone();
    let secret = session.webhook_secret.clone().into();
    copy.wasender = WasenderAccount {
        instance_id: Some(session.id.to_string()),
        session_key: Some(session.api_key.clone().into()),
        webhook_secrets: vec![WebhookSecret { secret, until: None, is_sessions: true }],
        token: None,
    };
    copy
}

/// Whether this address is on this machine.
fn is_here(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(it)) => it.is_loopback(),
        Some(Host::Ipv6(it)) => it.is_loopback(),
        None => false,
    }
}
