//! Scenarios that can be used, and those that cannot.

use super::*;

const MINIMAL: &str = "name = 'x'\nabout = 'y'\n[[phases]]\nname = 'p'\nload = {}\n";

#[track_caller]
fn refused(text: &str, why: &str) {
    let error = format!("{:#}", Scenario::parse(text).unwrap_err());
    assert!(error.contains(why), "{error}");
}

#[test]
fn the_built_in_ones_can_be_used() {
    for (name, scenario) in BUILT_IN.iter().zip(Scenario::built_in().unwrap()) {
        assert_eq!(name.0, scenario.name);
        assert!(!scenario.objectives.is_empty(), "{} has no objective", scenario.name);
        scenario.clone().scaled(0.02).check().unwrap();
        scenario.scaled(1.0).check().unwrap();
    }
}

#[test]
fn what_is_not_said_has_a_default() {
    let scenario = Scenario::parse(MINIMAL).unwrap();
    assert_eq!((scenario.registry.digests, scenario.registry.findings), (10_000, 100));
    assert_eq!(scenario.phases[0].load.range(10_000), (0, 10_000));
}

#[test]
fn unknown_fields_are_errors_that_say_where() {
    refused(&format!("colour = 1\n{MINIMAL}"), "colour");
    refused(&MINIMAL.replace("{}", "{ inflight = 3 }"), "inflight");
    refused(&format!("{MINIMAL}\n[[objectives]]\nfigure='f'\nmax=1\nmost=2"), "line 10");
    refused(&format!("{MINIMAL}beside = {{ rate = {{ off = 'a', times = 2 }} }}"), "rate");
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    refused("name = 'x'\nabout = 'y'\nphases = []", "phases");
    let digests = |n: u32| format!("{MINIMAL}\n[registry]\ndigests = {n}");
    refused(&digests(0), "digests");
    Scenario::parse(&digests(MAX_IMAGES)).unwrap();
    refused(&digests(MAX_IMAGES + 1), "digests");
    let findings = |n: u32| format!("{MINIMAL}\n[registry]\nfindings = {n}");
    Scenario::parse(&findings(MAX_FINDINGS)).unwrap();
    refused(&findings(MAX_FINDINGS + 1), "findings");
    let load = |text: &str| MINIMAL.replace("{}", &format!("{{ {text} }}"));
    Scenario::parse(&load("images = [9000, 1000]")).unwrap();
    refused(&load("images = [9000, 1001]"), "images");
    refused(&load("images = [0, 0]"), "images");
    refused(&load("containers = 257"), "containers");
    Scenario::parse(&load("call = 'bulk-check', containers = 1024")).unwrap();
    refused(&load("call = 'bulk-check', containers = 1025"), "containers");
    Scenario::parse(&load("library = 'plain'")).unwrap();
    refused(&load("library = 'plain', call = 'check-stream'"), "library");
    refused(&load("in-flight = 0"), "in-flight");
    refused(&load("pick = { zipf = 10.5 }"), "zipf");
    refused(&load("rate = 0.0"), "rate");
    refused(&load("rate = nan"), "rate");
    refused(&load("duration = '25h'"), "duration");
    refused(&load("duration = '1441m'"), "duration");
    Scenario::parse(&load("duration = '1440m'")).unwrap();
    let phase = "\n[[phases]]\nname = 'p'\nload = {}\n";
    refused(&format!("{MINIMAL}{phase}"), "two phases");
    let many: Vec<_> = (0..=MAX_PHASES).map(|n| phase.replace("'p'", &format!("'{n}'"))).collect();
    refused(&format!("name = 'x'\nabout = 'y'\n{}", many.concat()), "phases");
    refused(&format!("{MINIMAL}\n[[objectives]]\nfigure = 'f'"), "min or max");
    let replicas = |n: u32| format!("{MINIMAL}\n[service]\nreplicas = {n}");
    Scenario::parse(&replicas(MAX_REPLICAS)).unwrap();
    refused(&replicas(MAX_REPLICAS + 1), "replicas");
    refused(&replicas(0), "replicas");
    let warm = |n: u32| format!("warm-images = {n}\n{MINIMAL}");
    Scenario::parse(&warm(10_000)).unwrap();
    refused(&warm(10_001), "warm-images");
    refused(&format!("headline = 'q'\n{MINIMAL}"), "no phase `q`");
}

#[test]
fn a_file_past_the_bound_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let length = usize::try_from(MAX_FILE).unwrap();
    let path = file.path().to_str().unwrap();
    let write =
        |length| fs::write(path, format!("{MINIMAL}{}", "#".repeat(length - MINIMAL.len())));
    write(length).unwrap();
    Scenario::find(path).unwrap();
    write(length + 1).unwrap();
    assert!(Scenario::find(path).unwrap_err().to_string().contains("longer"));
    let missing = format!("{:#}", Scenario::find("warn").unwrap_err());
    assert!(missing.contains("one of warm, cold-start"), "{missing}");
}

#[test]
fn a_scenario_can_be_made_smaller() {
    let text = MINIMAL.replace("{}", "{ images = [5000, 1000], questions = 10, duration = '10s' }");
    let scenario = Scenario::parse(&text).unwrap().scaled(0.01);
    let load = &scenario.phases[0].load;
    assert_eq!(scenario.registry.digests, 100);
    assert_eq!((load.images, load.questions), (Some((50, 10)), Some(1)));
    assert_eq!(load.duration.0, Duration::from_millis(100));
}

#[test]
fn reviews_go_to_a_shim_and_nothing_else_does() {
    let review = MINIMAL.replace("{}", "{ call = 'review', connections = 250 }");
    refused(&review, "need `[shim]`");
    let shim = format!("{review}\n[shim]\nnear-cache-bytes = 0\n");
    Scenario::parse(&shim).unwrap();
    refused(&shim.replace("250", "251"), "1 to 250 for reviews");
    refused(&format!("{MINIMAL}\n[shim]\n"), "reviews alone");
    refused(&format!("{review}beside = {{}}\n[shim]\n"), "nothing beside them");
    refused(&format!("{review}action = 'rescan'\n[shim]\n"), "no action");
    refused(&format!("{shim}colour = 1"), "colour");
}
