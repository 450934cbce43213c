//! Forms and their signature (`docs/wire/meta-unipile-twilio.md` E3).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use url::form_urlencoded;

/// The parameters of a form, in their order.
#[derive(Clone, Default)]
pub struct Form(pub Vec<(String, String)>);

impl Form {
    /// Reads a body; what cannot be read is left out.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// The first with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    /// In place of what is there under this name.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|it| it.0 == name) {
            Some(there) => value.clone_into(&mut there.1),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// As a body.
    #[must_use]
    pub fn body(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

/// `X-Twilio-Signature`: of the URL and of each parameter, sorted, those that are twice once.
#[must_use]
pub fn sign(token: &str, url: &str, form: &Form) -> String {
    let mut sorted = form.0.clone();
    sorted.sort();
    sorted.dedup();
    let mut mac =
        Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}
