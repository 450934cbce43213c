//! The files that `waba-migrate` reads: vendors, accounts of another system, and a hub's tables.

#[path = "../../migrate/data.rs"]
#[expect(dead_code, reason = "there is no store beside the files here")]
mod data;
#[path = "../../migrate/plan.rs"]
#[expect(dead_code, reason = "only what becomes of rows is looked at here")]
mod plan;
#[path = "../../migrate/import/read.rs"]
#[expect(dead_code, reason = "Meta is not asked here")]
mod read;
#[path = "../../migrate/table.rs"]
#[expect(dead_code, reason = "only its parser is looked at here")]
mod table;

use std::{collections::HashMap, path::Path, sync::OnceLock};

use tokio::runtime::Runtime;
use waba_gateway::{
    config::MetaDefaults,
    domain::{
        secret::{ExposeSecret, SecretString},
        vendor::Dialect,
    },
    http::Http,
};

use self::{
    plan::{Action, Planned},
    read::{
        Beside,
        accounts::{self, Accounts},
        hub::{self, Hub},
        sheet::{self, Sheet},
    },
    table::Row,
};
use super::others::http;

/// What the secrets of the kept files begin with.
const MARK: &str = "marked-";
/// Between the tables of a hub.
const BETWEEN: &[u8] = b"\n--\n";
/// A day in 2025.
const NOW: i64 = 1_760_000_000_000;
/// Columns of accounts, as they are written again.
const COLUMNS: [&str; 11] = [
    "user_id",
    "chatbot_id",
    "phone_number_id",
    "display_phone_number",
    "access_token",
    "app_secret",
    "verify_token",
    "business_account_id",
    "business_name",
    "status",
    "web_id",
];

/// The file that `waba-migrate batch` reads.
pub fn csv(data: &[u8]) {
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

/// The files that `waba-migrate import` reads: accounts, or a hub's tables with a line of `--` between
/// them.
pub fn import(data: &[u8]) {
    // A client takes long to make.
    static HTTP: OnceLock<Http> = OnceLock::new();
    let (meta, asked) = (MetaDefaults::default(), HashMap::new());
    let (response_api, http) = (Some("https://bot.example/"), HTTP.get_or_init(http).clone());
    let beside = Beside { prefix: String::new(), meta: &meta, response_api, http, asked };
    if let Ok(sheet) = parsed(data, &accounts::FORMS) {
        accounts(&sheet, &beside);
    }
    let mut tables = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|it| it == BETWEEN) {
        tables.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    tables.push(rest);
    let read: Result<Vec<Sheet>, ()> = tables.iter().map(|it| parsed(it, &hub::FORMS)).collect();
    if let Ok(sheets) = read {
        for first_project in [false, true] {
            hub(&sheets, first_project, &beside);
        }
    }
}

fn parsed(data: &[u8], forms: &[sheet::Form]) -> Result<Sheet, ()> {
    sheet::parse(Path::new("a.csv"), data, forms).map_err(|it| check_words(&format!("{it:#}")))
}

fn accounts(sheet: &Sheet, beside: &Beside<'_>) {
    let Accounts { rows, others } = accounts::read(sheet, beside);
    let mut lines: Vec<usize> =
        rows.iter().chain(others.iter().map(|it| &it.0)).map(|it| it.line).collect();
    lines.sort_unstable();
    let all: Vec<usize> = sheet.records().map(|it| it.line).collect();
    assert_eq!(lines, all, "each row has one end");
    for (row, action) in &others {
        assert!(row.faults.is_empty(), "a bad row is told as one");
        check(row, action);
    }
    let good: Vec<Row> = rows.iter().filter(|it| it.faults.is_empty()).cloned().collect();
    ends(rows);
    // What was read and is written again says the same.
    let file = written(&good);
    let sheet = sheet::parse(Path::new("b.csv"), &file, &accounts::FORMS).expect("a file");
    let again = accounts::read(&sheet, beside);
    assert!(again.others.is_empty(), "a row that was taken is left out");
    let faults: Vec<_> = again.rows.iter().flat_map(|it| &it.faults).collect();
    assert!(faults.is_empty(), "a row that was good is bad: {faults:?}");
    let cells = |rows: &[Row]| rows.iter().map(cells).collect::<Vec<_>>();
    assert!(cells(&good) == cells(&again.rows), "what was written is read as something else");
}

fn hub(sheets: &[Sheet], first_project: bool, beside: &Beside<'_>) {
    let hub = match Hub::read(sheets, first_project, beside) {
        Ok(it) => it,
        Err(it) => return check_words(&format!("{it:#}")),
    };
    let numbers = ends(hub.numbers());
    let others = hub.others(&numbers);
    let n_records: usize = sheets.iter().map(|it| it.records().count()).sum();
    assert_eq!(numbers.len() + others.len(), n_records, "each row has one end");
    for it in &others {
        assert!(it.row.faults.is_empty() || it.is_refused(), "a bad row is told as one");
        check(&it.row, &it.action);
    }
}

/// What becomes of rows that make numbers: the good ones do, whatever is wrong with others.
fn ends(rows: Vec<Row>) -> Vec<Planned> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let new = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
    let runtime = RUNTIME.get_or_init(|| new().expect("a runtime"));
    let lots = runtime.block_on(plan::some_of(rows, None, NOW)).expect("there is no store");
    let planned = lots.rows;
    for Planned { row, action, change, .. } in &planned {
        check(row, action);
        match action {
            Action::Refused(faults) => {
                assert!(!faults.is_empty(), "what is refused has a reason");
                assert!(change.instance.is_none() && change.vendor.is_none());
            }
            _ => assert!(row.faults.is_empty(), "a bad row is refused"),
        }
        if let Some(instance) = &change.instance {
            assert_eq!(Some(&instance.vendor_id), row.vendor.as_ref());
            assert_eq!(Some(&instance.phone_number), row.phone_number.as_ref());
        }
    }
    planned
}

