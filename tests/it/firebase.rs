//! Firebase ID tokens as bearers, proven by the keys of a local issuer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use waba_gateway::{
    app::loopback,
    domain::clock::{Clock, HOUR, MINUTE},
};

use crate::support::{Answer, Options, TestApp, spawn_app_with};

const PROJECT: &str = "shops-of-dakar";
const NOW: i64 = 1_800_000_000;

/// Publishes its keys as Google does, and signs tokens.
#[derive(Clone)]
struct Issuer {
    keys: Arc<Vec<(String, EncodingKey, Jwk)>>,
    n_published: Arc<AtomicUsize>,
    n_asked: Arc<AtomicUsize>,
    is_away: Arc<AtomicBool>,
}

impl Issuer {
    async fn start() -> (Self, String) {
        let key = |id: &str| {
            let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
            let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
            let encoding = pkcs1_of(der.as_ref());
            let public = pair.public_key();
            let part = |it: &[u8]| URL_SAFE_NO_PAD.encode(it);
            let jwk = json!({
                "kty": "RSA", "alg": "RS256", "use": "sig", "kid": id,
                "n": part(public.modulus().big_endian_without_leading_zero()),
                "e": part(public.exponent().big_endian_without_leading_zero()),
            });
            (id.to_owned(), encoding, serde_json::from_value(jwk).unwrap())
        };
        let issuer = Self {
            keys: Arc::new(vec![key("one"), key("two")]),
            n_published: Arc::new(AtomicUsize::new(1)),
            n_asked: Arc::default(),
            is_away: Arc::default(),
        };
        let listener = loopback().await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let routes = Router::new().route("/keys", get(publish)).with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (issuer, url)
    }

    fn sign(&self, n: usize, claims: &Value) -> String {
        let (id, key, _) = &self.keys[n];
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, key).unwrap()
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(Ordering::SeqCst)
    }
}

/// RSA private keys go into tokens in the older of the two forms, which is inside the newer one.
fn pkcs1_of(pkcs8: &[u8]) -> EncodingKey {
    // Version, algorithm, then the key as an octet string of known length.
    let at = pkcs8.windows(4).position(|it| it[0] == 0x04 && it[1] == 0x82).unwrap();
    EncodingKey::from_rsa_der(&pkcs8[at + 4..])
}

