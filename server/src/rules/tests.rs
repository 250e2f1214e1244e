//! Which files are read, and which are refused.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_testkit::clock::TestClock;
use portcullis_testkit::cosign::CosignKey;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;

const RULES: &str = "\
apiVersion: portcullis.dev/v1
kind: Policy
spec:
  rules:
    - {name: NAME, maxAllowed: {high: 0}}
";

fn rules(name: &str) -> String {
    RULES.replace("NAME", name)
}

fn write(folder: &Path, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn config(rules: &[PathBuf]) -> RulesConfig {
    RulesConfig { rules: rules.to_vec(), ..RulesConfig::default() }
}

fn names(rules: &Rules) -> Vec<String> {
    rules.policy().rules().iter().map(|rule| rule.name().to_string()).collect()
}

#[test]
fn a_folder_is_its_yaml_files_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "rules/b.yml", rules("second"));
    write(folder.path(), "rules/a.yaml", rules("first"));
    write(folder.path(), "rules/notes.txt", "not rules");
    // As the kubelet keeps its versions.
    write(folder.path(), "rules/..data/a.yaml", rules("hidden"));
    write(folder.path(), "rules/.draft.yaml", "not: rules");
    let other = write(folder.path(), "other", rules("third"));
    let loaded = Rules::load(&config(&[folder.path().join("rules"), other])).unwrap();
    assert_eq!(names(&loaded), ["first", "second", "third"]);
}

#[test]
fn a_file_one_byte_past_its_bound_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "rules.yaml", rules("one"));
    let grow = |length| File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
    grow(MAX_FILE);
    assert_eq!(rule_sources(std::slice::from_ref(&path)).unwrap()[0].text.len() as u64, MAX_FILE);
    grow(MAX_FILE + 1);
    let refused = rule_sources(&[path]).unwrap_err();
    assert!(matches!(refused, RulesError::TooLarge { length, .. } if length == MAX_FILE + 1));
}

#[test]
fn a_folder_one_file_past_its_bound_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..MAX_FILES {
        write(folder.path(), &format!("{n}.txt"), "");
    }
    assert_eq!(rule_sources(&[folder.path().to_owned()]).unwrap(), []);
    write(folder.path(), "last.txt", "");
    let refused = rule_sources(&[folder.path().to_owned()]).unwrap_err();
    assert!(matches!(refused, RulesError::TooMany { .. }));
}

#[test]
fn what_is_not_there_or_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let absent = Rules::load(&config(&[folder.path().join("absent.yaml")])).err();
    assert!(matches!(absent, Some(RulesError::Read { .. })));
    let latin = write(folder.path(), "latin.yaml", b"# gr\xfcn");
    assert!(matches!(Rules::load(&config(&[latin])).err(), Some(RulesError::Encoding { .. })));
    // A folder that was named and holds nothing was not meant to be the default rule.
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(names(&Rules::load(&config(&[])).unwrap()), ["default"]);
    assert!(matches!(Rules::load(&config(&[empty])).err(), Some(RulesError::Policy(_))));
}

#[test]
fn files_that_stay_bad_are_told_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "rules.yaml", rules("one"));
    let config = config(std::slice::from_ref(&path));
    let loaded = Rules::load(&config).unwrap();
    let (metrics, clock) = (Metrics::new(), TestClock::new(datetime!(2026-08-01 12:00 UTC)));
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let failed = |metrics: &Metrics| {
        let text = metrics.encode().unwrap();
        text.lines().filter(|l| l.contains("outcome=\"failed\"} 1")).count()
    };
    let good = loaded.look_at_rules(&config, None, &clock, &metrics);
    fs::write(&path, "rules: [").unwrap();
    let bad = loaded.look_at_rules(&config, good, &clock, &metrics);
    assert_ne!(good, bad);
    assert_eq!(loaded.look_at_rules(&config, bad, &clock, &metrics), bad);
    assert_eq!(failed(&metrics), 1);
    assert_eq!(names(&loaded), ["one"]);

    fs::write(&path, rules("two")).unwrap();
    loaded.look_at_rules(&config, bad, &clock, &metrics);
    assert_eq!(names(&loaded), ["two"]);
}

#[test]
fn a_cosign_key_is_taken_over_when_its_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let pem = || CosignKey::generate().unwrap().public_pem();
    let path = write(folder.path(), "cosign.pub", pem());
    let entry = CosignConfig {
        name: "scanner".to_owned(),
        scopes: vec!["*".to_owned()],
        key: Some(path.clone()),
        ..CosignConfig::default()
    };
    let config = RulesConfig { cosign: vec![entry], ..RulesConfig::default() };
    let loaded = Rules::load(&config).unwrap();
    assert!(loaded.trust().cosign().covers("reg.io/app"));
    let (metrics, first) = (Metrics::new(), loaded.trust().revision());
    let seen = loaded.look_at_trust(&config, None, &metrics);

    fs::write(&path, "no key").unwrap();
    let seen = loaded.look_at_trust(&config, seen, &metrics);
    assert_eq!(loaded.trust().revision(), first);
    let refused = Rules::load(&config).err().expect("it was taken");
    assert!(chain(&refused).contains("`scanner`"), "{}", chain(&refused));

    fs::write(&path, pem()).unwrap();
    loaded.look_at_trust(&config, seen, &metrics);
    assert_ne!(loaded.trust().revision(), first);
}

/// A clock that panics when it is told to.
#[derive(Default)]
struct Breaking(AtomicBool);

impl Clock for Breaking {
    fn now(&self) -> OffsetDateTime {
        assert!(!self.0.load(Ordering::SeqCst), "a fault that was put here");
        datetime!(2026-08-01 12:00 UTC)
    }
}

/// Whatever is done with a policy once it is in force panics, each time.
#[tokio::test(start_paused = true)]
async fn t141_a_policy_in_force_is_told_of_and_can_be_corrected_where_the_look_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "rules.yaml", rules("one"));
    let config =
        RulesConfig { interval: Duration::from_secs(2), ..config(std::slice::from_ref(&path)) };
    let loaded = Arc::new(Rules::load(&config).unwrap());
    let (clock, metrics) = (Arc::new(Breaking::default()), Arc::new(Metrics::new()));
    let (changes, stop) = (Changes::default(), CancellationToken::new());
    let follow = Arc::clone(&loaded).follow(
        config,
        clock.clone(),
        Arc::clone(&metrics),
        changes.clone(),
        stop.clone(),
    );
    let follow = tokio::spawn(follow);
    tokio::time::sleep(Duration::from_secs(5)).await;
    clock.0.store(true, Ordering::SeqCst);
    for name in ["two", "three"] {
        fs::write(&path, rules(name)).unwrap();
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(names(&loaded), [name]);
        assert_eq!(*changes.since(None).revision, *loaded.policy().revision());
    }
    let told = changes.since(None).position;
    clock.0.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(changes.since(None).position, told, "told twice of the same");
    assert!(!metrics.encode().unwrap().contains("what=\"rules\"} 0"));
    stop.cancel();
    follow.await.unwrap();
}
