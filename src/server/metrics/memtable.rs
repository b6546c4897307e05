//! The memtable: ticks that are not sealed yet, in memory and by column. Most queries read only this. Pure.
//!
//! It holds the same data as the table `tick`, and what could not be written there yet; the database is the durable copy.

use super::{
    chunk::UNKNOWN,
    sample::{Column, HostSample, Subject, VmSample},
};
use std::{collections::HashMap, ops::Range};

/// Ticks in a row, and some columns of one subject at these ticks. Unknown is [`UNKNOWN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub times: Vec<i64>,
    /// In the requested order, each as long as `times`.
    pub columns: Vec<Vec<i64>>,
}

/// One tick as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    pub sampled_at: i64,
    pub host: HostSample,
    pub vms: Vec<(i64, VmSample)>,
}

#[derive(Debug, Default)]
pub struct Memtable {
    times: Vec<i64>,
    subjects: HashMap<Subject, SubjectColumns>,
}

/// A subject's columns from the tick `first` on; ticks behind the end are unknown.
#[derive(Debug)]
struct SubjectColumns {
    first: usize,
    columns: Vec<Vec<i64>>,
}

/// Columns grow by this many ticks at once: doubling would take twice the memory for an hour.
const GROWTH: usize = 128;

impl Memtable {
    /// Adds a tick, which is younger than all others.
    pub fn push(&mut self, tick: &Tick) {
        let at = self.times.len();
        self.times.push(tick.sampled_at);
        self.put(at, Subject::HOST, &tick.host);
        for (vm_id, sample) in &tick.vms {
            self.put(at, Subject(*vm_id), sample);
        }
    }

    fn put(&mut self, at: usize, subject: Subject, sample: &[Option<i64>]) {
        let new = || SubjectColumns { first: at, columns: vec![Vec::new(); sample.len()] };
        let columns_of_subject = self.subjects.entry(subject).or_insert_with(new);
        for (column, value) in columns_of_subject.columns.iter_mut().zip(sample) {
            if column.len() == column.capacity() {
                column.reserve_exact(GROWTH);
            }
            column.resize(at - columns_of_subject.first, UNKNOWN);
            column.push(value.unwrap_or(UNKNOWN));
        }
    }

    pub fn times(&self) -> &[i64] {
        &self.times
    }

    pub fn subjects(&self) -> Vec<Subject> {
        self.subjects.keys().copied().collect()
    }

    /// A column's known values with their times, the newest first.
    pub fn newest(&self, subject: Subject, column: Column) -> impl Iterator<Item = (i64, i64)> {
        let known = self.subjects.get(&subject).and_then(|of| {
            let values = of.columns.get(usize::from(column))?;
            Some(self.times[of.first..].iter().copied().zip(values.iter().copied()))
        });
        known.into_iter().flatten().rev().filter(|(_, value)| *value != UNKNOWN)
    }

    /// The ticks from `from` to `to`, both included; `None` when there is none.
    pub fn block(&self, subject: Subject, columns: &[Column], from: i64, to: i64) -> Option<Block> {
        let range = self.times.partition_point(|at| *at < from)..self.times.partition_point(|at| *at <= to);
        if range.is_empty() {
            return None;
        }
        let times = self.times[range.clone()].to_vec();
        let of = |column: &Column| match self.subjects.get(&subject) {
            Some(columns_of_subject) => columns_of_subject.column(*column, range.clone()),
            None => vec![UNKNOWN; range.len()],
        };
        Some(Block { times, columns: columns.iter().map(of).collect() })
    }

    /// The tick at `at`.
    pub fn tick(&self, at: i64) -> Option<Tick> {
        let i = self.times.binary_search(&at).ok()?;
        let vms = self.subjects.iter().filter(|(subject, _)| **subject != Subject::HOST);
        let vms = vms.filter_map(|(subject, columns)| Some((subject.0, columns.sample(i)?)));
        let host = self.subjects.get(&Subject::HOST).and_then(|columns| columns.sample(i));
        Some(Tick { sampled_at: at, host: host.unwrap_or_default(), vms: vms.collect() })
    }

    /// Forgets the tick at `at`.
    pub fn remove_tick(&mut self, at: i64) {
        let Ok(i) = self.times.binary_search(&at) else { return };
        self.times.remove(i);
        for columns_of_subject in self.subjects.values_mut() {
            match i.checked_sub(columns_of_subject.first) {
                Some(cell) => {
                    for column in columns_of_subject.columns.iter_mut().filter(|column| cell < column.len()) {
                        column.remove(cell);
                    }
                }
                None => columns_of_subject.first -= 1,
            }
        }
    }

    /// Forgets the ticks before `at`.
    pub fn drop_before(&mut self, at: i64) {
        let count = self.times.partition_point(|time| *time < at);
        self.times.drain(..count);
        self.times.shrink_to(self.times.len() + GROWTH);
        self.subjects.retain(|_, columns_of_subject| {
            let gone = count.saturating_sub(columns_of_subject.first);
            columns_of_subject.first = columns_of_subject.first.saturating_sub(count);
            for column in &mut columns_of_subject.columns {
                column.drain(..gone.min(column.len()));
                column.shrink_to(column.len() + GROWTH);
            }
            columns_of_subject.columns.iter().any(|column| !column.is_empty())
        });
    }

