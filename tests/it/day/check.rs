//! The whole outcome of the day, compared with what the script says must come of it. What is wrong
//! is told by the number of the message.

pub mod people;
pub mod told;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waba_gateway::domain::secret::ExposeSecret;

use super::{
    bot::IMAGE,
    model::{OPTIONS, Outcome, POLL, Sent},
    play::{STALE, World},
    script::{Day, Message, NOBODY, SHOPS, Says, Shop, phone},
};

/// Faults that are told; more would hide the first.
const FAULTS_MAX: usize = 8;

/// What is wrong, collected so that one look shows it.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: &T, want: &T) {
        if got != want {
            self.0.push(format!("{what}: got {got:?}, expected {want:?}"));
        }
    }

    fn that(&mut self, is: bool, what: impl FnOnce() -> String) {
        if !is {
            self.0.push(what());
        }
    }

    pub fn none(&self) {
        let n = self.0.len();
        let first: Vec<&str> = self.0.iter().take(FAULTS_MAX).map(String::as_str).collect();
        assert!(n == 0, "{n} faults, the first of them:\n{}", first.join("\n"));
    }
}

/// How a fault names a message.
fn name(it: &Message) -> String {
    let (minute, second) = (it.at / 60, it.at % 60);
    format!("n° {} ({} to {:?} at {minute}:{second:02}, {})", it.n, it.who, it.shop, it.says.kind())
}

/// Of all shops, what their messages are shown as, oldest first.
pub type Shown = BTreeMap<Shop, Vec<Value>>;

pub async fn shown(world: &World) -> Shown {
    let mut shown = Shown::new();
    for shop in SHOPS {
        let path = format!("/api/admin/vendors/{}/messages?limit=200", world.shop(shop).id);
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map(|it| format!("&cursor={it}")).unwrap_or_default();
            let page = world.get(&format!("{path}{after}")).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            all.extend(page["messages"].as_array().unwrap().iter().cloned());
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        all.reverse();
        shown.insert(shop, all);
    }
    shown
}

/// Each message was recorded once, as it was written, in order, and came to its end.
pub fn records(faults: &mut Faults, world: &World, day: &Day, outcome: &Outcome, shown: &Shown) {
    for shop in SHOPS {
        let all = &shown[&shop];
        let inbound: Vec<&str> =
            all.iter().filter(|it| it["direction"] == "inbound").map(id_of).collect();
        let stale = (shop == Shop::Bot).then_some((world.stale_id.as_str(), 0));
        let mut want: Vec<(&str, usize)> = day
            .messages()
            .filter(|it| it.shop == shop)
            .map(|it| (world.ids[&it.n].as_str(), it.n))
            .chain(stale)
            .collect();
        want.sort_unstable();
        let ids: Vec<&str> = want.iter().map(|it| it.0).collect();
        faults.same(&format!("messages recorded of {shop:?}"), &inbound, &ids);
        for message in day.messages().filter(|it| it.shop == shop) {
            let id = world.ids[&message.n].as_str();
            let Some(row) = all.iter().find(|it| id_of(it) == id) else { continue };
            record(faults, world, message, outcome, row);
            let answers: Vec<&Value> = all.iter().filter(|it| it["inReplyTo"] == id).collect();
            ending(faults, message, outcome, &answers);
        }
    }
    let mut last: BTreeMap<_, (usize, &str)> = BTreeMap::new();
    for message in day.messages() {
        let id = world.ids[&message.n].as_str();
        let before = last.insert((message.shop, message.who), (message.n, id));
        faults.that(before.is_none_or(|it| it.1 < id), || {
            format!("{} was recorded before n° {}", name(message), before.unwrap_or_default().0)
        });
    }
    let stale = shown[&Shop::Bot].iter().find(|it| id_of(it) == world.stale_id);
    let stale = stale.map(|it| (it["reason"].clone(), it["message"].clone()));
    faults.same("the old message", &stale, &Some((json!("stale"), json!(STALE.1))));
}

fn id_of(row: &Value) -> &str {
    row["messageId"].as_str().unwrap()
}

fn record(faults: &mut Faults, world: &World, it: &Message, outcome: &Outcome, row: &Value) {
    let fate = &outcome.fates[&it.n];
    let text = match it.says.text() {
        "c'est long" => "c'est très long",
        text => text,
    };
    let customer = Some(phone(it.who)).filter(|_| it.who != NOBODY);
    let want = json!({
        "type": it.says.kind(), "message": text, "status": "received", "reason": fate.reason,
        "customer": customer, "direction": "inbound",
        "edited": it.says.text() == "c'est long",
        "deleted": it.says.text() == "et maintenant ?",
    });
    for (field, want) in want.as_object().unwrap() {
        faults.same(&format!("{field} of {}", name(it)), &row[field], want);
    }
    let is_quoting = row["quotedMessageId"].is_string();
    faults.same(
        &format!("whether {} quotes", name(it)),
        &is_quoting,
        &world.quotes.contains_key(&it.n),
    );
}

