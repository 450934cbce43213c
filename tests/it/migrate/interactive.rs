//! `waba-migrate` without a file: through a pipe, and on a terminal.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use waba_gateway::{domain::secret::ExposeSecret, store::Store};

use super::place::{Place, Ran, other_instance, secrets, vendor_id};

/// Two vendors, the end of the list, and yes.
const ANSWERS: &str = "\
anna\nAnna's\n+221 77 123 45 67\n4001\nmarked-secret-anna\nmarked-key-anna-0001\n\
binta\nBinta, Fils\n00221771234568\n4002\nmarked-secret-binta\n\n\
\ny\n";

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

impl Place {
    fn answer_with(&self, arguments: &[&str], vars: &[(&str, &str)], answers: &[u8]) -> Ran {
        let mut child = self.command(arguments, vars).stdin(Stdio::piped()).spawn().unwrap();
        // It may have said no before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(answers);
        Ran::of(&child.wait_with_output().unwrap())
    }

    fn answer(&self, answers: &str) -> Ran {
        self.answer_with(&[], &[], answers.as_bytes())
    }
}

#[tokio::test]
async fn answers_through_a_pipe_become_vendors() {
    for arguments in [&[][..], &["interactive"]] {
        let place = Place::new();
        let ran = place.answer_with(arguments, &[], ANSWERS.as_bytes());
        let url = "https://gw.example/base/api/webhooks/wasender";
        let want = format!(
            "anna   created  {url}/anna\nbinta  created  {url}/binta\n\
             2 vendors: 2 created, 0 updated, 0 unchanged, 0 bad\n"
        );
        assert_eq!((ran.code, ran.out.as_str()), (0, want.as_str()), "{}", ran.err);
        for prompt in ["vendorId (", "wasenderApiKey (", "Write these 2 vendors? [y/N] "] {
            assert!(ran.err.contains(prompt), "{}", ran.err);
        }
        let opened = place.open();
        assert_eq!(opened.vendor("binta").await.unwrap().business_name, "Binta, Fils");
        let anna = opened.instance("anna").await.unwrap();
        assert_eq!(anna.phone_number.digits(), "221771234567");
        assert_eq!(anna.wasender.instance_id.as_deref(), Some("4001"));
        assert_eq!(secrets(&anna), ["marked-secret-anna"]);
        assert_eq!(anna.wasender.session_key.unwrap().expose_secret(), "marked-key-anna-0001");
        assert!(opened.instance("binta").await.unwrap().wasender.session_key.is_none());
        let log = place.log();
        let done: Vec<&str> = log.lines().map(|it| it.split_once(' ').unwrap().1).collect();
        assert_eq!(done, ["anna created", "binta created"]);
    }
}

#[test]
fn the_summary_masks_secrets_and_nothing_else_shows_them() {
    let place = Place::new();
    let ran = place.answer(ANSWERS);
    let line = ran.err.lines().find(|it| it.starts_with("anna ")).unwrap();
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect();
    assert_eq!(cells, ["anna", "Anna's", "+221771234567", "4001", "…anna", "…0001", "new"]);
    for secret in ["marked-secret", "marked-key"] {
        assert!(!ran.all().contains(secret) && !place.log().contains(secret), "{}", ran.all());
    }
}

