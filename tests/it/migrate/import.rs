//! `waba-migrate import`: what other systems export works here, and what has no place here is told.

use std::{fs, path::Path, process::Command};

use serde_json::json;
use waba_gateway::{
    domain::{route::ProviderKind, secret::ExposeSecret, vendor::VendorStatus},
    store::Store,
    twin::{MetaCustomer, MetaInbound, MetaNumber, MetaTwin, NewMetaNumber},
};

use super::place::{ANNA, Place, Ran, vendor_id};
use crate::support::{Bot, DEADLINE, Emulator, Options, TestApp, migrate_binary, spawn_app_with};

const ACCOUNTS: &str = "user_id,chatbot_id,phone_number_id,display_phone_number,access_token,\
    app_secret,verify_token,business_account_id,business_name,status,web_id,webhook_url";
const APPS: &str = "id,business_id,name,verify_token,app_secret\n";

/// A running gateway with a Meta beside it, and what `waba-migrate` needs to work on its data.
pub(super) struct Scene {
    pub(super) app: TestApp,
    pub(super) meta: MetaTwin,
    variables: Vec<(&'static str, String)>,
    pub(super) emulator: Option<Emulator>,
}

impl Scene {
    pub(super) async fn new(emulator: Option<Emulator>, more: &[(&'static str, String)]) -> Self {
        let meta = MetaTwin::start().await.unwrap();
        let mut variables = emulator.as_ref().map(Emulator::variables).unwrap_or_default();
        variables.push(("META_API_URL", meta.api_url()));
        variables.extend(more.iter().cloned());
        let options = Options { variables: variables.clone(), ..Options::default() };
        let app = spawn_app_with(options).await;
        variables.push(("DATA_DIR", app.data_dir().display().to_string()));
        variables.push(("APP_BASE_URL", app.base.clone()));
        variables.push(("ALLOW_PRIVATE_TARGETS", "true".to_owned()));
        Self { app, meta, variables, emulator }
    }

    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let path = self.app.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(super) async fn import(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(migrate_binary());
        command.arg("import").args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
        command.current_dir(self.app.directory.path());
        command.envs(self.variables.iter().map(|it| (it.0, it.1.as_str())));
        // The gateway runs on this runtime.
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        Ran::of(&ended.await.unwrap())
    }

    /// A customer writes to a number; its webhook goes where the report says.
    pub(super) async fn says(&self, number: &MetaNumber, hook: &str, text: &str) {
        self.meta.set_callback(&number.id, hook);
        let token = number.verify_token.as_str();
        assert!(self.meta.shakes_hands(hook, token).await, "the handshake of {hook}");
        let customer = MetaCustomer::new("+221705550001");
        let answer = self.meta.customer_says(&number.id, &customer, &MetaInbound::text(text)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// The webhook URL that a report tells of a vendor.
pub(super) fn hook_of(report: &str, vendor: &str) -> String {
    let mut reader = csv::Reader::from_reader(report.as_bytes());
    let found = reader.records().map(Result::unwrap).find(|it| &it[2] == vendor);
    found.expect("the vendor is in the report")[6].to_owned()
}

pub(super) async fn each_store(of: impl AsyncFn(Option<Emulator>)) {
    of(None).await;
    of(Some(Emulator::start())).await;
}

#[tokio::test]
async fn an_imported_accounts_customers_are_answered_by_its_chatbot() {
    each_store(async |emulator| {
        let reply = json!({ "success": true, "response": "Oui", "citations": [] });
        let bot = Bot::start(&[(200, reply)]).await;
        let scene = Scene::new(emulator, &[("RESPONSE_API_BASE_URL", bot.url.clone())]).await;
        let number = scene.meta.add_number(NewMetaNumber::new("+221770000001"));
        let second = scene.meta.add_number(NewMetaNumber::new("+221770000002").beside(&number));
        let row = |id: &str, it: &MetaNumber| {
            format!(
                "{id},{},{},{},{},{},{},Chez,active,marked-web-id,https://old.example/hook\n",
                it.id, it.phone_number, it.access_token, it.app_secret, it.verify_token, it.waba_id
            )
        };
        // Each phone number id is of one vendor; the user's two are one vendor's.
        let text = format!("{ACCOUNTS}\n{}{}", row("7,bot_7", &number), row("7,bot_7", &second));
        let file = scene.file("accounts.csv", &text);
        let arguments = ["accounts", &file, "--prefix", "crm_", "--report", "done.csv"];
        let dry = scene.import(&[&arguments[..4], &["--dry-run"]].concat()).await;
        dry.says(0, &["line 2  crm_7  would be created; webhook_url is not taken", "dry run"]);
        scene.import(&arguments).await.says(0, &["2 rows: 2 created"]);
        let report = fs::read_to_string(scene.app.directory.path().join("done.csv")).unwrap();
        let hook = hook_of(&report, "crm_7");
        assert_eq!(hook, format!("{}/api/webhooks/meta/crm_7", scene.app.base));
        for (n, number) in [&number, &second].into_iter().enumerate() {
            scene.says(number, &hook, "ouvert ?").await;
            let sent = &scene.meta.wait_sends(n + 1, DEADLINE).await[n];
            assert_eq!((&sent.number, sent.text.as_str()), (&number.id, "Oui"));
        }
        let asked = bot.asked().remove(0);
        assert_eq!(asked.path, "/bot/response");
        let asked = asked.body();
        assert_eq!(asked["chatbotId"], "bot_7");
        assert_eq!(asked["user"]["converslyWebId"], "marked-web-id");
        // Again, it changes nothing and tells nothing twice.
        scene.import(&arguments).await.says(0, &["0 created, 0 updated, 2 unchanged"]);
        let after = fs::read_to_string(scene.app.directory.path().join("done.csv")).unwrap();
        assert_eq!(after, report);
        let shown = scene.app.admin.get("/api/admin/vendors/crm_7/waba-instances").await.text;
        for secret in [&number.access_token, &number.app_secret, &number.verify_token] {
            assert!(!report.contains(secret) && !shown.contains(secret), "{report}\n{shown}");
        }
        assert!(!report.contains("77000000") && !report.contains("marked"), "{report}");
        drop(scene.emulator);
    })
    .await;
}

#[tokio::test]
async fn numbers_that_a_file_does_not_tell_are_asked_for_at_meta() {
    let scene = Scene::new(None, &[]).await;
    let number = scene.meta.add_number(NewMetaNumber::new("+221770000001"));
    let row =
        |who: &str, token: &str| format!("{who},{},{token},{}\n", number.id, number.app_secret);
    let header = "chatbotId,phoneNumberId,accessToken,appSecret\n";
    let variables = [("RESPONSE_API_BASE_URL", "https://answers.example".to_owned())];
    let scene = Scene { variables: [&scene.variables[..], &variables].concat(), ..scene };
    let file = scene.file("wrong.csv", &format!("{header}{}", row("bot_1", "marked-wrong-token")));
    let ran = scene.import(&["accounts", &file, "--ask-meta"]).await;
    ran.says(1, &["line 2 (bot_1): display_phone_number is empty\n", "nothing was written"]);
    let file = scene.file("right.csv", &format!("{header}{}", row("bot_1", &number.access_token)));
    scene.import(&["accounts", &file, "--ask-meta"]).await.says(0, &["line 2  bot_1  created"]);
    let instances = scene.app.gateway.instances(&vendor_id("bot_1")).await.unwrap();
    assert_eq!(instances[0].phone_number.digits(), "221770000001");
}

/// Runs an import on a place with one account of another vendor's in it.
fn accounts(place: &Place, rows: &[&str], more: &[&str]) -> Ran {
    let file = place.raw_file(format!("{ACCOUNTS}\n{}\n", rows.join("\n")));
    let vars = [("RESPONSE_API_BASE_URL", "https://answers.example")];
    place.run_with(&[&["import", "accounts", &file], more].concat(), &vars)
}

/// A row: its user, chatbot and number, then its status.
fn account(who: &str, id: u32, status: &str) -> String {
    format!(
        "{who},{id},+22177000{id:04},marked-token-{id},marked-app,marked-verify,99,B {id},{status},,"
    )
}

/// Below the header; the number 1000 is another vendor's.
fn odd_accounts() -> Vec<String> {
    vec![
        account("a,", 1001, ""),
        account("b,", 1000, ""),
        account("c d,", 1003, "asleep"),
        account(",", 1004, ""),
        ",bot,12 4,770000005,,,,,,,,".to_owned(),
        // Three clients of one number, two of them active.
        account(",bot_1", 1006, "active"),
        account(",bot_2", 1006, "active"),
        account(",bot_3", 1006, "inactive"),
        // One active account of a number, and one that is not.
        account("e,", 1009, "inactive"),
        account("f,", 1009, "Active"),
        // A user's second number, one that is off, and one with another chatbot.
        account("a,", 1011, ""),
        account("a,", 1012, "inactive"),
        account("a,bot_a", 1013, ""),
        account("off,", 1014, "inactive"),
        // What is wrong with one number says nothing of the vendor's others.
        account("g,bot_g", 1015, "").replace("marked-token", "no token"),
        account("g,bot_h", 1016, ""),
    ]
}

#[tokio::test]
async fn a_second_chatbot_of_a_user_comes_as_a_vendor_of_its_own() {
    let place = Place::new();
    let first = account("a,bot_a", 1013, "");
    let second = account("a,bot_b", 1014, "");
    let third = account("a,", 1015, "");
    let left = "left out: chatbot_id is not that of line 2; here one answers for all numbers";
    let ran = accounts(&place, &[&first, &second, &third], &[]);
    ran.says(
        1,
        &["1 created", &format!("line 3  a  {left}: without user_id this one is a vendor")],
    );
    ran.says(1, &[&format!("line 4  a  {left}\n")]);
    let alone = second.strip_prefix('a').unwrap();
    accounts(&place, &[&first, alone], &[]).says(0, &["1 created, 0 updated, 1 unchanged"]);
    let opened = place.open();
    assert_eq!(opened.instance("bot_b").await.unwrap().meta.unwrap().phone_number_id, "1014");
}

#[test]
fn every_account_that_has_no_place_is_told_with_its_line_and_reason() {
    let place = Place::new();
    accounts(&place, &[&account("there,", 1000, "")], &[]).says(0, &["1 created"]);
    let rows = odd_accounts();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let dry = accounts(&place, &rows, &["--dry-run"]);
    let left = "left out: phone_number_id is also in line";
    let off = "not kept: its account is not active";
    let wanted = [
        "line 2  a  would be created  https://gw.example/base/api/webhooks/meta/a\n".to_owned(),
        "line 3 (b): display_phone_number belongs to vendor there; phone_number_id belongs to vendor there\n".to_owned(),
        "line 4: user_id: a vendor id is 1 to 64 of A-Z a-z 0-9 _ -; status: is none of active, inactive and suspended\n".to_owned(),
        "line 5: user_id: is empty, and so is chatbot_id\n".to_owned(),
        "line 6 (bot): display_phone_number: write the number with + and its country code, like +221771234567; \
         phone_number_id: is not an id of this provider's; access_token is empty; \
         app_secret: is empty, and WHATSAPP_APP_SECRET is not set: no webhook could be proven\n".to_owned(),
        format!("line 7  bot_1  {left} 8; here a number belongs to one vendor\n"),
        format!("line 8  bot_2  {left} 7; here a number belongs to one vendor\n"),
        format!("line 9  bot_3  {off}\n"),
        format!("line 10  e  {off}\n"),
        "line 11  f  would be created".to_owned(),
        "line 12  a  would be created beside what its vendor has; business_name is that of line 2".to_owned(),
        format!("line 13  a  {off}, and that of line 2 is\n"),
        "line 14  a  left out: chatbot_id is not that of line 2; here one answers for all numbers: without user_id this one is a vendor of its own\n".to_owned(),
        "line 15  off  would be created".to_owned(),
        "line 16 (g): access_token: has 1 to 4096 characters and no spaces\n".to_owned(),
        "line 17  g  would be created  ".to_owned(),
        "16 rows: 5 created, 0 updated, 0 unchanged, 5 bad; 0 taken, 3 not kept, 3 left out".to_owned(),
    ];
    dry.says(1, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!dry.all().contains("marked"), "{}", dry.all());
    let content = place.content();
    accounts(&place, &rows, &[]).says(1, &["8 good, 5 bad, 3 left out; nothing was written"]);
    assert_eq!(place.content(), content);
    let report = place.dir.path().join("done.csv");
    let more = ["--keep-going", "--report", report.to_str().unwrap()];
    accounts(&place, &rows, &more).says(1, &["5 created, 0 updated, 0 unchanged, 5 bad"]);
    let text = fs::read_to_string(&report).unwrap();
    for (line, result) in [(2, "created"), (5, "refused"), (8, "left out"), (10, "not kept")] {
        let is = |it: &&str| {
            it.contains(&format!("Z,{line},")) && it.contains(&format!(",row,{result},"))
        };
        assert!(text.lines().any(|it| is(&it)), "no line {line} {result} in {text}");
    }
    assert_eq!(text.lines().count(), 17, "{text}");
    assert!(!text.contains("marked") && !text.contains("77000"), "{text}");
    let before = place.content();
    accounts(&place, &rows, &more).says(1, &["0 created, 0 updated, 5 unchanged, 5 bad"]);
    assert_eq!(place.content(), before);
}

#[tokio::test]
async fn what_is_stored_stays_where_an_imported_row_does_not_differ() {
    let place = Place::new();
    // A number that is at Wasender already.
    place.migrate(&[ANNA]);
    let row = "anna,bot_a,1001,+221771234567,marked-token,,,99,,inactive,,";
    let file = place.raw_file(format!("{ACCOUNTS}\n{row}\n"));
    let vars = [
        ("RESPONSE_API_BASE_URL", "https://answers.example"),
        ("FACEBOOK_APP_SECRET", "marked-app-of-all"),
        ("WEBHOOK_VERIFY_TOKEN", "marked-verify-of-all"),
    ];
    let changed = "updated (status, chatbot_id, phone_number_id, business_account_id, access_token, app_secret, verify_token)";
    place.run_with(&["import", "accounts", &file], &vars).says(0, &[changed]);
    {
        let opened = place.open();
        let vendor = opened.vendor("anna").await.unwrap();
        assert_eq!(
            (vendor.business_name.as_str(), vendor.status),
            ("Anna's", VendorStatus::Inactive)
        );
        assert_eq!((vendor.auto_reply, vendor.responders.len()), (true, 1));
        let instance = opened.instance("anna").await.unwrap();
        assert_eq!(instance.provider, ProviderKind::Wasender);
        assert_eq!(instance.wasender.instance_id.as_deref(), Some("4001"));
        let account = instance.meta.unwrap();
        let secret = account.app_secret.as_ref().map(ExposeSecret::expose_secret);
        assert_eq!(secret, Some("marked-app-of-all"));
        let token = account.verify_token.as_ref().map(ExposeSecret::expose_secret);
        assert_eq!((token, account.waba_id.as_deref()), (Some("marked-verify-of-all"), Some("99")));
        let suspended =
            waba_gateway::domain::vendor::Vendor { status: VendorStatus::Suspended, ..vendor };
        opened.store.put_vendor(&suspended).await.unwrap();
    }
    let row = row.replace("inactive", "active").replace("marked-token", "marked-renewed");
    let file = place.raw_file(format!("{ACCOUNTS}\n{row}\n"));
    place.run_with(&["import", "accounts", &file], &vars).says(0, &["updated (access_token)"]);
    let opened = place.open();
    assert_eq!(opened.vendor("anna").await.unwrap().status, VendorStatus::Suspended);
    assert_eq!(opened.store.instances(&vendor_id("anna")).await.unwrap().len(), 1);
}

#[test]
fn an_import_says_why_it_could_not_run() {
    let place = Place::new();
    let at = |it: &Path| it.to_str().unwrap().to_owned();
    let file = |text: &str| place.raw_file(text);
    let said =
        |what: &[&str], words: &str| place.run(&[&["import"], what].concat()).says(2, &[words]);
    said(&["accounts", "absent.csv"], "read absent.csv: No such file");
    let secret = file("marked-a,marked-b\n");
    let wanted = "a header with phone_number_id, access_token";
    said(&["accounts", &secret], wanted);
    said(&["accounts", &file(&ACCOUNTS.replace(',', ";"))], "separated by semicolons");
    said(&["accounts", &file(&format!("{ACCOUNTS},userId\n"))], "has user_id twice");
    said(&["hub", &file(APPS)], "none of the files has the table phone numbers");
    let (one, two) = (file(APPS), file(APPS));
    said(&["hub", &one, &two], "have the table apps");
    assert!(!place.run(&["import", "accounts", &secret]).all().contains("marked"));
    // Columns that are not known are named; either spelling is.
    let header = "userId,phoneNumberId,phoneNumber,accessToken,appSecret,id,createdAt";
    let known = file(&format!("{header}\na,1,+221770000001,marked,marked,9,now\n"));
    place
        .run(&["import", "accounts", &known, "--dry-run"])
        .says(0, &["these columns are not taken: id, createdAt", "line 2  a  would be created"]);
    said(&["accounts", &file("userId,phoneNumberId,accessToken\n")], "--ask-meta asks Meta");
    let help = place.run(&["import", "accounts", "--help"]);
    ACCOUNTS.split(',').for_each(|it| help.says(0, &[it]));
    place
        .run(&["import", "hub", "--help"])
        .says(0, &["--first-project", "Exit codes", "forwardUrl"]);
    assert!(!place.data().exists(), "{}", at(&place.data()));
}
