//! What was told of the day: to customers, to the back end, to whoever counts and watches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use waba_gateway::domain::{
    clock::{HOUR, MINUTE, Millis, SECOND, iso},
    secret::ExposeSecret,
};

use super::{Faults, Shown, id_of};
use crate::{
    day::{
        model::Outcome,
        play::{World, eventually},
        script::{At, BY_LID, Day, END, Message, NOBODY, SHOPS, Shop, lid, phone},
    },
    support::DEADLINE,
};

/// What customers were shown: each message that a responder was asked about was marked as read.
pub async fn attention(faults: &mut Faults, world: &World, day: &Day, outcome: &Outcome) {
    let is_asked = |it: &&Message| {
        let fate = &outcome.fates[&it.n];
        it.shop == Shop::Bot && (!fate.sends.is_empty() || fate.reason == Some("silence"))
    };
    let want: BTreeSet<String> = day.messages().filter(is_asked).map(Message::key_id).collect();
    let reads = || world.app.twin.reads().into_iter().map(|it| it.key_id).collect::<Vec<_>>();
    // A session that is down marks nothing.
    let is_down = |at: i64| (30 * 60..34 * 60).contains(&at) || (48 * 60..56 * 60).contains(&at);
    let up: BTreeSet<String> =
        day.messages().filter(is_asked).filter(|it| !is_down(it.at)).map(Message::key_id).collect();
    eventually("messages are marked as read", || {
        let reads: BTreeSet<String> = reads().into_iter().collect();
        up.is_subset(&reads)
    })
    .await;
    let all = reads();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    faults.that(once.is_subset(&want), || "something else was marked as read".to_owned());
    // Who was thought about twice was shown it by both processes.
    faults.that(all.len() <= once.len() + 3, || format!("{} reads of {}", all.len(), once.len()));
    let n_typing = world.app.twin.presences().iter().filter(|it| it.kind == "composing").count();
    faults.that(n_typing > 0, || "nobody was shown that somebody types".to_owned());
}

/// Counted by the hour, and the ledger.
pub async fn counts(faults: &mut Faults, world: &World, outcome: &Outcome) {
    for shop in SHOPS {
        let vendor = &world.shop(shop).id;
        let hours = hour_of(world.start, 0)..=hour_of(world.start, END);
        for hour in hours {
            let (from, to) = (iso(hour * HOUR), iso((hour + 1) * HOUR));
            let path = format!("/api/admin/analytics/vendor/{vendor}/messages?from={from}&to={to}");
            let stats = world.get(&path).await.json()["stats"].clone();
            let n = |inbound: bool| {
                let is_it = |it: &&(Shop, i64, bool)| {
                    it.0 == shop && it.2 == inbound && hour_of(world.start, it.1) == hour
                };
                outcome.moments.iter().filter(is_it).count()
            };
            let got = (stats["inbound"].clone(), stats["outbound"].clone());
            let want = (json!(n(true)), json!(n(false)));
            faults.same(&format!("in and out of {shop:?} in the hour of {from}"), &got, &want);
        }
        let ledger = world.get(&format!("/api/admin/vendors/{vendor}/ledger")).await.json();
        let fates = outcome.fates.values().filter(|it| it.is_parked && shop == Shop::Bot);
        let n_parked: usize = fates.map(|it| it.sends.len()).sum();
        let of_shop = outcome.sends.iter().filter(|it| it.0.0 == shop);
        let n_sent: usize = of_shop.map(|it| it.1.len()).sum();
        let want = json!({
            "created": n_sent + n_parked, "waiting": 0, "sent": n_sent, "unknown": 0,
            "parked": n_parked, "dead": 0,
        });
        faults.same(&format!("intents of {shop:?}"), &ledger["intents"], &want);
        faults.same(&format!("balance of {shop:?}"), &ledger["balances"], &json!(true));
        for state in ["waiting", "parked", "dead"] {
            faults.same(
                &format!("{state} events of {shop:?}"),
                &ledger["events"][state],
                &json!(0),
            );
        }
    }
}

/// Nothing private is told to whoever watches.
pub async fn metrics(faults: &mut Faults, world: &World, day: &Day) {
    let metrics = world.get("/metrics").await.text;
    faults.that(metrics.contains("waba_sends_total"), || "there are no metrics".to_owned());
    let people = day.messages().flat_map(|it| [phone(it.who), it.who.to_owned()]);
    let texts = day.messages().map(|it| it.says.text().to_owned()).filter(|it| it.len() > 3);
    let lids = BY_LID.into_iter().chain([NOBODY]).map(lid);
    let secrets = world
        .shops
        .iter()
        .flat_map(|it| [it.secret().to_owned(), it.session.api_key.clone(), it.phone.clone()]);
    for private in people.chain(texts).chain(lids).chain(secrets).collect::<BTreeSet<_>>() {
        let digits = private.trim_start_matches('+');
        faults.that(!metrics.contains(digits), || format!("the metrics tell {private}"));
    }
}

