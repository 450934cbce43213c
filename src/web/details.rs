//! What `present::details` says of content, described.
#![expect(dead_code, reason = "descriptions are read by their derive alone")]

use utoipa::ToSchema;

/// What there is to a message besides its text: the field of its type, or none.
#[derive(ToSchema)]
pub(super) struct DetailsView {
    media: Option<FileView>,
    location: Option<PlaceView>,
    contact: Option<CardView>,
    poll: Option<PollView>,
    /// Of buttons and lists.
    options: Option<Vec<ChoiceView>>,
}

/// A file.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct FileView {
    /// What it is fetched by.
    id: Option<String>,
    /// Where it was fetched from, when the vendor sent it by address.
    url: Option<String>,
    #[schema(example = "image/jpeg")]
    mime_type: Option<String>,
    file_name: Option<String>,
    /// Its length, as it is told.
    bytes: Option<u64>,
}

/// A place, in degrees.
#[derive(ToSchema)]
struct PlaceView {
    #[schema(example = 14.6937)]
    latitude: f64,
    #[schema(example = -17.4441)]
    longitude: f64,
    name: String,
}

/// Somebody's card.
#[derive(ToSchema)]
struct CardView {
    name: String,
    phone: Option<String>,
    vcard: String,
}

/// A poll; how many chose each option is in `votes` of the message.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct PollView {
    question: String,
    options: Vec<String>,
    multi_select: bool,
}

/// One button, or one line of a list.
#[derive(ToSchema)]
struct ChoiceView {
    id: String,
    title: String,
    description: String,
}
