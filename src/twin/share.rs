//! Webhooks of customers' content: files, reactions, edits, deletions, votes
//! (`docs/wire/wasender.md` §4.4, §4.5).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    clock,
    hooks::HookAnswer,
    inbound::{DeleteForm, EditForm, Inbound, Says},
    session::Dialect,
    speak::Word,
    wire::{self, Customer},
    world::World,
};

impl World {
    pub(super) async fn customer_shares(
        &self,
        id: u64,
        customer: &Customer,
        inbound: &Inbound,
    ) -> HookAnswer {
        let Some(word) = self.word(id) else { return HookAnswer::none("no such session") };
        let key_id = inbound.id.clone().unwrap_or_else(|| self.new_key_id());
        let now = clock::now_secs();
        if word.session.dialect == Dialect::Predecessor {
            let mut body = predecessor(&word, &key_id, customer, inbound.body(), now);
            if let Says::File(kind, _) = inbound.says {
                body["data"]["type"] = json!(kind.word());
            }
            return word.post(self, "message", &body).await;
        }
        let customer = self.as_seen(customer, &word.moods);
        let hosted = match &inbound.says {
            Says::File(kind, bytes) => Some(self.host(*kind, bytes, inbound.fault.clone())),
            Says::Text(_) | Says::Other(_) => None,
        };
        let context = inbound.quoted.as_ref().map(|it| self.context(&word, &customer, it));
        let content = inbound.content(hosted.as_ref(), context);
        let body = wire::real_content(&key_id, &customer, inbound.body(), &content, now);
        word.tell_inbound(self, body).await
    }

    pub(super) async fn customer_reacts(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        emoji: &str,
    ) -> HookAnswer {
        let (word, customer) = match self.real_word(id, customer) {
            Ok(it) => it,
            Err(why) => return HookAnswer::none(why),
        };
        let target = self.key_of(&word, &customer, key_id);
        let (own_id, now) = (self.new_key_id(), clock::now_secs());
        if word.session.subscribes("messages.reaction") {
            let own = wire::customer_key(&own_id, &customer);
            let body = wire::real_reaction(&own, &target, emoji, now);
            let answer = word.post(self, "messages.reaction", &body).await;
            return HookAnswer { event_id: own_id, ..answer };
        }
        let content = json!({ "reactionMessage": { "key": target, "text": emoji } });
        let body = wire::real_content(&own_id, &customer, "", &content, now);
        word.tell_inbound(self, body).await
    }

    pub(super) async fn customer_edits(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        text: &str,
        form: EditForm,
    ) -> HookAnswer {
        let (word, customer) = match self.real_word(id, customer) {
            Ok(it) => it,
            Err(why) => return HookAnswer::none(why),
        };
        let target = self.key_of(&word, &customer, key_id);
        let mut content = wire::edit_content(&target, text, clock::now_ms());
        if form == EditForm::Wrapped {
            content = json!({ "editedMessage": { "message": content } });
        }
        word.upsert(self, &customer, &content).await
    }

    pub(super) async fn customer_deletes(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        form: DeleteForm,
    ) -> HookAnswer {
        let (word, customer) = match self.real_word(id, customer) {
            Ok(it) => it,
            Err(why) => return HookAnswer::none(why),
        };
        let target = self.key_of(&word, &customer, key_id);
        match form {
            DeleteForm::Event => {
                let body = wire::real_deletion(&target, clock::now_secs());
                word.post_subscribed(self, "messages.delete", &body).await
            }
            DeleteForm::Revoke => {
                word.upsert(self, &customer, &wire::revoke_content(&target)).await
            }
        }
    }