/// The back end was told everything once, also what happened while it was away.
pub async fn forwards(faults: &mut Faults, world: &World, day: &Day, shown: &Shown) {
    drained(world).await;
    let vendor = &world.shop(Shop::Bot).id;
    let secret = world.app.gateway.vendor(vendor).await.unwrap().signing_secret;
    let got = world.back_end.got();
    got.iter().for_each(|it| it.check_signature(secret.expose_secret()));
    let taken: Vec<_> = got.iter().filter(|it| it.answered == 204).collect();
    let ids: BTreeSet<&str> = taken.iter().map(|it| it.id()).collect();
    faults.same("events told, and their ids", &taken.len(), &ids.len());
    let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
    let mut received: Vec<&str> = Vec::new();
    let mut statuses: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for it in &taken {
        *topics.entry(it.topic()).or_default() += 1;
        let text = |field: &str| it.data()[field].as_str().unwrap_or_default();
        match it.topic() {
            "message.received" => received.push(text("messageId")),
            "message.status" => {
                statuses.entry(text("messageId")).or_default().push((it.id(), text("status")));
            }
            _ => {}
        }
    }
    topics.remove("message.status");
    let n_received = day.messages().filter(|it| it.shop == Shop::Bot).count() + 1;
    let want = BTreeMap::from([
        ("connection.changed", 4),
        ("conversation.escalated", 1),
        ("message.deleted", 1),
        ("message.edited", 1),
        ("message.reaction", 1),
        ("message.received", n_received),
        ("message.sent", 1),
        ("message.votes", 1),
    ]);
    faults.same("events by type", &topics, &want);
    received.sort_unstable();
    let recorded = |it: &&Value| it["direction"] == "inbound";
    let want: Vec<&str> = shown[&Shop::Bot].iter().filter(recorded).map(id_of).collect();
    faults.same("messages told", &received, &want);
    told(faults, &mut statuses, &shown[&Shop::Bot]);
}

/// The statuses of each message of the shop's go forward, none is told twice, and the last is its
/// end.
fn told(faults: &mut Faults, statuses: &mut BTreeMap<&str, Vec<(&str, &str)>>, shown: &[Value]) {
    const ORDER: [&str; 5] = ["parked", "accepted", "sent", "delivered", "read"];
    for row in shown.iter().filter(|it| it["direction"] == "outbound" && it["byHuman"] == false) {
        let mut of_message = statuses.remove(id_of(row)).unwrap_or_default();
        // Their ids grow in the order of what they tell.
        of_message.sort_unstable();
        let ranks: Vec<_> =
            of_message.iter().map(|it| ORDER.iter().position(|word| *word == it.1)).collect();
        faults
            .that(ranks.is_sorted_by(|a, b| a < b), || format!("told in disorder: {of_message:?}"));
        let last = of_message.last().map(|it| json!(it.1));
        faults.same("the last status told", &last, &Some(row["status"].clone()));
    }
    faults.that(statuses.is_empty(), || format!("statuses of nobody's: {statuses:?}"));
}

/// Waits until nothing is left to tell, while time passes.
async fn drained(world: &World) {
    let started = std::time::Instant::now();
    loop {
        let load = world.app.gateway.journal().forwards_load().await.unwrap();
        assert_eq!(load.n_dead, 0, "an event was given up");
        if load.n_waiting == 0 {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{} events were not told", load.n_waiting);
        world.app.clock.advance(10 * SECOND);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Strangers were counted, and nobody is called in the end.
pub async fn watch(faults: &mut Faults, world: &World) {
    world.app.clock.advance(MINUTE);
    world.app.gateway.look().await.unwrap();
    let alerts = world.app.gateway.alerts().await.unwrap();
    let kinds: Vec<_> = alerts.iter().map(|it| it.kind.as_str()).collect();
    faults.that(kinds.iter().all(|it| *it == "refused"), || format!("alerts: {kinds:?}"));
    for shop in SHOPS {
        let vitals = world.app.gateway.vitals(&world.shop(shop).id).await.unwrap();
        faults.same(&format!("refusals of {shop:?}"), &vitals.n_refused, &2);
    }
}

/// The hour of a moment of the day, counted from the Unix epoch.
fn hour_of(start: Millis, at: At) -> i64 {
    (start + at * SECOND).div_euclid(HOUR)
}
