//! What happens in the story of a seed, as far as the world decides it beforehand.

use waba_gateway::domain::{
    clock::{HOUR, MINUTE, Millis, SECOND},
    id::{InstanceId, VendorId},
    route::ProviderKind,
};

use super::{
    meta,
    rng::Rng,
    wire::{self, Form, Names},
    world::{ApiSend, Event, Hook, Person, Says, VendorModel, World, Written},
};

/// When every story begins; all of one is on one day but for the longest.
pub const BASE: Millis = 1_767_258_000_000;
/// When the last planned thing happens, at the latest.
const PLANNED: Millis = 150 * SECOND;
/// Nothing goes wrong after that.
const FAULTS: Millis = 5 * MINUTE;
/// More than an instance may send in a minute.
const CROWD: usize = 300;

/// Writes the story.
pub fn plan(world: &mut World) {
    let mut rng = world.rng.clone();
    world.faults_until = BASE + FAULTS;
    for n in 0..=rng.below(2) {
        let vendor = vendor(n, &mut rng);
        world.vendors.push(vendor);
        for _ in 0..=rng.below(3) {
            let n = world.people.len();
            let names = Names { phone: format!("2217055{n:05}"), lid: format!("99887766{n:04}") };
            let is_bot = rng.chance(60);
            world.people.push(Person { vendor: world.vendors.len() - 1, names, is_bot });
        }
    }
    for _ in 0..2 + rng.below(6) {
        let (at, person) = (rng.between(0, PLANNED), rng.below(world.people.len()));
        // People write several messages in a row.
        for after in 0..1 + i64::from(rng.chance(400)) + i64::from(rng.chance(200)) {
            let at = at + after * rng.between(1, 4_000);
            writes(world, &mut rng, person, BASE + at);
        }
    }
    for person in 0..world.people.len() {
        for n in 0..if world.people[person].is_bot { 5 } else { 0 } {
            let at = BASE + n * 15 * SECOND + rng.between(0, 5 * SECOND);
            writes(world, &mut rng, person, at);
        }
    }
    if rng.chance(150) {
        let from = BASE + rng.between(0, PLANNED);
        world.bot_down = from..from + rng.between(50, 120) * SECOND;
    }
    for _ in 0..rng.below(4) {
        api(world, &mut rng);
    }
    for _ in 0..usize::from(rng.chance(400)) + usize::from(rng.chance(200)) {
        human(world, &mut rng);
    }
    for _ in 0..usize::from(rng.chance(200)) * 2 {
        session(world, &mut rng);
    }
    if rng.chance(200) {
        let vendor = rng.below(world.vendors.len());
        let from = BASE + rng.between(0, PLANNED);
        world.at(from, Event::Pause(vendor, true));
        world.at(from + rng.between(SECOND, 4 * MINUTE), Event::Pause(vendor, false));
        // That may have been lost.
        world.at(BASE + FAULTS + SECOND, Event::Pause(vendor, false));
    }
    for _ in 0..[0, 1, 1, 2, 3][rng.below(5)] {
        let at = BASE + rng.between(0, PLANNED + MINUTE);
        world.at(at, if rng.chance(250) { Event::Stop } else { Event::Crash });
    }
    if rng.chance(1) {
        crowd(world, &mut rng);
    }
    world.rng = rng;
}

fn vendor(n: usize, rng: &mut Rng) -> VendorModel {
    let id = VendorId::parse(&format!("vendor_{n}")).unwrap();
    VendorModel {
        instance: InstanceId::nth(&id, 1),
        id,
        phone: format!("2217700{n:05}"),
        session_key: format!("session-key-{n}"),
        secret: format!("webhook-secret-{n}"),
        session: format!("{}", 1_000 + n),
        is_protected: rng.chance(150),
        risks: rng.chance(200),
        unknown_deadline: rng.between(40, 600) * SECOND,
        ttl: rng.chance(300).then(|| rng.between(5, 120) * SECOND),
        silence: rng.between(1, 20) * MINUTE,
        has_welcome: rng.chance(150),
        has_apology: rng.chance(200),
        has_log: rng.chance(600),
        has_meta: rng.chance(400),
    }
}

/// Where two providers tell of one number, only who is known by a phone number is known to both:
/// Meta tells no LID.
pub fn form(rng: &mut Rng, has_meta: bool) -> Form {
    let forms = [Form::Phone, Form::Both, Form::Lid];
    forms[rng.below(if has_meta { 2 } else { 3 })]
}

