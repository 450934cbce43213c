//! The kinds of message that `POST /send-message` takes, and what each must have
//! (`docs/wire/wasender.md` §2.1).

use serde_json::{Map, Value, json};
use url::Url;

use super::wire::{self, digits};

/// Options of a poll.
const POLL_OPTIONS: std::ops::RangeInclusive<usize> = 2..=12;

const MIB: usize = 1024 * 1024;

/// A kind of message. One field of the request decides on it.
pub(super) struct Kind {
    /// As tests see it.
    pub(super) name: &'static str,
    /// The request's field.
    pub(super) field: &'static str,
    /// The field of Baileys' `message`.
    message: &'static str,
    /// Bytes that its file may have; none: it has no file. The send page's limits, which are
    /// tighter than those of uploads.
    pub(super) bytes_max: Option<usize>,
}

const KINDS: &[Kind] = &[
    Kind::file("image", "imageUrl", "imageMessage", 5 * MIB),
    Kind::file("video", "videoUrl", "videoMessage", 50 * MIB),
    Kind::file("document", "documentUrl", "documentMessage", 100 * MIB),
    Kind::file("audio", "audioUrl", "audioMessage", 16 * MIB),
    Kind::file("sticker", "stickerUrl", "stickerMessage", 100 * 1024),
    Kind::bare("contact", "contact", "contactMessage"),
    Kind::bare("location", "location", "locationMessage"),
    Kind::bare("poll", "poll", "pollCreationMessage"),
];

impl Kind {
    const fn file(
        name: &'static str,
        field: &'static str,
        message: &'static str,
        bytes_max: usize,
    ) -> Self {
        Self { name, field, message, bytes_max: Some(bytes_max) }
    }

    const fn bare(name: &'static str, field: &'static str, message: &'static str) -> Self {
        Self { name, field, message, bytes_max: None }
    }

    /// The kind of a request, the first of those whose field it has. None: text.
    pub(super) fn of(body: &Value) -> Option<&'static Self> {
        KINDS.iter().find(|it| body.get(it.field).is_some_and(|it| !is_blank(it)))
    }

    /// What the request says in this kind, as Baileys' `message`.
    pub(super) fn content(&self, form: &mut Form<'_>, text: &str) -> Value {
        let content = match self.name {
            "contact" => contact(form),
            "location" => location(form),
            "poll" => poll(form),
            _ => self.media(form, text),
        };
        json!({ self.message: content })
    }

    fn media(&self, form: &mut Form<'_>, text: &str) -> Value {
        let url = form.text(self.field).and_then(|it| Url::parse(it).ok());
        let url = url.filter(|it| matches!(it.scheme(), "http" | "https") && it.has_host());
        match url {
            None => form.fault(self.field, "must be a valid URL."),
            Some(url) if self.name == "sticker" && !is_webp(&url) => {
                form.fault(self.field, "must be a .webp file.");
            }
            Some(_) => {}
        }
        let mut content = Map::new();
        if !text.is_empty() {
            content.insert("caption".to_owned(), json!(text));
        }
        if self.name == "document" {
            let name = form.text("fileName").unwrap_or("document");
            content.insert("fileName".to_owned(), json!(name));
        }
        Value::Object(content)
    }
}

/// A request, and what is wrong with it so far.
pub(super) struct Form<'a> {
    body: &'a Value,
    errors: Map<String, Value>,
}

impl<'a> Form<'a> {
    pub(super) fn new(body: &'a Value) -> Self {
        Self { body, errors: Map::new() }
    }

