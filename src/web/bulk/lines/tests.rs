//! Whatever comes, and however it comes, no recipient is lost.

use std::convert::Infallible;

use futures_util::stream;
use proptest::prelude::*;

use super::*;

fn records(text: &str, pieces: usize, quotes: bool) -> Vec<(usize, String)> {
    records_until_error(text, pieces, quotes).0
}

/// The records, and whether all could be read.
fn records_until_error(text: &str, pieces: usize, quotes: bool) -> (Vec<(usize, String)>, bool) {
    let all: Vec<_> = text
        .as_bytes()
        .chunks(pieces)
        .map(|it| Ok::<_, Infallible>(Bytes::copy_from_slice(it)))
        .collect();
    let mut records = Records::new(Body::from_stream(stream::iter(all)));
    let mut found = Vec::new();
    let read = async {
        loop {
            match records.next(quotes).await {
                Ok(Some((line, it))) => {
                    found.push((line, String::from_utf8_lossy(&it).trim_end().to_owned()));
                }
                end => return end.is_ok(),
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let is_whole = runtime.block_on(read);
    (found, is_whole)
}

proptest! {
    #[test]
    fn records_are_the_same_however_they_come(
        lines in prop::collection::vec("[a-z,]{0,5}|\"[a-z\n]{0,4}\"", 0..8),
        pieces in 1..9_usize,
    ) {
        let text = lines.join("\r\n");
        let found = records(&text, pieces, true);
        prop_assert_eq!(&found, &records(&text, usize::MAX, true));
        let wanted: Vec<_> = lines.iter().map(|it| it.trim_end()).filter(|it| !it.is_empty()).collect();
        prop_assert_eq!(found.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn csv_is_read_as_a_whole_file_would_be_or_refused(text in "[a\",\r\n]{0,24}") {
        let mut whole = csv::ReaderBuilder::new();
        let mut whole = whole.has_headers(false).flexible(true).from_reader(text.as_bytes());
        let whole: Vec<csv::StringRecord> = whole.records().map(Result::unwrap).collect();
        let (found, is_whole) = records_until_error(&text, 3, true);
        let found: Result<Vec<_>, _> = found.iter().map(|it| fields(it.1.as_bytes())).collect();
        if let (Ok(found), true) = (found, is_whole) {
            prop_assert_eq!(found, whole);
        }
    }

    #[test]
    fn no_record_makes_it_panic(record in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Reader::JsonLines.read(&record);
        if let Ok(reader) = Reader::new(Some(&record), std::iter::empty()) {
            let _ = reader.read(&record);
        }
    }
}

#[test]
fn a_record_knows_its_line() {
    let found = records("{}\n\nto,n\n\"a\nb\",1\nc,2", 3, true);
    let lines: Vec<usize> = found.iter().map(|it| it.0).collect();
    assert_eq!(lines, [1, 3, 4, 6]);
    assert!(records("a\n\"b", 2, true).len() < 2, "quotes that do not end are no record");
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_given_up_although_it_still_comes() {
    let drops = stream::repeat(()).then(|()| async {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Bytes::from_static(b"{}\n"))
    });
    let mut records = Records::new(Body::from_stream(drops));
    assert!(records.next(false).await.is_ok());
    records.until = Instant::now();
    let end = loop {
        match records.next(false).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, ApiError::TooSlow));
}

#[test]
fn what_is_wrong_with_a_record_is_told_without_its_values() {
    #[track_caller]
    fn check(header: Option<&str>, record: &str, want: &str) {
        let reader = Reader::new(header.map(str::as_bytes), ["name"].into_iter());
        let read = reader.and_then(|it| it.read(record.as_bytes()));
        assert_eq!(read.err().unwrap_or_default(), want, "{record}");
    }
    check(Some("to,name"), "+221,Awa", "");
    check(Some("\u{feff}to,name"), "+221,\"A, wa\"", "");
    check(Some("to,name"), "+221,Awa \"x", "");
    check(Some("to,name"), "+221,A\r+222,B", "has a carriage return that ends no line");
    check(Some("to,name"), "+221", "has 1 fields, and the header has 2");
    check(Some("to"), "", "name: there is no such column, and the message has it as a variable");
    check(Some("name,phone"), "", "to: there is no such column");
    check(Some("to,to"), "", "to: there are two columns of this name");
    check(None, "{\"to\":\"1\",\"name\":7}", "");
    check(None, "{\"to\":[1]}", "to: is a text, a number, true or false");
    check(None, "{\"name\":\"x\"}", "to: is missing");
    check(None, "{\"to\":\" \"}", "to: is empty");
    check(None, "[1]", "is not a JSON object");
}
