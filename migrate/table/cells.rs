//! One row's cells, each into what it means.

use csv::ByteRecord;
use waba_gateway::{
    domain::{id::VendorId, phone::PhoneNumber, secret::SecretString},
    gateway::WEBHOOK_SECRET_CHARS_MIN,
};

use super::{
    API_KEY, BUSINESS_NAME, CELL_CHARS_MAX, COLUMNS, Fault, PHONE_NUMBER, Row, VENDOR_ID,
    WASENDER_ID, WEBHOOK_SECRET,
};

/// The fewest digits of a number without + that is not in its country's plan, like the
/// predecessor's samples. With fewer it may lack its country code.
const BARE_DIGITS_MIN: usize = 11;

/// The row in this record, with all its faults.
pub(super) fn row(line: usize, record: &ByteRecord, n_columns: usize) -> Row {
    let mut row = Row::blank(line);
    if record.len() != n_columns {
        row.faults.push(Fault::Cells { found: record.len(), wanted: n_columns });
        return row;
    }
    let cells = record.iter().chain(std::iter::repeat(&b""[..]));
    for (column, cell) in COLUMNS.into_iter().zip(cells) {
        if let Err(fault) = row.fill(column, cell) {
            row.faults.push(fault);
        }
    }
    row
}

impl Row {
    /// Reads a cell of this column into the row.
    pub fn fill(&mut self, column: &'static str, cell: &[u8]) -> Result<(), Fault> {
        let text = text(column, cell)?;
        if column == API_KEY {
            self.api_key = Some(text).filter(|it| !it.is_empty()).map(SecretString::from);
            return Ok(());
        }
        let text = filled(column, text)?;
        match column {
            VENDOR_ID => self.vendor = Some(vendor(text)?),
            BUSINESS_NAME => self.business_name = Some(text.to_owned()),
            PHONE_NUMBER => {
                self.phone_number = Some(phone_number(text).ok_or(Fault::PhoneNumber)?);
            }
            WASENDER_ID => self.wasender_id = Some(text.to_owned()),
            WEBHOOK_SECRET => self.secret = Some(secret(text)?),
            _ => {}
        }
        Ok(())
    }
}

/// A cell's text, without the blanks around it.
fn text<'a>(column: &'static str, cell: &'a [u8]) -> Result<&'a str, Fault> {
    let text = clean(column, cell, column == BUSINESS_NAME)?;
    if text.chars().count() > CELL_CHARS_MAX {
        return Err(Fault::Long(column));
    }
    if COLUMNS.iter().any(|it| it.eq_ignore_ascii_case(text)) {
        return Err(Fault::Header(column));
    }
    Ok(text)
}

/// A cell's text, without the blanks around it, however long it is.
pub fn clean<'a>(column: &'static str, cell: &'a [u8], is_name: bool) -> Result<&'a str, Fault> {
    let text = std::str::from_utf8(cell).map_err(|_| Fault::Encoding(column))?;
    if text.chars().any(|it| it.is_control() || (!is_name && is_invisible(it))) {
        return Err(Fault::Control(column));
    }
    Ok(text.trim())
}

/// Comes along when numbers and secrets are copied from a web page or a phone. Names may need it:
/// it joins letters and emoji.
fn is_invisible(it: char) -> bool {
    let zero_width = '\u{200b}'..='\u{200f}';
    let direction = '\u{202a}'..='\u{202e}';
    let isolate = '\u{2060}'..='\u{2069}';
    zero_width.contains(&it) || direction.contains(&it) || isolate.contains(&it) || it == '\u{feff}'
}

fn filled<'a>(column: &'static str, text: &'a str) -> Result<&'a str, Fault> {
    if text.is_empty() { Err(Fault::Empty(column)) } else { Ok(text) }
}

fn vendor(text: &str) -> Result<VendorId, Fault> {
    VendorId::parse(text).map_err(Fault::VendorId)
}

/// A number as a person types it, or the bare digits of the predecessor's files.
pub fn phone_number(text: &str) -> Option<PhoneNumber> {
    let typed = PhoneNumber::from_person(text, None).ok();
    let is_bare = text.len() >= BARE_DIGITS_MIN && text.bytes().all(|it| it.is_ascii_digit());
    typed.or_else(|| PhoneNumber::from_wire(text).ok().filter(|_| is_bare))
}

fn secret(text: &str) -> Result<SecretString, Fault> {
    if text.chars().count() < WEBHOOK_SECRET_CHARS_MIN {
        return Err(Fault::ShortSecret);
    }
    Ok(text.into())
}
