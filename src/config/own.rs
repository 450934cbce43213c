//! The one number of a gateway that serves one vendor alone, from the variables that the callers
//! of Twilio and Meta have (`docs/CONTRACT.md` §4).

use url::Url;

use super::{META_API_URL, Vars};
use crate::domain::{
    id::VendorId,
    phone::PhoneNumber,
    secret::{ExposeSecret, SecretString},
};

/// A vendor with one number, as the environment has it.
#[derive(Clone, Debug)]
pub struct OwnNumber {
    /// Whose it is.
    pub vendor: VendorId,
    /// Whether anything is sent.
    pub is_enabled: bool,
    /// The number, where it is not asked of Meta.
    pub phone_number: Option<PhoneNumber>,
    /// Its account at Meta.
    pub meta: Option<OwnMeta>,
    /// Its sender at Twilio.
    pub twilio: Option<OwnTwilio>,
}

/// An account at Meta, as the environment has it.
#[derive(Clone, Debug)]
pub struct OwnMeta {
    /// The number's id.
    pub phone_number_id: String,
    /// The business account that it is in; its webhooks are subscribed to there.
    pub waba_id: Option<String>,
    /// What sends.
    pub access_token: SecretString,
    /// What its webhooks are signed with.
    pub app_secret: Option<SecretString>,
    /// What the handshake of its callback names.
    pub verify_token: Option<SecretString>,
}

/// A sender at Twilio, as the environment has it.
#[derive(Clone, Debug)]
pub struct OwnTwilio {
    /// The account's id.
    pub account_sid: String,
    /// What asks, sends and signs.
    pub auth_token: SecretString,
    /// The sender's number.
    pub from: PhoneNumber,
}

const ENABLED: &str = "WHATSAPP_ENABLED";
const PHONE: &str = "WHATSAPP_PHONE_NUMBER";
const PHONE_ID: &str = "WHATSAPP_PHONE_NUMBER_ID";
const WABA_ID: &str = "WHATSAPP_BUSINESS_ACCOUNT_ID";
const TOKEN: [&str; 2] = ["WHATSAPP_API_TOKEN", "WHATSAPP_ACCESS_TOKEN"];
pub(super) const APP_SECRET: [&str; 2] = ["WHATSAPP_APP_SECRET", "FACEBOOK_APP_SECRET"];
pub(super) const VERIFY_TOKEN: [&str; 2] = ["WHATSAPP_VERIFY_TOKEN", "WEBHOOK_VERIFY_TOKEN"];
const SID: &str = "TWILIO_ACCOUNT_SID";
const AUTH_TOKEN: &str = "TWILIO_AUTH_TOKEN";
const FROM: &str = "TWILIO_WHATSAPP_FROM";

