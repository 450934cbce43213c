//! Small words: ids, numbers, times, texts.

use waba_gateway::domain::{
    choices::chosen,
    clock::{from_iso, iso},
    contact::Lid,
    fold::folded,
    hours::Zone,
    id::{ContactId, EntryId, ForwardId, InstanceId, VendorId},
    media::{MediaId, base_of, begins_like, extension, served_type},
    message::{Choice, Text},
    phone::PhoneNumber,
    secret::without,
    split::split,
};

/// Ids and times as callers write them.
pub fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = VendorId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(text.len() <= 64 && text.bytes().all(|it| it.is_ascii_graphic() && it != b'/'));
    }
    if let Ok(id) = InstanceId::parse(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(id) = MediaId::parse(text) {
        assert_eq!(id.as_str(), text);
        assert!(!text.contains(['/', '.']), "it is a file's name");
        if let Some(message) = id.message() {
            assert_eq!(message.to_string(), text);
        }
    }
    // An id that can be read is the one that is written.
    let lower = text.to_ascii_lowercase();
    if let Ok(id) = text.parse::<EntryId>() {
        assert_eq!(id.to_string(), lower);
    }
    if let Ok(id) = text.parse::<ForwardId>() {
        assert_eq!(id.to_string(), lower);
    }
    if let Ok(id) = text.parse::<ContactId>() {
        assert_eq!(id.to_string(), lower);
    }
    if let Some(at) = from_iso(text) {
        assert_eq!(from_iso(&iso(at)), Some(at), "{text}");
    }
    if let Some(zone) = Zone::parse(text) {
        assert!(Zone::parse(zone.name()).is_some());
    }
}

/// Numbers, as providers send them and as people write them, with a home country or without.
pub fn phone(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (home, text) = text.split_once('\n').unwrap_or(("", text));
    let home = PhoneNumber::from_wire(home).ok();
    if let Some(lid) = Lid::from_wire(text) {
        assert!(lid.digits().bytes().all(|it| it.is_ascii_digit()));
        assert!(PhoneNumber::from_wire(text).is_err(), "a hidden id is no number");
    }
    let read = [
        PhoneNumber::from_wire(text),
        PhoneNumber::from_person(text, None),
        PhoneNumber::from_person(text, home.as_ref()),
    ];
    for number in read.into_iter().flatten() {
        assert!((7..=15).contains(&number.digits().len()));
        let again = PhoneNumber::from_wire(&number.expose());
        assert_eq!(again.map(|it| it.expose()), Ok(number.expose()));
        let alias = number.alias();
        let other = PhoneNumber::from_wire(&alias).map(|it| it.alias());
        assert_eq!(other, Ok(alias), "an alias has no other");
        let _ = Zone::of_number(&number);
    }
}

/// Texts: split, folded, looked through for a choice and for secrets; and names of types.
pub fn text(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let chars_max = usize::from(*first) + 1;
    let parts = split(text, chars_max);
    assert!(!parts.is_empty() && parts.iter().all(|it| it.chars().count() <= chars_max));
    let words = |text: &str| text.chars().filter(|it| !it.is_whitespace()).collect::<String>();
    assert_eq!(words(&parts.concat()), words(text), "nothing but white space is left out");
    assert_eq!(folded(&folded(text)), folded(text));
    let (said, options) = text.split_once('\n').unwrap_or((text, ""));
    let option = |title: &str| Choice {
        id: String::new(),
        title: Text(title.to_owned()),
        description: Text::default(),
    };
    let options: Vec<Choice> = options.lines().map(option).collect();
    if let Some(one) = chosen(said, &options) {
        assert!(options.iter().any(|it| it.title == one.title));
    }
    let secret = said.to_owned().into();
    if said.len() >= 4 {
        let rest = without(text, &[&secret]);
        assert!(!rest.contains(said) || "[secret]".contains(said), "a secret is left");
    }
    let _ = (base_of(text), served_type(Some(text)), extension(Some(text)));
    let _ = begins_like(said, rest);
}
