//! Which connections are open, and which one gives way to a new one when there are too many.
//!
//! Pure: no clock, no I/O. An idle connection is one without a request whose head has arrived: it is lost without harm,
//! since its client opens another. So idle connections never keep anybody out, and of those with a request each address
//! has a share only.

use nix::sys::resource::rlim_t;
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub total: usize,
    /// From one IPv4 address or one /64 of IPv6. Trusted proxies are exempt: they carry many clients.
    pub per_address: usize,
}

impl Limits {
    const TOTAL: usize = 8192;
    const PER_ADDRESS: usize = 256;
    /// For the database, the guests' ssh connections, and the pipes of `virsh` and `vagrant`.
    const RESERVED: usize = 512;

    /// The limits of a process that may have this many descriptors.
    pub fn for_descriptors(descriptors: rlim_t) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let reserved = Self::RESERVED.max(descriptors / 4).min(descriptors - descriptors / 4);
        let total = Self::TOTAL.min(descriptors - reserved);
        Self { total, per_address: Self::PER_ADDRESS.min(total / 2).max(1) }
    }
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Admitted(u64),
    /// In place of an idle one, which has to be closed.
    InPlaceOf {
        id: u64,
        evicted: u64,
    },
    /// All are in use.
    Rejected,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    idle_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Share {
    count: usize,
    idle: BTreeSet<(Instant, u64)>,
}

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    limits: Limits,
    next_id: u64,
    entries: HashMap<u64, Entry>,
    shares: HashMap<IpAddr, Share>,
}

impl Connections {
    pub fn new(limits: Limits) -> Self {
        Self { limits, next_id: 0, entries: HashMap::new(), shares: HashMap::new() }
    }

    /// Adds a connection, which begins as an idle one, if there is room for it or an idle one gives way: that of the same
    /// address if its share is used up, else one of the address with the most connections; the one idle for longest.
    pub fn admit(&mut self, peer: IpAddr, is_trusted_proxy: bool, now: Instant) -> Admission {
        let address = network_of(peer);
        let used = self.shares.get(&address).map_or(0, |share| share.count);
        let evicted = if !is_trusted_proxy && used >= self.limits.per_address {
            self.shares.get(&address).and_then(|share| share.idle.first())
        } else if self.entries.len() >= self.limits.total {
            let with_idle = self.shares.values().filter(|share| !share.idle.is_empty());
            with_idle.max_by_key(|share| share.count).and_then(|share| share.idle.first())
        } else {
            return Admission::Admitted(self.insert(address, now));
        };
        let Some(&(_, evicted)) = evicted else { return Admission::Rejected };
        self.remove(evicted);
        Admission::InPlaceOf { id: self.insert(address, now), evicted }
    }

    fn insert(&mut self, address: IpAddr, now: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.insert(id, Entry { address, idle_since: Some(now) });
        let share = self.shares.entry(address).or_default();
        share.count += 1;
        share.idle.insert((now, id));
        id
    }

    /// A request has arrived. `false` if the connection has given way.
    pub fn set_active(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if let (Some(since), Some(share)) = (entry.idle_since.take(), self.shares.get_mut(&entry.address)) {
            share.idle.remove(&(since, id));
        }
        true
    }

    /// The last of its requests has been answered.
    pub fn set_idle(&mut self, id: u64, now: Instant) {
        if self.set_active(id)
            && let Some(entry) = self.entries.get_mut(&id)
            && let Some(share) = self.shares.get_mut(&entry.address)
        {
            entry.idle_since = Some(now);
            share.idle.insert((now, id));
        }
    }

    /// It is closed, or has given way.
    pub fn remove(&mut self, id: u64) {
        self.set_active(id);
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Some(share) = self.shares.get_mut(&entry.address) {
            share.count -= 1;
            if share.count == 0 {
                self.shares.remove(&entry.address);
            }
        }
    }
}

