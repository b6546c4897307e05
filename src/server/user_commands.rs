//! The commands `twarga-cloud user …`. They work on the database itself, also while a server uses it.

use super::{
    accounts::Accounts,
    commands::{allowances, lock},
    config::{CreditArgs, DataArgs, UserCommand},
    credits::Allowances,
    database::{Database, FILE_NAME},
};
use crate::model::{Account, ApiError, DeviceKind, Role, SignedInDevice, UtcMillis};
use nix::fcntl::Flock;
use std::{
    fmt::Write,
    fs::File,
    io::{self, IsTerminal, Read},
};

/// More than any password that is allowed.
const MAX_INPUT_BYTES: u64 = 4096;

/// An open database, and the lock on its folder if no server holds it.
struct Opened {
    accounts: Accounts,
    _lock: Option<Flock<File>>,
}

/// Carries out a command.
///
/// # Errors
/// A message for the user.
pub async fn run(command: UserCommand) -> Result<(), String> {
    let text = match command {
        UserCommand::Create { name, admin, email, credits, data } => {
            create(&name, admin, email, credits, &data).await?
        }
        UserCommand::List { data } => {
            account_table(&existing(&data).await?.accounts.all().await.map_err(said)?)
        }
        UserCommand::Password { name, data } => {
            let opened = existing(&data).await?;
            let user = opened.accounts.replace_password_of(&name, &read_password()?).await.map_err(said)?;
            format!("The password of {} is set. All their devices are signed out.\n", user.username)
        }
        UserCommand::Role { name, role, data } => {
            let opened = existing(&data).await?;
            let user = opened.accounts.set_role_of(&name, role.into()).await.map_err(said)?;
            format!("{} has the role {} now.\n", user.username, user.role.as_str())
        }
        UserCommand::Activate { name, data } => {
            let user = existing(&data).await?.accounts.set_active_of(&name, true).await.map_err(said)?;
            format!("{} can sign in again.\n", user.username)
        }
        UserCommand::Deactivate { name, data } => {
            let user = existing(&data).await?.accounts.set_active_of(&name, false).await.map_err(said)?;
            format!("{} is signed out everywhere and cannot sign in any more.\n", user.username)
        }
        UserCommand::SecondFactor { name, remove: false, data } => {
            let opened = existing(&data).await?;
            let (user, factor) = opened.accounts.second_factor_of_named(&name).await.map_err(said)?;
            match factor.recovery_codes_left {
                _ if !factor.is_on => format!("{} has no second factor.\n", user.username),
                1 => format!("{} has a second factor, and 1 recovery code left.\n", user.username),
                left => format!("{} has a second factor, and {left} recovery codes left.\n", user.username),
            }
        }
        UserCommand::SecondFactor { name, remove: true, data } => {
            let opened = existing(&data).await?;
            match opened.accounts.remove_second_factor_of_named(&name).await.map_err(said)? {
                (user, true) => format!("The second factor of {} is removed.\n", user.username),
                (user, false) => format!("{} has no second factor. Nothing was changed.\n", user.username),
            }
        }
        UserCommand::Sessions { name, end: false, data } => {
            device_table(&existing(&data).await?.accounts.devices_of(&name).await.map_err(said)?)
        }
        UserCommand::Sessions { name, end: true, data } => {
            let (user, ended) = existing(&data).await?.accounts.end_sessions_of(&name).await.map_err(said)?;
            let devices = if ended == 1 { "1 device" } else { &format!("{ended} devices") };
            format!("{} is signed out of {devices}.\n", user.username)
        }
    };
    print!("{text}");
    Ok(())
}

async fn create(
    name: &str,
    admin: bool,
    email: Option<String>,
    credits: CreditArgs,
    data: &DataArgs,
) -> Result<String, String> {
    let password = read_password()?;
    let opened = open(data, allowances(credits, None)).await?;
    let email = email.unwrap_or_else(|| format!("{name}@localhost"));
    let role = admin.then_some(Role::Admin);
    let user = opened.accounts.register_as(name, &email, &password, role).await.map_err(said)?;
    Ok(format!("{} can sign in now, as {}.\n", user.username, user.role.as_str()))
}

async fn open(data: &DataArgs, allowances: Allowances) -> Result<Opened, String> {
    let lock = lock(&data.data_dir).ok();
    let database = match lock {
        Some(_) => Database::open(&data.data_dir).await,
        // A server is running: the schema must be the current one.
        None => Database::open_as_it_is(&data.data_dir).await,
    };
    let accounts = Accounts::new(database.map_err(|e| e.to_string())?, allowances);
    Ok(Opened { accounts, _lock: lock })
}

/// A database that is there already.
async fn existing(data: &DataArgs) -> Result<Opened, String> {
    let file = data.data_dir.join(FILE_NAME);
    if !file.exists() {
        return Err(format!(
            "There is no {}. Name the server's data folder with --data-dir.",
            file.display()
        ));
    }
    open(data, Allowances::default()).await
}

/// Asked for twice in a terminal, which does not show it; otherwise read from standard input.
fn read_password() -> Result<String, String> {
    if io::stdin().is_terminal() {
        let ask = |prompt| {
            rpassword::prompt_password(prompt)
                .map_err(|e| format!("The password cannot be read from the terminal: {e}."))
        };
        let password = ask("Password: ")?;
        return if ask("The same again: ")? == password {
            Ok(password)
        } else {
            Err("The two passwords differ. Nothing was changed.".into())
        };
    }
    let mut password = String::new();
    io::stdin()
        .take(MAX_INPUT_BYTES)
        .read_to_string(&mut password)
        .map_err(|e| format!("The password cannot be read from standard input: {e}."))?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: ApiError) -> String {
    error.to_string()
}

fn account_table(accounts: &[Account]) -> String {
    let row = |account: &Account| {
        let state = if account.is_active { "active" } else { "deactivated" };
        let last_seen = account.last_seen_at.map_or_else(|| "never".into(), UtcMillis::to_rfc3339);
        [
            account.username.clone(),
            account.role.as_str().into(),
            state.into(),
            last_seen,
            account.email.clone(),
        ]
    };
    table(["NAME", "ROLE", "STATE", "LAST SEEN", "E-MAIL"], accounts.iter().map(row).collect())
}

fn device_table(devices: &[SignedInDevice]) -> String {
    let row = |device: &SignedInDevice| {
        let kind = match device.kind {
            DeviceKind::Browser => "browser",
            DeviceKind::Client => "client",
        };
        let (since, last) = (device.signed_in_at.to_rfc3339(), device.last_used_at.to_rfc3339());
        [kind.into(), since, last, device.user_agent.clone()]
    };
    table(["KIND", "SIGNED IN", "LAST USED", "USER AGENT"], devices.iter().map(row).collect())
}

/// Columns as wide as their longest cell.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<[String; N]> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:<width$}  ").expect("writing to a string");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = vec![["ada".to_owned(), "admin".into()], ["barbara".into(), "user".into()]];
        assert_eq!(table(["NAME", "ROLE"], rows), "NAME     ROLE\nada      admin\nbarbara  user\n");
    }
}
