//! The guide from Twilio to Meta, followed word by word: each command of it is typed into a shell,
//! in order, against simulated ones.

use std::{path::Path, process::Command};

use waba_gateway::twin::{
    Customer, MetaCustomer, MetaInbound, MetaNumber, MetaTwin, NewMetaNumber,
    twilio::{TwilioNumber, TwilioTwin},
};

use crate::{
    restart::free_port,
    support::{DEADLINE, Process, gateway_binary},
};

const TO: &str = "+221705550001";
const META: &str = "+221770009999";

/// An operator's directory with the gateway running in it, and what is around.
struct Desk {
    directory: tempfile::TempDir,
    /// Ends with the desk.
    _gateway: Process,
    twilio: TwilioTwin,
    sender: TwilioNumber,
    meta: MetaTwin,
    number: MetaNumber,
    blocks: std::vec::IntoIter<String>,
    exports: String,
}

/// The blocks of this kind.
fn blocks(kind: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TWILIO_TO_META.md");
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("\n```{kind}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|it| it.split("\n```").next().unwrap().to_owned()).collect()
}

impl Desk {
    async fn new() -> Self {
        let (twilio, meta) = (TwilioTwin::start().await.unwrap(), MetaTwin::start().await.unwrap());
        let sender = twilio.add_number("+14155238886");
        let number = meta.add_number(NewMetaNumber::new(META));
        let port = free_port();
        // The guide's own lines, with an account that exists.
        let [dot_env] = blocks("sh").try_into().unwrap();
        let dot_env = dot_env
            .replace("AC…", &sender.account_sid)
            .replace("AUTH_TOKEN=…", &format!("AUTH_TOKEN={}", sender.auth_token));
        let around = format!(
            "\nTWILIO_API_URL={}\nMETA_API_URL={}\nLISTEN_ADDR=127.0.0.1:{port}\n",
            twilio.api_url(),
            meta.api_url()
        );
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), dot_env + &around).unwrap();
        let (data, log) = (directory.path().join("data"), directory.path().join("gateway.log"));
        let gateway = Process::serve(&data, port, &[], &log).await;
        let mut blocks = blocks("bash").into_iter();
        let exports = blocks.next().unwrap().replace("http://127.0.0.1:9002", &gateway.base);
        Self { directory, _gateway: gateway, twilio, sender, meta, number, blocks, exports }
    }

    /// Types the next block, which must have this in it.
    async fn types(&mut self, part: &str) -> String {
        let block = self.blocks.next().expect("the guide has one more block");
        assert!(block.contains(part), "{part:?} is not in {block:?}");
        self.runs(&block).await
    }

    async fn runs(&self, block: &str) -> String {
        let it = &self.number;
        let block = block
            .replace("\"PHONE_NUMBER_ID\"", &format!("\"{}\"", it.id))
            .replace("\"WABA_ID\"", &format!("\"{}\"", it.waba_id))
            .replace("\"ACCESS_TOKEN\"", &format!("\"{}\"", it.access_token))
            .replace("\"APP_SECRET\"", &format!("\"{}\"", it.app_secret))
            .replace("\"VERIFY_TOKEN\"", &format!("\"{}\"", it.verify_token))
            .replace("META_NUMBER", META);
        let path = gateway_binary();
        let path = format!("{}:/usr/bin:/bin", path.parent().unwrap().display());
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("set -euo pipefail\n{}\n{block}", self.exports)])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", path);
        // The twins answer on this runtime.
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert!(ended.status.success(), "{block}\n{told}");
        told
    }

    async fn writes_to_twilio(&self) {
        let customer = Customer::new(TO);
        let sid = &self.sender.account_sid;
        assert_eq!(self.twilio.customer_says(sid, &customer, "bonjour").await.status, 200);
    }

    async fn writes_to_meta(&self) {
        let (customer, said) = (MetaCustomer::new(TO), MetaInbound::text("bonjour"));
        assert_eq!(self.meta.customer_says(&self.number.id, &customer, &said).await.status, 200);
    }

    /// What left through each.
    fn n_sent(&self) -> (usize, usize) {
        (self.twilio.n_sends(), self.meta.sends().len())
    }
}

#[tokio::test]
async fn the_guide_from_twilio_to_meta_is_followed_word_by_word() {
    let mut desk = Desk::new().await;
    let told = desk.types("/whatsapp-status").await;
    assert!(told.contains(r#""provider":"twilio""#), "{told}");
    desk.types(r#"{"provider": "twilio"}"#).await;
    desk.writes_to_twilio().await;
    let alert = desk.blocks.as_slice()[0].clone();
    let told = desk.types("/alerts").await;
    assert!(told.contains("messageId"), "{told}");
    desk.twilio.wait_sends(1, DEADLINE).await;
    // Both, Twilio first.
    desk.types(r#""failover": ["meta"]"#).await;
    let told = desk.types(r#"{"provider": "meta"}"#).await;
    assert!(told.contains("configured"), "{told}");
    let told = desk.types("/status").await;
    let place = |it: &str| told.find(it).unwrap();
    assert!(place(r#""provider":"twilio""#) < place(r#""provider":"meta""#), "{told}");
    desk.runs(&alert).await;
    desk.twilio.wait_sends(2, DEADLINE).await;
    desk.writes_to_meta().await;
    desk.types("Bonjour par Meta").await;
    desk.meta.wait_sends(1, DEADLINE).await;
    // Meta first, then alone.
    desk.types(r#""failover": ["twilio"]"#).await;
    desk.runs(&alert).await;
    desk.meta.wait_sends(2, DEADLINE).await;
    let told = desk.runs("waba-gateway doctor --json || true").await;
    assert!(told.contains("twilio answers from another number"), "{told}");
    desk.types(r#""twilio": null"#).await;
    desk.runs(&alert).await;
    desk.meta.wait_sends(3, DEADLINE).await;
    // Templates.
    desk.types(r#""type": "template""#).await;
    let sends = desk.meta.wait_sends(4, DEADLINE).await;
    assert_eq!(sends[3].json()["template"]["name"], "stock_bas");
    desk.types("fallbackTemplate").await;
    desk.runs(&alert.replace(TO, "+221705550099")).await;
    let sends = desk.meta.wait_sends(5, DEADLINE).await;
    let sent = sends[4].json();
    let template = &sent["template"];
    assert_eq!(template["components"][0]["parameters"][0]["text"], "Stock bas : riz");
    assert!(desk.blocks.next().is_none(), "the guide has more to type");
    assert_eq!(desk.n_sent(), (2, 5));
}
