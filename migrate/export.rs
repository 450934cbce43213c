//! `waba-migrate export`: vendors and their numbers as the CSV file that `batch` reads.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use waba_gateway::{
    config::Config,
    domain::{
        id::VendorId,
        secret::{ExposeSecret, SecretString},
        waba::WabaInstance,
    },
    store::{Store, StoreError, Wanted},
};

use super::{
    EXIT_BAD_ROWS,
    data::{Data, steadily},
    report::complain,
    table::{COLUMNS, Row, WASENDER_ID, WEBHOOK_SECRET},
};

/// Vendors read at once.
const PAGE: usize = 50;

#[derive(Args)]
pub struct Export {
    /// The file to make; one that is there is not overwritten
    file: PathBuf,

    /// Write webhook secrets and API keys too, in clear
    #[arg(long)]
    with_secrets: bool,
}

/// What became of it.
#[derive(Default)]
struct Told {
    n_rows: usize,
    /// Numbers beside the first of their vendor.
    n_further: usize,
    /// Vendors without a number.
    n_bare: usize,
    /// Instances whose rows `batch` would refuse, or read as something else.
    unreadable: Vec<String>,
    /// Vendors of whom what is stored cannot be opened or read.
    left_out: Vec<String>,
}

/// Writes all vendors' numbers.
pub async fn run(options: &Export) -> anyhow::Result<ExitCode> {
    let config = Config::from_environment()?;
    let name = options.file.display();
    if options.file.symlink_metadata().is_ok() {
        bail!("{name} is there already; it is not overwritten");
    }
    let Some(data) = Data::open_to_read(&config).await? else {
        bail!("there is no data in {} (DATA_DIR)", config.data_dir.display());
    };
    let directory = options.file.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // For its owner's eyes only, and not in its place before it is whole.
    let file = tempfile::NamedTempFile::new_in(directory);
    let file = file.with_context(|| format!("make a file in {}", directory.display()))?;
    let told = rows(options.with_secrets, data.store(), file.as_file()).await?;
    data.close();
    let kept = file.as_file().sync_all().with_context(|| format!("write {name}"));
    kept.and_then(|()| {
        let kept = file.persist_noclobber(&options.file);
        kept.map(|_| ()).with_context(|| format!("write {name}"))
    })?;
    Ok(tell(options, &told))
}

async fn rows(with_secrets: bool, store: &dyn Store, file: &File) -> anyhow::Result<Told> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(COLUMNS)?;
    let mut told = Told::default();
    let mut after: Option<VendorId> = None;
    loop {
        let page = steadily(async || store.vendors(after.as_ref(), PAGE).await).await;
        let page = page.context("read the vendors")?;
        told.left_out.extend(page.unreadable.iter().map(ToString::to_string));
        let vendors: Vec<VendorId> = page.vendors.iter().map(|it| it.id.clone()).collect();
        let wanted = || Wanted { vendors: vendors.clone(), ..Wanted::default() };
        let looked = steadily(async || store.look(wanted()).await).await;
        let mut looked = looked.context("read the numbers")?;
        for vendor in &page.vendors {
            let stored = looked.vendors.remove(&vendor.id).transpose();
            if stored.as_ref().is_err_and(StoreError::is_unreadable) {
                told.left_out.push(vendor.id.to_string());
                continue;
            }
            let stored = stored.with_context(|| format!("read the vendor {}", vendor.id))?;
            let instances = stored.map(|it| it.instances).unwrap_or_default();
            told.n_bare += usize::from(instances.is_empty());
            told.n_further += instances.len().saturating_sub(1);
            for instance in &instances {
                let cells = cells(&vendor.business_name, instance, with_secrets);
                told.n_rows += 1;
                if with_secrets && !reads_back(&cells, &vendor.business_name, instance) {
                    told.unreadable.push(instance.id.to_string());
                }
                csv.write_record(cells)?;
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    csv.flush()?;
    Ok(told)
}

fn cells(business_name: &str, instance: &WabaInstance, with_secrets: bool) -> [String; 6] {
    let mut row = Row::blank(0);
    row.take(instance);
    let secret = |it: Option<SecretString>| {
        let it = it.filter(|_| with_secrets);
        it.map(|it| it.expose_secret().to_owned()).unwrap_or_default()
    };
    [
        instance.vendor_id.to_string(),
        business_name.to_owned(),
        instance.phone_number.expose(),
        row.wasender_id.unwrap_or_default(),
        secret(row.secret),
        secret(row.api_key),
    ]
}

/// Whether `batch` reads in these cells what is stored.
fn reads_back(cells: &[String; 6], business_name: &str, instance: &WabaInstance) -> bool {
    let mut row = Row::blank(0);
    let is_read =
        COLUMNS.iter().zip(cells).all(|(column, it)| row.fill(column, it.as_bytes()).is_ok());
    let mut stored = Row::blank(0);
    stored.take(instance);
    let clear = |it: &Option<SecretString>| it.as_ref().map(|it| it.expose_secret().to_owned());
    is_read
        && row.business_name.as_deref() == Some(business_name)
        && row.phone_number == stored.phone_number
        && row.wasender_id == stored.wasender_id
        && clear(&row.secret) == clear(&stored.secret)
        && clear(&row.api_key) == clear(&stored.api_key)
}

fn tell(options: &Export, told: &Told) -> ExitCode {
    let Told { n_rows, n_further, n_bare, unreadable, left_out } = told;
    let file = options.file.display();
    let mut text = format!("{n_rows} numbers are in {file}");
    text += if options.with_secrets {
        ", with their secrets in clear: keep it as you keep keys\n"
    } else {
        ", without secrets: `waba-migrate batch` refuses its rows until they are filled in\n"
    };
    let mut also = |n: usize, what: &str| {
        if n > 0 {
            text += &[&n.to_string(), what, "\n"].concat();
        }
    };
    also(*n_bare, " vendors have no number and are not in it");
    also(
        *n_further,
        " are further numbers of their vendor: `batch` knows them again, and makes none",
    );
    text += "responders, hours, pauses, status and the like are not in it: `waba-gateway vendor export` has all\n";
    // Nobody listens: there is no better place to say so.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if !left_out.is_empty() {
        complain(&format!(
            "what is stored of these vendors cannot be opened or read, and they are not in it: {}",
            left_out.join(", ")
        ));
    }
    if unreadable.is_empty() {
        return if left_out.is_empty() { ExitCode::SUCCESS } else { EXIT_BAD_ROWS.into() };
    }
    complain(&format!(
        "{WASENDER_ID} or {WEBHOOK_SECRET} is missing, or something that a CSV file cannot carry is \
         there; `waba-migrate batch` does not read these again as they are: {}",
        unreadable.join(", ")
    ));
    EXIT_BAD_ROWS.into()
}
