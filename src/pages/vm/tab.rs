//! The tabs of a VM's page: links with addresses of their own.

use leptos::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Snapshots,
    Activity,
    Settings,
    /// A page of its own, with the same address as a tab.
    Terminal,
}

impl Tab {
    const ALL: [Self; 5] = [Self::Overview, Self::Snapshots, Self::Activity, Self::Settings, Self::Terminal];

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
            Self::Terminal => "terminal",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Snapshots => "Snapshots",
            Self::Activity => "Activity",
            Self::Settings => "Settings",
            Self::Terminal => "Terminal",
        }
    }

    pub fn path(self, vm_id: i64) -> String {
        match self {
            Self::Overview => format!("/vms/{vm_id}"),
            tab => format!("/vms/{vm_id}/{}", tab.segment()),
        }
    }
}

/// An imported VM has no snapshots here, and a terminal is for those who operate the VM.
#[component]
pub fn Tabs(id: i64, tab: Memo<Option<Tab>>, is_imported: bool, operates: bool) -> impl IntoView {
    let links = Tab::ALL.into_iter().filter(|tab| match tab {
        Tab::Snapshots => !is_imported,
        Tab::Terminal => operates,
        _ => true,
    });
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
        assert_eq!(Tab::parse(Some("gossip")), None);
    }
}
