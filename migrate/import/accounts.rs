//! Accounts of a system with one Meta app for many users, or with many chatbots' clients
//! (`docs/CONTRACT.md` §2 and §3).

use std::collections::BTreeMap;

use waba_gateway::domain::{
    phone::PhoneNumber,
    secret::SecretString,
    vendor::{Dialect, VendorStatus},
    waba::MetaAccount,
};

use super::super::{
    plan::{
        Action,
        good::{ACCESS_TOKEN, APP_SECRET, CHATBOT_ID, META_ACCOUNT_ID, STATUS, VERIFY_TOKEN},
    },
    table::{Fault, META_ID, MetaRow, Row, Table, mark_twice_in},
};
use super::{
    Beside,
    sheet::{Form, Record, Sheet},
};

const USER_ID: &str = "user_id";
const BUSINESS_NAME: &str = "business_name";
const NUMBER: &str = "display_phone_number";
const WEB_ID: &str = "web_id";
const WEBHOOK_URL: &str = "webhook_url";

static ACCOUNTS: Table =
    Table { place: 0, name: "", business_name: BUSINESS_NAME, phone_number: NUMBER };

pub static FORMS: [Form; 1] = [Form {
    table: &ACCOUNTS,
    required: &[META_ID, ACCESS_TOKEN],
    optional: &[
        NUMBER,
        USER_ID,
        CHATBOT_ID,
        APP_SECRET,
        VERIFY_TOKEN,
        META_ACCOUNT_ID,
        BUSINESS_NAME,
        STATUS,
        WEB_ID,
        WEBHOOK_URL,
    ],
    aliases: &[
        ("phone_number", NUMBER),
        ("waba_id", META_ACCOUNT_ID),
        ("conversly_web_id", WEB_ID),
    ],
}];

/// A file's accounts.
pub struct Accounts {
    /// Those that make numbers.
    pub rows: Vec<Row>,
    /// The others, and why they make none.
    pub others: Vec<(Row, Action)>,
}

/// Whether the file has no column for the numbers themselves.
pub fn has_no_numbers(sheet: &Sheet) -> bool {
    !sheet.has(NUMBER)
}

/// Where a number is missing: the line, its id at Meta and what asks for it there.
pub fn missing_numbers(sheet: &Sheet) -> Vec<(usize, String, SecretString)> {
    let missing = |mut it: Record<'_>| {
        let is_missing = it.text(NUMBER).is_none();
        let (id, token) = (it.meta_id(META_ID)?, it.secret(ACCESS_TOKEN)?);
        is_missing.then_some((it.line, id, token))
    };
    sheet.records().filter_map(missing).collect()
}

/// What the file says.
pub fn read(sheet: &Sheet, beside: &Beside<'_>) -> Accounts {
    let mut rows: Vec<Row> = sheet.records().map(|it| row(it, beside)).collect();
    let mut others = Vec::new();
    take_out(&mut rows, &mut others, of_shared_numbers);
    take_out(&mut rows, &mut others, of_switched_off);
    take_out(&mut rows, &mut others, of_second_chatbots);
    let groups = groups(&rows, good_vendor);
    groups.iter().for_each(|it| agree(&mut rows, it));
    mark_twice_in(&mut rows, NUMBER, |it| it.phone_number.as_ref().map(PhoneNumber::alias));
    Accounts { rows, others }
}

fn row(mut it: Record<'_>, beside: &Beside<'_>) -> Row {
    let mut row = Row { table: &ACCOUNTS, ..Row::blank(it.line) };
    let (user, chatbot) = (it.short(USER_ID), it.short(CHATBOT_ID));
    let id = user.map(|id| (USER_ID, id)).or_else(|| Some((CHATBOT_ID, chatbot.clone()?)));
    let why = format!("is empty, and so is {CHATBOT_ID}");
    let vendor = id.ok_or(Fault::Bad { column: USER_ID, why });
    row.vendor = it.good(vendor.and_then(|(column, id)| beside.vendor(column, &id)));
    row.business_name = it.name(BUSINESS_NAME);
    row.phone_number = beside.asked.get(&it.line).cloned().or_else(|| it.number(NUMBER));
    let id = it.meta_id(META_ID);
    let access_token = it.secret(ACCESS_TOKEN);
    if access_token.is_none() {
        it.miss(ACCESS_TOKEN);
    }
    let app_secret = it.secret(APP_SECRET);
    let app_secret = it.good(beside.app_secret(app_secret));
    let verify_token = it.secret(VERIFY_TOKEN);
    let waba_id = it.text(META_ACCOUNT_ID).is_some().then(|| it.meta_id(META_ACCOUNT_ID));
    let status = status(&mut it);
    let web_id = it.short(WEB_ID).map(Into::into);
    let responder = chatbot.map(|id| beside.responder(id, web_id));
    let responder = responder.and_then(|api| it.good(api));
    if it.text(WEBHOOK_URL).is_some() {
        row.notes.push(format!("{WEBHOOK_URL} is not taken"));
    }
    row.meta = id.map(|phone_number_id| {
        let account = MetaAccount {
            phone_number_id,
            waba_id: waba_id.flatten(),
            access_token,
            app_secret,
            verify_token: beside.verify_token(verify_token),
            phone_number: None,
        };
        Box::new(MetaRow { account, status, responder, ..MetaRow::default() })
    });
    row.faults = it.faults;
    row
}

