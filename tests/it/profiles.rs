//! The profiles in `config/profiles/`, each against a simulator of its server: the real daemon, with
//! the profile's name and what a user has to set.

use std::{fs, path::Path};

mod actioncable;
mod binance;
mod bybit;
mod centrifugo;
mod coinbase;
mod deribit;
mod discord;
mod graphql_ws;
mod home_assistant;
mod jsonrpc;
mod kraken;
mod obs_websocket;
mod ocpp;
mod okx;
mod openai_realtime;
mod phoenix;
mod play;
mod requests;
mod signalk;
mod slack;
mod topics;
mod twitch_eventsub;

/// What tests with real servers say, all of it.
fn scripts(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text += &scripts(&path),
            false => text += &fs::read_to_string(&path).unwrap_or_default(),
        }
    }
    text
}

#[test]
fn each_profile_is_tested_against_its_server_or_a_simulator_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let real = scripts(&root.join("tests/real"));
    let mut shipped: Vec<String> = Vec::new();
    for (name, _) in wsfan::config::Config::profiles() {
        shipped.push(format!("{name}.toml"));
        let here = root.join(format!("tests/it/profiles/{}.rs", name.replace('-', "_")));
        let simulated = fs::read_to_string(here).is_ok_and(|text| {
            text.contains("crate::") && text.contains("simulators::") && text.contains(&format!("\"{name}\""))
        });
        assert!(
            simulated || real.contains(&format!("profile = \"{name}\"")),
            "{name} is tested neither in tests/it/profiles/ nor, as profile = \"{name}\", in tests/real/"
        );
    }
    let mut files: Vec<String> = fs::read_dir(root.join("config/profiles"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, shipped, "each file is a profile, in their order");
}