impl<L: Fn(&str) -> Option<String>> Vars<'_, L> {
    /// `None` where no variable asks for it.
    pub(super) fn own_number(&mut self) -> Option<OwnNumber> {
        let switch = self.switch();
        let vendor = self.own_vendor()?;
        if switch == Some(false) {
            let (phone_number, meta, twilio) = (None, None, None);
            return Some(OwnNumber { vendor, is_enabled: false, phone_number, meta, twilio });
        }
        let meta = self.own_meta(switch.is_some());
        let twilio = self.own_twilio();
        let phone_number = self.number(PHONE);
        // Without credentials it is off, as the predecessor was, switched on or not.
        (meta.is_some() || twilio.is_some()).then_some(OwnNumber {
            vendor,
            is_enabled: true,
            phone_number,
            meta,
            twilio,
        })
    }

    /// Where Meta's API is; `WHATSAPP_API_URL` is the predecessor's name for it.
    pub(super) fn meta_url(&mut self) -> Url {
        let (new, old) = (self.url("META_API_URL"), self.url("WHATSAPP_API_URL"));
        if new.is_some() && old.is_some() && new != old {
            let why = "META_API_URL and WHATSAPP_API_URL are two addresses of one API: set one";
            self.faults.push(why.to_owned());
        }
        let default = || Url::parse(META_API_URL).expect("the constant is a URL");
        new.or(old).unwrap_or_else(default)
    }

    fn switch(&mut self) -> Option<bool> {
        let word = self.text(ENABLED)?.to_ascii_lowercase();
        match word.as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => {
                self.faults.push(format!("{ENABLED} is true or false"));
                None
            }
        }
    }

    fn own_vendor(&mut self) -> Option<VendorId> {
        let name = "DEFAULT_VENDOR_ID";
        let id = self.text(name).unwrap_or_else(|| "default".to_owned());
        let fault = |_| self.faults.push(format!("{name} is not 1 to 64 of A-Z a-z 0-9 _ -"));
        VendorId::parse(&id).map_err(fault).ok()
    }

    /// `WHATSAPP_ACCESS_TOKEN` without a number's id is nobody's in particular: it is no fault
    /// unless somebody has switched this on.
    fn own_meta(&mut self, is_asked_for: bool) -> Option<OwnMeta> {
        let (id, token) = (self.text(PHONE_ID), self.one_of(TOKEN));
        let is_meant = id.is_some()
            || self.text(TOKEN[0]).is_some()
            || (is_asked_for && self.text(SID).is_none() && token.is_some());
        if !is_meant {
            return None;
        }
        let waba_id = self.text(WABA_ID);
        for (name, it, of) in [(PHONE_ID, &id, "a number"), (WABA_ID, &waba_id, "an account")] {
            if it.as_ref().is_some_and(|it| !it.bytes().all(|it| it.is_ascii_digit())) {
                self.faults.push(format!("{name} is not the id of {of}: it has digits alone"));
            }
        }
        let (app_secret, verify_token) = (self.one_of(APP_SECRET), self.one_of(VERIFY_TOKEN));
        let is_whole =
            self.demand_all("Meta", &[(PHONE_ID, id.is_some()), (TOKEN[0], token.is_some())]);
        is_whole.then_some(())?;
        let (phone_number_id, access_token) = (id?, token?);
        Some(OwnMeta { phone_number_id, waba_id, access_token, app_secret, verify_token })
    }

    fn own_twilio(&mut self) -> Option<OwnTwilio> {
        let (sid, token) = (self.text(SID), self.secret(AUTH_TOKEN));
        let has_from = self.text(FROM).is_some();
        if sid.is_none() && token.is_none() && !has_from {
            return None;
        }
        let from = self.number(FROM);
        if sid.as_ref().is_some_and(|it| !it.starts_with("AC")) {
            self.faults.push(format!("{SID} is not the id of an account: it begins with AC"));
        }
        let all = [(SID, sid.is_some()), (AUTH_TOKEN, token.is_some()), (FROM, has_from)];
        self.demand_all("Twilio", &all).then_some(())?;
        Some(OwnTwilio { account_sid: sid?, auth_token: token?, from: from? })
    }

    /// Half of what an account needs is a mistake of somebody's.
    fn demand_all(&mut self, of: &str, all: &[(&str, bool)]) -> bool {
        let missing: Vec<_> = all.iter().filter(|it| !it.1).map(|it| it.0).collect();
        let given: Vec<_> = all.iter().filter(|it| it.1).map(|it| it.0).collect();
        if !missing.is_empty() {
            let (missing, given) = (missing.join(" and "), given.join(" and "));
            let why = format!("{missing}: is missing; {given} alone is not an account at {of}");
            self.faults.push(why);
        }
        missing.is_empty()
    }

    /// One value that goes by two names.
    fn one_of(&mut self, names: [&str; 2]) -> Option<SecretString> {
        let [new, old] = names.map(|it| self.secret(it));
        let differ = |a: &SecretString, b: &SecretString| a.expose_secret() != b.expose_secret();
        if let (Some(new), Some(old)) = (&new, &old)
            && differ(new, old)
        {
            let [new, old] = names;
            self.faults.push(format!("{new} and {old} are two names of one value, and differ"));
        }
        new.or(old)
    }

    fn number(&mut self, name: &str) -> Option<PhoneNumber> {
        let text = self.text(name)?;
        let number = PhoneNumber::from_person(text.trim_start_matches("whatsapp:"), None).ok();
        if number.is_none() {
            self.faults
                .push(format!("{name} is not a number with its country code, like +14155238886"));
        }
        number
    }
}
