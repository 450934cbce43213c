//! Files whose columns are known by their names, in any order and in either spelling.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use csv::ByteRecord;
use waba_gateway::{
    domain::{phone::PhoneNumber, secret::SecretString},
    gateway::MetaChange,
};

use super::super::{
    plan::good::check_meta,
    table::{
        CELL_CHARS_MAX, Fault, Table, cells,
        sheet::{bytes, check_separator, records},
    },
};

/// The longest name of a column that is shown.
const NAME_CHARS_MAX: usize = 40;

/// A table, as files have it.
pub struct Form {
    pub table: &'static Table,
    /// Columns that must be there; they tell the table from others.
    pub required: &'static [&'static str],
    pub optional: &'static [&'static str],
    /// Other names that columns go by.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// A file's records, and where its columns are.
pub struct Sheet {
    pub file: PathBuf,
    pub table: &'static Table,
    /// Columns that nothing is read from.
    pub unknown: Vec<String>,
    columns: Vec<Option<&'static str>>,
    records: Vec<(usize, ByteRecord)>,
}

/// A record. What is wrong with it comes together in `faults`.
pub struct Record<'a> {
    pub line: usize,
    pub faults: Vec<Fault>,
    sheet: &'a Sheet,
    cells: &'a ByteRecord,
}

/// Reads a file that has one of these forms; the first one that fits.
pub fn read(file: &Path, forms: &[Form]) -> anyhow::Result<Sheet> {
    parse(file, &bytes(file)?, forms)
}

/// Reads what is in the file.
pub fn parse(file: &Path, bytes: &[u8], forms: &[Form]) -> anyhow::Result<Sheet> {
    let (mut header, mut found) = (None, Vec::new());
    records(bytes, |line, record| {
        if header.is_none() {
            header = Some(record.clone());
        } else {
            found.push((line, record.clone()));
        }
        Ok(())
    })
    .with_context(|| file.display().to_string())?;
    let header = header.unwrap_or_default();
    let sheet = check_separator(&header).and_then(|()| of_header(file, &header, forms));
    let sheet = sheet.with_context(|| file.display().to_string())?;
    Ok(Sheet { records: found, ..sheet })
}

fn of_header(file: &Path, header: &ByteRecord, forms: &[Form]) -> anyhow::Result<Sheet> {
    let names: Vec<String> = header.iter().map(plain).collect();
    let has = |column: &&str| names.contains(&plain(column.as_bytes()));
    let with_aliases = |form: &Form, column: &&str| {
        has(column) || form.aliases.iter().any(|it| it.1 == *column && has(&it.0))
    };
    let fits = |form: &&Form| form.required.iter().all(|it| with_aliases(form, it));
    let Some(form) = forms.iter().find(fits) else {
        // It may have secrets in its first line: none of it is quoted.
        let wanted: Vec<String> = forms.iter().map(|it| it.required.join(", ")).collect();
        bail!("its first line must be a header with {}", wanted.join("; or "));
    };
    let known = || form.required.iter().chain(form.optional).copied();
    let column = |name: &String| {
        let own = known().find(|it| plain(it.as_bytes()) == *name);
        let alias = form.aliases.iter().find(|it| plain(it.0.as_bytes()) == *name);
        own.or_else(|| alias.map(|it| it.1))
    };
    let columns: Vec<_> = names.iter().map(column).collect();
    if let Some(twice) = known().find(|it| columns.iter().filter(|of| **of == Some(it)).count() > 1)
    {
        bail!("its header has {twice} twice");
    }
    let shown =
        |it: &[u8]| String::from_utf8_lossy(it).trim().chars().take(NAME_CHARS_MAX).collect();
    let unknown = header.iter().zip(&columns).filter(|it| it.1.is_none() && !it.0.is_empty());
    let unknown = unknown.map(|it| shown(it.0)).collect();
    let (file, table) = (file.to_owned(), form.table);
    Ok(Sheet { file, table, unknown, columns, records: Vec::new() })
}

/// `phoneNumberId` and `Phone Number ID` are `phone_number_id`.
fn plain(name: &[u8]) -> String {
    let letters = name.iter().filter(|it| it.is_ascii_alphanumeric());
    letters.map(|it| char::from(it.to_ascii_lowercase())).collect()
}