/// A customer writes; Wasender tells it once, twice, late or under another event's name.
fn writes(world: &mut World, rng: &mut Rng, person: usize, at: Millis) {
    let Person { vendor, names, .. } = world.people[person].clone();
    let n = world.messages.len();
    world.messages.push(Written { vendor, person });
    // The phone was off for a day.
    let written = if rng.chance(40) { at - 24 * HOUR } else { at };
    if written < at {
        world.old.insert(n);
    }
    world.wrote.push((person, written));
    let has_meta = world.vendors[vendor].has_meta;
    let form = form(rng, has_meta);
    let id = format!("IN{n:06}");
    for copy in 0..1 + usize::from(rng.chance(250)) + usize::from(rng.chance(80)) {
        let event = ["messages.received", "messages.upsert"][rng.below(2)];
        // One message has one form, but not always in each of its webhooks.
        let form = if copy > 0 && rng.chance(300) { Form::Both } else { form };
        let mut body = wire::message(event, &names, form, &id, &format!("m{n}"), written);
        if rng.chance(200) {
            body["instanceId"] = serde_json::json!(world.vendors[vendor].session);
        }
        let late = if rng.chance(60) { 60_000 } else { 1_500 };
        let hook = Hook {
            by: ProviderKind::Wasender,
            vendor,
            to: vendor,
            body,
            says: Says::Message(n),
            tries: 3,
            links: form == Form::Both,
        };
        world.at(at + rng.between(0, late), Event::Hook(Box::new(hook)));
    }
    if has_meta && rng.chance(700) {
        let id = format!("wamid.IN{n:06}");
        let body = meta::message(vendor, &names, &id, &format!("m{n}"), written);
        by_meta(world, rng, vendor, body, Says::Message(n), at);
    }
    if rng.chance(50) {
        let body = wire::edit(&names, &format!("ED{n:06}"), &id, "edited", at);
        let hook = other(vendor, vendor, body);
        world.at(at + rng.between(0, 4_000), Event::Hook(Box::new(hook)));
    }
    if world.vendors.len() > 1 && rng.chance(30) {
        // To another vendor's address; it does not prove itself there.
        let body = wire::message("messages.received", &names, form, &id, &format!("m{n}"), at);
        let to = (vendor + 1) % world.vendors.len();
        let hook = other(vendor, to, body);
        world.at(at, Event::Hook(Box::new(hook)));
    }
}

/// A back end asks for a message, and asks again when it hears nothing.
fn api(world: &mut World, rng: &mut Rng) {
    let person = rng.below(world.people.len());
    let n = world.api.len();
    world.api.push(ApiSend { vendor: world.people[person].vendor, person, tries: 0, id: None });
    let at = BASE + rng.between(0, PLANNED);
    world.at(at, Event::Api(n));
    if rng.chance(500) {
        world.at(at + rng.between(0, 40_000), Event::Api(n));
    }
}

/// The provider tells how the session is; the vendor's service is made anew.
fn session(world: &mut World, rng: &mut Rng) {
    let vendor = rng.below(world.vendors.len());
    let word = ["connected", "disconnected", "connecting"][rng.below(3)];
    let body = wire::session(word, BASE);
    let hook = other(vendor, vendor, body);
    world.at(BASE + rng.between(0, PLANNED), Event::Hook(Box::new(hook)));
}

/// A human types on the vendor's phone.
fn human(world: &mut World, rng: &mut Rng) {
    let person = rng.below(world.people.len());
    let Person { vendor, names, .. } = world.people[person].clone();
    let n = world.humans.len();
    world.humans.push(Written { vendor, person });
    let at = BASE + rng.between(0, PLANNED);
    let text = format!("human {n}");
    let body = wire::echo("messages.upsert", &names, Form::Both, &format!("HU{n:06}"), &text, at);
    let says = Says::Human(n);
    let by = ProviderKind::Wasender;
    let hook = Hook { by, vendor, to: vendor, body, says, tries: 3, links: true };
    world.at(at + rng.between(0, 1_500), Event::Hook(Box::new(hook)));
    if world.vendors[vendor].has_meta && rng.chance(500) {
        let body = meta::echo(vendor, &names, &format!("wamid.HU{n:06}"), &text, at);
        by_meta(world, rng, vendor, body, says, at);
    }
}

/// Meta tells it as well, sooner or later than Wasender.
fn by_meta(
    world: &mut World,
    rng: &mut Rng,
    vendor: usize,
    body: serde_json::Value,
    says: Says,
    at: Millis,
) {
    let late = if rng.chance(60) { 60_000 } else { 1_500 };
    let by = ProviderKind::Meta;
    let hook = Hook { by, vendor, to: vendor, body, says, tries: 3, links: false };
    for _ in 0..=usize::from(rng.chance(150)) {
        world.at(at + rng.between(0, late), Event::Hook(Box::new(hook.clone())));
    }
}

/// A webhook of Wasender's that is neither a message nor tells of one that was sent.
fn other(vendor: usize, to: usize, body: serde_json::Value) -> Hook {
    let by = ProviderKind::Wasender;
    Hook { by, vendor, to, body, says: Says::Other, tries: 1, links: false }
}

/// A back end asks for more than may leave in a minute.
fn crowd(world: &mut World, rng: &mut Rng) {
    let at = BASE + rng.between(0, PLANNED);
    let vendor = world.people[0].vendor;
    for _ in 0..CROWD {
        let n = world.api.len();
        world.api.push(ApiSend { vendor, person: 0, tries: 0, id: None });
        world.at(at, Event::Api(n));
    }
}
