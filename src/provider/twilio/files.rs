//! A customer's file (`docs/wire/meta-unipile-twilio.md` E2): the address in the webhook wants the
//! account's token and leads on to where the file is, which wants none.

use std::time::Duration;

use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, LOCATION},
};
use url::Url;

use super::{API_HOST, Twilio, headers};
use crate::{
    domain::{message::Media, waba::WabaInstance},
    http::{Download, HttpError, Request, Trust},
    provider::OpenFault,
};

/// For one file, from the connection to its last byte.
const FETCH_WITHIN: Duration = Duration::from_mins(5);
/// Times that one is led on.
const STEPS_MAX: usize = 4;

impl Twilio {
    pub(super) async fn open_file(
        &self,
        instance: &WabaInstance,
        file: &Media,
    ) -> Result<Download, OpenFault> {
        let account = Self::account(instance).ok_or(OpenFault::NoAnswer)?;
        let url = file.url.as_deref().and_then(|it| Url::parse(it).ok());
        let mut url = url.ok_or(OpenFault::Gone)?;
        for n in 0..STEPS_MAX {
            // The token is for Twilio alone, and only the first address is Twilio's own.
            let is_own = n == 0 && self.is_own(&url);
            if n == 0 && !is_own {
                return Err(OpenFault::Forbidden);
            }
            let headers = if is_own {
                headers(&account).map_err(|_| OpenFault::NoAnswer)?
            } else {
                HeaderMap::new()
            };
            let request = Request {
                method: Method::GET,
                url: &url,
                trust: if is_own { Trust::Operator } else { Trust::Vendor },
                headers,
                body: None,
                timeout: FETCH_WITHIN,
            };
            let download = self.http.download(request).await.map_err(|error| match error {
                HttpError::Forbidden => OpenFault::Forbidden,
                _ => OpenFault::NoAnswer,
            })?;
            let status = download.status();
            if !status.is_redirection() {
                return fault(status).map_or(Ok(download), Err);
            }
            let place = download.header(LOCATION.as_str()).and_then(|it| url.join(it).ok());
            url = place.ok_or(OpenFault::Gone)?;
        }
        Err(OpenFault::Gone)
    }

    fn is_own(&self, url: &Url) -> bool {
        let is_same = url.host() == self.base.host()
            && url.port_or_known_default() == self.base.port_or_known_default()
            && url.scheme() == self.base.scheme();
        let host = url.host_str().unwrap_or_default();
        let is_of_twilio = self.base.host_str() == Some(API_HOST)
            && url.scheme() == "https"
            && host.ends_with(".twilio.com");
        is_same || is_of_twilio
    }
}

fn fault(status: StatusCode) -> Option<OpenFault> {
    match status {
        it if it.is_success() => None,
        StatusCode::NOT_FOUND | StatusCode::GONE => Some(OpenFault::Gone),
        _ => Some(OpenFault::NoAnswer),
    }
}
