//! A check of a password, a key or a code beside a password: who tries it, from where, and what a wrong one counts for.

use crate::{
    model::CurrentUser,
    server::request_origin::{self, RequestOrigin},
};
use sha2::{Digest, Sha256};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// What wrong passwords are counted for, hashed.
pub(super) type Key = [u8; 32];

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    SignIn,
    PasswordChange,
    /// To enter it again.
    Confirmation,
    /// A code of the second factor, after the right password.
    SecondFactor,
    /// With a key, over ssh.
    Ssh,
}

/// One check of a password or key.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub address: IpAddr,
    pub purpose: Purpose,
    /// None if there is no such account.
    pub account: Option<(i64, String)>,
    pub(super) counts_for: CountsFor,
    /// The request that makes it.
    pub(super) origin: Option<Arc<RequestOrigin>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum CountsFor {
    /// A device or session that the account's password was right for.
    Known(Key),
    NameAndAddress(Key, Key),
    /// Apart from passwords.
    Address(Key),
}

impl Attempt {
    /// `known_device` is the hash of its token, if it is one of this account.
    pub fn sign_in(
        username: &str,
        account: Option<(i64, String)>,
        known_device: Option<&[u8]>,
        address: IpAddr,
    ) -> Self {
        let counts_for = match (&account, known_device) {
            (Some((id, _)), Some(device)) => CountsFor::Known(key(&[&id.to_le_bytes(), device])),
            _ => CountsFor::NameAndAddress(
                key(&[username.trim().to_lowercase().as_bytes()]),
                key(&[network_of(address).to_string().as_bytes()]),
            ),
        };
        Self { address, purpose: Purpose::SignIn, account, counts_for, origin: request_origin::current() }
    }

    /// With a key that nobody has.
    pub fn ssh(address: IpAddr) -> Self {
        let counts_for = CountsFor::Address(key(&[b"ssh", network_of(address).to_string().as_bytes()]));
        Self { address, purpose: Purpose::Ssh, account: None, counts_for, origin: request_origin::current() }
    }

    /// `session` is the hash of its token.
    pub fn password_change(user: &CurrentUser, session: &[u8], address: IpAddr) -> Self {
        Self::in_session(Purpose::PasswordChange, user, session, address)
    }

    /// `session` is the hash of its token.
    pub fn confirmation(user: &CurrentUser, session: &[u8], address: IpAddr) -> Self {
        Self::in_session(Purpose::Confirmation, user, session, address)
    }

    /// The first code of a second factor that is being set up. `session` is anything that is the session's own.
    pub fn second_factor(user: &CurrentUser, session: &[u8], address: IpAddr) -> Self {
        Self::in_session(Purpose::SecondFactor, user, session, address)
    }

    fn in_session(purpose: Purpose, user: &CurrentUser, session: &[u8], address: IpAddr) -> Self {
        let counts_for = CountsFor::Known(key(&[&user.id.to_le_bytes(), session]));
        let account = Some((user.id, user.username.clone()));
        Self { address, purpose, account, counts_for, origin: request_origin::current() }
    }

    /// The check of a code after the right password. It counts for the same as a wrong password.
    pub fn of_code(&self) -> Self {
        Self { purpose: Purpose::SecondFactor, ..self.clone() }
    }
}

fn key(parts: &[&[u8]]) -> Key {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// What belongs to one client: an IPv4 address, or the 2⁶⁴ addresses of an IPv6 network.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}
