//! Where AWS's Security Token Service (STS) stands.
//!
//! What it does: makes the hosts of a partition's regions, as the SDKs resolve them. What it refuses to know: proofs, and who is
//! asked. Invariant: a host is made of this table and of regions that the configuration names, never of what a caller sent.

/// A part of AWS with accounts and names of its own.
struct Partition {
    name: &'static str,
    /// What its hosts end in: of IPv4 alone, and of both versions where it has such.
    domain: &'static str,
    dual_stack: Option<&'static str>,
    /// What the names of its regions begin with; empty: what no other partition's begin with.
    regions: &'static str,
    /// Whether STS has a host of its own for FIPS 140; elsewhere its only host is validated, or none is.
    fips: bool,
}

const PARTITIONS: [Partition; 8] = [
    Partition {
        name: "aws",
        domain: "amazonaws.com",
        dual_stack: Some("api.aws"),
        regions: "",
        fips: true,
    },
    Partition {
        name: "aws-cn",
        domain: "amazonaws.com.cn",
        dual_stack: Some("api.amazonwebservices.com.cn"),
        regions: "cn-",
        fips: false,
    },
    Partition {
        name: "aws-us-gov",
        domain: "amazonaws.com",
        dual_stack: Some("api.aws"),
        regions: "us-gov-",
        fips: false,
    },
    Partition {
        name: "aws-eusc",
        domain: "amazonaws.eu",
        dual_stack: Some("api.amazonwebservices.eu"),
        regions: "eusc-",
        fips: false,
    },
    Partition {
        name: "aws-iso",
        domain: "c2s.ic.gov",
        dual_stack: None,
        regions: "us-iso-",
        fips: false,
    },
    Partition {
        name: "aws-iso-b",
        domain: "sc2s.sgov.gov",
        dual_stack: None,
        regions: "us-isob-",
        fips: false,
    },
    Partition {
        name: "aws-iso-e",
        domain: "cloud.adc-e.uk",
        dual_stack: None,
        regions: "eu-isoe-",
        fips: false,
    },
    Partition {
        name: "aws-iso-f",
        domain: "csp.hci.ic.gov",
        dual_stack: None,
        regions: "us-isof-",
        fips: false,
    },
];

/// The longest name of a region.
const REGION_LIMIT_BYTES: usize = 32;

/// The partition that has an endpoint without a region, and the region that its proofs are signed for.
const GLOBAL: (&str, &str, &str) = ("aws", "sts.amazonaws.com", "us-east-1");

/// Which endpoints count besides the plain ones of the regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StsEndpoints {
    /// `sts.amazonaws.com`.
    pub global: bool,
    pub fips: bool,
    pub dual_stack: bool,
}

/// One host of STS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StsHost {
    pub host: String,
    /// What proofs for it are signed for.
    pub region: String,
}

/// The names of all partitions.
pub(crate) fn partitions() -> impl Iterator<Item = &'static str> {
    PARTITIONS.iter().map(|one| one.name)
}

/// Whether a region can be one of this partition.
pub(crate) fn is_region_of(partition: &str, region: &str) -> bool {
    let is_name = (3..=REGION_LIMIT_BYTES).contains(&region.len())
        && region.starts_with(|first: char| first.is_ascii_lowercase())
        && region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let mut others = PARTITIONS.iter().filter(|one| !one.regions.is_empty());
    let owner = others.find(|one| region.starts_with(one.regions));
    is_name && owner.map_or(GLOBAL.0, |owner| owner.name) == partition
}

/// Whether the partition has an endpoint without a region.
pub(crate) fn has_global_endpoint(partition: &str) -> bool {
    partition == GLOBAL.0
}

/// Whether the partition has hosts for both versions of IP.
pub(crate) fn has_dual_stack(partition: &str) -> bool {
    named(partition).is_some_and(|one| one.dual_stack.is_some())
}

/// Whether the partition has hosts of its own for FIPS 140.
pub(crate) fn has_fips(partition: &str) -> bool {
    named(partition).is_some_and(|one| one.fips)
}

