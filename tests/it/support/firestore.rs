//! A Firestore of its own for a test, and what other programs do in it.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use firestore::{
    FirestoreDb, FirestoreDbOptions,
    gcloud_sdk::{
        google::firestore::v1::{
            ArrayValue, BatchGetDocumentsRequest, CommitRequest, Document, DocumentMask, MapValue,
            RunQueryRequest, StructuredQuery, Value, Write,
            batch_get_documents_response::Result as Got, run_query_request::QueryType,
            structured_query::CollectionSelector, value::ValueType, write::Operation,
        },
        google_cloud_auth::credentials::anonymous,
        prost_types::Timestamp,
        tonic::Request,
    },
};
use serde_json::{Map, Value as Json, json};

/// The project of every test: each has a Firestore of its own.
pub const PROJECT: &str = "corner-shops";

/// A running `tests/firestore-emulator`; killed when dropped.
pub struct Emulator {
    child: Child,
    pub host: String,
    kept: tempfile::TempDir,
}

impl Emulator {
    pub fn start() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let (child, host) = run("127.0.0.1:0", &kept.path().join("documents"));
        Self { child, host, kept }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A signal by its name, like `STOP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Starts it again at the same address, with what was committed.
    pub fn restart(&mut self) {
        (self.child, _) = run(&self.host, &self.kept.path().join("documents"));
    }

    /// Writes of documents of a collection, in order: the document's id, and whether it was deleted.
    pub fn writes(&self, collection: &str) -> Vec<(String, bool)> {
        let of = format!("/documents/{collection}/");
        let name = |it: &Json| {
            let (name, is_delete) = match (it["update"]["name"].as_str(), it["delete"].as_str()) {
                (Some(name), _) => (name, false),
                (None, name) => (name?, true),
            };
            Some((name.split_once(&of)?.1.to_owned(), is_delete))
        };
        self.log()
            .iter()
            .filter_map(|it| it["writes"].as_array().cloned())
            .flatten()
            .filter_map(|it| name(&it))
            .collect()
    }

    /// The collections that were written.
    pub fn written(&self) -> BTreeSet<String> {
        let name = |it: &Json| {
            let name = it["update"]["name"].as_str().or_else(|| it["delete"].as_str())?;
            let path = name.split_once("/documents/")?.1;
            Some(path.split_once('/')?.0.to_owned())
        };
        let all = self.log();
        let writes = all.iter().filter_map(|it| it["writes"].as_array()).flatten();
        writes.filter_map(name).collect()
    }

    /// How many documents were written by each commit that wrote one of a collection, in order.
    pub fn commits(&self, collection: &str) -> Vec<usize> {
        let of = format!("/documents/{collection}/");
        let all = self.log();
        let all = all.iter().filter_map(|it| it["writes"].as_array());
        all.filter(|it| it.iter().any(|it| it.to_string().contains(&of))).map(Vec::len).collect()
    }

    /// Documents and collections that were asked for, by name.
    pub fn reads(&self) -> Vec<String> {
        let all = self.log();
        let names = all.iter().filter_map(|it| it["read"].as_array().cloned()).flatten();
        names.map(|it| it.as_str().unwrap().to_owned()).collect()
    }

    fn log(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.kept.path().join("documents")).unwrap_or_default();
        // The last line may be written just now.
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    }

    /// Refuses writes with this text in them with a code, each by itself (`each`) or with all that
    /// come with it (`whole`); `None` takes them again.
    pub fn refuse(&self, what: Option<(&str, &str, u8)>) {
        let file = self.kept.path().join("documents.refuse");
        match what {
            Some((text, how, code)) => {
                std::fs::write(file, json!({ "text": text, how: code }).to_string()).unwrap();
            }
            None => std::fs::remove_file(file).unwrap(),
        }
    }

    /// Keeps from listeners what is changed, until it is let go.
    pub fn hold(&self, is_held: bool) {
        let file = self.kept.path().join("documents.hold");
        if is_held { std::fs::write(file, "") } else { std::fs::remove_file(file) }.unwrap();
    }

    /// What the gateway is told of it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("STORE", "firestore".to_owned()),
            ("FIREBASE_PROJECT_ID", PROJECT.to_owned()),
            ("FIRESTORE_EMULATOR_HOST", self.host.clone()),
            ("ENCRYPTION_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned()),
            ("ADMIN_API_KEY", "the-operators-key-of-the-firestore-tests".to_owned()),
        ]
    }

    /// Another program on the same database.
    pub async fn program(&self) -> Program {
        // The gateway installs it too; whoever is second changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = FirestoreDbOptions::new(PROJECT.to_owned())
            .with_firebase_api_url(format!("http://{}", self.host));
        let anybody = anonymous::Builder::new().build();
        Program(FirestoreDb::with_options_auth(options, anybody).await.unwrap())
    }
}

/// What the contract says of collections, and those that other programs write here.
const OF_THE_CONTRACT: [&str; 6] = [
    "waba_instances",
    "vendor_configs",
    "vendorConfigs",
    "vendor_messages",
    "crmTickets",
    "notifications",
];

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Whatever a test does: everything else that is written is told by its name to be ours.
        let written = self.written();
        let is_known =
            |it: &&String| OF_THE_CONTRACT.contains(&it.as_str()) || it.starts_with("gateway_");
        let others: Vec<&String> = written.iter().filter(|it| !is_known(it)).collect();
        assert!(std::thread::panicking() || others.is_empty(), "{others:?} were written");
    }
}

fn run(host: &str, file: &Path) -> (Child, String) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/firestore-emulator");
    assert!(
        directory.join("node_modules").exists(),
        "run `npm ci --ignore-scripts` in {} first, as scripts/test.sh does",
        directory.display()
    );
    let mut child = Command::new("node")
        .arg("server.js")
        .current_dir(directory)
        .env("FIRESTORE_EMULATOR_HOST", host)
        .env("FIRESTORE_EMULATOR_FILE", file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let host = line.split(' ').nth(1).unwrap_or_else(|| panic!("it said {line:?}")).to_owned();
    (child, host)
}

/// Another program, which writes documents as it likes.
pub struct Program(FirestoreDb);

/// A time, in JSON.
pub fn time(ms: i64) -> Json {
    json!({ "$time": ms })
}

impl Program {
    fn name(&self, collection: &str, id: &str) -> String {
        format!("{}/{collection}/{id}", self.0.get_documents_path())
    }

    /// Writes a whole document.
    pub async fn set(&self, collection: &str, id: &str, fields: Json) {
        self.write(collection, id, fields, None).await;
    }

    /// Writes these fields of a document and leaves the others; null removes one.
    pub async fn update(&self, collection: &str, id: &str, fields: Json) {
        let mask = fields.as_object().unwrap().keys().cloned().collect();
        self.write(collection, id, fields, Some(DocumentMask { field_paths: mask })).await;
    }

    async fn write(&self, collection: &str, id: &str, fields: Json, mask: Option<DocumentMask>) {
        let mut fields = fields.as_object().unwrap().clone();
        fields.retain(|_, it| mask.is_none() || !it.is_null());
        let document = Document {
            name: self.name(collection, id),
            fields: fields.iter().map(|it| (it.0.clone(), value(it.1))).collect(),
            ..Document::default()
        };
        let write = Write {
            operation: Some(Operation::Update(document)),
            update_mask: mask,
            ..Write::default()
        };
        self.commit(write).await;
    }

    pub async fn delete(&self, collection: &str, id: &str) {
        let operation = Some(Operation::Delete(self.name(collection, id)));
        self.commit(Write { operation, ..Write::default() }).await;
    }

    async fn commit(&self, write: Write) {
        let request = CommitRequest {
            database: self.0.get_database_path().clone(),
            writes: vec![write],
            ..CommitRequest::default()
        };
        self.0.client().get().commit(Request::new(request)).await.unwrap();
    }

    /// A document; null where there is none.
    pub async fn get(&self, collection: &str, id: &str) -> Json {
        let request = BatchGetDocumentsRequest {
            database: self.0.get_database_path().clone(),
            documents: vec![self.name(collection, id)],
            ..BatchGetDocumentsRequest::default()
        };
        let found = self.0.client().get().batch_get_documents(Request::new(request)).await.unwrap();
        match found.into_inner().message().await.unwrap().unwrap().result {
            Some(Got::Found(it)) => object(&it.fields),
            _ => Json::Null,
        }
    }

    /// All documents of a collection.
    pub async fn all(&self, collection: &str) -> Map<String, Json> {
        let query = StructuredQuery {
            from: vec![CollectionSelector {
                collection_id: collection.to_owned(),
                all_descendants: false,
            }],
            ..StructuredQuery::default()
        };
        let request = RunQueryRequest {
            parent: self.0.get_documents_path().clone(),
            query_type: Some(QueryType::StructuredQuery(query)),
            ..RunQueryRequest::default()
        };
        let found = self.0.client().get().run_query(Request::new(request)).await.unwrap();
        let mut found = found.into_inner();
        let mut all = Map::new();
        while let Some(it) = found.message().await.unwrap() {
            if let Some(it) = it.document {
                let id = it.name.rsplit('/').next().unwrap().to_owned();
                all.insert(id, object(&it.fields));
            }
        }
        all
    }
}

fn value(it: &Json) -> Value {
    let it = match it {
        Json::Null => ValueType::NullValue(0),
        Json::Bool(it) => ValueType::BooleanValue(*it),
        Json::Number(it) => match it.as_i64() {
            Some(it) => ValueType::IntegerValue(it),
            None => ValueType::DoubleValue(it.as_f64().unwrap()),
        },
        Json::String(it) => ValueType::StringValue(it.clone()),
        Json::Array(it) => {
            ValueType::ArrayValue(ArrayValue { values: it.iter().map(value).collect() })
        }
        Json::Object(it) => match it.get("$time").and_then(Json::as_i64) {
            Some(ms) => ValueType::TimestampValue(Timestamp {
                seconds: ms.div_euclid(1_000),
                nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap(),
            }),
            None => {
                let fields = it.iter().map(|it| (it.0.clone(), value(it.1))).collect();
                ValueType::MapValue(MapValue { fields })
            }
        },
    };
    Value { value_type: Some(it) }
}

fn object(fields: &std::collections::HashMap<String, Value>) -> Json {
    Json::Object(fields.iter().map(|it| (it.0.clone(), json_of(it.1))).collect())
}

fn json_of(it: &Value) -> Json {
    match it.value_type.as_ref().unwrap() {
        ValueType::BooleanValue(it) => json!(it),
        ValueType::IntegerValue(it) => json!(it),
        ValueType::DoubleValue(it) => json!(it),
        ValueType::StringValue(it) => json!(it),
        ValueType::TimestampValue(it) => time(it.seconds * 1_000 + i64::from(it.nanos) / 1_000_000),
        ValueType::ArrayValue(it) => it.values.iter().map(json_of).collect(),
        ValueType::MapValue(it) => object(&it.fields),
        _ => Json::Null,
    }
}
