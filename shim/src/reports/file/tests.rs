//! What is written is read, whatever became of the file; what is not ours is left to people.

use super::*;

fn bytes(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

fn place(cluster: &str) -> Place {
    Place { cluster: cluster.to_owned(), ..Place::default() }
}

fn file(folder: &tempfile::TempDir, cluster: &str) -> File {
    File::new(folder.path().join("reports"), &place(cluster))
}

fn lost_of(run: u8, count: u64) -> Lost {
    Lost { run: [run; 16], count }
}

#[test]
fn what_is_written_and_not_done_is_read_by_its_own_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = file(&folder, "east");
    assert_eq!(written.restore().unwrap(), Restored::default());
    assert!(written.append(&bytes(&["a"]), None, None).is_err(), "it was not begun");
    written.rewrite(&bytes(&["a"]), &[]).unwrap();
    written.append(&bytes(&["b", "c"]), Some(1), None).unwrap();
    written.append(&[], Some(2), None).unwrap();
    let length = fs::metadata(written.path()).unwrap().len();
    assert_eq!(written.length(), length);
    let restored = file(&folder, "east").restore().unwrap();
    assert_eq!(restored, Restored { reports: bytes(&["c"]), ..Restored::default() });
    let other = file(&folder, "west").restore().unwrap();
    assert!(other.reports.is_empty() && other.aside.unwrap().exists());
    assert!(!written.path().exists());
}

#[test]
fn t162_a_torn_end_is_cut_and_what_is_before_it_is_read_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = file(&folder, "east");
    written.rewrite(&bytes(&["one"]), &[]).unwrap();
    let first = usize::try_from(written.length()).unwrap();
    written.append(&bytes(&["two"]), None, None).unwrap();
    let whole = fs::read(written.path()).unwrap();
    for end in first..whole.len() {
        fs::write(written.path(), &whole[..end]).unwrap();
        let restored = written.restore().unwrap();
        assert_eq!((restored.reports, restored.torn), (bytes(&["one"]), end - first));
    }
}

#[test]
fn a_flipped_bit_ends_what_is_read_and_a_file_of_others_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = file(&folder, "east");
    written.rewrite(&bytes(&["one"]), &[]).unwrap();
    let first = usize::try_from(written.length()).unwrap();
    written.append(&bytes(&["two"]), None, None).unwrap();
    let whole = fs::read(written.path()).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(written.path(), &bytes).unwrap();
        let restored = written.restore().unwrap();
        let is_header = bit / 8 < first - 12;
        assert_eq!(restored.aside.is_some(), is_header, "{bit}");
        assert!(restored.reports.len() < 2, "{bit}");
        restored.aside.into_iter().for_each(|aside| fs::remove_file(aside).unwrap());
    }
    let long = fs::File::create(written.path()).unwrap();
    long.set_len(MAX_FILE as u64 + 1).unwrap();
    assert!(written.restore().unwrap().aside.is_some());
}

#[test]
fn a_file_is_of_all_that_the_service_compares_and_no_other_takes_the_name_of_one_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reports");
    let own = Place {
        cluster: "east".to_owned(),
        provider: "aws".to_owned(),
        account: "4711".to_owned(),
        region: "eu".to_owned(),
        platforms: vec!["linux/amd64".to_owned()],
    };
    // A name that ends where the next begins is another.
    let shifted = Place { cluster: "easta".to_owned(), provider: "ws".to_owned(), ..own.clone() };
    let others = [
        Place { cluster: "west".to_owned(), ..own.clone() },
        Place { provider: "azure".to_owned(), ..own.clone() },
        Place { account: "4712".to_owned(), ..own.clone() },
        Place { region: "us".to_owned(), ..own.clone() },
        shifted,
    ];
    let mut asides = Vec::new();
    for other in &others {
        File::new(path.clone(), other).rewrite(&bytes(&["a"]), &[]).unwrap();
        let restored = File::new(path.clone(), &own).restore().unwrap();
        assert!(restored.reports.is_empty(), "{other:?}");
        asides.extend(restored.aside);
    }
    assert_eq!(asides.len(), others.len());
    assert!(asides.iter().zip(&others).all(|(aside, other)| {
        File::new(aside.clone(), other).restore().unwrap().reports == bytes(&["a"])
    }));
    // It is the service's to say on which platforms a cluster is.
    let elsewhere = Place { platforms: Vec::new(), ..own.clone() };
    File::new(path.clone(), &elsewhere).rewrite(&bytes(&["a"]), &[]).unwrap();
    assert_eq!(File::new(path.clone(), &own).restore().unwrap().reports, bytes(&["a"]));
    for number in others.len()..=MAX_ASIDE {
        File::new(path.clone(), &others[0]).rewrite(&bytes(&["a"]), &[]).unwrap();
        let restored = File::new(path.clone(), &own).restore();
        assert_eq!(restored.is_ok(), number < MAX_ASIDE, "{number}");
    }
    assert!(path.exists());
}

#[test]
fn what_is_to_be_told_of_dropped_reports_is_read_as_it_was_last_written_and_has_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = file(&folder, "east");
    written.rewrite(&bytes(&["a"]), &[lost_of(1, 3)]).unwrap();
    let lost = |written: &File| written.restore().unwrap().lost;
    assert_eq!(lost(&written), [lost_of(1, 3)]);
    written.append(&[], None, Some(&[lost_of(1, 4), lost_of(2, 1)])).unwrap();
    written.append(&bytes(&["b"]), None, None).unwrap();
    assert_eq!(lost(&written), [lost_of(1, 4), lost_of(2, 1)]);
    assert_eq!(written.restore().unwrap().reports, bytes(&["a", "b"]));
    written.append(&[], None, Some(&[])).unwrap();
    assert_eq!(lost(&written), []);
    let most = vec![lost_of(1, 1); MAX_RUNS + 1];
    written.append(&[], None, Some(&most[1..])).unwrap();
    assert_eq!(lost(&written).len(), MAX_RUNS);
    written.rewrite(&[], &most).unwrap();
    assert!(lost(&written).is_empty() && written.restore().unwrap().torn > 0);
}