/// All hosts that proofs may be made for.
pub(crate) fn hosts(partition: &str, regions: &[String], which: StsEndpoints) -> Vec<StsHost> {
    let Some(partition) = named(partition) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut add = |host: String, region: &str| {
        found.push(StsHost {
            host,
            region: region.to_owned(),
        });
    };
    for region in regions {
        let domains = [
            Some(partition.domain),
            partition.dual_stack.filter(|_| which.dual_stack),
        ];
        for domain in domains.into_iter().flatten() {
            add(format!("sts.{region}.{domain}"), region);
            if which.fips && partition.fips {
                add(format!("sts-fips.{region}.{domain}"), region);
            }
        }
    }
    if which.global && has_global_endpoint(partition.name) {
        add(GLOBAL.1.to_owned(), GLOBAL.2);
    }
    found
}

/// The plain host of a region, of whichever partition.
pub(crate) fn regional_host(region: &str) -> Option<String> {
    let partition = partitions().find(|partition| is_region_of(partition, region))?;
    let hosts = hosts(partition, &[region.to_owned()], StsEndpoints::default());
    hosts.into_iter().next().map(|one| one.host)
}

fn named(partition: &str) -> Option<&'static Partition> {
    PARTITIONS.iter().find(|one| one.name == partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_partition() {
        let all = StsEndpoints {
            global: true,
            fips: true,
            dual_stack: true,
        };
        for (partition, region, which, expected) in [
            (
                "aws",
                "eu-west-1",
                StsEndpoints::default(),
                &["sts.eu-west-1.amazonaws.com eu-west-1"][..],
            ),
            (
                "aws",
                "us-east-2",
                all,
                &[
                    "sts.us-east-2.amazonaws.com us-east-2",
                    "sts-fips.us-east-2.amazonaws.com us-east-2",
                    "sts.us-east-2.api.aws us-east-2",
                    "sts-fips.us-east-2.api.aws us-east-2",
                    "sts.amazonaws.com us-east-1",
                ],
            ),
            (
                "aws-cn",
                "cn-north-1",
                all,
                &[
                    "sts.cn-north-1.amazonaws.com.cn cn-north-1",
                    "sts.cn-north-1.api.amazonwebservices.com.cn cn-north-1",
                ],
            ),
            (
                "aws-us-gov",
                "us-gov-west-1",
                StsEndpoints {
                    fips: true,
                    ..StsEndpoints::default()
                },
                &["sts.us-gov-west-1.amazonaws.com us-gov-west-1"],
            ),
            (
                "aws-iso-b",
                "us-isob-east-1",
                all,
                &["sts.us-isob-east-1.sc2s.sgov.gov us-isob-east-1"],
            ),
            ("aws-mars", "eu-west-1", all, &[]),
        ] {
            let found = hosts(partition, &[region.to_owned()], which);
            let found: Vec<String> = found
                .iter()
                .map(|one| format!("{} {}", one.host, one.region))
                .collect();
            assert_eq!(found, expected, "{partition} {region}");
        }
    }

    #[test]
    fn a_region_is_of_one_partition() {
        for (region, expected) in [
            ("eu-west-1", Some("aws")),
            ("ap-southeast-7", Some("aws")),
            ("cn-north-1", Some("aws-cn")),
            ("us-gov-east-1", Some("aws-us-gov")),
            ("eusc-de-east-1", Some("aws-eusc")),
            ("us-iso-east-1", Some("aws-iso")),
            ("us-isob-east-1", Some("aws-iso-b")),
            ("eu-isoe-west-1", Some("aws-iso-e")),
            ("us-isof-south-1", Some("aws-iso-f")),
            ("", None),
            ("EU-west-1", None),
            ("eu-west-1.evil", None),
            ("eu west", None),
            ("-eu-west-1", None),
            ("eu-west-1/", None),
            ("eu-west-1-and-so-on-and-so-on-and-so", None),
        ] {
            let found: Vec<&str> = partitions()
                .filter(|partition| is_region_of(partition, region))
                .collect();
            assert_eq!(found, Vec::from_iter(expected), "{region}");
        }
    }
}
