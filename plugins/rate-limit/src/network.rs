//! Addresses and networks.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address as it is; an IPv6 address as its /64, which is what one subscriber gets.
pub(crate) fn of(client: &str) -> String {
    let Ok(address) = client.parse::<Ipv6Addr>() else {
        return client.to_owned();
    };
    if let Some(address) = address.to_ipv4_mapped() {
        return address.to_string();
    }
    let [a, b, c, d, ..] = address.segments();
    format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
}

/// A network in a configuration: `10.0.0.0/8`, or one address.
#[derive(Debug, PartialEq)]
pub(crate) struct Network {
    /// In IPv6; an IPv4 network is the mapped one.
    bits: u128,
    length: u32,
}

impl Network {
    /// # Errors
    /// When `text` is neither an address nor a network.
    pub(crate) fn parse(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = match length {
            Some(length) => length.parse().map_err(|_| wrong())?,
            None => most,
        };
        if length > most {
            return Err(wrong());
        }
        Ok(Network {
            bits: bits(address),
            length: 128 - most + length,
        })
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let different = (self.bits ^ bits(address)).checked_shr(128 - self.length);
        different.unwrap_or(0) == 0
    }
}

fn bits(address: IpAddr) -> u128 {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Network, of};

    #[test]
    fn clients_are_known_by_their_network() {
        for (client, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(of(client), expected);
        }
    }

    #[test]
    fn a_network_has_the_addresses_with_its_first_bits() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.has(address.parse().unwrap()), expected, "{address}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/x", "a"] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }
}
