//! The fragment of security rules (`migrate/firestore/gateway.rules`), merged into rules of an
//! application and evaluated. The evaluator is `hidane-rules`, which decides as Google's emulator was
//! recorded to.

use std::{fs, path::Path};

use hidane_rules::{
    Ruleset, SourceFile, compile,
    eval::{
        Auth, Budget, Decision, Document, Documents, Map, Method, Query, Request, Timestamp, Value,
        authorize,
    },
};
use serde_json::{Value as Json, json};

/// An application's rules with one for each collection, as its fragment says.
const EACH: &str = "
    match /vendor_configs/{vendorId} {
      allow read: if isStaff() || isVendor(vendorId);
      allow create, update: if (isStaff() || isVendor(vendorId)) && leavesGatewaysPart();
      allow delete: if isStaff();
    }
    match /waba_instances/{id} {
      allow read: if isStaff() || isVendor(resource.data.vendorId);
      allow create: if isStaff() && leavesGatewaysPart();
      allow update: if (isStaff() || isVendor(resource.data.vendorId)) && leavesGatewaysPart();
      allow delete: if isStaff();
    }
    match /vendor_messages/{id} {
      allow read: if isStaff() || isVendor(resource.data.vendorId);
    }
    match /orders/{id} {
      allow read, write: if isStaff();
    }";

/// The mistake: a wildcard that asks nothing of the fragment's.
const CARELESS: &str = "
    match /{document=**} {
      allow read, write: if isStaff();
    }";

/// The half of it: the gateway's collections alone.
const HALF: &str = "
    match /{collection}/{document=**} {
      allow read, write: if isStaff() && !isGateways(collection);
    }";

fn fragment() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrate/firestore/gateway.rules");
    fs::read_to_string(path).unwrap()
}

/// The wildcard that the fragment's comment tells one to write.
fn told() -> String {
    let fragment = fragment();
    let lines = fragment.lines().filter_map(|it| it.strip_prefix("//   "));
    let told: Vec<&str> = lines.collect();
    assert!(told[0].starts_with("match /{collection}/{document=**} {"), "{told:?}");
    told.join("\n")
}

/// The fragment in an application's rules.
fn merged(own: &str) -> Ruleset {
    let fragment = fragment();
    let content = format!(
        "rules_version = '2';
service cloud.firestore {{
  match /databases/{{database}}/documents {{
    function isStaff() {{
      return request.auth != null && request.auth.token.role in ['admin', 'super_admin'];
    }}
    function isVendor(vendorId) {{
      return request.auth != null && request.auth.uid == vendorId;
    }}
{fragment}
{own}
  }}
}}
"
    );
    let compiled = compile(&[SourceFile { name: None, content }]);
    // Warnings are of functions that only the other form of an application's rules calls.
    assert!(!compiled.has_errors(), "{}", compiled.error_message());
    compiled.ruleset.unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Staff,
    Vendor,
    Nobody,
}

const ALL: [Who; 3] = [Who::Staff, Who::Vendor, Who::Nobody];

impl Who {
    fn auth(self) -> Option<Auth> {
        let (uid, token) = match self {
            Self::Staff => ("asa", json!({ "role": "admin" })),
            Self::Vendor => ("corner-shop", json!({ "role": "vendor" })),
            Self::Nobody => return None,
        };
        Some(Auth { uid: Some(uid.to_owned()), token: map(&token) })
    }
}

struct Nothing;

impl Documents for Nothing {
    fn get(&self, _: &[String]) -> Option<Document> {
        None
    }

    fn get_after(&self, _: &[String]) -> Option<Document> {
        None
    }
}

fn value(it: &Json) -> Value {
    match it {
        Json::Null => Value::Null,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(it) => it.as_i64().map_or(Value::Float(0.5), Value::Int),
        Json::String(it) => Value::String(it.clone()),
        Json::Array(it) => Value::List(it.iter().map(value).collect()),
        Json::Object(_) => Value::Map(map(it)),
    }
}

fn map(it: &Json) -> Map {
    it.as_object().unwrap().iter().map(|it| (it.0.clone(), value(it.1))).collect()
}

