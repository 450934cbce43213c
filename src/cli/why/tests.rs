use super::*;
use crate::domain::{
    answer::Unanswered,
    contact::Address,
    delivery::Reason,
    id::InstanceId,
    message::Text,
    vendor::{ResponderConfig, Vendor},
};

fn journey(is_inbound: bool, status: &str, reason: Option<&str>) -> Journey {
    let vendor = VendorId::parse("v").unwrap();
    let row = MessageRow {
        id: EntryId::at(1_000),
        instance: InstanceId::nth(&vendor, 1),
        contact: None,
        is_inbound,
        by_human: false,
        address: Address::default(),
        name: None,
        kind: "text".to_owned(),
        text: Text(String::new()),
        content: None,
        quoted: None,
        part: None,
        original: None,
        is_deleted: false,
        reaction: None,
        votes: Vec::new(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        origin: None,
        at: None,
    };
    Journey { row, steps: Vec::new(), attempts: 0, via: None, answers: Vec::new() }
}

/// Holds that a case is explained in both languages, and not by its word alone.
#[track_caller]
fn check(journey: &Journey, responders: Vec<ResponderConfig>, pause: Option<&(i64, String)>) {
    let id = VendorId::parse("v").unwrap();
    let mut vendor = Vendor::new(id, String::new(), "x".into(), 0);
    vendor.responders = responders;
    let hints = Hints::of(&Config::from_lookup(|_| None).unwrap());
    for is_serving in [true, false] {
        let case = Case { journey, vendor: &vendor, pause, now: 60_000, is_serving, hints: &hints };
        let explained = explain::explain(&case);
        assert!(!explained.what.is_empty());
        for words in &explained.what {
            let (en, fr) = (words.of(Language::En), words.of(Language::Fr));
            assert_ne!(en, fr);
            let word = journey.row.reason.as_deref().unwrap_or(&journey.row.status);
            assert!(!en.contains(&format!("\"{word}\"")), "{word} has no sentence: {en}");
            assert!(![" :", " ;", " ?", " !"].iter().any(|it| fr.contains(it)), "{fr}");
        }
    }
}

#[test]
fn every_reason_for_no_answer_is_explained_in_both_languages() {
    let all = [
        Unanswered::NotPrivate,
        Unanswered::VendorInactive,
        Unanswered::AutoReplyOff,
        Unanswered::Stale,
        Unanswered::Paused,
        Unanswered::Loop,
        Unanswered::Silence,
        Unanswered::ResponderFailed,
        Unanswered::Gone,
    ];
    let rules = || vec![ResponderConfig::Rules { rules: Vec::new(), otherwise: None }];
    for why in all {
        let journey = journey(true, "received", Some(why.as_str()));
        for responders in [Vec::new(), rules()] {
            check(&journey, responders, None);
        }
    }
    for (until, reason) in
        [(0, "human"), (120_000, "human"), (120_000, "requires_human"), (120_000, "admin")]
    {
        let pause = (until, reason.to_owned());
        check(&journey(true, "received", Some("paused")), Vec::new(), Some(&pause));
    }
    check(&journey(true, "waiting", None), Vec::new(), None);
    check(&journey(true, "received", None), Vec::new(), None);
}

#[test]
fn every_state_of_a_send_is_explained_in_both_languages() {
    for status in [
        "queued",
        "sending",
        "unknown_yet",
        "unknown",
        "accepted",
        "pending",
        "sent",
        "delivered",
        "read",
        "played",
        "failed",
    ] {
        check(&journey(false, status, None), Vec::new(), None);
    }
    let parked = [
        Reason::NoSessionKey,
        Reason::NoPhone,
        Reason::Unauthorized,
        Reason::Plan,
        Reason::Restored,
        Reason::Held,
    ];
    for reason in parked {
        check(&journey(false, "parked", Some(reason.as_str())), Vec::new(), None);
    }
    let dead = [
        Reason::Expired,
        Reason::Silenced,
        Reason::Unauthorized,
        Reason::Invalid,
        Reason::Failed,
        Reason::Gone,
        Reason::PartBefore,
    ];
    for reason in dead {
        check(&journey(false, "dead", Some(reason.as_str())), Vec::new(), None);
    }
}

#[test]
fn every_step_has_words_in_both_languages() {
    for step in [
        "received",
        "answered",
        "not_answered",
        "queued",
        "sending",
        "accepted",
        "unknown_yet",
        "unknown",
        "parked",
        "dead",
        "sent",
        "heard_pending",
        "heard_sent",
        "heard_delivered",
        "heard_read",
        "heard_played",
        "heard_failed",
    ] {
        let words = step_words(step);
        assert_ne!(words.of(Language::En), words.of(Language::Fr), "{step}");
    }
    assert_eq!(step_words("something_new").of(Language::Fr), "something_new");
    let steps = ["sent", "heard_read", "sent", "heard_read", "parked", "parked"];
    let steps: Vec<(i64, String)> = steps.iter().map(|it| (0, (*it).to_owned())).collect();
    let told: Vec<&str> = worth_telling(&steps).into_iter().map(|it| it.1).collect();
    assert_eq!(told, ["sent", "heard_read", "parked", "parked"]);
}
