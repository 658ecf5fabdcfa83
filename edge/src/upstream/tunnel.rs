//! Two connections that have left HTTP behind, joined end to end (RFC 9110 §7.8).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::wire::Traffic;

/// The way to an origin that has switched protocols, until it is joined with a client's.
pub struct Tunnel {
    pub(super) origin: OnUpgrade,
    pub(super) traffic: Arc<Traffic>,
    /// How long nothing may pass in either direction.
    pub(super) patience: Duration,
}

/// Whether an origin switched to protocols that it was offered (RFC 9110 §15.2.2).
pub(super) fn was_offered(chosen: Option<&HeaderValue>, offered: Option<&HeaderValue>) -> bool {
    let (Some(chosen), Some(offered)) = (chosen, offered) else {
        return false;
    };
    let members = |line: &HeaderValue| {
        let line = String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase();
        let members = line.split(',').map(|member| member.trim().to_owned());
        members.filter(|member| !member.is_empty()).collect()
    };
    let (chosen, offered): (Vec<String>, Vec<String>) = (members(chosen), members(offered));
    !chosen.is_empty() && chosen.iter().all(|protocol| offered.contains(protocol))
}

impl Tunnel {
    /// Carries bytes both ways until both sides have ended, one has failed, or both were silent
    /// for too long. What either side read beyond its last HTTP message goes first.
    ///
    /// Whoever calls this spawns it: a worker that has drained drops what it still carries.
    pub async fn join(self, client: OnUpgrade) {
        let Tunnel {
            origin,
            traffic,
            patience,
        } = self;
        let (client, origin) = match tokio::try_join!(client, origin) {
            Ok(sides) => sides,
            Err(error) => {
                // The client has left, say, or was answered something else after all.
                tracing::debug!(%error, "no tunnel came of an upgrade");
                return;
            }
        };
        let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
        let mut copying = std::pin::pin!(tokio::io::copy_bidirectional(&mut client, &mut origin));
        loop {
            let before = traffic.now();
            match tokio::time::timeout(patience, &mut copying).await {
                Ok(Ok((up, down))) => {
                    tracing::debug!(up, down, "a tunnel ended");
                    return;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a tunnel broke");
                    return;
                }
                Err(_) if traffic.now() != before => {}
                Err(_) => {
                    tracing::debug!(?patience, "a tunnel was idle for too long");
                    return;
                }
            }
        }
    }
}
