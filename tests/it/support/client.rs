//! HTTP as a caller speaks it.

use serde_json::Value;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests are callers from outside")]
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().no_gzip().build().unwrap()
}

impl Client {
    pub fn new(base: &str, key: &str) -> Self {
        Self { http: http(), base: base.to_owned(), key: key.to_owned() }
    }

    /// The same, with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// The value of the authorization header.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body), &[]).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, Some(body), &[]).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None, &[]).await
    }

    pub async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bearer = self.bearer();
        let mut all =
            vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        all.extend(headers);
        let body = body.map(|it| it.to_string().into_bytes()).unwrap_or_default();
        self.raw(method, &format!("{}{path}", self.base), &all, body).await
    }

    /// The status, or `None` when there was no answer.
    pub async fn try_post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<u16> {
        let mut request = self.http.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Some(request.send().await.ok()?.status().as_u16())
    }

    pub async fn raw(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        self.try_raw(method, url, headers, body).await.unwrap()
    }

    /// `None` when there was no answer.
    pub async fn try_raw(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let mut request = self.http.request(method.parse().unwrap(), url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await.ok()?.to_vec();
        Some(Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned(), bytes })
    }
}
