//! The key that the gateway shows to clients, in the data folder.

use russh::keys::{
    PrivateKey, decode_secret_key,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const FILE: &str = "ssh_host_ed25519_key";

/// Reads the key, or makes one at the first start.
///
/// # Errors
/// A message for the admin.
pub fn load_or_create(data_dir: &Path) -> Result<PrivateKey, String> {
    let path = data_dir.join(FILE);
    let fails =
        |error: io::Error| format!("The ssh host key {} cannot be read or written: {error}.", path.display());
    match fs::read_to_string(&path) {
        // What the decoder complains of could quote the file.
        Ok(text) => decode_secret_key(&text, None).map_err(|_| {
            format!(
                "{} is no private key. Restore it from a backup, or delete it: then clients are warned of a new key.",
                path.display()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path).map_err(fails),
        Err(error) => Err(fails(error)),
    }
}

fn create(path: &Path) -> io::Result<PrivateKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let text = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    // Whole or not at all, whenever the server is stopped.
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_create(folder.path()).unwrap();
        let again = load_or_create(folder.path()).unwrap();
        assert_eq!(first.public_key().key_data(), again.public_key().key_data());
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join(FILE), "not a key").unwrap();
        let error = load_or_create(folder.path()).unwrap_err();
        assert!(error.contains("is no private key") && !error.contains("not a key"), "{error}");
    }
}
