//! Real HTTP over loopback, a connection a request.

use super::PASSWORD;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use twarga_cloud::server::{
    state::AppState,
    web::{self, connections::Limits},
};

/// A server that listens on loopback; ends when it is dropped.
pub struct Listening {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listening {
    pub async fn begin(state: AppState) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits::for_descriptors(1024);
        let task = tokio::spawn(async move {
            web::serve(listener, state, limits, std::future::pending()).await.unwrap();
        });
        Self { address, task }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Registers the admin with the usual password, signs them in and gives their token.
pub async fn register(address: SocketAddr, username: &str, setup_code: &str) -> String {
    let body = format!(
        r#"{{"username":"{username}","email":"{username}@example.org","password":"{PASSWORD}","setup_code":"{setup_code}"}}"#
    );
    let (status, answer) = send(address, "POST", "/api/auth/register", "", &body).await;
    assert_eq!(status, 201, "{answer}");
    sign_in(address, username, PASSWORD).await
}

/// Signs somebody in and gives their token.
pub async fn sign_in(address: SocketAddr, username: &str, password: &str) -> String {
    let body = format!("username={username}&password={}", password.replace(' ', "+"));
    let head = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (status, answer) = exchange(address, "POST", "/api/auth/login", head, &body).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Sends a request with a JSON body, if any, and gives the status and the body of the answer.
pub async fn send(address: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let head = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    exchange(address, method, path, &head, body).await.unwrap()
}

/// The same for a server that may not be there.
pub async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    exchange_from(Ipv4Addr::LOCALHOST.into(), address, method, path, head, body).await
}

/// The same from another address of loopback.
pub async fn exchange_from(
    from: IpAddr,
    address: SocketAddr,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut connection = socket.connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
}