fn path_of(path: &str) -> Vec<String> {
    ["databases", "(default)", "documents"]
        .into_iter()
        .chain(path.split('/').filter(|it| !it.is_empty()))
        .map(str::to_owned)
        .collect()
}

/// Whether these rules let somebody do it: `before` and `after` are the document's fields, null where
/// there is none.
fn lets(
    rules: &Ruleset,
    who: Who,
    method: Method,
    path: &str,
    [before, after]: [&Json; 2],
) -> bool {
    lets_query(rules, who, method, path, [before, after], None)
}

fn lets_query(
    rules: &Ruleset,
    who: Who,
    method: Method,
    path: &str,
    [before, after]: [&Json; 2],
    query: Option<Query>,
) -> bool {
    let path = path_of(path);
    let document =
        |it: &Json| it.is_object().then(|| Document { path: path.clone(), data: map(it) });
    let request = Request {
        method,
        upsert: false,
        path: path.clone(),
        auth: who.auth(),
        time: Timestamp { seconds: 1_760_000_000, nanos: 0 },
        resource: document(after),
        query,
        in_transaction: false,
        write_fields: None,
        transforms: None,
        auto_id: false,
        verify: false,
    };
    let mut budget = Budget::single();
    let end = authorize(rules, &request, document(before).as_ref(), &Nothing, &mut budget);
    end == Decision::Allow
}

/// Everything that can be done with a document, as it goes from one state to another.
fn any_deed(rules: &Ruleset, who: Who, path: &str) -> Vec<&'static str> {
    let [none, one, other] = [json!(null), json!({ "a": 1 }), json!({ "a": 2 })];
    let collection = path.rsplit_once('/').unwrap().0;
    let query = || Some(Query::default());
    [
        ("get", lets(rules, who, Method::Get, path, [&one, &none])),
        ("list", lets_query(rules, who, Method::List, collection, [&none, &none], query())),
        ("create", lets(rules, who, Method::Create, path, [&none, &one])),
        ("update", lets(rules, who, Method::Update, path, [&one, &other])),
        ("delete", lets(rules, who, Method::Delete, path, [&one, &none])),
    ]
    .into_iter()
    .filter_map(|it| it.1.then_some(it.0))
    .collect()
}

/// Every collection of the gateway's own that its code names.
fn collections() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/firestore");
    let mut found = Vec::new();
    let mut places = vec![source];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|it| it.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(place).unwrap();
        let names = text.split('"').filter(|it| it.starts_with("gateway_"));
        found.extend(names.map(str::to_owned));
    }
    assert!(found.len() >= 6, "{found:?}");
    found
}

#[test]
fn no_client_reaches_a_collection_of_the_gateways() {
    for own in [EACH, &told(), HALF] {
        let rules = merged(own);
        for collection in collections() {
            for who in ALL {
                for path in [format!("{collection}/x"), format!("{collection}/x/more/y")] {
                    let none: [&str; 0] = [];
                    assert_eq!(any_deed(&rules, who, &path), none, "{who:?} {path} {own}");
                }
                let group = Some(Query { group: Some(collection.clone()), ..Query::default() });
                let (list, nothing) = (Method::List, json!(null));
                let path = "";
                let is_let = lets_query(&rules, who, list, path, [&nothing, &nothing], group);
                assert!(!is_let, "{who:?} {collection}");
            }
        }
    }
    // The test can fail: a wildcard that asks nothing lets staff have all of it.
    let rules = merged(CARELESS);
    for collection in collections() {
        let all = ["get", "list", "create", "update", "delete"];
        assert_eq!(any_deed(&rules, Who::Staff, &format!("{collection}/x")), all);
        assert!(any_deed(&rules, Who::Vendor, &format!("{collection}/x")).is_empty());
    }
}

