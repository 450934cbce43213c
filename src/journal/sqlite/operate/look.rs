//! Finding entries by what became of them.

use rusqlite::{Connection, params};

use super::PARKED;
use crate::{
    domain::id::{EntryId, VendorId},
    journal::{
        Entry, Listed, Listing, Replayable,
        sqlite::{
            chains::{self, OF_VENDOR},
            entries::{COLUMNS, EntryRow},
            state::State,
        },
    },
    sqlite::DbError,
};

/// A send that has begun and is in nobody's hand.
const FENCED: &str = "(kind = 2 AND begun_at IS NOT NULL AND life LIKE '%\"fenced\":%')";
/// A message that ended without an answer which it may still get.
const UNANSWERED: &str = "(kind = 0 AND account = 1 AND note NOT IN ('not_private', 'erased'))";

pub(super) fn list(
    connection: &Connection,
    ends: &State,
    listing: &Listing,
) -> Result<Vec<Entry>, DbError> {
    let open = |which: &str| ("INDEXED BY entries_open", format!("is_open = 1 AND {which}"));
    let stuck = |account: i64| {
        let which = format!("account > 1 AND account = {account}");
        ("INDEXED BY entries_stuck", which)
    };
    let (index, which) = match listing.state {
        Listed::Waiting => open(&format!("account = 0 AND kind IN (0, 2) AND NOT {FENCED}")),
        Listed::Fenced => open(&format!("account = 0 AND {FENCED}")),
        Listed::Open => open("1"),
        Listed::Unknown => stuck(2),
        Listed::Parked => stuck(PARKED),
        Listed::Dead => stuck(4),
        Listed::Unanswered => ("", UNANSWERED.to_owned()),
    };
    let before = listing.before.map_or(i64::MAX, |it| it.0);
    let limit = i64::try_from(listing.limit).unwrap_or(i64::MAX);
    if let (Some(vendor), Listed::Unanswered) = (&listing.vendor, listing.state) {
        let start = chains::start_of_vendor(connection, ends, vendor, listing.before)?;
        let sql = format!(
            "{OF_VENDOR} SELECT {COLUMNS} FROM walk CROSS JOIN entries USING (id)
                WHERE id < ?2 AND {which} LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([start.0, before, limit], EntryRow::read)?;
        return rows.map(|it| Ok(it?.into())).collect();
    }
    let of = if listing.vendor.is_some() { "vendor = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT {COLUMNS} FROM entries {index} WHERE {of} AND id < ?2 AND {which}
         ORDER BY id DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = params![listing.vendor.as_ref().map(VendorId::as_str), before, limit];
    let rows = statement.query_map(values, EntryRow::read)?;
    rows.map(|it| Ok(it?.into())).collect()
}

/// What was given up for a reason that may be over. What was silenced or erased shall not be sent.
pub(super) fn replayable(
    connection: &Connection,
    vendor: &VendorId,
    after: EntryId,
    which: Replayable,
    limit: usize,
) -> Result<Vec<EntryId>, DbError> {
    // A human has dealt with what was paused, and of two bots talking there is nothing to replay.
    let messages = match (which.messages, which.again) {
        (false, _) => "0",
        (true, false) => {
            "(kind = 0 AND account IN (1, 3)
                AND note NOT IN ('not_private', 'erased', 'paused', 'loop', 'restored'))"
        }
        (true, true) => {
            "(kind = 0 AND account IN (1, 3)
                AND note NOT IN ('not_private', 'erased', 'paused', 'loop'))"
        }
    };
    let sends = if which.again {
        "(kind = 2 AND (account IN (1, 2) OR (account IN (3, 4)
            AND coalesce(note, '') NOT IN ('silenced', 'erased'))))"
    } else {
        "(kind = 2 AND account IN (3, 4)
            AND coalesce(note, '') NOT IN ('silenced', 'erased', 'restored'))"
    };
    let sql = format!(
        "SELECT id FROM entries WHERE vendor = ?1 AND id > ?2 AND ({messages} OR {sends})
         ORDER BY id LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![vendor.as_str(), after.0, limit];
    let rows = statement.query_map(values, |row| row.get(0).map(EntryId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
