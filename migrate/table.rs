//! The CSV file: its rows, and what is wrong with each of them by itself.

// Named, because the fuzz targets have this file in another place.
#[path = "table/cells.rs"]
pub mod cells;
#[path = "table/sheet.rs"]
pub mod sheet;

use std::{collections::HashMap, path::Path};

use anyhow::Context;
use csv::ByteRecord;
use waba_gateway::{
    domain::{
        id::{BadId, InstanceId, VendorId},
        phone::PhoneNumber,
        secret::SecretString,
        vendor::{ResponseApi, VendorStatus},
        waba::{INSTANCES_PER_VENDOR_MAX, MetaAccount, WabaInstance},
    },
    gateway::WEBHOOK_SECRET_CHARS_MIN,
};

/// The columns, in their order.
pub const COLUMNS: [&str; 6] =
    [VENDOR_ID, BUSINESS_NAME, PHONE_NUMBER, WASENDER_ID, WEBHOOK_SECRET, API_KEY];
/// The tenant.
pub const VENDOR_ID: &str = "vendorId";
/// Their name.
pub const BUSINESS_NAME: &str = "businessName";
/// The number messages leave from.
pub const PHONE_NUMBER: &str = "phoneNumber";
/// The session's number at Wasender.
pub const WASENDER_ID: &str = "wasenderInstanceId";
/// What the session's webhooks are proven by.
pub const WEBHOOK_SECRET: &str = "wasenderWebhookSecret";
/// The session's own API key. The cell may be empty and the column absent.
pub const API_KEY: &str = "wasenderApiKey";

/// The longest cell, in characters.
pub const CELL_CHARS_MAX: usize = 512;

/// A number's id at Meta, in files of other systems.
pub const META_ID: &str = "phone_number_id";

/// A table, and what it calls the columns that all of them have in some form.
pub struct Table {
    /// Its place among the tables that are read together.
    pub place: u8,
    /// Its name; empty where there is one alone.
    pub name: &'static str,
    /// A vendor's name.
    pub business_name: &'static str,
    /// The number messages leave from.
    pub phone_number: &'static str,
}

/// The table that `batch` reads.
pub static VENDORS: Table =
    Table { place: 0, name: "", business_name: BUSINESS_NAME, phone_number: PHONE_NUMBER };

/// What a row of another system says of a number at Meta and of its vendor.
#[derive(Clone, Default)]
pub struct MetaRow {
    /// The number's account there; what is absent stays as it is.
    pub account: MetaAccount,
    /// Whether its vendor is served.
    pub status: Option<VendorStatus>,
    /// Where its vendor's back end gets its events.
    pub forward_url: Option<String>,
    /// Who answers its customers.
    pub responder: Option<ResponseApi>,
    /// Nobody but the back end answers its customers.
    pub is_answered_elsewhere: bool,
}

