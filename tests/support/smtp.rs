//! The receiving side of SMTP.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

pub const GREETING: &[u8] = b"220 here\r\n";

/// Answers a client until it says goodbye, or asks for TLS: then it gives `true`. Takes any password, at any time:
/// that a client says it too early is not for the receiver to prevent.
pub async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    offer: &str,
    mut note: impl FnMut(&str),
) -> std::io::Result<bool> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut in_message) = (String::new(), false);
    while stream.read_line(&mut line).await? > 0 {
        let said = line.trim_end().to_owned();
        line.clear();
        note(&said);
        if in_message && said != "." {
            continue;
        }
        in_message = said == "DATA";
        let answer = match said.split(' ').next().unwrap_or_default() {
            "EHLO" => format!("250-here\r\n{offer}250 AUTH PLAIN\r\n"),
            "AUTH" => "235 welcome\r\n".to_owned(),
            "DATA" => "354 go on\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            "STARTTLS" => "220 go on\r\n".to_owned(),
            _ => "250 ok\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
        if said == "STARTTLS" || said == "QUIT" {
            return Ok(said == "STARTTLS");
        }
    }
    Ok(false)
}
