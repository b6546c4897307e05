use super::{Severity, UtcMillis, rounded, tenths};
use serde::{Deserialize, Serialize};

/// On which side of the threshold a value opens an alert; the threshold itself is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Opens at the threshold or above.
    #[default]
    Above,
    /// Opens at the threshold or below.
    Below,
}

impl Comparison {
    /// Both comparisons, in form order.
    pub const ALL: [Self; 2] = [Self::Above, Self::Below];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
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

    /// What precedes a threshold in a form: `at or above`.
    pub fn choice(self) -> &'static str {
        match self {
            Self::Above => "at or above",
            Self::Below => "at or below",
        }
    }
}

/// What a rule evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertMetric {
    /// CPU usage, in percent.
    Cpu,
    /// Memory usage, in percent.
    Memory,
    /// Disk usage, in percent; for VMs, only as reported by the guest.
    Disk,
    /// Swap usage, in percent.
    Swap,
    /// Received traffic, in MB/s.
    NetworkDown,
    /// Sent traffic, in MB/s.
    NetworkUp,
    /// The host's load average over one minute.
    Load,
    /// Whether samples arrive; of the host, whether they can be stored.
    #[serde(rename = "figures")]
    NoMetrics,
    /// Whether the VM stopped without a request on this server.
    Stopped,
}

impl AlertMetric {
    /// Every metric, in form order.
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Swap,
        Self::NetworkDown,
        Self::NetworkUp,
        Self::Load,
        Self::NoMetrics,
        Self::Stopped,
    ];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Swap => "swap",
            Self::NetworkDown => "network_down",
            Self::NetworkUp => "network_up",
            Self::Load => "load",
            Self::NoMetrics => "figures",
            Self::Stopped => "stopped",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == text)
    }

    /// Its name in sentences.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Swap => "swap",
            Self::NetworkDown => "network down",
            Self::NetworkUp => "network up",
            Self::Load => "load",
            Self::NoMetrics => "metrics",
            Self::Stopped => "stop",
        }
    }

    /// Its name in a form, with the unit of its threshold.
    pub fn choice(self) -> &'static str {
        match self {
            Self::Cpu => "CPU (%)",
            Self::Memory => "memory (%)",
            Self::Disk => "disk (%)",
            Self::Swap => "swap (%)",
            Self::NetworkDown => "network down (MB/s)",
            Self::NetworkUp => "network up (MB/s)",
            Self::Load => "load (the host)",
            Self::NoMetrics => "no metrics",
            Self::Stopped => "unexpected stop",
        }
    }

    /// Whether the host (or, if false, a VM) has this metric.
    pub fn belongs_to(self, host: bool) -> bool {
        match self {
            Self::Load => host,
            Self::Stopped => !host,
            _ => true,
        }
    }

    /// The highest threshold, in the metric's unit; `None` if it has no numeric value.
    pub fn max_threshold(self) -> Option<f64> {
        match self {
            Self::Cpu | Self::Memory | Self::Disk | Self::Swap => Some(100.0),
            Self::NetworkDown | Self::NetworkUp | Self::Load => Some(100_000.0),
            Self::NoMetrics | Self::Stopped => None,
        }
    }

    /// A value, with at most one decimal, or two below 1: `90 %`, `2.5 MB/s`, `0.04 MB/s`.
    pub fn shown(self, value: f64) -> String {
        let is_small = value > 0.0 && value < 1.0;
        self.with_unit(if is_small { rounded(value) } else { tenths(value) }.to_string())
    }

    /// A threshold, with at most two decimals: `90 %`, `0.04 MB/s`.
    pub fn entered(self, threshold: f64) -> String {
        self.with_unit(rounded(threshold).to_string())
    }

    fn with_unit(self, value: String) -> String {
        match self {
            Self::Cpu | Self::Memory | Self::Disk | Self::Swap => format!("{value} %"),
            Self::NetworkDown | Self::NetworkUp => format!("{value} MB/s"),
            Self::Load | Self::NoMetrics | Self::Stopped => value,
        }
    }

    /// The problem: `CPU at 90 % or more`, `No metrics`.
    pub fn wrong(self, comparison: Comparison, threshold: Option<f64>) -> String {
        match (self, threshold) {
            (Self::Stopped, _) => "Stopped unexpectedly".into(),
            (Self::NoMetrics, _) | (_, None) => "No metrics".into(),
            (_, Some(threshold)) => {
                format!("{} at {} {}", capitalised(self.label()), self.entered(threshold), comparison.label())
            }
        }
    }
}

/// The page size of the alert history.
pub const ALERTS_PER_PAGE: usize = 100;

/// Opened by a rule; open until `resolved_at` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The alert's id.
    pub id: i64,
    /// `None` for the host.
    pub vm_id: Option<i64>,
    /// The VM's name; `None` for the host.
    pub vm_name: Option<String>,
    /// The rule that opened it.
    pub rule_id: i64,
    /// The metric that the rule evaluates.
    pub metric: AlertMetric,
    /// The rule's severity when it opened.
    pub severity: Severity,
    /// The rule's comparison when it opened.
    #[serde(default)]
    pub comparison: Comparison,
    /// The rule's threshold when it opened, in the metric's unit; `None` if the metric has no numeric value.
    pub threshold: Option<f64>,
    /// The value when it opened, in the metric's unit.
    pub raised_value: Option<f64>,
    /// When it opened.
    pub raised_at: UtcMillis,
    /// Whether the caller may acknowledge it.
    #[serde(default)]
    pub may_acknowledge: bool,
    /// When it was acknowledged.
    #[serde(default)]
    pub acknowledged_at: Option<UtcMillis>,
    /// The user who acknowledged it.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
    /// The value at that time, in the metric's unit.
    #[serde(default)]
    pub acknowledged_value: Option<f64>,
    /// When it was resolved; `None` while it is open.
    pub resolved_at: Option<UtcMillis>,
    /// The value when it was resolved; `None` if its VM stopped or is gone.
    pub resolved_value: Option<f64>,
}

impl Alert {
    /// The VM's name, or `Host`.
    pub fn subject(&self) -> &str {
        self.vm_name.as_deref().unwrap_or("Host")
    }

    /// The problem: `CPU at 90 % or more`.
    pub fn what(&self) -> String {
        self.metric.wrong(self.comparison, self.threshold)
    }
}

/// With an upper-case first letter.
fn capitalised(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}