#[tokio::test]
async fn a_bad_answer_is_told_and_the_next_line_is_the_new_answer() {
    let place = Place::new();
    let long = "x".repeat(20_000);
    let answers = format!(
        "an na\nanna\n\n{long}\nAnna\n77\nbusinessname\n+221771234567\n\n4001\nshort\n\n\
         marked-secret-anna\nkey\u{200b}\nmarked-key-anna\n\ny\n"
    );
    let ran = place.answer(&answers);
    ran.says(0, &["anna  created"]);
    let told: Vec<&str> =
        ran.err.lines().filter_map(|it| it.strip_prefix("  ")).map(str::trim).collect();
    let want = [
        "vendorId: a vendor id is 1 to 64 of A-Z a-z 0-9 _ -",
        "businessName is empty",
        "businessName is longer than 512 characters",
        "phoneNumber: write the number with + and its country code, like +221771234567",
        "phoneNumber is the name of a field",
        "wasenderInstanceId is empty",
        "wasenderWebhookSecret has fewer than 8 characters",
        "wasenderWebhookSecret is empty",
        "wasenderApiKey has an invisible character",
    ];
    assert_eq!(told, want);
    let anna = place.open().instance("anna").await.unwrap();
    assert_eq!(anna.wasender.session_key.unwrap().expose_secret(), "marked-key-anna");

    let latin = b"anna\nCaf\xe9\nCaf\xc3\xa9\r\n\n\n\n\n\nyes\n";
    let ran = place.answer_with(&[], &[], latin);
    ran.says(0, &["businessName is not UTF-8 text", "updated (businessName)"]);
    assert_eq!(place.open().vendor("anna").await.unwrap().business_name, "Café");
}

#[tokio::test]
async fn what_belongs_to_another_vendor_is_told_at_once() {
    let place = Place::new();
    {
        let opened = place.open();
        opened.store.check_key().await.unwrap();
        let instance = other_instance("waba_cara", "cara", "221770000001", "4009", "cara-secret");
        let squatter = other_instance("waba_dina", "eve", "221770000002", "4010", "eve-secret");
        opened.store.put_all(&[], &[instance, squatter]).await.unwrap();
    }
    let answers = "dina\n\
        anna\nAnna\n+221770000001\n+221771234567\n4009\n4001\nmarked-secret-anna\n\n\
        binta\nBinta\n+221 77 123 45 67\n+221771234568\n4001\n4002\nmarked-secret-binta\n\n\ny\n";
    let ran = place.answer(answers);
    ran.says(0, &["2 vendors: 2 created"]);
    let told: Vec<&str> =
        ran.err.lines().filter_map(|it| it.strip_prefix("  ")).map(str::trim).collect();
    let want = [
        "instance waba_dina belongs to another vendor",
        "phoneNumber belongs to vendor cara",
        "wasenderInstanceId belongs to vendor cara",
        "phoneNumber belongs to vendor anna",
        "wasenderInstanceId belongs to vendor anna",
    ];
    assert_eq!(told, want);
}

#[tokio::test]
async fn enter_keeps_what_is_stored() {
    let place = Place::new();
    place.answer(ANSWERS).says(0, &[]);
    let (content, log) = (place.content(), place.log());
    let same = place.answer("anna\n\n\n\n\n\n\n");
    same.says(0, &["anna  unchanged  https://", "anna is stored already", "[Anna's]"]);
    same.says(0, &["[+221771234567]", "[4001]", "wasenderWebhookSecret: kept"]);
    same.says(0, &["wasenderApiKey: kept", "1 vendor: 0 created, 0 updated, 1 unchanged"]);
    assert!(!same.err.contains("[y/N]") && !same.all().contains("marked"), "{}", same.all());
    assert_eq!((place.content(), place.log()), (content, log));

    let ran = place.answer("anna\n\n\n4009\n\nmarked-key-new-01\n\ny\n");
    ran.says(0, &["anna  updated (wasenderInstanceId, wasenderApiKey)"]);
    let anna = place.open().instance("anna").await.unwrap();
    assert_eq!(anna.wasender.instance_id.as_deref(), Some("4009"));
    assert_eq!(secrets(&anna), ["marked-secret-anna"]);
    assert_eq!(anna.wasender.session_key.unwrap().expose_secret(), "marked-key-new-01");
}

