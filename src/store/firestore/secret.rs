//! Secrets in documents: sealed text where this gateway wrote them, clear where another program
//! did. Both are read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Fault;
use crate::vault::Vault;

/// How sealed text begins.
const PREFIX: &str = "sealed:v1:";

/// Seals text for one field of one document.
pub(super) fn seal(vault: &Vault, place: &str, plain: &str) -> Result<String, Fault> {
    let sealed = vault.seal(place, plain.as_bytes()).map_err(|_| Fault::Sealed)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// The secret in a field: opened where it is sealed, as it is where it is clear.
pub(super) fn open(vault: &Vault, place: &str, stored: String) -> Result<String, Fault> {
    let Some(sealed) = stored.strip_prefix(PREFIX) else { return Ok(stored) };
    let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Fault::Sealed)?;
    let plain = vault.open(place, &sealed).map_err(|_| Fault::Sealed)?;
    String::from_utf8(plain.to_vec()).map_err(|_| Fault::Sealed)
}

/// Whether a text is sealed.
pub(super) fn is_sealed(stored: &str) -> bool {
    stored.starts_with(PREFIX)
}

/// Whether it is sealed with the key that is used now.
pub(super) fn is_current(vault: &Vault, stored: &str) -> bool {
    let sealed = stored.strip_prefix(PREFIX).and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
    sealed.is_some_and(|it| vault.is_current(&it))
}

/// What is sealed, sealed with the key that is used now; `None` where it is that, or is clear.
pub(super) fn reseal(vault: &Vault, place: &str, stored: &str) -> Result<Option<String>, Fault> {
    if !is_sealed(stored) || is_current(vault, stored) {
        return Ok(None);
    }
    seal(vault, place, &open(vault, place, stored.to_owned())?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_in_its_field_and_a_clear_one_is_itself() {
        let vault = Vault::new(&Vault::new_key().unwrap(), &[]).unwrap();
        let sealed = seal(&vault, "here", "hush").unwrap();
        assert!(sealed.starts_with(PREFIX) && !sealed.contains("hush"));
        assert_eq!(open(&vault, "here", sealed.clone()).unwrap(), "hush");
        assert!(open(&vault, "there", sealed).is_err());
        assert!(open(&vault, "here", format!("{PREFIX}x")).is_err());
        assert_eq!(open(&vault, "here", "hush".to_owned()).unwrap(), "hush");
    }
}
