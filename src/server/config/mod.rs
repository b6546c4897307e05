//! The configuration: command line, environment and file, in this order of precedence.
//!
//! Every flag has an environment variable and a key in the file of the same name.

mod file;

use crate::{
    model::{ProviderKind, RegistrationMode, Role},
    server::{
        network::parse_network,
        notifications::{Mail, MailSecurity, PASSWORD_VARIABLE},
        vms::load_images,
    },
};
use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, parser::ValueSource,
};
use file::ConfigFile;
use ipnet::IpNet;
use std::{
    ffi::OsString,
    fmt::Write,
    fs,
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

#[derive(Debug, Parser)]
#[command(name = "twarga-cloud", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A configuration file (TOML); flags and environment variables override it.
    #[arg(long, env = "TWARGA_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server (the default).
    Serve(ServeArgs),
    /// Show or check the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Create, list and change accounts, also while a server runs.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Check the chain of events.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Copy a consistent snapshot of the database into a new file; the server may be running.
    Backup {
        file: PathBuf,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Replace the database with a backup; the server must not be running. The old database is kept beside it.
    Restore {
        file: PathBuf,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and print what `serve` would use, without passwords.
    Check(ServeArgs),
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Name the first event that was changed, removed or moved since it was recorded; the server may be running.
    Verify {
        /// The last event of an earlier check, as it printed it: fails if that was removed or rewritten, too.
        #[arg(long, value_name = "ID:HASH", value_parser = event_hash)]
        expect: Option<(i64, [u8; 32])>,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create an account; its password is read from the terminal or from standard input.
    Create {
        name: String,
        /// Give it the role of an admin.
        #[arg(long)]
        admin: bool,
        /// Its e-mail address; `NAME@localhost` by default.
        #[arg(long)]
        email: Option<String>,
        #[command(flatten)]
        credits: CreditArgs,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List all accounts.
    List {
        #[command(flatten)]
        data: DataArgs,
    },
    /// Set an account's password, read from the terminal or from standard input, and sign its user out everywhere.
    Password {
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Set an account's role.
    Role {
        name: String,
        role: RoleArg,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Let a deactivated user sign in again.
    Activate {
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Sign a user out everywhere, and do not let them sign in any more. Their VMs keep running.
    Deactivate {
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Say whether a user has a second factor.
    SecondFactor {
        name: String,
        /// Remove it instead, for who has lost theirs: the password alone signs in then.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List a user's signed-in devices.
    Sessions {
        name: String,
        /// Sign all of them out instead.
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    User,
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::User => Self::User,
            RoleArg::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Folder of the database and of the VMs' folders; made when it is not there.
    #[arg(long, env = "TWARGA_DATA_DIR", default_value = "data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct CreditArgs {
    /// Credits that a new account is granted.
    #[arg(long, env = "TWARGA_CREDITS", default_value_t = 100, value_name = "N",
          value_parser = |text: &str| whole(text, 0, 1_000_000_000))]
    pub credits: u32,
    /// Credits that a new admin's account is granted.
    #[arg(long, env = "TWARGA_ADMIN_CREDITS", default_value_t = 1000, value_name = "N",
          value_parser = |text: &str| whole(text, 0, 1_000_000_000))]
    pub admin_credits: u32,
}

/// Limits of what users may request.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitArgs {
    /// VMs that an account may have; those that were adopted do not count.
    #[arg(long, env = "TWARGA_MAX_VMS", default_value_t = 5, value_name = "N",
          value_parser = |text: &str| whole(text, 0, 10_000))]
    pub max_vms: u32,
    /// The most memory that a VM can have, in MB.
    #[arg(long, env = "TWARGA_MAX_RAM_MB", default_value_t = 16 * 1024, value_name = "MB",
          value_parser = |text: &str| whole(text, 128, 4 * 1024 * 1024))]
    pub max_ram_mb: u32,
    /// The most cores that a VM can have.
    #[arg(long, env = "TWARGA_MAX_CORES", default_value_t = 8, value_name = "N",
          value_parser = |text: &str| whole(text, 1, 512))]
    pub max_cores: u32,
    /// The largest disk that a VM can have, in GB.
    #[arg(long, env = "TWARGA_MAX_DISK_GB", default_value_t = 500, value_name = "GB",
          value_parser = |text: &str| whole(text, 1, 64 * 1024))]
    pub max_disk_gb: u32,
    /// Memory that all running VMs together may have, in percent of the host's.
    #[arg(long, env = "TWARGA_MEMORY_OVERCOMMIT", default_value_t = 150, value_name = "PERCENT",
          value_parser = |text: &str| whole(text, 1, 10_000))]
    pub memory_overcommit: u32,
    /// Cores that all running VMs together may have, in percent of the host's.
    #[arg(long, env = "TWARGA_CPU_OVERCOMMIT", default_value_t = 1000, value_name = "PERCENT",
          value_parser = |text: &str| whole(text, 1, 10_000))]
    pub cpu_overcommit: u32,
    /// Disk that all VMs together may have, in percent of the host's: it is taken only as far as it is written to.
    #[arg(long, env = "TWARGA_DISK_OVERCOMMIT", default_value_t = 300, value_name = "PERCENT",
          value_parser = |text: &str| whole(text, 1, 10_000))]
    pub disk_overcommit: u32,
    /// Of what a VM has cost, the percent that its owner gets back when it is destroyed.
    #[arg(long, env = "TWARGA_REFUND", default_value_t = 0, value_name = "PERCENT",
          value_parser = |text: &str| whole(text, 0, 100))]
    pub refund: u32,
}

