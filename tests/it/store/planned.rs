//! A change of an instance is kept as it was planned, or not at all.

use futures_util::future::join;
use waba_gateway::{
    domain::{
        event::Connection, id::VendorId, secret::ExposeSecret, vendor::Vendor, waba::WabaInstance,
    },
    store::{Planned, SharedStore, StoreError, Wanted},
};

use super::cases::{instance, vendor};

/// What is to be kept of these, planned from what is stored now.
async fn planned(
    store: &SharedStore,
    vendors: &[Vendor],
    instances: &[WabaInstance],
) -> Vec<Planned> {
    let ids: Vec<VendorId> = vendors.iter().map(|it| it.id.clone()).collect();
    let wanted = Wanted { vendors: ids, ..Wanted::default() };
    let mut stored = store.look(wanted).await.unwrap().vendors;
    let planned = vendors.iter().map(|vendor| {
        let its = instances.iter().filter(|it| it.vendor_id == vendor.id);
        let before = stored.remove(&vendor.id).transpose().unwrap().unwrap_or_default();
        Planned { vendor: vendor.clone(), instances: its.cloned().collect(), before }
    });
    planned.collect()
}

pub async fn of_two_who_make_an_instance_of_one_id_one_does(store: &SharedStore) {
    store.put_all(&[vendor("anna")], &[]).await.unwrap();
    for n in 1..=5 {
        let one = instance("anna", n, &format!("22177123450{n}"));
        let two = instance("anna", n, &format!("22177123451{n}"));
        let ends = join(store.put_instance_if(None, &one), store.put_instance_if(None, &two)).await;
        let made = match ends {
            (Ok(()), Err(StoreError::Taken)) => one,
            (Err(StoreError::Taken), Ok(())) => two,
            ends => panic!("{ends:?}"),
        };
        let stored = store.instances(&made.vendor_id).await.unwrap();
        assert_eq!(stored.len(), n);
        assert!(stored.iter().any(|it| it.phone_number == made.phone_number));
    }
    // An id is given once for ever, and to one vendor.
    let gone = instance("anna", 5, "221771234599");
    assert!(store.delete_instance(&gone.vendor_id, &gone.id).await.unwrap());
    let again = store.put_instance_if(None, &gone).await;
    assert!(matches!(again, Err(StoreError::Taken)), "{again:?}");
    let others = WabaInstance { id: instance("anna", 1, "221770000000").id, ..gone.clone() };
    let others = WabaInstance { vendor_id: vendor("binta").id, ..others };
    let taken = store.put_instance_if(None, &others).await;
    assert!(matches!(taken, Err(StoreError::Taken)), "{taken:?}");
}

pub async fn two_instances_of_a_vendor_have_no_number_or_session_in_common(store: &SharedStore) {
    store.put_all(&[vendor("anna")], &[]).await.unwrap();
    let mut first = instance("anna", 1, "221771234567");
    first.wasender.instance_id = Some("7001".to_owned());
    store.put_instance_if(None, &first).await.unwrap();
    // Made at once, neither knows of the other when it is planned.
    for n in 2..=5 {
        let [one, two] = [2 * n, 2 * n + 1].map(|id| instance("anna", id, "221770000009"));
        let ends = join(store.put_instance_if(None, &one), store.put_instance_if(None, &two)).await;
        let ((Ok(()), Err(StoreError::Twice)) | (Err(StoreError::Twice), Ok(()))) = &ends else {
            panic!("{ends:?}")
        };
        let made = if ends.0.is_ok() { one } else { two };
        assert!(store.delete_instance(&made.vendor_id, &made.id).await.unwrap());
    }
    let mut second = instance("anna", 20, "221770000010");
    second.wasender.instance_id.clone_from(&first.wasender.instance_id);
    let taken = store.put_instance_if(None, &second).await;
    assert!(matches!(taken, Err(StoreError::Twice)), "{taken:?}");
    second.wasender.instance_id = None;
    store.put_instance_if(None, &second).await.unwrap();
    let stored = store.instances(&second.vendor_id).await.unwrap().pop().unwrap();
    let moved = WabaInstance { phone_number: first.phone_number.clone(), ..stored.clone() };
    let taken = store.put_instance_if(Some(&stored), &moved).await;
    assert!(matches!(taken, Err(StoreError::Twice)), "{taken:?}");
}

