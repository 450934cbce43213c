//! Which addresses are public, private, or never a target.

use std::net::IpAddr;

/// What an address is, as far as the guard cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anybody's.
    Public,
    /// The operator's own network or machine.
    Private,
    /// Never a target: link-local (cloud metadata included), multicast, unspecified, reserved.
    Never,
}

/// What kind of address it is. An IPv4 address inside an IPv6 one is judged as itself.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    let v4 = match address {
        IpAddr::V4(it) => it,
        IpAddr::V6(it) => {
            match it.to_ipv4_mapped().or_else(|| nat64(&it)).or_else(|| six_to_four(&it)) {
                Some(it) => it,
                None => return reach_v6(&it),
            }
        }
    };
    let [a, b, c, _] = v4.octets();
    match (a, b, c) {
        (0 | 224.., ..) | (169, 254, _) | (192, 0, 0) => Reach::Never,
        // The hosts of two clouds, as their machines see them.
        (168, 63, 129) if v4.octets() == [168, 63, 129, 16] => Reach::Never,
        (100, 64..=127, _) if v4.octets() == [100, 100, 100, 200] => Reach::Never,
        (10 | 127, ..)
        | (172, 16..=31, _)
        | (192, 168, _)
        | (100, 64..=127, _)
        | (192, 0, 2)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Reach::Private,
        _ => Reach::Public,
    }
}

fn nat64(address: &std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let s = address.segments();
    let [a, b] = s[6].to_be_bytes();
    let [c, d] = s[7].to_be_bytes();
    (s[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| std::net::Ipv4Addr::new(a, b, c, d))
}

/// RFC 3056: `2002:` and the IPv4 address.
fn six_to_four(address: &std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let s = address.segments();
    let ([a, b], [c, d]) = (s[1].to_be_bytes(), s[2].to_be_bytes());
    (s[0] == 0x2002).then(|| std::net::Ipv4Addr::new(a, b, c, d))
}

fn reach_v6(address: &std::net::Ipv6Addr) -> Reach {
    let first = address.segments()[0];
    if address.is_loopback() || first & 0xfe00 == 0xfc00 {
        // fd00:ec2::254 is a metadata address inside the private range.
        return if address.segments()[..2] == [0xfd00, 0xec2] {
            Reach::Never
        } else {
            Reach::Private
        };
    }
    if first & 0xe000 == 0x2000 { Reach::Public } else { Reach::Never }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, want: Reach) {
        assert_eq!(reach(address.parse().unwrap()), want, "{address}");
    }

    #[test]
    fn private_and_metadata_addresses_are_known() {
        for it in ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            check(it, Reach::Public);
        }
        for it in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "::1", "fd12::1"]
        {
            check(it, Reach::Private);
        }
        for it in ["169.254.169.254", "0.0.0.0", "255.255.255.255", "fe80::1", "::", "ff02::1"] {
            check(it, Reach::Never);
        }
        for it in [
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            check(it, Reach::Never);
        }
        check("::ffff:10.0.0.1", Reach::Private);
    }
}