    pub(super) async fn customer_votes(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        options: &[&str],
    ) -> HookAnswer {
        let (word, customer) = match self.real_word(id, customer) {
            Ok(it) => it,
            Err(why) => return HookAnswer::none(why),
        };
        let (key, poll) = {
            let book = self.book();
            let Some(entry) = book.entry_of_key(id, key_id) else {
                return HookAnswer::none("no such poll");
            };
            let key = json!({ "remoteJid": entry.jid, "fromMe": true, "id": key_id });
            (key, entry.content["pollCreationMessage"].clone())
        };
        let voter = customer.jid();
        let names = poll["options"].as_array().into_iter().flatten();
        let results = names.filter_map(|it| it["optionName"].as_str()).map(|name| {
            let voters = if options.contains(&name) { vec![voter.as_str()] } else { Vec::new() };
            (name, voters)
        });
        let results: Vec<_> = results.collect();
        let api_key = &word.session.api_key;
        let body = wire::real_poll_results(api_key, &key, &results, clock::now_ms());
        word.post_subscribed(self, "poll.results", &body).await
    }

    /// Tells that the session itself edited or deleted something, without anybody waiting for it:
    /// `messages.upsert` has all that an account sends (`docs/wire/wasender.md` §4.3).
    pub(super) fn echo_change(self: &Arc<Self>, id: u64, jid: &Value, content: &Value) {
        let Some(word) = self.word(id) else { return };
        let is_told = word.session.echoes && word.session.subscribes("messages.upsert");
        if !is_told || word.session.dialect == Dialect::Predecessor {
            return;
        }
        let jid = jid.as_str().unwrap_or_default();
        let body = wire::real_echo(&self.new_key_id(), jid, "", content, clock::now_secs());
        let twin = Arc::clone(self);
        tokio::spawn(async move {
            word.post(&twin, "messages.upsert", &body).await;
        });
    }

    /// The session and the customer as webhooks know them, if there are words for what they do.
    fn real_word(&self, id: u64, customer: &Customer) -> Result<(Word, Customer), &'static str> {
        let word = self.word(id).ok_or("no such session")?;
        if word.session.dialect == Dialect::Predecessor {
            return Err("the predecessor has no word for it");
        }
        let customer = self.as_seen(customer, &word.moods);
        Ok((word, customer))
    }

    /// The key of a message in the customer's chat: a send of the session's, else the customer's.
    fn key_of(&self, word: &Word, customer: &Customer, key_id: &str) -> Value {
        let book = self.book();
        let session = word.session.id;
        let from_me = book.entry_of_key(session, key_id).is_some();
        let heard = book.heard.jid(session, key_id).map(str::to_owned);
        let jid = heard.unwrap_or_else(|| customer.jid());
        json!({ "id": key_id, "fromMe": from_me, "remoteJid": jid })
    }

    /// What a reply says of the message that it replies to.
    fn context(&self, word: &Word, customer: &Customer, key_id: &str) -> Value {
        let book = self.book();
        match book.entry_of_key(word.session.id, key_id) {
            Some(entry) => json!({
                "stanzaId": key_id,
                "participant": wire::phone_jid(&word.session.phone_number),
                "quotedMessage": entry.content,
            }),
            None => json!({
                "stanzaId": key_id,
                "participant": customer.jid(),
                "quotedMessage": { "conversation": "" },
            }),
        }
    }
}

impl Word {
    /// A change of a message comes in `messages.upsert` alone.
    async fn upsert(&self, world: &World, customer: &Customer, content: &Value) -> HookAnswer {
        let (key_id, now) = (world.new_key_id(), clock::now_secs());
        let mut body = wire::real_content(&key_id, customer, "", content, now);
        body["event"] = json!("messages.upsert");
        self.post_subscribed(world, "messages.upsert", &body).await
    }

    async fn post_subscribed(&self, world: &World, event: &str, body: &Value) -> HookAnswer {
        if !self.session.subscribes(event) {
            return HookAnswer::none("not subscribed");
        }
        self.post(world, event, body).await
    }
}

/// A customer's text in the predecessor's form.
fn predecessor(word: &Word, key_id: &str, customer: &Customer, text: &str, at_secs: i64) -> Value {
    let known = customer.phone.as_ref().or(customer.lid.as_ref());
    let from = known.map_or("", String::as_str);
    wire::predecessor_message(&word.session.id.to_string(), key_id, from, text, at_secs)
}