    pub fn remove(&mut self, subject: Subject) {
        self.subjects.remove(&subject);
    }
}

impl SubjectColumns {
    /// All values of a tick; `None` when none is known.
    fn sample<const N: usize>(&self, tick: usize) -> Option<[Option<i64>; N]> {
        let i = tick.checked_sub(self.first)?;
        let cell = |column: &Vec<i64>| column.get(i).copied().filter(|value| *value != UNKNOWN);
        let sample = std::array::from_fn(|column| self.columns.get(column).and_then(cell));
        sample.iter().any(Option::is_some).then_some(sample)
    }

    fn column(&self, column: Column, range: Range<usize>) -> Vec<i64> {
        let columns_of_subject = self.columns.get(usize::from(column)).map_or(&[][..], Vec::as_slice);
        let cell = |i: usize| i.checked_sub(self.first).and_then(|i| columns_of_subject.get(i)).copied();
        range.map(|i| cell(i).unwrap_or(UNKNOWN)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample::vm, *};

    fn tick(sampled_at: i64, vms: &[(i64, i64)]) -> Tick {
        let sample = |cpu: i64| {
            let mut sample = [None; vm::COUNT];
            sample[usize::from(vm::CPU)] = Some(cpu);
            sample
        };
        Tick {
            sampled_at,
            host: Default::default(),
            vms: vms.iter().map(|(id, cpu)| (*id, sample(*cpu))).collect(),
        }
    }

    fn cpu(memtable: &Memtable, vm_id: i64) -> Vec<i64> {
        memtable
            .block(Subject(vm_id), &[vm::CPU], i64::MIN, i64::MAX)
            .map(|b| b.columns[0].clone())
            .unwrap_or_default()
    }

    #[test]
    fn a_vm_that_comes_and_goes_is_unknown_in_between() {
        let mut memtable = Memtable::default();
        for t in [tick(1, &[(1, 10)]), tick(2, &[(1, 11), (2, 20)]), tick(3, &[]), tick(4, &[(1, 13)])] {
            memtable.push(&t);
        }
        assert_eq!(cpu(&memtable, 1), [10, 11, UNKNOWN, 13]);
        assert_eq!(cpu(&memtable, 2), [UNKNOWN, 20, UNKNOWN, UNKNOWN]);
        assert_eq!(cpu(&memtable, 3), [UNKNOWN; 4]);
        let some = memtable.block(Subject(1), &[vm::CPU], 2, 3).unwrap();
        assert_eq!((some.times, some.columns), (vec![2, 3], vec![vec![11, UNKNOWN]]));
        assert_eq!(memtable.block(Subject(1), &[vm::CPU], 5, 9), None);
    }

    #[test]
    fn a_tick_is_read_back_and_one_in_the_middle_is_removed() {
        let mut memtable = Memtable::default();
        let ticks =
            [tick(1, &[(1, 10)]), tick(2, &[(1, 11), (2, 20)]), tick(3, &[(2, 21)]), tick(4, &[(1, 13)])];
        for t in &ticks {
            memtable.push(t);
        }
        let read = memtable.tick(2).map(|mut tick| {
            tick.vms.sort_unstable();
            tick
        });
        assert_eq!(read.as_ref(), Some(&ticks[1]));
        assert_eq!(memtable.tick(3).as_ref(), Some(&ticks[2]), "a VM that was away is not there");
        memtable.remove_tick(1);
        memtable.remove_tick(3);
        assert_eq!((memtable.tick(1), memtable.tick(3)), (None, None));
        assert_eq!(memtable.times(), [2, 4]);
        assert_eq!((cpu(&memtable, 1), cpu(&memtable, 2)), (vec![11, 13], vec![20, UNKNOWN]));
        memtable.push(&tick(5, &[(2, 22)]));
        assert_eq!((cpu(&memtable, 1), cpu(&memtable, 2)), (vec![11, 13, UNKNOWN], vec![20, UNKNOWN, 22]));
    }

    #[test]
    fn the_oldest_go_first() {
        let mut memtable = Memtable::default();
        for t in [tick(1, &[(1, 10)]), tick(2, &[(1, 11), (2, 20)]), tick(3, &[(2, 21)]), tick(4, &[(3, 30)])]
        {
            memtable.push(&t);
        }
        memtable.drop_before(3);
        assert_eq!(
            (cpu(&memtable, 1), cpu(&memtable, 2), cpu(&memtable, 3)),
            (vec![UNKNOWN; 2], vec![21, UNKNOWN], vec![UNKNOWN, 30])
        );
        assert!(!memtable.subjects().contains(&Subject(1)));
        memtable.push(&tick(5, &[(1, 14)]));
        assert_eq!(cpu(&memtable, 1), [UNKNOWN, UNKNOWN, 14]);
    }
}
