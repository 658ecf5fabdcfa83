//! Whose requests count together.

use std::net::Ipv6Addr;

/// The key of a request: the value of the field it is limited by, else the client's network.
/// The two kinds never meet, whatever a client sends.
pub(crate) fn of(header: Option<&[u8]>, client: &str) -> String {
    match header {
        Some(value) => format!("header {}", String::from_utf8_lossy(value)),
        None => format!("client {}", network(client)),
    }
}

/// An IPv4 address as it is; an IPv6 address as its /64, which is what one subscriber gets.
fn network(client: &str) -> String {
    let Ok(address) = client.parse::<Ipv6Addr>() else {
        return client.to_owned();
    };
    if let Some(address) = address.to_ipv4_mapped() {
        return address.to_string();
    }
    let [a, b, c, d, ..] = address.segments();
    format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn clients_are_counted_by_network_and_fields_by_value() {
        for (header, client, expected) in [
            (None, "192.0.2.7", "client 192.0.2.7"),
            (None, "2001:db8:1:2:3:4:5:6", "client 2001:db8:1:2::/64"),
            (None, "2001:db8:1:2::9", "client 2001:db8:1:2::/64"),
            (None, "::ffff:192.0.2.7", "client 192.0.2.7"),
            (Some(&b"k1"[..]), "192.0.2.7", "header k1"),
            (Some(&b""[..]), "192.0.2.7", "header "),
        ] {
            assert_eq!(of(header, client), expected);
        }
    }
}
