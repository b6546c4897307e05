use super::{Severity, UtcMillis, rounded};
use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertMetric {
    Cpu,
    Memory,
    Disk,
    /// Whether there are any figures at all.
    Figures,
}

impl AlertMetric {
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Disk, Self::Figures];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Figures => "figures",
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
            Self::Figures => "figures",
        }
    }
}

/// Something that has been wrong for a while: open until `resolved_at` is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub id: i64,
    /// Unknown for the host's.
    pub vm_id: Option<i64>,
    pub vm_name: Option<String>,
    /// The rule's name, such as `vm_cpu`.
    pub rule: String,
    pub metric: AlertMetric,
    pub severity: Severity,
    /// Percent from which on the rule holds; none where it is about having figures.
    pub threshold: Option<f64>,
    /// Percent when it was raised.
    pub raised_value: Option<f64>,
    pub raised_at: UtcMillis,
    /// When somebody said that they take care of it.
    #[serde(default)]
    pub acknowledged_at: Option<UtcMillis>,
    /// Who said so.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
    pub resolved_at: Option<UtcMillis>,
    /// Percent when it was resolved; none when its VM stopped or is gone.
    pub resolved_value: Option<f64>,
}

impl Alert {
    /// Whose it is: a VM's name, or `Host`.
    pub fn subject(&self) -> &str {
        self.vm_name.as_deref().unwrap_or("Host")
    }

    /// What is wrong: `CPU at 90 % or more`.
    pub fn what(&self) -> String {
        match self.threshold {
            Some(threshold) => {
                format!("{} at {} % or more", capitalised(self.metric.label()), rounded(threshold))
            }
            None => "No figures".into(),
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
