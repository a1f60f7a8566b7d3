//! The load generator against its own floor, over a real nats-server.

use std::process::Command;

use serde_json::Value;

#[test]
fn both_floors_deliver_every_message_of_every_kind_once_and_in_order() {
    let folder = std::env::temp_dir().join(format!("loadtest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let json = folder.join("outcome.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("compare")
        .arg("--nats-server")
        .arg(harness::tool("nats-server"))
        .args([
            "--scenario",
            "w32",
            "--scenario",
            "chat",
            "--scenario",
            "users",
            "--scenario",
            "stalled",
        ])
        .args([
            "--rounds",
            "1",
            "--seconds",
            "0.2",
            "--warmup",
            "0.2",
            "--server-cpu",
            "0",
            "--generator-cpu",
            "0",
        ])
        .arg("--logs")
        .arg(&folder)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let outcome: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let scenarios = outcome["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 4);
    for row in scenarios
        .iter()
        .flat_map(|scenario| scenario["rows"].as_array().unwrap())
    {
        let report = &row["reports"][0];
        assert!(report["delivered"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["faults"]["undelivered"], 0, "{report}");
        assert!(
            report["cpu_us_per_delivery"].as_f64().unwrap() > 0.0,
            "{report}"
        );
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
