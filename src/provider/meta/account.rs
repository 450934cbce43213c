//! What an account's fields say of the number (`docs/wire/meta-unipile-twilio.md` A7).

use serde_json::Value;

use super::wire::text;
use crate::domain::{
    contact::Address,
    event::{Chat, Connection, Event, What},
};

/// Fields that are kept as they came although there is a word for some of it.
pub(super) fn is_kept(field: &str) -> bool {
    field == "account_update"
}

/// What `account_update` means for sending.
pub(super) fn events(value: &Value) -> Vec<Event> {
    let state = connection(value);
    let event = |it| Event::new(What::Connection(it), Chat::None, Address::default());
    state.map(event).into_iter().collect()
}

fn connection(value: &Value) -> Option<Connection> {
    match text(&value["event"])? {
        "DISABLED_UPDATE" => match text(&value["ban_info"]["waba_ban_state"])? {
            "DISABLE" => Some(Connection::Error),
            "REINSTATE" => Some(Connection::Connected),
            // It still sends until then.
            _ => None,
        },
        "ACCOUNT_RESTRICTION" => Some(Connection::Error),
        "ACCOUNT_DELETED"
        | "ACCOUNT_OFFBOARDED"
        | "PARTNER_REMOVED"
        | "PARTNER_APP_UNINSTALLED" => Some(Connection::Disconnected),
        "ACCOUNT_RECONNECTED" => Some(Connection::Connected),
        _ => None,
    }
}
