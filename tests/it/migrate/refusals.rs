//! What is refused, and what is told of it.

use std::{fs, path::Path};

use waba_gateway::{domain::secret::ExposeSecret, store::Store, vault::Vault};

use super::place::{ANNA, BAD, BINTA, HEADER, Place, other_instance};

#[test]
fn every_bad_row_is_told_with_its_line_and_all_its_reasons() {
    let place = Place::new();
    let text = [
        HEADER,
        ANNA,
        "",
        "v é,,call me,,short,key",
        "binta,Binta, Fils,+221771234568,4002,marked-secret-binta,",
        "cara,C,771234567,4003,marked-secret-cara,",
        "dana,D,+221771234567,4004,marked-secret-dana,",
        "anna,A,+221771234560,4005,marked-secret-anna,",
        HEADER,
        "eva,\"E\nva\",+221771234561,4004,marked-secret-eva,",
        "fatou,F,+221771234562,4007,marked-secret-fatou,",
    ];
    let ran = place.run(&["batch", &place.raw_file(text.join("\r\n"))]);
    let number = "write the number with + and its country code";
    let all_header: Vec<String> =
        HEADER.split(',').map(|it| format!("{it} looks like a header")).collect();
    ran.says(
        1,
        &[
            "line 2 (anna): vendorId is also in line 8; phoneNumber is also in line 7\n",
            "line 4: vendorId: a vendor id is 1 to 64 of A-Z a-z 0-9 _ -; businessName is empty; ",
            &format!("{number}, like +221771234567; wasenderInstanceId is empty; "),
            "wasenderWebhookSecret has fewer than 8 characters\n",
            "line 5: has 7 cells where the header has 6 (a cell with a comma needs quotes)\n",
            &format!("line 6 (cara): phoneNumber: {number}"),
            "line 7 (dana): phoneNumber is also in line 2; wasenderInstanceId is also in line 10\n",
            "line 8 (anna): vendorId is also in line 2; \
             businessName is not the one that this vendor has in line 2\n",
            &format!("line 9: {}\n", all_header.join("; ")),
            "line 10 (eva): businessName has a line break or an invisible character",
            "; wasenderInstanceId is also in line 7\n",
            "9 rows: 1 good, 8 bad; nothing was written (--keep-going writes the good ones)",
        ],
    );
    assert!(!ran.all().contains("line 12"), "{}", ran.all());
    assert!(!place.data().exists());
}

#[test]
fn nothing_is_written_if_any_row_is_bad() {
    let place = Place::new();
    place.migrate(&[ANNA]);
    let (content, log) = (place.content(), place.log());
    let file = place.file(&[&ANNA.replace("4001", "4009"), BINTA, BAD]);
    place.run(&["batch", &file]).says(1, &["line 4 (bad): ", "nothing was written"]);
    // Bad only beside what the store has.
    let file = place.file(&[BINTA, "cara,C,+221771234567,4003,marked-secret-cara,"]);
    place.run(&["batch", &file]).says(1, &["line 3 (cara): phoneNumber belongs to vendor anna"]);
    assert!(!content.is_empty());
    assert_eq!((place.content(), place.log()), (content, log));
    place.run(&["batch", &file, "--keep-going"]).says(1, &["line 2  binta  created", "1 bad\n"]);
    assert!(place.log().ends_with("binta created\n"));
}

#[tokio::test]
async fn with_keep_going_the_good_rows_are_written() {
    let place = Place::new();
    let file = place.file(&[ANNA, BAD, BINTA]);
    let ran = place.run(&["batch", &file, "--keep-going"]);
    ran.says(1, &["line 2  anna  created", "line 4  binta  created", "line 3 (bad): businessName"]);
    ran.says(1, &["3 rows: 2 created, 0 updated, 0 unchanged, 1 bad\n"]);
    let opened = place.open();
    assert!(opened.instance("anna").await.is_some() && opened.instance("binta").await.is_some());
    assert!(opened.vendor("bad").await.is_none());
    let other = Place::new();
    let ran = other.run(&["batch", &other.file(&[BAD]), "--keep-going"]);
    ran.says(1, &["1 row: 0 good, 1 bad; nothing was written\n"]);
    assert!(!other.data().exists());
}

#[tokio::test]
async fn what_belongs_to_others_in_the_store_is_refused() {
    let place = Place::new();
    place.migrate(&[ANNA, "bob,B,+5511987654321,4002,marked-secret-bob,"]);
    let second = other_instance("waba_anna_2", "anna", "221771234500", "4100", "marked-second");
    place.open().store.put_all(&[], &[second]).await.unwrap();
    let content = place.content();
    let refused = |row: &str, reason: &str| {
        let ran = place.run(&["batch", &place.file(&[row])]);
        ran.says(1, &[&format!("line 2 ({}): {reason}\n", row.split(',').next().unwrap())]);
    };
    refused("cara,C,+221771234567,1,marked-secret,", "phoneNumber belongs to vendor anna");
    // The older form of the same number.
    refused("cara,C,+551187654321,1,marked-secret,", "phoneNumber belongs to vendor bob");
    refused("cara,C,+221771234569,4002,marked-secret,", "wasenderInstanceId belongs to vendor bob");
    refused(
        "anna_2,A,+221771234569,1,marked-secret,",
        "instance waba_anna_2 belongs to another vendor",
    );
    let own = |it| format!("{it} is that of the vendor's instance waba_anna_2");
    refused("anna,A,+221771234500,1,marked-secret,", &own("phoneNumber"));
    refused("anna,A,+221771234567,4100,marked-secret,", &own("wasenderInstanceId"));
    refused("anna,A,+221771234567,1,marked-second,", &own("wasenderWebhookSecret"));
    // What the store knows is told beside what the row says itself.
    let number = "phoneNumber belongs to vendor anna";
    refused("cara,,+221771234567,1,marked-secret,", &format!("businessName is empty; {number}"));
    assert_eq!(place.content(), content);
}

