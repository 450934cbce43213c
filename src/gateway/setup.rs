//! Setting up a vendor's webhook at Wasender, with every safety of `docs/CONTRACT.md` §1: nothing
//! of a session that is in use elsewhere is taken over unasked.

use url::{Host, Url};

use super::{AdminError, Gateway, instances::refuse_shared_secret};
use crate::{
    domain::{
        alert::Vitals,
        clock::Millis,
        event::Connection,
        id::{InstanceId, VendorId},
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        waba::{OLD_SECRET_LASTS, ProviderKind, WabaInstance},
    },
    http::{Reach, reach},
    provider::{
        HookFault,
        wasender::{Session, SessionFault},
    },
};

/// What the gateway needs to hear. Received and upsert name the same messages, which dedupe joins;
/// only upsert tells of messages typed on the phone.
pub const WEBHOOK_EVENTS: [&str; 7] = [
    "messages.received",
    "messages.upsert",
    "message.sent",
    "messages.update",
    "messages.reaction",
    "messages.delete",
    "session.status",
];

/// What to set up; what is absent is as stored.
#[derive(Default)]
pub struct SetUp {
    /// The instance; without it, the one that has the session, else the vendor's first.
    pub instance: Option<InstanceId>,
    /// The session's number at Wasender.
    pub wasender_instance_id: Option<String>,
    /// The number messages leave from, as somebody typed it.
    pub phone_number: Option<String>,
    /// A secret that webhooks may be proven by.
    pub webhook_secret: Option<SecretString>,
    /// Take over a session whose webhooks go elsewhere.
    pub replace: bool,
    /// It is asked for beside a server that may be running, for many: what leads here already is
    /// left alone, and nothing is written to the journal, which is the server's.
    pub beside_server: bool,
}

/// What was set up.
#[derive(Debug)]
pub struct SetUpDone {
    /// Where the session's webhooks go now.
    pub webhook_url: String,
    /// What Wasender, or the session's state, gives cause to say.
    pub warnings: Vec<String>,
    /// They went there before, and nothing was changed at Wasender.
    pub was_done: bool,
    /// Something was kept here, too.
    pub is_kept: bool,
}

