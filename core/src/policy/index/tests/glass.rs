//! Break-glass entries are looked up too.

use super::*;

#[test]
fn break_glass_is_looked_up_too() {
    let place = || ("".into(), Place::default());
    let entry =
        |name: &str, scope| BreakGlass { name: name.into(), scope, rules: None, place: place() };
    let shop = matched(vec![equals(Field::Namespace, &["shop"])]);
    let entries = vec![entry("everywhere", Scope::default()), entry("shop", shop)];
    let policy = Policy::new("test".into(), Parts { break_glass: entries, ..Parts::default() });
    for (namespace, expected) in
        [("shop", vec!["everywhere", "shop"]), ("bank", vec!["everywhere"])]
    {
        let (image, mut names) = (image("nginx:1.27"), Vec::new());
        let ctx = Context { namespace: namespace.to_owned(), ..Context::default() };
        policy.break_glass_in_scope(&Target::new(&image, &ctx), |e| names.push(&**e.name()));
        assert_eq!(names, expected);
    }
}
