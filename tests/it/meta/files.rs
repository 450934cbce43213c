//! Files, up and down.

use waba_gateway::twin::{FileKind, MetaRequest};

use super::*;
use crate::bulk::{LINES, post};
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

#[tokio::test]
async fn a_file_that_meta_will_not_have_is_not_handed_over_again_and_again() {
    let shop = shop().await;
    shop.says(&customer(), &MetaInbound::text("merci")).await;
    shop.meta.wait_sends(1, DEADLINE).await;
    let clear = file(FileKind::Image, 20_000);
    let id = uploaded(&shop.app, &shop.vendor, "", "image/jpeg", clear).await;
    shop.misbehave(MetaMisbehaviour::DeedFails(131_053));
    let sent =
        shop.send(json!({ "type": "media", "kind": "image", "caption": "", "upload": id })).await;
    assert_eq!(shop.is(&sent, "parked").await, "unsupported");
    let n_uploads = shop.meta.requests().iter().filter(|it| it.path.ends_with("/media")).count();
    assert_eq!(n_uploads, 1);
}

#[tokio::test]
async fn a_file_that_no_provider_of_the_number_takes_is_refused_with_the_limit() {
    let shop = shop().await;
    let (app, vendor) = (&shop.app, &shop.vendor);
    let n_bytes = 16 * 1024 * 1024 + 1;
    let mp4 = [b"\0\0\0\x18ftypmp42".to_vec(), vec![0; n_bytes - 12]].concat();
    let long = uploaded(app, vendor, "", "video/mp4", mp4.clone()).await;
    let fits = uploaded(app, vendor, "", "video/mp4", mp4[..n_bytes - 1].to_vec()).await;
    let path = format!("/api/v1/vendors/{}/messages", vendor.id);
    let ask = async |id: &str| {
        let video = json!({ "to": CUSTOMER, "type": "video", "video": { "mediaId": id } });
        app.admin.post(&path, video).await
    };
    let refused = ask(&long).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    for word in ["video.mediaId", "video/mp4", "16 MB"] {
        assert!(refused.text.contains(word), "{word}: {}", refused.text);
    }
    assert!(!ask(&fits).await.text.contains("mediaId"));
    // A job is refused like a message, whether the file is one for all or of each.
    for (id, of_each) in [(long.as_str(), "x"), ("{{file}}", long.as_str())] {
        let message = json!({ "type": "video", "video": { "mediaId": id } });
        let to = json!({ "to": CUSTOMER, "file": of_each });
        let job = format!("{}\n{to}", json!({ "message": message }));
        let refused = post(app, vendor, LINES, "", &job).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert!(refused.text.contains("16 MB"), "{}", refused.text);
    }
    // Another provider of the number may take it.
    let number = format!("/api/admin/vendors/{0}/waba/waba_{0}", vendor.id);
    let both =
        json!({ "wasenderInstanceId": "4711", "wasenderApiKey": "key", "failover": ["wasender"] });
    assert_eq!(app.admin.put(&number, both).await.status, 200);
    assert!(!ask(&long).await.text.contains("mediaId"));
}
