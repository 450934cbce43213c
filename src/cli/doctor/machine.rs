//! Configuration, data directory, disk, database, keys.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Finding, Report};
use crate::{
    app::{Data, database_of, store_is_away},
    cli::ago::span,
    config::Config,
    domain::clock::{MINUTE, Millis},
    gateway::{Gateway, free_disk_bytes},
    lang::Language::{En, Fr},
    sqlite,
};

/// An entry later than now by this much: the clock was set back.
const AHEAD_MAX: Millis = MINUTE;

/// What was found of the configuration.
#[derive(Debug)]
pub(super) enum Settings {
    Config(String),
    ConfigFine,
}

/// What was found of the data directory.
#[derive(Debug)]
pub(super) enum Directory {
    NoData(PathBuf),
    OpenToOthers(PathBuf),
    NotWritable(PathBuf),
    Fine(PathBuf),
    DiskLow { free: u64, min: u64 },
    DiskTight { free: u64, min: u64 },
    DiskFine { free: u64 },
}

/// What was found of the data.
#[derive(Debug)]
pub(super) enum Database {
    Older { found: usize, known: usize },
    Newer { found: usize, known: usize },
    Unopened(String),
    StoreAway(String),
    Opens { version: usize },
    SetBack { by: Millis },
    Jumped { by: Millis, held_for: Millis },
    NoAdminKey,
    AdminKeys { n: usize },
}

impl Settings {
    pub(super) fn finding(&self) -> Finding {
        match self {
            Self::Config(fault) => Finding::fault("configuration", fault, in_french(fault)).then(
                "correct it in the environment, .env or gateway.toml; .env.example explains every variable",
                "corrigez-le dans l'environnement, .env ou gateway.toml ; .env.example explique chaque variable",
            ),
            Self::ConfigFine => Finding::ok("configuration", "the configuration has no fault", "la configuration est sans défaut"),
        }
    }
}

impl Directory {
    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "dataDirectory";
        let mib = |it: &u64| it / (1024 * 1024);
        match self {
            Self::NoData(path) => Finding::warning(
                CHECK,
                format!("there is no data in {} yet", path.display()),
                format!("il n'y a pas encore de données dans {}", path.display()),
            )
            .command("waba-gateway serve".to_owned()),
            Self::OpenToOthers(path) => Finding::fault(
                CHECK,
                format!("{} can be entered by other users of this machine", path.display()),
                format!("{} est accessible à d'autres utilisateurs de cette machine", path.display()),
            )
            .command(format!("chmod 700 {}", path.display())),
            Self::NotWritable(path) => Finding::fault(
                CHECK,
                format!("{} cannot be written by this user", path.display()),
                format!("{} n'est pas accessible en écriture à cet utilisateur", path.display()),
            )
            .then(
                "run this as the user that runs the server, or give the directory to it (chown)",
                "lancez cette commande sous l'utilisateur du serveur, ou donnez-lui le répertoire (chown)",
            ),
            Self::DiskLow { free, min } => Finding::fault(
                "disk",
                format!("{} MiB are free and {} are needed: webhooks are answered 503", mib(free), mib(min)),
                format!("{} Mio libres, il en faut {} : les webhooks reçoivent 503", mib(free), mib(min)),
            )
            .then("make room on this disk", "libérez de la place sur ce disque"),
            Self::DiskTight { free, min } => Finding::warning(
                "disk",
                format!("{} MiB are free; below {} webhooks are answered 503", mib(free), mib(min)),
                format!("{} Mio libres ; sous {} les webhooks recevront 503", mib(free), mib(min)),
            )
            .then("make room on this disk", "libérez de la place sur ce disque"),
            Self::DiskFine { free } => Finding::ok("disk", format!("{} MiB are free", mib(free)), format!("{} Mio libres", mib(free))),
            Self::Fine(path) => Finding::ok(
                CHECK,
                format!("{} is its owner's alone and can be written", path.display()),
                format!("{} est réservé à son propriétaire et accessible en écriture", path.display()),
            ),
        }
    }
}

