//! The icons, drawn on a grid of 20 by 20.

use leptos::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    Grid,
    Plus,
    User,
    Leave,
    Search,
    Play,
    Stop,
    Bin,
    Warning,
    Machine,
    Bell,
    Shield,
    List,
    Pulse,
    Expand,
    Left,
    Right,
    ZoomIn,
    ZoomOut,
    Close,
}

impl Icon {
    #[cfg(debug_assertions)]
    pub const ALL: [Self; 20] = [
        Self::Grid,
        Self::Plus,
        Self::User,
        Self::Leave,
        Self::Search,
        Self::Play,
        Self::Stop,
        Self::Bin,
        Self::Warning,
        Self::Machine,
        Self::Bell,
        Self::Shield,
        Self::List,
        Self::Pulse,
        Self::Expand,
        Self::Left,
        Self::Right,
        Self::ZoomIn,
        Self::ZoomOut,
        Self::Close,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::Grid => {
                "M3 3h5.5v5.5H3zM11.500 3H17v5.500h-5.500zM3 11.500h5.500V17H3zM11.500 11.500H17V17h-5.500z"
            }
            Self::Plus => "M10 4v12M4 10h12",
            Self::User => {
                "M10 9.500a3.200 3.200 0 1 0 0-6.400 3.200 3.200 0 0 0 0 6.400zM3.800 17c.4-3 2.900-4.600 6.200-4.600s5.800 1.600 6.200 4.600"
            }
            Self::Leave => "M8 3H4v14h4M12.500 6.500 16 10l-3.500 3.500M16 10H8",
            Self::Search => "M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM13 13l4 4",
            Self::Play => "M6.500 4v12l9.500-6z",
            Self::Stop => "M6 6h8v8H6zM6.500 7h7v1h-7v1h7v1h-7v1h7v1h-7v1h7",
            Self::Bin => "M4 6h12M8 6V4h4v2M5.500 6l.8 11h7.400l.8-11M8.500 9v5M11.500 9v5",
            Self::Warning => "M10 3.500 17.500 16.500h-15zM10 8.500v3.500M10 14.300v.1",
            Self::Machine => "M3 4h14v5H3zM3 11h14v5H3zM6 6.500h.1M6 13.500h.1",
            Self::Shield => "M10 3 16 5v5c0 3.500-2.500 6-6 7-3.500-1-6-3.500-6-7V5z",
            Self::List => "M7 5h10M7 10h10M7 15h10M3.500 5h.1M3.500 10h.1M3.500 15h.1",
            Self::Pulse => "M2 10h4l2-6 4 12 2-6h4",
            Self::Expand => "M3 8V3h5M12 3h5v5M17 12v5h-5M8 17H3v-5",
            Self::Left => "M12 5l-5 5 5 5",
            Self::Right => "M8 5l5 5-5 5",
            Self::ZoomIn => {
                "M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM13 13l4 4M6.500 9h5M9 6.500v5"
            }
            Self::ZoomOut => "M9 14.500a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11zM13 13l4 4M6.500 9h5",
            Self::Close => "M5 5l10 10M15 5 5 15",
            Self::Bell => "M5 13V9a5 5 0 0 1 10 0v4l1.500 2h-13zM8.500 17a1.600 1.600 0 0 0 3 0",
        }
    }
}

/// Hidden from screen readers: its button or link has a label.
#[component]
pub fn Glyph(icon: Icon) -> impl IntoView {
    view! {
        <svg class="glyph" viewBox="0 0 20 20" aria-hidden="true">
            <path d=icon.path()></path>
        </svg>
    }
}

#[component]
pub fn Brand() -> impl IntoView {
    view! {
        <span class="brand">
            <svg viewBox="0 0 24 24" aria-hidden="true">
                <path d="M6.500 18h10.700a4.200 4.200 0 0 0 .7-8.340A6.200 6.200 0 0 0 6.060 10.300 3.900 3.900 0 0 0 6.500 18z"></path>
                <path d="M8.500 14.300l2.200-2.800 2.400 2.800 2.400-2.800"></path>
            </svg>
            "Twarga Cloud"
        </span>
    }
}
