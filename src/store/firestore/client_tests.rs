//! What a service account's key makes of each of its forms, without the network.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use firestore::gcloud_sdk::{
    google_cloud_auth::credentials::CacheableResource,
    tonic::codegen::http::{Extensions, header::AUTHORIZATION},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::client::auth;
use crate::config::{FirebaseKey, FirestoreConfig};

const EMAIL: &str = "gateway@corner-shops.iam.gserviceaccount.com";

/// A key in PEM, and what proves what it signs.
fn key() -> (String, DecodingKey) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|it| str::from_utf8(it).unwrap()).collect();
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let public = pair.public_key();
    let part = |it: &[u8]| URL_SAFE_NO_PAD.encode(it);
    let proof = DecodingKey::from_rsa_components(
        &part(public.modulus().big_endian_without_leading_zero()),
        &part(public.exponent().big_endian_without_leading_zero()),
    );
    (pem, proof.unwrap())
}

fn config(key: FirebaseKey) -> FirestoreConfig {
    FirestoreConfig { project_id: "corner-shops".to_owned(), key, emulator: None }
}

fn variables(private_key: &str) -> FirestoreConfig {
    let private_key = private_key.into();
    config(FirebaseKey::Variables { email: EMAIL.to_owned(), private_key })
}

#[tokio::test]
async fn each_form_of_a_service_accounts_key_signs_what_google_takes() {
    let (pem, proof) = key();
    let file = tempfile::NamedTempFile::new().unwrap();
    let account = json!({
        "type": "service_account", "project_id": "corner-shops", "client_email": EMAIL,
        "private_key_id": "a1", "private_key": pem,
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    std::fs::write(file.path(), account.to_string()).unwrap();
    for (how, config) in [
        ("file", config(FirebaseKey::File(file.path().to_owned()))),
        ("variables", variables(&pem)),
        ("variables with \\n", variables(&pem.replace('\n', "\\n"))),
    ] {
        let signed = auth(&config).await.unwrap().headers(Extensions::new()).await.unwrap();
        let CacheableResource::New { data, .. } = signed else { panic!("{how}: nothing new") };
        let token = data[AUTHORIZATION].to_str().unwrap().strip_prefix("Bearer ").unwrap();
        let mut checks = Validation::new(Algorithm::RS256);
        checks.validate_aud = false;
        let claims = jsonwebtoken::decode::<Value>(token, &proof, &checks).unwrap().claims;
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!(EMAIL), &json!(EMAIL)), "{how}");
        let scopes = claims["scope"].as_str().unwrap();
        assert!(scopes.contains("https://www.googleapis.com/auth/cloud-platform"), "{how}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_told_without_any_of_it() {
    let (pem, _) = key();
    let broken = pem.replace("BEGIN PRIVATE", "BEGIN PRIVAT");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &broken).unwrap();
    let cut = pem.replace('a', "!");
    for config in
        [variables(&broken), variables(&cut), config(FirebaseKey::File(file.path().to_owned()))]
    {
        let error = auth(&config).await.err().unwrap();
        let told = format!("{error} {error:?}");
        assert!(told.contains("cannot be used"), "{told}");
        assert!(!pem.lines().any(|it| told.contains(it)), "it is quoted");
    }
}
