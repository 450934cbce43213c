//! The providers, and the order in which a number goes through them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The services that carry messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// wasenderapi.com
    Wasender,
    /// Meta's WhatsApp Cloud API
    Meta,
    /// unipile.com
    Unipile,
    /// twilio.com
    Twilio,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Wasender, Self::Meta, Self::Unipile, Self::Twilio];

    /// The word it is stored and shown as.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wasender => "wasender",
            Self::Meta => "meta",
            Self::Unipile => "unipile",
            Self::Twilio => "twilio",
        }
    }

    /// Reads the word, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(word.trim()))
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Providers in the order in which they are tried, each at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Routes([Option<ProviderKind>; ProviderKind::ALL.len()]);

impl Routes {
    /// Wasender alone.
    pub const WASENDER: Self = Self([Some(ProviderKind::Wasender), None, None, None]);

    /// One provider and no other.
    #[must_use]
    pub fn only(kind: ProviderKind) -> Self {
        [kind].into_iter().collect()
    }

    /// In order.
    pub fn iter(self) -> impl Iterator<Item = ProviderKind> {
        self.0.into_iter().flatten()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0[0].is_none()
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn contains(self, kind: ProviderKind) -> bool {
        self.iter().any(|it| it == kind)
    }

    /// The first that is in neither of the sets.
    #[must_use]
    pub fn first_but(self, left_out: ProviderSet) -> Option<ProviderKind> {
        self.iter().find(|it| !left_out.contains(*it))
    }
}

impl FromIterator<ProviderKind> for Routes {
    fn from_iter<T: IntoIterator<Item = ProviderKind>>(kinds: T) -> Self {
        let (mut routes, mut n, mut seen) = (Self::default(), 0, ProviderSet::default());
        for kind in kinds {
            if !seen.contains(kind) {
                seen = seen.with(kind);
                routes.0[n] = Some(kind);
                n += 1;
            }
        }
        routes
    }
}

impl Serialize for Routes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Routes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<ProviderKind>::deserialize(from)?.into_iter().collect())
    }
}

/// Some of the providers, in no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderSet(u8);

impl ProviderSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Whether it has this one.
    #[must_use]
    pub fn contains(self, kind: ProviderKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// With this one too.
    #[must_use]
    pub fn with(self, kind: ProviderKind) -> Self {
        Self(self.0 | Self::bit(kind))
    }

    /// With those of the other one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn bit(kind: ProviderKind) -> u8 {
        1 << kind as u8
    }
}

#[cfg(test)]
mod tests {
    use super::{ProviderKind::*, *};

    #[test]
    fn routes_keep_their_order_and_have_no_provider_twice() {
        let routes: Routes = [Meta, Wasender, Meta, Twilio].into_iter().collect();
        assert_eq!(routes.iter().collect::<Vec<_>>(), [Meta, Wasender, Twilio]);
        let text = serde_json::to_string(&routes).unwrap();
        assert_eq!(text, r#"["meta","wasender","twilio"]"#);
        assert_eq!(serde_json::from_str::<Routes>(&text).unwrap(), routes);
        let refused = ProviderSet::NONE.with(Meta).with(Twilio);
        assert_eq!(routes.first_but(refused), Some(Wasender));
        assert_eq!(routes.first_but(refused.with(Wasender)), None);
        assert!(Routes::default().is_empty() && !routes.is_empty());
    }

    #[test]
    fn a_provider_is_read_by_its_word() {
        for kind in ProviderKind::ALL {
            assert_eq!(ProviderKind::parse(&kind.as_str().to_uppercase()), Some(kind));
        }
        assert_eq!(ProviderKind::parse("vonage"), None);
    }
}
