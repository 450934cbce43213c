//! One vendor at 50 times its rate, and one whose responder and provider hang: what it costs the
//! others.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::ensure;

use crate::{
    harness::{
        figures::{Table, Times, verdict},
        gateway::{Data, Replies},
        hook::{Hooks, Shape},
        open::{Exchange, Load, open_loop},
        provider::{Behaviour, Event, Provider},
    },
    intake::settle,
    matching::Arrivals,
};

/// Vendors who do what they always do.
const QUIET: usize = 100;
const LOUD: usize = QUIET;
const HANGING: usize = QUIET + 1;
/// Webhooks a second: two of each quiet vendor.
const RATE: usize = 2 * QUIET;
const LOUD_RATE: usize = 2 * 50;
const HANGING_RATE: usize = 20;
const CONNECTIONS: usize = 32;
/// After a start an instance earns the right to send one message each 268 ms.
const WARM_UP: Duration = Duration::from_secs(4);
/// What may change, whichever is larger.
const MS_MAX: f64 = 3.0;
const SHARE_MAX: f64 = 0.05;

struct Run {
    answers: Times,
    replies: Times,
}

pub fn run(directory: &Path, runs: usize, seconds: u64) -> anyhow::Result<()> {
    println!(
        "fairness: {QUIET} vendors at 2/s each, alone and beside one at {LOUD_RATE}/s and one at {HANGING_RATE}/s whose responder and provider hang; {seconds} s a run after {} s of warm-up",
        WARM_UP.as_secs()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        ("200 p50", 2),
        ("p99 ms", 2),
        ("beside p50", 2),
        ("p99 ms", 2),
        ("moved", 2),
        ("reply p50", 2),
        ("p99 ms", 2),
        ("beside p50", 2),
        ("p99 ms", 2),
        ("moved", 2),
    ]);
    for n in 0..runs {
        let place = directory.join(format!("fairness-{n}"));
        let one =
            |is_loud| -> anyhow::Result<Run> { runtime.block_on(one(&place, seconds, is_loud)) };
        // In turns, so that neither always has the warmer machine.
        let (alone, beside) = if n % 2 == 0 {
            let alone = one(false)?;
            (alone, one(true)?)
        } else {
            let beside = one(true)?;
            (one(false)?, beside)
        };
        let mut row = Vec::new();
        for of in [
            |it: &Run| [it.answers.ms(500), it.answers.ms(990)],
            |it: &Run| [it.replies.ms(500), it.replies.ms(990)],
        ] {
            let (alone, beside) = (of(&alone), of(&beside));
            row.extend(alone);
            row.extend(beside);
            row.push(beside[1] - alone[1]);
        }
        table.add(row);
    }
    let medians = table.medians();
    for (what, at) in [("a 200", 0), ("a reply", 5)] {
        let may = MS_MAX.max(SHARE_MAX * medians[at + 1]);
        verdict(&format!("p99 of {what} moves by at most {may:.1} ms"), medians[at + 4] <= may);
    }
    Ok(())
}

async fn one(place: &Path, seconds: u64, is_loud: bool) -> anyhow::Result<Run> {
    let arrivals = Arrivals::default();
    let told = arrivals.clone();
    let on_event = move |event, target| {
        if event == Event::Taken {
            told.add(target);
        }
    };
    let behaviour =
        Behaviour { reports: None, hangs_for: Some(HANGING), on_event: Box::new(on_event) };
    let provider = Provider::start(behaviour)?;
    let bot = provider.bot_url();
    let data = Data::make(place, QUIET + 2, |it| match it {
        HANGING => Replies::Service(bot.clone()),
        _ => Replies::Rules,
    })
    .await?;
    let gateway = data.start(&provider.api_url())?;
    let all = WARM_UP + Duration::from_secs(seconds);
    let load = |first_vendor, n_vendors, rate: usize| -> anyhow::Result<Load> {
        let n_hooks = rate * usize::try_from(all.as_secs())?;
        // Enough customers that nobody asks so often that it looks like two bots talking.
        let customers_per_vendor = if n_vendors == 1 { 400 } else { 10 };
        let shape = Shape {
            first_vendor,
            n_vendors,
            customers_per_vendor,
            n_signed: n_hooks,
            ..Shape::default()
        };
        let hooks = Arc::new(Hooks::new(shape)?);
        Ok(Load { address: gateway.address, hooks, n_hooks, rate, n_connections: CONNECTIONS })
    };
    let quiet = load(0, QUIET, RATE)?;
    let hooks = Arc::clone(&quiet.hooks);
    let others = async {
        if is_loud {
            let (loud, hanging) = (load(LOUD, 1, LOUD_RATE)?, load(HANGING, 1, HANGING_RATE)?);
            tokio::try_join!(open_loop(loud), open_loop(hanging))?;
        }
        anyhow::Ok(())
    };
    let (sent, ()) = tokio::try_join!(open_loop(quiet), others)?;
    let replies = arrivals.settled(&hooks, &sent).await?;
    // Sends that hang would hold up an end in good order.
    gateway.process.kill();
    let ledger = data.ledger().await?;
    let rate = RATE + if is_loud { LOUD_RATE + HANGING_RATE } else { 0 };
    let n_hooks = rate * usize::try_from(all.as_secs())?;
    ensure!(usize::try_from(ledger.accepted) == Ok(n_hooks), "{n_hooks} sent, {ledger:?}");
    settle(place)?;
    let n_warm_up = RATE * usize::try_from(WARM_UP.as_secs())?;
    Ok(Run {
        answers: Exchange::times(&sent[n_warm_up..]),
        replies: Times::new(replies[n_warm_up..].to_vec()),
    })
}
