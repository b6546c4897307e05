//! The configuration file. A key is the name of a flag of `serve` with `_` for `-`: `collect_every = 5`.
//!
//! Its values become the flags' defaults. So a flag or an environment variable overrides them, and clap checks them
//! like any other value.

use clap::{Arg, ArgAction, Command, builder::Resettable, error::ContextKind};
use std::{collections::BTreeMap, error::Error, fs, path::Path};
use toml::{Spanned, Value};

/// Values by the id of their argument, each valid by itself.
#[derive(Debug, Default)]
pub struct ConfigFile(BTreeMap<String, Vec<String>>);

impl ConfigFile {
    /// Reads a file whose keys are arguments of `serve`.
    ///
    /// # Errors
    /// One line that names the file and, where the fault is in the text, its line and key.
    pub fn read(path: &Path, serve: &Command) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("{}: the configuration file cannot be read: {error}", path.display()))?;
        Self::parse(&text, serve).map_err(|(line, message)| format!("{}:{line}: {message}", path.display()))
    }

    fn parse(text: &str, serve: &Command) -> Result<Self, (usize, String)> {
        let line = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table: BTreeMap<Spanned<String>, Spanned<Value>> = toml::from_str(text)
            .map_err(|error| (line(error.span().map_or(0, |span| span.start)), error.message().to_owned()))?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let line = line(key.span().start);
            let key = key.into_inner();
            let arg = serve.get_arguments().find(|arg| arg.get_id() == key.as_str());
            let arg = arg.ok_or_else(|| (line, unknown(&key)))?;
            let checked =
                strings(arg, value.get_ref()).and_then(|strings| check(arg, &strings).map(|()| strings));
            let strings = checked.map_err(|message| (line, format!("{key}: {message}")))?;
            values.insert(key, strings);
        }
        Ok(Self(values))
    }

    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The command with these values for defaults, in its subcommands too.
    pub fn apply(&self, command: Command) -> Command {
        let command = command.mut_args(|arg| match self.0.get(arg.get_id().as_str()) {
            Some(values) => arg.default_values(values.clone()),
            None => arg,
        });
        command.mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

fn unknown(key: &str) -> String {
    let hint = match key {
        "smtp_password" => "name a file that holds it with smtp_password_file",
        _ => "the keys are the flags of `twarga-cloud serve --help`, with _ for -",
    };
    format!("unknown key {key}: {hint}")
}

/// The value as it would be written on the command line.
fn strings(arg: &Arg, value: &Value) -> Result<Vec<String>, String> {
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(on)) => Ok(vec![on.to_string()]),
        (ArgAction::SetTrue, _) => Err(format!("invalid value {value}: allowed is true or false")),
        (ArgAction::Append, Value::Array(items)) => items.iter().map(scalar).collect(),
        _ => Ok(vec![scalar(value)?]),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        _ => Err(format!("invalid value {value}: allowed is a string or a whole number")),
    }
}

/// Lets the argument's own parser judge the value.
fn check(arg: &Arg, values: &[String]) -> Result<(), String> {
    let arg = arg.clone().env(Resettable::Reset).default_values(values.to_vec());
    let command = Command::new("check").no_binary_name(true).arg(arg);
    let Err(error) = command.try_get_matches_from([""; 0]) else { return Ok(()) };
    let allowed = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(valid)) => format!("allowed are {valid}"),
        (None, None) => error.kind().to_string(),
    };
    Err(format!("invalid value '{}': {allowed}", values.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::Cli;
    use clap::CommandFactory;

    fn parse(text: &str) -> Result<ConfigFile, (usize, String)> {
        let command = Cli::command();
        ConfigFile::parse(text, command.find_subcommand("serve").unwrap())
    }

    #[test]
    fn keys_are_the_flags_of_serve() {
        let file =
            parse("provider = \"simulated\"\ncollect_every = 7\nhttps = true\nlab_boxes = [\"a\", \"b\"]\n")
                .unwrap();
        assert_eq!(file.0["collect_every"], ["7"]);
        assert_eq!(file.0["https"], ["true"]);
        assert_eq!(file.0["lab_boxes"], ["a", "b"]);
        let file = parse("public_url = [\"https://a\", \"https://b\"]\ntrusted_proxy = \"::1\"\n").unwrap();
        assert_eq!(file.0["public_url"], ["https://a", "https://b"]);
        assert_eq!(file.0["trusted_proxy"], ["::1"]);
    }

    #[test]
    fn a_key_is_contained_if_the_file_has_it() {
        let file = parse("provider = \"simulated\"\n").unwrap();
        assert!(file.contains("provider") && !file.contains("addr"));
    }

    #[test]
    fn an_error_names_the_line_and_the_key_and_says_what_is_allowed() {
        for (text, line, words) in [
            ("\n\ncollect-every = 5\n", 3, ["unknown key", "collect-every"]),
            ("config = \"other.toml\"\n", 1, ["unknown key", "config"]),
            ("smtp_password = \"secret\"\n", 1, ["unknown key", "smtp_password_file"]),
            ("[server]\naddr = \"127.0.0.1:1\"\n", 1, ["unknown key", "server"]),
            ("# days\nretention_days = 0\n", 2, ["retention_days: invalid value '0'", "from 1 to 3650"]),
            ("retention_days = 1.5\n", 1, ["retention_days: invalid value 1.5", "whole number"]),
            ("provider = \"docker\"\n", 1, ["provider: invalid value 'docker'", "vagrant, simulated"]),
            ("https = \"yes\"\n", 1, ["https: invalid value", "true or false"]),
            ("trusted_proxy = [\"::1\", \"cloud\"]\n", 1, ["trusted_proxy: invalid value", "10.0.0.0/8"]),
            ("addr = \"3000\"\n", 1, ["addr: invalid value '3000'", "127.0.0.1:3000"]),
            ("log = \"info\"\nlog = \"warn\"\n", 2, ["duplicate", "key"]),
            ("log = info\n", 1, ["", ""]),
        ] {
            let (found, message) = parse(text).unwrap_err();
            assert_eq!(found, line, "{message}");
            for word in words {
                assert!(message.contains(word), "{word} is missing in: {message}");
            }
        }
    }
}
