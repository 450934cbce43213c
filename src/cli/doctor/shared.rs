//! What gateways share: a Redis, and the documents that an application is told by.

use super::{Finding, Report};
use crate::{
    cache::redis::Trouble,
    cli::ago::span,
    config::Config,
    domain::{alert::RECORDS_LATE_AFTER, clock::Millis},
    gateway::Gateway,
    lang::Language::{En, Fr},
};

/// What was found of Redis; each with where it is.
#[derive(Debug)]
pub(super) enum Shared {
    Away(String),
    RefusesWrites(String),
    Fine(String),
}

impl Shared {
    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "redis";
        match self {
            Self::Away(at) => Finding::warning(
                CHECK,
                format!("Redis on {at} cannot be reached from here, or does not answer in time"),
                format!("Redis sur {at} est injoignable d'ici, ou ne répond pas à temps"),
            )
            .then(
                "start it, or correct REDIS_URL and its password; until then vendors are read from the store, and other gateways notice changes later",
                "démarrez-le, ou corrigez REDIS_URL et son mot de passe ; en attendant les vendeurs sont lus dans la base, et les autres passerelles voient les changements plus tard",
            ),
            Self::RefusesWrites(at) => Finding::warning(
                CHECK,
                format!("Redis on {at} refuses writes: it is full, or a replica"),
                format!("Redis sur {at} refuse les écritures : il est plein, ou c'est une réplique"),
            )
            .then(
                "give it room or a policy that evicts (maxmemory-policy allkeys-lru), or name the primary in REDIS_URL",
                "donnez-lui de la place ou une règle d'éviction (maxmemory-policy allkeys-lru), ou nommez le primaire dans REDIS_URL",
            ),
            Self::Fine(at) => Finding::ok(
                CHECK,
                format!("Redis on {at} answers and takes writes"),
                format!("Redis sur {at} répond et accepte les écritures"),
            ),
        }
    }
}

/// What was found of documents of messages.
#[derive(Debug)]
pub(super) enum Documents {
    Late { n: i64, by: Millis },
    Fine,
}

impl Documents {
    pub(super) fn finding(&self) -> Finding {
        const CHECK: &str = "documents";
        match self {
            Self::Late { n, by } => {
                let by = span(*by);
                Finding::warning(
                    CHECK,
                    format!("documents of messages wait for Firestore: {n}, the first for {}", by.of(En)),
                    format!("des documents de messages attendent Firestore : {n}, le premier depuis {}", by.of(Fr)),
                )
                .then(
                    "see that the server runs and what its log says of documents; the service account needs the role Cloud Datastore User",
                    "vérifiez que le serveur tourne et ce que son journal dit des documents ; le compte de service doit avoir le rôle Cloud Datastore User",
                )
            }
            Self::Fine => Finding::ok(
                CHECK,
                "documents of messages are written to Firestore in time",
                "les documents de messages sont écrits à temps dans Firestore",
            ),
        }
    }
}

async fn look_at_documents(gateway: &Gateway, report: &mut Report) -> anyhow::Result<()> {
    let load = gateway.journal().outbox_load().await?;
    let (n, by) = (load.n_waiting, load.late_by(gateway.clock().now()));
    let found = if by >= RECORDS_LATE_AFTER { Documents::Late { n, by } } else { Documents::Fine };
    report.add(found.finding());
    Ok(())
}

pub(super) async fn look(
    config: &Config,
    gateway: &Gateway,
    report: &mut Report,
) -> anyhow::Result<()> {
    if config.firestore.is_some() {
        look_at_documents(gateway, report).await?;
    }
    look_at_redis(config, gateway, report).await;
    Ok(())
}

async fn look_at_redis(config: &Config, gateway: &Gateway, report: &mut Report) {
    let Some(url) = &config.redis else { return };
    let (manager, at) = (gateway.manager(), url.shown().to_owned());
    manager.look_at_redis().await;
    if manager.trouble().is_none() {
        manager.try_redis().await;
    }
    let found = match manager.trouble() {
        Some(Trouble::Away) => Shared::Away(at),
        Some(Trouble::RefusesWrites) => Shared::RefusesWrites(at),
        None => Shared::Fine(at),
    };
    report.add(found.finding());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check_languages;

    #[test]
    fn every_sentence_about_redis_is_in_both_languages() {
        let at = || "redis://localhost".to_owned();
        let all = [Shared::Away(at()), Shared::RefusesWrites(at()), Shared::Fine(at())];
        all.iter().for_each(|it| check_languages(&it.finding()));
    }

    #[test]
    fn every_sentence_about_documents_is_in_both_languages() {
        let all = [Documents::Late { n: 3, by: 40 * 60 * 1_000 }, Documents::Fine];
        all.iter().for_each(|it| check_languages(&it.finding()));
    }
}
