use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        ocpp::{IDENTITY, KEY, Settings, open},
        stage::{Order, Stage},
    },
};

const STATION: &str = "[vars]\nboot = { chargePointVendor = \"Vendor\", chargePointModel = \"Model\" }\n";

/// A daemon with this identity and key.
fn start(stage: &Stage, identity: &str, key: &str, more: &str) -> Daemon {
    let basic = BASE64_STANDARD.encode(format!("{IDENTITY}:{key}"));
    let more = format!("{more}[upstream.headers]\nAuthorization = \"Basic {basic}\"\n");
    play::start("ocpp", stage, &format!("/ocpp/{identity}"), &more)
}

#[test]
fn a_charge_point_boots_and_beats_at_the_interval_that_it_was_told() {
    let stage = open(Settings { interval: 1, ..Settings::default() });
    let daemon = start(&stage, "CP%201", KEY, STATION);
    let mut client = play::up(&daemon);
    assert_eq!(client.status()["link"]["subprotocol"], "ocpp1.6");
    stage.event("heartbeat", 2);

    // what the central system asks is for programs, and so is the answer
    stage.order(Order::Say(r#"Reset {"type":"Soft"}"#.into()));
    let call = client.until(|line| line["json"][0] == 2);
    assert_eq!(call["json"][2], "Reset");
    client.ask(json!({"op": "send", "json": [3, call["json"][1], {"status": "Accepted"}]}));
    stage.event("answered with result", 1);
    client.ask(json!({"op": "send", "json": [2, "mine-1", "Authorize", {"idTag": "A"}]}));
    let result = client.until(|line| line["json"][1] == "mine-1");
    assert_eq!(result["json"][2]["idTagInfo"]["status"], "Accepted");

    stage.order(Order::Drop);
    client.link("up");
    stage.event("boot Accepted", 2);
    stage.assert_no_violations();
}

#[test]
fn a_station_of_version_2_0_1_boots_as_well() {
    let stage = open(Settings { interval: 1, versions: &["ocpp2.0.1"], ..Settings::default() });
    let more = "subprotocols = [\"ocpp2.0.1\"]\n[vars]\n\
                boot = { reason = \"PowerUp\", chargingStation = { vendorName = \"V\", model = \"M\" } }\n";
    let daemon = start(&stage, "CP%201", KEY, more);
    assert_eq!(play::up(&daemon).status()["link"]["subprotocol"], "ocpp2.0.1");
    stage.event("heartbeat", 1);
    stage.assert_no_violations();
}

#[test]
fn a_boot_that_is_not_accepted_yet_waits_for_its_interval() {
    let stage = open(Settings { boots: &["Pending", "Rejected"], interval: 1, ..Settings::default() });
    let daemon = start(&stage, "CP%201", KEY, STATION);
    play::up(&daemon);
    for boot in ["boot Pending", "boot Rejected", "boot Accepted"] {
        assert_eq!(stage.count(boot), 1);
    }
    stage.assert_no_violations();
}

#[test]
fn a_pending_boot_is_said_again_on_the_same_connection_and_the_server_is_answered_meanwhile() {
    let station =
        "boot = { reason = \"PowerUp\", chargingStation = { vendorName = \"V\", model = \"M\" } }\n";
    for (version, vars) in [("ocpp1.6", STATION.to_owned()), ("ocpp2.0.1", format!("[vars]\n{station}"))] {
        let boots = &["Pending", "Pending"];
        let stage = open(Settings { boots, interval: 1, ..Settings::default() });
        let more = format!(
            "subprotocols = [{version:?}]\nconnect_timeout = \"1500ms\"\n{vars}[[reply]]\n\
             match = {{ \"/0\" = 2, \"/2\" = \"GetConfiguration\" }}\n\
             send = '[3,\"${{field:/1}}\",{{\"configurationKey\":[]}}]'\n"
        );
        let daemon = start(&stage, "CP%201", KEY, &more);
        stage.event("boot Pending", 1);
        stage.order(Order::Say("GetConfiguration {}".into()));
        stage.event("answered with result", 1);
        assert_eq!(stage.count("boot Accepted"), 0, "it was answered while the boot was pending");
        let mut client = play::up(&daemon);
        assert_eq!((stage.count("boot Pending"), stage.count("boot Accepted")), (2, 1));
        assert_eq!(stage.count("open"), 1, "one connection all along");
        let told = client.status();
        assert_eq!((&told["link"]["conn"], &told["link"]["subprotocol"]), (&json!(1), &json!(version)));
        stage.event("heartbeat", 1);
        stage.assert_no_violations();
    }
}

#[test]
fn a_wrong_key_and_an_unknown_identity_are_not_tried_again() {
    for (identity, key, status) in [("CP%201", "wrong", 401), ("CP%202", KEY, 404)] {
        let stage = open(Settings::default());
        let daemon = start(&stage, identity, key, STATION);
        assert_eq!(play::failed(&daemon)["http_status"], status);
        assert_eq!(stage.violations().len(), 1);
    }
}
