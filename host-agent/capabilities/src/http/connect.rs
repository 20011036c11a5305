//! Connects: name → addresses → each of them checked → one of the checked ones → TLS with the name.
//!
//! The addresses that are checked are those that are connected to: a name that leads elsewhere a moment later changes nothing.
//! Not here: which origins a function was granted (`policy`), connections that are kept (`pool`).

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hickory_resolver::TokioResolver;
use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_model::{Host, Origin, Scheme};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Failure, egress::Egress, request::server_name, tls::Tls};

/// What a name's addresses may take.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(5);
/// What a connection may take, all addresses together; and TLS on it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one address is tried alone before the next is tried beside it: RFC 8305's.
const NEXT_ADDRESS_TIME: Duration = Duration::from_millis(250);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Connections of all functions at most, those that wait for use among them.
pub(super) const CONNECTIONS_MAX: usize = 8192;
/// Connections of one version at most.
pub(super) const CONNECTIONS_PER_VERSION_MAX: usize = 1024;

/// A name's addresses, or why there are none.
pub(super) type Resolving = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send>>;

/// Finds the addresses of names.
pub(super) trait Resolve: fmt::Debug + Send + Sync {
    /// Finds those of `name`.
    fn resolve(&self, name: &str) -> Resolving;
}

/// As the host's own configuration says: its hosts file and name servers. Keeps answers as long as they say.
#[derive(Default)]
pub(super) struct SystemResolver(Arc<OnceCell<TokioResolver>>);

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> Resolving {
        // Absolute, so that no other domain is tried behind it.
        let (resolver, name) = (Arc::clone(&self.0), format!("{name}."));
        Box::pin(async move {
            // Made when it is needed first: it belongs to the runtime, and reads files.
            let make = || async { TokioResolver::builder_tokio()?.build() };
            let found = async {
                resolver
                    .get_or_try_init(make)
                    .await?
                    .lookup_ip(&*name)
                    .await
            };
            match found.await {
                Ok(found) => Ok(found.iter().collect()),
                Err(error) if error.is_no_records_found() => Err("the name has no address".into()),
                Err(error) => {
                    // Functions are not told of the host's files and name servers.
                    tracing::debug!(name, %error, "cannot look up a name for a function");
                    Err("its name cannot be looked up".into())
                }
            }
        })
    }
}

/// A stream to a server.
pub(super) struct Stream {
    kind: Kind,
    /// Its places among the connections of its version and among all.
    _places: [OwnedSemaphorePermit; 2],
}

/// In clear or not.
enum Kind {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether HTTP/2 was agreed on.
    pub(super) fn is_http2(&self) -> bool {
        match &self.kind {
            Kind::Clear(_) => false,
            Kind::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// Does the same with both kinds.
macro_rules! delegate {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &mut $self.get_mut().kind {
            Kind::Clear(stream) => Pin::new(stream).$method($($argument),*),
            Kind::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.poll_shutdown(context))
    }
}

/// Makes connections for all functions.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) egress: Egress,
    pub(super) resolver: Box<dyn Resolve>,
    pub(super) tls: Tls,
    /// Places for connections.
    pub(super) places: Arc<Semaphore>,
}

fn failed(origin: &Origin, why: impl fmt::Display) -> Failure {
    let message = format!("cannot connect to {origin}: {why}");
    Failure::new(CallErrorKind::Failed, Sent::No, message)
}

fn too_late(origin: &Origin, what: &str, limit: Duration) -> Failure {
    let message = format!("{what} {origin} took more than {} s", limit.as_secs());
    Failure::new(CallErrorKind::Timeout, Sent::No, message)
}

impl Connector {
    /// Connects to an origin that the caller's policy allows.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        own_places: &Arc<Semaphore>,
    ) -> Result<Stream, Failure> {
        let place = |places: &Arc<Semaphore>, whose, max| {
            Arc::clone(places).try_acquire_owned().map_err(|_| {
                let message = format!("{whose} {max} connections: try it again later");
                Failure::new(CallErrorKind::Limit, Sent::No, message)
            })
        };
        let own = place(own_places, "this function has", CONNECTIONS_PER_VERSION_MAX)?;
        let all = place(&self.places, "all functions together have", CONNECTIONS_MAX)?;
        let places = [own, all];
        let addresses = self.addresses(origin).await?;
        let connecting = async {
            let stream = first_of(addresses, origin.port).await;
            let stream = stream.map_err(|error| failed(origin, error))?;
            self.check_ends(&stream, origin)?;
            // Small requests go out at once.
            let _ = stream.set_nodelay(true);
            let kind = match origin.scheme {
                Scheme::Https => self.encrypt(stream, origin).await?,
                Scheme::Http | Scheme::Tcp => Kind::Clear(stream),
            };
            Ok(Stream {
                kind,
                _places: places,
            })
        };
        let connected = timeout(CONNECT_TIME_MAX, connecting).await;
        connected.unwrap_or_else(|_| Err(too_late(origin, "connecting to", CONNECT_TIME_MAX)))
    }

    /// The addresses of an origin, each of which may be connected to.
    pub(super) async fn addresses(&self, origin: &Origin) -> Result<Vec<IpAddr>, Failure> {
        let mut addresses = match &origin.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = timeout(RESOLVE_TIME_MAX, self.resolver.resolve(name)).await;
                let found = found.map_err(|_| too_late(origin, "looking up", RESOLVE_TIME_MAX))?;
                found.map_err(|error| failed(origin, error))?
            }
        };
        for address in &addresses {
            self.egress.check(&origin.host, *address)?;
        }
        if addresses.is_empty() {
            return Err(failed(origin, "the name has no address"));
        }
        addresses.truncate(ADDRESSES_MAX);
        Ok(in_turns(addresses))
    }

    /// Whether the ends of a connection are two hosts, or the operator allows one.
    fn check_ends(&self, stream: &TcpStream, origin: &Origin) -> Result<(), Failure> {
        let ends = stream
            .local_addr()
            .and_then(|own| Ok((own.ip(), stream.peer_addr()?.ip())));
        let (own, address) = ends.map_err(|error| failed(origin, error))?;
        self.egress.check_own(&origin.host, own, address)
    }

    async fn encrypt(&self, stream: TcpStream, origin: &Origin) -> Result<Kind, Failure> {
        let name = ServerName::try_from(server_name(&origin.host));
        let name = name.map_err(|error| failed(origin, error))?;
        let connector = TlsConnector::from(self.tls.config());
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| failed(origin, error))?;
        Ok(Kind::Tls(Box::new(stream)))
    }
}

/// IPv6 first, and then the one and the other in turns.
fn in_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let mut rest = v4.into_iter();
    let mut turns = vec![];
    for address in v6 {
        turns.push(address);
        turns.extend(rest.next());
    }
    turns.extend(rest);
    turns
}

/// The connection that is there first. Each address is given a head start over the next; one that fails, none.
async fn first_of(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut rest = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut last = None;
    loop {
        if let Some(address) = rest.next() {
            under_way.push(TcpStream::connect(SocketAddr::new(address, port)));
        }
        let connected = tokio::select! {
            connected = under_way.next() => connected,
            () = sleep(NEXT_ADDRESS_TIME), if rest.len() > 0 => continue,
        };
        match connected {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = Some(error),
            None => return Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
        }
    }
}