/// Why it was not set up. Each names what to do.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A provider besides Wasender did not do it.
    #[error("{0}: {1}")]
    Hook(ProviderKind, HookFault),
    /// What every admin request can meet.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Wasender, or the token.
    #[error(transparent)]
    Session(#[from] SessionFault),
    /// The provider cannot call us there.
    #[error("APP_BASE_URL is {1}, which {0} cannot reach: it needs https and a public host name")]
    BaseUrl(ProviderKind, String),
    /// The session's webhooks go elsewhere.
    #[error("the session's webhooks go to {0}; repeat with \"replace\": true to take them over")]
    Foreign(String),
    /// The session is another number's.
    #[error("the session at Wasender belongs to another phone number than this instance")]
    OtherNumber,
    /// The session of an instance that is to be deleted would go on calling us.
    #[error(
        "the session's webhook could not be switched off ({0}): repeat, or delete with ?force=true and switch it off in the Wasender dashboard"
    )]
    StillOn(#[source] SessionFault),
    /// Wasender said yes and did something else.
    #[error("Wasender did not keep the webhook's {0}")]
    NotKept(&'static str),
    /// What is ours was kept, and the rest failed.
    #[error(transparent)]
    Partly(Box<SetUpError>),
}

impl SetUpError {
    /// It failed after something was kept.
    pub(super) fn partly(self) -> Self {
        Self::Partly(Box::new(self))
    }
}

/// An instance and what its provider says of it now.
pub struct StatusOfInstance {
    /// The instance.
    pub instance: WabaInstance,
    /// What the provider says; `None` when it could not be asked.
    pub live: Option<Connection>,
    /// What was heard of the vendor's callers.
    pub vitals: Vitals,
}

impl Gateway {
    /// Points the session of a vendor's instance at this gateway.
    pub async fn set_up_webhook(
        &self,
        vendor: &VendorId,
        set_up: SetUp,
    ) -> Result<SetUpDone, SetUpError> {
        let _turn = self.turn_of(vendor).await;
        let present = self.instances(vendor).await?;
        let before = choose(&present, &set_up)?;
        let mut instance = before.clone();
        overwrite(&mut instance, &set_up, &present, self.inner.clock.now())?;
        self.refuse_claimed(Some(before), &instance).await?;
        let url = self.reached_url(vendor)?;
        let wasender = self.inner.providers.wasender();
        let session = wasender.session(&instance).await?;
        let mut warnings = Vec::new();
        check(&instance, &session, &url, set_up.replace, &mut warnings)?;
        let is_changed = self.adopt(&mut instance, &session, &present)?;
        let events = united(&session.webhook_events);
        if set_up.beside_server && read_back(&session, &url, &events).is_ok() {
            if is_changed {
                self.keep(Some(before), &instance).await?;
            }
            let webhook_url = url.into();
            let warnings = Vec::new();
            return Ok(SetUpDone { webhook_url, warnings, was_done: true, is_kept: is_changed });
        }
        // Before Wasender is told: a webhook may come the moment after.
        self.keep(Some(before), &instance).await?;
        let told = self.point(instance, &present, &url, &events, set_up.beside_server).await;
        warnings.extend(told.map_err(SetUpError::partly)?);
        Ok(SetUpDone { webhook_url: url.into(), warnings, was_done: false, is_kept: true })
    }

    /// Points the session of an instance that is kept here, and keeps what it says then.
    async fn point(
        &self,
        mut instance: WabaInstance,
        present: &[WabaInstance],
        url: &Url,
        events: &[String],
        beside_server: bool,
    ) -> Result<Vec<String>, SetUpError> {
        let (wasender, vendor) = (self.inner.providers.wasender(), instance.vendor_id.clone());
        let mut warnings = Vec::from_iter(wasender.set_webhook(&instance, url, events).await?);
        let session = wasender.session(&instance).await?;
        read_back(&session, url, events)?;
        // The secret may have been made by this very change.
        if self.adopt(&mut instance, &session, present)? {
            let kept = self.instance(&vendor, &instance.id).await?;
            instance = kept.clone();
            self.adopt(&mut instance, &session, present)?;
            self.keep(Some(&kept), &instance).await?;
        }
        // The server tells the vendor's back end of a state that is news; so it must find it out.
        let is_servers = beside_server && self.vendor(&vendor).await?.forward_url.is_some();
        if !is_servers {
            self.note_state(&vendor, &instance.id, session.status).await?;
        }
        warnings.extend(remarks(&instance, &session));
        Ok(warnings)
    }

    /// A vendor's first instance and the state of its session now.
    pub async fn instance_status(&self, vendor: &VendorId) -> Result<StatusOfInstance, AdminError> {
        let present = self.instances(vendor).await?;
        let instance = present.into_iter().next().ok_or(AdminError::NoInstance)?;
        let live = self.inner.providers.of(instance.provider).health(&instance).await;
        let live = live.ok().and_then(|it| it.connection);
        if live.is_some() {
            self.note_state(vendor, &instance.id, live).await?;
        }
        let instance = self.instance(vendor, &instance.id).await?;
        let vitals = self.vitals(vendor).await?;
        Ok(StatusOfInstance { instance, live, vitals })
    }

    /// Keeps what the provider says of the session, and tells of it when it is news.
    pub(super) async fn note_state(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
        state: Option<Connection>,
    ) -> Result<(), AdminError> {
        let now = self.inner.clock.now();
        let is_news = self.inner.store.set_status(id, state, now).await?;
        self.inner.registry.forget(vendor).await;
        if let Some(state) = state.filter(|_| is_news) {
            self.found_connection(vendor, id, state).await;
        }
        Ok(())
    }

    fn reached_url(&self, vendor: &VendorId) -> Result<Url, SetUpError> {
        let settings = &self.inner.settings;
        let base = &settings.base_url;
        if !can_reach(&settings.wasender_url, base) {
            return Err(SetUpError::BaseUrl(ProviderKind::Wasender, base.to_string()));
        }
        Ok(webhook_url(base, vendor))
    }

    /// Takes over what only the session knows: its secret, beside those we have, and its key.
    fn adopt(
        &self,
        instance: &mut WabaInstance,
        session: &Session,
        present: &[WabaInstance],
    ) -> Result<bool, AdminError> {
        let mut is_changed = false;
        if let Some(secret) = &session.webhook_secret {
            refuse_shared_secret(present, Some(&instance.id), secret)?;
            let until = self.inner.clock.now() + OLD_SECRET_LASTS;
            is_changed |= instance.wasender.keep_session_secret(secret, until);
        }
        if let Some(key) = &session.api_key {
            let known = instance.wasender.session_key.as_ref();
            if known.is_none_or(|it| it.expose_secret() != key.expose_secret()) {
                instance.wasender.session_key = Some(key.clone());
                is_changed = true;
            }
        }
        if instance.account_protection != session.account_protection {
            instance.account_protection = session.account_protection;
            is_changed = true;
        }
        if is_changed {
            instance.updated_at = self.inner.clock.now();
        }
        Ok(is_changed)
    }
}

/// Whether a Wasender at this address can call us at this base: a Wasender on this machine or in
/// this network reaches us where others do not.
#[must_use]
pub fn can_reach(wasender: &Url, base: &Url) -> bool {
    is_private(wasender) || (base.scheme() == "https" && !is_private(base))
}

/// Where a vendor's webhooks of Wasender go, below this base.
#[must_use]
pub fn webhook_url(base: &Url, vendor: &VendorId) -> Url {
    webhook_url_at(base, ProviderKind::Wasender, vendor)
}

/// Where a vendor's webhooks of a provider go, below this base.
#[must_use]
pub fn webhook_url_at(base: &Url, by: ProviderKind, vendor: &VendorId) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["api", "webhooks", by.as_str(), vendor.as_str()]);
    }
    url
}

