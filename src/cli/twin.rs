//! `twin`: the simulated Wasender alone.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{Json, Router, extract::State, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{
    Ended,
    output::{json, line},
};
use crate::{
    domain::phone::PhoneNumber,
    twin::{Customer, NewSession, Session, Twin, twin_router},
    web,
};

pub(super) const ABOUT: &str = "\
Run a simulated Wasender alone, to develop against.

It speaks Wasender's API on the real wire, with a session for each number, and prints how to point
a gateway at it and how to write as a customer. Nothing leaves this machine. Everything is in
memory and goes with it. Each send is printed as it comes.";

pub(super) const AFTER: &str = "\
Examples:
  waba-gateway twin
  waba-gateway twin --listen 127.0.0.1:9100 --session +221770000001 --session +2250700000002

Exit codes: 0 ended by Ctrl-C or SIGTERM, 2 could not run";

/// How often sends are looked for.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// What was asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9010")]
    listen: SocketAddr,
    /// The number of a session; may be given several times
    #[arg(long = "session", value_name = "NUMBER", default_value = "+221770000001")]
    sessions: Vec<String>,
    /// Print the sessions as one JSON document instead
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Ended {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(arguments.listen).await;
    let listener =
        listener.with_context(|| format!("--listen: cannot listen on {}", arguments.listen))?;
    let base = format!("http://{}", listener.local_addr()?);
    let twin = Twin::start().await.context("start the simulated Wasender")?;
    let mut sessions = Vec::new();
    for number in &arguments.sessions {
        let number = PhoneNumber::from_person(number, None)
            .map_err(|it| anyhow::anyhow!("--session: {it}"))?;
        sessions.push(twin.add_session(NewSession::new(&number.expose())));
    }
    if arguments.json {
        json(&document(&base, &twin, &sessions));
    } else {
        tell(&base, &twin, &sessions);
    }
    let customers = Router::new().route("/customer", post(customer)).with_state(twin.clone());
    let ends = web::Ends::default();
    let router = twin_router(&twin).merge(customers);
    let serve = tokio::spawn(web::serve(listener, router, ends.clone()));
    tokio::select! {
        () = watch(&twin, arguments.json) => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    ends.stop.cancel();
    // A server that panicked has told so.
    let _ = serve.await;
    twin.stop().await;
    Ok(0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomerBody {
    /// The session; the first without it.
    session: Option<u64>,
    from: String,
    text: String,
    name: Option<String>,
}

/// A customer writes. The answer tells what the session's webhook was answered.
async fn customer(State(twin): State<Twin>, Json(body): Json<CustomerBody>) -> Json<Value> {
    let first = || twin.sessions().first().map(|it| it.id);
    let session = body.session.or_else(first).unwrap_or_default();
    let customer = Customer { name: body.name, ..Customer::new(&body.from) };
    let answer = twin.customer_says(session, &customer, &body.text).await;
    let shown: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| json!(answer.body));
    Json(json!({ "status": answer.status, "answer": shown }))
}

/// Prints sends as they come, for ever.
async fn watch(twin: &Twin, is_quiet: bool) {
    let mut n_seen = 0;
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        if is_quiet || twin.n_sends() == n_seen {
            continue;
        }
        let sends = twin.sends();
        for sent in sends.iter().skip(n_seen) {
            line(&format!("{} → {}: {}", sent.from, sent.to, sent.text));
        }
        n_seen = sends.len();
    }
}

fn document(base: &str, twin: &Twin, sessions: &[Session]) -> Value {
    let session = |it: &Session| {
        json!({
            "id": it.id,
            "phoneNumber": it.phone_number,
            "status": it.status,
            "apiKey": it.api_key,
            "webhookSecret": it.webhook_secret,
        })
    };
    json!({
        "apiUrl": format!("{base}/api"),
        "personalAccessToken": twin.pat(),
        "customerUrl": format!("{base}/customer"),
        "sessions": sessions.iter().map(session).collect::<Vec<_>>(),
    })
}

fn tell(base: &str, twin: &Twin, sessions: &[Session]) {
    line(&format!("Simulated Wasender on {base}/api until Ctrl-C. Nothing leaves this machine."));
    line("\nPoint a gateway at it, in its .env:\n");
    line(&format!("  WASENDER_API_URL={base}/api"));
    line(&format!("  WASENDER_API_KEY='{}'", twin.pat()));
    line(
        "\nBring its sessions in as vendors, then set each webhook up (data/admin.key is the gateway's key):\n",
    );
    // Not indented: the shell ends it at a line that is END and nothing else.
    line("cat > twin.csv <<'END'");
    line(
        "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret,wasenderApiKey",
    );
    for (n, it) in (1..).zip(sessions) {
        let Session { id, phone_number, webhook_secret, api_key, .. } = it;
        line(&format!("twin_{n},Twin {n},{phone_number},{id},{webhook_secret},{api_key}"));
    }
    line("END");
    line("waba-migrate batch twin.csv");
    for n in 1..=sessions.len() {
        line(&format!(
            "curl -sS -X POST http://127.0.0.1:9002/api/admin/vendors/twin_{n}/setup-wasender-webhook -H \"Authorization: Bearer $(cat data/admin.key)\""
        ));
    }
    line("\nWrite as a customer (paste it as often as you like); what is sent is printed here:\n");
    for it in sessions {
        line(&format!(
            r#"  curl -sS {base}/customer -H 'Content-Type: application/json' -d '{{"session":{},"from":"+221705550001","text":"Bonjour"}}'"#,
            it.id
        ));
    }
    line("");
}
