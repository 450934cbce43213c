//! Asks for vendors, field by field. A bad answer is told at once and asked for again.

use waba_gateway::{
    domain::{id::VendorId, phone::PhoneNumber},
    lang::{Language, Words},
    store::Store,
};

use super::{
    person::{NoAnswer, Person},
    plan,
    report::complain,
    table::{
        API_KEY, BUSINESS_NAME, Fault, PHONE_NUMBER, Row, VENDOR_ID, WASENDER_ID, WEBHOOK_SECRET,
    },
    words,
};

/// What is asked of each vendor, after its id.
const FIELDS: [&str; 5] = [BUSINESS_NAME, PHONE_NUMBER, WASENDER_ID, WEBHOOK_SECRET, API_KEY];

/// An interview, and what was answered so far.
pub struct Interview<'a> {
    pub person: &'a mut Person,
    pub language: Language,
    /// What answers are checked against; none when there are no data yet.
    pub store: Option<&'a dyn Store>,
    pub rows: Vec<Row>,
}

impl Interview<'_> {
    /// Asks for vendors until an empty id. Each has all its fields then.
    pub async fn all(mut self) -> anyhow::Result<Vec<Row>> {
        self.tell(&words::start());
        loop {
            complain("");
            let Some(vendor) = self.vendor().await? else { return Ok(self.rows) };
            let present = self.present(&vendor).await?;
            let mut row = Row::blank(0);
            row.vendor = Some(vendor);
            for column in FIELDS {
                self.field(&mut row, column, &present).await?;
            }
            self.rows.retain(|it| it.vendor != row.vendor);
            self.rows.push(row);
        }
    }

    /// The next vendor's id; none at the end of the list.
    async fn vendor(&mut self) -> anyhow::Result<Option<VendorId>> {
        loop {
            let prompt = self.prompt(VENDOR_ID, None);
            let answer = self.person.line(&prompt).await?;
            if answer.trim_ascii().is_empty() {
                return Ok(None);
            }
            let mut row = Row::blank(0);
            match self.check(&mut row, VENDOR_ID, &answer).await? {
                None => return Ok(row.vendor),
                Some(fault) => self.refuse(&fault),
            }
        }
    }

    /// What is known of a vendor: from an earlier answer, else from the store.
    async fn present(&mut self, vendor: &VendorId) -> anyhow::Result<Row> {
        let earlier = self.rows.iter().find(|it| it.vendor.as_ref() == Some(vendor)).cloned();
        if let Some(row) = earlier {
            self.tell(&words::again(vendor.as_str()));
            return Ok(row);
        }
        let Some(store) = self.store else { return Ok(Row::blank(0)) };
        let row = plan::stored(store, vendor).await?;
        if row.vendor.is_some() {
            self.tell(&words::known(vendor.as_str()));
        }
        Ok(row)
    }

    /// Asks for a field until there is a good answer, or what is present is kept.
    async fn field(
        &mut self,
        row: &mut Row,
        column: &'static str,
        present: &Row,
    ) -> anyhow::Result<()> {
        let is_secret = matches!(column, WEBHOOK_SECRET | API_KEY);
        let shown = shown(present, column);
        let prompt = self.prompt(column, shown.as_deref());
        loop {
            let answer = if is_secret {
                self.person.secret(&prompt).await?
            } else {
                self.person.line(&prompt).await?
            };
            if answer.trim_ascii().is_empty() && keep(row, column, present) {
                if is_secret {
                    self.tell(&words::kept(column));
                }
                return Ok(());
            }
            match self.check(row, column, &answer).await? {
                None => return Ok(()),
                Some(fault) => self.refuse(&fault),
            }
        }
    }

    /// Takes the answer into the row, unless there is something wrong with it.
    async fn check(
        &self,
        row: &mut Row,
        column: &'static str,
        answer: &[u8],
    ) -> anyhow::Result<Option<Fault>> {
        // Alone with its vendor, so that the faults found are this answer's.
        let mut alone = Row { vendor: row.vendor.clone(), ..Row::blank(0) };
        if let Err(fault) = alone.fill(column, answer) {
            return Ok(Some(fault));
        }
        if let Some(fault) = self.taken_before(&alone) {
            return Ok(Some(fault));
        }
        if let Some(store) = self.store {
            let fault = plan::taken(store, &alone).await?.into_iter().next();
            if fault.is_some() {
                return Ok(fault);
            }
        }
        Ok(row.fill(column, answer).err())
    }

    /// Whether another vendor of the list has this number or session.
    fn taken_before(&self, row: &Row) -> Option<Fault> {
        let alias = |it: &Row| it.phone_number.as_ref().map(PhoneNumber::alias);
        let others = self.rows.iter().filter(|it| it.vendor != row.vendor);
        others.into_iter().find_map(|it| {
            let column = if alias(row).is_some() && alias(row) == alias(it) {
                PHONE_NUMBER
            } else if row.wasender_id.is_some() && row.wasender_id == it.wasender_id {
                WASENDER_ID
            } else {
                return None;
            };
            Some(Fault::Taken { column, vendor: it.vendor.clone()? })
        })
    }

    fn prompt(&self, column: &'static str, present: Option<&str>) -> String {
        let is_hidden = self.person.is_at_terminal();
        words::prompt(column, is_hidden, present).of(self.language).to_owned()
    }

    fn refuse(&self, fault: &Fault) {
        complain(&format!("  {}", words::reason(fault).of(self.language)));
    }

    fn tell(&self, words: &Words) {
        complain(words.of(self.language));
    }
}

/// Why an interview has no end, if somebody's answers are missing.
pub fn no_answer(error: &anyhow::Error) -> Option<&NoAnswer> {
    error.downcast_ref()
}

/// What is offered; a secret is not.
fn shown(present: &Row, column: &str) -> Option<String> {
    match column {
        BUSINESS_NAME => present.business_name.clone(),
        PHONE_NUMBER => present.phone_number.as_ref().map(PhoneNumber::expose),
        WASENDER_ID => present.wasender_id.clone(),
        _ => None,
    }
}

/// Takes over what is present. Whether there is anything.
fn keep(row: &mut Row, column: &str, present: &Row) -> bool {
    match column {
        BUSINESS_NAME => row.business_name.clone_from(&present.business_name),
        PHONE_NUMBER => row.phone_number.clone_from(&present.phone_number),
        WASENDER_ID => row.wasender_id.clone_from(&present.wasender_id),
        WEBHOOK_SECRET => row.secret.clone_from(&present.secret),
        API_KEY => row.api_key.clone_from(&present.api_key),
        _ => {}
    }
    match column {
        BUSINESS_NAME => row.business_name.is_some(),
        PHONE_NUMBER => row.phone_number.is_some(),
        WASENDER_ID => row.wasender_id.is_some(),
        WEBHOOK_SECRET => row.secret.is_some(),
        _ => row.api_key.is_some(),
    }
}
