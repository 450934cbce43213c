//! Everything that is served: routes, queries, headers and bodies, webhooks and callers with a key.

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use tokio::runtime::Runtime;
use tower::ServiceExt;
use waba_gateway::{
    app::Data,
    config::Config,
    domain::{id::VendorId, phone::PhoneNumber, waba::SignatureSchemes},
    gateway::{AccountsChange, Gateway, NewInstance, VendorChange},
    telemetry,
    web::Web,
};

/// What the kept inputs name.
pub const ADMIN_KEY: &str = "an-admin-key-of-at-least-32-characters";
pub const SECRET: &str = "the-secret-of-the-session";
const ENCRYPTION_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// A caller may ask ten times a second: the counts are begun anew before that.
const PER_ROUTER: usize = 8;

/// A gateway that works on nothing, with one vendor.
pub(super) struct Served {
    pub(super) runtime: Runtime,
    pub(super) gateway: Gateway,
    pub(super) data: Data,
    pub(super) directory: tempfile::TempDir,
}

impl Served {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config::from_lookup(|name| match name {
            "DATA_DIR" => Some(directory.path().display().to_string()),
            "ENCRYPTION_KEY" => Some(ENCRYPTION_KEY.to_owned()),
            "ADMIN_API_KEY" => Some(ADMIN_KEY.to_owned()),
            "WASENDER_API_URL" => Some("http://127.0.0.1:9/api".to_owned()),
            "MIN_FREE_DISK" => Some("0".to_owned()),
            _ => None,
        });
        let config = config.expect("a configuration");
        let (data, gateway) = runtime.block_on(async {
            let data = Data::open_to_write(&config).await.expect("data");
            let gateway = data.gateway(&config).expect("a gateway");
            set_up(&gateway).await;
            (data, gateway)
        });
        Self { runtime, gateway, data, directory }
    }
}

async fn set_up(gateway: &Gateway) {
    gateway.adopt_admin_key(&ADMIN_KEY.to_owned().into()).await.expect("a key");
    let id = VendorId::parse("v").expect("an id");
    gateway.put_vendor(&id, VendorChange::default()).await.expect("a vendor");
    let new = NewInstance {
        phone_number: PhoneNumber::from_wire("+221770000001").expect("a number"),
        wasender_instance_id: Some("77".to_owned()),
        session_key: Some("the-key-of-the-session".to_owned().into()),
        webhook_secret: Some(SECRET.to_owned().into()),
        token: None,
        account_protection: false,
        schemes: SignatureSchemes::default(),
        accounts: AccountsChange::default(),
    };
    gateway.create_instance(&id, new).await.expect("an instance");
}

fn router(served: &Served) -> Router {
    static ROUTER: Mutex<Option<Router>> = Mutex::new(None);
    static N_ASKED: AtomicUsize = AtomicUsize::new(0);
    let mut router = ROUTER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if N_ASKED.fetch_add(1, Ordering::Relaxed).is_multiple_of(PER_ROUTER) {
        *router = None;
    }
    let new = || {
        let metrics = telemetry::start_metrics().expect("metrics");
        Web::new(served.gateway.clone(), metrics, 64 * 1024).router()
    };
    router.get_or_insert_with(new).clone()
}

/// `METHOD PATH`, headers one a line, an empty line, the body.
fn read(data: &[u8]) -> Option<Request<Body>> {
    let at = data.windows(2).position(|it| it == b"\n\n")?;
    let (head, body) = (str::from_utf8(&data[..at]).ok()?, &data[at + 2..]);
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method.parse::<Method>().ok()?).uri(path);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

/// One request, answered.
pub fn request(data: &[u8]) {
    static SERVED: OnceLock<Served> = OnceLock::new();
    let Some(request) = read(data) else { return };
    let path = request.uri().path().to_owned();
    // This one calls a vendor's back end at once.
    if path.ends_with("/forwards/test") {
        return;
    }
    answer(SERVED.get_or_init(Served::start), request);
}

/// What a request is answered with, which is never a fault of ours.
pub(super) fn answer(served: &Served, request: Request<Body>) -> (StatusCode, String) {
    let (status, text) = served.runtime.block_on(async {
        let answer = router(served).oneshot(request).await.expect("an answer");
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
        (status, String::from_utf8_lossy(&body).into_owned())
    });
    // A panic, or a fault of ours.
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    if status.is_client_error() || status.is_server_error() {
        assert!(text.starts_with(r#"{"error":"#), "{status}: {text}");
        assert!(!text.contains(ADMIN_KEY) && !text.contains(SECRET), "{text}");
    }
    (status, text)
}
