//! One table of cases for every store: both mean the same.

mod accounts;
mod cases;
mod many;
mod numbers;
mod planned;

use std::sync::Arc;

use waba_gateway::{
    app,
    config::Config,
    journal::SqliteJournal,
    store::{FirestoreStore, SharedStore, SqliteStore},
};

use crate::support::Emulator;

/// A store, and what it stands on.
pub struct Place {
    pub store: SharedStore,
    emulator: Option<Emulator>,
    _directory: tempfile::TempDir,
}

impl Place {
    async fn sqlite() -> Self {
        Self::with(None).await
    }

    async fn firestore() -> Self {
        Self::with(Some(Emulator::start())).await
    }

    async fn with(emulator: Option<Emulator>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut variables = emulator.as_ref().map(Emulator::variables).unwrap_or_default();
        variables.push(("DATA_DIR", directory.path().join("data").display().to_string()));
        let get = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.clone());
        let config = Config::from_lookup(get).unwrap();
        let vault = Arc::new(app::vault(&config).unwrap());
        let path = app::database_of(&config);
        let journal = SqliteJournal::open(&path, Arc::clone(&vault)).unwrap();
        let local = SqliteStore::new(journal.db().clone(), Arc::clone(&vault));
        let store: SharedStore = match &config.firestore {
            Some(it) => Arc::new(FirestoreStore::start(it, vault, local).await.unwrap()),
            None => Arc::new(local),
        };
        Self { store, emulator, _directory: directory }
    }
}

macro_rules! cases {
    ($($case:ident,)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                let place = super::Place::sqlite().await;
                super::cases::$case(&place.store).await;
            })*
        }
        mod firestore {
            $(#[tokio::test]
            async fn $case() {
                let place = super::Place::firestore().await;
                super::cases::$case(&place.store).await;
                drop(place.emulator);
            })*
        }
    };
}

cases! {
    a_vendor_comes_back_as_it_was_kept,
    an_instance_comes_back_as_it_was_kept,
    what_is_taken_away_stays_away,
    vendors_come_in_the_order_of_their_ids_page_by_page,
    a_number_that_another_vendor_has_is_refused,
    an_account_that_another_vendor_has_is_refused,
    of_many_who_take_one_number_at_once_one_gets_it,
    of_many_who_take_one_account_at_once_one_gets_it,
    numbers_are_swapped_in_one_step,
    both_forms_of_a_number_are_one,
    a_number_at_another_provider_is_found_until_it_is_given_up,
    a_status_is_news_once_and_touches_nothing_else,
    pauses_are_kept_apart_from_vendors,
    an_import_keeps_pauses_too,
    a_key_is_found_by_its_hash_until_it_is_deleted,
    the_id_of_a_deleted_instance_is_remembered,
    vendors_and_instances_are_counted,
    an_instance_of_another_vendor_is_not_overwritten,
    of_two_who_make_an_instance_of_one_id_one_does,
    two_instances_of_a_vendor_have_no_number_or_session_in_common,
    an_instance_that_somebody_else_has_changed_is_left_as_it_is,
    a_vendor_that_somebody_else_has_changed_is_left_as_it_is,
    an_import_of_vendors_that_somebody_else_has_changed_keeps_none_of_them,
    changes_on_record_come_newest_first_page_by_page,
    many_are_looked_at_as_each_by_itself,
    who_has_what_is_the_same_for_many_keys_as_for_each,
    ids_of_former_instances_are_kept_once,
}
