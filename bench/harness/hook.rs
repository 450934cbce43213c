//! Webhooks to send: whole requests, made once, in which only what differs is written over.

use anyhow::{Context, ensure};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use waba_gateway::{
    domain::clock::Clock,
    twin::{Customer, real_message},
};

/// Vendors, where nothing else is said.
pub const VENDORS: usize = 1_000;
pub const CUSTOMERS_PER_VENDOR: usize = 10;
/// About as large as a short text with all that Wasender says around it.
const BODY_BYTES: usize = 1_024;
/// Words of one length; vendors that answer have a rule for each.
pub const WORDS: [&str; 8] =
    ["alpha", "bravo", "delta", "hotel", "india", "oscar", "romeo", "tango"];
/// Coprime to the numbers of vendors, so that their turns are spread.
const STRIDE: usize = 617;
const MAC_BYTES: usize = 32;

// What is written over, in the length of what is written there.
const VENDOR: &str = "vendor_??????";
const ID: &str = "3EB0IIIIIIIIIIIIIIII";
const PHONE: &str = "221770000000";
const LID: &str = "100000000000000";
const MAC: &str = "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM";

/// Which webhooks there are.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Which numbers they have: so that those of several runs are not the same.
    pub first: usize,
    /// The first of the vendors that they are for.
    pub first_vendor: usize,
    pub n_vendors: usize,
    pub customers_per_vendor: usize,
    /// Of the requests so many are signed ahead, the others when they are made.
    pub n_signed: usize,
    /// Message ids in ascending order.
    pub ids_ascend: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            first: 0,
            first_vendor: 0,
            n_vendors: VENDORS,
            customers_per_vendor: CUSTOMERS_PER_VENDOR,
            n_signed: 0,
            ids_ascend: false,
        }
    }
}

/// Whom a webhook is for, from whom it comes, and the word that it asks for. Its reply goes to
/// that customer, with that word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    pub vendor: usize,
    pub customer: usize,
    pub word: usize,
}

/// The requests, numbered: `n` is always the same request.
pub struct Hooks {
    shape: Shape,
    request: Vec<u8>,
    body_at: usize,
    vendor_at: usize,
    mac_at: usize,
    ids: Vec<usize>,
    phones: Vec<usize>,
    lids: Vec<usize>,
    words: Vec<usize>,
    macs: Vec<[u8; MAC_BYTES]>,
}

pub fn vendor(n: usize) -> String {
    format!("vendor_{n:06}")
}

pub fn secret(vendor: usize) -> String {
    format!("whsec_bench_{vendor:06}_0123456789abcdef")
}

/// The customer that a reply goes to, by their number.
pub fn customer_of(phone: &str) -> Option<usize> {
    phone.trim_start_matches('+').strip_prefix(&PHONE[..5])?.get(..7)?.parse().ok()
}

