//! The fuzz targets over the kept corpus (`fuzz/corpus`), and over what is made of it by chance. The
//! long form is `scripts/fuzz.sh`.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::disk::Dice;

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

/// Changed inputs of one target, and the time for them.
const N_CHANGED: usize = 3_000;
const TIME_MAX: Duration = Duration::from_secs(6);
/// Larger inputs are no more telling, and slow.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Panics of any thread: those of the database's writer reach nobody.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|_| panic!("{name} has no corpus"));
    let mut files: Vec<PathBuf> = files.map(|it| it.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|it| (it.clone(), fs::read(it).unwrap())).collect()
}

#[track_caller]
fn replay(name: &str) {
    std::panic::set_hook(Box::new(|it| {
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(it.to_string());
    }));
    let corpus = corpus(name);
    assert!(!corpus.is_empty());
    let run = |input: &[u8], what: &str| {
        let end = catch_unwind(AssertUnwindSafe(|| targets::run(name, input)));
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
        if end.is_err() || !panics.is_empty() {
            let shown = String::from_utf8_lossy(input).escape_debug().to_string();
            let _ = std::panic::take_hook();
            panic!("{name}, {what}: {panics:?}\n{}", shown.chars().take(2_000).collect::<String>());
        }
    };
    for (path, input) in &corpus {
        run(input, &path.display().to_string());
    }
    let (mut dice, started) = (Dice::new(17), Instant::now());
    for n in 0..N_CHANGED {
        if started.elapsed() > TIME_MAX {
            break;
        }
        let input = changed(&corpus, &mut dice);
        run(&input, &format!("changed input {n}"));
    }
    let _ = std::panic::take_hook();
}

/// One of the kept inputs, changed in a few places.
fn changed(corpus: &[(PathBuf, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "\0",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "-1",
        "1e999",
        "9223372036854775808",
        "\u{202e}",
        "é",
        "\n\n",
        "\\ud800",
    ];
    let mut input = corpus[dice.below(corpus.len())].1.clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        let to = (at + dice.below(16)).min(input.len());
        match dice.below(6) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 => drop(input.drain(at..to)),
            2 => drop(input.splice(at..at, WORDS[dice.below(WORDS.len())].bytes())),
            3 => drop(input.splice(at..to, WORDS[dice.below(WORDS.len())].bytes())),
            4 => {
                let other = &corpus[dice.below(corpus.len())].1;
                let from = dice.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let part = input[at..to].to_vec();
                input.splice(at..at, part.iter().copied().cycle().take(part.len() * 8));
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

macro_rules! replayed {
    ($($test:ident: $name:literal,)+) => {
        $(#[test]
        fn $test() {
            replay($name);
        })+

        #[test]
        fn every_target_is_replayed() {
            let names = [$($name),+];
            let all: Vec<&str> = targets::ALL.iter().map(|it| it.0).collect();
            assert_eq!(all, names);
            let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            for name in names {
                let source = fs::read_to_string(own.join(format!("{name}.rs"))).unwrap();
                assert!(source.contains(&format!("\"{name}\"")), "{name}");
            }
        }
    };
}

replayed! {
    any_webhook_is_read_or_refused: "webhook",
    any_webhook_of_meta_is_read_or_refused: "meta",
    any_form_of_twilios_is_read: "twilio",
    any_body_of_unipiles_is_read_or_refused: "unipile",
    any_signature_proves_or_does_not: "signature",
    any_signature_of_twilios_and_unipiles_proves_or_does_not: "signed",
    any_reply_of_a_provider_is_read: "reply",
    any_token_proves_or_does_not: "token",
    any_answer_of_a_bot_is_read_or_refused: "answer",
    any_id_is_read_or_refused: "ids",
    any_number_is_read_or_refused: "phone",
    any_file_opens_or_does_not: "media",
    any_text_is_split_folded_and_masked: "text",
    any_document_is_imported_or_refused: "exchange",
    any_csv_is_read_or_refused: "table",
    any_request_is_answered: "request",
    any_message_to_many_is_taken_or_refused: "bulk",
    any_database_file_opens_or_does_not: "database",
    any_file_of_another_system_is_read_or_refused: "import",
    any_document_of_firestores_is_read_or_refused: "documents",
}