#[test]
fn it_says_why_it_could_not_run() {
    let place = Place::new();
    let good = place.file(&[ANNA]);
    let at = |it: &Path| it.to_str().unwrap().to_owned();
    place.run(&["batch", "absent.csv"]).says(2, &["read absent.csv: No such file"]);
    place.run(&["batch", &at(place.dir.path())]).says(2, &["Is a directory"]);
    place.run(&["batch", &place.raw_file("")]).says(2, &["it is empty", HEADER]);
    let no_header = place.raw_file(format!("{ANNA}\n"));
    place
        .run(&["batch", &no_header])
        .says(2, &["line 1 must be the header vendorId,businessName,"]);
    let semicolons = place.raw_file(HEADER.replace(',', ";"));
    place.run(&["batch", &semicolons]).says(2, &["separated by semicolons"]);
    let vars = [("LISTEN_ADDR", "marked-a"), ("ENCRYPTION_KEY", "marked-b")];
    let ran = place.run_with(&["batch", &good], &vars);
    ran.says(2, &["LISTEN_ADDR is malformed", "ENCRYPTION_KEY is not 32 bytes in base64"]);
    assert!(!ran.all().contains("marked"));
    assert!(!place.data().exists());
    place
        .run_with(&["batch", &good], &[("DATA_DIR", &no_header)])
        .says(2, &["look for ", "Not a directory"]);
    let log = ["batch", &good, "--log", "no/such/directory.log"];
    place.run(&log).says(2, &["open the log no/such/directory.log"]);
    assert!(place.content().is_empty());
}

#[test]
fn data_of_another_key_are_left_alone() {
    let place = Place::new();
    place.migrate(&[ANNA]);
    let (content, file) = (place.content(), place.file(&[BINTA]));
    let key = Vault::new_key().unwrap();
    let vars = [("ENCRYPTION_KEY", key.expose_secret())];
    for arguments in [vec!["batch", &file], vec!["batch", &file, "--dry-run"]] {
        let ran = place.run_with(&arguments, &vars);
        ran.says(2, &["the encryption key does not fit the data", "another ENCRYPTION_KEY"]);
    }
    let key_file = place.data().join("encryption.key");
    fs::rename(&key_file, place.dir.path().join("kept")).unwrap();
    place.run(&["batch", &file]).says(2, &["there is data in", "but no encryption key"]);
    assert!(!key_file.exists());
    fs::rename(place.dir.path().join("kept"), &key_file).unwrap();
    assert_eq!(place.content(), content);
    fs::write(place.data().join("waba.db"), "not a database, whatever its name may be".repeat(99))
        .unwrap();
    place.run(&["batch", &file]).says(2, &["waba.db: database: file is not a database"]);
}

#[test]
fn no_secret_and_no_number_is_told() {
    let place = Place::new();
    let key = Vault::new_key().unwrap();
    let vars = [("ENCRYPTION_KEY", key.expose_secret()), ("RUST_LOG", "trace")];
    // Shifted, swapped and broken rows too.
    let shifted = "+221771234569,marked-key,marked-secret,4003,dana";
    let swapped = "dana,marked-secret-dana,marked-key-dana,4003,+221771234569,marked";
    let files = [
        place.file(&[ANNA, BINTA]),
        place.file(&[ANNA, BINTA]),
        place.file(&[&ANNA.replace("marked", "marked-new"), BINTA, BAD, shifted, swapped]),
        place.file(&["cara,C,+221771234567,4001,marked-secret-cara,marked-key-cara"]),
        place.raw_file(format!("{ANNA}\n{HEADER}")),
        place.raw_file(format!("{HEADER}\nanna,\"Anna,+221771234567,4001,marked-secret,marked")),
    ];
    let mut told = String::new();
    for file in &files {
        for more in [&[][..], &["--keep-going"], &["--dry-run"]] {
            let arguments = [&["batch", file.as_str()], more].concat();
            told += &place.run_with(&arguments, &vars).all();
        }
    }
    told += &place.log();
    assert!(told.contains("updated (wasenderWebhookSecret, wasenderApiKey)"), "{told}");
    let numbers = told.replace("like +221771234567", "");
    for private in ["marked", "2217712345", "77 123", "whsec_", key.expose_secret()] {
        assert!(!numbers.contains(private), "{private} in {told}");
    }
}
