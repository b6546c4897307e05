//! The output of an operation: its first and last lines, and the phase and percentage parsed from them. Pure.

use std::collections::VecDeque;

const FIRST_LINES: usize = 500;
const LAST_LINES: usize = 1500;

/// Bounded: a line is cut where it is read, and what is between the first and the last ones is left out.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: usize,
    phase: Option<&'static str>,
    percent: Option<u8>,
    /// Whether there is something that was not written down yet.
    pub is_new: bool,
}

impl Transcript {
    /// Goes on where an earlier part of the operation was cut off.
    pub fn resumed(stored: &str) -> Self {
        let mut transcript = Self::default();
        stored.lines().for_each(|line| transcript.push(line.to_owned()));
        if !stored.is_empty() {
            transcript.push("The server was restarted; resuming.".into());
        }
        transcript
    }

    pub fn push(&mut self, line: String) {
        self.is_new = true;
        let percent = percent_of(&line);
        if let Some(phase) = phase_of(&line) {
            (self.phase, self.percent) = (Some(phase), None);
        }
        if percent.is_some() {
            // Of a share that grows, only the newest is of interest.
            if self.percent.is_some() && self.newest().is_some_and(|newest| percent_of(newest).is_some()) {
                self.last.pop_back().or_else(|| self.first.pop());
            }
            self.percent = percent;
        }
        if self.first.len() < FIRST_LINES && self.last.is_empty() {
            self.first.push(line);
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
            self.left_out += 1;
        }
        self.last.push_back(line);
    }

    pub fn newest(&self) -> Option<&String> {
        self.last.back().or_else(|| self.first.last())
    }

    /// All that was kept, oldest first, with a line that says how much was not.
    pub fn lines(&self) -> Vec<String> {
        let gap = (self.left_out > 0).then(|| format!("… {} lines are left out …", self.left_out));
        self.first.iter().cloned().chain(gap).chain(self.last.iter().cloned()).collect()
    }

    /// What is being done just now.
    pub fn phase(&self) -> Option<&'static str> {
        self.phase
    }

    /// How much of the phase is done, where it is said.
    pub fn percent(&self) -> Option<u8> {
        self.percent
    }
}

/// `Progress: 45% (Rate: …)` → 45.
fn percent_of(line: &str) -> Option<u8> {
    let (digits, _) = line.strip_prefix("Progress: ")?.split_once('%')?;
    digits.trim().parse().ok().filter(|percent| *percent <= 100)
}

/// What begins with such a line, in Vagrant's and our own words.
fn phase_of(line: &str) -> Option<&'static str> {
    const PHASES: [(&str, &str); 25] = [
        ("Box '", "Fetching the box"),
        ("Downloading", "Downloading the box"),
        ("Uploading base box image", "Uploading the box's image"),
        ("Creating image (snapshot", "Making the disk"),
        ("Creating domain", "Making the VM"),
        ("Starting domain", "Booting"),
        ("Waiting for domain to get an IP", "Waiting for its address"),
        ("Waiting for machine to boot", "Waiting for ssh"),
        ("Waiting for SSH", "Waiting for ssh"),
        ("Vagrant insecure key detected", "Replacing the key"),
        ("Machine booted and ready", "Booted"),
        ("Setting hostname", "Setting the host name"),
        ("Running provisioner", "Setting it up"),
        ("Attempting graceful shutdown", "Shutting down"),
        ("Attempting direct shutdown", "Turning it off"),
        ("Halting domain", "Turning it off"),
        ("Forcing shutdown", "Turning it off"),
        ("Suspending domain", "Suspending"),
        ("Resuming domain", "Resuming"),
        ("Removing domain", "Removing it"),
        ("Another VM is just being made", "Waiting for another VM of the same box"),
        ("Another vagrant command holds", "Waiting for another vagrant command"),
        ("Asking the hypervisor", "Asking the hypervisor"),
        ("Reading memory, cores and disk", "Reading the guest"),
        ("Taking back what was begun", "Taking back what was begun"),
    ];
    PHASES.iter().find(|(begin, _)| line.starts_with(begin)).map(|(_, phase)| *phase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_and_the_last_lines_are_kept() {
        let mut transcript = Transcript::default();
        (0..10_000).for_each(|number| transcript.push(format!("line {number}")));
        let lines = transcript.lines();
        assert_eq!(lines.len(), FIRST_LINES + 1 + LAST_LINES);
        assert_eq!((lines[0].as_str(), lines[500].as_str()), ("line 0", "… 8000 lines are left out …"));
        assert_eq!(lines.last().unwrap(), "line 9999");
    }

    #[test]
    fn a_growing_share_is_one_line() {
        let mut transcript = Transcript::default();
        for line in ["Uploading base box image as volume", "Progress: 10%", "Progress: 55%"] {
            transcript.push(line.into());
        }
        assert_eq!(transcript.lines(), ["Uploading base box image as volume", "Progress: 55%"]);
        assert_eq!((transcript.phase(), transcript.percent()), (Some("Uploading the box's image"), Some(55)));
        transcript.push("Starting domain.".into());
        assert_eq!((transcript.phase(), transcript.percent()), (Some("Booting"), None));
    }

    #[test]
    fn what_was_written_down_before_a_restart_stays() {
        let transcript = Transcript::resumed("one\ntwo");
        assert_eq!(transcript.lines(), ["one", "two", "The server was restarted; resuming."]);
        assert_eq!(Transcript::resumed("").lines(), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_or_grow_without_bound(lines in proptest::collection::vec("\\PC{0,40}", 0..200)) {
            let mut transcript = Transcript::default();
            for line in lines.iter().cycle().take(5_000) {
                transcript.push(line.clone());
            }
            prop_assert!(transcript.lines().len() <= FIRST_LINES + LAST_LINES + 1);
        }
    }
}
