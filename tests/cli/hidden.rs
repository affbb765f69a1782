//! Needles and stories in haystacks as their users meet them: train, eval with JSON, pictures and items, and what wrong
//! input ends in.

use crate::common::{fails, json, keys, ok};
use std::path::Path;

const SMALL: &str = "--quiet --width 16 --heads 2 --head-width 8 --feed-forward 16 --blocks 1 --steps 2 --out run";

fn train(before: &str) -> Vec<&str> {
    ["train"].into_iter().chain(before.split_whitespace()).chain(SMALL.split_whitespace()).collect()
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn needles_are_measured_by_length_and_depth() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    ok(here, &train("--task needle --context 450 --batch 500 --lengths 450,500"));
    let config = read(here, "run/config.toml");
    for text in ["name = \"needle\"", "kind = \"passkey\"", "vocabulary = 256", "length = 450"] {
        assert!(config.contains(text), "{text} in {config}");
    }
    let eval =
        "eval run --lengths 480,500 --depths 0,50,100 --sequences 2 --per-item items.csv --picture heat.svg --json";
    let found = json(here, &eval.split_whitespace().collect::<Vec<_>>());
    assert_eq!(keys(&found), ["cells", "chance", "haystack", "kind", "lengths", "memory", "tokens"]);
    assert_eq!(
        (&found["kind"], &found["haystack"], &found["tokens"]),
        (&"passkey".into(), &"noise".into(), &"bytes".into())
    );
    let (cells, lengths) = (found["cells"].as_array().unwrap(), found["lengths"].as_array().unwrap());
    assert_eq!((cells.len(), lengths.len()), (6, 2));
    assert_eq!(keys(&cells[0]), ["accuracy", "depth", "length", "nats", "samples"]);
    assert_eq!(keys(&lengths[0]), ["absent", "accuracy", "frozen", "length", "samples", "standard_error"]);
    assert_eq!((lengths[1]["samples"].as_u64(), lengths[1]["absent"].as_f64()), (Some(6), Some(0.0)));
    let items = read(here, "items.csv");
    assert_eq!(items.lines().count(), 13);
    assert!(items.starts_with("length,depth,number,key,value,said,nats,right\n480,0,0,"), "{items}");
    let picture = read(here, "heat.svg");
    assert!(picture.contains("\n480\n") && picture.contains("\n50 %\n") && picture.contains("passkey"));
    // In a text, by one memory alone: no other columns.
    std::fs::write(here.join("book.txt"), "It was a fine day. Nobody came, and nobody went!\n".repeat(9)).unwrap();
    let found = json(
        here,
        &["eval", "run", "--lengths", "450", "--sequences", "1", "--data", "book.txt", "--memory", "frozen", "--json"],
    );
    assert_eq!((&found["haystack"], &found["memory"]), (&"text".into(), &"frozen".into()));
    assert!(found["lengths"][0]["absent"].is_null());
    // A stream of many pieces.
    let long = ok(here, &["eval", "run", "--lengths", "40000", "--depths", "50", "--sequences", "1", "--no-baselines"]);
    assert!(long.contains("40000") && long.contains("passkey in noise"), "{long}");
    for (bytes, says) in [
        (&b"One.\nTw\xe9.\n"[..], "line 2, column 3"),
        (b"\xff\xfeO\0n\0e\0.\0", "line 1, column 1"),
        (b"O\0n\0e\0.\0", "a NUL"),
    ] {
        std::fs::write(here.join("latin.txt"), bytes).unwrap();
        fails(here, &["eval", "run", "--data", "latin.txt"], 2, &["latin.txt", says, "UTF-8"]);
    }
    fails(here, &["eval", "run", "--lengths", "100"], 2, &["passkey", "needs ", "100", "--lengths"]);
    fails(here, &["eval", "run", "--depths", "101"], 2, &["depths", "101"]);
    fails(here, &["eval", "run", "--window", "5"], 2, &["--window", "needle"]);
    fails(here, &["eval", "run", "--part", "test"], 2, &["--part", "needle"]);
}

#[test]
fn wrong_needles_end_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("empty.txt"), "").unwrap();
    fails(here, &train("--task needle --kind uuid"), 2, &["--kind uuid", "--haystack"]);
    fails(here, &train("--task needle --kind number --haystack empty.txt"), 2, &["empty.txt", "empty"]);
    fails(here, &train("--task needle --kind number --haystack none.txt"), 2, &["none.txt"]);
    fails(here, &train("--task needle --kind words"), 2, &["words", "passkey"]);
    fails(here, &train("--task needle --context 200"), 2, &["needs ", "200"]);
    fails(here, &train("--task needle --data empty.txt"), 2, &["--data", "needle"]);
    fails(here, &train("--task recall --kind uuid"), 2, &["--kind", "needle", "recall"]);
    fails(here, &train("--task needle --facts ."), 2, &["--facts", "babilong", "needle"]);
    fails(here, &train("--task babilong"), 2, &["--facts"]);
    fails(here, &train("--task babilong --facts ."), 2, &["qa1_"]);
    fails(here, &train("--task track --first-length 9"), 2, &["--first-length", "needle or babilong", "track"]);
    assert!(!here.join("run").exists());
}

const STORY: &str = "1 Ann went to the hall.\n2 Bob went to the shed.\n3 Where is Ann? \thall\t1\n";

