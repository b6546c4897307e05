//! Remembers the output of slow steps by the content that went in, one entry per step.

use crate::files::{hash, replace};
use anyhow::Result;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub fn open(dir: PathBuf) -> Result<Cache> {
        fs::create_dir_all(&dir)?;
        Ok(Cache { dir })
    }

    /// What `make` gave for these inputs, now or in an earlier run.
    pub fn output(
        &self,
        step: &str,
        inputs: &[&[u8]],
        make: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        if let Some(output) = self.find(step, inputs) {
            return Ok(output);
        }
        let output = make()?;
        self.keep(step, inputs, &output)?;
        Ok(output)
    }

    /// What was kept for these inputs.
    pub fn find(&self, step: &str, inputs: &[&[u8]]) -> Option<Vec<u8>> {
        fs::read(self.place(step, inputs)).ok()
    }

    /// Keeps the output for these inputs, in the place of what the step gave for others.
    pub fn keep(&self, step: &str, inputs: &[&[u8]], output: &[u8]) -> Result<()> {
        self.forget(step)?;
        replace(&self.place(step, inputs), output)
    }

    fn place(&self, step: &str, inputs: &[&[u8]]) -> PathBuf {
        // Hashed one by one, so that bytes moving from one input to the next make another key.
        let hashes: Vec<String> = inputs.iter().map(|input| hash(input)).collect();
        self.dir.join(format!("{step}.{}", hash(hashes.concat().as_bytes())))
    }

    fn forget(&self, step: &str) -> Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.file_stem().is_some_and(|stem| stem == Path::new(step)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}
