//! `waba-migrate move`: everything from one store to the other, compared before and after.

mod compare;
mod keys;

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use waba_gateway::{
    app::{self, BothStores},
    cli::progress::Progress,
    config::Config,
    domain::{clock::Clock, id::VendorId, vendor::Vendor, waba::WabaInstance},
    gateway::BY_CLI,
    store::{Deed, Store, StoreError, Stored, VendorPage, Wanted},
};

use self::compare::{Compared, Lot, State, state_of};
use super::{EXIT_BAD_ROWS, data::steadily, report::complain};

/// Where the embedded store is, in words.
const DATABASE: &str = "DATA_DIR's waba.db";
/// Vendors read at once.
const PAGE: usize = 50;

#[derive(Args)]
pub struct Move {
    /// The store to move to
    #[arg(long, value_enum)]
    to: Place,

    /// Compare, and tell what would be done; nothing is moved
    #[arg(long)]
    dry_run: bool,

    /// What to do about vendors and API keys that differ in the other store
    #[arg(long, value_enum, default_value_t = OnConflict::Refuse)]
    on_conflict: OnConflict,
}

/// A store.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Place {
    Sqlite,
    Firestore,
}

impl Place {
    /// What to do when everything is there.
    fn what_next(self) -> &'static str {
        match self {
            Self::Firestore => {
                "everything was read again from both stores and is the same\n\
                 now set STORE=firestore and ENCRYPTION_KEY (the same key; it may be in DATA_DIR's \
                 encryption.key) for every gateway, and start them\n"
            }
            Self::Sqlite => {
                "everything was read again from both stores and is the same\n\
                 now set STORE=sqlite, leave ENCRYPTION_KEY as it is, and start the one gateway of \
                 this DATA_DIR\n"
            }
        }
    }
}

/// Whose is kept where both stores have something.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OnConflict {
    /// List them and do nothing
    Refuse,
    /// Keep those of the store that is moved from
    Source,
    /// Keep those of the store that is moved to
    Target,
}

/// From where to where.
struct Way<'a> {
    source: &'a dyn Store,
    target: &'a dyn Store,
    on_conflict: OnConflict,
}

/// Compares, writes what is missing, and compares again.
pub async fn run(options: &Move) -> anyhow::Result<ExitCode> {
    let fixed = |name: &str| (name == "STORE").then(|| "firestore".to_owned());
    let config = Config::from_environment_with(fixed)?;
    if options.to == Place::Firestore && !app::database_of(&config).exists() {
        bail!("there is no data in {} (DATA_DIR)", config.data_dir.display());
    }
    let may_mark = options.to == Place::Firestore && !options.dry_run;
    let Some(both) = BothStores::open(&config, may_mark).await? else {
        bail!("a gateway runs on {}: stop it first, and all others", config.data_dir.display());
    };
    let (embedded, elsewhere) = (both.embedded.as_ref(), both.elsewhere.as_ref());
    let (source, target) = match options.to {
        Place::Firestore => (embedded, elsewhere),
        Place::Sqlite => (elsewhere, embedded),
    };
    let end = Way { source, target, on_conflict: options.on_conflict }.go(options).await;
    both.close();
    end
}

