//! Alerts reach users by webhook and mail: signed, and retried after failures.

use crate::support::{Client, Server, eventually, fleet::Fleet, smtp};
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

/// Takes one mail, as an SMTP server does, and gives the message.
async fn take_mail(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(smtp::GREETING).await.unwrap();
    let mut said = Vec::new();
    smtp::converse(&mut stream, "", |line| said.push(line.to_owned())).await.unwrap();
    let message = said.split(|line| line == "DATA").nth(1).expect("a message is sent");
    message.split(|line| line == ".").next().unwrap_or_default().join("\n")
}

#[tokio::test]
async fn an_alert_comes_by_mail() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let off = ada.form("/api/v1/set_email_notifications", &[("is_on", "true")]).await;
    assert_eq!((off.status, off.text.contains("--smtp-url")), (StatusCode::CONFLICT, true));
    server.execute("INSERT INTO notification_setting (account_id, email_is_on) VALUES (1, 1)").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let taken = tokio::spawn(take_mail(listener));
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;
    let mail = Mail::new(&url, "cloud@example.org", None, &MailSecurity::System).unwrap();
    let notifier = notifier(&server, Some(mail)).with_public_url(Some("https://cloud.example.org".into()));
    pass(&notifier, 0).await;
    let mail = taken.await.unwrap();
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let taken = tokio::spawn(take_mail(listener));
    let mail = Mail::new(&url, "cloud@example.org", None, &MailSecurity::System).unwrap();
    let alert_id = raise(&server, None).await;
    queue(&server, alert_id, Occasion::Raised, None).await;

    let notifier = notifier(&server, Some(mail));
    let begun = notifier.pass(NOW).await.unwrap();
    assert_eq!(begun.len(), 11, "nine that hang, one that answers, one mail");
    assert!(notifier.pass(NOW).await.unwrap().is_empty(), "each has one delivery at a time");
    assert!(taken.await.unwrap().contains("shop is slow."));
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
