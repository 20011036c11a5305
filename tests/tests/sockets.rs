//! Functions with a NIC, over a TAP in a network namespace of the test's own, and the servers and clients of Debian on its other side.
//! Through the program, as a user meets it. Needs root, as whoever makes TAPs does.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use jiffy_tests::{agent::within, jiffy, jiffy_path, require_kvm, skip, vm::TIMEOUT_AMPLE};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const TAP: &str = "tap0";
const HOST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// As `jiffy run` makes it of the address.
const GUEST_MAC: &str = "02:6a:0a:09:00:02";

/// A namespace with a TAP in it; gone with this value.
struct Network {
    name: String,
}

impl Network {
    /// None without root, or without TUN; the test is then skipped and says so.
    fn new(test: &str) -> Option<Self> {
        if !require_kvm() {
            return None;
        }
        if !rustix::process::geteuid().is_root() || File::open("/dev/net/tun").is_err() {
            skip("NICs need root and /dev/net/tun");
            return None;
        }
        let network = Self {
            name: format!("jiffy-{test}-{}", std::process::id()),
        };
        network.run_outside(&["netns", "add", &network.name]);
        let host = format!("{HOST}/24");
        for arguments in [
            &["link", "set", "lo", "up"][..],
            &["tuntap", "add", TAP, "mode", "tap"],
            &["address", "add", &host, "dev", TAP],
            &["link", "set", TAP, "up"],
            // A guest answers no ARP.
            &[
                "neighbour",
                "add",
                &GUEST.to_string(),
                "lladdr",
                GUEST_MAC,
                "dev",
                TAP,
            ],
        ] {
            let all = [&["-n", &network.name], arguments].concat();
            network.run_outside(&all);
        }
        Some(network)
    }

    fn run_outside(&self, arguments: &[&str]) {
        let done = Command::new("ip").args(arguments).output().expect("ip");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ip {arguments:?}: {said}");
    }

