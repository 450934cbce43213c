//! The people of the day: listed, exported, and one of them erased.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Faults, Shown, id_of};
use crate::day::{
    model::Talk,
    play::World,
    script::{Day, Message, NOBODY, SHOPS, Says, Shop, phone},
};

/// Who is exported: she wrote all day long, and the session was down for some of it.
const EXPORTED: Talk = (Shop::Bot, "Awa");
/// Who is erased: she sent all kinds of files.
const ERASED: Talk = (Shop::Bot, "Hawa");

fn path(world: &World, shop: Shop) -> String {
    format!("/api/admin/vendors/{}/conversations", world.shop(shop).id)
}

/// Each conversation of a shop's is listed once, the latest first.
pub async fn listed(faults: &mut Faults, world: &World, day: &Day) {
    for shop in SHOPS {
        let list = list(world, shop).await;
        let customers: BTreeSet<_> = list.iter().map(|it| it["customer"].to_string()).collect();
        let private = day.messages().filter(|it| it.shop == shop && !it.is_in_group);
        let number = |who: &str| json!(Some(phone(who)).filter(|_| who != NOBODY)).to_string();
        let want: BTreeSet<_> = private.map(|it| number(it.who)).collect();
        faults.same(&format!("people of {shop:?}"), &customers, &want);
        faults.same(&format!("conversations of {shop:?}"), &list.len(), &want.len());
        let last = |it: &Value| it["lastMessage"]["messageId"].as_str().map(str::to_owned);
        let is_sorted = list.iter().map(last).is_sorted_by(|a, b| a > b);
        faults.that(is_sorted, || format!("the latest of {shop:?} is not first"));
    }
}

/// What is exported of somebody is what the list of messages has of them.
pub async fn exported(faults: &mut Faults, world: &World, day: &Day, shown: &Shown) {
    let (shop, who) = EXPORTED;
    let id = id_of_talk(world, EXPORTED).await;
    let answer = world.get(&format!("{}/{id}/export", path(world, shop))).await;
    faults.same("the answer for the export", &answer.status, &200);
    let export = answer.json();
    faults.same("whose export it is", &export["customer"]["phone"], &json!(phone(who)));
    let entries = export["entries"].as_array().unwrap();
    let messages = entries.iter().filter(|it| it["messageId"].is_string());
    let got: Vec<_> = messages.map(|it| (id_of(it), &it["message"], &it["status"])).collect();
    let in_group: BTreeSet<&str> =
        day.messages().filter(|it| it.is_in_group).map(|it| world.ids[&it.n].as_str()).collect();
    let is_theirs = |it: &&Value| it["customer"] == phone(who) && !in_group.contains(id_of(it));
    let theirs = shown[&shop].iter().filter(is_theirs);
    let want: Vec<_> = theirs.map(|it| (id_of(it), &it["message"], &it["status"])).collect();
    faults.that(got.len() > 10, || format!("the export has {} messages", got.len()));
    faults.same("exported messages", &got.len(), &want.len());
    let differ = got.iter().zip(&want).find(|it| it.0 != it.1);
    faults.that(differ.is_none(), || format!("in the export: {differ:?}"));
}

/// Nothing is left of somebody who is erased, and nobody else misses anything.
pub async fn erased(faults: &mut Faults, world: &World, day: &Day) {
    let (shop, who) = ERASED;
    let id = id_of_talk(world, ERASED).await;
    let n_before = list(world, shop).await.len();
    let path_of_talk = format!("{}/{id}", path(world, shop));
    let answer = world.call(&world.app.admin, "DELETE", &path_of_talk).await;
    faults.same("the answer for the erasure", &answer.status, &200);
    faults.same("conversations that are left", &list(world, shop).await.len(), &(n_before - 1));
    let shown = super::shown(world).await;
    let row = |it: &Message| shown[&shop].iter().find(|row| id_of(row) == world.ids[&it.n]);
    for message in day.messages().filter(|it| it.shop == shop && !it.is_in_group) {
        let is_erased =
            row(message).is_some_and(|it| it["type"] == "erased" && it["message"] == "");
        let what = format!("whether {} is erased", super::name(message));
        faults.same(&what, &is_erased, &(message.who == who));
        if message.who == who && matches!(message.says, Says::File(..)) {
            let (vendor, id) = (&world.shop(shop).id, &world.ids[&message.n]);
            let file = world.get(&format!("/api/v1/vendors/{vendor}/media/{id}")).await;
            faults.that(matches!(file.status, 404 | 410), || {
                format!("the file of {} is still served", super::name(message))
            });
        }
    }
    let number = phone(who);
    let is_told = shown[&shop].iter().any(|it| it.to_string().contains(&number));
    faults.that(!is_told, || "the number of somebody erased is still told".to_owned());
}

async fn list(world: &World, shop: Shop) -> Vec<Value> {
    let list = world.get(&format!("{}?limit=200", path(world, shop))).await;
    list.json()["conversations"].as_array().unwrap().clone()
}

async fn id_of_talk(world: &World, (shop, who): Talk) -> String {
    let list = list(world, shop).await;
    let found = list.iter().find(|it| it["customer"] == phone(who)).expect("they are listed");
    found["conversationId"].as_str().unwrap().to_owned()
}