#[tokio::test]
async fn the_same_vendor_again_corrects_what_was_answered() {
    let place = Place::new();
    let first = "anna\nAnna\n+221771234567\n4001\nmarked-secret-anna\n\n";
    let ran = place.answer(&format!("{first}anna\nChez Anna\n\n4002\n\n\n\ny\n"));
    ran.says(0, &["anna is in the list already", "1 vendor: 1 created", "[+221771234567]"]);
    let opened = place.open();
    assert_eq!(opened.vendor("anna").await.unwrap().business_name, "Chez Anna");
    let anna = opened.instance("anna").await.unwrap();
    assert_eq!(anna.wasender.instance_id.as_deref(), Some("4002"));
    assert_eq!(secrets(&anna), ["marked-secret-anna"]);
}

#[test]
fn an_input_that_ends_early_writes_nothing() {
    let place = Place::new();
    let n_lines = ANSWERS.lines().count();
    for n in 0..n_lines {
        let answers: String = ANSWERS.split_inclusive('\n').take(n).collect();
        let ran = place.answer(&answers);
        let why = if n == n_lines - 1 { "was confirmed" } else { "an empty vendorId ends it" };
        ran.says(2, &["the input ended before the list", why, "nothing was written"]);
        assert!(ran.out.is_empty() && !place.data().exists(), "after {n} lines");
    }
    let early = &ANSWERS[..ANSWERS.find("\n\ny").unwrap()];
    place.answer_with(&["--yes"], &[], early.as_bytes()).says(2, &["nothing was written"]);
    assert!(!place.data().exists());
}

#[tokio::test]
async fn only_yes_writes() {
    let place = Place::new();
    for no in ["n\n", "\n", "yep\n", "N\n"] {
        let ran = place.answer(&ANSWERS.replace("y\n", no));
        ran.says(0, &["Nothing was written."]);
        assert!(ran.out.is_empty() && !place.data().exists(), "{no}");
    }
    place.answer("\n").says(0, &["No vendors: nothing was written."]);
    assert!(!place.data().exists());
    let unasked = ANSWERS.strip_suffix("y\n").unwrap();
    let ran = place.answer_with(&["--yes"], &[], unasked.as_bytes());
    ran.says(0, &["2 vendors: 2 created"]);
    assert!(!ran.err.contains("[y/N]"));
    assert!(place.open().vendor("anna").await.is_some());
}