/// A message's answers are the expected ones, and came to their end.
fn ending(faults: &mut Faults, it: &Message, outcome: &Outcome, answers: &[&Value]) {
    let fate = &outcome.fates[&it.n];
    let got: Vec<_> =
        answers.iter().map(|it| (it["type"].clone(), it["message"].clone())).collect();
    // A menu is one before it is numbered text.
    let kind =
        |sent: &Sent| if sent.text.starts_with("Que désirez") { "buttons" } else { sent.kind };
    let want: Vec<_> = fate.sends.iter().map(|it| (json!(kind(it)), json!(it.text))).collect();
    faults.same(&format!("answers to {}", name(it)), &got, &want);
    let want = if fate.is_parked { ("parked", json!("no_phone")) } else { ("read", Value::Null) };
    for answer in answers {
        let end = (answer["status"].as_str().unwrap(), answer["reason"].clone());
        faults.same(&format!("the end of an answer to {}", name(it)), &end, &want);
    }
}

/// Wasender was asked to send exactly what was expected, in order, to whom, from where.
pub fn sends(faults: &mut Faults, world: &World, outcome: &Outcome) {
    let sends = world.app.twin.sends();
    faults.same("sends", &sends.len(), &outcome.n_sends());
    let mut n_known = 0;
    for ((shop, who), want) in &outcome.sends {
        let (session, to) = (world.session(*shop), phone(who));
        let of_talk: Vec<_> =
            sends.iter().filter(|it| it.session == session && it.to == to).collect();
        n_known += of_talk.len();
        let from = &world.shop(*shop).phone;
        faults.that(of_talk.iter().all(|it| it.from == *from), || format!("{who}: wrong number"));
        let got: Vec<Sent> =
            of_talk.iter().map(|it| Sent { kind: it.kind(), text: it.text.clone() }).collect();
        let differ =
            (0..got.len().max(want.len())).find(|n| got.get(*n) != want.get(*n).map(|it| &it.1));
        if let Some(n) = differ {
            let (got, want) = (got.get(n), want.get(n));
            faults.that(false, || {
                format!("send {n} of {shop:?} to {who}: got {got:?}, expected {want:?}")
            });
        }
        for it in of_talk.iter().filter(|it| it.kind() == "image") {
            faults.same("the picture", &it.json()["imageUrl"], &json!(IMAGE));
        }
    }
    faults.same("sends to people of the day", &n_known, &sends.len());
    faults.that(sends.iter().all(|it| !it.text.contains("forged")), || "a stranger".to_owned());
}

/// The bot was asked about what concerns it, with signatures, and with what was chosen.
pub async fn bot(faults: &mut Faults, world: &World, day: &Day, outcome: &Outcome) {
    let secret = world.app.gateway.vendor(&world.shop(Shop::Bot).id).await.unwrap().signing_secret;
    let oracle = standardwebhooks::Webhook::new(secret.expose_secret()).unwrap();
    let asked = world.bot.asked();
    for call in &asked {
        let id = call.id();
        let seconds: i64 = call.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let want = oracle.sign(&id, seconds, &call.bytes).unwrap();
        faults.that(call.headers["webhook-signature"] == *want, || format!("signature of {id}"));
        faults.that(call.headers["x-api-key"] == "bot-api-key", || format!("key of {id}"));
    }
    let mut n_asked = 0;
    for message in day.messages() {
        let id = &world.ids[&message.n];
        let calls: Vec<_> = asked.iter().filter(|it| it.id() == *id).collect();
        n_asked += calls.len();
        let fate = &outcome.fates[&message.n];
        let (min, max) = fate.n_asked;
        faults.that((min..=max).contains(&calls.len()), || {
            format!("the bot was asked {} times about {}", calls.len(), name(message))
        });
        for call in calls {
            let body = call.body();
            let what = format!("optionId of {}", name(message));
            faults.same(&what, &body["optionId"], &json!(fate.option));
            let from = Some(phone(message.who)).filter(|_| message.who != NOBODY);
            faults.same(&format!("from of {}", name(message)), &body["from"], &json!(from));
        }
    }
    faults.same("calls of the bot", &n_asked, &asked.len());
}

/// Customers' files are served as they were.
pub async fn files(faults: &mut Faults, world: &World, day: &Day) {
    for message in day.messages().filter(|it| it.shop != Shop::Rules) {
        let Says::File(_, bytes, _) = &message.says else { continue };
        let (vendor, id) = (&world.shop(message.shop).id, &world.ids[&message.n]);
        let file = world.get(&format!("/api/v1/vendors/{vendor}/media/{id}")).await;
        faults.same(&format!("the answer for the file of {}", name(message)), &file.status, &200);
        faults.that(file.bytes == *bytes, || format!("the file of {} differs", name(message)));
    }
}

/// Reactions and votes are with what they are about.
pub fn marks(faults: &mut Faults, world: &World, shown: &Shown) {
    let all = &shown[&Shop::Bot];
    let reacted: Vec<_> = all.iter().filter_map(|it| it["reaction"].as_str()).collect();
    faults.same("reactions", &reacted, &vec!["👍"]);
    let poll = all.iter().find(|it| id_of(it) == world.poll_id);
    let poll = poll.map(|it| (it["message"].clone(), it["votes"].clone(), it["status"].clone()));
    let votes = json!([
        { "option": OPTIONS[0], "votes": 1 }, { "option": OPTIONS[1], "votes": 0 },
    ]);
    faults.same("the poll", &poll, &Some((json!(POLL), votes, json!("read"))));
    let human: Vec<_> = all.iter().filter(|it| it["byHuman"] == true).collect();
    faults.same("messages typed on the phone", &human.len(), &1);
}
