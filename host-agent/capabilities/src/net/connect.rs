//! Connects: name → addresses → each of them checked → one of the checked ones → TLS with the name.
//!
//! The addresses that are checked are those that are connected to: a name that leads elsewhere a moment later changes nothing.
//! Not here: which origins a function was granted and connections that are kept, which are the capabilities'.

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

use super::{Egress, address::not_public, tls::Tls};
use crate::Failure;

/// What a name's addresses may take.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(5);
/// What a connection may take, all addresses together; and TLS on it, as much.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one address is tried alone before the next is tried beside it: RFC 8305's.
const NEXT_ADDRESS_TIME: Duration = Duration::from_millis(250);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Connections of all functions at most, those that wait for use among them.
pub(crate) const CONNECTIONS_MAX: usize = 8192;
/// Connections of one version at most.
pub(crate) const CONNECTIONS_PER_VERSION_MAX: usize = 1024;

/// What HTTP may be spoken over TLS, as ALPN names it.
const HTTP_PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A name's addresses, or why there are none.
pub(crate) type Resolving = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, String>> + Send>>;

/// Finds the addresses of names.
pub(crate) trait Resolve: fmt::Debug + Send + Sync {
    /// Finds those of `name`.
    fn resolve(&self, name: &str) -> Resolving;
}

/// As the host's own configuration says: its hosts file and name servers. Keeps answers as long as they say.
#[derive(Default)]
pub(crate) struct SystemResolver(Arc<OnceCell<TokioResolver>>);

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
pub(crate) struct Stream {
    kind: Kind,
    /// Its places among the connections of its version and among all.
    places: [OwnedSemaphorePermit; 2],
}

/// In clear or not.
enum Kind {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The certificate of whom TLS is spoken with.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Clear(_) => None,
            Kind::Tls(stream) => Some(stream.get_ref().1.peer_certificates()?.first()?),
        }
    }

    /// Whether it leads to an address of the public Internet; also if that is not known.
    pub(crate) fn is_to_public(&self) -> bool {
        let stream = match &self.kind {
            Kind::Clear(stream) => stream,
            Kind::Tls(stream) => stream.get_ref().0,
        };
        let address = stream.peer_addr();
        !address.is_ok_and(|address| not_public(address.ip()).is_some())
    }

    /// Whether HTTP/2 was agreed on.
    pub(crate) fn is_http2(&self) -> bool {
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
pub(crate) struct Connector {
    pub(crate) egress: Egress,
    pub(crate) resolver: Box<dyn Resolve>,
    pub(crate) tls: Tls,
    /// Places for connections.
    pub(crate) places: Arc<Semaphore>,
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
    /// Connects to an origin that the caller's policy allows, for HTTP: encrypted if its scheme says so.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        own_places: &Arc<Semaphore>,
    ) -> Result<Stream, Failure> {
        let stream = self.connect_clear(origin, own_places).await?;
        match origin.scheme {
            Scheme::Https => self.encrypt(stream, origin, HTTP_PROTOCOLS).await,
            Scheme::Http | Scheme::Tcp => Ok(stream),
        }
    }

    /// Connects to an origin that the caller's policy allows. Nothing is encrypted yet.
    pub(crate) async fn connect_clear(
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
        let addresses = self.addresses(origin).await?;
        let connecting = timeout(CONNECT_TIME_MAX, first_of(addresses, origin.port)).await;
        let connecting =
            connecting.map_err(|_| too_late(origin, "connecting to", CONNECT_TIME_MAX))?;
        let stream = connecting.map_err(|error| failed(origin, error))?;
        self.check_ends(&stream, origin)?;
        // Small requests go out at once.
        let _ = stream.set_nodelay(true);
        Ok(Stream {
            kind: Kind::Clear(stream),
            places: [own, all],
        })
    }

    /// The same stream, encrypted from here on. The server's certificate has to name the host; `protocols` are what may be
    /// spoken over it, as ALPN names it.
    pub(crate) async fn encrypt(
        &self,
        stream: Stream,
        origin: &Origin,
        protocols: &[&[u8]],
    ) -> Result<Stream, Failure> {
        let Stream { kind, places } = stream;
        let clear = match kind {
            Kind::Clear(clear) => clear,
            kind @ Kind::Tls(_) => return Ok(Stream { kind, places }),
        };
        let name = ServerName::try_from(server_name(&origin.host));
        let name = name.map_err(|error| failed(origin, error))?;
        let protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let connector = TlsConnector::from(self.tls.config());
        let encrypting = connector.with_alpn(protocols).connect(name, clear);
        let encrypting = timeout(CONNECT_TIME_MAX, encrypting).await;
        let encrypting =
            encrypting.map_err(|_| too_late(origin, "encrypting to", CONNECT_TIME_MAX))?;
        let encrypted = encrypting.map_err(|error| failed(origin, error))?;
        Ok(Stream {
            kind: Kind::Tls(Box::new(encrypted)),
            places,
        })
    }

    /// The addresses of an origin, each of which may be connected to.
    pub(crate) async fn addresses(&self, origin: &Origin) -> Result<Vec<IpAddr>, Failure> {
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
}

/// The host as a certificate names it.
fn server_name(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
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
