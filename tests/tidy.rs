//! The rules of the house as tests: each names file and line of what breaks it, and the rule in a sentence.
//! The rules are functions over a tree of files in `tidy/`, each with a small example that it must refuse;
//! here they are held against the real tree. What rustc and clippy can check is not repeated.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/connectors.rs"]
mod connectors;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/places.rs"]
mod places;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use std::path::Path;
use tree::{Breach, Tree};

/// The top folder of the workspace.
fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Holds one rule against the real tree.
#[track_caller]
fn hold(rule: fn(&Tree) -> Vec<Breach>) {
    let tree = Tree::read(top()).unwrap_or_else(|e| panic!("the tree at {} cannot be read: {e}", top().display()));
    assert!(tree.get("Cargo.toml").is_some() && tree.rust().count() > 10, "{} is not the workspace", top().display());
    tree::report(&rule(&tree));
}

#[test]
fn every_rust_file_is_reachable_from_a_crate_root() {
    hold(modules::reachable);
}

#[test]
fn every_module_says_what_it_is() {
    hold(modules::introduced);
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    hold(places::short);
}

#[test]
fn registries_are_sorted_and_complete() {
    hold(connectors::registered);
}

#[test]
fn registries_list_each_name_once_in_order() {
    let names: [(&str, Vec<&str>); 2] = [
        ("warehouses", warehouses::REGISTRY.iter().map(|e| e.name).collect()),
        ("destinations", destinations::REGISTRY.iter().map(|e| e.name).collect()),
    ];
    for (room, names) in names {
        assert!(
            names.windows(2).all(|w| w[0] < w[1]),
            "shared/{room}/src/lib.rs: the names in REGISTRY are not sorted, or one stands twice: {names:?}"
        );
    }
}

#[test]
fn connector_headers_are_whole() {
    hold(connectors::headed);
}

#[test]
fn only_the_aws_room_imports_the_aws_sdk() {
    hold(places::aws);
}

#[test]
fn the_environment_is_read_in_settings_only() {
    hold(places::environment);
}

#[test]
fn checksums_move_in_one_place() {
    hold(places::checksums);
}

#[test]
fn every_crate_inherits_the_lints_and_the_licence() {
    hold(crates::inherits);
}

#[test]
fn crate_edges_point_inward() {
    hold(crates::inward);
}

#[test]
fn one_word_has_one_meaning() {
    hold(words::spoken);
}

#[test]
fn a_name_of_a_type_stands_for_one_thing() {
    hold(names::once);
}

#[test]
fn bounds_are_called_max() {
    hold(names::bounds);
}

#[test]
fn names_of_tests_are_short_sentences() {
    hold(names::tests);
}

#[test]
fn modules_import_downwards() {
    hold(circles::none);
}

#[test]
fn events_are_listed() {
    hold(pages::events);
}

#[test]
fn pages_have_no_dead_links() {
    hold(pages::links);
}

#[test]
fn every_promise_links_its_test() {
    hold(pages::promises);
}

#[test]
fn the_changelog_has_a_place_for_the_next_line() {
    hold(pages::changelog);
}

#[test]
fn dependencies_are_licensed_and_come_from_the_registry() {
    licences::hold(top()).unwrap_or_else(|e| panic!("{e:#}"));
}
