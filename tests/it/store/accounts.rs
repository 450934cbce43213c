//! Whose a number at Meta is, and an account at Unipile.

use futures_util::future::join_all;
use waba_gateway::{
    domain::{
        vendor::Vendor,
        waba::{InstanceKey, MetaAccount, UnipileAccount, WabaInstance},
    },
    store::{SharedStore, StoreError},
};

use super::cases::{instance, vendor, vendor_id};

type Give = fn(&mut WabaInstance, &str);
type Key = fn(String) -> InstanceKey;

/// An account of either, and the key that it is found by.
fn both() -> [(Give, Key); 2] {
    let meta = |it: &mut WabaInstance, id: &str| {
        let account = MetaAccount { phone_number_id: id.to_owned(), ..MetaAccount::default() };
        it.meta = Some(Box::new(account));
    };
    let unipile = |it: &mut WabaInstance, id: &str| {
        let account = UnipileAccount { account_id: id.to_owned(), ..UnipileAccount::default() };
        it.unipile = Some(Box::new(account));
    };
    [(meta, InstanceKey::Meta), (unipile, InstanceKey::Unipile)]
}

pub async fn an_account_that_another_vendor_has_is_refused(store: &SharedStore) {
    store.put_all(&[vendor("anna"), vendor("binta")], &[]).await.unwrap();
    for (give, key) in both() {
        let (key, anna, binta) = (key("9001".to_owned()), vendor_id("anna"), vendor_id("binta"));
        let mut annas = instance("anna", 1, "221771234567");
        give(&mut annas, "9001");
        store.put_instance(&annas).await.unwrap();
        let owner = store.instance_by_key(&key).await.unwrap();
        assert_eq!(owner, Some((anna.clone(), annas.id.clone())));
        assert!(store.is_claimed_by_another(&key, &binta).await.unwrap());
        assert!(!store.is_claimed_by_another(&key, &anna).await.unwrap());
        let mut bintas = instance("binta", 1, "221771234568");
        give(&mut bintas, "9001");
        let refused = store.put_instance(&bintas).await;
        assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
        // Nothing of what comes with it is kept either.
        let renamed = Vendor { business_name: "X".to_owned(), ..vendor("binta") };
        let refused = store.put_all(&[renamed], std::slice::from_ref(&bintas)).await;
        assert!(matches!(refused, Err(StoreError::Claimed)), "{refused:?}");
        assert_eq!(store.vendor(&binta).await.unwrap().unwrap().business_name, "Chez binta");
        assert!(store.instances(&binta).await.unwrap().is_empty());
        // What was given up is free.
        give(&mut annas, "9002");
        store.put_instance(&annas).await.unwrap();
        store.put_instance(&bintas).await.unwrap();
        assert_eq!(store.instance_by_key(&key).await.unwrap().unwrap().0, binta);
        assert!(store.delete_instance(&binta, &bintas.id).await.unwrap());
        assert_eq!(store.instance_by_key(&key).await.unwrap(), None);
        assert!(store.delete_instance(&anna, &annas.id).await.unwrap());
    }
}

pub async fn of_many_who_take_one_account_at_once_one_gets_it(store: &SharedStore) {
    let ids: Vec<String> = (0..8).map(|n| format!("vendor_{n}")).collect();
    let vendors: Vec<Vendor> = ids.iter().map(|it| vendor(it)).collect();
    store.put_all(&vendors, &[]).await.unwrap();
    for (round, (give, key)) in both().into_iter().enumerate() {
        let with_account = |(n, id): (usize, &String)| {
            let mut it = instance(id, round + 1, &format!("2217700000{round}{n}"));
            give(&mut it, "9001");
            it
        };
        let instances: Vec<_> = ids.iter().enumerate().map(with_account).collect();
        let ends = join_all(instances.iter().map(|it| store.put_instance(it))).await;
        let n_taken = ends.iter().filter(|it| it.is_ok()).count();
        let are_refused = ends.iter().all(|it| matches!(it, Ok(()) | Err(StoreError::Claimed)));
        assert!(n_taken == 1 && are_refused, "{ends:?}");
        let owner = store.instance_by_key(&key("9001".to_owned())).await.unwrap().unwrap();
        let winner = ends.iter().position(Result::is_ok).unwrap();
        assert_eq!(owner.0.as_str(), ids[winner]);
    }
}