impl Way<'_> {
    async fn go(&self, options: &Move) -> anyhow::Result<ExitCode> {
        let n_vendors = self.source.census().await.context("count the vendors")?.n_vendors;
        let n_vendors = usize::try_from(n_vendors).unwrap_or_default();
        let (compared, n_unserved) = self.compare(&Progress::of("comparing", n_vendors)).await?;
        if options.to == Place::Firestore && n_unserved != 0 {
            bail!("{n_unserved} numbers in {DATABASE} belong to no vendor and would be lost");
        }
        let keys = keys::compare(self.source, self.target).await.context("compare API keys")?;
        let differing: Vec<String> = compared.differing().chain(keys.differing()).collect();
        let is_refused = self.on_conflict == OnConflict::Refuse && !differing.is_empty();
        let in_the_way = compared.in_the_way(self.on_conflict == OnConflict::Source);
        if is_refused || !in_the_way.is_empty() {
            complain(&refusal(&in_the_way, &differing));
            return Ok(EXIT_BAD_ROWS.into());
        }
        if options.dry_run {
            tell(&format!("{}(dry run: nothing was moved)\n", compared.text("would be ")));
            return Ok(ExitCode::SUCCESS);
        }
        let source_wins = self.on_conflict == OnConflict::Source;
        let is_moved = |it: &&Lot| match it {
            Lot::Missing => true,
            Lot::Same => false,
            Lot::Differs { .. } => source_wins,
        };
        let n_moved = compared.lots.values().filter(is_moved).count();
        let has_keys = keys.missing().next().is_some();
        if n_moved > 0 || has_keys || (source_wins && keys.differing().next().is_some()) {
            // First, so that what was moved before a kill is on record too.
            self.put_on_record(n_moved).await?;
        }
        let progress = Progress::of("moving", compared.lots.len());
        self.copy(&compared, &progress)
            .await
            .context("nothing is lost; the same command goes on")?;
        drop(progress);
        self.copy_rest(&keys).await.context("nothing is lost; the same command goes on")?;
        self.verify(&Progress::of("verifying", compared.lots.len())).await?;
        let all = format!("{}{} API keys\n", compared.text(""), keys.n_keys());
        tell(&[&all, &stays(n_unserved), options.to.what_next()].concat());
        Ok(ExitCode::SUCCESS)
    }

    /// Every vendor's lot, and how many instances the source counts and does not show.
    async fn compare(&self, progress: &Progress) -> anyhow::Result<(Compared, i64)> {
        let mut compared = Compared::default();
        let mut n_instances = 0;
        let mut pages = Pages::of(self.source);
        while let Some(page) = pages.next().await.context("read the store to move from")? {
            let present = look(self.target, &page).await.context("read the store to move to")?;
            for (vendor, instances) in page {
                n_instances += i64::try_from(instances.len()).unwrap_or_default();
                compared.add(&vendor, &instances, &present);
                progress.advance(1);
            }
        }
        let n_counted = self.source.census().await.context("count the numbers")?.n_instances;
        Ok((compared, n_counted - n_instances))
    }

    async fn copy(&self, compared: &Compared, progress: &Progress) -> anyhow::Result<()> {
        // In one step, as numbers that were swapped must be.
        self.copy_page(compared, self.entangled(compared).await?).await?;
        let mut pages = Pages::of(self.source);
        while let Some(mut page) = pages.next().await? {
            progress.advance(page.len());
            page.retain(|it| !compared.entangled().contains(&it.0.id));
            // A vendor and its numbers come together, or not.
            let mut step = Page::new();
            let mut n_docs = 0;
            for it in page {
                if n_docs + 1 + it.1.len() > self.target.batch_max() {
                    self.copy_page(compared, std::mem::take(&mut step)).await?;
                    n_docs = 0;
                }
                n_docs += 1 + it.1.len();
                step.push(it);
            }
            self.copy_page(compared, step).await?;
        }
        Ok(())
    }

    async fn entangled(&self, compared: &Compared) -> anyhow::Result<Page> {
        let mut page = Page::new();
        for id in compared.entangled() {
            if let Some(vendor) = self.source.vendor(id).await? {
                page.push((vendor, self.source.instances(id).await?));
            }
        }
        let n_docs = page.iter().map(|it| 1 + it.1.len()).sum::<usize>();
        if n_docs > self.target.batch_max() {
            bail!("{} vendors have each other's numbers over there: too many at once", page.len());
        }
        Ok(page)
    }

    /// Writes what is to be moved of some vendors, together.
    async fn copy_page(&self, compared: &Compared, page: Page) -> anyhow::Result<()> {
        let (mut vendors, mut instances) = (Vec::new(), Vec::new());
        // Of what is there already, the session's state is kept apart.
        let mut present = Vec::new();
        for (vendor, of_vendor) in page {
            let Some(lot) = compared.lots.get(&vendor.id) else {
                bail!("{} came while this was at work: is a gateway running?", vendor.id);
            };
            match lot {
                Lot::Missing => {}
                Lot::Differs { extra, .. } if self.on_conflict == OnConflict::Source => {
                    for id in extra {
                        self.target.delete_instance(&vendor.id, id).await?;
                    }
                    present.extend(of_vendor.iter().cloned());
                }
                Lot::Same | Lot::Differs { .. } => continue,
            }
            vendors.push(vendor);
            instances.extend(of_vendor);
        }
        self.put(&vendors, &instances).await?;
        for it in present {
            if let Some(at) = it.last_sync {
                self.target.set_status(&it.id, Some(it.status), at).await?;
            }
        }
        Ok(())
    }

    async fn put(&self, vendors: &[Vendor], instances: &[WabaInstance]) -> anyhow::Result<()> {
        if vendors.is_empty() {
            return Ok(());
        }
        let put = async || self.target.import(vendors, instances).await;
        steadily(put).await.with_context(|| {
            format!("write the vendors {} to {}", vendors[0].id, vendors[vendors.len() - 1].id)
        })?;
        Ok(())
    }

    async fn put_on_record(&self, n_vendors: usize) -> anyhow::Result<()> {
        let deed = Deed {
            at: Clock::System.now(),
            by: BY_CLI.to_owned(),
            what: "moveVendors".to_owned(),
            vendor: None,
            about: Some(format!("{n_vendors} vendors")),
        };
        self.target
            .add_deed(&deed)
            .await
            .context("nothing was moved: it could not be put on record")
    }

    /// What belongs to no vendor alone.
    async fn copy_rest(&self, keys: &keys::Compared) -> anyhow::Result<()> {
        let (_, all) = self.source.paused().await.context("read pauses")?;
        if all {
            self.target.pause(None, true).await.context("pause everybody")?;
        }
        let former = self.source.former_instances().await.context("read former numbers")?;
        let put = self.target.put_former_instances(&former).await;
        put.context("write former numbers")?;
        keys.copy(self.target, self.on_conflict == OnConflict::Source).await.context("API keys")
    }

    /// Reads everything again and compares.
    async fn verify(&self, progress: &Progress) -> anyhow::Result<()> {
        let mut wrong = Vec::new();
        let mut pages = Pages::of(self.source);
        while let Some(page) = pages.next().await.context("read again")? {
            let present = look(self.target, &page).await.context("read again")?;
            for (vendor, instances) in &page {
                let there = present.vendors.get(&vendor.id).and_then(|it| it.as_ref().ok());
                let its = State::from((vendor, instances.as_slice()));
                let may_differ = self.on_conflict == OnConflict::Target && there.is_some();
                match there.and_then(state_of) {
                    _ if may_differ => {}
                    Some(theirs) if theirs == its => {}
                    Some(theirs) => {
                        let fields = its.differing(&theirs).join(", ");
                        wrong.push(format!("vendor {} ({fields})", vendor.id));
                    }
                    None => wrong.push(format!("vendor {}", vendor.id)),
                }
                progress.advance(1);
            }
        }
        let keys = keys::compare(self.source, self.target).await.context("read API keys again")?;
        if self.on_conflict != OnConflict::Target {
            wrong.extend(keys.differing());
        }
        wrong.extend(keys.missing());
        let (_, is_paused) = self.source.paused().await.context("read pauses again")?;
        if is_paused && !self.target.paused().await.context("read pauses again")?.1 {
            wrong.push("the pause of everybody".to_owned());
        }
        let former = self.source.former_instances().await.context("read former numbers again")?;
        let there = self.target.former_instances().await.context("read former numbers again")?;
        let missing = former.iter().filter(|it| there.binary_search(it).is_err());
        wrong.extend(missing.map(ToString::to_string));
        if !wrong.is_empty() {
            bail!("not the same in both stores afterwards, do not switch: {}", wrong.join(", "));
        }
        Ok(())
    }
}

