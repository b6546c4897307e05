use super::*;
use sqlx::Executor;
use tempfile::TempDir;

async fn database() -> (TempDir, Database) {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    (folder, database)
}

async fn record(database: &Database, count: usize) {
    let mut tx = database.write().await.unwrap();
    for i in 0..count {
        NewEvent::info("test_event", None, format!("event {i}")).write(&mut tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn execute(database: &Database, sql: &'static str) -> Result<(), sqlx::Error> {
    let mut tx = database.write().await?;
    tx.execute(sql).await?;
    tx.commit().await
}

/// As somebody would who has the file: without the triggers.
async fn tamper(database: &Database, sql: &'static str) {
    execute(database, "DROP TRIGGER event_is_not_updated; DROP TRIGGER event_is_not_deleted").await.unwrap();
    execute(database, sql).await.unwrap();
}

#[tokio::test]
async fn events_cannot_be_changed_or_deleted() {
    let (_folder, database) = database().await;
    record(&database, 3).await;
    for sql in [
        "UPDATE event SET text = 'other' WHERE id = 2",
        "DELETE FROM event WHERE id = 2",
        "DELETE FROM event_anchor",
        "UPDATE event_anchor SET event_id = 2",
        "UPDATE event_anchor SET event_id = 9, hash = zeroblob(32)",
        "INSERT OR REPLACE INTO event_anchor VALUES (1, 3, zeroblob(32))",
        "REPLACE INTO event (id, at, kind, severity, text) VALUES (2, 1, 'test', 'info', 'other')",
    ] {
        assert!(execute(&database, sql).await.is_err(), "{sql}");
    }
    assert_eq!(verify(&database, None).await.unwrap().events, 3);
}

#[tokio::test]
async fn the_first_event_that_was_touched_is_named() {
    for (sql, broken) in [
        ("UPDATE event SET text = 'other' WHERE id = 3", Broken::Changed(3)),
        ("UPDATE event SET account_id = NULL, at = at + 1 WHERE id = 2", Broken::Changed(2)),
        ("UPDATE event SET hash = NULL WHERE id = 4", Broken::Changed(4)),
        ("DELETE FROM event WHERE id = 1", Broken::Missing(1)),
        ("DELETE FROM event WHERE id IN (3, 4)", Broken::Missing(3)),
        (
            "UPDATE event SET id = -1 WHERE id = 2; UPDATE event SET id = 2 WHERE id = 4; UPDATE event SET id = 4 WHERE id = -1",
            Broken::Changed(2),
        ),
    ] {
        let (_folder, database) = database().await;
        record(&database, 5).await;
        tamper(&database, sql).await;
        let error = verify(&database, None).await.unwrap_err();
        assert!(matches!(&error, AuditError::Broken(found) if *found == broken), "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_end_that_is_cut_off_or_rewritten_is_found_with_what_an_earlier_check_printed() {
    let (_folder, database) = database().await;
    record(&database, 5).await;
    let Verified { last_id, last_hash, .. } = verify(&database, None).await.unwrap();
    let expected = Some((last_id, last_hash));
    record(&database, 2).await;
    assert_eq!(verify(&database, expected).await.unwrap().events, 7);
    tamper(&database, "DELETE FROM event WHERE id >= 5").await;
    verify(&database, None).await.expect("the rest is a chain");
    assert!(matches!(verify(&database, expected).await, Err(AuditError::Rewritten(5))));
    record(&database, 3).await;
    assert!(matches!(verify(&database, expected).await, Err(AuditError::Rewritten(5))));
}

#[tokio::test]
async fn the_expired_beginning_goes_and_the_chain_stays() {
    let (_folder, database) = database().await;
    record(&database, 4).await;
    let Verified { last_id, last_hash, .. } = verify(&database, None).await.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let cut = now();
    assert_eq!(delete_before(&database, UtcMillis(0)).await.unwrap(), 0);
    record(&database, 3).await;
    assert_eq!(delete_before(&database, cut).await.unwrap(), 4);
    assert_eq!(verify(&database, None).await.unwrap().events, 3);
    assert_eq!(verify(&database, Some((last_id, last_hash))).await.unwrap().events, 3, "it has expired");
    assert_eq!(delete_before(&database, now().plus_secs(1)).await.unwrap(), 3, "all of them");
    record(&database, 1).await;
    let verified = verify(&database, None).await.unwrap();
    assert_eq!((verified.events, verified.last_id), (1, 8), "ids are not given twice");
    tamper(&database, "DELETE FROM event WHERE id = 8").await;
    verify(&database, None).await.expect("nothing says that there was one");
}

#[tokio::test]
async fn events_from_before_the_chain_expire_too() {
    let (_folder, database) = database().await;
    // As the migration leaves them.
    execute(
        &database,
        "DROP TRIGGER event_anchor_follows_the_chain;
         INSERT INTO event (at, kind, severity, text) VALUES (1, 'old', 'info', 'a'), (2, 'old', 'info', 'b');
         UPDATE event_anchor SET event_id = 2",
    )
    .await
    .unwrap();
    record(&database, 2).await;
    let verified = verify(&database, None).await.unwrap();
    assert_eq!((verified.events, verified.unchained, verified.last_id), (2, 2, 4));
    assert_eq!(delete_before(&database, UtcMillis(2)).await.unwrap(), 1);
    assert_eq!(delete_before(&database, UtcMillis(3)).await.unwrap(), 1);
    assert_eq!(verify(&database, None).await.unwrap().events, 2);
}
