//! The day as it is lived: the script is acted out against the service and the simulated Wasender.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use waba_gateway::{
    domain::{
        clock::{Clock, HOUR, MINUTE, Millis, SECOND},
        secret::ExposeSecret,
    },
    gateway::NewKey,
    twin::{
        Customer, DeleteForm, Dialect as WireDialect, EditForm, HookAnswer, Inbound, Sent,
        predecessor_message, real_message,
    },
};

use super::{
    bot::Bot,
    model::{OPTIONS, POLL},
    script::{Act, At, BY_LID, Day, END, Message, SHOPS, Says, Shop, customer, lid, phone},
    shops::{bot_shop, inactive_shop, rules_shop},
};
use crate::{
    forward::receiver::Receiver,
    support::{Answer, Client, DEADLINE, Options, TestApp, TestVendor, spawn_app_with},
};

/// The old message: its id, and what it says.
pub const STALE: (&str, &str) = ("3EB0DA1STALE", "un message de ce matin");
/// Events that bring one message more than once.
const OVERLAP: [&str; 3] = ["messages.received", "messages-personal.received", "messages.upsert"];

/// The service, the world around it, and what was seen so far.
pub struct World {
    pub app: TestApp,
    pub shops: Vec<TestVendor>,
    pub bot: Bot,
    pub back_end: Receiver,
    pub start: Millis,
    /// Whoever looks at the day, with a key of their own: a key may ask so often only.
    looker: Client,
    /// The service's ids of the messages, by their numbers.
    pub ids: BTreeMap<usize, String>,
    /// Of the old message and the poll.
    pub stale_id: String,
    pub poll_id: String,
    /// What a message quotes: the text of the send.
    pub quotes: BTreeMap<usize, String>,
    /// Sends that were taken when the session went down.
    n_sends: usize,
}

/// Opens the shops and lives the day.
pub async fn live(day: &Day) -> World {
    let mut world = World::open().await;
    for (at, act) in &day.acts {
        world.until(*at).await;
        world.does(day, act).await;
    }
    world.until(END).await;
    // What was tried again and what was asked about comes to its end.
    for _ in 0..15 {
        world.app.clock.advance(MINUTE);
        world.rests().await;
    }
    world
}

impl World {
    async fn open() -> Self {
        // The twin has a clock of its own; at the beginning the two agree.
        let start = Clock::System.now() / MINUTE * MINUTE;
        let clock = Clock::fixed(start);
        let app = spawn_app_with(Options { clock, ..Options::default() }).await;
        let (bot, back_end) = (Bot::start().await, Receiver::start().await);
        let shops = vec![
            app.vendor_with(1, bot_shop(start, &bot, &back_end)).await,
            app.vendor_with(2, rules_shop()).await,
            app.vendor_with(3, inactive_shop()).await,
        ];
        app.twin.change(shops[1].session.id, |it| it.dialect = WireDialect::Predecessor);
        for who in BY_LID {
            app.twin.know_lid(&lid(who), &phone(who));
        }
        Self {
            shops,
            bot,
            back_end,
            start,
            looker: looker(&app).await,
            app,
            ids: BTreeMap::new(),
            stale_id: String::new(),
            poll_id: String::new(),
            quotes: BTreeMap::new(),
            n_sends: 0,
        }
    }

    pub fn shop(&self, shop: Shop) -> &TestVendor {
        &self.shops[shop as usize]
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(&self.looker, "GET", path).await
    }

