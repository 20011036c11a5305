//! Connections that functions have made: to what the operator allows, checked where they are made, whoever asks for them.

mod address;
mod connect;
mod drive;
mod egress;
mod room;
mod tls;
mod traffic;

use std::{io, sync::Arc};

use tokio::sync::Semaphore;

use self::connect::{CONNECTIONS_MAX, SystemResolver};
#[cfg(test)]
pub(crate) use self::connect::{Resolve, Resolving};
pub use self::egress::{Egress, Private};
pub use self::traffic::{ORIGINS_MAX, Outbound};
pub(crate) use self::{
    connect::{CONNECTIONS_PER_VERSION_MAX, Connector, Stream},
    drive::Driver,
    room::{Room, Taken},
    tls::Tls,
    traffic::Traffic,
};

/// What those capabilities share that connect to others.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) connector: Arc<Connector>,
    pub(crate) driver: Driver,
    pub(crate) traffic: Arc<Traffic>,
}

impl Net {
    /// Connects as the operator says.
    pub(crate) fn new(egress: Egress) -> io::Result<Self> {
        let connector = Connector {
            tls: Tls::new(egress.ca_file.as_deref())?,
            egress,
            resolver: Box::new(SystemResolver::default()),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        };
        Ok(Self {
            connector: Arc::new(connector),
            driver: Driver::default(),
            traffic: Arc::default(),
        })
    }
}
