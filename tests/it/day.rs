//! A day in the life: 200 messages of customers in one hour of simulated time, in which nearly
//! everything that can happen does, and whose whole outcome is checked.

mod bot;
mod check;
mod model;
mod play;
mod script;
mod shops;

use self::check::{people, told};

#[tokio::test]
async fn a_day_of_200_messages_ends_as_it_must() {
    let day = script::day();
    let outcome = model::outcome(&day);
    let world = play::live(&day).await;
    let mut faults = check::Faults::default();
    let shown = check::shown(&world).await;
    check::sends(&mut faults, &world, &outcome);
    check::records(&mut faults, &world, &day, &outcome, &shown);
    check::bot(&mut faults, &world, &day, &outcome).await;
    check::files(&mut faults, &world, &day).await;
    check::marks(&mut faults, &world, &shown);
    told::attention(&mut faults, &world, &day, &outcome).await;
    told::forwards(&mut faults, &world, &day, &shown).await;
    told::counts(&mut faults, &world, &outcome).await;
    told::metrics(&mut faults, &world, &day).await;
    told::watch(&mut faults, &world).await;
    people::listed(&mut faults, &world, &day).await;
    people::exported(&mut faults, &world, &day, &shown).await;
    people::erased(&mut faults, &world, &day).await;
    faults.none();
    world.app.settled().await;
}
