//! The whole way of a message, shown on one machine: three vendors, a simulated Wasender, signed
//! webhooks in both dialects.

mod show;

use std::{collections::HashMap, process::ExitCode};

use anyhow::Context;
use secrecy::ExposeSecret;
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use self::show::Show;
use crate::{
    app::{App, Listeners, loopback},
    config::Config,
    domain::{
        clock::Clock,
        id::VendorId,
        phone::PhoneNumber,
        vendor::{ResponderConfig, Rule},
        waba::SignatureSchemes,
    },
    gateway::{AccountsChange, Gateway, NewInstance, SetUp, VendorChange},
    lang::{Language, Words},
    telemetry,
    twin::{NewSession, Twin},
};

/// The vendors; the file is also what `waba-migrate` is tried with.
const VENDORS: &str = include_str!("../examples/vendors.csv");

/// A vendor of the demo.
struct DemoVendor {
    id: VendorId,
    name: String,
    phone: String,
    session: u64,
    secret: String,
}

/// Shows it, and then serves until Ctrl-C, or ends (`once`).
///
/// # Errors
///
/// What kept it from starting. What did not arrive is told by the exit code, 1.
pub async fn run(once: bool, language: Language) -> anyhow::Result<ExitCode> {
    let metrics = telemetry::start_metrics()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let twin = Twin::start().await.context("start the simulated Wasender")?;
    let listeners = Listeners { main: loopback().await?, metrics: None };
    let base = format!("http://{}", listeners.main.local_addr()?);
    let variables = HashMap::from([
        ("DATA_DIR", directory.path().join("data").display().to_string()),
        ("APP_BASE_URL", base.clone()),
        ("WASENDER_API_URL", twin.api_url()),
        ("WASENDER_API_KEY", twin.pat().to_owned()),
        ("MIN_FREE_DISK", "0".to_owned()),
    ]);
    let config = Config::from_lookup(|name| variables.get(name).cloned())?;
    let app = App::start(&config, Clock::System, listeners, metrics, &Handle::current()).await?;
    let words = Words::new(
        format!("waba-gateway demo: gateway on {base}, simulated Wasender on {}", twin.api_url()),
        format!(
            "Démonstration de waba-gateway : passerelle sur {base}, Wasender simulé sur {}",
            twin.api_url()
        ),
    );
    println!("{}\n", words.of(language));
    let vendors = vendors(&app.gateway, &twin).await?;
    let mut show = Show::new(&twin, language);
    let n_missing = show.run(&vendors).await;
    let end = if n_missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if !once {
        let key = app.new_admin_key.as_ref().map(|it| it.expose_secret().to_owned());
        show::invite(&base, &key.unwrap_or_default(), &vendors[0], language);
        tokio::select! {
            () = show.watch(&vendors) => {}
            _ = tokio::signal::ctrl_c() => println!(),
            _ = terminate.recv() => println!(),
        }
    }
    app.stop().await;
    twin.stop().await;
    Ok(end)
}

/// Makes the vendors of the file, as an admin would: vendor, instance, set-up at Wasender.
async fn vendors(gateway: &Gateway, twin: &Twin) -> anyhow::Result<Vec<DemoVendor>> {
    let mut vendors = Vec::new();
    for row in csv::Reader::from_reader(VENDORS.as_bytes()).records() {
        let row = row.context("examples/vendors.csv")?;
        let cell = |at: usize| row.get(at).unwrap_or_default().to_owned();
        let phone = PhoneNumber::from_person(&cell(2), None)?;
        let session = twin.add_session(NewSession {
            id: cell(3).parse().ok(),
            webhook_secret: Some(cell(4)),
            api_key: Some(cell(5)),
            ..NewSession::new(&phone.expose())
        });
        let vendor = DemoVendor {
            id: VendorId::parse(&cell(0))?,
            name: cell(1),
            phone: phone.expose(),
            session: session.id,
            secret: cell(4),
        };
        gateway.put_vendor(&vendor.id, change(&vendor.name)).await?;
        let instance = NewInstance {
            phone_number: phone,
            wasender_instance_id: Some(cell(3)),
            session_key: None,
            webhook_secret: Some(cell(4).into()),
            token: None,
            account_protection: false,
            schemes: SignatureSchemes::default(),
            accounts: AccountsChange::default(),
        };
        gateway.create_instance(&vendor.id, instance).await?;
        // Wasender tells the session's key; nothing is sent without it.
        gateway.set_up_webhook(&vendor.id, SetUp::default()).await?;
        println!("  {:<12} {:<30} {}", vendor.id.as_str(), vendor.name, vendor.phone);
        vendors.push(vendor);
    }
    println!();
    Ok(vendors)
}

fn change(name: &str) -> VendorChange {
    let rule = |contains: &str, reply: String| Rule { contains: contains.to_owned(), reply };
    let rules = vec![
        rule("horaires", format!("{name} : ouvert du lundi au samedi, de 8 h à 19 h.")),
        rule("prix", format!("{name} : nos prix sont affichés en boutique, dites-nous l'article.")),
    ];
    let otherwise = Some(format!("{name} : merci, nous vous répondons très vite."));
    VendorChange {
        business_name: Some(name.to_owned()),
        responders: Some(vec![ResponderConfig::Rules { rules, otherwise }]),
        ..VendorChange::default()
    }
}