/// A row. What could not be read is absent, and then there is a fault.
#[derive(Clone)]
pub struct Row {
    /// Which table it is in.
    pub table: &'static Table,
    /// Where it begins; the first line is 1.
    pub line: usize,
    /// The tenant.
    pub vendor: Option<VendorId>,
    /// Their name.
    pub business_name: Option<String>,
    /// The number messages leave from.
    pub phone_number: Option<PhoneNumber>,
    /// The session's number at Wasender.
    pub wasender_id: Option<String>,
    /// What the session's webhooks are proven by.
    pub secret: Option<SecretString>,
    /// The session's own API key, where the row has one.
    pub api_key: Option<SecretString>,
    /// What another system says of the number; it is at Meta then, not at Wasender.
    pub meta: Option<Box<MetaRow>>,
    /// What there is to know of it, although nothing is wrong.
    pub notes: Vec<String>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

impl Row {
    /// A row with nothing in it yet.
    pub fn blank(line: usize) -> Self {
        Self {
            table: &VENDORS,
            line,
            vendor: None,
            business_name: None,
            phone_number: None,
            wasender_id: None,
            secret: None,
            api_key: None,
            meta: None,
            notes: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What an instance has, as a row has it.
    pub fn take(&mut self, instance: &WabaInstance) {
        self.phone_number = Some(instance.phone_number.clone());
        self.wasender_id.clone_from(&instance.wasender.instance_id);
        self.api_key.clone_from(&instance.wasender.session_key);
        // The first is the one for good, unless it is on its way out.
        let secret = instance.wasender.webhook_secrets.first();
        self.secret = secret.filter(|it| it.until.is_none()).map(|it| it.secret.clone());
    }
}

/// What is wrong with a row. It quotes no cell: a shifted row has its secrets anywhere.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A row has as many cells as the header.
    #[error("has {found} cells where the header has {wanted} (a cell with a comma needs quotes)")]
    Cells {
        /// The row's.
        found: usize,
        /// The header's.
        wanted: usize,
    },
    /// Not UTF-8.
    #[error("{0} is not UTF-8 text (from Excel, save as \"CSV UTF-8\")")]
    Encoding(&'static str),
    /// A control character, a line break or something else that cannot be seen.
    #[error("{0} has a line break or an invisible character (is a quote not closed?)")]
    Control(&'static str),
    /// The name of a column stands where a value belongs.
    #[error("{0} looks like a header")]
    Header(&'static str),
    /// More than 512 characters.
    #[error("{0} is longer than {CELL_CHARS_MAX} characters")]
    Long(&'static str),
    /// It may not be empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Not a vendor id.
    #[error("{VENDOR_ID}: {0}")]
    VendorId(BadId),
    /// Not a phone number, or one whose country nobody can tell.
    #[error("{PHONE_NUMBER}: write the number with + and its country code, like +221771234567")]
    PhoneNumber,
    /// Not what belongs into the column.
    #[error("{column}: {why}")]
    Bad {
        /// Which column.
        column: &'static str,
        /// What it is, or should be.
        why: String,
    },
    /// A secret that could be guessed.
    #[error("{WEBHOOK_SECRET} has fewer than {WEBHOOK_SECRET_CHARS_MIN} characters")]
    ShortSecret,
    /// Another row has it too.
    #[error("{column} is also in line {line}")]
    Twice {
        /// What.
        column: &'static str,
        /// The other row's.
        line: usize,
    },
    /// Another row of the same vendor has another name: each run would write the other.
    #[error("{BUSINESS_NAME} is not the one that this vendor has in line {0}")]
    OtherName(usize),
    /// Another vendor has it in the store.
    #[error("{column} belongs to vendor {vendor}")]
    Taken {
        /// What.
        column: &'static str,
        /// Whose it is.
        vendor: VendorId,
    },
    /// Another instance of the same vendor has it in the store.
    #[error("{column} is that of the vendor's instance {instance}")]
    OwnTaken {
        /// What.
        column: &'static str,
        /// Which instance has it.
        instance: InstanceId,
    },
    /// It was taken while this program was at work.
    #[error("the number or its account has just been taken by another vendor")]
    JustTaken,
    /// What is stored of the vendor is spoilt.
    #[error("what is stored of vendor {0} cannot be read; `waba-gateway doctor` says more")]
    Unreadable(VendorId),
    /// Another vendor has an instance of the name that the row's would have.
    #[error("instance {0} belongs to another vendor")]
    InstanceTaken(InstanceId),
    /// There is no room for one more.
    #[error("the vendor has {INSTANCES_PER_VENDOR_MAX} instances, and may not have more")]
    Full,
}

/// Why there are no rows. It quotes no cell: without a header, the first line has secrets.
#[derive(Debug, PartialEq, thiserror::Error)]
enum BadFile {
    #[error("it is empty; its first line must be {}", COLUMNS.join(","))]
    Empty,
    #[error("line {line} must be the header {}", COLUMNS.join(","))]
    Header { line: usize },
}

/// Reads the file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let bytes = sheet::bytes(path)?;
    parse(&bytes).with_context(|| path.display().to_string())
}

/// Reads what is in the file.
pub fn parse(bytes: &[u8]) -> anyhow::Result<Vec<Row>> {
    let mut n_columns = None;
    let mut rows = Vec::new();
    sheet::records(bytes, |line, record| {
        match n_columns {
            None => n_columns = Some(columns_of(record, line)?),
            Some(wanted) => rows.push(cells::row(line, record, wanted)),
        }
        Ok(())
    })?;
    n_columns.ok_or(BadFile::Empty)?;
    mark_twice(&mut rows);
    Ok(rows)
}

/// How many columns the file has, if this is its header.
fn columns_of(header: &ByteRecord, line: usize) -> anyhow::Result<usize> {
    let n_columns = header.len();
    let is_name =
        |(cell, name): (&[u8], &str)| cell.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    let may_lack_one = n_columns == COLUMNS.len() || n_columns == COLUMNS.len() - 1;
    if may_lack_one && header.iter().zip(COLUMNS).all(is_name) {
        return Ok(n_columns);
    }
    sheet::check_separator(header)?;
    Err(BadFile::Header { line }.into())
}

/// Marks rows that claim the same thing: nobody can tell which of them is meant.
fn mark_twice(rows: &mut [Row]) {
    let vendor = |it: &Row| it.vendor.as_ref().map(ToString::to_string);
    let phone_number = |it: &Row| it.phone_number.as_ref().map(PhoneNumber::alias);
    let wasender_id = |it: &Row| it.wasender_id.clone();
    mark_twice_in(rows, VENDOR_ID, vendor);
    mark_twice_in(rows, PHONE_NUMBER, phone_number);
    mark_twice_in(rows, WASENDER_ID, wasender_id);
}

/// The same of one column alone.
pub fn mark_twice_in(rows: &mut [Row], column: &'static str, key: impl Fn(&Row) -> Option<String>) {
    let mut firsts: HashMap<String, usize> = HashMap::new();
    let mut twice = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(key) = key(row) else { continue };
        match firsts.get(&key) {
            Some(first) => twice.push((*first, at)),
            None => {
                firsts.insert(key, at);
            }
        }
    }
    for (first, at) in twice {
        let line = rows[first].line;
        rows[at].faults.push(Fault::Twice { column, line });
        if column == VENDOR_ID && rows[first].business_name != rows[at].business_name {
            rows[at].faults.push(Fault::OtherName(line));
        }
        let line = rows[at].line;
        let is_marked =
            |it: &Fault| matches!(it, Fault::Twice { column: name, .. } if *name == column);
        if !rows[first].faults.iter().any(is_marked) {
            rows[first].faults.push(Fault::Twice { column, line });
        }
    }
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