    /// A field that is not blank; a dot leads into an object.
    pub(super) fn field(&self, name: &str) -> Option<&'a Value> {
        let value = self.body.pointer(&format!("/{}", name.replace('.', "/")));
        value.filter(|it| !is_blank(it))
    }

    /// A text, if it is there; anything else in its place is a fault.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.field(name)?;
        if !value.is_string() {
            self.fault(name, "must be a string.");
        }
        value.as_str()
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, name: &str) -> &'a str {
        if self.field(name).is_none() {
            self.missing(name);
        }
        self.text(name).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        let value = self.field(name);
        if value.is_some_and(|it| !it.is_boolean()) {
            self.fault(name, "field must be true or false.");
        }
        value.and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn integer(&mut self, name: &str) -> Option<u64> {
        let value = self.field(name)?;
        if !value.is_u64() {
            self.fault(name, "must be an integer.");
        }
        value.as_u64()
    }

    pub(super) fn missing(&mut self, name: &str) {
        self.fault(name, "field is required.");
    }

    /// Adds `The … must be …`, in Laravel's words. The first fault of a field stays.
    pub(super) fn fault(&mut self, name: &str, what: &str) {
        let text = format!("The {} {what}", label(name));
        self.errors.entry(name).or_insert_with(|| json!([text]));
    }

    /// # Errors
    ///
    /// Laravel's `errors`, by field (`docs/wire/wasender.md` §1.5).
    pub(super) fn done(self) -> Result<(), Value> {
        if self.errors.is_empty() { Ok(()) } else { Err(Value::Object(self.errors)) }
    }
}

fn contact(form: &mut Form<'_>) -> Value {
    let (name, phone) = (form.required("contact.name"), form.required("contact.phone"));
    if !phone.is_empty() && digits(phone).is_empty() {
        form.fault("contact.phone", "format is invalid.");
    }
    json!({ "displayName": name, "vcard": wire::vcard(name, phone) })
}

fn location(form: &mut Form<'_>) -> Value {
    let latitude = degrees(form, "location.latitude", 90.0);
    let longitude = degrees(form, "location.longitude", 180.0);
    let mut content = json!({ "degreesLatitude": latitude, "degreesLongitude": longitude });
    for name in ["name", "address"] {
        if let Some(text) = form.text(&format!("location.{name}")) {
            content[name] = json!(text);
        }
    }
    content
}

fn degrees(form: &mut Form<'_>, name: &str, max: f64) -> f64 {
    let Some(value) = form.field(name) else {
        form.missing(name);
        return 0.0;
    };
    let Some(degrees) = value.as_f64() else {
        form.fault(name, "must be a number.");
        return 0.0;
    };
    if degrees.abs() > max {
        form.fault(name, &format!("must be between -{max} and {max}."));
    }
    degrees
}

fn poll(form: &mut Form<'_>) -> Value {
    let question = form.required("poll.question");
    let several = form.flag("poll.multiSelect");
    let options = form.field("poll.options").and_then(Value::as_array);
    let (min, max) = (POLL_OPTIONS.start(), POLL_OPTIONS.end());
    match options {
        None => form.missing("poll.options"),
        Some(it) if it.len() < *min => {
            form.fault("poll.options", &format!("must have at least {min} items."));
        }
        Some(it) if it.len() > *max => {
            form.fault("poll.options", &format!("may not have more than {max} items."));
        }
        Some(it) if it.iter().any(|it| is_blank(it) || !it.is_string()) => {
            form.fault("poll.options", "must be an array of strings.");
        }
        Some(_) => {}
    }
    let options = options.into_iter().flatten().map(|it| json!({ "optionName": it }));
    json!({
        "name": question,
        "options": options.collect::<Vec<_>>(),
        "selectableOptionsCount": usize::from(!several),
    })
}

fn is_webp(url: &Url) -> bool {
    url.path().to_ascii_lowercase().ends_with(".webp")
}

/// Laravel takes an empty text for an absent one.
fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|it| it.trim().is_empty())
}

/// As Laravel calls a field: `imageUrl` is the image url.
fn label(name: &str) -> String {
    let mut label = String::with_capacity(name.len() + 2);
    for it in name.chars() {
        if it.is_ascii_uppercase() {
            label.push(' ');
        }
        label.push(it.to_ascii_lowercase());
    }
    label
}