    /// Calls; who calls too often is told to wait, and waits.
    pub async fn call(&self, who: &Client, method: &str, path: &str) -> Answer {
        let started = Instant::now();
        loop {
            let answer = who.call(method, path, None, &[]).await;
            if answer.status != 429 {
                return answer;
            }
            assert!(started.elapsed() < DEADLINE, "a caller is kept waiting");
            let seconds = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    pub fn session(&self, shop: Shop) -> u64 {
        self.shop(shop).session.id
    }

    /// Moves the clock there when all is done that can be done before, and waits for what can be
    /// done then.
    async fn until(&self, at: At) {
        let ms = self.start + at * SECOND - self.app.clock.now();
        if ms > 0 {
            self.rests().await;
            self.app.clock.advance(ms);
            self.rests().await;
        }
    }

    /// Waits until nothing may start before time passes, and no webhook is on its way.
    async fn rests(&self) {
        let (started, twin) = (Instant::now(), &self.app.twin);
        loop {
            let n_hooks = twin.n_hooks();
            let idle = tokio::time::timeout(DEADLINE, twin.idle()).await;
            idle.expect("the webhooks end");
            if self.app.gateway.work().rests() && n_hooks == twin.n_hooks() {
                return;
            }
            let load = self.app.gateway.work().load();
            let second = (self.app.clock.now() - self.start) / SECOND;
            assert!(started.elapsed() < DEADLINE, "work is left at {second} s: {load:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn does(&mut self, day: &Day, act: &Act) {
        match act {
            Act::Writes(message) => self.writes(message).await,
            Act::Session { is_up } => self.session_is(*is_up).await,
            Act::Bot { fails } => self.bot.set_failing(*fails),
            Act::BackEnd { is_down } => self.back_end_is(*is_down).await,
            Act::Restart => self.restart().await,
            Act::Types { to, text } => {
                let customer = Customer::new(&phone(to));
                let answer =
                    self.app.twin.human_types(self.session(Shop::Bot), &customer, text).await;
                kept(&answer);
            }
            Act::Polls { to } => self.polls(to).await,
            Act::Stranger => self.stranger().await,
            Act::Stale { who } => {
                let old = (self.app.clock.now() - 7 * HOUR) / SECOND;
                let body = real_message(STALE.0, &Customer::new(&phone(who)), STALE.1, old);
                let answer = self.app.twin.customer_sends(self.session(Shop::Bot), body).await;
                self.stale_id = kept(&answer);
            }
            Act::Reacts { .. } | Act::Edits { .. } | Act::Deletes { .. } | Act::Votes { .. } => {
                self.changes(day, act).await;
            }
        }
    }

    /// Something is done to a message that is there.
    async fn changes(&self, day: &Day, act: &Act) {
        let (twin, session) = (&self.app.twin, self.session(Shop::Bot));
        let by = |who: &str| Customer::new(&phone(who));
        let answer = match act {
            Act::Reacts { who, emoji } => {
                let key_id = self.latest(Shop::Bot, who).key_id;
                twin.customer_reacts(session, &by(who), &key_id, emoji).await
            }
            Act::Votes { who, option } => {
                let key_id = self.latest(Shop::Bot, who).key_id;
                twin.customer_votes(session, &by(who), &key_id, &[option]).await
            }
            Act::Edits { who, was, text } => {
                let key_id = day.message(who, was).key_id();
                twin.customer_edits(session, &by(who), &key_id, text, EditForm::Wrapped).await
            }
            Act::Deletes { who, was } => {
                let key_id = day.message(who, was).key_id();
                twin.customer_deletes(session, &by(who), &key_id, DeleteForm::Event).await
            }
            _ => unreachable!("it is asked for these alone"),
        };
        kept(&answer);
    }

    /// The latest message that a customer has from a shop.
    fn latest(&self, shop: Shop, who: &str) -> Sent {
        let (session, to) = (self.session(shop), phone(who));
        let sends = self.app.twin.sends();
        let of_talk = sends.into_iter().rfind(|it| it.session == session && it.to == to);
        of_talk.unwrap_or_else(|| panic!("{who} has no message"))
    }

    async fn writes(&mut self, it: &Message) {
        let answers = match (&it.says, it.shop) {
            (Says::Text(_), Shop::Rules) => {
                let session = self.session(it.shop).to_string();
                let (from, now) = (phone(it.who), self.app.now_secs());
                let body = predecessor_message(&session, &it.key_id(), &from, it.says.text(), now);
                self.posts(it, |_| body.clone()).await
            }
            (Says::Text(text), _) => {
                let now = self.app.now_secs();
                let mut body = real_message(&it.key_id(), &customer(it), text, now);
                body["sessionId"] = json!(self.shop(it.shop).session.api_key);
                if it.is_in_group {
                    let key = &mut body["data"]["messages"]["key"];
                    key["participant"] = key["remoteJid"].take();
                    key["cleanedParticipantPn"] = json!(phone(it.who));
                    key["remoteJid"] = json!("120363000000@g.us");
                }
                let by_event = |n: usize| {
                    let event = OVERLAP[n % OVERLAP.len()];
                    let mut body = body.clone();
                    body["event"] = json!(event);
                    body
                };
                self.posts(it, by_event).await
            }
            _ => self.shares(it).await,
        };
        let ids: Vec<String> = answers.iter().map(kept).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "n° {} was kept twice", it.n);
        let words: Vec<&str> = answers.iter().map(|it| word(&it.body)).collect();
        let is_first = words.iter().enumerate().all(|(n, word)| (*word == "received") == (n == 0));
        assert!(is_first, "n° {} was answered {words:?}", it.n);
        self.ids.insert(it.n, ids[0].clone());
    }

    async fn posts(&self, it: &Message, body: impl Fn(usize) -> Value) -> Vec<HookAnswer> {
        let mut answers = Vec::new();
        for n in 0..it.n_hooks {
            answers.push(self.app.twin.customer_sends(self.session(it.shop), body(n)).await);
        }
        answers
    }

    async fn shares(&mut self, it: &Message) -> Vec<HookAnswer> {
        let inbound = match &it.says {
            Says::Text(text) => Inbound::text(text),
            Says::Quotes(text) => {
                let quoted = self.latest(it.shop, it.who);
                self.quotes.insert(it.n, quoted.text);
                Inbound::text(text).quoting(&quoted.key_id)
            }
            Says::File(kind, bytes, caption) => {
                Inbound::file(*kind, bytes.clone()).caption(caption)
            }
            Says::Location(text) => Inbound::location(14.67, -17.44, text, ""),
            Says::Contact(name) => Inbound::contact(name, "+221705559999"),
            Says::Poll(question) => Inbound::poll(question, &["oui", "non"], false),
        };
        let inbound = inbound.with_id(&it.key_id());
        let mut answers = Vec::new();
        for _ in 0..it.n_hooks {
            let session = self.session(it.shop);
            answers.push(self.app.twin.customer_shares(session, &customer(it), &inbound).await);
        }
        answers
    }

    async fn session_is(&mut self, is_up: bool) {
        let (twin, session) = (&self.app.twin, self.session(Shop::Bot));
        twin.set_status(session, if is_up { "CONNECTED" } else { "NEED_SCAN" });
        if is_up {
            assert_eq!(twin.n_sends_of(session), self.n_sends, "sent while the session was down");
        }
        kept_or_not(&twin.tell_status(session).await);
        self.n_sends = twin.n_sends_of(session);
        self.app.gateway.look().await.unwrap();
        let alerts = self.app.admin.get("/api/admin/alerts").await.json();
        let kinds: Vec<&Value> =
            alerts["alerts"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
        let want = if is_up { vec![] } else { vec!["disconnected"] };
        assert_eq!(kinds, want, "alerts when the session is up: {is_up}");
    }

    async fn back_end_is(&self, is_down: bool) {
        let down_before = || self.back_end.got().iter().any(|it| it.answered == 503);
        if !is_down {
            eventually("the back end was tried while it was away", down_before).await;
        }
        let status = if is_down { 503 } else { 204 };
        self.back_end.always(move |_| status.into());
    }

    /// While the bot thinks about three messages.
    async fn restart(&mut self) {
        eventually("the bot thinks about three", || self.bot.n_thinking() == 3).await;
        self.bot.hurry();
        self.app.restart().await;
    }

    async fn polls(&mut self, to: &str) {
        let path = format!("/api/v1/vendors/{}/messages", self.shop(Shop::Bot).id);
        let poll = json!({ "question": POLL, "options": OPTIONS });
        let body = json!({ "to": phone(to), "type": "poll", "poll": poll });
        let mut ids = Vec::new();
        for _ in 0..2 {
            let key = [("idempotency-key", "which-day")];
            let answer = self.app.admin.call("POST", &path, Some(body.clone()), &key).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
            ids.push(answer.json()["messageId"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids[0], ids[1]);
        self.poll_id = ids.remove(0);
    }

    async fn stranger(&self) {
        let now = self.app.now_secs();
        let body = real_message("3EB0FORGED", &Customer::new(&phone("Awa")), "forged", now);
        let body = body.to_string().into_bytes();
        for shop in SHOPS {
            let headers = [("x-webhook-signature", "not-the-secret")];
            let answer = self.app.post(&self.shop(shop).hook, &headers, &body).await;
            assert_eq!(answer.status, 401);
        }
    }
}

trait SendsOf {
    fn n_sends_of(&self, session: u64) -> usize;
}

impl SendsOf for waba_gateway::twin::Twin {
    fn n_sends_of(&self, session: u64) -> usize {
        self.sends().iter().filter(|it| it.session == session).count()
    }
}

impl Day {
    /// The message in which somebody wrote this.
    pub fn message(&self, who: &str, text: &str) -> &Message {
        let found = self.messages().find(|it| it.who == who && it.says.text() == text);
        found.expect("it is in the script")
    }

    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.acts.iter().filter_map(|it| match &it.1 {
            Act::Writes(message) => Some(message),
            _ => None,
        })
    }
}

/// A caller that may look at everything.
async fn looker(app: &TestApp) -> Client {
    let new = NewKey { name: "looker".to_owned(), vendor: None, read_only: true, expires_at: None };
    let (_, key) = app.gateway.create_key(new).await.unwrap();
    app.admin.with_key(key.expose_secret())
}

/// Waits until it is so.
pub async fn eventually(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < DEADLINE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The id under which a webhook was kept.
fn kept(answer: &HookAnswer) -> String {
    kept_or_not(answer);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["processId"].as_str().unwrap().to_owned()
}

fn kept_or_not(answer: &HookAnswer) {
    assert!(answer.is_ok(), "a webhook was answered {}: {}", answer.status, answer.body);
}

fn word(body: &str) -> &'static str {
    if body.contains("\"duplicate\"") { "duplicate" } else { "received" }
}
