use super::{Severity, UtcMillis, rounded, tenths};
use serde::{Deserialize, Serialize};

/// On which side of the threshold it is wrong; the threshold itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    #[default]
    Above,
    Below,
}

impl Comparison {
    pub const ALL: [Self; 2] = [Self::Above, Self::Below];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// What follows a value: `90 % or more`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Above => "or more",
            Self::Below => "or less",
        }
    }
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertMetric {
    Cpu,
    Memory,
    Disk,
    Swap,
    NetworkDown,
    NetworkUp,
    /// The host's, over the last minute.
    Load,
    /// Whether there are any figures at all.
    Figures,
    /// Whether it stopped though nobody asked for it here.
    Stopped,
}

impl AlertMetric {
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Swap,
        Self::NetworkDown,
        Self::NetworkUp,
        Self::Load,
        Self::Figures,
        Self::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Swap => "swap",
            Self::NetworkDown => "network_down",
            Self::NetworkUp => "network_up",
            Self::Load => "load",
            Self::Figures => "figures",
            Self::Stopped => "stopped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == text)
    }

    /// What a person reads.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Swap => "swap",
            Self::NetworkDown => "network down",
            Self::NetworkUp => "network up",
            Self::Load => "load",
            Self::Figures => "figures",
            Self::Stopped => "stop",
        }
    }

    /// What a person chooses.
    pub fn choice(self) -> &'static str {
        match self {
            Self::Figures => "no figures",
            Self::Stopped => "unexpected stop",
            Self::Load => "load (the host)",
            other => other.label(),
        }
    }

    /// Whether the host (or else a VM) has it.
    pub fn is_of(self, host: bool) -> bool {
        match self {
            Self::Load => host,
            Self::Figures | Self::Stopped => !host,
            _ => true,
        }
    }

    /// The highest threshold, in the metric's unit; none where it is no figure.
    pub fn max_threshold(self) -> Option<f64> {
        match self {
            Self::Cpu | Self::Memory | Self::Disk | Self::Swap => Some(100.0),
            Self::NetworkDown | Self::NetworkUp | Self::Load => Some(100_000.0),
            Self::Figures | Self::Stopped => None,
        }
    }

    /// A reading: `90 %`, `2.5 MB/s`, with one decimal at most.
    pub fn shown(self, value: f64) -> String {
        self.with_unit(tenths(value).to_string())
    }

    /// A threshold, which has two decimals at most: `90 %`, `0.04 MB/s`.
    pub fn entered(self, threshold: f64) -> String {
        self.with_unit(rounded(threshold).to_string())
    }

    fn with_unit(self, value: String) -> String {
        match self {
            Self::Cpu | Self::Memory | Self::Disk | Self::Swap => format!("{value} %"),
            Self::NetworkDown | Self::NetworkUp => format!("{value} MB/s"),
            Self::Load | Self::Figures | Self::Stopped => value,
        }
    }

    /// What is wrong: `CPU at 90 % or more`, `No figures`.
    pub fn wrong(self, comparison: Comparison, threshold: Option<f64>) -> String {
        match (self, threshold) {
            (Self::Stopped, _) => "Stopped unexpectedly".into(),
            (Self::Figures, _) | (_, None) => "No figures".into(),
            (_, Some(threshold)) => {
                format!("{} at {} {}", capitalised(self.label()), self.entered(threshold), comparison.label())
            }
        }
    }
}

/// How many alerts of the history come at once.
pub const ALERTS_PER_PAGE: usize = 100;

/// Something that has been wrong for a while: open until `resolved_at` is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub id: i64,
    /// Unknown for the host's.
    pub vm_id: Option<i64>,
    pub vm_name: Option<String>,
    /// Of the rule that raised it.
    pub rule_id: i64,
    pub metric: AlertMetric,
    pub severity: Severity,
    #[serde(default)]
    pub comparison: Comparison,
    /// Of the rule when it was raised, in the metric's unit; none where the metric is no figure.
    pub threshold: Option<f64>,
    /// When it was raised, in the metric's unit.
    pub raised_value: Option<f64>,
    pub raised_at: UtcMillis,
    /// When somebody said that they take care of it.
    #[serde(default)]
    pub acknowledged_at: Option<UtcMillis>,
    /// Who said so.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
    /// In the metric's unit at that time.
    #[serde(default)]
    pub acknowledged_value: Option<f64>,
    pub resolved_at: Option<UtcMillis>,
    /// When it was resolved; none when its VM stopped or is gone.
    pub resolved_value: Option<f64>,
}

impl Alert {
    /// Whose it is: a VM's name, or `Host`.
    pub fn subject(&self) -> &str {
        self.vm_name.as_deref().unwrap_or("Host")
    }

    /// What is wrong: `CPU at 90 % or more`.
    pub fn what(&self) -> String {
        self.metric.wrong(self.comparison, self.threshold)
    }
}

/// Of a metric's English name.
fn capitalised(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}
