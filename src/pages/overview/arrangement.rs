//! Which VMs the overview lists, and in which order. Pure; kept in the page's address.

use crate::model::{VmStatus, VmView};
use leptos_router::params::ParamsMap;
use std::cmp::Ordering;

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// In the order of their creation.
    #[default]
    Age,
    Name,
    Cpu,
    Memory,
    Disk,
    Network,
    Uptime,
    Owner,
}

impl Sort {
    pub const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Age, "", "By age"),
        (Self::Name, "name", "By name"),
        (Self::Cpu, "cpu", "By CPU"),
        (Self::Memory, "memory", "By memory"),
        (Self::Disk, "disk", "By disk"),
        (Self::Network, "network", "By network"),
        (Self::Uptime, "uptime", "By uptime"),
        (Self::Owner, "owner", "By owner"),
    ];

    fn key(self) -> &'static str {
        Self::ALL.iter().find(|(sort, ..)| *sort == self).map_or("", |(_, key, _)| key)
    }

    /// Metrics start at the largest value, names at the first letter.
    fn starts_descending(self) -> bool {
        self.is_by_metric()
    }

    /// Whether each poll may change the order.
    pub fn is_by_metric(self) -> bool {
        !matches!(self, Self::Age | Self::Name | Self::Owner)
    }

    fn value(self, vm: &VmView) -> Option<f64> {
        let f = &vm.usage;
        match self {
            Self::Cpu => f.cpu_percent,
            Self::Memory => f.memory_percent,
            Self::Disk => f.disk_percent,
            Self::Network => f.network_rx_mb_per_s.zip(f.network_tx_mb_per_s).map(|(rx, tx)| rx + tx),
            Self::Uptime => f.uptime_seconds.map(|secs| secs as f64),
            Self::Age => Some(vm.id as f64),
            Self::Name | Self::Owner => None,
        }
    }
}

/// Which statuses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusFilter {
    #[default]
    All,
    Running,
    Stopped,
    Trouble,
}

impl StatusFilter {
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::All, "", "All"),
        (Self::Running, "running", "Running"),
        (Self::Stopped, "stopped", "Stopped"),
        (Self::Trouble, "trouble", "Problems"),
    ];

    pub fn matches(self, vm: &VmView) -> bool {
        match self {
            Self::All => true,
            Self::Running => vm.status == VmStatus::Running,
            Self::Stopped => matches!(vm.status, VmStatus::Stopped | VmStatus::Suspended),
            Self::Trouble => {
                vm.problem.is_some()
                    || matches!(vm.status, VmStatus::Failed | VmStatus::Unknown | VmStatus::NotCreated)
            }
        }
    }
}

/// What rows are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    #[default]
    None,
    Status,
    Owner,
    Image,
}

impl Grouping {
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::None, "", "Not grouped"),
        (Self::Status, "status", "By status"),
        (Self::Owner, "owner", "By owner"),
        (Self::Image, "image", "By image"),
    ];

    fn key_of(self, vm: &VmView) -> String {
        match self {
            Self::None => String::new(),
            Self::Status => vm.status.label().to_owned(),
            Self::Owner => vm.owner_name.clone(),
            Self::Image => vm.os_type.clone(),
        }
    }
}

/// Sorting, filter and grouping of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrangement {
    pub sort: Sort,
    pub descending: bool,
    pub status: StatusFilter,
    pub group: Grouping,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// A group's name and its number of rows.
    Heading(String, usize),
    Vm(i64),
}

impl Arrangement {
    pub fn from_query(query: &ParamsMap) -> Self {
        let word = |name: &str| query.get(name).unwrap_or_default();
        let key = word("sort");
        let given = query.get("order").map(|order| order == "down");
        let sort = Sort::ALL.iter().find(|(_, name, _)| *name == key).map_or(Sort::Age, |(sort, ..)| *sort);
        let (status, group) = (word("status"), word("group"));
        Self {
            sort,
            descending: given.unwrap_or(sort.starts_descending()),
            status: StatusFilter::ALL
                .iter()
                .find(|(_, key, _)| *key == status)
                .map_or(StatusFilter::All, |(status, ..)| *status),
            group: Grouping::ALL
                .iter()
                .find(|(_, key, _)| *key == group)
                .map_or(Grouping::None, |(group, ..)| *group),
        }
    }

    /// The page's address with this arrangement and search.
    pub fn address(self, search: &str) -> String {
        let mut map = ParamsMap::new();
        for (name, value) in [("q", search)].into_iter().chain(self.parts()) {
            if !value.is_empty() {
                map.insert(name, value.to_owned());
            }
        }
        let query = map.to_query_string();
        if query.is_empty() { "/".into() } else { format!("/{query}") }
    }

    /// The query's parameters; a default is empty.
    pub fn parts(self) -> [(&'static str, &'static str); 4] {
        let status = StatusFilter::ALL
            .iter()
            .find(|(status, ..)| *status == self.status)
            .map_or("", |(_, key, _)| key);
        let group =
            Grouping::ALL.iter().find(|(group, ..)| *group == self.group).map_or("", |(_, key, _)| key);
        let order = match self.descending {
            descending if descending == self.sort.starts_descending() => "",
            true => "down",
            false => "up",
        };
        [("status", status), ("group", group), ("sort", self.sort.key()), ("order", order)]
    }

