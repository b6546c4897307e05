//! The tabs of a VM's page: links with addresses of their own.

use leptos::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Snapshots,
    Activity,
    Settings,
}

impl Tab {
    const ALL: [Self; 4] = [Self::Overview, Self::Snapshots, Self::Activity, Self::Settings];

    /// The tab that an address names after the VM's id; without a name it is the overview.
    pub fn parse(segment: Option<&str>) -> Option<Self> {
        let name = segment.unwrap_or_default();
        Self::ALL.into_iter().find(|tab| tab.segment() == name)
    }

    fn segment(self) -> &'static str {
        match self {
            Self::Overview => "",
            Self::Snapshots => "snapshots",
            Self::Activity => "activity",
            Self::Settings => "settings",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Snapshots => "Snapshots",
            Self::Activity => "Activity",
            Self::Settings => "Settings",
        }
    }

    pub fn path(self, vm_id: i64) -> String {
        match self {
            Self::Overview => format!("/vms/{vm_id}"),
            tab => format!("/vms/{vm_id}/{}", tab.segment()),
        }
    }
}

/// An imported VM has no snapshots here.
#[component]
pub fn Tabs(id: i64, tab: Memo<Option<Tab>>, is_imported: bool) -> impl IntoView {
    let links = Tab::ALL.into_iter().filter(|tab| !(is_imported && *tab == Tab::Snapshots));
    let link = |to: Tab| {
        view! { <a href=to.path(id) aria-current=move || (tab.get() == Some(to)).then_some("page")>{to.label()}</a> }
    };
    view! { <nav class="tabs" aria-label="VM sections">{links.map(link).collect_view()}</nav> }
}

#[cfg(test)]
mod tests {
    use super::Tab;

    #[test]
    fn an_address_leads_to_the_tab_it_was_made_for() {
        for tab in Tab::ALL {
            let path = tab.path(7);
            let segment = path.strip_prefix("/vms/7").unwrap().strip_prefix('/');
            assert_eq!(Tab::parse(segment), Some(tab), "{path}");
        }
        assert_eq!(Tab::parse(Some("terminal")), None);
    }
}
