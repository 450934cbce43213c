//! The bot of the first shop: what it says, and a server that says it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use serde_json::{Value, json};

pub const IMAGE: &str = "https://example.com/robe.jpg";
/// The menu: id and title.
pub const MENU: [(&str, &str); 3] =
    [("attieke", "Attiéké"), ("yassa", "Poulet yassa"), ("thieb", "Thieboudienne")];
pub const MENU_PROMPT: &str = "Que désirez-vous ?";

/// What the bot says to a message.
pub enum Saying {
    Text(String),
    /// Buttons, below this prompt.
    Menu,
    /// A picture with this caption, and this text.
    Photo(&'static str, String),
    /// A person must come.
    Human(&'static str),
    Nothing,
}

/// `kind` and `said` as the bot is told them; `option` is what was chosen.
pub fn answer(kind: &str, said: &str, option: Option<&str>) -> Saying {
    let said_small = said.to_lowercase();
    let has = |it: &str| kind == "text" && said_small.contains(it);
    if let Some(option) = option {
        Saying::Text(format!("C'est noté : {option}"))
    } else if has("menu") {
        Saying::Menu
    } else if has("catalogue") {
        Saying::Text(catalogue())
    } else if has("photo") {
        Saying::Photo("la robe bleue", format!("Voici pour « {said} »"))
    } else if has("un conseiller") {
        Saying::Human("Un conseiller arrive")
    } else if has("chut") {
        Saying::Nothing
    } else {
        Saying::Text(format!("Reçu ({kind}) : {said}"))
    }
}

/// Nine thousand characters in words of one length.
pub fn catalogue() -> String {
    (0..1_125).map(|it| format!("mot{it:04}")).collect::<Vec<_>>().join(" ")
}

/// A call as it came, and what it was answered; none: it was never answered.
#[derive(Clone)]
pub struct Asked {
    pub headers: HeaderMap,
    pub bytes: Bytes,
    pub status: Option<u16>,
}

impl Asked {
    /// The message's id.
    pub fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }

    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

#[derive(Clone)]
pub struct Bot {
    pub url: String,
    state: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    asked: Mutex<Vec<Asked>>,
    fails: AtomicBool,
    /// It thinks about some messages for ever.
    is_slow: AtomicBool,
}

impl Bot {
    pub async fn start() -> Self {
        let state = Arc::<Inner>::default();
        let router = Router::new().route("/bot", post(receive)).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/bot", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        state.is_slow.store(true, Ordering::Relaxed);
        Self { url, state }
    }

    pub fn set_failing(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::Relaxed);
    }

    /// From now on it thinks about nothing for ever.
    pub fn hurry(&self) {
        self.state.is_slow.store(false, Ordering::Relaxed);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Calls that were never answered.
    pub fn n_thinking(&self) -> usize {
        self.asked().iter().filter(|it| it.status.is_none()).count()
    }
}

async fn receive(State(bot): State<Arc<Inner>>, headers: HeaderMap, bytes: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let thinks = text("message").starts_with("réfléchissez") && bot.is_slow.load(Ordering::Relaxed);
    let (status, answer) = if bot.fails.load(Ordering::Relaxed) {
        (500, Value::Null)
    } else {
        let option = body["optionId"].as_str();
        reply(&answer(text("type"), text("message"), option))
    };
    let answered = (!thinks).then_some(status);
    bot.asked.lock().unwrap().push(Asked { headers, bytes, status: answered });
    if thinks {
        std::future::pending::<()>().await;
    }
    let text = if answer.is_null() { String::new() } else { answer.to_string() };
    (StatusCode::from_u16(status).unwrap(), text).into_response()
}

fn reply(saying: &Saying) -> (u16, Value) {
    match saying {
        Saying::Text(text) => (200, json!({ "message": text })),
        Saying::Menu => {
            let buttons: Vec<_> =
                MENU.iter().map(|(id, title)| json!({ "id": id, "title": title })).collect();
            (200, json!({ "message": MENU_PROMPT, "type": "buttons", "buttons": buttons }))
        }
        Saying::Photo(caption, text) => {
            (200, json!({ "message": text, "images": [{ "url": IMAGE, "caption": caption }] }))
        }
        Saying::Human(text) => (200, json!({ "message": text, "requiresHuman": true })),
        Saying::Nothing => (204, Value::Null),
    }
}
