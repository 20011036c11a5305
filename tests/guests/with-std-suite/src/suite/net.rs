//! `net`: addresses as text and as numbers. No socket is opened.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

tests! {
    v4_good v4_bad v6_good v6_bad v6_is_written_short v6_with_v4_in_it sockets_good sockets_bad sockets_with_scopes
    classes_of_v4 classes_of_v6 v4_as_numbers v6_as_numbers mapped_addresses orders padding ip_of_either parse_errors
    octets_and_segments sockets_of_parts to_canonical bits_and_masks ascii_only
}

fn v4_good() {
    for (text, octets) in [
        ("0.0.0.0", [0; 4]),
        ("255.255.255.255", [255; 4]),
        ("127.0.0.1", [127, 0, 0, 1]),
        ("1.2.3.4", [1, 2, 3, 4]),
    ] {
        assert_eq!(text.parse(), Ok(Ipv4Addr::from(octets)));
        assert_eq!(Ipv4Addr::from(octets).to_string(), text);
    }
}

fn v4_bad() {
    for text in [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "256.0.0.1",
        "1.2.3.",
        ".1.2.3",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1..2.3",
        "0x7f.0.0.1",
        "2130706433",
        "1.2.3.-4",
        "1,2,3,4",
        "1.2.3.1000",
        "+1.2.3.4",
    ] {
        assert!(text.parse::<Ipv4Addr>().is_err(), "{text:?}");
    }
}