impl Hooks {
    pub fn new(shape: Shape) -> anyhow::Result<Self> {
        let body = body()?;
        let head = format!(
            "POST /api/webhooks/wasender/{VENDOR} HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             user-agent: wasender-bench\r\naccept: application/json\r\n\
             content-type: application/json\r\nx-wasender-signature: {MAC}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let request = format!("{head}{body}");
        let places = |of: &str| request.match_indices(of).map(|it| it.0).collect::<Vec<_>>();
        let mut hooks = Self {
            shape,
            body_at: head.len(),
            vendor_at: request.find(VENDOR).context("the vendor's place")?,
            mac_at: request.find(MAC).context("the signature's place")?,
            ids: places(ID),
            phones: places(PHONE),
            lids: places(LID),
            words: places(WORDS[0]),
            macs: Vec::new(),
            request: request.into_bytes(),
        };
        let mut buffer = hooks.buffer();
        hooks.macs = (0..shape.n_signed).map(|n| hooks.signed(&mut buffer, n)).collect();
        Ok(hooks)
    }

    /// The number of the first.
    pub fn first(&self) -> usize {
        self.shape.first
    }

    /// Whom and what the `n`th request is for.
    pub fn target(&self, n: usize) -> Target {
        let Shape { first, first_vendor, n_vendors, customers_per_vendor, .. } = self.shape;
        let n = first + n;
        let vendor = first_vendor + n * STRIDE % n_vendors;
        let round = n / n_vendors;
        let customer = vendor * customers_per_vendor + round % customers_per_vendor;
        // So that a customer does not ask for one word again and again.
        let word = (round + round / customers_per_vendor) % WORDS.len();
        Target { vendor, customer, word }
    }

    /// A buffer for [`Self::write`].
    pub fn buffer(&self) -> Vec<u8> {
        self.request.clone()
    }

    /// Writes the `n`th request over the one in the buffer.
    pub fn write(&self, buffer: &mut [u8], n: usize) {
        let mac = match self.macs.get(n) {
            Some(mac) => {
                self.write_body(buffer, n);
                *mac
            }
            None => self.signed(buffer, n),
        };
        let vendor = self.target(n).vendor;
        write_digits(&mut buffer[self.vendor_at + 7..self.vendor_at + VENDOR.len()], vendor);
        // The slices have the length of what goes there.
        let _ = hex::encode_to_slice(mac, &mut buffer[self.mac_at..self.mac_at + MAC.len()]);
    }

    fn signed(&self, buffer: &mut [u8], n: usize) -> [u8; MAC_BYTES] {
        self.write_body(buffer, n);
        let secret = secret(self.target(n).vendor);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(&buffer[self.body_at..]);
        mac.finalize().into_bytes().into()
    }

    fn write_body(&self, buffer: &mut [u8], n: usize) {
        let Target { customer, word, .. } = self.target(n);
        for at in &self.ids {
            let n = self.shape.first + n;
            let id = if self.shape.ids_ascend { (n as u64).to_be_bytes() } else { scattered(n) };
            // It fits, and cannot fail.
            let _ = hex::encode_to_slice(id, &mut buffer[at + 4..at + ID.len()]);
        }
        for at in &self.phones {
            write_digits(&mut buffer[at + 5..at + PHONE.len()], customer);
        }
        for at in &self.lids {
            write_digits(&mut buffer[at + 1..at + LID.len()], customer);
        }
        for at in &self.words {
            buffer[*at..at + WORDS[word].len()].copy_from_slice(WORDS[word].as_bytes());
        }
    }
}

/// A customer's text as Wasender tells it, with what Baileys adds to it.
fn body() -> anyhow::Result<String> {
    let now = Clock::System.now() / 1_000;
    let customer = Customer::new(PHONE).with_lid(LID).named("Awa Ndiaye");
    let form = |text: &str| {
        let mut body = real_message(ID, &customer, text, now);
        body["data"]["messages"]["message"]["messageContextInfo"] = json!({
            "deviceListMetadata": {
                "senderKeyHash": "xPeFJ7bcQZ2Wjg==",
                "senderTimestamp": now.to_string(),
            },
            "deviceListMetadataVersion": 2,
        });
        body.to_string()
    };
    let mut text = format!("Bonjour, avez-vous encore le modele {} en rayon ?", WORDS[0]);
    let more = " Je passe demain vers midi si vous en gardez un pour moi. Merci, et bonne journee.";
    // The text is there twice.
    let n_more = BODY_BYTES.saturating_sub(form(&text).len()) / 2;
    text.extend(more.chars().cycle().take(n_more));
    let body = form(&text);
    ensure!(body.len().abs_diff(BODY_BYTES) <= 1, "the body has {} bytes", body.len());
    Ok(body)
}

/// Eight bytes for each number, no two the same and in no order, as message ids are
/// (the finaliser of `SplitMix64`, which can be undone).
pub fn scattered(n: usize) -> [u8; 8] {
    let mut it = n as u64;
    it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (it ^ (it >> 31)).to_be_bytes()
}

fn write_digits(place: &mut [u8], n: usize) {
    let mut rest = n;
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[rest % 10];
        rest /= 10;
    }
}
