//! The calculator against published values, and against bad questions.

#[path = "../src/bin/epsilon/main.rs"]
#[allow(dead_code, reason = "its `main` is called by nobody here")]
mod epsilon;

use serde_json::{Map, Value, json};

mod common {
    pub mod published;
}
use common::published::table;

type Row = Map<String, Value>;

/// The fields of an answer. Those that [`asked`] lists for a row's kind belong to its question, and so does
/// every other field.
const ANSWERS: [&str; 18] = [
    "epsilon",
    "epsilon_lower",
    "epsilon_upper",
    "optimal_order",
    "delta_remove",
    "delta_add",
    "delta",
    "rdp",
    "google",
    "opacus",
    "mu",
    "noise_multiplier",
    "noise_multiplier_delta",
    "max_steps",
    "eps_at_max",
    "eps_at_max_plus_1",
    "bun_steinke",
    "poisson_epsilon_pld",
];

/// Fields of [`ANSWERS`] that belong to the question of a kind.
fn asked(kind: &str) -> &'static [&'static str] {
    match kind {
        "delta" => &["epsilon", "noise_multiplier"],
        "calibrate_sigma" => &["epsilon", "delta"],
        "max_steps" => &["epsilon", "delta", "noise_multiplier"],
        _ => &["delta", "noise_multiplier"],
    }
}

fn question(row: &Row) -> Value {
    let kept = asked(text(row, "kind"));
    let asks = |field: &str| !ANSWERS.contains(&field) || kept.contains(&field);
    row.iter().filter(|(field, _)| asks(field)).map(|(f, v)| (f.clone(), v.clone())).collect()
}

fn rows() -> Vec<Row> {
    table()["rows"].as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect()
}

fn text<'a>(row: &'a Row, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}

/// "inf" is infinity.
fn number(row: &Row, field: &str) -> Option<f64> {
    match row.get(field)? {
        Value::String(text) => (text == "inf").then_some(f64::INFINITY),
        value => value.as_f64(),
    }
}

