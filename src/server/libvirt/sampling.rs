//! Reads all domains: with one process, or in groups and one by one while a domain hangs.

use super::{
    Libvirt, domstats,
    unresponsive::{DomainRef, ReadPlan, groups},
    virsh::VirshError,
};
use crate::server::provider::{Domain, Moment};
use futures::future::join_all;

/// One argument with two commands, so that one process and one connection do.
const READ_ALL: [&str; 1] = ["list --all --uuid --name; domstats --raw --nowait"];
const LIST: [&str; 4] = ["list", "--all", "--uuid", "--name"];
/// Followed by UUIDs.
const READ_SOME: [&str; 3] = ["domstats", "--raw", "--nowait"];
/// Checks the daemon without touching a domain.
const PULSE: [&str; 1] = ["hostname"];

impl Libvirt {
    /// Reads all domains with one process, while none is suspected. A QEMU process that dies during the read fails it
    /// for all domains, once.
    pub(super) async fn read_all(&self) -> Result<(Moment, String), VirshError> {
        let limit = self.time_limit / 2;
        let mut moment = Moment::now();
        let mut answer = self.attempt(&READ_ALL, limit).await;
        if let Err(VirshError::Failed(_)) = answer {
            moment = Moment::now();
            answer = self.attempt(&READ_ALL, limit).await;
        }
        match answer {
            Err(VirshError::TimedOut) => {
                if self.unresponsive().known().is_empty() {
                    self.refresh_list().await?;
                }
                let plan = self.unresponsive().plan(Moment::now().monotonic);
                self.read_in_groups(&plan).await
            }
            answer => answer.map(|output| (moment, output)),
        }
    }

    /// Unsuspected domains by one process and, in parallel, each suspect by its own.
    pub(super) async fn read_around_unresponsive(&self) -> Result<(Moment, String), VirshError> {
        // While a domain hangs, listing may hang too: then those that were known are read.
        match self.refresh_list().await {
            Ok(()) | Err(VirshError::TimedOut) => {}
            Err(trouble) => return Err(trouble),
        }
        let plan = self.unresponsive().plan(Moment::now().monotonic);
        if !plan.together.is_empty() {
            let parts = Parts::of(vec![plan.together.clone()], &plan.alone);
            let (moment, answers) = self.read_parts(&parts).await;
            if answers.first().is_some_and(Result::is_ok) {
                return Ok((moment, self.learnt(&parts, answers, moment)));
            }
        }
        self.read_in_groups(&plan).await
    }

    /// The same in groups, so that a domain which hangs only spoils its own group. The first process to read a hanging
    /// QEMU waits for it; the next one finds it busy, skips it and returns all others.
    async fn read_in_groups(&self, plan: &ReadPlan) -> Result<(Moment, String), VirshError> {
        let parts = Parts::of(groups(&plan.together), &plan.alone);
        let ((moment, answers), pulse) =
            tokio::join!(self.read_parts(&parts), self.attempt(&PULSE, self.time_limit / 4));
        // If the daemon itself hangs, no domain is suspected.
        pulse?;
        Ok((moment, self.learnt(&parts, answers, moment)))
    }

    /// Reads all parts at once, which all begin at one moment.
    async fn read_parts(&self, parts: &Parts) -> (Moment, Vec<Result<String, VirshError>>) {
        let moment = Moment::now();
        let answers = parts.0.iter().map(|part| async {
            let uuids = part.domains.iter().map(|domain| domain.uuid.as_str());
            let arguments: Vec<_> = READ_SOME.into_iter().chain(uuids).collect();
            self.attempt(&arguments, self.time_limit / 4).await
        });
        (moment, join_all(answers).await)
    }

    /// Records which domains hang and which answered; returns the outputs as one sample of all.
    fn learnt(&self, parts: &Parts, answers: Vec<Result<String, VirshError>>, moment: Moment) -> String {
        let mut unresponsive = self.unresponsive();
        let mut output: String =
            unresponsive.known().iter().map(|domain| format!("{} {}\n", domain.uuid, domain.name)).collect();
        for (part, answer) in parts.0.iter().zip(answers) {
            match (answer, part.alone, part.domains.as_slice()) {
                (Ok(text), alone, domains) => {
                    output.push_str(&text);
                    output.push('\n');
                    if alone {
                        domains.iter().for_each(|domain| unresponsive.answered(domain));
                    }
                }
                (Err(VirshError::TimedOut), true, domains) => {
                    for domain in domains {
                        tracing::warn!(
                            domain = domain.name,
                            "the domain is unresponsive and is skipped for a while"
                        );
                        unresponsive.skip(domain, moment.monotonic);
                    }
                }
                (Err(VirshError::TimedOut), false, domains) => unresponsive.suspect(domains),
                (Err(trouble), _, _) => tracing::debug!(?trouble, "some domains were not read"),
            }
        }
        output
    }

    /// Finds out which domains there are.
    async fn refresh_list(&self) -> Result<(), VirshError> {
        let output = self.attempt(&LIST, self.time_limit / 4).await?;
        self.unresponsive().set_known(names_of(&domstats::parse(&output)));
        Ok(())
    }
}

/// What is read at once, each part by a process of its own.
struct Parts(Vec<Part>);

struct Part {
    /// Never none: `virsh` would take that for all.
    domains: Vec<DomainRef>,
    /// A single suspect.
    alone: bool,
}

impl Parts {
    fn of(together: Vec<Vec<DomainRef>>, alone: &[DomainRef]) -> Self {
        let together = together.into_iter().map(|domains| Part { domains, alone: false });
        let alone = alone.iter().map(|domain| Part { domains: vec![domain.clone()], alone: true });
        Self(together.chain(alone).collect())
    }
}

pub fn names_of(domains: &[Domain]) -> Vec<DomainRef> {
    domains.iter().map(|d| DomainRef { uuid: d.uuid.clone(), name: d.name.clone() }).collect()
}