    /// Sorted by `sort`; in reverse if it is already.
    #[must_use]
    pub fn sorted_by(self, sort: Sort) -> Self {
        let descending = if self.sort == sort { !self.descending } else { sort.starts_descending() };
        Self { sort, descending, ..self }
    }

    /// The matching VMs in order; `search` is in lower case. Unknown values come last.
    pub fn items(self, vms: &[VmView], search: &str) -> Vec<Item> {
        let mut shown: Vec<_> =
            vms.iter().filter(|vm| self.status.matches(vm) && matches_search(vm, search)).collect();
        shown.sort_by(|a, b| self.order(a, b));
        if self.group == Grouping::None {
            return shown.into_iter().map(|vm| Item::Vm(vm.id)).collect();
        }
        shown.sort_by_cached_key(|vm| self.group.key_of(vm));
        let mut items = Vec::with_capacity(shown.len() + 4);
        for group in shown.chunk_by(|a, b| self.group.key_of(a) == self.group.key_of(b)) {
            items.push(Item::Heading(self.group.key_of(group[0]), group.len()));
            items.extend(group.iter().map(|vm| Item::Vm(vm.id)));
        }
        items
    }

    fn order(self, a: &VmView, b: &VmView) -> Ordering {
        let directed = |order: Ordering| if self.descending { order.reverse() } else { order };
        let order = match self.sort {
            Sort::Name => directed(a.name.cmp(&b.name)),
            Sort::Owner => directed(a.owner_name.cmp(&b.owner_name)),
            sort => match (sort.value(a), sort.value(b)) {
                (Some(a), Some(b)) => directed(a.total_cmp(&b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            },
        };
        order.then(a.id.cmp(&b.id))
    }
}

/// Whether a VM matches a search in lower case.
fn matches_search(vm: &VmView, search: &str) -> bool {
    if search.is_empty() {
        return true;
    }
    let texts = [vm.name.as_str(), &vm.os_type, vm.ip_address.as_deref().unwrap_or_default(), &vm.owner_name];
    texts.iter().any(|text| text.to_ascii_lowercase().contains(search))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::feed::tests::vm;
    use proptest::prelude::*;

    fn fleet(cpus: &[Option<f64>]) -> Vec<VmView> {
        let one = |(i, cpu): (usize, &Option<f64>)| {
            let mut vm = vm(i as i64 + 1);
            vm.usage.cpu_percent = *cpu;
            vm.status = if i % 2 == 0 { VmStatus::Running } else { VmStatus::Stopped };
            vm
        };
        cpus.iter().enumerate().map(one).collect()
    }

    fn ids(items: &[Item]) -> Vec<i64> {
        items.iter().filter_map(|item| if let Item::Vm(id) = item { Some(*id) } else { None }).collect()
    }

    #[test]
    fn the_busiest_comes_first_and_unknown_values_last_in_both_directions() {
        let fleet = fleet(&[Some(5.0), None, Some(90.0)]);
        let by_cpu = Arrangement::default().sorted_by(Sort::Cpu);
        assert_eq!(ids(&by_cpu.items(&fleet, "")), [3, 1, 2]);
        assert_eq!(ids(&by_cpu.sorted_by(Sort::Cpu).items(&fleet, "")), [1, 3, 2]);
    }

    #[test]
    fn group_headings_show_their_number_of_rows() {
        let arranged = Arrangement { group: Grouping::Status, ..Arrangement::default() };
        let items = arranged.items(&fleet(&[None, None, None]), "");
        let expected = [
            Item::Heading("running".into(), 2),
            Item::Vm(1),
            Item::Vm(3),
            Item::Heading("stopped".into(), 1),
            Item::Vm(2),
        ];
        assert_eq!(items, expected);
    }

    proptest! {
        #[test]
        fn an_address_gives_back_its_arrangement(sort in 0..8_usize, down in any::<bool>(), status in 0..4_usize, group in 0..4_usize) {
            let sort = Sort::ALL[sort].0;
            let arranged = Arrangement { sort, descending: down, status: StatusFilter::ALL[status].0, group: Grouping::ALL[group].0 };
            let address = arranged.address("");
            let mut map = ParamsMap::new();
            for pair in address.trim_start_matches("/?").split('&').filter_map(|pair| pair.split_once('=')) {
                map.insert(pair.0.to_owned(), pair.1.to_owned());
            }
            prop_assert_eq!(Arrangement::from_query(&map), arranged);
        }

        #[test]
        fn every_matching_vm_is_listed_once(cpus in proptest::collection::vec(proptest::option::of(0.0..100.0_f64), 0..20), sort in 0..8_usize, group in 0..4_usize) {
            let arranged = Arrangement { sort: Sort::ALL[sort].0, descending: true, status: StatusFilter::All, group: Grouping::ALL[group].0 };
            let mut listed = ids(&arranged.items(&fleet(&cpus), ""));
            listed.sort_unstable();
            prop_assert_eq!(listed, (1..=cpus.len() as i64).collect::<Vec<_>>());
        }
    }
}