fn choose<'a>(present: &'a [WabaInstance], set_up: &SetUp) -> Result<&'a WabaInstance, AdminError> {
    if let Some(id) = &set_up.instance {
        return present.iter().find(|it| it.id == *id).ok_or(AdminError::NoInstance);
    }
    let session = set_up.wasender_instance_id.as_deref();
    let has_it = |it: &&WabaInstance| it.wasender.instance_id.as_deref() == session;
    let named = present.iter().find(|it| session.is_some() && has_it(it));
    named.or(present.first()).ok_or_else(|| {
        let why = "the vendor has no WABA instance: create one with POST …/waba-instances";
        AdminError::Invalid(why.to_owned())
    })
}

fn overwrite(
    instance: &mut WabaInstance,
    set_up: &SetUp,
    present: &[WabaInstance],
    now: Millis,
) -> Result<(), AdminError> {
    if let Some(id) = &set_up.wasender_instance_id {
        instance.wasender.instance_id = Some(id.clone());
    }
    if let Some(number) = &set_up.phone_number {
        let number = PhoneNumber::from_person(number, Some(&instance.phone_number));
        let number = number.map_err(|it| AdminError::Invalid(format!("phoneNumber: {it}")))?;
        instance.renumber(number);
    }
    if let Some(secret) = &set_up.webhook_secret {
        refuse_shared_secret(present, Some(&instance.id), secret)?;
        instance.wasender.adopt_secret(secret.clone(), now + OLD_SECRET_LASTS);
    }
    instance.updated_at = now;
    Ok(())
}

fn check(
    instance: &WabaInstance,
    session: &Session,
    url: &Url,
    replace: bool,
    warnings: &mut Vec<String>,
) -> Result<(), SetUpError> {
    match &session.phone_number {
        Some(number) if number.alias() != instance.phone_number.alias() => {
            return Err(SetUpError::OtherNumber);
        }
        Some(_) => {}
        None => warnings
            .push("Wasender does not tell the session's number; it was not compared".to_owned()),
    }
    let foreign = session.webhook_url.as_deref().filter(|it| *it != url.as_str());
    match foreign.filter(|_| session.webhook_enabled) {
        Some(foreign) if !replace => Err(SetUpError::Foreign(shown_url(foreign))),
        _ => Ok(()),
    }
}

/// A URL as it may be shown: its query and user may hold somebody's secret.
#[must_use]
pub fn shown_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "an address that is not a URL".to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    // Fails for URLs that cannot have a user, which then have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

fn united(present: &[String]) -> Vec<String> {
    let mut events = present.to_vec();
    for event in WEBHOOK_EVENTS {
        if !events.iter().any(|it| it == event) {
            events.push(event.to_owned());
        }
    }
    events
}

fn read_back(session: &Session, url: &Url, events: &[String]) -> Result<(), SetUpError> {
    if session.webhook_url.as_deref() != Some(url.as_str()) {
        return Err(SetUpError::NotKept("address"));
    }
    if !session.webhook_enabled {
        return Err(SetUpError::NotKept("activation"));
    }
    if !events.iter().all(|it| session.webhook_events.contains(it)) {
        return Err(SetUpError::NotKept("events"));
    }
    Ok(())
}

fn remarks(instance: &WabaInstance, session: &Session) -> Vec<String> {
    let mut remarks = Vec::new();
    if session.status != Some(Connection::Connected) {
        remarks.push(
            "the session is not connected: link the phone in the Wasender dashboard".to_owned(),
        );
    }
    if !session.log_messages {
        remarks.push("log_messages is off at Wasender: a send whose outcome is unknown cannot be looked up there".to_owned());
    }
    if instance.wasender.session_key.is_none() {
        remarks.push("Wasender did not tell the session's API key: messages are parked until wasenderApiKey is set".to_owned());
    }
    remarks
}

fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            name == "localhost" || name.ends_with(".localhost") || !name.contains('.')
        }
        Some(Host::Ipv4(it)) => reach(it.into()) != Reach::Public,
        Some(Host::Ipv6(it)) => reach(it.into()) != Reach::Public,
        None => true,
    }
}
