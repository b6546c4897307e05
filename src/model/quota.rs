//! The price of VMs and the quota of accounts.

use super::VmSpec;
use serde::{Deserialize, Serialize};

/// Credits that a VM of this size costs: 5 for each 512 MB of memory, 2 for each 10 GB of disk, 10 for each core;
/// proportional to the MB and GB, and rounded up once at the end.
pub fn price(spec: &VmSpec) -> u32 {
    // In 1/2560 of a credit, so that every term is whole: 5 / 512 MB = 25, 2 / 10 GB = 512, 10 a core = 25600.
    const UNIT: u64 = 2560;
    let exact =
        25 * u64::from(spec.ram_mb) + 512 * u64::from(spec.disk_gb) + 25_600 * u64::from(spec.cpu_cores);
    u32::try_from(exact.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// The quota of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Credits that are neither spent nor reserved.
    pub credits_available: i64,
    /// Credits reserved for running operations.
    pub credits_reserved: i64,
    /// All credits ever granted.
    pub credits_granted: i64,
    /// VMs that count towards `max_vms`.
    pub vms: u32,
    /// The maximum number of VMs.
    pub max_vms: u32,
}

/// Whether a VM of a given size can be launched now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaCheck {
    /// What the VM costs, in credits.
    pub price: u32,
    /// The account's current quota.
    pub quota: Quota,
    /// Whether the launch is possible, that is, whether `reasons` is empty.
    pub allowed: bool,
    /// The reasons why not, as sentences.
    pub reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(ram_mb: u32, disk_gb: u32, cpu_cores: u32) -> VmSpec {
        VmSpec { image: "debian-12".into(), ram_mb, cpu_cores, disk_gb }
    }

    #[test]
    fn a_price_is_exact_and_rounded_up_once() {
        assert_eq!(price(&spec(512, 10, 1)), 17);
        assert_eq!(price(&spec(1024, 20, 2)), 34);
        assert_eq!(price(&spec(128, 1, 1)), 12, "1.25 + 0.2 + 10 = 11.45");
        assert_eq!(price(&spec(513, 10, 1)), 18, "a MB more is a part of a credit more");
        assert_eq!(price(&spec(16 * 1024, 500, 8)), 340);
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_its_parts_rounded_up(ram in 1u32..=65_536, disk in 1u32..=5_000, cores in 1u32..=64) {
            let exact = f64::from(ram) / 512.0 * 5.0 + f64::from(disk) / 10.0 * 2.0 + f64::from(cores) * 10.0;
            let price = f64::from(price(&spec(ram, disk, cores)));
            prop_assert!(price >= exact - 1e-6 && price < exact + 1.0);
        }

        #[test]
        fn more_never_costs_less(ram in 1u32..=65_536, disk in 1u32..=5_000, cores in 1u32..=64) {
            let less = price(&spec(ram, disk, cores));
            prop_assert!(price(&spec(ram + 1, disk, cores)) >= less);
            prop_assert!(price(&spec(ram, disk + 1, cores)) >= less);
            prop_assert!(price(&spec(ram, disk, cores + 1)) >= less + 10);
        }
    }
}
