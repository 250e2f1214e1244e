//! A process that writes and is killed in the middle of it, again and again: what is there is whole.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Where the child writes; without it the child has nothing to do.
const FOLDER: &str = "PORTCULLIS_TEST_STORE_FOLDER";
/// How often the child is killed; 8 where nothing is said, and thousands by hand.
const KILLS: &str = "PORTCULLIS_TEST_STORE_KILLS";
const KEYS: usize = 50;

/// What is stored of `number` in its `version`: it can be told whether all of it is there.
fn version(number: usize, version: usize) -> Answers {
    answers(number.wrapping_mul(31).wrapping_add(version), 500 + version % 5_000)
}

fn at(version: usize) -> OffsetDateTime {
    NOW + Duration::from_millis(version as u64)
}

/// The child. As a test of its own it does nothing.
#[tokio::test]
async fn t084_the_child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (store, metrics) = open(Path::new(&folder), MIN_BYTES).await;
    println!("open");
    for turn in 0.. {
        for number in 0..KEYS {
            store.keep(key(number), at(turn), version(number, turn));
        }
        if metric(&metrics, "portcullis_store_entries") > 0 {
            println!("written");
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

#[tokio::test]
async fn t084_a_store_whose_process_is_killed_has_all_of_a_change_or_nothing_of_it() {
    let kills = std::env::var_os(KILLS).and_then(|kills| kills.into_string().ok()?.parse().ok());
    let folder = tempfile::tempdir().unwrap();
    let mut whole = 0;
    for kill in 0..kills.unwrap_or(8_usize) {
        let child = "evidence::store::tests::killed::t084_the_child_that_writes_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([child, "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Each time at another moment of its work.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let written =
            lines.filter(|line| line.ends_with("written")).take(1 + kill * 7 % 20).count();
        assert_eq!(written, 1 + kill * 7 % 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, metrics) = open(folder.path(), MIN_BYTES).await;
        for number in 0..KEYS {
            if let Some(Stored { at: then, answers: found, .. }) = store.find(&key(number)).await {
                let turn = usize::try_from((then - NOW).whole_milliseconds()).unwrap();
                assert_eq!(found, version(number, turn), "{number} of {turn}");
                whole += 1;
            }
        }
        assert_eq!(metric(&metrics, "portcullis_store_failed_total"), 0);
        store.close();
    }
    assert!(whole > 0);
    assert!(!folder.path().join("evidence.redb.broken").exists());
}