/// How alerts are sent.
#[derive(Debug, Clone, Args)]
pub struct NotificationArgs {
    /// The SMTP server that mail is sent over: smtps://user@host:465, or smtp://user@host:587. Its password comes
    /// from the environment variable TWARGA_SMTP_PASSWORD or from a file.
    #[arg(long, env = "TWARGA_SMTP_URL", value_name = "URL")]
    pub smtp_url: Option<String>,
    /// A file that holds the SMTP server's password.
    #[arg(long, env = "TWARGA_SMTP_PASSWORD_FILE", value_name = "FILE")]
    pub smtp_password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the authorities that sign the SMTP server's; only these are trusted then.
    #[arg(long, env = "TWARGA_SMTP_CA_FILE", value_name = "FILE")]
    pub smtp_ca_file: Option<PathBuf>,
    /// Send mail over smtp:// without TLS: for a relay in a network that you trust, and without a sign-in.
    #[arg(long, env = "TWARGA_SMTP_PLAINTEXT")]
    pub smtp_plaintext: bool,
    /// The address that mail comes from.
    #[arg(long, env = "TWARGA_MAIL_FROM", value_name = "ADDRESS")]
    pub mail_from: Option<String>,
    /// Let everyone's webhooks lead into the server's own network; without it only admins' may.
    #[arg(long, env = "TWARGA_PRIVATE_WEBHOOKS")]
    pub private_webhooks: bool,
}

impl NotificationArgs {
    /// How mail is sent, if configured.
    ///
    /// # Errors
    /// A sentence for the admin who started the server.
    pub fn mail(&self) -> Result<Option<Mail>, String> {
        let (url, from) = match (&self.smtp_url, &self.mail_from) {
            (None, _) => return Ok(None),
            (Some(_), None) => return Err("Mail is not set up right: --smtp-url needs --mail-from.".into()),
            (Some(url), Some(from)) => (url, from),
        };
        Mail::new(url, from, self.smtp_password()?, &self.smtp_security()?)
            .map(Some)
            .map_err(|error| format!("Mail is not set up right: {error}."))
    }

    fn smtp_security(&self) -> Result<MailSecurity, String> {
        match (&self.smtp_ca_file, self.smtp_plaintext) {
            (None, false) => Ok(MailSecurity::System),
            (None, true) => Ok(MailSecurity::Plaintext),
            (Some(_), true) => {
                Err("Mail is not set up right: --smtp-plaintext and --smtp-ca-file exclude each other."
                    .into())
            }
            (Some(path), false) => {
                let mut pem = Vec::new();
                fs::File::open(path)
                    .and_then(|file| file.take(CA_FILE_MAX_BYTES).read_to_end(&mut pem))
                    .map_err(|error| format!("--smtp-ca-file {} cannot be read: {error}.", path.display()))?;
                Ok(MailSecurity::Authorities(pem))
            }
        }
    }

