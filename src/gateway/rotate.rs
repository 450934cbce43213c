//! A webhook secret is renewed while webhooks that carry the old one still come in.

use super::{
    AdminError, Gateway,
    instances::{refuse_shared_secret, refuse_short_secret},
};
use crate::{
    domain::{
        clock::{HOUR, Millis},
        id::{InstanceId, VendorId},
        secret::{ExposeSecret, SecretString},
        waba::{OLD_SECRET_LASTS, WabaInstance},
    },
    provider::wasender::SessionFault,
};

/// The longest time that an old secret stays good.
pub const OVERLAP_MAX: Millis = 7 * 24 * HOUR;
/// Random bytes of a webhook secret.
const SECRET_BYTES: usize = 32;

/// How a webhook secret is renewed.
#[derive(Default)]
pub struct Rotation {
    /// The new one; made here where none is given.
    pub secret: Option<SecretString>,
    /// How long the old one stays good, in milliseconds; 24 hours where nothing is said.
    pub overlap: Option<Millis>,
}

/// A webhook secret was renewed.
pub struct Rotated {
    /// The new one.
    pub secret: SecretString,
    /// Until when the old one is good, in milliseconds since the Unix epoch.
    pub old_until: Millis,
    /// What there is to say.
    pub remarks: Vec<String>,
}

impl Gateway {
    /// Renews the secret that an instance's webhooks are proven by. The session's own secret at
    /// Wasender stays good: only its dashboard renews that one, and it is read again here.
    pub async fn rotate_secret(
        &self,
        vendor: &VendorId,
        id: &InstanceId,
        rotation: Rotation,
    ) -> Result<Rotated, AdminError> {
        let overlap = rotation.overlap.unwrap_or(OLD_SECRET_LASTS);
        if !(0..=OVERLAP_MAX).contains(&overlap) {
            let why = "overlapSeconds is from 0 to 604800 (7 days)";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        let secret = rotation.secret.unwrap_or_else(random_secret);
        refuse_short_secret(&secret)?;
        let _turn = self.turn_of(vendor).await;
        let present = self.instances(vendor).await?;
        let before = present.iter().find(|it| it.id == *id).ok_or(AdminError::NoInstance)?;
        refuse_shared_secret(&present, Some(id), &secret)?;
        let now = self.inner.clock.now();
        let old_until = now + overlap;
        let mut after = before.clone();
        after.wasender.adopt_secret(secret.clone(), old_until);
        let remarks = self.read_session_secret(&present, &mut after, old_until).await?;
        after.updated_at = now;
        self.keep(Some(before), &after).await?;
        Ok(Rotated { secret, old_until, remarks })
    }

    /// Takes over the session's secret, should it have been renewed at Wasender.
    async fn read_session_secret(
        &self,
        present: &[WabaInstance],
        instance: &mut WabaInstance,
        old_until: Millis,
    ) -> Result<Vec<String>, AdminError> {
        match self.inner.providers.wasender().session(instance).await {
            Ok(session) => {
                let Some(secret) = &session.webhook_secret else { return Ok(Vec::new()) };
                refuse_shared_secret(present, Some(&instance.id), secret)?;
                if instance.wasender.keep_session_secret(secret, old_until) {
                    return Ok(vec!["the session's own secret was read anew".to_owned()]);
                }
                Ok(vec![
                    "the session's own secret at Wasender stays good; it is renewed in the Wasender dashboard, and read by another call of this".to_owned(),
                ])
            }
            // Without a session there is nothing to read.
            Err(SessionFault::NoSessionId) => Ok(Vec::new()),
            Err(fault) => Ok(vec![format!("the session at Wasender was not read: {fault}")]),
        }
    }
}

fn random_secret() -> SecretString {
    let mut bytes = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    hex::encode(bytes).into()
}

impl Rotated {
    /// The new secret, to be shown this once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }
}
