//! Which VMs the overview lists, and in which order. Pure; it stands in the page's address.

use crate::model::{VmStatus, VmView};
use leptos_router::params::ParamsMap;
use std::cmp::Ordering;

/// By what rows are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// As they were made.
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
        (Self::Uptime, "uptime", "By time up"),
        (Self::Owner, "owner", "By owner"),
    ];

    fn key(self) -> &'static str {
        Self::ALL.iter().find(|(sort, ..)| *sort == self).map_or("", |(_, key, _)| key)
    }

    /// Figures are looked through from the largest, names from the first.
    fn begins_descending(self) -> bool {
        self.is_by_figures()
    }

    /// Whether each poll may bring another order.
    pub fn is_by_figures(self) -> bool {
        !matches!(self, Self::Age | Self::Name | Self::Owner)
    }

    fn figure(self, vm: &VmView) -> Option<f64> {
        let f = &vm.figures;
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

/// Which of the statuses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Chip {
    #[default]
    All,
    Running,
    Stopped,
    Trouble,
}

impl Chip {
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::All, "", "All"),
        (Self::Running, "running", "Running"),
        (Self::Stopped, "stopped", "Stopped"),
        (Self::Trouble, "trouble", "Trouble"),
    ];

    pub fn holds(self, vm: &VmView) -> bool {
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

/// By what rows stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Group {
    #[default]
    None,
    Status,
    Owner,
    Image,
}

impl Group {
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::None, "", "Not grouped"),
        (Self::Status, "status", "By status"),
        (Self::Owner, "owner", "By owner"),
        (Self::Image, "image", "By image"),
    ];

    fn of(self, vm: &VmView) -> String {
        match self {
            Self::None => String::new(),
            Self::Status => vm.status.label().to_owned(),
            Self::Owner => vm.owner_name.clone(),
            Self::Image => vm.os_type.clone(),
        }
    }
}

/// What somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrangement {
    pub sort: Sort,
    pub descending: bool,
    pub chip: Chip,
    pub group: Group,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// What the rows below have in common, and how many they are.
    Heading(String, usize),
    Vm(i64),
}

impl Arrangement {
    pub fn of_query(query: &ParamsMap) -> Self {
        let word = |name: &str| query.get(name).unwrap_or_default();
        let key = word("sort");
        let given = query.get("order").map(|order| order == "down");
        let sort = Sort::ALL.iter().find(|(_, name, _)| *name == key).map_or(Sort::Age, |(sort, ..)| *sort);
        let (chip, group) = (word("status"), word("group"));
        Self {
            sort,
            descending: given.unwrap_or(sort.begins_descending()),
            chip: Chip::ALL.iter().find(|(_, key, _)| *key == chip).map_or(Chip::All, |(chip, ..)| *chip),
            group: Group::ALL
                .iter()
                .find(|(_, key, _)| *key == group)
                .map_or(Group::None, |(group, ..)| *group),
        }
    }

    /// As the query of an address, with what is searched for.
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

    /// As the parts of a query; empty where it is as it would be without.
    pub fn parts(self) -> [(&'static str, &'static str); 4] {
        let chip = Chip::ALL.iter().find(|(chip, ..)| *chip == self.chip).map_or("", |(_, key, _)| key);
        let group = Group::ALL.iter().find(|(group, ..)| *group == self.group).map_or("", |(_, key, _)| key);
        let order = match self.descending {
            descending if descending == self.sort.begins_descending() => "",
            true => "down",
            false => "up",
        };
        [("status", chip), ("group", group), ("sort", self.sort.key()), ("order", order)]
    }

    /// Sorted by this, the other way round if it is already.
    #[must_use]
    pub fn sorted_by(self, sort: Sort) -> Self {
        let descending = if self.sort == sort { !self.descending } else { sort.begins_descending() };
        Self { sort, descending, ..self }
    }