/// A store's vendors with their instances, page by page.
struct Pages<'a> {
    store: &'a dyn Store,
    after: Option<VendorId>,
    is_over: bool,
}

type Page = Vec<(Vendor, Vec<WabaInstance>)>;

impl<'a> Pages<'a> {
    fn of(store: &'a dyn Store) -> Self {
        Self { store, after: None, is_over: false }
    }

    async fn next(&mut self) -> anyhow::Result<Option<Page>> {
        if self.is_over {
            return Ok(None);
        }
        let read = async || self.store.vendors(self.after.as_ref(), PAGE).await;
        let VendorPage { vendors: page, unreadable, next } = steadily(read).await?;
        if !unreadable.is_empty() {
            // Without them it would not be everything.
            let ids: Vec<&str> = unreadable.iter().map(VendorId::as_str).collect();
            bail!("what is stored of these vendors cannot be opened or read: {}", ids.join(", "));
        }
        if page.is_empty() {
            return Ok(None);
        }
        (self.is_over, self.after) = (next.is_none(), next);
        let vendors: Vec<VendorId> = page.iter().map(|it| it.id.clone()).collect();
        let wanted = || Wanted { vendors: vendors.clone(), ..Wanted::default() };
        let mut looked = steadily(async || self.store.look(wanted()).await).await?;
        let with_instances = |vendor: Vendor| {
            let stored: Option<Stored> = looked.vendors.remove(&vendor.id).transpose()?;
            Ok((vendor, stored.map(|it| it.instances).unwrap_or_default()))
        };
        let page = page.into_iter().map(with_instances);
        Ok(Some(page.collect::<Result<_, StoreError>>()?))
    }
}

/// What the target has of a page.
async fn look(target: &dyn Store, page: &Page) -> Result<waba_gateway::store::Looked, StoreError> {
    let wanted = || Wanted {
        vendors: page.iter().map(|it| it.0.id.clone()).collect(),
        keys: page.iter().flat_map(|it| &it.1).flat_map(WabaInstance::keys).collect(),
        instances: page.iter().flat_map(|it| &it.1).map(|it| it.id.clone()).collect(),
    };
    steadily(async || target.look(wanted()).await).await
}

/// What a Firestore has that is not ours to move.
fn stays(n_unserved: i64) -> String {
    if n_unserved <= 0 {
        return String::new();
    }
    format!(
        "{n_unserved} documents of waba_instances stay behind: they are of providers that this \
         version does not know, without a number, or older twins of others\n"
    )
}

fn refusal(taken: &[String], differing: &[String]) -> String {
    let mut text = "waba-migrate: nothing was written.\n".to_owned();
    if !taken.is_empty() {
        text += "In the way:\n  ";
        text += &taken.join("\n  ");
        text.push('\n');
    }
    if !differing.is_empty() {
        text += "Different in the other store (--on-conflict says which is kept):\n  ";
        text += &differing.join("\n  ");
    }
    text.trim_end().to_owned()
}

fn tell(text: &str) {
    // What is done is done, whether or not somebody reads it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
