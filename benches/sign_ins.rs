//! The memory that wrong sign-ins leave behind.

use crate::{Results, resident_mb, support::fleet::Fleet};
use futures::{StreamExt, stream};

const SIGN_INS: usize = 500;
const AT_ONCE: usize = 64;

pub async fn measure(results: &mut Results) {
    println!("wrong sign-ins: {SIGN_INS}, {AT_ONCE} at once");
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let before = resident_mb();
    results.report("rss_before_wrong_sign_ins_mb", before, "MB", "resident before");
    // Each with a name and from an address of its own: further ones are rejected without a check.
    let wrong = stream::iter(0..SIGN_INS).map(|i| {
        let anonymous = server.anonymous().asking_from(&format!("192.0.{}.{}:4711", i / 250, i % 250));
        let name = if i == 0 { "ada".to_owned() } else { format!("name{i}") };
        tokio::spawn(async move {
            let fields = [("username", name.as_str()), ("password", "not her password")];
            anonymous.form("/api/auth/login", &fields).await.status
        })
    });
    wrong
        .buffer_unordered(AT_ONCE)
        .for_each(|status| async { assert_eq!(status.unwrap().as_u16(), 400) })
        .await;
    let after = resident_mb();
    let what = format!("resident after, {:+.1} MB", after - before);
    results.report("rss_after_500_wrong_sign_ins_mb", after, "MB", &what);
}
