//! The entries of the palette, and the search in them. Pure.

use crate::model::{AccessLevel, OperationKind, Theme, VmView};

/// An entry: a page, a VM or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    /// Its kind, as shown.
    pub kind: String,
    pub does: Does,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// Opens this path.
    Navigate(String),
    /// Requests an operation on a VM and opens its page.
    Run(OperationKind, Target),
    SetTheme(Theme),
    SignOut,
}

/// The VM of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub id: i64,
    pub name: String,
    /// Set if VMs of several owners are shown, because names are unique per owner only.
    pub owner: Option<String>,
}

impl Target {
    pub fn of(vm: &VmView, with_owner: bool) -> Self {
        Self { id: vm.id, name: vm.name.clone(), owner: with_owner.then(|| vm.owner_name.clone()) }
    }

    /// `web-1`, or `web-1 of bob`.
    pub fn label(&self) -> String {
        self.owner.as_ref().map_or_else(|| self.name.clone(), |owner| format!("{} of {owner}", self.name))
    }

    /// `bob's VM`, or `alone`.
    pub fn kind(&self, alone: &str) -> String {
        self.owner.as_ref().map_or_else(|| alone.to_owned(), |owner| format!("{owner}'s VM"))
    }
}

/// The actions on a VM.
pub const ACTIONS: [(OperationKind, &str); 8] = [
    (OperationKind::Start, "Start"),
    (OperationKind::Resume, "Resume"),
    (OperationKind::Stop, "Stop"),
    (OperationKind::Restart, "Restart"),
    (OperationKind::Suspend, "Suspend"),
    (OperationKind::SnapshotSave, "Save a snapshot of"),
    (OperationKind::ForceStop, "Power off"),
    (OperationKind::Destroy, "Destroy"),
];

/// Name, path, and the key behind `g` that leads there.
pub const PAGES: [(&str, &str, &str); 9] = [
    ("Overview", "/", "o"),
    ("Launch a VM", "/vms/new", "n"),
    ("Monitor", "/monitor", "m"),
    ("Alerts", "/alerts", "a"),
    ("Events", "/events", "e"),
    ("Open terminals", "/terminals", "t"),
    ("Admin", "/admin", "d"),
    ("Accounts", "/admin/accounts", "u"),
    ("Account", "/account", "p"),
];
/// Pages for admins only.
pub const FOR_ADMINS: [&str; 2] = ["/admin", "/admin/accounts"];
/// The maximum number of entries shown.
const SHOWN: usize = 12;

pub fn pages(is_admin: bool) -> Vec<Place> {
    let may_see = |path: &str| is_admin || !FOR_ADMINS.contains(&path);
    let pages = PAGES.iter().filter(|(_, path, _)| may_see(path));
    let place = |(name, path, _): &(&str, &str, &str)| Place {
        name: (*name).into(),
        kind: "page".into(),
        does: Does::Navigate((*path).into()),
    };
    pages.map(place).collect()
}

/// Actions that are always available.
fn deeds() -> impl Iterator<Item = Place> {
    let deeds = [
        ("Light theme", Does::SetTheme(Theme::Light)),
        ("Dark theme", Does::SetTheme(Theme::Dark)),
        ("System theme", Does::SetTheme(Theme::System)),
        ("Sign out", Does::SignOut),
    ];
    deeds.into_iter().map(|(name, does)| Place { name: name.into(), kind: "action".into(), does })
}

/// The VMs, followed by the actions each allows now.
pub fn places_of(vms: &[VmView], with_owner: bool) -> Vec<Place> {
    let place = |vm: &VmView| Place {
        name: vm.name.clone(),
        kind: Target::of(vm, with_owner).kind("VM"),
        does: Does::Navigate(format!("/vms/{}", vm.id)),
    };
    let actions = vms.iter().flat_map(|vm| {
        // For an imported VM, the confirmation on its page says what is lost.
        let may =
            |kind| vm.allowed.contains(&kind) && (kind != OperationKind::Destroy || vm.adopted.is_none());
        ACTIONS.iter().filter(move |(kind, _)| may(*kind)).map(move |(kind, word)| {
            let target = Target::of(vm, with_owner);
            Place {
                name: format!("{word} {}", vm.name),
                kind: target.kind("action"),
                does: Does::Run(*kind, target),
            }
        })
    });
    let terminals = vms.iter().filter(|vm| vm.allowed.contains(&OperationKind::Stop)).map(|vm| Place {
        name: format!("Terminal of {}", vm.name),
        kind: Target::of(vm, with_owner).kind("page"),
        does: Does::Navigate(format!("/vms/{}/terminal", vm.id)),
    });
    vms.iter().map(place).chain(terminals).chain(actions).collect()
}

pub fn all_places(is_admin: bool, vms: &[VmView]) -> Vec<Place> {
    let with_owner = is_admin || vms.iter().any(|vm| vm.access != AccessLevel::Own);
    pages(is_admin).into_iter().chain(places_of(vms, with_owner)).chain(deeds()).collect()
}

/// The entries with all letters of `typed` in this order: first those that start with it, then those that contain
/// it.
pub fn found(places: &[Place], typed: &str) -> Vec<Place> {
    let typed = typed.trim().to_ascii_lowercase();
    let rank = |place: &Place| {
        let name = place.name.to_ascii_lowercase();
        let mut letters = name.chars();
        if name.starts_with(&typed) {
            Some(0)
        } else if name.contains(&typed) {
            Some(1)
        } else {
            typed.chars().all(|wanted| letters.any(|letter| letter == wanted)).then_some(2)
        }
    };
    let mut ranked: Vec<_> = places.iter().filter_map(|place| Some((rank(place)?, place))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, place)| place.clone()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::feed::tests::vm;

    fn names(places: &[Place]) -> Vec<&str> {
        places.iter().map(|place| place.name.as_str()).collect()
    }

    #[test]
    fn prefixes_rank_before_substrings_and_those_before_single_letters() {
        let vm = |name: &str| Place { name: name.into(), kind: "VM".into(), does: Does::SignOut };
        let places = [vm("my-web"), vm("w-e-b"), vm("web-1"), vm("db")];
        assert_eq!(names(&found(&places, " WEB")), ["web-1", "my-web", "w-e-b"]);
        assert_eq!(found(&places, "").len(), 4);
        assert!(found(&places, "x").is_empty());
    }

    #[test]
    fn operations_are_listed_after_all_vms() {
        let mut vms = [vm(1), vm(2)];
        vms[0].allowed = vec![OperationKind::Stop, OperationKind::Restart, OperationKind::Destroy];
        assert_eq!(
            names(&places_of(&vms, false)),
            ["vm-1", "vm-2", "Terminal of vm-1", "Stop vm-1", "Restart vm-1", "Destroy vm-1"]
        );
    }

    #[test]
    fn only_admins_are_led_to_their_pages() {
        assert!(names(&pages(true)).contains(&"Admin"));
        assert!(!names(&pages(false)).iter().any(|name| *name == "Admin" || *name == "Accounts"));
    }

    #[test]
    fn every_page_has_a_letter_of_its_own() {
        let letters: std::collections::BTreeSet<_> = PAGES.iter().map(|(.., letter)| letter).collect();
        assert_eq!(letters.len(), PAGES.len());
    }
}
