//! TLS for SIPp, which as Debian builds it has none: SIPp speaks TCP with a bridge on its own
//! address, and the bridge TLS with the SBC. What SIPp writes into its messages is what the SBC
//! sees, so that for the SBC there is a peer that speaks SIP over TLS.
//!
//! Certificates come from a CA that is made for the run and forgotten with it.

use crate::{Error, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};

/// A CA, and one certificate for every party's addresses.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    /// The CA's certificate.
    pub(crate) ca: PathBuf,
    /// The certificate of the SBC.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

fn failed(what: &str) -> impl Fn(String) -> Error + '_ {
    move |why| Error::Setup(format!("{what}: {why}"))
}

impl Certificates {
    /// Make them for the SBC at `sbc` and for peers at `peers`, with files in `dir`.
    pub(crate) fn make(dir: &Path, sbc: IpAddr, peers: &[IpAddr]) -> Result<Self> {
        let wrong = |error: rcgen::Error| failed("making certificates")(error.to_string());
        let ca_key = KeyPair::generate().map_err(wrong)?;
        let mut ca = CertificateParams::new(Vec::new()).map_err(wrong)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "loadtest CA");
        let ca_certificate = ca.self_signed(&ca_key).map_err(wrong)?;
        let issuer = Issuer::new(ca, ca_key);
        let signed = |addresses: &[IpAddr]| {
            let names: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let key = KeyPair::generate().map_err(wrong)?;
            let certificate = CertificateParams::new(names)
                .and_then(|params| params.signed_by(&key, &issuer))
                .map_err(wrong)?;
            Ok::<_, Error>((certificate, key))
        };
        let (sbc_certificate, sbc_key) = signed(&[sbc])?;
        let (peer_certificate, peer_key) = signed(peers)?;
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|source| Error::Io {
                what: format!("writing {}", path.display()),
                source,
            })?;
            Ok::<_, Error>(path)
        };
        let tls = |error: tokio_rustls::rustls::Error| failed("setting up TLS")(error.to_string());
        let mut roots = RootCertStore::empty();
        roots.add(ca_certificate.der().clone()).map_err(tls)?;
        let chain: Vec<CertificateDer<'static>> = vec![peer_certificate.der().clone()];
        let key = PrivateKeyDer::try_from(peer_key.serialize_der())
            .map_err(|why| failed("setting up TLS")(why.to_owned()))?;
        Ok(Self {
            ca: write("ca.pem", ca_certificate.pem())?,
            certificate: write("sbc.pem", sbc_certificate.pem())?,
            key: write("sbc.key", sbc_key.serialize_pem())?,
            client: Arc::new(
                ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_no_client_auth(),
            ),
            server: Arc::new(
                ServerConfig::builder()
                    .with_no_client_auth()
                    .with_single_cert(chain, key)
                    .map_err(tls)?,
            ),
        })
    }

    /// What a peer needs to connect to the SBC.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// The daemon's listener section.
    pub(crate) fn listener_toml(&self) -> String {
        format!(
            "[listener.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            self.certificate.display(),
            self.key.display()
        )
    }

    /// The daemon's trunk section.
    pub(crate) fn trunk_toml(&self) -> String {
        format!("[trunk.tls]\nca = \"{}\"\n", self.ca.display())
    }
}

/// A bridge of one party. Dropping it closes everything.
#[derive(Debug)]
pub(crate) struct Bridge {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The addresses of a bridge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// SIPp's connections to the SBC arrive here in the clear…
    pub(crate) way_out: SocketAddr,
    /// …and go on under TLS to the SBC here.
    pub(crate) sbc: SocketAddr,
    /// The SBC's connections to the party arrive here under TLS…
    pub(crate) way_in: SocketAddr,
    /// …and go on in the clear to SIPp here.
    pub(crate) sipp: SocketAddr,
}

impl Bridge {
    /// Listen on both sides of `span`.
    pub(crate) fn start(certificates: &Certificates, span: Span) -> Result<Self> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Io { what, source }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io("starting the TLS bridge"))?;
        let listen = |at: SocketAddr| {
            let _entered = runtime.enter();
            let socket = if at.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            };
            socket
                .and_then(|socket| {
                    socket.set_reuseaddr(true)?;
                    socket.bind(at)?;
                    socket.listen(1024)
                })
                .map_err(io(&format!("listening on {at}")))
        };
        let (outward, inward) = (listen(span.way_out)?, listen(span.way_in)?);
        let (client, server) = (certificates.client(), Arc::clone(&certificates.server));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("tls-bridge".into())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = carry_out(outward, client, span) => {}
                        () = carry_in(inward, server, span) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(io("starting the TLS bridge"))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// From SIPp to the SBC.
async fn carry_out(listener: TcpListener, config: Arc<ClientConfig>, span: Span) {
    let connector = TlsConnector::from(config);
    while let Ok((plain, _)) = listener.accept().await {
        let connector = connector.clone();
        tokio::spawn(async move {
            if let Err(error) = out(plain, connector, span).await {
                eprintln!("TLS bridge to {}: {error}", span.sbc);
            }
        });
    }
}

async fn out(mut plain: TcpStream, connector: TlsConnector, span: Span) -> std::io::Result<()> {
    plain.set_nodelay(true)?;
    let socket = if span.sbc.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // The SBC knows its peers by their addresses.
    socket.bind(SocketAddr::new(span.way_out.ip(), 0))?;
    let stream = socket.connect(span.sbc).await?;
    stream.set_nodelay(true)?;
    let mut secure = connector.connect(ServerName::from(span.sbc.ip()), stream).await?;
    // A connection that is cut off at its end is how these tests end.
    let _ = tokio::io::copy_bidirectional(&mut plain, &mut secure).await;
    Ok(())
}

/// From the SBC to SIPp.
async fn carry_in(listener: TcpListener, config: Arc<ServerConfig>, span: Span) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(error) = inward(stream, acceptor, span).await {
                eprintln!("TLS bridge from {}: {error}", span.sbc);
            }
        });
    }
}

async fn inward(stream: TcpStream, acceptor: TlsAcceptor, span: Span) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut secure = acceptor.accept(stream).await?;
    let mut plain = TcpStream::connect(span.sipp).await?;
    plain.set_nodelay(true)?;
    let _ = tokio::io::copy_bidirectional(&mut secure, &mut plain).await;
    Ok(())
}