    /// The list of those VMs that are wanted; `search` is in lower case. What is not known stands last.
    pub fn items(self, vms: &[VmView], search: &str) -> Vec<Item> {
        let mut shown: Vec<_> = vms.iter().filter(|vm| self.chip.holds(vm) && is_found(vm, search)).collect();
        shown.sort_by(|a, b| self.order(a, b));
        if self.group == Group::None {
            return shown.into_iter().map(|vm| Item::Vm(vm.id)).collect();
        }
        shown.sort_by_cached_key(|vm| self.group.of(vm));
        let mut items = Vec::with_capacity(shown.len() + 4);
        for group in shown.chunk_by(|a, b| self.group.of(a) == self.group.of(b)) {
            items.push(Item::Heading(self.group.of(group[0]), group.len()));
            items.extend(group.iter().map(|vm| Item::Vm(vm.id)));
        }
        items
    }

    fn order(self, a: &VmView, b: &VmView) -> Ordering {
        let turned = |order: Ordering| if self.descending { order.reverse() } else { order };
        let order = match self.sort {
            Sort::Name => turned(a.name.cmp(&b.name)),
            Sort::Owner => turned(a.owner_name.cmp(&b.owner_name)),
            sort => match (sort.figure(a), sort.figure(b)) {
                (Some(a), Some(b)) => turned(a.total_cmp(&b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            },
        };
        order.then(a.id.cmp(&b.id))
    }
}

/// Whether a VM is what somebody looks for; `wanted` is in lower case.
fn is_found(vm: &VmView, wanted: &str) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let texts = [vm.name.as_str(), &vm.os_type, vm.ip_address.as_deref().unwrap_or_default(), &vm.owner_name];
    texts.iter().any(|text| text.to_ascii_lowercase().contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::feed::tests::vm;
    use proptest::prelude::*;

    fn fleet(cpus: &[Option<f64>]) -> Vec<VmView> {
        let one = |(i, cpu): (usize, &Option<f64>)| {
            let mut vm = vm(i as i64 + 1);
            vm.figures.cpu_percent = *cpu;
            vm.status = if i % 2 == 0 { VmStatus::Running } else { VmStatus::Stopped };
            vm
        };
        cpus.iter().enumerate().map(one).collect()
    }

    fn ids(items: &[Item]) -> Vec<i64> {
        items.iter().filter_map(|item| if let Item::Vm(id) = item { Some(*id) } else { None }).collect()
    }

    #[test]
    fn the_busiest_comes_first_and_what_is_not_known_last_either_way() {
        let fleet = fleet(&[Some(5.0), None, Some(90.0)]);
        let by_cpu = Arrangement::default().sorted_by(Sort::Cpu);
        assert_eq!(ids(&by_cpu.items(&fleet, "")), [3, 1, 2]);
        assert_eq!(ids(&by_cpu.sorted_by(Sort::Cpu).items(&fleet, "")), [1, 3, 2]);
    }

    #[test]
    fn groups_have_headings_with_their_number() {
        let arranged = Arrangement { group: Group::Status, ..Arrangement::default() };
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
        fn an_address_leads_to_what_it_was_made_of(sort in 0..8_usize, down in any::<bool>(), chip in 0..4_usize, group in 0..4_usize) {
            let sort = Sort::ALL[sort].0;
            let asked = Arrangement { sort, descending: down, chip: Chip::ALL[chip].0, group: Group::ALL[group].0 };
            let address = asked.address("");
            let mut map = ParamsMap::new();
            for pair in address.trim_start_matches("/?").split('&').filter_map(|pair| pair.split_once('=')) {
                map.insert(pair.0.to_owned(), pair.1.to_owned());
            }
            prop_assert_eq!(Arrangement::of_query(&map), asked);
        }

        #[test]
        fn every_vm_that_is_wanted_is_listed_once(cpus in proptest::collection::vec(proptest::option::of(0.0..100.0_f64), 0..20), sort in 0..8_usize, group in 0..4_usize) {
            let arranged = Arrangement { sort: Sort::ALL[sort].0, descending: true, chip: Chip::All, group: Group::ALL[group].0 };
            let mut listed = ids(&arranged.items(&fleet(&cpus), ""));
            listed.sort_unstable();
            prop_assert_eq!(listed, (1..=cpus.len() as i64).collect::<Vec<_>>());
        }
    }
}
