//! What every store must do with many vendors at once.

use std::collections::{BTreeSet, HashSet};

use waba_gateway::{
    domain::{
        id::InstanceId,
        secret::ExposeSecret,
        vendor::Vendor,
        waba::{InstanceKey, WabaInstance},
    },
    store::{SharedStore, Wanted},
};

use super::cases::{instance, vendor, vendor_id};

/// More than one request's worth.
const MANY: usize = 130;

pub async fn many_are_looked_at_as_each_by_itself(store: &SharedStore) {
    let names: Vec<String> = (0..MANY).map(|n| format!("shop_{n:03}")).collect();
    let mut vendors: Vec<Vendor> = names.iter().map(|it| vendor(it)).collect();
    vendors[7].paused = true;
    let mut instances = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let mut it = instance(name, 1, &format!("22177{:07}", 1_000_000 + n));
        it.wasender.instance_id = Some(format!("{}", 5_000 + n));
        it.wasender.session_key = (n % 2 == 0).then(|| format!("key-{n}").into());
        instances.push(it);
    }
    instances.push(instance("shop_003", 2, "221780000003"));
    store.import(&vendors, &instances).await.unwrap();
    let nobody = InstanceKey::Wasender("99".to_owned());
    let wanted = Wanted {
        vendors: names.iter().map(|it| vendor_id(it)).chain([vendor_id("nobody")]).collect(),
        keys: instances.iter().flat_map(WabaInstance::keys).chain([nobody.clone()]).collect(),
        instances: vec![
            InstanceId::nth(&vendor_id("shop_003"), 2),
            InstanceId::nth(&vendor_id("nobody"), 1),
        ],
    };
    let looked = store.look(wanted).await.unwrap();
    assert_eq!((looked.vendors.len(), looked.instances.len()), (MANY, 1));
    assert!(!looked.owners.contains_key(&nobody));
    for name in &names {
        let id = vendor_id(name);
        let stored = looked.vendors[&id].as_ref().unwrap();
        let alone = (store.vendor(&id).await.unwrap(), store.instances(&id).await.unwrap());
        assert_eq!(
            format!("{:?}", (&stored.vendor, &stored.instances)),
            format!("{:?}", (&alone.0, &alone.1))
        );
        let keys = |it: &[WabaInstance]| -> Vec<Option<String>> {
            let key =
                |it: &waba_gateway::domain::secret::SecretString| it.expose_secret().to_owned();
            it.iter().map(|it| it.wasender.session_key.as_ref().map(key)).collect()
        };
        assert_eq!(keys(&stored.instances), keys(&alone.1));
    }
    for it in &instances {
        for key in it.keys() {
            assert_eq!(looked.owners[&key], BTreeSet::from([it.vendor_id.clone()]));
        }
    }
    assert!(store.batch_max() >= 100);
    let gone = InstanceId::nth(&vendor_id("shop_003"), 2);
    assert!(store.delete_instance(&vendor_id("shop_003"), &gone).await.unwrap());
    let there = InstanceId::nth(&vendor_id("shop_003"), 1);
    let instances = vec![gone.clone(), there.clone(), InstanceId::nth(&vendor_id("nobody"), 1)];
    let looked = store.look(Wanted { instances, ..Wanted::default() }).await.unwrap();
    assert_eq!(looked.instances, HashSet::from([there]));
    assert_eq!(looked.former, HashSet::from([gone]), "its id is not given again");
}

pub async fn ids_of_former_instances_are_kept_once(store: &SharedStore) {
    store.import(&[vendor("anna")], &[instance("anna", 1, "221770000001")]).await.unwrap();
    let id = |n| InstanceId::nth(&vendor_id("anna"), n);
    assert!(store.delete_instance(&vendor_id("anna"), &id(1)).await.unwrap());
    let more: Vec<InstanceId> = (1..=120).map(id).collect();
    store.put_former_instances(&more).await.unwrap();
    store.put_former_instances(&more).await.unwrap();
    let kept: BTreeSet<InstanceId> = store.former_instances().await.unwrap().into_iter().collect();
    assert_eq!(kept, more.into_iter().collect());
    assert!(store.had_instance(&id(120)).await.unwrap());
}