impl Sheet {
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains(&Some(column))
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|(line, record)| {
            let (found, wanted) = (record.len(), self.columns.len());
            let is_odd = found != wanted;
            let faults = is_odd.then_some(Fault::Cells { found, wanted }).into_iter().collect();
            Record { line: *line, faults, sheet: self, cells: record }
        })
    }
}

impl Record<'_> {
    /// A cell's text, if there is any.
    pub fn text(&mut self, column: &'static str) -> Option<String> {
        self.cell(column, false)
    }

    /// The same of an id, or of another short text.
    pub fn short(&mut self, column: &'static str) -> Option<String> {
        let text = self.cell(column, false);
        self.shortened(column, text)
    }

    /// The same of a name, which may have what joins its letters.
    pub fn name(&mut self, column: &'static str) -> Option<String> {
        let text = self.cell(column, true);
        self.shortened(column, text)
    }

    /// The same of a cell that may not be empty.
    pub fn filled(&mut self, column: &'static str) -> Option<String> {
        let text = self.short(column);
        if text.is_none() {
            self.miss(column);
        }
        text
    }

    /// Something of a column is not there: it is empty, unless more is wrong with it.
    pub fn miss(&mut self, column: &'static str) {
        let is_empty = self.at(column).is_some_and(|it| it.trim_ascii().is_empty());
        if is_empty || !self.sheet.has(column) {
            self.faults.push(Fault::Empty(column));
        }
    }

    /// A number with its country code.
    pub fn number(&mut self, column: &'static str) -> Option<PhoneNumber> {
        let text = self.filled(column)?;
        let why = "write the number with + and its country code, like +221771234567";
        let fault = || Fault::Bad { column, why: why.to_owned() };
        self.good(cells::phone_number(&text).ok_or_else(fault))
    }

    /// A number's id at Meta.
    pub fn meta_id(&mut self, column: &'static str) -> Option<String> {
        let id = self.filled(column)?;
        let change = MetaChange { phone_number_id: Some(id.clone()), ..MetaChange::default() };
        self.good(check_meta(column, change).map(|()| id))
    }

    /// A secret of an account at Meta.
    pub fn secret(&mut self, column: &'static str) -> Option<SecretString> {
        let secret = SecretString::from(self.text(column)?);
        // All of them have the same rules.
        let change = MetaChange { access_token: Some(secret.clone()), ..MetaChange::default() };
        self.good(check_meta(column, change).map(|()| secret))
    }

    /// A yes or no, as databases write it; yes where there is nothing.
    pub fn is_on(&mut self, column: &'static str) -> bool {
        let text = self.text(column).unwrap_or_default();
        let on = ["", "true", "t", "1", "yes", "y"];
        let off = ["false", "f", "0", "no", "n"];
        let is = |words: &[&str]| words.iter().any(|it| it.eq_ignore_ascii_case(&text));
        if !is(&on) && !is(&off) {
            let why = "is neither true nor false".to_owned();
            self.faults.push(Fault::Bad { column, why });
        }
        is(&on)
    }

    /// Keeps what is good, and what is wrong with the rest.
    pub fn good<T>(&mut self, it: Result<T, Fault>) -> Option<T> {
        it.map_err(|it| self.faults.push(it)).ok()
    }

    /// A cell; of a record of another length nobody can tell which one it is.
    fn at(&self, column: &'static str) -> Option<&[u8]> {
        let at = self.sheet.columns.iter().position(|it| *it == Some(column))?;
        self.cells.get(at).filter(|_| self.cells.len() == self.sheet.columns.len())
    }

    fn cell(&mut self, column: &'static str, is_name: bool) -> Option<String> {
        let cell = cells::clean(column, self.at(column)?, is_name).map(str::to_owned);
        self.good(cell).filter(|it| !it.is_empty())
    }

    fn shortened(&mut self, column: &'static str, text: Option<String>) -> Option<String> {
        let text = text?;
        let is_short = text.chars().count() <= CELL_CHARS_MAX;
        self.good(if is_short { Ok(text) } else { Err(Fault::Long(column)) })
    }
}