impl Database {
    pub(super) fn finding(&self) -> Finding {
        match self {
            Self::Older { found, known } => Finding::warning(
                "database",
                format!("the database is of version {found}, this program's of {known}; vendors were not looked at"),
                format!("la base est en version {found}, celle de ce programme en {known} ; les vendeurs n'ont pas été examinés"),
            )
            .then(
                "stop the old server and start this one, which brings it up to date",
                "arrêtez l'ancien serveur et lancez celui-ci, qui la mettra à jour",
            ),
            Self::Newer { found, known } => Finding::fault(
                "database",
                format!("the database is of version {found}, and this program knows {known}"),
                format!("la base est en version {found}, et ce programme connaît la {known}"),
            )
            .then("use the newer program", "utilisez le programme plus récent"),
            Self::Unopened(why) => Finding::fault(
                "database",
                format!("the data cannot be opened: {why}"),
                format!("les données ne s'ouvrent pas : {why}"),
            )
            .then(
                "put back the encryption key the data was made with (ENCRYPTION_KEY, or encryption.key in the data directory)",
                "remettez la clé de chiffrement d'origine (ENCRYPTION_KEY, ou encryption.key dans le répertoire des données)",
            ),
            Self::StoreAway(why) => store_away(why),
            Self::SetBack { by } => {
                let by = span(*by);
                Finding::fault(
                    "clock",
                    format!("the newest entry is {} ahead of this machine's clock: it was set back", by.of(En)),
                    format!("l'entrée la plus récente est en avance de {} sur l'horloge de cette machine : elle a reculé", by.of(Fr)),
                )
                .then("let a time service set the clock (timedatectl set-ntp true)", "laissez un service de temps régler l'horloge (timedatectl set-ntp true)")
            }
            Self::Jumped { by, held_for } => {
                let (by, left) = (span(by.abs()), span(*held_for));
                Finding::warning(
                    "clock",
                    format!("the clock has jumped by {}, or the server was away for so long: nothing old is removed for another {} of running", by.of(En), left.of(En)),
                    format!("l'horloge a sauté de {}, ou le serveur est resté arrêté aussi longtemps : rien d'ancien n'est supprimé pendant encore {} de marche", by.of(Fr), left.of(Fr)),
                )
                .then("see that the clock is right (timedatectl)", "vérifiez que l'horloge est juste (timedatectl)")
            }
            Self::NoAdminKey => Finding::warning(
                "adminKeys",
                "there is no admin key: nobody can use the administration",
                "il n'y a pas de clé d'administration : personne ne peut administrer",
            )
            .command("waba-gateway key create --name admin".to_owned()),
            Self::AdminKeys { n } => Finding::ok("adminKeys", format!("admin keys: {n}"), format!("clés d'administration : {n}")),
            Self::Opens { version } => Finding::ok(
                "database",
                format!("the database opens with this key (version {version})"),
                format!("la base s'ouvre avec cette clé (version {version})"),
            ),
        }
    }
}

fn store_away(why: &str) -> Finding {
    Finding::fault(
        "store",
        format!("Firestore cannot be used; vendors were not looked at: {why}"),
        format!("Firestore est inutilisable ; les vendeurs n'ont pas été examinés : {why}"),
    )
    .then(
        "check FIREBASE_PROJECT_ID, the service account and its role (Cloud Datastore User), and the network",
        "vérifiez FIREBASE_PROJECT_ID, le compte de service et son rôle (Utilisateur Cloud Datastore), et le réseau",
    )
}

/// The directory and its disk.
pub(super) fn look_at_files(config: &Config, report: &mut Report) {
    let path = &config.data_dir;
    match std::fs::metadata(path) {
        Err(_) => report.add(Directory::NoData(path.clone()).finding()),
        Ok(found) => {
            let is_open = found.mode() & 0o077 != 0;
            let may_write = rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
            report.add(
                match (is_open, may_write) {
                    (true, _) => Directory::OpenToOthers(path.clone()),
                    (_, false) => Directory::NotWritable(path.clone()),
                    _ => Directory::Fine(path.clone()),
                }
                .finding(),
            );
            look_at_disk(path, config.min_free_disk_bytes, report);
        }
    }
}

fn look_at_disk(path: &Path, min: u64, report: &mut Report) {
    let Some(free) = free_disk_bytes(path) else { return };
    let found = if free < min {
        Directory::DiskLow { free, min }
    } else if free / 2 < min {
        Directory::DiskTight { free, min }
    } else {
        Directory::DiskFine { free }
    };
    report.add(found.finding());
}

/// The data, where they open and are of this version.
pub(super) async fn open(config: &Config, report: &mut Report) -> Option<Data> {
    let path = database_of(config);
    if !path.exists() {
        if config.data_dir.exists() {
            report.add(Directory::NoData(config.data_dir.clone()).finding());
        }
        return None;
    }
    let version = match sqlite::versions(&path) {
        Ok((found, known)) if found == known => found,
        Ok((found, known)) if found < known => {
            report.add(Database::Older { found, known }.finding());
            return None;
        }
        Ok((found, known)) => {
            report.add(Database::Newer { found, known }.finding());
            return None;
        }
        Err(error) => {
            report.add(Database::Unopened(error.to_string()).finding());
            return None;
        }
    };
    match Data::open_to_read(config).await {
        Ok(data) => {
            report.add(Database::Opens { version }.finding());
            data
        }
        Err(error) => {
            let why = format!("{error:#}");
            let is_away = store_is_away(&error);
            let found = if is_away { Database::StoreAway(why) } else { Database::Unopened(why) };
            report.add(found.finding());
            None
        }
    }
}

