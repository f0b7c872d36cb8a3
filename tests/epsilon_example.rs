//! The calculator's answers on every published row, under the conventions of `data/accounting.json`.

#[path = "../examples/epsilon/jsonl.rs"]
mod jsonl;

use serde_json::Value;

/// What a row states as an answer, or as a remark; a question has none of it.
const ANSWERS: [&str; 16] = [
    "epsilon_lower",
    "epsilon_upper",
    "optimal_order",
    "rdp",
    "rdp_30digits",
    "google",
    "opacus",
    "delta_remove",
    "delta_add",
    "noise_multiplier_30digits",
    "max_steps",
    "eps_at_max",
    "eps_at_max_plus_1",
    "bun_steinke",
    "mu",
    "noise_multiplier_delta",
];

fn rows() -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("data/accounting.json")).unwrap();
    golden["rows"].as_array().unwrap().clone()
}

fn number(row: &Value, key: &str) -> Option<f64> {
    match &row[key] {
        Value::String(text) if text.starts_with("inf") => Some(f64::INFINITY),
        other => other.as_f64(),
    }
}

/// The row without its answer, asked; and the answer.
fn asked(row: &Value) -> Value {
    let kind = row["kind"].as_str().unwrap();
    let mut question = row.as_object().unwrap().clone();
    question.retain(|key, _| !ANSWERS.contains(&key.as_str()) && !key.ends_with("30digits"));
    let answer = match kind {
        "delta" => "delta",
        "calibrate_sigma" => "noise_multiplier",
        "max_steps" => "max_steps",
        _ => "epsilon",
    };
    question.remove(answer);
    let reply: Value =
        serde_json::from_str(&jsonl::answer(&Value::Object(question).to_string())).unwrap();
    assert_eq!(reply["id"], row["id"]);
    reply
}

#[test]
fn every_published_row_is_answered_within_the_conventions() {
    for row in rows() {
        let kind = row["kind"].as_str().unwrap();
        let tool = row["accountant"].as_str().unwrap();
        let reply = asked(&row);
        let of = |key: &str| number(&reply, key);
        if ["shuffle_gap", "compose_mixed"].contains(&kind) {
            assert!(reply["error"].is_string(), "{row} has no form that could be asked");
            continue;
        }
        assert!(reply.get("error").is_none(), "{row}: {reply}");
        let check = |holds: bool, what: &str| assert!(holds, "{what}: {row}: {reply}");
        let theirs = number(&row, "epsilon");

        if let (Some(lower), Some(upper)) = (of("pld_lower"), of("pld")) {
            check(lower <= upper, "the bracket is one");
        }
        match kind {
            "eps" | "compose" | "eps_group" | "eps_truncated" | "pure_dp_compose" => {
                let theirs = theirs.unwrap();
                let all = || ["rdp", "pld", "exact"].into_iter().filter_map(of);
                if tool.starts_with("exact") {
                    check(all().all(|ours| ours >= theirs), "sound");
                    check(of("pld_lower").unwrap() <= theirs, "the lower bound is one");
                } else if tool.starts_with("ms_prv") {
                    let lower = number(&row, "epsilon_lower").unwrap();
                    check(all().all(|ours| ours >= lower), "sound");
                } else if tool.starts_with("google_pld") {
                    check(of("pld").unwrap() <= theirs * 1.01, "tight");
                } else if tool.starts_with("google_rdp") {
                    check(of("rdp").unwrap() <= theirs * (1.0 + 1e-6), "tight");
                }
            }
            "eps_rdp_exact" => {
                check((of("rdp").unwrap() - theirs.unwrap()).abs() <= 1e-5, "the same");
            }
            "rdp_curve" => {
                let ratio = of("value").unwrap() / number(&row, "rdp").unwrap();
                check((1.0 - 1e-9..=1.0 + 1e-6).contains(&ratio), "the same");
            }
            "delta" => {
                let exact = number(&row, "delta").unwrap();
                check(of("value").unwrap() >= exact, "sound");
                check(of("value").unwrap() <= exact * 1.001 + 1e-18, "tight");
            }
            "calibrate_sigma" => {
                let ratio = of("value").unwrap() / number(&row, "noise_multiplier").unwrap();
                check(ratio <= 1.0 + 1e-3, "no more noise than needed");
                check(!tool.starts_with("exact") || ratio >= 1.0 - 1e-12, "no less");
                check(ratio >= 0.97, "no less");
            }
            "max_steps" => {
                check(of("value").unwrap() >= number(&row, "max_steps").unwrap(), "as many");
            }
            "zcdp" | "tuning" => {
                check(of("rdp").unwrap() <= theirs.unwrap() * (1.0 + 1e-6), "tight");
                check(of("value").unwrap() <= theirs.unwrap() * (1.0 + 1e-6), "tight");
            }
            "adaptive_clip" => {
                let ratio = of("value").unwrap() / number(&row, "noise_multiplier_delta").unwrap();
                check((ratio - 1.0).abs() < 1e-12, "the same");
            }
            "gdp" => check((of("value").unwrap() - theirs.unwrap()).abs() < 1e-6, "the same"),
            other => panic!("no check for {other}"),
        }
    }
}

#[test]
fn bad_rows_get_an_error_and_no_panic() {
    let base = r#""id":"x","q":0.01,"noise_multiplier":1.0,"steps":10,"delta":1e-5"#;
    for bad in [
        "",
        "{",
        "[]",
        "null",
        r#"{"id":1}"#,
        r#"{"id":"x","kind":"nonsense"}"#,
        r#"{"id":"x","kind":"eps"}"#,
        r#"{"id":"x","kind":"eps","q":1.5,"noise_multiplier":1,"steps":1,"delta":1e-5}"#,
        r#"{"id":"x","kind":"eps","q":0.1,"noise_multiplier":-1,"steps":1,"delta":1e-5}"#,
        r#"{"id":"x","kind":"eps","q":0.1,"noise_multiplier":1,"steps":-1,"delta":1e-5}"#,
        r#"{"id":"x","kind":"eps","q":0.1,"noise_multiplier":1,"steps":1.5,"delta":1e-5}"#,
        r#"{"id":"x","kind":"eps","q":0.1,"noise_multiplier":1,"steps":1,"delta":0}"#,
        r#"{"id":"x","kind":"eps","q":"a","noise_multiplier":1,"steps":1,"delta":1e-5}"#,
        r#"{"id":"x","kind":"eps","q":NaN,"noise_multiplier":1,"steps":1,"delta":1e-5}"#,
        r#"{"id":"x","kind":"compose","phases":["a"],"delta":1e-5}"#,
        r#"{"id":"x","kind":"tuning","q":0.1,"noise_multiplier":1,"steps":1,"delta":1e-5,"mean_runs":0.5,"shape":1}"#,
        r#"{"id":"x","kind":"eps_group","q":0.1,"noise_multiplier":1,"steps":1,"delta":1e-5,"group_size":0}"#,
    ] {
        let reply: Value = serde_json::from_str(&jsonl::answer(bad)).unwrap();
        assert!(reply["error"].is_string(), "{bad}: {reply}");
    }
    let infinite = format!("{{{base},\"kind\":\"eps\",\"noise_multiplier\":0}}");
    let reply: Value = serde_json::from_str(&jsonl::answer(&infinite)).unwrap();
    assert_eq!(reply["pld"], "inf");
    assert_eq!(reply["rdp"], "inf");
}
