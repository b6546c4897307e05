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
    let wrong = stream::iter(0..SIGN_INS).map(|_| {
        let anonymous = server.anonymous();
        let fields = [("username", "ada"), ("password", "not her password")];
        tokio::spawn(async move { anonymous.form("/api/auth/login", &fields).await.status })
    });
    wrong
        .buffer_unordered(AT_ONCE)
        .for_each(|status| async { assert!(status.unwrap().is_client_error()) })
        .await;
    let after = resident_mb();
    let what = format!("resident after, {:+.1} MB", after - before);
    results.report("rss_after_500_wrong_sign_ins_mb", after, "MB", &what);
}