/// The address; of IPv6 the /64, of which a client may use all addresses.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn peer(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn table(total: usize, per_address: usize) -> Connections {
        Connections::new(Limits { total, per_address })
    }

    fn admitted(connections: &mut Connections, peer: IpAddr, now: Instant) -> u64 {
        match connections.admit(peer, false, now) {
            Admission::Admitted(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn descriptors_are_left_for_the_rest_of_the_server() {
        for (descriptors, total, per_address) in [
            (rlim_t::MAX, 8192, 256),
            (524_288, 8192, 256),
            (4096, 3072, 256),
            (1024, 512, 256),
            (512, 128, 64),
            (64, 16, 8),
        ] {
            assert_eq!(Limits::for_descriptors(descriptors), Limits { total, per_address }, "{descriptors}");
        }
    }

    #[test]
    fn an_idle_connection_of_the_same_address_gives_way_when_its_share_is_used_up() {
        let (now, mut connections) = (Instant::now(), table(10, 2));
        let other = admitted(&mut connections, peer(2), now);
        let first = admitted(&mut connections, peer(1), now);
        let second = admitted(&mut connections, peer(1), now + Duration::from_secs(1));
        assert!(connections.set_active(first));
        let Admission::InPlaceOf { id, evicted } = connections.admit(peer(1), false, now) else { panic!() };
        assert_eq!(evicted, second);
        assert!(!connections.set_active(second), "it may no longer be used");
        assert!(connections.set_active(id) && connections.set_active(other));
        assert_eq!(connections.admit(peer(1), false, now), Admission::Rejected);
        connections.set_idle(first, now);
        assert!(
            matches!(connections.admit(peer(1), false, now), Admission::InPlaceOf { evicted, .. } if evicted == first)
        );
    }

    #[test]
    fn when_all_are_used_up_the_largest_share_gives_way() {
        let (now, mut connections) = (Instant::now(), table(4, 3));
        admitted(&mut connections, peer(1), now);
        let of_many: Vec<_> =
            (1..4).map(|n| admitted(&mut connections, peer(2), now + Duration::from_secs(n))).collect();
        assert!(
            matches!(connections.admit(peer(3), false, now), Admission::InPlaceOf { evicted, .. } if evicted == of_many[0])
        );
    }

    #[test]
    fn a_trusted_proxy_has_no_share() {
        let (now, mut connections) = (Instant::now(), table(4, 1));
        for _ in 0..4 {
            assert!(matches!(connections.admit(peer(1), true, now), Admission::Admitted(_)));
        }
        assert!(matches!(connections.admit(peer(1), true, now), Admission::InPlaceOf { .. }));
    }

    #[test]
    fn addresses_of_the_same_ipv6_network_share() {
        let (now, mut connections) = (Instant::now(), table(4, 1));
        let [one, two, other] =
            ["2001:db8::1", "2001:db8::2:3", "2001:db8:0:1::1"].map(|ip| ip.parse().unwrap());
        let id = admitted(&mut connections, one, now);
        connections.set_active(id);
        assert_eq!(connections.admit(two, false, now), Admission::Rejected);
        admitted(&mut connections, other, now);
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), peer(1));
    }

    proptest! {
        #[test]
        fn limits_hold_whatever_happens(steps in prop::collection::vec((0_u8..5, 0_u8..4, 0_usize..16), 0..200)) {
            let (begin, limits) = (Instant::now(), Limits { total: 8, per_address: 3 });
            let mut connections = Connections::new(limits);
            let mut open = Vec::new();
            for (n, (step, address, which)) in steps.into_iter().enumerate() {
                let now = begin + Duration::from_secs(n as u64);
                let id = open.get(which).copied();
                match (step, id) {
                    (0 | 1, _) => match connections.admit(peer(address), false, now) {
                        Admission::Admitted(id) => open.push(id),
                        Admission::InPlaceOf { id, evicted } => {
                            open.retain(|other| *other != evicted);
                            open.push(id);
                        }
                        Admission::Rejected => {}
                    },
                    (2, Some(id)) => prop_assert!(connections.set_active(id)),
                    (3, Some(id)) => connections.set_idle(id, now),
                    (_, Some(id)) => {
                        connections.remove(id);
                        open.retain(|other| *other != id);
                    }
                    _ => {}
                }
                prop_assert_eq!(connections.entries.len(), open.len());
                prop_assert!(open.len() <= limits.total);
                let counted: usize = connections.shares.values().map(|share| share.count).sum();
                prop_assert_eq!(counted, open.len());
                for share in connections.shares.values() {
                    prop_assert!(share.count <= limits.per_address && share.idle.len() <= share.count);
                }
            }
        }
    }
}