/// The program's output lines for these input lines.
fn answers(input: &[u8]) -> Vec<Row> {
    let mut output = Vec::new();
    let arguments = ["epsilon", "--jsonl"].map(Into::into);
    epsilon::answer(arguments, input, &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(questions: &[Value]) -> Vec<Row> {
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    answers(lines.as_bytes())
}

fn answer(question: Value) -> Row {
    ask(&[question]).remove(0)
}

/// The output for flags.
fn calculate(flags: &str) -> Result<String, epsilon::Failure> {
    let mut output = Vec::new();
    let arguments = ["epsilon"].into_iter().chain(flags.split_whitespace()).map(Into::into);
    epsilon::answer(arguments, std::io::empty(), &mut output)?;
    Ok(String::from_utf8(output).unwrap())
}

#[test]
fn every_published_row_is_answered_within_the_conventions() {
    let rows = rows();
    let answers = ask(&rows.iter().map(question).collect::<Vec<_>>());
    assert_eq!(answers.len(), rows.len());
    for (row, answer) in rows.iter().zip(&answers) {
        let id = text(row, "id");
        assert_eq!(row["id"], answer["id"], "answers come in order");
        if text(row, "kind") == "shuffle_gap" {
            assert!(text(answer, "error").contains("shuffled"), "{answer:?}");
            continue;
        }
        assert!(!answer.contains_key("error"), "{id}: {answer:?}");
        compare(row, answer);
    }
}

fn compare(row: &Row, answer: &Row) {
    let (id, by) = (text(row, "id"), text(row, "accountant"));
    let ours = |field: &str| number(answer, field);
    let need = |field: &str| ours(field).unwrap_or_else(|| panic!("{id}: no {field}: {answer:?}"));
    let theirs = |field: &str| number(row, field).unwrap_or_else(|| panic!("{id}: no {field}"));
    let close = |ours: f64, theirs: f64, tolerance: f64| {
        assert!((ours - theirs).abs() <= tolerance * theirs, "{id}: {ours}, not {theirs}");
    };
    match text(row, "kind") {
        "rdp_curve" => {
            close(need("value"), theirs("rdp"), 1e-6);
            assert!(need("value") >= theirs("rdp") * (1.0 - 1e-9), "{id}");
        }
        "delta" => {
            close(need("value"), theirs("delta"), 1e-3);
            for bound in ["rdp", "pld", "exact", "value"].iter().filter_map(|field| ours(field)) {
                assert!(bound >= theirs("delta"), "{id}: {bound}");
            }
        }
        "eps_rdp_exact" => assert!((need("rdp") - theirs("epsilon")).abs() <= 1e-5, "{id}"),
        "gdp" => {
            close(need("value"), theirs("epsilon"), 1e-6);
            assert_eq!(answer["approximate"], json!(true), "{id}: not said to be no guarantee");
        }
        "adaptive_clip" => close(need("value"), theirs("noise_multiplier_delta"), 1e-12),
        "calibrate_sigma" => {
            close(need("value"), theirs("noise_multiplier"), 1e-3);
            assert!(spent(row, "noise_multiplier", &answer["value"]) <= theirs("epsilon"), "{id}");
        }
        "max_steps" => {
            assert!(need("value") >= theirs("max_steps"), "{id}");
            assert!(spent(row, "steps", &answer["value"]) <= theirs("epsilon"), "{id}");
        }
        _ => {
            compare_epsilons(row, answer);
            let close_to_theirs = match text(row, "kind") {
                "eps_truncated" | "eps_group" | "compose_mixed" | "pure_dp_compose" => ours("pld"),
                // Ours is the best of all orders and of three accountants, so it may be smaller.
                "zcdp" => ours("value").map(|value| value.max(0.99 * theirs("epsilon"))),
                _ => None,
            };
            if let Some(ours) = close_to_theirs {
                close(ours, theirs("epsilon"), 0.01);
            }
            assert!(by.starts_with("google") || !text(row, "kind").starts_with("eps_"), "{id}");
        }
    }
}

/// ε of a row with the value that was found for it, by the accountant that found it.
fn spent(row: &Row, found: &str, value: &Value) -> f64 {
    let mut question = row.clone();
    question.insert("kind".into(), "eps".into());
    question.insert(found.into(), value.clone());
    question.remove("epsilon");
    let by = match text(row, "accountant") {
        by if by.contains("rdp") => "rdp",
        by if by.contains("pld") => "pld",
        _ => "exact",
    };
    number(&answer(question.into()), by).unwrap()
}

fn compare_epsilons(row: &Row, answer: &Row) {
    let (id, by) = (text(row, "id"), text(row, "accountant"));
    let ours = |field: &str| number(answer, field);
    let upper: Vec<f64> =
        ["rdp", "pld", "exact", "value"].iter().filter_map(|field| ours(field)).collect();
    let value = ours("value").unwrap();
    assert!(upper.iter().all(|&bound| bound >= value), "{id}: the value is not the best");
    let at_least = |least: f64| {
        assert!(upper.iter().all(|&bound| bound >= least), "{id}: {upper:?} below {least}");
    };
    let lower = ours("pld_lower").unwrap_or(0.0);
    assert!(lower <= value, "{id}: the lower end {lower} is above {value}");
    let Some(theirs) = number(row, "epsilon") else { return };
    if by.starts_with("exact") {
        at_least(theirs);
        assert!(lower <= theirs, "{id}: the lower end {lower} is above the exact {theirs}");
    } else if by.starts_with("ms_prv") {
        at_least(number(row, "epsilon_lower").unwrap());
    } else if by.starts_with("google_pld") {
        assert!(ours("pld").unwrap() <= theirs * 1.01, "{id}: {:?} above {theirs}", ours("pld"));
    } else if by.starts_with("google_rdp") {
        assert!(ours("rdp").unwrap() <= theirs * (1.0 + 1e-6), "{id}: {:?}, {theirs}", ours("rdp"));
    }
}

#[test]
fn bad_questions_get_an_error_and_the_rest_go_on() {
    let good = r#"{"id":"good","kind":"zcdp","adjacency":"any","rho":0.5,"delta":1e-5}"#;
    let good_first = good.replace("good", "first");
    let step = r#""adjacency":"add_remove","q":0.01,"noise_multiplier":1,"delta":1e-5"#;
    let bad = [
        "{".to_owned(),
        "[1, 2]".to_owned(),
        "\"text\"".to_owned(),
        format!("{{\"id\":4,{step},\"kind\":\"eps\",\"steps\":NaN}}"),
        format!("{{\"id\":5,{step},\"kind\":\"eps\"}}"),
        format!("{{\"id\":6,{step},\"kind\":\"eps\",\"steps\":-1}}"),
        format!("{{\"id\":7,{step},\"kind\":\"eps\",\"steps\":1.5}}"),
        format!("{{\"id\":8,{step},\"kind\":\"what\",\"steps\":1}}"),
        format!("{{\"id\":9,{step},\"steps\":1}}"),
        format!("{{\"id\":10,{step},\"kind\":\"eps\",\"steps\":1,\"delta\":\"inf\"}}"),
        format!("{{\"id\":11,{step},\"kind\":\"eps\",\"steps\":1,\"q\":2}}"),
        format!("{{\"id\":12,{step},\"kind\":\"eps\",\"steps\":1,\"sampling\":\"shuffled\"}}"),
        format!("{{\"id\":13,{step},\"kind\":\"eps\",\"steps\":1,\"sampling\":\"full batch\"}}"),
        format!("{{\"id\":14,{step},\"kind\":\"eps\",\"steps\":1,\"adjacency\":\"swap\"}}"),
        format!("{{\"id\":15,{step},\"kind\":\"eps\",\"steps\":1,\"group_size\":0}}"),
        format!("{{\"id\":16,{step},\"kind\":\"eps\",\"steps\":1,\"noise_multiplier\":null}}"),
        format!("{{\"id\":17,{step},\"kind\":\"compose\",\"phases\":[\"Poisson q=1\"]}}"),
        format!("{{\"id\":18,{step},\"kind\":\"rdp_curve\",\"steps\":1,\"alpha\":1}}"),
        format!(
            "{{\"id\":19,{step},\"kind\":\"calibrate_sigma\",\"steps\":1,\"epsilon\":\"inf\"}}"
        ),
    ];
    let mut input = format!("{good_first}\n\n  \n{}\n", bad.join("\n")).into_bytes();
    // A line that is not UTF-8, and a last line without a line break.
    input.extend(b"{\"id\":\"\xff\"}\n");
    input.extend(good.as_bytes());

    let answers = answers(&input);
    assert_eq!(answers.len(), bad.len() + 3, "one answer a line, none for empty lines");
    let (first, rest) = answers.split_first().unwrap();
    let (last, errors) = rest.split_last().unwrap();
    assert_eq!((&first["id"], &last["id"]), (&json!("first"), &json!("good")));
    assert_eq!(first["value"], last["value"]);
    for (position, error) in errors.iter().enumerate() {
        let id = if (4..20).contains(&(position + 1)) && position != 3 {
            json!(position + 1)
        } else {
            Value::Null
        };
        assert_eq!(error["id"], id, "{error:?}");
        assert!(!text(error, "error").is_empty() && error.len() == 2, "{error:?}");
    }
}

#[test]
fn infinity_is_a_string_in_both_directions() {
    let row = json!({"kind": "eps", "adjacency": "add_remove", "sampling": "poisson", "q": 0.5,
                     "noise_multiplier": 0, "steps": 3, "delta": 1e-5});
    let no_noise = answer(row);
    assert_eq!(no_noise["id"], Value::Null);
    assert_eq!(no_noise["value"], "inf");
    assert!(!no_noise.contains_key("exact"), "sampling has no closed form");
    let row = json!({"kind": "delta", "adjacency": "zero_out", "q": 0.5, "noise_multiplier": 1,
                     "steps": 3, "epsilon": "inf"});
    assert_eq!(answer(row)["value"], 0.0);
}

#[test]
fn what_costs_nothing_is_exactly_zero() {
    for (q, steps) in [(0.0, 1000), (0.1, 0)] {
        let row = json!({"kind": "eps", "adjacency": "replace_one", "q": q, "noise_multiplier": 1,
                         "steps": steps, "delta": 1e-5});
        let free = answer(row);
        for field in ["rdp", "pld", "pld_lower", "exact", "value"] {
            assert_eq!(free[field], 0.0, "{field}");
        }
    }
}

#[test]
fn a_lower_end_is_only_given_where_it_is_one() {
    // First, more steps than the grids can handle: the lower end comes from the sum of the outputs, and is
    // not above the guarantee. Then a pair that no two data sets attain: there is no lower end.
    let row = json!({"kind": "eps", "adjacency": "add_remove", "q": 0.01, "noise_multiplier": 1,
                     "steps": u64::MAX, "delta": 1e-5});
    let longest = answer(row);
    let lower = longest["pld_lower"].as_f64().unwrap();
    assert!(lower > 0.0 && lower <= longest["value"].as_f64().unwrap_or(f64::INFINITY));
    let row = json!({"kind": "eps", "adjacency": "zero_out", "dataset_size": 340, "batch": 10,
                     "sampling": "fixed-size without replacement", "noise_multiplier": 4,
                     "steps": 100, "delta": 1e-4});
    let fixed = answer(row);
    assert!(fixed.contains_key("pld") && !fixed.contains_key("pld_lower"));
}

#[test]
fn the_value_is_the_library_s_best_bound() {
    use burn_dp_accounting::{
        Accountant, Adjacency, Delta, DpEvent, NoiseMultiplier, PrivacyAccountant, SamplingRate,
    };
    let mut best = PrivacyAccountant::new(Adjacency::ReplaceOne);
    let (rate, z) = (SamplingRate::new(0.02).unwrap(), NoiseMultiplier::new(1.5).unwrap());
    best.compose(&DpEvent::poisson_sampled_gaussian(rate, z), 50).unwrap();
    let row = json!({"kind": "eps", "adjacency": "replace_one", "q": 0.02, "noise_multiplier": 1.5,
                     "steps": 50, "delta": 1e-6});
    let ours = number(&answer(row), "value").unwrap();
    assert_eq!(ours, best.epsilon(Delta::new(1e-6).unwrap()).value());
}

#[test]
fn a_group_never_costs_more_than_by_the_general_conversion() {
    let row = json!({"kind": "eps_group", "adjacency": "add_remove", "q": 0.01, "group_size": 3,
                     "noise_multiplier": 2, "steps": 10, "delta": 1e-5});
    let group = answer(row.clone());
    assert!(number(&group, "pld") < number(&group, "rdp"));
    // Where nothing is sampled, three records cost as much as a third of the noise.
    let mut full = row;
    full["q"] = json!(1);
    let group = answer(full.clone());
    full["group_size"] = json!(1);
    full["noise_multiplier"] = json!(2.0 / 3.0);
    let third = number(&answer(full), "exact").unwrap();
    assert!((number(&group, "exact").unwrap() / third - 1.0).abs() < 1e-9);
}

#[test]
fn the_table_shows_every_bound_rounded_up_and_what_it_covers() {
    let run =
        "--dataset-size 60000 --batch-size 600 --noise-multiplier 1 --steps 1000 --delta 1e-5";
    let table = calculate(run).unwrap();
    // Truth: 1.82824; published Rényi bound: 2.1013665.
    for part in ["1.8283", "1.8281", "2.1014", "add/remove one record", "Poisson", "1000 planned"] {
        assert!(table.contains(part), "no {part} in\n{table}");
    }
    assert!(!table.contains("APPROXIMATE"));
    let table = calculate(&format!("{run} --show-approximate")).unwrap();
    assert!(table.contains("APPROXIMATE, NOT A GUARANTEE"), "{table}");

    let least = calculate(
        "--sampling-rate 0.01 --steps 1000 --delta 1e-5 --epsilon 1 --solve noise-multiplier",
    );
    assert!(least.unwrap().contains("least noise multiplier: 1.414"));
    let most = calculate(
        "--sampling-rate 0.01 --noise-multiplier 1 --delta 1e-5 --epsilon 1 --solve steps",
    );
    assert!(most.unwrap().contains("most steps: "));
    let rate =
        calculate("--steps 10 --noise-multiplier 1 --delta 1e-5 --epsilon 1 --solve sampling-rate");
    assert!(rate.unwrap().contains("largest sampling rate: 0."));
}

#[test]
fn bad_flags_are_explained() {
    let run = "--sampling-rate 0.01 --noise-multiplier 1 --steps 10 --delta 1e-5";
    for (flags, part) in [
        ("", "--delta"),
        ("--delta 1e-5", "--sampling-rate"),
        ("--delta 1e-5 --sampling-rate 0.1", "--noise-multiplier"),
        ("--delta NaN", "greater than 0"),
        ("--delta 1e-5 --sampling-rate 1.5", "between 0 and 1"),
        ("--delta 1e-5 --noise-multiplier -1", "at least 0"),
        ("--delta 1e-5 --steps 1.5", "--steps"),
        ("--delta 1e-5 --group-size 0", "between 1 and 1024"),
        ("--delta 1e-5 --adjacency swap", "replace-one"),
        ("--delta 1e-5 --epsilon 1", "--solve"),
        ("--delta 1e-5 --dataset-size 5", "--batch-size"),
        ("--delta 1e-5 --dataset-size 5 --batch-size 6", "at most --dataset-size"),
        (&format!("{run} --epsilon 1 --solve steps"), "leave it out"),
        (&format!("{run} --plot plot.bmp"), ".svg"),
        (
            "--delta 1e-5 --sampling-rate 0.1 --steps 9 --epsilon inf --solve noise-multiplier",
            "finite",
        ),
    ] {
        let failure = calculate(flags).expect_err(flags).to_string();
        assert!(failure.contains(part), "{flags}: no {part} in {failure}");
    }
}

#[test]
fn a_plot_has_both_curves_and_names_its_axes() {
    let path = std::env::temp_dir().join(format!("burn-dp-epsilon-{}.svg", std::process::id()));
    let run = "--sampling-rate 0.01 --noise-multiplier 1 --steps 100 --delta 1e-5 --plot";
    calculate(&format!("{run} {}", path.display())).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for part in ["<svg", "steps", "epsilon at delta = 1e-5", "Rényi DP", "loss distribution"] {
        assert!(svg.contains(part), "no {part}");
    }
}
