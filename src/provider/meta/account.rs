//! What an account's fields say of the number (`docs/wire/meta-unipile-twilio.md` A7).

use serde_json::Value;

use super::wire::{each, text};
use crate::domain::{
    contact::Address,
    event::{Chat, Connection, Event, What},
};

/// With it no customer is answered; the other restrictions are of templates, calls and new numbers
/// (<https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/account_update>).
const NO_REPLIES: &str = "RESTRICTED_CUSTOMER_INITIATED_MESSAGING";

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
        "ACCOUNT_RESTRICTION" => {
            let info = &value["restriction_info"];
            // One that does not say of what may be of replies.
            let is_of_replies = !info.is_array()
                || each(info).iter().any(|it| it["restriction_type"] == NO_REPLIES);
            is_of_replies.then_some(Connection::Error)
        }
        "ACCOUNT_DELETED"
        | "ACCOUNT_OFFBOARDED"
        | "PARTNER_REMOVED"
        | "PARTNER_APP_UNINSTALLED" => Some(Connection::Disconnected),
        "ACCOUNT_RECONNECTED" => Some(Connection::Connected),
        _ => None,
    }
}

/// What somebody should see to before the number stops sending, in a word of ours.
pub(super) fn warning(field: &str, value: &Value) -> Option<&'static str> {
    let event = text(&value["event"])?;
    match (field, event) {
        ("phone_number_quality_update", "FLAGGED") => Some("quality_flagged"),
        ("phone_number_quality_update", "DOWNGRADE") => Some("limit_lowered"),
        ("account_update", "ACCOUNT_VIOLATION") => Some("policy_violation"),
        ("account_update", "ACCOUNT_RESTRICTION") => Some("account_restricted"),
        ("account_update", "DISABLED_UPDATE") => {
            let is_planned = value["ban_info"]["waba_ban_state"] == "SCHEDULE_FOR_DISABLE";
            is_planned.then_some("ban_scheduled")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_restriction_is_a_state_only_where_it_is_of_replies() {
        let restricted = |types: &[&str]| {
            let info: Vec<_> = types.iter().map(|it| json!({ "restriction_type": it })).collect();
            let told = json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": info });
            assert_eq!(warning("account_update", &told), Some("account_restricted"));
            connection(&told)
        };
        let others = ["RESTRICTED_ADD_PHONE_NUMBER_ACTION", "RESTRICTED_BIZ_INITIATED_MESSAGING"];
        assert_eq!(restricted(&others), None);
        assert_eq!(restricted(&[others[0], NO_REPLIES]), Some(Connection::Error));
        assert_eq!(restricted(&[]), None, "what was restricted is so no more");
        let untold = json!({ "event": "ACCOUNT_RESTRICTION" });
        assert_eq!(connection(&untold), Some(Connection::Error));
    }

    #[test]
    fn what_comes_before_a_number_stops_sending_is_a_warning() {
        let ban = |state: &str| json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": state } });
        let quality = "phone_number_quality_update";
        for (field, told, want) in [
            (quality, json!({ "event": "FLAGGED" }), Some("quality_flagged")),
            (quality, json!({ "event": "DOWNGRADE" }), Some("limit_lowered")),
            (quality, json!({ "event": "UNFLAGGED" }), None),
            (quality, json!({ "event": "UPGRADE" }), None),
            ("account_update", json!({ "event": "ACCOUNT_VIOLATION" }), Some("policy_violation")),
            ("account_update", ban("SCHEDULE_FOR_DISABLE"), Some("ban_scheduled")),
            ("account_update", ban("DISABLE"), None),
            ("message_template_status_update", json!({ "event": "FLAGGED" }), None),
            ("messages", json!({}), None),
        ] {
            assert_eq!(warning(field, &told), want, "{field} {told}");
        }
    }
}
