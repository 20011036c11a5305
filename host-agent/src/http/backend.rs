//! What the routers have behind them.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::{header, request::Parts};
use tokio::sync::watch;

use super::{
    bodies::{Budget, Held, Intake},
    client_address::{Client, is_trusted, peer},
    headers::{Pass, for_guest},
};
use crate::{catalog::Catalog, service::Service, vm::Vms};

/// The service, and what all requests share. A clone is the same.
pub(crate) struct Backend<V: Vms> {
    pub(crate) service: Arc<Service<V>>,
    /// True when the agent stops: what would go on for ever ends then.
    pub(crate) stopping: watch::Receiver<bool>,
    /// What all bodies have together.
    pub(crate) bodies: Arc<Budget>,
    host_memory_bytes: u64,
}

impl<V: Vms> Clone for Backend<V> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            stopping: self.stopping.clone(),
            bodies: Arc::clone(&self.bodies),
            host_memory_bytes: self.host_memory_bytes,
        }
    }
}

impl<V: Vms> fmt::Debug for Backend<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

impl<V: Vms> Backend<V> {
    /// `service` with no body in memory. Streams end when `stopping` becomes true.
    pub(crate) fn new(service: Arc<Service<V>>, stopping: watch::Receiver<bool>) -> Self {
        Self {
            service,
            stopping,
            bodies: Arc::default(),
            host_memory_bytes: crate::memory::available_bytes(),
        }
    }

    /// What is deployed.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.service.catalog
    }

    /// How a body is taken in.
    pub(crate) fn intake(&self) -> Intake {
        Intake {
            time_max: self.body_time_max(),
            held: self.held(),
        }
    }

    /// How a body is taken in that has a permit of its own.
    pub(crate) fn intake_of_upload(&self) -> Intake {
        Intake {
            time_max: self.body_time_max(),
            held: Held::new(&Arc::default(), u64::MAX),
        }
    }

    /// Nothing yet of what all bodies may have together.
    pub(crate) fn held(&self) -> Held {
        let limits = &self.service.config().limits;
        Held::new(
            &self.bodies,
            limits.bodies_bytes_max(self.host_memory_bytes),
        )
    }

    /// What a body may take.
    pub(crate) fn body_time_max(&self) -> Duration {
        Duration::from_millis(self.service.config().limits.body_ms_max)
    }

    /// Who sent a request.
    pub(crate) fn client(&self, parts: &Parts) -> Client {
        let config = self.service.config();
        let which = config.client_address_header;
        Client::new(peer(parts), &parts.headers, &config.proxies, which)
    }

    /// What a function gets of a request's headers, and who sent it.
    pub(crate) fn headers_for_guest(
        &self,
        parts: &Parts,
        client: &Client,
        traceparent: &str,
    ) -> Vec<(String, Vec<u8>)> {
        let config = self.service.config();
        let pass = Pass {
            has_token: config.token.is_some(),
            traceparent,
            is_proxy: is_trusted(peer(parts), &config.proxies),
        };
        let mut headers = for_guest(&parts.headers, pass);
        headers.extend(client.headers(parts.headers.get(header::HOST)));
        headers
    }
}
