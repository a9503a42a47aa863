//! The systemd units that are installed.

use std::{fs, path::Path};

fn unit(name: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn an_instance_is_the_service_with_names_of_its_own() {
    let with_name = |line: &String| {
        let line = line.replace("/etc/wsfan/wsfan.toml", "/etc/wsfan/%i.toml");
        match &*line {
            "RuntimeDirectory=wsfan" => "RuntimeDirectory=wsfan-%i".to_owned(),
            line => line.replace("Description=wsfan:", "Description=wsfan %i:"),
        }
    };
    let service: Vec<_> = unit("wsfan.service").iter().map(with_name).collect();
    assert_eq!(unit("wsfan@.service"), service);
    assert!(service.iter().any(|line| line.contains("%i.toml")));
}

#[test]
fn what_no_restart_mends_is_the_same_everywhere() {
    for name in ["wsfan.service", "wsfan@.service", "user/wsfan.service"] {
        let unit = unit(name);
        for line in ["RestartPreventExitStatus=2 69 78", "LimitCORE=0", "NoNewPrivileges=yes"] {
            assert!(unit.iter().any(|there| there == line), "{name}: {line}");
        }
        let reload = unit.iter().find(|line| line.starts_with("ExecReload=")).unwrap();
        let start = unit.iter().find(|line| line.starts_with("ExecStart=")).unwrap();
        let config =
            |line: &str| line.split_once("--config ").unwrap().1.split(' ').next().unwrap().to_owned();
        assert_eq!(config(reload), config(start), "{name}");
    }
}
