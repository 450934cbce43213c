//! Callbacks are entered at Meta, and numbers say how they are.

use std::net::IpAddr;

use url::Url;
use waba_gateway::{
    domain::{clock::Clock, event::Connection, phone::PhoneNumber, waba::WabaInstance},
    gateway::{AccountsChange, NewInstance},
    http::{Allow, Http},
    provider::{HookFault, Hooks, Meta, NewHook, Provider},
};

use super::*;

struct Everywhere;

impl Allow for Everywhere {
    fn allows(&self, _: &str, _: IpAddr) -> bool {
        true
    }
}

fn provider(meta: &MetaTwin) -> Meta {
    let http = Http::new(std::sync::Arc::new(Everywhere)).unwrap();
    Meta::new(http, meta.api_url().parse().unwrap(), Clock::System)
}

/// The vendor's number as the provider is given it.
fn instance(shop: &Shop) -> WabaInstance {
    use waba_gateway::domain::{id::InstanceId, waba::MetaAccount};
    let new = NewInstance {
        phone_number: PhoneNumber::from_wire(&shop.number.phone_number).unwrap(),
        wasender_instance_id: None,
        session_key: None,
        webhook_secret: None,
        token: None,
        account_protection: false,
        schemes: waba_gateway::domain::waba::SignatureSchemes::default(),
        accounts: AccountsChange::default(),
    };
    let mut instance = new.instance(InstanceId::nth(&shop.vendor.id, 1), shop.vendor.id.clone(), 0);
    instance.meta = Some(Box::new(MetaAccount {
        phone_number_id: shop.number.id.clone(),
        waba_id: Some(shop.number.waba_id.clone()),
        access_token: Some(shop.number.access_token.clone().into()),
        app_secret: Some(shop.number.app_secret.clone().into()),
        verify_token: Some(shop.number.verify_token.clone().into()),
        phone_number: None,
    }));
    instance
}

#[tokio::test]
async fn the_callback_of_a_number_is_entered_once_meta_has_shaken_hands() {
    let shop = shop().await;
    let (provider, mut instance) = (provider(&shop.meta), instance(&shop));
    let url: Url = shop.vendor.hook.parse().unwrap();
    let own = || shop.meta.number(&shop.number.id).unwrap().override_callback;
    let set = async |instance: &WabaInstance, url: &Url, replace: bool| {
        provider.set_webhook(instance, &NewHook { url, replace }).await
    };
    // The app's own callback led here; the number gets one of its own.
    shop.meta.change(&shop.number.id, |it| it.callback = None);
    assert_eq!(set(&instance, &url, false).await.unwrap().warnings.len(), 1);
    assert_eq!(own().as_deref(), Some(url.as_str()));
    shop.says(&customer(), &MetaInbound::text("horaires")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    set(&instance, &url, false).await.unwrap();
    let elsewhere: Url = format!("{}?a=1", shop.vendor.hook).parse().unwrap();
    let fault = set(&instance, &elsewhere, false).await.unwrap_err();
    assert_eq!(fault, HookFault::Elsewhere { url: url.to_string() });
    set(&instance, &elsewhere, true).await.unwrap();
    assert_eq!(own().as_deref(), Some(elsewhere.as_str()));
    // A callback that does not know the token is not taken.
    let account = instance.meta.as_mut().unwrap();
    account.verify_token = Some("another".to_owned().into());
    let fault = set(&instance, &url, true).await.unwrap_err();
    assert!(matches!(fault, HookFault::Refused(_)), "{fault:?}");
    let account = instance.meta.as_mut().unwrap();
    account.access_token = Some("nobody".to_owned().into());
    assert_eq!(set(&instance, &url, true).await.unwrap_err(), HookFault::Unauthorized);
    let account = instance.meta.as_mut().unwrap();
    (account.access_token, account.waba_id) = (Some("x".to_owned().into()), None);
    assert_eq!(set(&instance, &url, true).await.unwrap_err(), HookFault::Missing("meta.wabaId"));
}

#[tokio::test]
async fn an_account_counts_as_subscribed_by_the_app_of_its_token_alone() {
    let shop = shop().await;
    let url: Url = shop.vendor.hook.parse().unwrap();
    for (has_other, tells_app, is_set, n_warnings, told) in [
        (false, true, true, 1, "subscribed"),
        (true, true, true, 1, "subscribed"),
        (true, false, false, 2, "not known"),
    ] {
        let number = shop.meta.add_number(NewMetaNumber {
            verify_token: Some(shop.number.verify_token.clone()),
            ..NewMetaNumber::new("+221770000002")
        });
        shop.meta.change(&number.id, |it| {
            (it.has_other_app, it.tells_app) = (has_other, tells_app);
        });
        let mut instance = instance(&shop);
        let account = instance.meta.as_mut().unwrap();
        account.phone_number_id.clone_from(&number.id);
        account.waba_id = Some(number.waba_id.clone());
        account.access_token = Some(number.access_token.clone().into());
        let provider = provider(&shop.meta);
        let webhooks = async || {
            let health = provider.health(&instance).await.unwrap();
            health.details.into_iter().find(|it| it.0 == "webhooks").unwrap().1
        };
        let before = if is_set { "not subscribed" } else { told };
        assert_eq!(webhooks().await, before);
        // Twice: what is there already is not entered anew.
        for _ in 0..2 {
            let hook = NewHook { url: &url, replace: true };
            let set = provider.set_webhook(&instance, &hook).await.unwrap();
            assert_eq!(set.warnings.len(), n_warnings, "{:?}", set.warnings);
        }
        assert_eq!(webhooks().await, told);
        assert_eq!(shop.meta.subscription(&number.waba_id).is_some(), is_set);
        let path = format!("/{}/subscribed_apps", number.waba_id);
        let requests = shop.meta.requests();
        let posts = requests.iter().filter(|it| it.method == "POST" && it.path.ends_with(&path));
        assert_eq!(posts.count(), usize::from(is_set));
    }
}

#[tokio::test]
async fn a_number_says_how_it_is() {
    let shop = shop().await;
    let (provider, mut instance) = (provider(&shop.meta), instance(&shop));
    let health = provider.health(&instance).await.unwrap();
    assert_eq!(health.connection, Some(Connection::Connected));
    assert_eq!(health.phone_number.unwrap().expose(), "+221770000001");
    assert!(health.details.contains(&("qualityRating", "GREEN".to_owned())));
    shop.meta.change(&shop.number.id, |it| it.status = "BANNED".to_owned());
    assert_eq!(provider.health(&instance).await.unwrap().connection, Some(Connection::Error));
    instance.meta.as_mut().unwrap().access_token = Some("nobody".to_owned().into());
    let health = provider.health(&instance).await.unwrap();
    assert_eq!(health.connection, Some(Connection::Disconnected));
    shop.meta.stop().await;
    assert!(provider.health(&instance).await.is_err());
}
