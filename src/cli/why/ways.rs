//! A number's ways out, in words: which there are, and which of them are down.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    cli::serving::Server,
    domain::{
        id::{InstanceId, VendorId},
        waba::WabaInstance,
    },
    gateway::Gateway,
    journal::{Journey, MessageRow},
    lang::Words,
};

/// One way out, as the server tells it: neither its number nor what else the provider says.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Way {
    provider: String,
    can_send: bool,
    /// What the provider says now.
    live: Option<String>,
    /// Only the server knows it.
    circuit: Option<String>,
    shut_since: Option<String>,
    shut_until: Option<String>,
    shut_why: Option<String>,
}

/// Whether the ways out say something of it: it is to be sent, and is not known to be.
pub(super) fn concern(journey: &Journey) -> bool {
    let MessageRow { is_inbound, by_human, status, .. } = &journey.row;
    let open = ["queued", "sending", "unknown_yet", "parked", "dead", "failed"];
    !is_inbound && !by_human && open.contains(&status.as_str())
}

/// The ways out of a number, in the order in which they are tried.
pub(super) async fn of(
    gateway: &Gateway,
    server: Option<&Server>,
    vendor: &VendorId,
    id: &InstanceId,
) -> anyhow::Result<Vec<Way>> {
    let path = format!("vendors/{vendor}/status?wabaId={id}");
    if let Some(server) = server
        && let Ok(mut told) = server.get(&path).await
        && let Ok(ways) = serde_json::from_value(told["numbers"][0]["providers"].take())
    {
        return Ok(ways);
    }
    let instances = gateway.store().instances(vendor).await?;
    let found = instances.iter().find(|it| it.id == *id);
    Ok(found.map(stored).unwrap_or_default())
}

fn stored(instance: &WabaInstance) -> Vec<Way> {
    let kinds = instance.routes().iter();
    kinds
        .map(|it| Way {
            provider: it.to_string(),
            can_send: instance.can_send(it),
            ..Way::default()
        })
        .collect()
}

impl Way {
    /// A sentence about the way with this place, of so many.
    pub(super) fn words(&self, at: usize, n_ways: usize) -> Words {
        let (n, provider) = (at + 1, &self.provider);
        let (en, fr) = self.state(n_ways == 1);
        Words::new(
            format!("Way out {n}, {provider}: {en}."),
            format!("Voie {n}, {provider} : {fr}."),
        )
    }

    fn state(&self, is_alone: bool) -> (String, String) {
        if !self.can_send {
            return (
                "it lacks what it takes to send".to_owned(),
                "il lui manque de quoi envoyer".to_owned(),
            );
        }
        let why = self.shut_why.as_deref().unwrap_or("unknown");
        match (self.circuit.as_deref(), &self.shut_since, &self.shut_until) {
            (Some("open" | "half_open"), Some(since), _) if is_alone => (
                format!("down since {since} ({why}), and tried all the same: there is no other"),
                format!(
                    "coupée depuis {since} ({why}), et essayée quand même : il n'y en a pas d'autre"
                ),
            ),
            (Some("open"), Some(since), Some(until)) => (
                format!("passed over since {since} ({why}), and not tried before {until}"),
                format!("évitée depuis {since} ({why}), et pas d'essai avant {until}"),
            ),
            (Some("half_open"), Some(since), _) => (
                format!("passed over since {since} ({why}); the next message tries it"),
                format!("évitée depuis {since} ({why}) ; le prochain message l'essaiera"),
            ),
            (Some(_), ..) => match self.live.as_deref() {
                Some(live) => (
                    format!("messages pass; the provider says that it is {live}"),
                    format!("les messages passent ; le fournisseur dit : {live}"),
                ),
                None => (
                    "messages pass; the provider did not say how it is".to_owned(),
                    "les messages passent ; le fournisseur ne dit rien de son état".to_owned(),
                ),
            },
            (None, ..) => (
                "the server knows whether it is down, and does not tell".to_owned(),
                "le serveur sait si elle est coupée, et ne le dit pas".to_owned(),
            ),
        }
    }
}

/// For scripts.
pub(super) fn document(ways: &[Way]) -> Value {
    serde_json::to_value(ways).unwrap_or_default()
}
