//! A change of an instance is kept as it was planned, or not at all.

use futures_util::future::join;
use waba_gateway::{
    domain::{event::Connection, secret::ExposeSecret, waba::WabaInstance},
    store::{SharedStore, StoreError},
};

use super::cases::{instance, vendor};

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
