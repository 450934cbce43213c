//! Files, up and down.

use waba_gateway::twin::{FileKind, MetaRequest};

use super::*;
use crate::media::{file, given_up, nothing_in_clear, sending::uploaded};

impl Shop {
    async fn file(&self, id: &str) -> Answer {
        self.app.admin.get(&format!("/api/v1/vendors/{}/media/{id}", self.vendor.id)).await
    }
}

#[tokio::test]
async fn a_customers_file_is_fetched_checked_and_never_in_clear_on_disk() {
    let shop = shop().await;
    for kind in [FileKind::Image, FileKind::Audio, FileKind::Document] {
        let clear = file(kind, 30_000);
        let inbound = MetaInbound::file(kind, clear.clone());
        let id = shop.says(&customer(), &inbound).await;
        let answer = shop.file(&id).await;
        assert_eq!((answer.status, &answer.bytes[..]), (200, &clear[..]), "{kind:?}");
        let shown = shop.shown(&id).await;
        assert_eq!((&shown["media"]["id"], &shown["media"]["url"]), (&json!(id), &json!(null)));
    }
    nothing_in_clear(&shop.app);
}

#[tokio::test]
async fn of_a_file_that_is_not_the_one_announced_no_byte_is_shown() {
    let shop = shop().await;
    let clear = file(FileKind::Image, 10_000);
    shop.misbehave(MetaMisbehaviour::WrongBytes);
    let id = shop.says(&customer(), &MetaInbound::file(FileKind::Image, clear.clone())).await;
    assert_eq!(given_up(&shop.file(&id).await), (410, "bad_hash".to_owned()));
    // Where the webhook does not say what it is, Meta does when it is asked where it is.
    let asks = |it: &MetaRequest| it.method == "GET" && !it.path.contains("lookaside");
    let asked = shop.meta.requests().into_iter().rev().find(asks).unwrap();
    let file_id = asked.path.rsplit('/').next().unwrap();
    shop.misbehave(MetaMisbehaviour::WrongBytes);
    let bare = json!({ "id": file_id, "mime_type": "image/jpeg" });
    let id = shop.says(&customer(), &MetaInbound::raw("image", bare)).await;
    assert_eq!(given_up(&shop.file(&id).await), (410, "bad_hash".to_owned()));
    // An address that is too old is asked for again.
    shop.misbehave(MetaMisbehaviour::UrlExpired);
    let id = shop.says(&customer(), &MetaInbound::file(FileKind::Image, clear.clone())).await;
    assert_eq!(&shop.file(&id).await.bytes[..], &clear[..]);
    // What Meta does not have any more is gone.
    let inbound = MetaInbound::raw("image", json!({ "id": "1", "mime_type": "image/jpeg" }));
    let id = shop.says(&customer(), &inbound).await;
    assert_eq!(given_up(&shop.file(&id).await), (410, "gone".to_owned()));
}

#[tokio::test]
async fn a_file_of_ours_is_handed_to_meta_and_sent_by_its_id() {
    let shop = shop().await;
    shop.says(&customer(), &MetaInbound::text("merci")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    let clear = file(FileKind::Image, 20_000);
    let id = uploaded(&shop.app, &shop.vendor, "", "image/jpeg", clear.clone()).await;
    let image = json!({ "type": "media", "kind": "image", "caption": "voilà", "upload": id });
    for n in [2, 3] {
        shop.send(image.clone()).await;
        let sent = &shop.meta.wait_sends(n, DEADLINE).await[n - 1];
        let body = sent.json();
        assert_eq!(body["image"]["caption"], "voilà");
        let file = shop.meta.file(body["image"]["id"].as_str().unwrap()).unwrap();
        assert_eq!((&file.bytes[..], file.mime_type.as_str()), (&clear[..], "image/jpeg"));
    }
    let n_uploads = shop.meta.requests().iter().filter(|it| it.path.ends_with("/media")).count();
    assert_eq!(n_uploads, 1, "it is there already");
}
