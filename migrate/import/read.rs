//! The files of `import`, read: nothing is asked or written.

// Named, because the fuzz targets have this file in another place.
#[path = "accounts.rs"]
pub mod accounts;
#[path = "hub.rs"]
pub mod hub;
#[path = "sheet.rs"]
pub mod sheet;

use std::collections::HashMap;

use url::Url;
use waba_gateway::{
    config::MetaDefaults,
    domain::{
        id::VendorId,
        phone::PhoneNumber,
        secret::SecretString,
        vendor::{Dialect, ResponseApi},
    },
    http::{Http, Trust},
};

use super::{
    plan::good::{APP_SECRET, CHATBOT_ID},
    table::Fault,
};

/// What rows are read beside.
pub struct Beside<'a> {
    pub prefix: String,
    pub meta: &'a MetaDefaults,
    pub response_api: Option<&'a str>,
    pub http: Http,
    /// Numbers that Meta has told, by their lines.
    pub asked: HashMap<usize, PhoneNumber>,
}

impl Beside<'_> {
    fn vendor(&self, column: &'static str, id: &str) -> Result<VendorId, Fault> {
        let id = VendorId::parse(&format!("{}{id}", self.prefix));
        id.map_err(|it| Fault::Bad { column, why: it.to_string() })
    }

    /// What of its own an account has not, where there is one for all.
    fn app_secret(&self, own: Option<SecretString>) -> Result<SecretString, Fault> {
        let column = APP_SECRET;
        let why = "is empty, and WHATSAPP_APP_SECRET is not set: no webhook could be proven";
        let fault = || Fault::Bad { column, why: why.to_owned() };
        own.or_else(|| self.meta.app_secret.clone()).ok_or_else(fault)
    }

    fn verify_token(&self, own: Option<SecretString>) -> Option<SecretString> {
        own.or_else(|| self.meta.verify_token.clone())
    }

    /// Whether events may be sent there, by the administration's rules.
    fn endpoint(&self, column: &'static str, url: &str) -> Result<String, Fault> {
        let bad = |why: &str| Fault::Bad { column, why: why.to_owned() };
        let parsed = Url::parse(url).ok();
        let parsed = parsed.filter(|it| matches!(it.scheme(), "https" | "http") && it.has_host());
        let parsed = parsed.ok_or_else(|| bad("is not an http or https URL"))?;
        let check = self.http.check(&parsed, Trust::Vendor);
        check.map_err(|_| bad("its address may not be reached from here (see ALLOW_TARGETS)"))?;
        Ok(url.to_owned())
    }

    fn responder(
        &self,
        chatbot_id: String,
        web_id: Option<SecretString>,
    ) -> Result<ResponseApi, Fault> {
        let column = CHATBOT_ID;
        let why = "set RESPONSE_API_BASE_URL, which is where it answers";
        let url = self.response_api.ok_or_else(|| Fault::Bad { column, why: why.to_owned() })?;
        let dialect = Dialect::Conversation { chatbot_id, web_id };
        Ok(ResponseApi { url: self.endpoint(column, url)?, headers: Vec::new(), dialect })
    }
}