async fn publish(State(issuer): State<Issuer>) -> impl IntoResponse {
    issuer.n_asked.fetch_add(1, Ordering::SeqCst);
    if issuer.is_away.load(Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let n = issuer.n_published.load(Ordering::SeqCst);
    let keys: Vec<&Jwk> = issuer.keys[..n].iter().map(|it| &it.2).collect();
    ([("cache-control", "public, max-age=3600")], axum::Json(json!({ "keys": keys })))
        .into_response()
}

fn claims(uid: &str) -> Value {
    json!({
        "iss": format!("https://securetoken.google.com/{PROJECT}"), "aud": PROJECT, "sub": uid,
        "iat": NOW - 60, "auth_time": NOW - 60, "exp": NOW + 3_540,
    })
}

fn but(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

async fn start() -> (TestApp, Issuer, Clock) {
    let (issuer, url) = Issuer::start().await;
    let clock = Clock::fixed(NOW * 1_000);
    let variables = vec![("FIREBASE_PROJECT_ID", PROJECT.to_owned()), ("FIREBASE_KEYS_URL", url)];
    (
        spawn_app_with(Options { clock: clock.clone(), variables, ..Options::default() }).await,
        issuer,
        clock,
    )
}

async fn asks(app: &TestApp, token: &str, path: &str) -> Answer {
    app.admin.with_key(token).get(path).await
}

#[tokio::test]
async fn an_admin_by_role_and_a_vendor_by_id_may_call_with_their_id_token() {
    let (app, issuer, _) = start().await;
    let (own, other) = (app.vendor(1).await, app.vendor(2).await);
    let [own, other] = [own, other].map(|it| format!("/api/admin/vendors/{}", it.id));
    for role in ["admin", "super_admin"] {
        let token = issuer.sign(0, &but(claims("AbC123"), "role", json!(role)));
        assert_eq!(asks(&app, &token, "/api/admin/keys").await.status, 200);
        assert_eq!(asks(&app, &token, &other).await.status, 200);
    }
    let token = issuer.sign(0, &claims("vendor_001"));
    let of = async |path: &str| asks(&app, &token, path).await.status;
    assert_eq!((of(&own).await, of(&other).await, of("/api/admin/keys").await), (200, 403, 403));
    let stranger = issuer.sign(0, &but(claims("someone"), "role", json!("editor")));
    assert_eq!(asks(&app, &stranger, &own).await.status, 403);
    assert_eq!(issuer.n_asked(), 1, "the keys are remembered");
    let pause = app.admin.with_key(&token).post(&format!("{own}/signing-secret"), json!({})).await;
    assert_eq!(pause.status, 200);
    let changes = app.admin.get("/api/admin/audit").await.json();
    assert_eq!(changes["changes"][0]["by"], "firebase:vendor_001");
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_refused_as_no_key_is() {
    let (app, issuer, clock) = start().await;
    let admin = but(claims("boss"), "role", json!("admin"));
    let good = issuer.sign(0, &admin);
    let none = asks(&app, "wgk_none", "/api/admin/keys").await;
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let part = |it: Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let unsigned = part(json!({ "alg": "none", "kid": "one" }));
    let symmetric = part(json!({ "alg": "HS256", "kid": "one" }));
    let other_body = part(but(admin.clone(), "sub", json!("x")));
    let bad = [
        issuer.sign(0, &but(admin.clone(), "aud", json!("another-project"))),
        issuer.sign(0, &but(admin.clone(), "iss", json!("https://securetoken.google.com/x"))),
        issuer.sign(0, &but(admin.clone(), "exp", json!(NOW - 61))),
        issuer.sign(0, &but(admin.clone(), "iat", json!(NOW + 120))),
        issuer.sign(0, &but(admin.clone(), "auth_time", json!(NOW + 120))),
        issuer.sign(0, &but(admin.clone(), "sub", json!(""))),
        issuer.sign(0, &but(admin.clone(), "sub", json!("u".repeat(129)))),
        // Not published.
        issuer.sign(1, &admin),
        format!("{head}.{other_body}.{signature}"),
        format!("{head}.{body}."),
        format!("{unsigned}.{body}."),
        format!("{symmetric}.{body}.{signature}"),
        format!("{head}.{body}.{signature}x"),
        "ey.ey.ey".to_owned(),
        format!("ey{}.a.b", "x".repeat(9_000)),
    ];
    for token in &bad {
        let refused = asks(&app, token, "/api/admin/keys").await;
        assert_eq!((refused.status, &refused.text), (401, &none.text));
    }
    assert!(issuer.n_asked() <= 2, "made-up key ids do not make us ask each time");
    assert_eq!(asks(&app, &good, "/api/admin/keys").await.status, 200);
    clock.advance(HOUR);
    assert_eq!(asks(&app, &good, "/api/admin/keys").await.status, 401, "it has ended");
}

#[tokio::test]
async fn google_renews_its_keys_and_may_be_away() {
    let (app, issuer, clock) = start().await;
    let admin = |now: i64| {
        let claims = but(claims("boss"), "role", json!("admin"));
        but(but(claims, "exp", json!(now + 3_600)), "iat", json!(now))
    };
    issuer.is_away.store(true, Ordering::SeqCst);
    let token = issuer.sign(0, &admin(NOW));
    let away = asks(&app, &token, "/api/admin/keys").await;
    assert_eq!(away.status, 503, "who it is cannot be told: not 401");
    assert_eq!(asks(&app, "wgk_none", "/api/admin/keys").await.status, 401);
    assert_eq!(app.admin.get("/api/admin/keys").await.status, 200, "keys go on working");
    issuer.is_away.store(false, Ordering::SeqCst);
    clock.advance(MINUTE);
    assert_eq!(asks(&app, &token, "/api/admin/keys").await.status, 200);

    issuer.n_published.store(2, Ordering::SeqCst);
    clock.advance(MINUTE);
    let renewed = issuer.sign(1, &admin(NOW + 120));
    assert_eq!(asks(&app, &renewed, "/api/admin/keys").await.status, 200, "a key not seen before");

    issuer.is_away.store(true, Ordering::SeqCst);
    clock.advance(2 * HOUR);
    let later = issuer.sign(1, &admin(NOW + 120 + 7_200));
    assert_eq!(asks(&app, &later, "/api/admin/keys").await.status, 200, "known keys go on");
}