    fn smtp_password(&self) -> Result<Option<String>, String> {
        if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
            return Ok(Some(password));
        }
        let Some(path) = &self.smtp_password_file else { return Ok(None) };
        let password = fs::read_to_string(path)
            .map_err(|error| format!("The SMTP password cannot be read from {}: {error}.", path.display()))?;
        Ok(Some(password.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// Bundles of all public authorities are smaller.
const CA_FILE_MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where to listen. A socket handed in by LISTEN_FDS is used instead.
    #[arg(long, env = "TWARGA_ADDR", default_value = "127.0.0.1:3000", value_name = "IP:PORT",
          value_parser = address)]
    pub addr: SocketAddr,
    /// Where the ssh gateway listens, through which users reach their VMs with their own ssh client, or none
    /// [default: 127.0.0.1:2222].
    #[arg(long, env = "TWARGA_SSH_ADDR", value_name = "IP:PORT|none", value_parser = ssh_address)]
    pub ssh_addr: Option<SshAddr>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Real VMs, or a fleet that is made up for trying out.
    #[arg(long, env = "TWARGA_PROVIDER", default_value = "vagrant")]
    pub provider: Provider,
    /// Who may create an account: everybody (open), who has an admin's invitation (invited), or nobody but admins (closed).
    /// The first account needs the code that the server prints when it starts.
    #[arg(long, env = "TWARGA_REGISTRATION", default_value = "invited")]
    pub registration: RegistrationArg,
    #[command(flatten)]
    pub notifications: NotificationArgs,
    /// How many VMs the simulated fleet begins with.
    #[arg(long, env = "TWARGA_SIMULATED_VMS", default_value_t = 6, value_name = "N",
          value_parser = |text: &str| whole(text, 0, 2000))]
    pub simulated_vms: u32,
    /// Seconds between two samples.
    #[arg(long, env = "TWARGA_COLLECT_EVERY", default_value_t = 5, value_name = "SECS",
          value_parser = |text: &str| whole(text, 1, 3600))]
    pub collect_every: u32,
    /// Days that samples are kept.
    #[arg(long, env = "TWARGA_RETENTION_DAYS", default_value_t = 7, value_name = "DAYS",
          value_parser = |text: &str| whole(text, 1, 3650))]
    pub retention_days: u32,
    /// Days that events are kept.
    #[arg(long, env = "TWARGA_EVENTS_RETENTION_DAYS", default_value_t = 365, value_name = "DAYS",
          value_parser = |text: &str| whole(text, 1, 36_500))]
    pub events_retention_days: u32,
    /// Minutes after which a terminal ends in which nothing is typed.
    #[arg(long, env = "TWARGA_TERMINAL_IDLE_MINUTES", default_value_t = 30, value_name = "MINUTES",
          value_parser = |text: &str| whole(text, 1, 24 * 60))]
    pub terminal_idle_minutes: u32,
    /// The libvirt that runs the VMs.
    #[arg(long, env = "TWARGA_LIBVIRT_URI", default_value = "qemu:///system", value_name = "URI",
          value_parser = libvirt_uri)]
    pub libvirt_uri: String,
    /// How guests run: with the processor's help, or emulated in software.
    #[arg(long, env = "TWARGA_LIBVIRT_DRIVER", default_value = "auto")]
    pub libvirt_driver: LibvirtDriver,
    /// The images catalogue [default: the built-in one].
    #[arg(long, env = "TWARGA_IMAGES", value_name = "FILE")]
    pub images: Option<PathBuf>,
    /// Boxes of the project's own lab that are registered, separated by commas.
    #[arg(long, env = "TWARGA_LAB_BOXES", value_name = "BOX,…", value_delimiter = ',', hide = true)]
    pub lab_boxes: Vec<String>,
    /// How many operations run at once [default: one per core].
    #[arg(long, env = "TWARGA_OPERATIONS", value_name = "N", value_parser = |text: &str| whole(text, 1, 64))]
    pub operations: Option<u32>,
    #[command(flatten)]
    pub credits: CreditArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Where users find the pages, such as `https://cloud.example.org`; may be repeated. Requests for other hosts are
    /// rejected, except for loopback names and the addresses that the server listens on. Links in messages lead to the
    /// first one; without it there are none.
    #[arg(long, env = "TWARGA_PUBLIC_URL", value_name = "URL", value_delimiter = ',', value_parser = public_url)]
    pub public_url: Vec<String>,
    /// Addresses of proxies in front of the server, such as 127.0.0.1 or 10.0.0.0/8; may be repeated. Their
    /// X-Forwarded-For, -Host and -Proto are believed.
    #[arg(long, env = "TWARGA_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxy: Vec<IpNet>,
    /// Users reach this server through https: cookies are sent over https only.
    #[arg(long, env = "TWARGA_HTTPS")]
    pub https: bool,
    /// What to log: error, warn, info, debug or trace, or a filter such as `info,twarga_cloud=debug`.
    #[arg(long, env = "TWARGA_LOG", default_value = "info", value_name = "FILTER", value_parser = log_filter)]
    pub log: String,
}