#[test]
fn what_is_the_applications_own_stays_as_open_as_it_was() {
    for own in [EACH, &told(), HALF, CARELESS] {
        let rules = merged(own);
        let all = ["get", "list", "create", "update", "delete"];
        for path in ["orders/x", "vendor_configs/corner-shop", "waba_instances/x"] {
            assert_eq!(any_deed(&rules, Who::Staff, path), all, "{path} {own}");
            assert!(any_deed(&rules, Who::Nobody, path).is_empty(), "{path} {own}");
        }
        assert!(any_deed(&rules, Who::Vendor, "orders/x").is_empty());
        // A field of that name is the gateway's in its own three collections alone.
        let [cash, card] = ["cash", "card"].map(|it| json!({ "gateway": it }));
        assert!(lets(&rules, Who::Staff, Method::Update, "orders/x", [&cash, &card]), "{own}");
    }
    let rules = merged(EACH);
    let vendors = any_deed(&rules, Who::Vendor, "vendor_configs/corner-shop");
    assert_eq!(vendors, ["get", "create", "update"]);
    assert!(any_deed(&rules, Who::Vendor, "vendor_configs/market-hall").is_empty());
}

/// Writes of a vendor's or a number's document: what was there, what is to be there, and whether that
/// leaves the gateway's part.
fn writes() -> Vec<(Json, Json, bool)> {
    let none = Json::Null;
    let with = |status: &str, gateway: Json| json!({ "vendorId": "corner-shop", "status": status, "gateway": gateway });
    let without = |status: &str| json!({ "vendorId": "corner-shop", "status": status });
    let part = json!({ "signingSecret": "sealed:v1:AAAA", "silenceMs": 1 });
    let mut more = part.clone();
    more["forwardUrl"] = json!("https://elsewhere.example");
    let mut fraction = part.clone();
    fraction["silenceMs"] = json!(0.5);
    vec![
        // Fields of the contract.
        (none.clone(), without("active"), true),
        (without("active"), without("inactive"), true),
        (with("active", part.clone()), with("inactive", part.clone()), true),
        // Fields of nobody's that the gateway does not know.
        (
            with("active", part.clone()),
            {
                let mut all = with("active", part.clone());
                all["colour"] = json!("red");
                all
            },
            true,
        ),
        // The part, made, changed, or taken away.
        (none, with("active", part.clone()), false),
        (without("active"), with("active", part.clone()), false),
        (with("active", part.clone()), with("active", more), false),
        (with("active", part.clone()), with("active", fraction), false),
        (with("active", part.clone()), with("active", json!({})), false),
        (with("active", part.clone()), with("active", Json::Null), false),
        (with("active", part.clone()), without("active"), false),
        (with("active", part), with("active", json!("text")), false),
    ]
}

#[test]
fn no_client_changes_the_gateways_part_of_a_vendor_or_a_number() {
    let deed = |it: &Json| if it.is_null() { Method::Create } else { Method::Update };
    for own in [EACH, &told()] {
        let rules = merged(own);
        for (before, after, is_good) in writes() {
            let of = |who, path| lets(&rules, who, deed(&before), path, [&before, &after]);
            for path in ["vendor_configs/corner-shop", "waba_instances/waba_corner-shop"] {
                assert_eq!(of(Who::Staff, path), is_good, "{path} {before} {after} {own}");
                assert!(!of(Who::Nobody, path), "{path} {before} {after} {own}");
            }
            let by_vendor = of(Who::Vendor, "vendor_configs/corner-shop");
            assert_eq!(by_vendor, is_good && own == EACH, "{before} {after} {own}");
        }
    }
    // The older collection is read, too.
    let rules = merged(&told());
    for (before, after, is_good) in writes() {
        let is_let =
            lets(&rules, Who::Staff, deed(&before), "vendorConfigs/corner-shop", [&before, &after]);
        assert_eq!(is_let, is_good, "{before} {after}");
    }
    // The test can fail: with less than the fragment says all of them are let through.
    for own in [HALF, CARELESS] {
        let rules = merged(own);
        for (before, after, _) in writes() {
            let path = "vendor_configs/corner-shop";
            assert!(lets(&rules, Who::Staff, deed(&before), path, [&before, &after]), "{own}");
        }
    }
}
