//! What a number's token does beside sending: read marks, typing, how the number is, and where its
//! webhooks go (`docs/wire/meta-unipile-twilio.md` A9, B2, B6).

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Account, Meta,
    answer::Fault,
    classes::{Class, class},
    wire::{each, text},
};
use crate::{
    domain::{
        delivery::{Reason, Refusal},
        event::Connection,
        phone::PhoneNumber,
        secret::{ExposeSecret, SecretString},
        waba::WabaInstance,
    },
    http::{HttpError, Reply},
    provider::{Health, HookFault, HookSet, NewHook, NoAnswer, Received},
};

/// What a number is asked for (B6).
const FIELDS: &str = "display_phone_number,verified_name,quality_rating,platform_type,\
    throughput,status,code_verification_status";
/// The longest callback URL (A9).
const CALLBACK_CHARS_MAX: usize = 200;
/// What is told when other apps may be all that is subscribed.
const APP_NOT_KNOWN: &str = "Meta does not tell which app the token is of: whether this one is \
    subscribed to the account is not known, only that some app is. See to it in the app's dashboard";
/// The callback did not answer the handshake.
const NOT_VERIFIED: u64 = 2_200;

impl Meta {
    /// Marks a message as read; with `is_typing` the customer sees that an answer is written, too,
    /// for up to 25 s.
    pub(super) async fn mark(
        &self,
        instance: &WabaInstance,
        message: &Received<'_>,
        is_typing: bool,
    ) -> Result<(), NoAnswer> {
        // Of whoever has written nothing yet, nothing can be marked.
        if message.id.is_empty() {
            return Ok(());
        }
        let account = Account::of(instance).ok_or(NoAnswer)?;
        let mut body = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": message.id,
        });
        if is_typing {
            body["typing_indicator"] = json!({ "type": "text" });
        }
        let url = self.url(&[account.id, "messages"]);
        let reply = self.call(Method::POST, &url, account.token, Some(&body)).await;
        reply.ok().filter(|it| it.status.is_success()).map(drop).ok_or(NoAnswer)
    }

    /// The number that has this id, told to whoever may send from it.
    ///
    /// # Errors
    ///
    /// Meta does not tell it.
    pub async fn number_of(&self, id: &str, token: &SecretString) -> Result<PhoneNumber, NoAnswer> {
        let mut url = self.url(&[id]);
        url.query_pairs_mut().append_pair("fields", "display_phone_number");
        let reply = self.call(Method::GET, &url, token, None).await.map_err(|_| NoAnswer)?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        number(&body).filter(|_| reply.status.is_success()).ok_or(NoAnswer)
    }

    pub(super) async fn ask_health(&self, instance: &WabaInstance) -> Result<Health, NoAnswer> {
        let account = Account::of(instance).ok_or(NoAnswer)?;
        let mut url = self.url(&[account.id]);
        url.query_pairs_mut().append_pair("fields", FIELDS);
        let reply =
            self.call(Method::GET, &url, account.token, None).await.map_err(|_| NoAnswer)?;
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if reply.status.is_success() && body.is_object() {
            let mut health = health(&body);
            if let Some(waba) = account.whole.waba_id.as_deref() {
                let word = match self.is_subscribed(&account, waba).await {
                    Ok(Some(true)) => "subscribed",
                    Ok(Some(false)) => "not subscribed",
                    Ok(None) | Err(_) => "not known",
                };
                health.details.push(("webhooks", word.to_owned()));
            }
            return Ok(health);
        }
        let fault = Fault::read(&body).ok_or(NoAnswer)?;
        if !fault.is_of_credentials() {
            return Err(NoAnswer);
        }
        // It needs a person, as a session that was logged out does.
        Ok(Health {
            connection: Some(Connection::Disconnected),
            phone_number: None,
            details: vec![("error", format!("Meta refuses the token ({})", fault.code))],
        })
    }

    /// Subscribes the app to the account and sets the number's own callback, which Meta asks for
    /// the verify token at once (A1, A9).
    pub(super) async fn enter_webhook(
        &self,
        instance: &WabaInstance,
        hook: &NewHook<'_>,
    ) -> Result<HookSet, HookFault> {
        let account = Account::of(instance).ok_or(HookFault::Missing("meta.accessToken"))?;
        let verify_token = account.whole.verify_token.as_ref();
        let verify_token = verify_token.ok_or(HookFault::Missing("meta.verifyToken"))?;
        if account.whole.app_secret.is_none() {
            return Err(HookFault::Missing("meta.appSecret"));
        }
        let waba = account.whole.waba_id.as_deref().ok_or(HookFault::Missing("meta.wabaId"))?;
        if hook.url.as_str().chars().count() > CALLBACK_CHARS_MAX {
            let why = format!("a callback has at most {CALLBACK_CHARS_MAX} characters");
            return Err(HookFault::Refused(why));
        }
        self.check_callback(&account, hook).await?;
        let doubt = self.subscribe(&account, waba).await?;
        let body = json!({ "webhook_configuration": {
            "override_callback_uri": hook.url.as_str(),
            "verify_token": verify_token.expose_secret(),
        } });
        self.ask_for(Method::POST, &[account.id], &account, Some(&body)).await?;
        let warning = "fields of templates and of the account always go to the app's own callback";
        let warnings = std::iter::once(warning).chain(doubt).map(str::to_owned).collect();
        Ok(HookSet { warnings, ..HookSet::default() })
    }

    /// Whether the number's callback leads somewhere else.
    async fn check_callback(
        &self,
        account: &Account<'_>,
        hook: &NewHook<'_>,
    ) -> Result<(), HookFault> {
        let mut url = self.url(&[account.id]);
        url.query_pairs_mut().append_pair("fields", "webhook_configuration");
        let reply = self.call(Method::GET, &url, account.token, None).await;
        let body = answered(reply)?;
        let present = text(&body["webhook_configuration"]["phone_number"]);
        match present.filter(|it| *it != hook.url.as_str()) {
            Some(url) if !hook.replace => Err(HookFault::Elsewhere { url: url.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Lets the account's webhooks flow. Told again it would lose a callback of its own, so it is
    /// only told where they do not. What is in doubt afterwards.
    async fn subscribe(
        &self,
        account: &Account<'_>,
        waba: &str,
    ) -> Result<Option<&'static str>, HookFault> {
        match self.is_subscribed(account, waba).await? {
            Some(true) => Ok(None),
            None => Ok(Some(APP_NOT_KNOWN)),
            Some(false) => {
                let path = [waba, "subscribed_apps"];
                self.ask_for(Method::POST, &path, account, Some(&json!({}))).await.map(|_| None)
            }
        }
    }

    /// Whether the account's webhooks flow to the app that the token is of: those of others say
    /// nothing of it. `None`: some app's do, and Meta does not tell which is this one.
    async fn is_subscribed(
        &self,
        account: &Account<'_>,
        waba: &str,
    ) -> Result<Option<bool>, HookFault> {
        let found = self.ask_for(Method::GET, &[waba, "subscribed_apps"], account, None).await?;
        let apps = each(&found["data"]);
        if apps.is_empty() {
            return Ok(Some(false));
        }
        let own = self.app(account).await?;
        let mut ids = apps.iter().filter_map(|it| id_of(&it["whatsapp_business_api_data"]));
        Ok(own.map(|own| ids.any(|it| it == own)))
    }

    /// The app that the token is of; `None` where Meta does not tell it to this token.
    async fn app(&self, account: &Account<'_>) -> Result<Option<String>, HookFault> {
        match self.ask_for(Method::GET, &["app"], account, None).await {
            Ok(app) => Ok(id_of(&app)),
            Err(HookFault::NoAnswer) => Err(HookFault::NoAnswer),
            Err(_) => Ok(None),
        }
    }

    async fn ask_for(
        &self,
        method: Method,
        path: &[&str],
        account: &Account<'_>,
        body: Option<&Value>,
    ) -> Result<Value, HookFault> {
        answered(self.call(method, &self.url(path), account.token, body).await)
    }
}

fn answered(reply: Result<Reply, HttpError>) -> Result<Value, HookFault> {
    let reply = reply.map_err(|_| HookFault::NoAnswer)?;
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status.is_success() && body.is_object() {
        return Ok(body);
    }
    let fault = Fault::read(&body).ok_or(HookFault::NoAnswer)?;
    Err(match class(fault.code) {
        _ if fault.code == NOT_VERIFIED => {
            HookFault::Refused("the callback did not answer Meta's handshake".to_owned())
        }
        _ if fault.is_of_credentials() => HookFault::Unauthorized,
        Some(Class::Later(_) | Class::Trouble | Class::Ambiguous) => HookFault::NoAnswer,
        // Its words may quote what they were told.
        _ => HookFault::Refused(format!("error {}", fault.code)),
    })
}

/// Written as text, or as a number.
fn id_of(it: &Value) -> Option<String> {
    let id = &it["id"];
    text(id).map(str::to_owned).or_else(|| id.as_u64().map(|it| it.to_string()))
}

impl Fault {
    /// The token, or what it is for.
    fn is_of_credentials(&self) -> bool {
        let refused = Class::Refused(Refusal::FailOver(Reason::Unauthorized));
        class(self.code) == Some(refused) || self.is_no_such_object()
    }
}

fn health(body: &Value) -> Health {
    let details = [
        ("verifiedName", &body["verified_name"]),
        ("status", &body["status"]),
        ("qualityRating", &body["quality_rating"]),
        ("platformType", &body["platform_type"]),
        ("throughput", &body["throughput"]["level"]),
        ("codeVerificationStatus", &body["code_verification_status"]),
    ];
    let details = details.into_iter().filter_map(|it| Some((it.0, text(it.1)?.to_owned())));
    Health {
        // A number that answers and says nothing of its state is there.
        connection: text(&body["status"]).map_or(Some(Connection::Connected), state),
        phone_number: number(body),
        details: details.collect(),
    }
}

/// Shown as people write it, its country code included.
fn number(body: &Value) -> Option<PhoneNumber> {
    let shown = text(&body["display_phone_number"])?;
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    PhoneNumber::from_wire(&digits).ok()
}

fn state(word: &str) -> Option<Connection> {
    Some(match word {
        "CONNECTED" | "FLAGGED" => Connection::Connected,
        "PENDING" | "MIGRATED" | "UNVERIFIED" => Connection::Pending,
        "DISCONNECTED" | "DELETED" => Connection::Disconnected,
        "BANNED" | "RESTRICTED" | "RATE_LIMITED" => Connection::Error,
        _ => return None,
    })
}
