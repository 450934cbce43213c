//! Webhooks that follow no send: customers write, people type in the app, accounts change
//! (`docs/wire/meta-unipile-twilio.md` A4–A7).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{clock, hooks::HookAnswer, wire::digits},
    customer::{MetaCustomer, MetaInbound},
    misbehaviour::Moods,
    number::MetaNumber,
    post::Change,
    world::World,
};

impl World {
    /// Everything in one webhook; messages to one number from one customer after each other are
    /// one change.
    pub(super) async fn customers_say(
        self: &Arc<Self>,
        said: &[(&str, &MetaCustomer, &MetaInbound)],
    ) -> HookAnswer {
        let (pending, mut changes) = (self.hooks.announce(), Vec::new());
        for (number, customer, inbound) in said {
            let Some(number) = self.number(number) else {
                return HookAnswer::none("no such number");
            };
            changes.push(self.change(&number, customer, inbound));
        }
        let moods = said.first().map(|it| self.hook_moods(it.0)).unwrap_or_default();
        self.tell(changes, moods, pending).await
    }

    fn change(&self, number: &MetaNumber, from: &MetaCustomer, it: &MetaInbound) -> Change {
        let id = it.id.clone().unwrap_or_else(|| self.new_wamid());
        let hosted = it.file.as_ref().map(|file| {
            let mime_type = it.object["mime_type"].as_str().unwrap_or(file.0.mime_type());
            let hosted = self.host(number, mime_type, file.1.clone());
            self.announced(&hosted)
        });
        let mut message = it.message(&id, clock::now_secs(), hosted);
        from.name_in(&mut message, "from", "from_user_id");
        self.book().heard.insert((number.id.clone(), id));
        let mut value = json!({ "messages": [message] });
        if it.kind != "system" {
            value["contacts"] = json!([from.contact()]);
        }
        Change::of(number, "messages", value)
    }

    /// Somebody types in the WhatsApp Business app of a number (A6).
    pub(super) async fn human_types(
        self: &Arc<Self>,
        id: &str,
        to: &MetaCustomer,
        it: &MetaInbound,
    ) -> HookAnswer {
        let (pending, moods) = (self.hooks.announce(), self.hook_moods(id));
        let Some(number) = self.number(id) else { return HookAnswer::none("no such number") };
        let wamid = it.id.clone().unwrap_or_else(|| self.new_wamid());
        let mut echo = it.message(&wamid, clock::now_secs(), None);
        echo["from"] = json!(digits(&number.phone_number));
        to.name_in(&mut echo, "to", "to_user_id");
        let value = json!({ "message_echoes": [echo] });
        self.tell(vec![Change::of(&number, "smb_message_echoes", value)], moods, pending).await
    }

    /// Any field, as it is: `has_metadata` where it belongs to the number (A7).
    pub(super) async fn tell_field(
        self: &Arc<Self>,
        id: &str,
        field: &str,
        value: Value,
        has_metadata: bool,
    ) -> HookAnswer {
        let (pending, moods) = (self.hooks.announce(), self.hook_moods(id));
        let Some(number) = self.number(id) else { return HookAnswer::none("no such number") };
        let change = if has_metadata {
            Change::of(&number, field, value)
        } else {
            Change { number, field: field.to_owned(), value }
        };
        self.tell(vec![change], moods, pending).await
    }

    fn hook_moods(&self, id: &str) -> Moods {
        let mut book = self.book();
        book.lines.get_mut(id).map(|it| it.wrongs.of_hook()).unwrap_or_default()
    }
}