#[test]
fn stories_are_asked_about_by_task_and_length_and_the_index_names_the_test() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::create_dir(here.join("facts")).unwrap();
    for task in ["qa1_one", "qa2_two"] {
        std::fs::write(here.join(format!("facts/{task}_train.txt")), STORY.repeat(20)).unwrap();
        std::fs::write(here.join(format!("facts/{task}_test.txt")), STORY.repeat(5)).unwrap();
    }
    std::fs::write(here.join("facts/babilong_test_100_idxs.json"), "{\"qa1\": [0, 4], \"qa2\": [1, 2, 3]}").unwrap();
    std::fs::write(here.join("book.txt"), "It was a fine day. Nobody came, and nobody went!\n".repeat(30)).unwrap();
    ok(here, &train("--task babilong --facts facts --noise book.txt --questions 1,2 --context 120 --batch 300"));
    let eval = "eval run --lengths 0,120 --per-item items.csv --picture heat.svg --json";
    let found = json(here, &eval.split_whitespace().collect::<Vec<_>>());
    assert_eq!(keys(&found), ["baselines", "memory", "part", "rows", "tokens"]);
    assert_eq!(found["part"], "test");
    let rows = found["rows"].as_array().unwrap();
    let columns =
        ["absent", "accuracy", "frozen", "length", "mean_tokens", "nats", "samples", "standard_error", "task"];
    assert_eq!((rows.len(), keys(&rows[0])), (4, columns.to_vec()));
    assert_eq!((rows[0]["samples"].as_u64(), rows[1]["samples"].as_u64()), (Some(2), Some(3)));
    assert_eq!((rows[3]["mean_tokens"].as_f64(), &rows[3]["task"]), (Some(120.0), &"qa2".into()));
    assert_eq!(keys(&found["baselines"]["qa1"]), ["chance", "last_mentioned", "majority"]);
    assert_eq!(found["baselines"]["qa1"]["majority"].as_f64(), Some(1.0));
    let items = read(here, "items.csv");
    assert_eq!(items.lines().count(), 11);
    assert!(items.starts_with("task,length,tokens,number,question,answer,said,nats,right\nqa1,0,"), "{items}");
    assert!(items.contains("\nqa1,120,120,4,Where is Ann?,hall,"), "{items}");
    assert!(read(here, "heat.svg").contains("\nqa2\n"));
    let valid = json(
        here,
        &["eval", "run", "--part", "valid", "--lengths", "0", "--sequences", "1", "--no-baselines", "--json"],
    );
    assert_eq!((&valid["part"], valid["rows"][0]["samples"].as_u64()), (&"valid".into(), Some(1)));
    assert!(keys(&valid).contains(&"baselines") && valid["baselines"].is_null(), "{valid}");
    let said = ok(here, &["eval", "run", "--lengths", "0", "--data", "book.txt"]);
    assert!(said.contains("the commonest answer 100.0 %"), "{said}");
    fails(here, &["eval", "run", "--depths", "5"], 2, &["--depths", "needle", "babilong"]);
    std::fs::write(here.join("facts/qa1_one_train.txt"), STORY.repeat(21)).unwrap();
    fails(here, &["eval", "run"], 2, &["changed since the run began"]);
    std::fs::write(here.join("facts/qa1_one_train.txt"), STORY.repeat(20)).unwrap();
    std::fs::rename(here.join("book.txt"), here.join("moved.txt")).unwrap();
    fails(here, &["train", "--resume", "run", "--steps", "3", "--quiet"], 2, &["book.txt"]);
    ok(here, &["train", "--resume", "run", "--steps", "3", "--quiet", "--noise", "moved.txt"]);
}

#[test]
fn studies_compare_blocks_by_needles_and_by_stories() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::create_dir(here.join("facts")).unwrap();
    std::fs::write(here.join("facts/qa1_one_train.txt"), STORY.repeat(20)).unwrap();
    let book = "It was a fine day. Nobody came, and nobody went!\n".repeat(30);
    std::fs::write(here.join("book.txt"), book).unwrap();
    let tasks = [
        (
            "needle",
            "kind = \"number\"\nhaystack = [\"book.txt\"]\nlength = 450\ntokens = 450\nlengths = [450]\ndepths = [0.0, 60.0]\nsamples = 2",
        ),
        (
            "babilong",
            "facts = \"facts\"\nnoise = [\"book.txt\"]\nlength = 120\ntokens = 300\nlengths = [120]\nsamples = 2",
        ),
    ];
    for (name, task) in tasks {
        let file = format!(
            "kind = \"length\"\nlengths = [450]\ntolerance = 0.05\n[task]\nname = \"{name}\"\n{task}\n[model]\nwidth = 16\nheads = 2\n\
             head_width = 8\nblocks = 1\nfeed_forward = 24\n[train]\nsteps = 2\n\
             [[configuration]]\nname = \"lmm\"\n[[configuration]]\nname = \"attention\"\nmodel.block = \"attention\"\n"
        );
        std::fs::write(here.join("study.toml"), file).unwrap();
        let report = json(here, &["study", "length", "--file", "study.toml", "--out", name, "--quiet", "--json"]);
        assert_eq!((&report["task"], report["done"].as_u64()), (&name.into(), Some(2)));
        for arm in report["configurations"].as_array().unwrap() {
            let share = arm["lengths"]["450"]["mean"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&share), "{arm}");
        }
        let config = read(here, &format!("{name}/runs/lmm-seed-0/config.toml"));
        assert!(config.contains("alpha_bias = -14.0"), "{config}");
        assert_eq!(config.contains("weight_decay = 0.0") && config.contains("gate_rate = 10.0"), name == "needle");
    }
    std::fs::write(here.join("book.txt"), "Another one. And more of it!\n".repeat(30)).unwrap();
    std::fs::remove_file(here.join("needle/runs/lmm-seed-0/result.json")).unwrap();
    fails(here, &["study", "length", "--out", "needle"], 2, &["changed since the run began"]);
}
