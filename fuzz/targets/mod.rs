//! Everything that reads what strangers, providers, bots, vendors or a broken disk give us: a target
//! takes any bytes, must not panic, and says what must hold whatever they are.

mod bulk;
mod database;
mod documents;
mod migrate;
mod others;
mod replies;
mod request;
mod signed;
mod wire;
mod words;

/// A target.
pub type Target = fn(&[u8]);

/// All of them; each has a directory of its name in `fuzz/corpus`.
pub const ALL: [(&str, Target); 20] = [
    ("webhook", wire::webhook),
    ("meta", wire::meta),
    ("twilio", others::twilio),
    ("unipile", others::unipile),
    ("signature", wire::signature),
    ("signed", signed::signed),
    ("reply", replies::reply),
    ("token", replies::token),
    ("answer", wire::answer),
    ("ids", words::ids),
    ("phone", words::phone),
    ("media", wire::media),
    ("text", words::text),
    ("exchange", wire::exchange),
    ("table", migrate::csv),
    ("request", request::request),
    ("bulk", bulk::bulk),
    ("database", database::database),
    ("import", migrate::import),
    ("documents", documents::documents),
];

/// Runs the target of this name.
///
/// # Panics
///
/// What must hold does not.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = ALL.iter().find(|it| it.0 == name).expect("a target of that name");
    target(data);
}
