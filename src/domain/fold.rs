//! Text as people mean it, for comparing.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Text without case and accents, so that «Horaires» finds «horaires» and «café» «cafe».
#[must_use]
pub fn folded(text: &str) -> String {
    text.nfkd().filter(|it| !is_combining_mark(*it)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn case_and_accents_do_not_count() {
        assert_eq!(folded("Où est le CAFÉ ?"), folded("ou est le cafe ?"));
        assert_eq!(folded("Ｈoraires"), "horaires");
    }
}