pub async fn an_instance_that_somebody_else_has_changed_is_left_as_it_is(store: &SharedStore) {
    store.put_all(&[vendor("anna")], &[instance("anna", 1, "221771234567")]).await.unwrap();
    let id = vendor("anna").id;
    let stored = async || store.instances(&id).await.unwrap().pop();
    let before = stored().await.unwrap();
    // What a provider says of it is no change.
    store.set_status(&before.id, Some(Connection::Connected), 1_800_000_000_000).await.unwrap();
    let after = WabaInstance { account_protection: true, ..before.clone() };
    store.put_instance_if(Some(&before), &after).await.unwrap();
    let before = stored().await.unwrap();
    assert!(before.account_protection && before.status == Connection::Connected);

    let mut theirs = before.clone();
    theirs.wasender.session_key = Some("their-key".to_owned().into());
    store.put_instance(&theirs).await.unwrap();
    let after = WabaInstance { account_protection: false, ..before.clone() };
    let refused = store.put_instance_if(Some(&before), &after).await;
    assert!(matches!(refused, Err(StoreError::Changed)), "{refused:?}");
    let present = stored().await.unwrap();
    assert!(present.account_protection);
    let key = present.wasender.session_key.as_ref();
    assert_eq!(key.map(ExposeSecret::expose_secret), Some("their-key"));

    assert!(store.delete_instance(&id, &before.id).await.unwrap());
    let refused = store.put_instance_if(Some(&present), &after).await;
    assert!(matches!(refused, Err(StoreError::Changed)), "{refused:?}");
    assert!(stored().await.is_none());
}

pub async fn a_vendor_that_somebody_else_has_changed_is_left_as_it_is(store: &SharedStore) {
    let id = vendor("anna").id;
    let changed = |end| assert!(matches!(end, Err(StoreError::Changed)), "{end:?}");
    changed(store.put_vendor_if(Some(&vendor("anna")), &vendor("anna")).await);
    assert!(store.vendor(&id).await.unwrap().is_none());
    // Made at once, neither knows of the other when it is planned.
    let (one, two) = (Vendor { auto_reply: false, ..vendor("anna") }, vendor("anna"));
    let ends = join(store.put_vendor_if(None, &one), store.put_vendor_if(None, &two)).await;
    let ((Ok(()), Err(StoreError::Changed)) | (Err(StoreError::Changed), Ok(()))) = &ends else {
        panic!("{ends:?}")
    };
    let before = store.vendor(&id).await.unwrap().unwrap();
    assert_eq!(before.auto_reply, ends.1.is_ok());
    // Whether it is paused is kept apart, and when it was changed is no change.
    store.pause(Some(&id), true).await.unwrap();
    store.put_vendor(&Vendor { updated_at: 7, ..before.clone() }).await.unwrap();
    let after = Vendor { business_name: "Chez Anna".to_owned(), ..before.clone() };
    store.put_vendor_if(Some(&before), &after).await.unwrap();
    let stored = store.vendor(&id).await.unwrap().unwrap();
    assert!(stored.paused && stored.business_name == "Chez Anna");
    // What was planned from before that.
    changed(store.put_vendor_if(Some(&before), &before).await);
    assert_eq!(store.vendor(&id).await.unwrap().unwrap().business_name, "Chez Anna");
}

pub async fn an_import_of_vendors_that_somebody_else_has_changed_keeps_none_of_them(
    store: &SharedStore,
) {
    let (anna, binta) = (vendor("anna"), vendor("binta"));
    let numbers = [instance("anna", 1, "221771234567"), instance("binta", 1, "221771234568")];
    store.put_all(&[anna.clone(), binta.clone()], &numbers).await.unwrap();
    let renamed = |it: &Vendor| Vendor { business_name: "Renamed".to_owned(), ..it.clone() };
    let to = [renamed(&anna), renamed(&binta)];
    for n in 0..5 {
        let plan = planned(store, &to, &numbers).await;
        match n {
            0 => store.put_vendor(&Vendor { auto_reply: false, ..binta.clone() }).await.unwrap(),
            1 => store.pause(Some(&binta.id), true).await.unwrap(),
            2 => {
                let theirs = WabaInstance { account_protection: true, ..numbers[1].clone() };
                store.put_instance(&theirs).await.unwrap();
            }
            3 => store.put_instance(&instance("binta", 2, "221771234569")).await.unwrap(),
            _ => assert!(store.delete_instance(&binta.id, &numbers[1].id).await.unwrap()),
        }
        let end = store.import_if(&plan).await;
        assert!(matches!(end, Err(StoreError::Changed)), "{n}: {end:?}");
        for id in [&anna.id, &binta.id] {
            assert_ne!(store.vendor(id).await.unwrap().unwrap().business_name, "Renamed", "{n}");
        }
    }
    // Seen before it was planned, it is no trouble; nor is what a provider says of a number.
    let to = [renamed(&anna), Vendor { paused: false, ..renamed(&binta) }];
    let plan = planned(store, &to, &[]).await;
    store.set_status(&numbers[0].id, Some(Connection::Connected), 1_800_000_000_000).await.unwrap();
    store.import_if(&plan).await.unwrap();
    assert_eq!(store.vendor(&binta.id).await.unwrap().unwrap().business_name, "Renamed");
    assert_eq!(store.paused().await.unwrap(), (vec![], false));
}
