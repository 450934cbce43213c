//! How files get to providers.

/// How a file that we keep gets to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileWay {
    /// It is uploaded first, and named by where the provider has it then.
    Upload,
    /// The provider fetches it from us, by a link that is good for a time.
    Link,
    /// It goes with the message itself.
    Attached,
}
