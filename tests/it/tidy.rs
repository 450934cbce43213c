//! Properties of the source itself, checked like any other.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lower layers first. A module may use modules of the layers before its own, and no others.
const LAYERS: &[&[&str]] = &[
    &["domain", "lang", "priority"],
    &["vault"],
    &["config", "telemetry", "http", "sqlite", "media", "present"],
    &["journal", "store", "cache"],
    &["provider", "responder", "firebase"],
    &["vendor"],
    &["gateway"],
    &["worker", "web", "twin"],
    &["app"],
    &["cli", "demo"],
];

const FILE_LINES_MAX: usize = 400;

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let Some(from) = module_of(&path) else { continue };
        for to in uses(&fs::read_to_string(&path).unwrap()) {
            if to != from && layer(&from) <= layer(&to) {
                wrong.push(format!("{}: {from} must not use {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn uses_sees_every_form() {
    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        assert_eq!(Vec::from_iter(uses(text)), want, "{text}");
    }
    check("use crate::web::router;", &["web"]);
    check("use crate::{domain, web::{a, b::{c}}, http};", &["domain", "http", "web"]);
    check("use crate::{\n    domain::Id,\n    web,\n};", &["domain", "web"]);
    check("fn f(_: &crate::web::Router) {}", &["web"]);
    check("/// See [`crate::web`].", &[]);
}

#[test]
fn files_fit_in_the_head() {
    for path in ["src", "migrate"].iter().flat_map(|it| sources(Path::new(it))) {
        let n_lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(n_lines <= FILE_LINES_MAX, "{} has {n_lines} lines", path.display());
    }
}

/// Otherwise `scripts/fuzz.sh` does not build, or fuzzes another gateway than is tested.
#[test]
fn the_fuzz_targets_are_built_from_what_the_gateway_is() {
    let read = |path| toml::from_str::<toml::Table>(&fs::read_to_string(path).unwrap()).unwrap();
    let packages = |path| {
        let lock = read(path);
        let all = lock["package"].as_array().unwrap().clone();
        let named = |it: &toml::Value, key: &str| it[key].as_str().unwrap().to_owned();
        all.into_iter().map(move |it| (named(&it, "name"), named(&it, "version"), it))
    };
    let ours: BTreeSet<(String, String)> = packages("Cargo.lock").map(|it| (it.0, it.1)).collect();
    let names: BTreeSet<&str> = ours.iter().map(|it| it.0.as_str()).collect();
    let mut needs = BTreeSet::new();
    for (name, version, package) in packages("fuzz/Cargo.lock") {
        if name == "waba-gateway" {
            let all = package["dependencies"].as_array().unwrap().iter();
            let name = |it: &str| it.split(' ').next().unwrap().to_owned();
            needs.extend(all.map(|it| name(it.as_str().unwrap())));
        }
        let is_other = names.contains(name.as_str()) && !ours.contains(&(name.clone(), version));
        assert!(!is_other, "{name} is another version in fuzz/Cargo.lock");
    }
    let manifest = read("Cargo.toml");
    let wanted = manifest["dependencies"].as_table().unwrap().keys().cloned().collect();
    assert_eq!(
        needs, wanted,
        "`cargo metadata --manifest-path fuzz/Cargo.toml` brings it up to date"
    );
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|it| it.contains(&module));
    found.unwrap_or_else(|| panic!("give {module} a layer in tests/it/tidy.rs"))
}

fn module_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").unwrap().iter().next()?.to_str()?;
    let name = first.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// The top-level modules that a file names after `crate::`, alone or in braces.
fn uses(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().map(|it| it.split("//").next().unwrap_or("")).collect();
    let code = code.join("\n");
    let items = code.split("crate::").skip(1).flat_map(items);
    items.map(|it| it.trim_start().split(not_in_name).next().unwrap_or("").to_owned()).collect()
}

/// `{a::b, c::{d, e}} and so on` has the items `a::b` and `c::{d, e}`. Without a brace there is one.
fn items(text: &str) -> Vec<&str> {
    let Some(inside) = text.strip_prefix('{') else {
        return vec![text];
    };
    let mut depth = 0;
    let end = inside.find(|it| {
        depth += step(it);
        depth < 0
    });
    let mut depth = 0;
    let split = |it| {
        depth += step(it);
        it == ',' && depth == 0
    };
    inside[..end.unwrap()].split(split).filter(|it| !it.trim().is_empty()).collect()
}

fn step(it: char) -> i32 {
    i32::from(it == '{') - i32::from(it == '}')
}

fn not_in_name(it: char) -> bool {
    !it.is_alphanumeric() && it != '_'
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}