/// What is told of a row has no secret.
fn check(row: &Row, action: &Action) {
    row.faults.iter().for_each(|it| check_words(&it.to_string()));
    row.notes.iter().for_each(|it| check_words(it));
    match action {
        Action::Refused(faults) => faults.iter().for_each(|it| check_words(&it.to_string())),
        Action::Taken(why) | Action::NotKept(why) | Action::LeftOut(why) => check_words(why),
        Action::Created | Action::Added | Action::Updated(_) | Action::Unchanged => {}
    }
}

#[track_caller]
fn check_words(told: &str) {
    assert!(!told.is_empty() && !told.contains(MARK), "a cell is quoted: {told}");
}

fn written(rows: &[Row]) -> Vec<u8> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).expect("it is in memory");
    for row in rows {
        writer.write_record(cells(row)).expect("it is in memory");
    }
    writer.into_inner().expect("it is in memory")
}

fn cells(row: &Row) -> [String; 11] {
    let meta = row.meta.as_ref().expect("a good row has an account");
    let secret =
        |it: Option<&SecretString>| it.map(|it| it.expose_secret().to_owned()).unwrap_or_default();
    let (chatbot, web_id) = match meta.responder.as_ref().map(|it| &it.dialect) {
        Some(Dialect::Conversation { chatbot_id, web_id }) => {
            (chatbot_id.as_str(), web_id.as_ref())
        }
        Some(Dialect::Bot) | None => ("", None),
    };
    [
        row.vendor.as_ref().expect("a good row has a vendor").to_string(),
        chatbot.to_owned(),
        meta.account.phone_number_id.clone(),
        row.phone_number.as_ref().expect("a good row has a number").expose(),
        secret(meta.account.access_token.as_ref()),
        secret(meta.account.app_secret.as_ref()),
        secret(meta.account.verify_token.as_ref()),
        meta.account.waba_id.clone().unwrap_or_default(),
        row.business_name.clone().unwrap_or_default(),
        meta.status.map(|it| it.as_str().to_owned()).unwrap_or_default(),
        secret(web_id),
    ]
}