fn status(it: &mut Record<'_>) -> Option<VendorStatus> {
    let word = it.short(STATUS)?.to_ascii_lowercase();
    let why = "is none of active, inactive and suspended".to_owned();
    it.good(VendorStatus::parse(&word).ok_or(Fault::Bad { column: STATUS, why }))
}

fn is_active(row: &Row) -> bool {
    let status = row.meta.as_ref().and_then(|it| it.status);
    status.is_none_or(|it| it == VendorStatus::Active)
}

fn chatbot(row: &Row) -> Option<&str> {
    match &row.meta.as_ref()?.responder.as_ref()?.dialect {
        Dialect::Conversation { chatbot_id, .. } => Some(chatbot_id),
        Dialect::Bot => None,
    }
}

/// Whose a row is; a bad one says nothing about its vendor's others.
fn good_vendor(row: &Row) -> Option<String> {
    row.vendor.as_ref().filter(|_| row.faults.is_empty()).map(ToString::to_string)
}

/// Rows that have something in common, by their places: each group has several.
fn groups(rows: &[Row], key: impl Fn(&Row) -> Option<String>) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(key) = key(row) {
            groups.entry(key).or_default().push(at);
        }
    }
    groups.into_values().filter(|it| it.len() > 1).collect()
}

/// Moves the rows out that have no place here. What is wrong with a row goes first.
fn take_out(
    rows: &mut Vec<Row>,
    others: &mut Vec<(Row, Action)>,
    find: fn(&[Row]) -> BTreeMap<usize, Action>,
) {
    let mut found = find(rows);
    found.retain(|at, _| rows[*at].faults.is_empty());
    for (at, action) in found.into_iter().rev() {
        others.push((rows.remove(at), action));
    }
}

/// Several clients behind one number.
fn of_shared_numbers(rows: &[Row]) -> BTreeMap<usize, Action> {
    let id = |it: &Row| it.meta.as_ref().map(|it| it.account.phone_number_id.clone());
    let mut found = BTreeMap::new();
    for group in groups(rows, id) {
        let active: Vec<usize> = group.iter().copied().filter(|at| is_active(&rows[*at])).collect();
        for at in group {
            let other = active.iter().find(|it| **it != at).map(|it| rows[*it].line);
            let action = match other {
                Some(line) if is_active(&rows[at]) => Action::LeftOut(format!(
                    "{META_ID} is also in line {line}; here a number belongs to one vendor"
                )),
                // The one that is active has the number.
                None if is_active(&rows[at]) => continue,
                _ => Action::NotKept("its account is not active".to_owned()),
            };
            found.insert(at, action);
        }
    }
    found
}

/// Of one vendor's numbers those that are switched off, beside others that are not.
fn of_switched_off(rows: &[Row]) -> BTreeMap<usize, Action> {
    let mut found = BTreeMap::new();
    for group in groups(rows, good_vendor) {
        let Some(active) = group.iter().find(|at| is_active(&rows[**at])) else { continue };
        let why = format!("its account is not active, and that of line {} is", rows[*active].line);
        let off = group.iter().filter(|at| !is_active(&rows[**at]));
        found.extend(off.map(|at| (*at, Action::NotKept(why.clone()))));
    }
    found
}

/// Responders are a vendor's, for all its numbers.
fn of_second_chatbots(rows: &[Row]) -> BTreeMap<usize, Action> {
    let mut found = BTreeMap::new();
    for group in groups(rows, good_vendor) {
        let first = group[0];
        let others = group.iter().filter(|at| chatbot(&rows[**at]) != chatbot(&rows[first]));
        let line = rows[first].line;
        let why =
            format!("{CHATBOT_ID} is not that of line {line}; here one answers for all numbers");
        let alone = format!("{why}: without {USER_ID} this one is a vendor of its own");
        found.extend(others.map(|at| {
            let why = if chatbot(&rows[*at]).is_some() { &alone } else { &why };
            (*at, Action::LeftOut(why.clone()))
        }));
    }
    found
}

/// What is a vendor's, and not a number's, is as the first row that has it says: each run would
/// write the other.
fn agree(rows: &mut [Row], group: &[usize]) {
    let named = group.iter().map(|at| &rows[*at]).find(|it| it.business_name.is_some());
    let name = named.and_then(|it| Some((it.line, it.business_name.clone()?)));
    let first = rows[group[0]].clone();
    for at in group {
        let row = &mut rows[*at];
        if let Some((line, name)) = &name {
            if row.business_name.as_ref().is_some_and(|it| it != name) {
                row.notes.push(format!("{BUSINESS_NAME} is that of line {line}"));
            }
            row.business_name = Some(name.clone());
        }
        if let (Some(it), Some(of_first)) = (&mut row.meta, &first.meta) {
            if it.status != of_first.status {
                row.notes.push(format!("{STATUS} is that of line {}", first.line));
            }
            it.status = of_first.status;
            it.responder.clone_from(&of_first.responder);
        }
    }
}
