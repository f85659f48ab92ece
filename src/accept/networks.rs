//! Networks of machines that are trusted to speak for others.
//!
//! What it does: reads `10.0.0.0/8` and tells whether an address is in one of a list. What it refuses to know: what they are
//! trusted with. Invariant: an IPv4 address counts as itself however it is written (RFC 4291 section 2.5.5.2).

use std::net::{IpAddr, Ipv6Addr};

/// Some networks; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    /// Neither an address nor one with a prefix.
    Form,
    /// Bits of the address stand behind the prefix; the network that it is in.
    HostBits(Network),
}

impl std::fmt::Display for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    /// Reads an address, alone or with the length of its prefix.
    pub fn parse(text: &str) -> Result<Self, NetworkFault> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkFault::Form)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits)
                if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                digits
                    .parse()
                    .ok()
                    .filter(|prefix| *prefix <= width)
                    .ok_or(NetworkFault::Form)?
            }
            Some(_) => return Err(NetworkFault::Form),
        };
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix >= 96 => {
                (IpAddr::V4(mapped), prefix - 96)
            }
            (address, _) => (address, prefix),
        };
        let network = Network {
            address: masked(address, prefix),
            prefix,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(NetworkFault::HostBits(network))
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Whether it is every address of its kind.
    pub(crate) fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Whether it is larger than the largest network that an organization has to itself: 10.0.0.0/8 (RFC 1918 section 3), and
    /// fc00::/7 (RFC 4193 section 3.1).
    pub(crate) fn is_wide(&self) -> bool {
        self.prefix < if self.address.is_ipv4() { 8 } else { 7 }
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
        }
    }
}

impl Networks {
    pub fn new(networks: Vec<Network>) -> Self {
        Networks(networks)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_or_refused() {
        for (text, expected) in [
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("192.0.2.7", Ok("192.0.2.7/32")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("::/0", Ok("::/0")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("2001:db8::1", Ok("2001:db8::1/128")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::ffff:10.0.0.1", Ok("10.0.0.1/32")),
            ("10.1.0.0/8", Err("10.0.0.0/8")),
            ("::ffff:10.1.0.0/104", Err("10.0.0.0/8")),
            ("2001:db8::1/32", Err("2001:db8::/32")),
            ("10.0.0.0/33", Err("")),
            ("10.0.0.0/", Err("")),
            ("10.0.0.0/+8", Err("")),
            ("10.0.0.0/0008", Err("")),
            ("10.0.0.0/256", Err("")),
            ("10.0.0", Err("")),
            ("010.0.0.0/8", Err("")),
            ("fe80::1%eth0", Err("")),
            ("[::1]", Err("")),
            ("localhost", Err("")),
            ("", Err("")),
        ] {
            let found = match Network::parse(text) {
                Ok(network) => Ok(network.to_string()),
                Err(NetworkFault::HostBits(network)) => Err(network.to_string()),
                Err(NetworkFault::Form) => Err(String::new()),
            };
            assert_eq!(
                found,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn what_holds_strangers_is_wide() {
        for (text, expected) in [
            ("0.0.0.0/0", true),
            ("::ffff:0.0.0.0/96", true),
            ("128.0.0.0/1", true),
            ("10.0.0.0/7", true),
            ("10.0.0.0/8", false),
            ("192.0.2.7", false),
            ("::/0", true),
            ("2000::/3", true),
            ("fc00::/6", true),
            ("fc00::/7", false),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(Network::parse(text).unwrap().is_wide(), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_in_or_out() {
        let networks =
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].map(|text| Network::parse(text).unwrap());
        let networks = Networks::new(networks.to_vec());
        for (address, expected) in [
            ("10.255.0.1", true),
            ("::ffff:10.255.0.1", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::10.0.0.1", false),
        ] {
            assert_eq!(
                networks.contains(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
    }
}