fn v6_good() {
    for (text, segments) in [
        ("::", [0; 8]),
        ("::1", [0, 0, 0, 0, 0, 0, 0, 1]),
        ("2001:db8::1", [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
        ("1:2:3:4:5:6:7:8", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("FE80::A", [0xfe80, 0, 0, 0, 0, 0, 0, 10]),
        ("1::", [1, 0, 0, 0, 0, 0, 0, 0]),
        ("1:2:3:4:5:6:7::", [1, 2, 3, 4, 5, 6, 7, 0]),
        ("::ffff:1.2.3.4", [0, 0, 0, 0, 0, 0xffff, 0x102, 0x304]),
        (
            "64:ff9b::192.0.2.33",
            [0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x221],
        ),
        ("0001:0:0:0:0:0:0:0", [1, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(text.parse(), Ok(Ipv6Addr::from(segments)), "{text}");
    }
}

fn v6_bad() {
    for text in [
        "",
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "::1::",
        "1::2::3",
        "12345::",
        "g::",
        "1:2:3:4:5:6:7:8::",
        "::1.2.3",
        "::1.2.3.256",
        "1.2.3.4::",
        "::1%eth0",
        "[::1]",
        ":1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:1.2.3.4",
    ] {
        assert!(text.parse::<Ipv6Addr>().is_err(), "{text:?}");
    }
}

fn v6_is_written_short() {
    for (text, short) in [
        ("0:0:0:0:0:0:0:0", "::"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:0:0:0:2:0:0:0", "1::2:0:0:0"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("0:0:1:2:3:4:5:6", "::1:2:3:4:5:6"),
        ("2001:DB8:0:0:0:0:0:ABCD", "2001:db8::abcd"),
        ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"),
    ] {
        assert_eq!(text.parse::<Ipv6Addr>().expect("good").to_string(), short);
    }
}

fn v6_with_v4_in_it() {
    assert_eq!(
        Ipv4Addr::new(1, 2, 3, 4).to_ipv6_mapped().to_string(),
        "::ffff:1.2.3.4"
    );
    assert_eq!(
        Ipv4Addr::new(1, 2, 3, 4).to_ipv6_compatible().to_string(),
        "::102:304"
    );
    assert_eq!(
        "::1.2.3.4"
            .parse::<Ipv6Addr>()
            .map(|address| address.to_string())
            .as_deref(),
        Ok("::102:304")
    );
}

fn sockets_good() {
    let four: SocketAddr = "1.2.3.4:80".parse().expect("good");
    assert_eq!(
        (
            four.ip(),
            four.port(),
            four.is_ipv4(),
            four.to_string().as_str()
        ),
        (IpAddr::from([1, 2, 3, 4]), 80, true, "1.2.3.4:80")
    );
    let six: SocketAddr = "[2001:db8::1]:65535".parse().expect("good");
    assert_eq!(
        (six.port(), six.is_ipv6(), six.to_string().as_str()),
        (65535, true, "[2001:db8::1]:65535")
    );
}

fn sockets_bad() {
    for text in [
        "",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "::1:80",
        "[::1]",
        "[::1]:",
        "[::1:80",
        "[1.2.3.4]:80",
        "localhost:80",
        ":80",
        "1.2.3.4:80 ",
        "1.2.3.4:+80",
    ] {
        assert!(text.parse::<SocketAddr>().is_err(), "{text:?}");
    }
}

fn sockets_with_scopes() {
    let address: SocketAddrV6 = "[fe80::1%7]:80".parse().expect("good");
    assert_eq!(
        (
            address.scope_id(),
            address.flowinfo(),
            address.to_string().as_str()
        ),
        (7, 0, "[fe80::1%7]:80")
    );
    assert!("[fe80::1%eth0]:80".parse::<SocketAddrV6>().is_err());
}

fn classes_of_v4() {
    let is = |text: &str, class: fn(&Ipv4Addr) -> bool| {
        text.parse().is_ok_and(|address| class(&address))
    };
    assert!(is("127.8.9.1", Ipv4Addr::is_loopback) && !is("128.0.0.1", Ipv4Addr::is_loopback));
    assert!(
        is("10.0.0.1", Ipv4Addr::is_private)
            && is("172.31.0.1", Ipv4Addr::is_private)
            && !is("172.32.0.1", Ipv4Addr::is_private)
            && is("192.168.255.1", Ipv4Addr::is_private)
    );
    assert!(
        is("169.254.169.254", Ipv4Addr::is_link_local)
            && is("224.0.0.1", Ipv4Addr::is_multicast)
            && is("255.255.255.255", Ipv4Addr::is_broadcast)
    );
    assert!(
        is("0.0.0.0", Ipv4Addr::is_unspecified)
            && is("192.0.2.1", Ipv4Addr::is_documentation)
            && !is("8.8.8.8", Ipv4Addr::is_private)
    );
}

fn classes_of_v6() {
    let is = |text: &str, class: fn(&Ipv6Addr) -> bool| {
        text.parse().is_ok_and(|address| class(&address))
    };
    assert!(
        is("::1", Ipv6Addr::is_loopback)
            && is("::", Ipv6Addr::is_unspecified)
            && is("ff02::1", Ipv6Addr::is_multicast)
    );
    assert!(
        is("fe80::1", Ipv6Addr::is_unicast_link_local)
            && is("fd00::1", Ipv6Addr::is_unique_local)
            && !is("2001:db8::1", Ipv6Addr::is_unique_local)
    );
    assert!(!is("::ffff:127.0.0.1", Ipv6Addr::is_loopback));
}

fn v4_as_numbers() {
    assert_eq!(
        (
            u32::from(Ipv4Addr::new(127, 0, 0, 1)),
            Ipv4Addr::from(0x0102_0304)
        ),
        (0x7f00_0001, Ipv4Addr::new(1, 2, 3, 4))
    );
    assert_eq!(
        (Ipv4Addr::LOCALHOST.to_bits(), Ipv4Addr::BROADCAST.to_bits()),
        (0x7f00_0001, u32::MAX)
    );
}

fn v6_as_numbers() {
    assert_eq!(
        (
            u128::from(Ipv6Addr::LOCALHOST),
            Ipv6Addr::from(0xfe80 << 112)
        ),
        (1, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))
    );
}

fn mapped_addresses() {
    let mapped: Ipv6Addr = "::ffff:10.0.0.1".parse().expect("good");
    assert_eq!(
        (
            mapped.to_ipv4_mapped(),
            Ipv6Addr::LOCALHOST.to_ipv4_mapped(),
            Ipv6Addr::LOCALHOST.to_ipv4()
        ),
        (
            Some(Ipv4Addr::new(10, 0, 0, 1)),
            None,
            Some(Ipv4Addr::new(0, 0, 0, 1))
        )
    );
}

fn to_canonical() {
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("good");
    assert_eq!(
        (mapped.to_canonical().to_string().as_str(), mapped.is_ipv6()),
        ("10.0.0.1", true)
    );
}

fn orders() {
    assert!(Ipv4Addr::new(9, 255, 255, 255) < Ipv4Addr::new(10, 0, 0, 0));
    assert!(IpAddr::V4(Ipv4Addr::BROADCAST) < IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    assert!(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1) < SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2));
}

fn padding() {
    assert_eq!(
        format!(
            "{:>16}|{:<10}|{:^12}",
            Ipv4Addr::LOCALHOST,
            Ipv6Addr::LOCALHOST,
            "[::1]:8".parse::<SocketAddr>().expect("good")
        ),
        "       127.0.0.1|::1       |  [::1]:8   "
    );
    assert_eq!(
        format!(
            "{:?} {:?}",
            Ipv4Addr::LOCALHOST,
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        ),
        "127.0.0.1 ::1"
    );
}

fn ip_of_either() {
    assert_eq!(
        (
            "1.2.3.4".parse::<IpAddr>().map(|address| address.is_ipv4()),
            "::1".parse::<IpAddr>().map(|address| address.is_ipv4())
        ),
        (Ok(true), Ok(false))
    );
    assert!("1.2.3".parse::<IpAddr>().is_err() && "[::1]".parse::<IpAddr>().is_err());
}

fn parse_errors() {
    assert_eq!(
        "x".parse::<Ipv4Addr>().expect_err("none").to_string(),
        "invalid IPv4 address syntax"
    );
    assert_eq!(
        "x".parse::<SocketAddr>().expect_err("none").to_string(),
        "invalid socket address syntax"
    );
    assert_eq!(
        "x".parse::<IpAddr>().expect_err("none").to_string(),
        "invalid IP address syntax"
    );
}

fn octets_and_segments() {
    let address = Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, 0x89ab);
    assert_eq!(
        (address.segments()[7], address.octets()[14..].to_vec()),
        (0x89ab, vec![0x89, 0xab])
    );
    assert_eq!(Ipv6Addr::from(address.octets()), address);
}

fn sockets_of_parts() {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 80));
    address.set_port(443);
    address.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert_eq!(
        address,
        SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0, 0))
    );
}

fn bits_and_masks() {
    let address = Ipv4Addr::new(192, 168, 7, 9);
    assert_eq!(
        (address & Ipv4Addr::new(255, 255, 0, 0), !address | address),
        (Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::BROADCAST)
    );
}

fn ascii_only() {
    assert!("１.2.3.4".parse::<Ipv4Addr>().is_err());
    assert!("1.2.3.4\0".parse::<Ipv4Addr>().is_err());
    assert!("::１".parse::<Ipv6Addr>().is_err());
}