/// What is in the data.
pub(super) async fn look_at_data(gateway: &Gateway, report: &mut Report) -> anyhow::Result<()> {
    let now = gateway.clock().now();
    if let Some(newest) = gateway.journal().newest().await?
        && newest - now > AHEAD_MAX
    {
        report.add(Database::SetBack { by: newest - now }.finding());
    }
    let mark = gateway.clock_mark().await?.unwrap_or_default();
    if mark.held_for > 0 {
        report.add(Database::Jumped { by: mark.jump, held_for: mark.held_for }.finding());
    }
    let keys = gateway.store().keys().await?;
    let n = keys.iter().filter(|it| it.vendor.is_none()).count();
    let found = if n == 0 { Database::NoAdminKey } else { Database::AdminKeys { n } };
    report.add(found.finding());
    Ok(())
}

/// A fault of the configuration in French. Names and values stay as they are.
fn in_french(fault: &str) -> String {
    const PHRASES: [(&str, &str); 19] = [
        (" is not between ", " n'est pas compris entre "),
        (" and ", " et "),
        (" is malformed", " est mal formé"),
        (": this version knows ", " : cette version connaît seulement "),
        (" only", ""),
        (" is not an http or https URL", " n'est pas une URL http ou https"),
        (
            " is not an address of the Wasender API; use ",
            " n'est pas une adresse de l'API de Wasender ; utilisez ",
        ),
        (" has fewer than ", " a moins de "),
        (" characters", " caractères"),
        (
            " has a key that is not 32 bytes in base64",
            " contient une clé qui n'est pas de 32 octets en base64",
        ),
        (" is not 32 bytes in base64", " n'est pas une clé de 32 octets en base64"),
        (" has a malformed network", " contient un réseau mal formé"),
        (" cannot be read", " ne peut pas être lu"),
        (" is not TOML", " n'est pas du TOML"),
        (" is not a plain value", " n'est pas une valeur simple"),
        (" is sqlite or firestore", " vaut sqlite ou firestore"),
        (" is needed for ", " est nécessaire pour "),
        (" are needed together", " vont ensemble"),
        (" is not a host and port", " n'est pas un hôte et un port"),
    ];
    PHRASES.iter().fold(fault.to_owned(), |text, (en, fr)| text.replace(en, fr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check_languages;

    #[test]
    fn every_sentence_about_the_machine_is_in_both_languages() {
        let path = || PathBuf::from("/var/lib/waba");
        let settings = [Settings::ConfigFine.finding()];
        let directory = [
            Directory::NoData(path()),
            Directory::OpenToOthers(path()),
            Directory::NotWritable(path()),
            Directory::Fine(path()),
            Directory::DiskLow { free: 1, min: 2 },
            Directory::DiskTight { free: 3, min: 2 },
            Directory::DiskFine { free: 9 },
        ]
        .map(|it| it.finding());
        let database = [
            Database::Older { found: 1, known: 2 },
            Database::Newer { found: 3, known: 2 },
            Database::Unopened("x".to_owned()),
            Database::StoreAway("x".to_owned()),
            Database::Opens { version: 2 },
            Database::SetBack { by: 3 * MINUTE },
            Database::Jumped { by: -40 * MINUTE, held_for: 90 * MINUTE },
            Database::NoAdminKey,
            Database::AdminKeys { n: 2 },
        ]
        .map(|it| it.finding());
        settings.iter().chain(&directory).chain(&database).for_each(check_languages);
    }

    #[test]
    fn every_fault_of_the_configuration_is_in_both_languages() {
        let bad = Config::from_lookup(|name| match name {
            "ADMIN_API_KEY"
            | "APP_BASE_URL"
            | "BODY_BYTES_MAX"
            | "ENCRYPTION_KEY"
            | "ENCRYPTION_KEYS_OLD"
            | "LISTEN_ADDR"
            | "METRICS_ADDR"
            | "JOURNAL"
            | "FIREBASE_CLIENT_EMAIL"
            | "FIRESTORE_EMULATOR_HOST" => Some("x".to_owned()),
            "STORE" => Some("firestore".to_owned()),
            "ALLOW_TARGETS" => Some("10.0.0.0/99".to_owned()),
            "RETENTION_DAYS" => Some("8".to_owned()),
            "WASENDER_API_URL" => Some("https://api.wasenderapi.com/api/v1".to_owned()),
            _ => None,
        });
        let faults = bad.unwrap_err().0;
        assert!(faults.len() >= 10, "{faults:?}");
        for fault in faults {
            check_languages(&Settings::Config(fault).finding());
        }
    }
}