#[tokio::test]
async fn what_others_wrote_since_is_seen_before_writing() {
    let place = Place::new();
    place.answer("\n").says(0, &[]);
    let mut child = place.command(&[], &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (list, yes) = ANSWERS.split_at(ANSWERS.len() - 2);
    stdin.write_all(list.as_bytes()).unwrap();
    // The question is there when this much has been said.
    let mut seen = Vec::new();
    let mut stderr = child.stderr.take().unwrap();
    while !String::from_utf8_lossy(&seen).contains("[y/N]") {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    place.migrate(&["rival,R,+221771234567,4009,marked-secret-rival,"]);
    stdin.write_all(yes.as_bytes()).unwrap();
    drop(stdin);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(1), "{rest}");
    assert!(rest.contains("anna: phoneNumber belongs to vendor rival"), "{rest}");
    let opened = place.open();
    assert!(opened.vendor("anna").await.is_none() && opened.vendor("binta").await.is_none());
    assert!(opened.store.vendor(&vendor_id("rival")).await.unwrap().is_some());
}

#[test]
fn it_asks_in_french() {
    let french = ANSWERS.replace("anna\nAnna", "an na\nanna\nAnna").replace("y\n", "oui\n");
    let check = |arguments: &[&str], vars: &[(&str, &str)], is_french: bool| {
        let ran = Place::new().answer_with(arguments, vars, french.as_bytes());
        let words: &[&str] = if is_french {
            &["vide\u{a0}: fin de la liste", "de 1 à 64 caractères", "nouveau", "[o/N]"]
        } else {
            &["empty: end of the list", "is 1 to 64 of", "  new", "[y/N]"]
        };
        ran.says(0, words);
        ran.says(0, &["anna  created", "2 vendors: 2 created"]);
    };
    check(&["--lang", "fr"], &[], true);
    check(&["interactive", "--lang", "fr"], &[("LANG", "en_GB.UTF-8")], true);
    check(&[], &[("LANG", "fr_FR.UTF-8")], true);
    check(&[], &[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C")], false);
    check(&["--lang", "en"], &[("LC_MESSAGES", "fr_SN")], false);
    Place::new().run(&["--lang", "wo"]).says(2, &["the languages are en and fr"]);
}

/// A shell on a pseudo-terminal, by `script` of util-linux.
pub(super) struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub(super) fn start(place: &Place, shell: &str) -> Self {
        let mut command = Command::new("script");
        command.args(["-qec", shell, "/dev/null"]).current_dir(place.dir.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh").env("DATA_DIR", place.data());
        command.env("APP_BASE_URL", "https://gw.example").env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script, of util-linux");
        let mut stdout = child.stdout.take().unwrap();
        let shown = Arc::<Mutex<String>>::default();
        let screen = Arc::clone(&shown);
        thread::spawn(move || {
            let mut part = [0; 1024];
            while let Ok(n @ 1..) = stdout.read(&mut part) {
                screen.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..n]));
            }
        });
        Self { child, shown }
    }

    pub(super) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until this is shown, and types.
    #[track_caller]
    pub(super) fn expect(&mut self, prompt: &str, keys: &str) {
        self.expect_nth(1, prompt, keys);
    }

    /// Waits until this is shown so many times.
    #[track_caller]
    fn expect_nth(&mut self, n: usize, prompt: &str, keys: &str) {
        let start = Instant::now();
        while self.shown().matches(prompt).count() < n {
            assert!(start.elapsed() < DEADLINE, "no {prompt:?} in:\n{}", self.shown());
            thread::sleep(Duration::from_millis(10));
        }
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended when the test passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_terminal_does_not_show_secrets() {
    let place = Place::new();
    let mut terminal = Terminal::start(&place, env!("CARGO_BIN_EXE_waba-migrate"));
    terminal.expect("empty: end of the list): ", "anna\n");
    terminal.expect("the vendor's name): ", "Anna\n");
    terminal.expect("its country code): ", "+221771234567\n");
    terminal.expect("at Wasender): ", "4001\n");
    terminal.expect("not shown; the session's webhook secret): ", "short\n");
    terminal.expect("has fewer than 8 characters", "");
    terminal.expect_nth(2, "webhook secret): ", "marked-secret-anna\n");
    terminal.expect("may be empty): ", "marked-key-anna-0001\n");
    terminal.expect_nth(2, "end of the list): ", "\n");
    terminal.expect("Write this vendor? [y/N] ", "y\n");
    terminal.expect("1 vendor: 1 created", "");
    let shown = terminal.shown();
    assert!(shown.contains("Anna") && shown.contains("…anna"), "{shown}");
    assert!(!shown.contains("marked") && !shown.contains("short"), "{shown}");
    let anna = place.open().instance("anna").await.unwrap();
    assert_eq!(secrets(&anna), ["marked-secret-anna"]);
}

#[test]
fn ctrl_c_while_a_secret_is_typed_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    let program = env!("CARGO_BIN_EXE_waba-migrate");
    let shell = format!("trap : INT; {program}; echo \"code $?\"; stty -a; echo over");
    let mut terminal = Terminal::start(&place, &shell);
    terminal.expect("end of the list): ", "anna\n");
    terminal.expect("the vendor's name): ", "Anna\n");
    terminal.expect("its country code): ", "+221771234567\n");
    terminal.expect("at Wasender): ", "4001\n");
    terminal.expect("webhook secret): ", "half\u{3}");
    terminal.expect("over", "");
    let shown = terminal.shown();
    assert!(shown.contains("interrupted; nothing was written"), "{shown}");
    assert!(shown.contains("code 130"), "{shown}");
    assert!(shown.contains(" echo ") && shown.contains(" icanon "), "{shown}");
    assert!(!place.data().exists());
}