    /// A program inside.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// What a thread makes that is inside, such as a socket, which then stays there.
    fn inside<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name)).expect("a namespace");
        let made = thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind).expect("inside");
            make()
        });
        made.join().expect("made")
    }

    /// `jiffy run` of the function that talks, with an event.
    fn function(&self, event: &str, more: &[&str]) -> Command {
        let outer = jiffy();
        let mut command = self.command(jiffy_path());
        command.envs(
            outer
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command.arg("run").arg(dialer()).args(["--event", event]);
        command.args(["--tap", TAP, "--address", &format!("{GUEST}/24")]);
        command.args(["--gateway", &HOST.to_string()]);
        command.args(["--name-server", &HOST.to_string(), "--timeout", "60s"]);
        command.args(more);
        command
    }

    /// Its answer.
    fn ask(&self, event: &str) -> String {
        answer(self.function(event, &[]).output().expect("jiffy run"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

fn answer(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answer = String::from_utf8(output.stdout).expect("text");
    answer.trim_end().to_owned()
}

/// Its image, built once.
fn dialer() -> &'static PathBuf {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| jiffy_tests::image("dialer"))
}

/// An echo server over TCP: who has connected is told to `seen`.
fn echo(listener: TcpListener) {
    thread::spawn(move || {
        for socket in listener.incoming() {
            thread::spawn(move || {
                let mut socket = socket?;
                let mut part = vec![0; 64 << 10];
                loop {
                    match socket.read(&mut part)? {
                        0 => return Ok::<_, io::Error>(()),
                        len => socket.write_all(&part[..len])?,
                    }
                }
            });
        }
    });
}

#[test]
fn a_function_talks_tcp_and_udp() {
    let Some(network) = Network::new("talks") else {
        return;
    };
    echo(
        network
            .inside(|| TcpListener::bind((HOST, 7)))
            .expect("a listener"),
    );
    let socket = network
        .inside(|| UdpSocket::bind((HOST, 7)))
        .expect("a socket");
    thread::spawn(move || {
        let mut datagram = [0; 2000];
        while let Ok((len, from)) = socket.recv_from(&mut datagram) {
            socket.send_to(&datagram[..len], from).expect("sent");
        }
    });
    let check = |event: &str, expected: &str| {
        assert_eq!(network.ask(event), format!("\"{expected}\""), "{event}");
    };
    check(
        r#"{"echo":{"to":"10.9.0.1:7","bytes":1048576}}"#,
        "1048576 of 1048576 bytes",
    );
    check(
        r#"{"datagram":{"to":"10.9.0.1:7","text":"hello"}}"#,
        "hello",
    );
    check(
        r#"{"many":{"to":"10.9.0.1:7","connections":100}}"#,
        "100 of 100 connections",
    );

    // Nobody listens there, and what is not there does not answer.
    let refused = network
        .function(r#"{"who-am-i":"10.9.0.1:70"}"#, &[])
        .output()
        .expect("jiffy");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("the connection was refused: nobody listens there"),
        "{said}"
    );
}

/// Over a thousand at once, each used: 64 KiB of buffers each.
#[test]
fn a_thousand_connections_are_open_at_once() {
    let Some(network) = Network::new("many") else {
        return;
    };
    echo(
        network
            .inside(|| TcpListener::bind((HOST, 7)))
            .expect("a listener"),
    );
    let event = r#"{"many":{"to":"10.9.0.1:7","connections":1000}}"#;
    let output = network.function(event, &["--memory", "128MiB"]).output();
    assert_eq!(
        answer(output.expect("jiffy run")),
        r#""1000 of 1000 connections""#
    );
}

#[test]
fn clones_of_a_snapshot_have_ports_of_their_own_and_no_connection_of_init() {
    let Some(network) = Network::new("clones") else {
        return;
    };
    let listener = network
        .inside(|| TcpListener::bind((HOST, 7)))
        .expect("a listener");
    let ports = thread::spawn(move || -> Vec<u16> {
        let accepted = listener.incoming().take(8);
        accepted
            .map(|socket| {
                socket
                    .expect("connected")
                    .peer_addr()
                    .expect("a peer")
                    .port()
            })
            .collect()
    });
    for isolation in ["fresh", "reuse"] {
        let event = r#"{"who-am-i":"10.9.0.1:7"}"#;
        let mut command = network.function(event, &["--requests", "4", "--isolation", isolation]);
        let said = answer(command.output().expect("jiffy run"));
        assert!(
            said.contains("10.9.0.2:") && said.contains("true"),
            "{said}"
        );
    }
    let ports = ports.join().expect("all connected");
    let different: std::collections::BTreeSet<_> = ports.iter().collect();
    assert_eq!(different.len(), ports.len(), "{ports:?}");
}

#[test]
fn a_function_serves_a_port() {
    let Some(network) = Network::new("serves") else {
        return;
    };
    let event = r#"{"serve":{"port":8080,"connections":3}}"#;
    let mut function = network.function(event, &[]);
    let function = function
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let function = function.expect("jiffy run");
    let at = SocketAddr::new(IpAddr::V4(GUEST), 8080);
    let connect = move || TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok();
    for bytes in [1, 1000, 1 << 20] {
        let mut socket = within(TIMEOUT_AMPLE, || network.inside(connect)).expect("it listens");
        let sent: Vec<u8> = (0..bytes).map(|at: u32| (at % 251) as u8).collect();
        let mut writer = socket.try_clone().expect("a second");
        let all = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&all).expect("sent");
            writer.shutdown(std::net::Shutdown::Write).expect("closed");
        });
        let mut back = vec![];
        socket.read_to_end(&mut back).expect("an echo");
        writing.join().expect("written");
        assert!(back == sent, "{} of {bytes} bytes", back.len());
    }
    let output = function.wait_with_output().expect("it ends");
    assert_eq!(
        answer(output),
        format!("\"{} bytes\"", 1 + 1000 + (1 << 20))
    );
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn servers_of_debian_are_talked_to() {
    let Some(network) = Network::new("debian") else {
        return;
    };
    let mut dnsmasq = network.command("dnsmasq");
    dnsmasq.args([
        "--no-daemon",
        "--no-resolv",
        "--no-hosts",
        "--listen-address=10.9.0.1",
        "--bind-interfaces",
    ]);
    dnsmasq.args([
        "--address=/shop.test/10.9.0.1",
        "--user=root",
        "--conf-file=/dev/null",
    ]);
    if ["dnsmasq", "redis-server"]
        .iter()
        .any(|name| Command::new(name).arg("--version").output().is_err())
    {
        return skip("servers of Debian over a NIC: install dnsmasq-base and redis-server");
    }
    let dnsmasq = dnsmasq.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _dnsmasq = Running(dnsmasq.expect("dnsmasq"));
    let mut redis = network.command("redis-server");
    redis.args([
        "--bind",
        "10.9.0.1",
        "--protected-mode",
        "no",
        "--save",
        "",
        "--dir",
        "/tmp",
    ]);
    let _redis = Running(redis.stdout(Stdio::null()).spawn().expect("redis-server"));
    let redis_is_there = || network.inside(|| TcpStream::connect((HOST, 6379)).ok());
    within(TIMEOUT_AMPLE, redis_is_there).expect("Redis");
    let name_is_known =
        || (network.ask(r#"{"lookup":"shop.test"}"#) == r#""10.9.0.1""#).then_some(());
    within(TIMEOUT_AMPLE, name_is_known).expect("a name server");

    let ping = r#"{"ask":{"to":"shop.test:6379","text":"PING\r\nQUIT\r\n"}}"#;
    assert_eq!(network.ask(ping), r#""+PONG\r\n+OK\r\n""#);
    let unknown = network
        .function(r#"{"lookup":"nobody.test"}"#, &[])
        .output();
    let said = String::from_utf8_lossy(&unknown.expect("jiffy").stderr).into_owned();
    assert!(
        said.contains("no address of \"nobody.test\" was found"),
        "{said}"
    );
}