/// Where the ssh gateway listens if nothing else was chosen.
pub const DEFAULT_SSH_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2222);

/// Where the ssh gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshAddr {
    /// Nowhere.
    None,
    At(SocketAddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    Vagrant,
    Simulated,
}

impl From<Provider> for ProviderKind {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Vagrant => Self::Vagrant,
            Provider::Simulated => Self::Simulated,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RegistrationArg {
    Open,
    Invited,
    Closed,
}

impl From<RegistrationArg> for RegistrationMode {
    fn from(registration: RegistrationArg) -> Self {
        match registration {
            RegistrationArg::Open => Self::Open,
            RegistrationArg::Invited => Self::Invited,
            RegistrationArg::Closed => Self::Closed,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LibvirtDriver {
    /// KVM where this process may use it, else QEMU.
    Auto,
    Kvm,
    Qemu,
}

/// The configuration, and where each value comes from.
pub struct Loaded {
    pub cli: Cli,
    matches: ArgMatches,
    file: ConfigFile,
}

#[derive(Debug)]
pub enum LoadError {
    /// A wrong flag or variable, or a request for help.
    CommandLine(clap::Error),
    /// One line about the configuration file.
    File(String),
}

impl From<clap::Error> for LoadError {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

/// Reads the command line, the environment and the file that they name.
///
/// # Errors
/// What is wrong with the first of them that is.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> Result<Loaded, LoadError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = Cli::command();
    let matches = command.clone().try_get_matches_from(&arguments)?;
    let Some(path) = matches.get_one::<PathBuf>("config") else {
        return Ok(Loaded { cli: Cli::from_arg_matches(&matches)?, matches, file: ConfigFile::default() });
    };
    let serve = command.find_subcommand("serve").expect("a command of Cli");
    let file = ConfigFile::read(path, serve).map_err(LoadError::File)?;
    let matches = file.apply(command).try_get_matches_from(arguments)?;
    Ok(Loaded { cli: Cli::from_arg_matches(&matches)?, matches, file })
}

impl Loaded {
    /// What `serve` would use, as TOML, with the source of each value.
    ///
    /// # Errors
    /// What is wrong with a file that the configuration names, or with how mail is set up.
    pub fn check(&self, arguments: &ServeArgs) -> Result<String, String> {
        load_images(arguments.images.as_deref(), &arguments.lab_boxes)?;
        arguments.notifications.mail()?;
        let mut matches = &self.matches;
        while let Some((_, inner)) = matches.subcommand() {
            matches = inner;
        }
        let mut text = String::new();
        for arg in ServeArgs::augment_args(clap::Command::new("serve")).get_arguments() {
            let key = arg.get_id().as_str();
            let source = match matches.value_source(key) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) => "environment",
                Some(_) if self.file.contains(key) => "file",
                Some(_) => "default",
                None => continue,
            };
            let values: Vec<String> = matches
                .get_raw(key)
                .into_iter()
                .flatten()
                .map(|value| literal(&value.to_string_lossy()))
                .collect();
            let value = match arg.get_action() {
                clap::ArgAction::Append => format!("[{}]", values.join(", ")),
                _ => values.join(""),
            };
            writeln!(text, "{:<40} # {source}", format!("{key} = {value}")).expect("writing to a string");
        }
        Ok(text)
    }
}

/// As a value of TOML.
fn literal(value: &str) -> String {
    if value.parse::<i64>().is_ok() || value.parse::<bool>().is_ok() {
        value.to_owned()
    } else {
        toml::Value::from(value).to_string()
    }
}

/// An event's id and its hash in hexadecimal digits.
fn event_hash(text: &str) -> Result<(i64, [u8; 32]), String> {
    let parse = || {
        let (id, digits) = text.split_once(':')?;
        let mut hash = [0; 32];
        let is_hash = digits.len() == 2 * hash.len() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)).filter(|_| is_hash) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some((id.parse().ok()?, hash)).filter(|_| is_hash)
    };
    parse().ok_or_else(|| "allowed is ID:HASH as twarga-cloud audit verify prints it".into())
}

fn whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("allowed is a whole number from {least} to {most}"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "allowed is an IP address with a port, such as 127.0.0.1:3000 or [::1]:3000".into())
}

fn ssh_address(text: &str) -> Result<SshAddr, String> {
    if text == "none" {
        return Ok(SshAddr::None);
    }
    let parsed = text.parse().map(SshAddr::At);
    parsed.map_err(|_| {
        "allowed is an IP address with a port, such as 0.0.0.0:2222 or [::]:2222, or none".into()
    })
}

