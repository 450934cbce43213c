//! What customers and the people at the session's phone do, as tests ask for it.

use serde_json::Value;

use super::{
    hooks::HookAnswer,
    inbound::{DeleteForm, EditForm, Inbound},
    mmg::{FileKind, HostedMedia, MediaFault},
    wasender::Twin,
    wire::Customer,
};

/// Webhooks that follow no send. Each posts one, in the session's dialect where that has a word
/// for it, and returns what it was answered: `not subscribed` without a request when the session
/// does not tell such events.
impl Twin {
    /// Posts the session's status: `session.status`, or `connection_status` in the predecessor's
    /// dialect.
    pub async fn tell_status(&self, id: u64) -> HookAnswer {
        self.world.tell_status(id).await
    }

    /// A customer writes to the session, under the first inbound event that is subscribed.
    pub async fn customer_says(&self, id: u64, customer: &Customer, text: &str) -> HookAnswer {
        self.world.customer_says(id, customer, text).await
    }

    /// Posts any body, signed in the session's dialect, whether its event is subscribed or not.
    pub async fn customer_sends(&self, id: u64, body: Value) -> HookAnswer {
        self.world.customer_sends(id, &body).await
    }

    /// A customer sends something of any kind. A file is encrypted and [served](Self::hosted_media)
    /// by the twin. The predecessor's webhook has the kind and the caption only.
    pub async fn customer_shares(
        &self,
        id: u64,
        customer: &Customer,
        inbound: &Inbound,
    ) -> HookAnswer {
        self.world.customer_shares(id, customer, inbound).await
    }

    /// A customer reacts to the message with this `key.id`, the session's or their own:
    /// `messages.reaction`, or a `reactionMessage` where only messages are subscribed. An empty
    /// emoji takes the reaction back.
    pub async fn customer_reacts(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        emoji: &str,
    ) -> HookAnswer {
        self.world.customer_reacts(id, customer, key_id, emoji).await
    }

    /// A customer changes the text of their message with this `key.id`: `messages.upsert`.
    pub async fn customer_edits(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        text: &str,
        form: EditForm,
    ) -> HookAnswer {
        self.world.customer_edits(id, customer, key_id, text, form).await
    }

    /// A customer deletes their message with this `key.id` for everyone.
    pub async fn customer_deletes(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        form: DeleteForm,
    ) -> HookAnswer {
        self.world.customer_deletes(id, customer, key_id, form).await
    }

    /// A customer votes in a poll of the session's, by the `key.id` of its send: `poll.results`
    /// with every option. No option takes the vote back.
    pub async fn customer_votes(
        &self,
        id: u64,
        customer: &Customer,
        key_id: &str,
        options: &[&str],
    ) -> HookAnswer {
        self.world.customer_votes(id, customer, key_id, options).await
    }

    /// Somebody types on the session's phone: posts `messages.upsert` with `fromMe` that follows
    /// no send (`message.sent` where only that is subscribed). The predecessor's dialect has no
    /// word for it and gets the same body.
    pub async fn human_types(&self, id: u64, customer: &Customer, text: &str) -> HookAnswer {
        self.world.human_types(id, customer, text).await
    }

    /// Encrypts a file and serves it, for webhooks that a test makes itself.
    #[must_use]
    pub fn host_media(
        &self,
        kind: FileKind,
        clear: &[u8],
        fault: Option<MediaFault>,
    ) -> HostedMedia {
        self.world.host(kind, clear, fault)
    }

    /// The files that are served, oldest first; the latest 10,000. Fetching one is a
    /// [request](Self::requests) with the path `/mmg/…`.
    #[must_use]
    pub fn hosted_media(&self) -> Vec<HostedMedia> {
        self.world.book().files.told()
    }

    /// From now on something else, or nothing, is wrong with the file at this URL.
    pub fn spoil_media(&self, url: &str, fault: Option<MediaFault>) {
        self.world.book().files.spoil(url, fault);
    }

    /// Lets `POST /messages/read` know a message that did not come through the twin's own
    /// webhooks.
    pub fn know_message(&self, id: u64, key_id: &str, remote_jid: &str) {
        self.world.book().heard.know(id, key_id, remote_jid);
    }
}
