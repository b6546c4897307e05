//! Alerts reach users by webhook and mail: signed, and retried after failures.

use crate::support::{Answer, Client, Server, eventually, fleet::Fleet, smtp};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use twarga_cloud::{
    model::{StorageOutage, UtcMillis},
    server::notifications::{self, Mail, MailSecurity, Notifier, Occasion, signature},
};

const NOW: UtcMillis = UtcMillis(1_800_000_000_000);

/// What a receiver got, and what it answers next; 200 when nothing is planned.
#[derive(Default)]
struct Inbox {
    got: Vec<(HeaderMap, String)>,
    answers: VecDeque<Response>,
}

struct Receiver {
    address: String,
    inbox: Arc<Mutex<Inbox>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Receiver {
    async fn begin() -> Self {
        let inbox = Arc::<Mutex<Inbox>>::default();
        let take = async |State(inbox): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: Bytes| {
            let mut inbox = inbox.lock().unwrap();
            inbox.got.push((headers, String::from_utf8(body.to_vec()).unwrap()));
            inbox.answers.pop_front().unwrap_or_else(|| StatusCode::OK.into_response())
        };
        let router = Router::new().route("/hook", post(take)).with_state(inbox.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/hook", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inbox, serving }
    }

    fn will_answer(&self, answer: impl IntoResponse) {
        self.inbox.lock().unwrap().answers.push_back(answer.into_response());
    }

    fn got(&self) -> Vec<(HeaderMap, Value)> {
        let inbox = self.inbox.lock().unwrap();
        inbox
            .got
            .iter()
            .map(|(headers, body)| (headers.clone(), serde_json::from_str(body).unwrap()))
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn notifier(server: &Server, mail: Option<Mail>) -> Notifier {
    Notifier::new(server.state.database.clone(), mail, false).unwrap()
}

/// Sends all that is due, `secs` after now.
async fn pass(notifier: &Notifier, secs: i64) {
    loop {
        let begun = notifier.pass(NOW.plus_secs(secs)).await.unwrap();
        if begun.is_empty() {
            return;
        }
        for sending in begun {
            sending.await.unwrap();
        }
    }
}

/// Raises an alert about a VM, or the host, in the database.
async fn raise(server: &Server, vm_id: Option<i64>) -> i64 {
    let mut tx = server.state.database.write().await.unwrap();
    let id = sqlx::query_scalar(
        "INSERT INTO alert (vm_id, rule_id, metric, severity, threshold, raised_value, raised_at, last_notified_at)
         VALUES (?1, iif(?1 IS NULL, 1, 5), 'cpu', 'warning', 90, 97, ?2, ?2) RETURNING id",
    )
    .bind(vm_id)
    .bind(NOW.0)
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    id
}

async fn queue(server: &Server, alert_id: i64, occasion: Occasion, not_before: Option<UtcMillis>) {
    queue_text(server, alert_id, occasion, "shop is slow.", not_before).await;
}

async fn queue_text(
    server: &Server,
    alert_id: i64,
    occasion: Occasion,
    text: &str,
    not_before: Option<UtcMillis>,
) {
    let mut tx = server.state.database.write().await.unwrap();
    notifications::queue(&mut tx, alert_id, occasion, text, NOW, not_before).await.unwrap();
    tx.commit().await.unwrap();
}

async fn deliveries(client: &Client) -> Vec<(String, u64)> {
    let settings = client.get("/api/v1/my_notifications").await.json();
    let all = settings["deliveries"].as_array().unwrap().iter().rev();
    all.map(|one| (one["state"].as_str().unwrap().to_owned(), one["attempts"].as_u64().unwrap())).collect()
}

async fn hooked(server: &Server, name: &str, receiver: &Receiver) -> Client {
    let client = server.user(name).await;
    let answer = client.form("/api/v1/set_webhook", &[("url", &receiver.address)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    client
}

#[tokio::test]
async fn an_alert_reaches_the_webhook_signed_and_its_end_does_too() {
    let server = Fleet::new().serve(1).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    let vm_id = ada.get("/api/v1/list_vms").await.json()[0]["id"].as_i64().unwrap();
    let alert_id = raise(&server, Some(vm_id)).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    let notifier = notifier(&server, None);
    pass(&notifier, 0).await;
    queue(&server, alert_id, Occasion::Resolved, None).await;
    pass(&notifier, 1).await;

    let got = receiver.got();
    let kinds: Vec<_> = got.iter().map(|(_, body)| body["type"].clone()).collect();
    assert_eq!(kinds, [json!("alert.raised"), json!("alert.resolved")]);
    assert_eq!(got[0].1["data"]["vm_id"], vm_id);
    assert_eq!(got[0].1["data"]["text"], "shop is slow.");
    let settings = ada.get("/api/v1/my_notifications").await.json();
    let shown = settings["webhook_secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let secret = BASE64.decode(shown).unwrap();
    let header = |name: &str| got[0].0[name].to_str().unwrap();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    assert_eq!(timestamp, NOW.0 / 1000);
    let body = receiver.inbox.lock().unwrap().got[0].1.clone();
    assert_eq!(header("webhook-signature"), signature(&secret, header("webhook-id"), timestamp, &body));
    let page = ada.page("/account").await;
    assert!(page.words().contains("shop is slow."), "{}", page.words());
}

#[tokio::test]
async fn admins_hear_that_nothing_can_be_stored_without_the_database() {
    let server = Fleet::new().serve(0).await;
    let (receiver, other) = (Receiver::begin().await, Receiver::begin().await);
    hooked(&server, "ada", &receiver).await;
    hooked(&server, "bob", &other).await;
    server
        .execute(
            "CREATE TRIGGER full BEFORE INSERT ON notification BEGIN SELECT raise(ROLLBACK, 'full'); END",
        )
        .await;
    let outage = StorageOutage {
        since: NOW,
        reason: "The disk of the data folder is full. Free some space there.".into(),
        waiting_ticks: 3,
        lost_ticks: 0,
    };
    for sending in notifier(&server, None).announce(&outage, NOW.plus_secs(15)).await.unwrap() {
        sending.await.unwrap();
    }
    assert_eq!((receiver.got().len(), other.got().len()), (1, 0));
    let text = receiver.got()[0].1["data"]["text"].clone();
    assert!(text.as_str().unwrap().starts_with("Nothing can be stored since"), "{text}");
    assert!(text.as_str().unwrap().contains("Free some space there."), "{text}");
}

#[tokio::test]
async fn a_message_whose_delivery_cannot_be_saved_is_sent_once() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    server
        .execute(
            "CREATE TRIGGER full BEFORE UPDATE ON notification BEGIN SELECT raise(ROLLBACK, 'full'); END",
        )
        .await;
    let notifier = notifier(&server, None);
    let begun = notifier.pass(NOW).await.unwrap();
    eventually(async || if receiver.got().is_empty() { Err("nothing came".into()) } else { Ok(()) }).await;
    for secs in 1..4 {
        assert!(notifier.pass(NOW.plus_secs(secs)).await.unwrap().is_empty());
    }
    server.execute("DROP TRIGGER full").await;
    for sending in begun {
        sending.await.unwrap();
    }
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(deliveries(&ada).await, [("sent".into(), 1)]);
}

#[tokio::test]
async fn a_failed_notification_is_sent_again_with_the_same_id_even_after_a_restart() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    receiver.will_answer(StatusCode::INTERNAL_SERVER_ERROR);
    receiver.will_answer((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")]));
    receiver.will_answer((StatusCode::FOUND, [("location", "/hook")]));
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    pass(&notifier(&server, None), 0).await;
    assert_eq!(deliveries(&ada).await, [("queued".into(), 1)]);
    pass(&notifier(&server, None), 4).await;
    assert_eq!(receiver.got().len(), 1, "not before its time");
    // Each with a sender of its own, as after a restart.
    pass(&notifier(&server, None), 10).await;
    pass(&notifier(&server, None), 60).await;
    assert_eq!(receiver.got().len(), 2, "not before the time to retry after");
    pass(&notifier(&server, None), 80).await;
    assert_eq!((receiver.got().len(), deliveries(&ada).await), (3, vec![("queued".into(), 3)]));
    pass(&notifier(&server, None), 300).await;
    assert_eq!(deliveries(&ada).await, [("sent".into(), 4)]);
    let ids: std::collections::HashSet<_> =
        receiver.got().iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_notification_that_never_succeeds_is_given_up_and_reported() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    for _ in 0..7 {
        receiver.will_answer(StatusCode::GONE);
    }
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    for day in 0..10 {
        pass(&notifier(&server, None), day * 86_400).await;
    }
    assert_eq!(deliveries(&ada).await, [("failed".into(), 7)]);
    let events = server.events().await;
    assert!(
        events.iter().any(|(kind, text)| kind == "notification_failed" && text.contains("410")),
        "{events:?}"
    );
    queue(&server, alert_id, Occasion::Resolved, None).await;
    assert_eq!(deliveries(&ada).await.len(), 1, "no resolution is sent without an opening");
}

#[tokio::test]
async fn only_admins_webhooks_lead_into_the_servers_own_network() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let _admin = server.user("ada").await;
    let bob = hooked(&server, "bob", &receiver).await;
    let test = async |url: &str, secs: i64| {
        assert_eq!(bob.form("/api/v1/set_webhook", &[("url", url)]).await.status, StatusCode::OK);
        server.execute("UPDATE notification SET queued_at = 0").await;
        let sent = bob.form("/api/v1/test_notification", &[("channel", "webhook")]).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
        server.execute("UPDATE notification SET due_at = 0 WHERE state = 'queued'").await;
        pass(&notifier(&server, None), secs).await;
        let settings = bob.get("/api/v1/my_notifications").await.json();
        let newest = settings["deliveries"][0].clone();
        assert_eq!(newest["state"], "failed", "a test is tried once");
        newest["error"].as_str().unwrap().to_owned()
    };
    for url in [
        &*receiver.address,
        &receiver.address.replace("127.0.0.1", "localhost"),
        "http://[::1]:9/",
        "http://0x7f000001/",
    ] {
        let error = test(url, 0).await;
        assert!(error.contains("own network"), "{url}: {error}");
    }
    assert!(receiver.got().is_empty());
    let again = bob.form("/api/v1/test_notification", &[("channel", "webhook")]).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_unreported_alert_is_not_reported_as_resolved() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    let quiet = Some(NOW.plus_secs(3600));
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, quiet).await;
    queue(&server, alert_id, Occasion::Repeated, quiet).await;
    pass(&notifier(&server, None), 60).await;
    assert_eq!(deliveries(&ada).await, [("queued".into(), 0)], "once, and not in quiet hours");
    queue(&server, alert_id, Occasion::Resolved, quiet).await;
    pass(&notifier(&server, None), 7200).await;
    assert_eq!((receiver.got().len(), deliveries(&ada).await), (0, vec![("dropped".into(), 0)]));
}

#[tokio::test]
async fn users_are_notified_about_their_own_and_admins_of_the_host_and_of_all_if_they_wish() {
    let server = Fleet::new().serve(0).await;
    let (of_ada, of_bob) = (Receiver::begin().await, Receiver::begin().await);
    let ada = hooked(&server, "ada", &of_ada).await;
    let bob = hooked(&server, "bob", &of_bob).await;
    let vm_id = bob.launch("bobs", "alpine-3.23").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    let queued = async || (deliveries(&ada).await.len(), deliveries(&bob).await.len());
    let (host, vm) = (raise(&server, None).await, raise(&server, Some(vm_id)).await);
    queue(&server, host, Occasion::Raised, None).await;
    assert_eq!(queued().await, (1, 0));
    queue(&server, vm, Occasion::Raised, None).await;
    assert_eq!(queued().await, (1, 1));
    assert_eq!(ada.form("/api/v1/set_notify_of_all", &[("is_on", "true")]).await.status, StatusCode::OK);
    queue(&server, vm, Occasion::Repeated, None).await;
    assert_eq!(queued().await, (2, 1), "bob has one that waits");
    // Turned off since: what waits is not sent.
    assert_eq!(bob.form("/api/v1/set_webhook", &[("url", "")]).await.status, StatusCode::OK);
    pass(&notifier(&server, None), 0).await;
    assert_eq!((of_ada.got().len(), of_bob.got().len()), (2, 0));
    assert_eq!(deliveries(&bob).await, [("dropped".into(), 1)]);
}

#[tokio::test]
async fn a_resolved_alert_is_never_sent_before_its_opening() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let _ada = hooked(&server, "ada", &receiver).await;
    receiver.will_answer(StatusCode::BAD_GATEWAY);
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    let notifier = notifier(&server, None);
    pass(&notifier, 0).await;
    queue(&server, alert_id, Occasion::Resolved, None).await;
    pass(&notifier, 1).await;
    assert_eq!(receiver.got().len(), 1);
    pass(&notifier, 10).await;
    let kinds: Vec<_> = receiver.got().iter().map(|(_, body)| body["type"].clone()).collect();
    assert_eq!(kinds, [json!("alert.raised"), json!("alert.raised"), json!("alert.resolved")]);
}

/// A mail server. It has what it got; the lines of each mail are joined.
struct MailServer {
    url: String,
    got: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl MailServer {
    async fn begin() -> Self {
        let got = Arc::<Mutex<Vec<String>>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let mails = got.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mails = mails.clone();
                tokio::spawn(async move {
                    stream.write_all(smtp::GREETING).await.unwrap();
                    let mut said = Vec::new();
                    let done = smtp::converse(&mut stream, "", |line| said.push(line.to_owned())).await;
                    let message = said.split(|line| line == "DATA").nth(1);
                    if let (Ok(_), Some(message)) = (done, message) {
                        let lines = message.split(|line| line == ".").next().unwrap_or_default();
                        // Long lines are quoted-printable.
                        let text = lines.join("\n").replace("=\n", "").replace("=3D", "=");
                        mails.lock().unwrap().push(text);
                    }
                });
            }
        });
        Self { url, got, serving }
    }

    fn client(&self) -> Mail {
        Mail::new(&self.url, "cloud@example.org", None, &MailSecurity::System).unwrap()
    }

    /// Waits for this many mails, and takes them.
    async fn take(&self, count: usize) -> Vec<String> {
        eventually(async || {
            let mut got = self.got.lock().unwrap();
            if got.len() < count { Err(format!("{} mails came", got.len())) } else { Ok(got.split_off(0)) }
        })
        .await
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const SITE: &str = "https://cloud.example.org";

/// One that can send mails with links.
async fn server_with_mail(mail: &MailServer) -> (Server, Notifier) {
    let more = ["--smtp-url", mail.url.as_str(), "--mail-from", "cloud@example.org", "--public-url", SITE];
    let server = Fleet::new().serve_with(&more).await;
    let notifier = notifier(&server, Some(mail.client())).with_public_url(Some(SITE.into()));
    (server, notifier)
}

async fn turn_mail_on(client: &Client) -> Answer {
    client.form("/api/v1/set_email_notifications", &[("is_on", "true")]).await
}

async fn confirm(client: &Client, token: &str) -> Answer {
    client.form("/api/v1/confirm_email", &[("link", token)]).await
}

/// The token of the link in a mail.
fn token_in(mail: &str) -> &str {
    let begin = format!("{SITE}/confirm-email#");
    let (_, rest) = mail.split_once(&begin).unwrap_or_else(|| panic!("no link in {mail}"));
    rest.lines().next().unwrap()
}

#[tokio::test]
async fn an_alert_comes_by_mail() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let off = turn_mail_on(&ada).await;
    assert_eq!((off.status, off.text.contains("--smtp-url")), (StatusCode::CONFLICT, true));
    server.execute("INSERT INTO notification_setting (account_id, email_is_on) VALUES (1, 1)").await;
    server.execute("UPDATE account SET email_confirmed_at = 0").await;
    let mails = MailServer::begin().await;
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    let notifier = notifier(&server, Some(mails.client())).with_public_url(Some(SITE.into()));
    pass(&notifier, 0).await;
    let mail = &mails.take(1).await[0];
    for part in [
        "From: cloud@example.org",
        "Subject: shop is slow",
        "shop is slow.",
        "To: ",
        "\nhttps://cloud.example.org/alerts\n",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    assert_eq!(deliveries(&ada).await, [("sent".into(), 1)]);
}

#[tokio::test]
async fn an_address_gets_nothing_but_a_link_before_its_reader_confirms() {
    let mails = MailServer::begin().await;
    let (server, notifier) = server_with_mail(&mails).await;
    let ada = server.user("ada").await;
    let test = async || ada.form("/api/v1/test_notification", &[("channel", "email")]).await;
    assert_eq!(test().await.status, StatusCode::CONFLICT);
    let on = turn_mail_on(&ada).await;
    assert_eq!(on.status, StatusCode::OK, "{}", on.text);
    let page = ada.page("/account").await.words();
    assert!(
        page.contains("Confirm the link sent to ada@example.org.") && page.contains("Send link again"),
        "{page}"
    );
    assert_eq!(test().await.status, StatusCode::CONFLICT);
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    pass(&notifier, 0).await;
    let got = mails.take(1).await;
    assert_eq!(got.len(), 1);
    for part in [
        "Subject: Confirm your e-mail address",
        "The user ada of https://cloud.example.org",
        "ignore this mail",
    ] {
        assert!(got[0].contains(part), "{part}: {}", got[0]);
    }
    let token = token_in(&got[0]);
    let deliveries = ada.get("/api/v1/my_notifications").await.text;
    assert!(
        deliveries.contains("Confirm your e-mail address.") && !deliveries.contains(token),
        "{deliveries}"
    );

    // Programs that read mail open the page, but press no button.
    assert_eq!(server.anonymous().page("/confirm-email").await.status, StatusCode::OK);
    assert_eq!(test().await.status, StatusCode::CONFLICT);
    for wrong in ["", "x", &"A".repeat(43)] {
        let answer = confirm(&server.anonymous(), wrong).await;
        assert_eq!(
            (answer.status, answer.text.contains("\"link\"")),
            (StatusCode::BAD_REQUEST, true),
            "{wrong}"
        );
    }
    let (location, page) =
        server.anonymous().submit("/confirm-email", "/api/v1/confirm_email", &[("link", token)]).await;
    assert_eq!(location, "/confirm-email?done=email");
    assert!(page.words().contains("E-mail address confirmed"), "{}", page.words());
    assert_eq!(confirm(&server.anonymous(), token).await.status, StatusCode::BAD_REQUEST, "it is used once");
    assert!(
        server.events().await.contains(&(
            "account_email_confirmed".to_owned(),
            "ada confirmed their e-mail address.".to_owned()
        ))
    );

    assert!(ada.page("/account").await.words().contains("On. Alerts are sent to ada@example.org."));
    queue(&server, alert_id, Occasion::Repeated, None).await;
    assert_eq!(test().await.status, StatusCode::OK);
    pass(&notifier, 1).await;
    assert_eq!(mails.take(2).await.len(), 2);
}

#[tokio::test]
async fn a_link_is_valid_for_a_day_as_long_as_it_is_the_newest_and_the_account_stays_as_it_is() {
    let mails = MailServer::begin().await;
    let (server, notifier) = server_with_mail(&mails).await;
    let (admin, bob) = (server.user("ada").await, server.user("bob").await);
    let link = async || {
        server.execute("DELETE FROM sent_mail").await;
        assert_eq!(turn_mail_on(&bob).await.status, StatusCode::OK);
        pass(&notifier, 0).await;
        token_in(&mails.take(1).await[0]).to_owned()
    };
    let is_valid = async |token: &str| confirm(&server.anonymous(), token).await.status == StatusCode::OK;
    let (former, newest) = (link().await, link().await);
    assert!(!is_valid(&former).await);
    // Its clock is that of this machine.
    server.execute("UPDATE email_confirmation SET expires_at = unixepoch() * 1000").await;
    assert!(!is_valid(&newest).await, "its day is over");

    let of_other_address = link().await;
    server.execute("UPDATE account SET email = 'bert@example.org' WHERE username = 'bob'").await;
    assert!(!is_valid(&of_other_address).await);

    let of_deactivated = link().await;
    for is_active in ["false", "true"] {
        let fields = [("account_id", "2"), ("is_active", is_active)];
        assert_eq!(admin.form("/api/v1/set_account_active", &fields).await.status, StatusCode::OK);
    }
    assert!(!is_valid(&of_deactivated).await);
    let bob = server.signed_in("bob").await;
    assert_eq!(turn_mail_on(&bob).await.status, StatusCode::OK);
    pass(&notifier, 0).await;
    assert!(is_valid(token_in(&mails.take(1).await[0])).await);
    server.execute("UPDATE account SET email = 'bob@example.org' WHERE username = 'bob'").await;
    let settings = bob.get("/api/v1/my_notifications").await.json();
    assert_eq!(settings["email_is_confirmed"], false, "another address is another reader's");
}

#[tokio::test]
async fn a_stranger_gets_few_links_however_many_accounts_ask() {
    let mails = MailServer::begin().await;
    let (server, notifier) = server_with_mail(&mails).await;
    let mut asked = Vec::new();
    for n in 0..3 {
        let name = format!("user{n}");
        let more = json!({ "email": format!("Victim+{n}@example.org"), "setup_code": server.setup_code() });
        assert_eq!(server.anonymous().register(&name, more).await.status, StatusCode::CREATED);
        let client = server.signed_in(&name).await;
        asked.push(turn_mail_on(&client).await);
        asked.push(turn_mail_on(&client).await);
    }
    let statuses: Vec<_> = asked.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    let wait: u64 = asked[3].headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert!(asked[3].text.contains("Too many links were sent to this address."), "{}", asked[3].text);
    pass(&notifier, 0).await;
    assert_eq!(mails.take(3).await.len(), 3);
    assert_eq!(turn_mail_on(&server.user("other").await).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_public_url_an_address_cannot_be_confirmed_and_the_page_says_what_is_missing() {
    let more = ["--smtp-url", "smtp://127.0.0.1:9", "--mail-from", "cloud@example.org"];
    let server = Fleet::new().serve_with(&more).await;
    let ada = server.user("ada").await;
    let rejected = turn_mail_on(&ada).await;
    assert_eq!(rejected.status, StatusCode::CONFLICT);
    assert!(rejected.text.contains("An admin can set --public-url."), "{}", rejected.text);
    let page = ada.page("/account").await.words();
    assert!(page.contains("An admin can set --public-url."), "{page}");
    assert!(!page.contains("Turn on"), "{page}");
}

#[tokio::test]
async fn too_many_mails_to_one_address_wait_and_come_as_one() {
    let mails = MailServer::begin().await;
    let (server, notifier) = server_with_mail(&mails).await;
    let ada = server.user("ada").await;
    server.execute("INSERT INTO notification_setting (account_id, email_is_on) VALUES (1, 1)").await;
    server.execute("UPDATE account SET email_confirmed_at = 0").await;
    // Each in a tick of its own.
    let mut alerts = Vec::new();
    for n in 0..34_i64 {
        server.execute("UPDATE alert SET resolved_at = raised_at").await;
        let alert_id = raise(&server, None).await;
        let text = format!("Alert {n}.");
        let mut tx = server.state.database.write().await.unwrap();
        let at = NOW.plus_secs(n);
        notifications::queue(&mut tx, alert_id, Occasion::Raised, &text, at, None).await.unwrap();
        tx.commit().await.unwrap();
        pass(&notifier, n).await;
        alerts.push(alert_id);
    }
    assert_eq!(mails.take(30).await.len(), 30);
    // One that is over meanwhile is reported nevertheless, and its end after it.
    queue(&server, alerts[31], Occasion::Resolved, None).await;
    let waiting = deliveries(&ada).await;
    assert_eq!(waiting.iter().filter(|(state, _)| state == "queued").count(), 5, "{waiting:?}");
    assert!(ada.page("/account").await.words().contains("An address gets at most 30 e-mails an hour."));
    let held: Vec<_> =
        server.events().await.into_iter().filter(|(kind, _)| kind == "notification_held").collect();
    assert_eq!(held.len(), 1, "{held:?}");
    pass(&notifier, 3000).await;
    assert!(mails.got.lock().unwrap().is_empty(), "not before the hour is over");
    pass(&notifier, 3605).await;
    let got = mails.take(2).await;
    for n in 30..34 {
        assert!(got[0].contains(&format!("Alert {n}.")), "{n}: {}", got[0]);
    }
    assert!(got[1].contains("shop is slow."), "{}", got[1]);
    assert!(deliveries(&ada).await.iter().all(|(state, _)| state == "sent"));
}

/// Accepts connections and never answers.
async fn hanging() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let holding = tokio::spawn(async move {
        let mut streams = Vec::new();
        loop {
            streams.push(listener.accept().await.unwrap());
        }
    });
    (address, holding)
}

#[tokio::test]
async fn a_hanging_webhook_delays_neither_the_accounts_mail_nor_other_accounts() {
    let server = Fleet::new().serve(0).await;
    let (address, _holding) = hanging().await;
    for n in 0..9 {
        let user = server.user(&format!("user{n}")).await;
        assert_eq!(user.form("/api/v1/set_webhook", &[("url", &address)]).await.status, StatusCode::OK);
    }
    let receiver = Receiver::begin().await;
    let last = hooked(&server, "last", &receiver).await;
    server.execute("UPDATE account SET role = 'admin'").await;
    server.execute("UPDATE notification_setting SET email_is_on = account_id = 1").await;
    server.execute("UPDATE account SET email_confirmed_at = 0").await;
    let mails = MailServer::begin().await;
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;

    let notifier = notifier(&server, Some(mails.client()));
    let begun = notifier.pass(NOW).await.unwrap();
    assert_eq!(begun.len(), 11, "nine that hang, one that answers, one mail");
    assert!(notifier.pass(NOW).await.unwrap().is_empty(), "each has one delivery at a time");
    assert!(mails.take(1).await[0].contains("shop is slow."));
    eventually(async || match deliveries(&last).await {
        sent if sent == [("sent".to_owned(), 1)] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn what_a_receiver_answers_to_an_error_is_shown_in_one_bounded_line() {
    let server = Fleet::new().serve(0).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    let long = "x".repeat(100_000);
    for (answer, shown) in [
        (r#"{"message": "Cannot send an empty message", "code": 50006}"#, "Cannot send an empty message"),
        ("invalid_payload", "Bad Request: invalid_payload"),
        ("\n\nBad payload\u{1b}[31m received\nby the webhook", "Bad Request: Bad payload[31m received"),
        (&*long, "xxx…"),
        ("", "The receiver answered 400 Bad Request."),
    ] {
        receiver.will_answer((StatusCode::BAD_REQUEST, answer.to_owned()));
        server.execute("DELETE FROM notification").await;
        let sent = ada.form("/api/v1/test_notification", &[("channel", "webhook")]).await;
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
        server.execute("UPDATE notification SET due_at = 0").await;
        pass(&notifier(&server, None), 0).await;
        let settings = ada.get("/api/v1/my_notifications").await.json();
        let error = settings["deliveries"][0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(shown) && error.len() < 300 && !error.contains("by the"), "{error}");
    }
}

#[tokio::test]
async fn alerts_of_one_tick_are_one_message_and_each_resolves_by_itself() {
    let server = Fleet::new().serve(3).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    let vms = ada.get("/api/v1/list_vms").await.json();
    let ids: Vec<i64> = vms.as_array().unwrap().iter().map(|vm| vm["id"].as_i64().unwrap()).collect();
    let mut alerts = Vec::new();
    for (id, vm) in ids.iter().zip(vms.as_array().unwrap()) {
        let alert_id = raise(&server, Some(*id)).await;
        let text = format!("{} stopped because the host restarted.", vm["name"].as_str().unwrap());
        queue_text(&server, alert_id, Occasion::Raised, &text, None).await;
        alerts.push(alert_id);
    }
    receiver.will_answer(StatusCode::BAD_GATEWAY);
    let notifier = notifier(&server, None);
    pass(&notifier, 0).await;
    pass(&notifier, 10).await;
    queue(&server, alerts[1], Occasion::Resolved, None).await;
    pass(&notifier, 11).await;

    let got = receiver.got();
    assert_eq!(got.len(), 3, "once, once more after a failure, and the end of one");
    assert_eq!(got[0].0["webhook-id"], got[1].0["webhook-id"]);
    let data = &got[1].1["data"];
    assert!(data["text"].as_str().unwrap().ends_with(" stopped because the host restarted."), "{data}");
    assert_eq!(data["text"].as_str().unwrap().matches(" and ").count(), 1, "{data}");
    let named: Vec<_> =
        data["alerts"].as_array().unwrap().iter().map(|one| one["alert_id"].as_i64()).collect();
    assert_eq!(named, alerts.iter().map(|id| Some(*id)).collect::<Vec<_>>());
    assert_eq!(got[2].1["data"]["alert_id"], alerts[1]);
    let states = deliveries(&ada).await;
    assert_eq!(
        states,
        [("sent".to_owned(), 2), ("sent".to_owned(), 2), ("sent".to_owned(), 2), ("sent".to_owned(), 1)]
    );
}

#[tokio::test]
async fn a_host_that_restarts_is_one_message_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    let flags = ["--simulated-vms", "3"];
    let mut server = fleet.serve_in(folder.path(), &flags).await;
    let receiver = Receiver::begin().await;
    let ada = hooked(&server, "ada", &receiver).await;
    for vm in ada.get("/api/v1/list_vms").await.json().as_array().unwrap() {
        ada.act("start", vm["id"].as_i64().unwrap()).await;
    }
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    drop(server);

    fleet.clock.advance(600);
    fleet.restart_host();
    let mut server = fleet.serve_in(folder.path(), &flags).await;
    let ada = server.signed_in("ada").await;
    fleet.ticks(&mut server, 20).await;
    server.execute("UPDATE notification SET due_at = 0").await;
    pass(&notifier(&server, None), 0).await;
    let got: Vec<_> = receiver.got();
    let stops: Vec<_> = got
        .iter()
        .map(|(_, body)| body["data"]["text"].as_str().unwrap())
        .filter(|text| text.contains("stopped"))
        .collect();
    assert_eq!(stops.len(), 1, "{got:?}");
    assert!(
        stops[0].contains(" and ") && stops[0].contains(" stopped because the host restarted."),
        "{stops:?}"
    );
    let events = server.events().await;
    let with_the_host =
        events.iter().filter(|(_, text)| text.ends_with("stopped because the host restarted."));
    assert_eq!(with_the_host.count(), 3, "{events:?}");
    // Later stops have other reasons.
    let name = ada.get("/api/v1/list_vms").await.json()[0]["name"].as_str().unwrap().to_owned();
    let uuid = server.domain_uuid(&name).await;
    assert!(fleet.start_from_outside(&uuid));
    fleet.ticks(&mut server, 20).await;
    assert!(fleet.stop_from_outside(&uuid));
    fleet.ticks(&mut server, 20).await;
    let newest = server.events().await;
    let (_, text) = newest.iter().find(|(kind, _)| kind == "alert_raised").unwrap();
    assert!(text.starts_with(&format!("{name} stopped unexpectedly.")), "{text}");
}