/// Without a slash at the end. The pages' addresses begin at the root.
fn public_url(text: &str) -> Result<String, String> {
    const ALLOWED: &str =
        "allowed is http:// or https:// with a host name, such as https://cloud.example.org";
    let url = reqwest::Url::parse(text.trim()).map_err(|_| ALLOWED.to_owned())?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain || url.query().or(url.fragment()).is_some() {
        return Err(ALLOWED.into());
    }
    if url.path() != "/" {
        return Err(format!(
            "the pages work at the root of a host name only, not below {}; give the server a host name of its own, such \
             as https://cloud.example.org",
            url.path()
        ));
    }
    Ok(url.origin().ascii_serialization())
}

fn libvirt_uri(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 200;
    if plain && text.contains("://") && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err("allowed is a libvirt URI such as qemu:///system or qemu:///session".into())
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}; allowed are error, warn, info, debug, trace, or a list such as info,twarga_cloud=debug"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_error(arguments: &[&str]) -> String {
        Cli::try_parse_from([&["twarga-cloud"], arguments].concat()).unwrap_err().to_string()
    }

    #[test]
    fn serve_is_the_default_command() {
        let cli = Cli::try_parse_from(["twarga-cloud", "--collect-every", "7"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.collect_every, 7);
        let cli = Cli::try_parse_from(["twarga-cloud", "serve", "--provider", "simulated"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(s)) if s.provider == Provider::Simulated));
    }

    #[test]
    fn registration_is_by_invitation_unless_said_otherwise() {
        let mode = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["twarga-cloud"], arguments].concat()).unwrap();
            RegistrationMode::from(cli.serve.registration)
        };
        assert_eq!(mode(&[]), RegistrationMode::Invited);
        assert_eq!(mode(&["--registration", "open"]), RegistrationMode::Open);
        assert_eq!(mode(&["--registration", "closed"]), RegistrationMode::Closed);
    }

    #[test]
    fn a_password_is_no_argument_of_a_command() {
        for command in ["create", "password"] {
            let arguments = ["twarga-cloud", "user", command, "ada", "correct horse battery"];
            assert!(Cli::try_parse_from(arguments).is_err(), "{command}");
            assert!(Cli::try_parse_from(&arguments[..4]).is_ok(), "{command}");
        }
    }

    #[test]
    fn a_public_address_is_kept_without_its_slash() {
        for (given, kept) in [
            ("https://cloud.example.org/", "https://cloud.example.org"),
            ("http://10.0.0.7:3000", "http://10.0.0.7:3000"),
            ("https://[::1]:8443/", "https://[::1]:8443"),
        ] {
            assert_eq!(public_url(given).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn an_invalid_value_is_rejected_with_its_name_the_value_and_what_is_allowed() {
        for (arguments, words) in [
            (["--collect-every", "0"], ["--collect-every", "'0'", "from 1 to 3600"]),
            (["--registration", "anybody"], ["--registration", "'anybody'", "open, invited, closed"]),
            (["--provider", "docker"], ["--provider", "'docker'", "vagrant, simulated"]),
            (["--retention-days", "x"], ["--retention-days", "'x'", "from 1 to 3650"]),
            (["--libvirt-uri", "localhost"], ["--libvirt-uri", "'localhost'", "qemu:///system"]),
            (["--ssh-addr", "2222"], ["--ssh-addr", "'2222'", "or none"]),
            (["--addr", "3000"], ["--addr", "'3000'", "127.0.0.1:3000"]),
            (["--log", "a=b=c"], ["--log", "'a=b=c'", "allowed are"]),
            (["--public-url", "cloud"], ["--public-url", "'cloud'", "https://cloud.example.org"]),
            (["--public-url", "ftp://a"], ["--public-url", "'ftp://a'", "https://cloud.example.org"]),
            (
                ["--public-url", "https://a/cloud/"],
                ["--public-url", "not below /cloud/", "a host name of its own"],
            ),
            (["--trusted-proxy", "cloud"], ["--trusted-proxy", "'cloud'", "127.0.0.1 or 10.0.0.0/8"]),
            (["--public-url", "https://me@a"], ["--public-url", "allowed is", "https://cloud.example.org"]),
        ] {
            let text = parse_error(&arguments);
            for word in words {
                assert!(text.contains(word), "{word} is missing in: {text}");
            }
        }
    }
}
