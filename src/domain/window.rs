//! The customer service window: through some providers a business may write freely only for a day
//! after the customer wrote; after that, templates alone (`docs/wire/meta-unipile-twilio.md` B6).

use super::{
    clock::{HOUR, Millis},
    message::{Content, Template, Text},
    route::ProviderKind,
};

/// How long it stays open.
pub const WINDOW: Millis = 24 * HOUR;
/// What stands for the text in a vendor's fallback template.
pub const TEXT_PLACE: &str = "{{text}}";
/// The longest text that takes its place, in characters: what a parameter may have.
pub const PARAMETER_CHARS_MAX: usize = 1_024;

/// Whether this provider has windows. Devices that are linked to an ordinary `WhatsApp` have none.
#[must_use]
pub fn has_windows(kind: ProviderKind) -> bool {
    matches!(kind, ProviderKind::Meta | ProviderKind::Twilio)
}

/// Whether such content may be sent now through this provider to a customer who last wrote then.
#[must_use]
pub fn may_send(
    content: &Content,
    via: ProviderKind,
    wrote_at: Option<Millis>,
    now: Millis,
) -> bool {
    let is_template = matches!(content, Content::Template(it) if it.is_one_at(via));
    !has_windows(via) || is_open(wrote_at, now) || is_template
}

/// Whether the window of a customer who last wrote then is open.
#[must_use]
pub fn is_open(wrote_at: Option<Millis>, now: Millis) -> bool {
    // A clock that was set back must not shut it.
    wrote_at.is_some_and(|it| now - it < WINDOW)
}

impl Template {
    /// Whether this provider knows it as a template, and not as the text in its place.
    #[must_use]
    pub fn is_one_at(&self, via: ProviderKind) -> bool {
        match via {
            ProviderKind::Meta => !self.name.is_empty(),
            ProviderKind::Twilio => self.content_sid.is_some(),
            ProviderKind::Wasender | ProviderKind::Unipile => false,
        }
    }

    /// Whether this provider's form of it says a text: it has a place for it, and one that is large
    /// enough.
    #[must_use]
    pub fn says(&self, text: &str, via: ProviderKind) -> bool {
        let has_place = self.is_one_at(via) && self.has_place_at(via);
        has_place && one_line(text).chars().count() <= PARAMETER_CHARS_MAX
    }

    /// Whether [`TEXT_PLACE`] stands in what fills in this provider's form of it.
    #[must_use]
    pub fn has_place_at(&self, via: ProviderKind) -> bool {
        match via {
            ProviderKind::Meta => self.components.iter().any(has_place),
            ProviderKind::Twilio => self.variables.values().any(|it| it.contains(TEXT_PLACE)),
            ProviderKind::Wasender | ProviderKind::Unipile => false,
        }
    }

    /// The template with this text in it, wherever [`TEXT_PLACE`] stands.
    #[must_use]
    pub fn with_text(&self, text: &str) -> Self {
        let one = one_line(text);
        let mut filled = self.clone();
        filled.components.iter_mut().for_each(|it| fill(it, &one));
        for value in filled.variables.values_mut() {
            *value = value.replace(TEXT_PLACE, &one);
        }
        filled.text = Text(text.to_owned());
        filled
    }
}

/// Parameters take no line breaks, tabs or runs of spaces.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

fn has_place(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(it) => it.contains(TEXT_PLACE),
        serde_json::Value::Array(items) => items.iter().any(has_place),
        serde_json::Value::Object(fields) => fields.values().any(has_place),
        _ => false,
    }
}

fn fill(value: &mut serde_json::Value, text: &str) {
    match value {
        serde_json::Value::String(it) if it.contains(TEXT_PLACE) => {
            *it = it.replace(TEXT_PLACE, text);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|it| fill(it, text)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|it| fill(it, text)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_window_is_open_for_a_day_and_templates_need_none() {
        use ProviderKind::{Meta, Twilio, Wasender};
        let (text, now) = (Content::text("x"), 100 * WINDOW);
        let named = Template { name: "note".to_owned(), ..Template::default() };
        let template = Content::Template(named);
        assert!(
            may_send(&text, Meta, Some(now), now)
                && may_send(&text, Meta, Some(now - WINDOW + 1), now)
        );
        assert!(
            !may_send(&text, Meta, Some(now - WINDOW), now) && !may_send(&text, Meta, None, now)
        );
        assert!(may_send(&template, Meta, None, now));
        assert!(may_send(&text, Meta, Some(now + 5), now), "a clock was set back");
        assert!(!may_send(&template, Twilio, None, now), "there it would be plain text");
        assert!(may_send(&text, Wasender, None, now), "which has no windows");
    }

    #[test]
    fn the_text_takes_its_place_as_one_line() {
        let component =
            json!({ "type": "body", "parameters": [{ "type": "text", "text": "{{text}}" }] });
        let template = Template {
            components: vec![component],
            variables: [("1".to_owned(), "Note: {{text}}".to_owned())].into(),
            ..Template::default()
        };
        let filled = template.with_text("  Bonjour,\n\n  à demain\t!  ");
        assert_eq!(filled.components[0]["parameters"][0]["text"], "Bonjour, à demain !");
        assert_eq!(filled.variables["1"], "Note: Bonjour, à demain !");
    }

    #[test]
    fn a_template_says_a_text_only_where_it_has_room_for_all_of_it() {
        use ProviderKind::{Meta, Twilio, Wasender};
        let parameters = json!([{ "type": "text", "text": "{{text}}" }]);
        let component = json!({ "type": "body", "parameters": parameters });
        let mut template = Template {
            name: "note".to_owned(),
            content_sid: Some("HX1".to_owned()),
            components: vec![component],
            ..Template::default()
        };
        assert!(template.says("bonjour", Meta));
        assert!(!template.says("bonjour", Twilio), "it has no place there");
        assert!(!template.says("bonjour", Wasender));
        template.variables = [("1".to_owned(), "Note: {{text}}".to_owned())].into();
        assert!(template.says("bonjour", Twilio));
        let long = "é\n\n".repeat(PARAMETER_CHARS_MAX / 2);
        assert!(template.says(&long, Meta), "line breaks are one space");
        assert!(!template.says(&format!("{long}et"), Meta));
    }
}
