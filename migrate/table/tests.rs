use super::*;

const HEADER: &str =
    "vendorId,businessName,phoneNumber,wasenderInstanceId,wasenderWebhookSecret,wasenderApiKey\n";

fn rows(text: impl AsRef<[u8]>) -> Vec<Row> {
    parse(&[HEADER.as_bytes(), text.as_ref()].concat()).unwrap()
}

/// The faults of one row.
#[track_caller]
fn check(row: impl AsRef<[u8]>, want: &[Fault]) {
    let rows = rows(row.as_ref());
    assert_eq!(rows[0].faults, want, "{:?}", String::from_utf8_lossy(row.as_ref()));
}

#[test]
fn a_row_has_all_its_faults() {
    use Fault::{Cells, Control, Empty, Encoding, Header, Long, PhoneNumber, ShortSecret};
    let id = Fault::VendorId(VendorId::parse("").unwrap_err());
    check("a,B,+221771234567,1,12345678,", &[]);
    check("a,B,+221771234567,1,12345678,key", &[]);
    check("a b,B,+221771234567,1,12345678,", &[id]);
    check("a,B,+221771234567,1,1234567,", &[ShortSecret]);
    check("a,B,call me,1,12345678,", &[PhoneNumber]);
    check("a,B,+221771234567,1,12345678", &[Cells { found: 5, wanted: 6 }]);
    check("a,B, C,+221771234567,1,12345678,", &[Cells { found: 7, wanted: 6 }]);
    check("a,\"B\n\",+221771234567,1,12345678,", &[Control(BUSINESS_NAME)]);
    check("a,B\t,+221771234567,1,12345678,", &[Control(BUSINESS_NAME)]);
    check("a,B,+221771234567,1,12345678\u{200b},", &[Control(WEBHOOK_SECRET)]);
    check("a,B,+221771234567,1,12345678,\u{feff}key", &[Control(API_KEY)]);
    check(b"a,Caf\xe9,+221771234567,1,12345678,", &[Encoding(BUSINESS_NAME)]);
    check("a,B,+221771234567,1,wasenderwebhooksecret,", &[Header(WEBHOOK_SECRET)]);
    check(format!("a,{},+221771234567,1,12345678,", "é".repeat(513)), &[Long(BUSINESS_NAME)]);
    check(HEADER, &COLUMNS.map(Header));
    let empty = [VENDOR_ID, BUSINESS_NAME, PHONE_NUMBER, WASENDER_ID, WEBHOOK_SECRET].map(Empty);
    check(",,,,,key", &empty);
}

#[test]
fn a_name_may_have_what_joins_its_letters() {
    let name = "می\u{200c}خواهم 👨\u{200d}👩";
    let rows = rows(format!("a,{name},+221771234567,1,12345678,"));
    assert_eq!(rows[0].business_name.as_deref(), Some(name));
}

#[test]
fn a_phone_number_has_its_country_code() {
    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let row = rows(format!("a,B,{text},1,12345678,")).remove(0);
        assert_eq!(row.phone_number.as_ref().map(PhoneNumber::digits), want, "{text}");
        assert_eq!(row.faults.is_empty(), want.is_some(), "{text}");
    }
    check("+221 77 123 45 67", Some("221771234567"));
    check("+221-77-123.45.67", Some("221771234567"));
    check("00221771234567", Some("221771234567"));
    check("221771234567", Some("221771234567"));
    check("221 77 123 45 67", Some("221771234567"));
    // The predecessor's samples: not in Senegal's plan, and one digit short.
    check("221701234567", Some("221701234567"));
    check("22170111111", Some("22170111111"));
    check("+22170111111", Some("22170111111"));
    // National ones, which the predecessor took for Senegalese.
    check("771234567", None);
    check("77 123 45 67", None);
    check("0707123456", None);
    check("2.21771E+11", None);
    check("+12345", None);
    check("1234567890123456", None);
}

#[test]
fn lines_are_counted_as_an_editor_does() {
    let row = "a,B,+221771234567,1,12345678,";
    let spanning = "b,\"B\nC\",+221771234568,2,12345678,";
    for end in ["\n", "\r\n", "\r"] {
        let text = [HEADER.trim_end(), "", row, spanning, "", "", " ", ",,,,,", row].join(end);
        let lines: Vec<usize> = parse(text.as_bytes()).unwrap().iter().map(|it| it.line).collect();
        assert_eq!(lines, [3, 4, 10], "{end:?}");
    }
}

#[test]
fn rows_that_claim_the_same_are_all_marked() {
    let rows = rows(
        "a,B,+221771234567,1,12345678,\n\
         b,B,221771234567,2,12345678,\n\
         c,B,+5511987654321,3,12345678,\n\
         d,B,+551187654321,3,short,\n\
         a,B,+221771234568,4,12345678,\n\
         e,B,+221771234569,5,12345678,\n",
    );
    let lines_of = |at: usize| -> Vec<(&str, usize)> {
        let twice = rows[at].faults.iter().filter_map(|it| match it {
            Fault::Twice { column, line } => Some((*column, *line)),
            _ => None,
        });
        twice.collect()
    };
    assert_eq!(lines_of(0), [(VENDOR_ID, 6), (PHONE_NUMBER, 3)]);
    assert_eq!(lines_of(1), [(PHONE_NUMBER, 2)]);
    assert_eq!(lines_of(2), [(PHONE_NUMBER, 5), (WASENDER_ID, 5)]);
    assert_eq!(lines_of(3), [(PHONE_NUMBER, 4), (WASENDER_ID, 4)]);
    assert_eq!(rows[3].faults.len(), 3);
    assert_eq!(lines_of(4), [(VENDOR_ID, 2)]);
    assert_eq!(lines_of(5), []);
}

#[test]
fn a_header_is_known_however_it_is_written() {
    #[track_caller]
    fn check<E: std::error::Error + PartialEq + Send + Sync + 'static>(
        text: impl AsRef<[u8]>,
        want: &E,
    ) {
        let error = parse(text.as_ref()).err().unwrap();
        assert_eq!(error.downcast_ref(), Some(want));
    }
    for good in [
        HEADER.to_owned(),
        HEADER.to_uppercase(),
        HEADER.replace(',', " , "),
        HEADER.replace(",wasenderApiKey", ""),
        HEADER.replace("vendorId", "\u{feff}\"vendorId\""),
        format!("\r\n\n{HEADER}"),
    ] {
        assert!(parse(good.as_bytes()).unwrap().is_empty(), "{good}");
    }
    check("", &BadFile::Empty);
    check("\u{feff}\r\n", &BadFile::Empty);
    check("a,B,+221771234567,1,12345678,key\n", &BadFile::Header { line: 1 });
    check(format!("\n{}", HEADER.replace("phoneNumber", "phone")), &BadFile::Header { line: 2 });
    check(
        HEADER.replace(",wasenderWebhookSecret,wasenderApiKey", ""),
        &BadFile::Header { line: 1 },
    );
    check(HEADER.replace(',', ";"), &sheet::BadSheet::Separator("semicolons"));
    check(HEADER.replace(',', "\t"), &sheet::BadSheet::Separator("tabs"));
    check(b"\xff\xfev\0e\0", &sheet::BadSheet::Utf16);
    check(vec![b'\n'; 16 * 1024 * 1024 + 1], &sheet::BadSheet::Large);
}
