//! Everything that reads what strangers, providers, bots, vendors or a broken disk give us: a target
//! takes any bytes, must not panic, and says what must hold whatever they are.

mod bulk;
mod database;
mod others;
mod replies;
mod request;
mod signed;
#[path = "../../migrate/table.rs"]
#[expect(dead_code, reason = "only its parser is looked at here")]
mod table;
mod wire;
mod words;

/// A target.
pub type Target = fn(&[u8]);

/// All of them; each has a directory of its name in `fuzz/corpus`.
pub const ALL: [(&str, Target); 18] = [
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
    ("table", csv),
    ("request", request::request),
    ("bulk", bulk::bulk),
    ("database", database::database),
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

/// The file that `waba-migrate` reads.
fn csv(data: &[u8]) {
    let Ok(rows) = table::parse(data) else { return };
    let n_lines = 1 + data.iter().filter(|it| matches!(it, b'\r' | b'\n')).count();
    let mut line = 1;
    for row in &rows {
        assert!(row.line > line && row.line <= n_lines, "the line of a row is one of the file's");
        line = row.line;
        let is_whole = row.vendor.is_some()
            && row.business_name.is_some()
            && row.phone_number.is_some()
            && row.wasender_id.is_some()
            && row.secret.is_some();
        assert!(is_whole || !row.faults.is_empty(), "what is missing is a fault");
        // Faults are shown to people: they quote no cell.
        for fault in &row.faults {
            assert!(!fault.to_string().is_empty());
        }
    }
}
