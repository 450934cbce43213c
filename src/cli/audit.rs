//! `audit`: what was changed, and by whom.

use clap::Args;

use super::{
    Ended,
    opened::Opened,
    output::{json, print, table},
};
use crate::{
    domain::{clock::iso, id::VendorId},
    web::audit::ChangeView,
};

pub(super) const ABOUT: &str = "\
Show what was changed through the administration and the command line, newest first.

Who is the id of the key it was done with, or \"cli\". What is the operation's id in openapi.json. \
Values that were set are not on record, and refused requests are not either. Changes are kept for \
400 days.";

pub(super) const AFTER: &str = "\
Examples:
  waba-gateway audit --vendor vendor_001
  waba-gateway audit --limit 1000 --json | jq -r '.changes[] | select(.what == \"createKey\")'

Exit codes: 0 shown, 2 could not run";

#[derive(Args)]
pub struct Arguments {
    /// One vendor's alone
    #[arg(long, value_name = "VENDOR")]
    vendor: Option<VendorId>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Ended {
    let opened = Opened::to_read().await?;
    let found = opened.gateway.deeds(arguments.vendor.as_ref(), None, arguments.limit).await?;
    opened.close();
    if arguments.json {
        let changes: Vec<ChangeView> = found.iter().map(|it| ChangeView::from(&it.1)).collect();
        json(&serde_json::json!({ "changes": changes }));
        return Ok(0);
    }
    let row = |it: &crate::store::Deed| {
        let vendor = it.vendor.as_ref().map(ToString::to_string);
        let or_none = |it: Option<String>| it.unwrap_or_else(|| "-".to_owned());
        [iso(it.at), it.by.clone(), it.what.clone(), or_none(vendor), or_none(it.about.clone())]
    };
    let rows: Vec<[String; 5]> = found.iter().map(|it| row(&it.1)).collect();
    print(&table(["WHEN", "WHO", "WHAT", "VENDOR", "ABOUT"], &rows));
    Ok(0)
}
