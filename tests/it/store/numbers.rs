//! What every store must do with a number's accounts at the other providers.

use std::collections::{BTreeSet, HashMap};

use waba_gateway::{
    domain::{
        phone::PhoneNumber,
        waba::{InstanceKey, MetaAccount, TwilioAccount, UnipileAccount, WabaInstance},
    },
    store::{SharedStore, StoreError, Wanted},
};

use super::cases::{instance, phone, vendor};

/// An instance whose accounts have numbers of their own.
fn with_accounts(vendor: &str, numbers: [&str; 4]) -> WabaInstance {
    let [own, meta, unipile, twilio] = numbers;
    let number = |it| Some(PhoneNumber::from_wire(it).unwrap());
    WabaInstance {
        meta: Some(Box::new(MetaAccount {
            phone_number_id: format!("1{own}"),
            phone_number: number(meta),
            ..MetaAccount::default()
        })),
        unipile: Some(Box::new(UnipileAccount {
            account_id: format!("unipile-{vendor}"),
            phone_number: number(unipile),
            ..UnipileAccount::default()
        })),
        twilio: Some(Box::new(TwilioAccount {
            account_sid: "ACshared".to_owned(),
            from: number(twilio),
            ..TwilioAccount::default()
        })),
        ..instance(vendor, 1, own)
    }
}

pub async fn a_number_at_another_provider_is_found_until_it_is_given_up(store: &SharedStore) {
    let annas = ["221770000001", "221770000002", "221770000003", "221770000004"];
    let bintas = ["221770000005", "221770000006", "221770000007", "221770000008"];
    let instances = [with_accounts("anna", annas), with_accounts("binta", bintas)];
    store.put_all(&[vendor("anna"), vendor("binta")], &instances).await.unwrap();
    for (it, numbers) in instances.iter().zip([annas, bintas]) {
        let keys = it.keys();
        assert!(numbers.iter().all(|it| keys.contains(&phone(it))), "{keys:?}");
        for key in keys {
            let owner = store.instance_by_key(&key).await.unwrap();
            assert_eq!(owner, Some((it.vendor_id.clone(), it.id.clone())), "{key:?}");
        }
    }
    let taken = store.put_instance(&instance("binta", 2, annas[3])).await;
    assert!(matches!(taken, Err(StoreError::Claimed)), "{taken:?}");
    let [mut it, _] = instances;
    it.twilio = None;
    store.put_instance(&it).await.unwrap();
    let left: Vec<InstanceKey> = it.keys();
    for number in annas {
        let owner = store.instance_by_key(&phone(number)).await.unwrap();
        assert_eq!(owner.is_some(), left.contains(&phone(number)), "{number}");
    }
    store.delete_instance(&it.vendor_id, &it.id).await.unwrap();
    for number in annas {
        assert_eq!(store.instance_by_key(&phone(number)).await.unwrap(), None, "{number}");
    }
}

pub async fn who_has_what_is_the_same_for_many_keys_as_for_each(store: &SharedStore) {
    // Numbers with two forms, and more keys than one request asks for.
    let mut instances = vec![
        with_accounts("anna", ["221770000001", "5511987654321", "2290197123456", "5215512345678"]),
        with_accounts("binta", ["221770000005", "221770000006", "221770000007", "221770000008"]),
    ];
    let vendors = ["anna", "binta", "cara"].map(vendor);
    for n in 1..=30 {
        let mut it = with_accounts(
            "cara",
            [1, 2, 3, 4].map(|at| format!("22178{at}0000{n:02}")).each_ref().map(String::as_str),
        );
        it.id = instance("cara", n, "221770000001").id;
        it.unipile.as_mut().unwrap().account_id = format!("unipile-cara-{n}");
        instances.push(it);
    }
    store.put_all(&vendors, &instances[..16]).await.unwrap();
    store.put_all(&[], &instances[16..]).await.unwrap();
    let nobodys = [phone("221790000001"), InstanceKey::Unipile("nobodys".to_owned())];
    let keys: Vec<InstanceKey> =
        instances.iter().flat_map(WabaInstance::keys).chain(nobodys).collect();
    let wanted = Wanted { keys: keys.clone(), ..Wanted::default() };
    let looked = store.look(wanted).await.unwrap().owners;
    let mut each = HashMap::new();
    for key in &keys {
        if let Some((owner, _)) = store.instance_by_key(key).await.unwrap() {
            each.insert(key.clone(), BTreeSet::from([owner]));
        }
    }
    assert_eq!(each.len(), keys.len() - 2);
    assert_eq!(looked, each);
}
