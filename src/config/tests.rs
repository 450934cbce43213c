use super::*;

fn config(vars: &[(&str, &str)]) -> Result<Config, BadConfig> {
    Config::from_lookup(|name| vars.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()))
}

#[test]
fn everything_has_a_default() {
    let config = config(&[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9002");
    assert_eq!(config.base_url.as_str(), "http://localhost:9002/");
    assert_eq!(config.max_answer_age, 6 * HOUR);
    assert_eq!(config.retention, 30 * 24 * HOUR);
}

#[test]
fn what_may_come_again_is_kept() {
    let days = |text| config(&[("RETENTION_DAYS", text)]).map(|it| it.retention / HOUR / 24);
    assert_eq!((days("9").unwrap(), days("365").unwrap()), (9, 365));
    for bad in ["8", "0", "-1", "36501", "a month"] {
        assert!(days(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_would_switch_something_off_unseen_is_a_fault() {
    for (name, fine, bad) in [
        ("MAX_ANSWER_AGE", ["1", "31536000"], ["0", "-5", "9999999999999999"]),
        ("BODY_BYTES_MAX", ["1024", "8388608"], ["0", "8388609", "-1"]),
    ] {
        assert!(fine.iter().all(|it| config(&[(name, it)]).is_ok()), "{name}");
        assert!(bad.iter().all(|it| config(&[(name, it)]).is_err()), "{name}");
    }
}

#[test]
fn a_port_alone_is_for_everybody() {
    assert_eq!(config(&[("PORT", "80")]).unwrap().listen.to_string(), "0.0.0.0:80");
    let both = [("PORT", "80"), ("LISTEN_ADDR", "127.0.0.1:81")];
    assert_eq!(config(&both).unwrap().listen.to_string(), "127.0.0.1:81");
}

#[test]
fn all_faults_are_told_at_once_and_no_value_is() {
    let error = config(&[
        ("LISTEN_ADDR", "hunter2-a"),
        ("APP_BASE_URL", "hunter2-b"),
        ("ADMIN_API_KEY", "hunter2-c"),
        ("ENCRYPTION_KEY", "hunter2-d"),
        ("BODY_BYTES_MAX", "hunter2-e"),
        ("STORE", "hunter2-f"),
        ("REDIS_URL", "hunter2-g"),
        ("WASENDER_API_URL", "https://api.wasenderapi.com/api/v1"),
    ]);
    let error = error.unwrap_err();
    assert_eq!(error.0.len(), 8, "{error}");
    let text = error.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("use https://www.wasenderapi.com/api"), "{text}");
}

#[test]
fn the_name_of_the_response_api_chooses_its_dialect_unless_that_is_set() {
    let dialect = |vars: &[(&str, &str)]| config(vars).unwrap().response_api.unwrap().dialect;
    let (new, old) = (("RESPONSE_API_URL", "http://a"), ("RESPONSE_API_BASE_URL", "http://b"));
    assert!(matches!(dialect(&[new]), Dialect::Bot));
    assert!(matches!(dialect(&[new, old]), Dialect::Bot));
    assert!(matches!(dialect(&[old, ("RESPONSE_API_DIALECT", "bot")]), Dialect::Bot));
    let id = ("RESPONSE_API_CHATBOT_ID", "bot_9");
    let Dialect::Conversation { chatbot_id, web_id } = dialect(&[old, id]) else {
        panic!("not the predecessor's dialect")
    };
    assert_eq!((chatbot_id.as_str(), web_id.is_none()), ("bot_9", true));
    assert!(config(&[new, ("RESPONSE_API_DIALECT", "twilio")]).is_err());
    assert!(config(&[]).unwrap().response_api.is_none());
}

#[test]
fn targets_are_networks_addresses_or_hosts() {
    let targets =
        config(&[("ALLOW_TARGETS", "10.0.0.0/8, 192.168.1.5 bot.internal")]).unwrap().targets;
    assert_eq!((targets.nets.len(), targets.hosts.len()), (2, 1));
    assert!(config(&[("ALLOW_TARGETS", "10.0.0.0/99")]).is_err());
}

#[test]
fn a_firestore_store_needs_its_project_and_a_whole_key() {
    assert!(config(&[("STORE", "sqlite")]).unwrap().firestore.is_none());
    let all = [
        ("STORE", "firestore"),
        ("FIREBASE_CLIENT_EMAIL", "hunter2@example.com"),
        ("FIRESTORE_EMULATOR_HOST", "http://hunter2"),
    ];
    let faults = config(&all).unwrap_err().0;
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(!faults.iter().any(|it| it.contains("hunter2")), "{faults:?}");
    let project = ("FIREBASE_PROJECT_ID", "shops");
    let key = ("FIREBASE_PRIVATE_KEY", "-----BEGIN");
    let both = config(&[all[0], all[1], project, key]).unwrap().firestore.unwrap();
    assert!(matches!(both.key, FirebaseKey::Variables { .. }));
    let path = ("FIREBASE_SERVICE_ACCOUNT_PATH", "/etc/key.json");
    let file = config(&[all[0], project, path, key]).unwrap().firestore.unwrap();
    assert!(matches!(file.key, FirebaseKey::File(_)));
    let emulator = ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8686");
    let machine = config(&[all[0], project, emulator]).unwrap().firestore.unwrap();
    assert!(matches!(machine.key, FirebaseKey::Machine));
    assert_eq!(machine.emulator.as_deref(), Some("127.0.0.1:8686"));
    // What belongs to a store that is not used is no fault.
    assert!(config(&all[1..]).is_ok());
}

#[test]
fn half_an_account_of_the_environment_is_a_fault_that_names_what_is_missing() {
    let meta = [("WHATSAPP_PHONE_NUMBER_ID", "1042"), ("WHATSAPP_API_TOKEN", "hunter2")];
    let twilio = [
        ("TWILIO_ACCOUNT_SID", "AChunter2"),
        ("TWILIO_AUTH_TOKEN", "hunter2"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+14155238886"),
    ];
    let both = config(&[&meta[..], &twilio[..]].concat()).unwrap().own_number.unwrap();
    assert_eq!((both.vendor.as_str(), both.is_enabled), ("default", true));
    assert_eq!(both.twilio.unwrap().from.expose(), "+14155238886");
    assert_eq!(both.meta.unwrap().phone_number_id, "1042");
    let on = ("WHATSAPP_ENABLED", "true");
    let token = ("WHATSAPP_ACCESS_TOKEN", "hunter2");
    for (variables, missing) in [
        (&meta[..1], "WHATSAPP_API_TOKEN"),
        (&meta[1..], "WHATSAPP_PHONE_NUMBER_ID"),
        (&[on, token], "WHATSAPP_PHONE_NUMBER_ID"),
        (&twilio[..1], "TWILIO_AUTH_TOKEN and TWILIO_WHATSAPP_FROM"),
        (&twilio[1..], "TWILIO_ACCOUNT_SID"),
        (&[meta[0], meta[1], ("WHATSAPP_ACCESS_TOKEN", "hunter3")], "differ"),
        (&[meta[0], meta[1], ("DEFAULT_VENDOR_ID", "hunter2 ")], ""),
        (&[meta[0], meta[1], ("DEFAULT_VENDOR_ID", "hunter 2")], "DEFAULT_VENDOR_ID"),
        (&[twilio[0], twilio[1], ("TWILIO_WHATSAPP_FROM", "hunter2")], "TWILIO_WHATSAPP_FROM"),
        (&[("WHATSAPP_ENABLED", "hunter2")], "WHATSAPP_ENABLED"),
        (&[("META_API_URL", "http://a"), ("WHATSAPP_API_URL", "http://b")], "WHATSAPP_API_URL"),
    ] {
        let faults = config(variables).map_or_else(|it| it.0, |_| Vec::new());
        assert_eq!(faults.len(), usize::from(!missing.is_empty()), "{missing}: {faults:?}");
        assert!(faults.iter().all(|it| it.contains(missing) && !it.contains("hunter")));
    }
    // These are good for other things, and were there before.
    for variables in [&[token][..], &[on], &[("WHATSAPP_APP_SECRET", "x"), on]] {
        assert!(config(variables).unwrap().own_number.is_none());
    }
    let off = ("WHATSAPP_ENABLED", "false");
    let off = config(&[off, meta[0], twilio[2]]).unwrap().own_number.unwrap();
    assert!(!off.is_enabled && off.meta.is_none());
    let url = ("WHATSAPP_API_URL", "https://graph.facebook.com/v21.0");
    assert_eq!(config(&[url]).unwrap().apis.meta.as_str(), url.1);
}
