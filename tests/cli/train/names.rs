//! Names of any bytes: what people read shows no control characters, and what must be text is refused by option and
//! value.
#![cfg(unix)]

use super::{TEXT, folder, text_run};
use crate::common::{fails, json, ok, run};
use safetensors::{Dtype, serialize, tensor::TensorView};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Both streams of a verb that must end well; neither shows a control character but the ends of lines.
fn shown(here: &Path, args: &[&str]) -> String {
    let output = run(here, args);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success(), "{args:?}: {text:?}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{args:?}: {text:?}");
    text
}

#[test]
fn people_are_shown_no_control_characters_of_names() {
    let folder = folder();
    let here = folder.path();
    let red = "r\u{1b}[31m\u{9b}e\nd";
    let escaped = "r\\u{1b}[31m\\u{9b}e\\nd";
    let told: Vec<&str> = TEXT.into_iter().filter(|&arg| arg != "--quiet").collect();
    let text = shown(here, &[&told[..], &["--out", red, "--steps", "2"]].concat());
    assert!(text.contains(&format!("{escaped}: ")) && text.contains(&format!("run: {escaped}\n")), "{text}");
    let recall = ["train", "--config", "recall.toml", "--out", "re\u{7f}call", "--steps", "1", "--quiet"];
    assert!(shown(here, &recall).contains("picture: re\\u{7f}call/recall.svg"));
    for args in [
        &["eval", red][..],
        &["export", red],
        &["inspect", red],
        &["inspect", red, "--checkpoint", "latest"],
        &["inspect", "--memory", red],
        &["train", "--resume", red, "--steps", "3"],
    ] {
        let text = shown(here, args);
        assert!(text.contains(escaped), "{args:?}: {text}");
    }
    shown(here, &["devices"]);
    // Tensors, entries beside them, and their columns one under another.
    let bytes = [0u8; 4];
    let tensor = |name: &'static str| (name, TensorView::new(Dtype::F32, vec![1], &bytes).unwrap());
    let entries = HashMap::from([("k\u{1b}ey".to_owned(), "v\u{9b}alue\u{7f}".to_owned())]);
    let file = serialize([tensor("plain"), tensor("t\u{1b}[2Jop\n")], Some(entries)).unwrap();
    std::fs::write(here.join("odd.safetensors"), file).unwrap();
    let text = shown(here, &["inspect", "odd.safetensors"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "  k\\u{1b}ey = \"v\\u{9b}alue\\u{7f}\"");
    assert!(lines[2].starts_with("  plain ") && lines[3].starts_with("  t\\u{1b}[2Jop\\n  F32"), "{text}");
    assert_eq!(lines[2].find("F32"), lines[3].find("F32"), "{text}");
    assert_eq!(json(here, &["inspect", "odd.safetensors", "--json"])["tensors"][1]["name"], "t\u{1b}[2Jop\n");
    // Names of columns, of which one is constant.
    let rows: String = (0..200).map(|i| format!("{},5\n", (f64::from(i) / 7.0).sin())).collect();
    std::fs::write(here.join("c\u{1b}.csv"), format!("a\u{1b}[31m,\"c\u{1b}on\nst\"\n{rows}")).unwrap();
    let train = "train --task series --quiet --width 16 --heads 2 --head-width 8 --feed-forward 16 --context 16 --batch 2 --steps 1 \
                 --blocks 1 --out series --data";
    let text = shown(here, &train.split(' ').filter(|arg| !arg.is_empty()).chain(["c\u{1b}.csv"]).collect::<Vec<_>>());
    assert!(text.contains("c\\u{1b}on\\nst (--leave-out)"), "{text}");
}

#[test]
fn a_column_whose_name_has_a_comma_can_be_left_out() {
    let folder = folder();
    let here = folder.path();
    let rows: String = (0..200).map(|i| format!("{},{i}.5,7\n", (f64::from(i) / 7.0).sin())).collect();
    std::fs::write(here.join("comma.csv"), format!("a,\"b, c\",d\n{rows}")).unwrap();
    let train = "train --task series --quiet --width 16 --heads 2 --head-width 8 --feed-forward 16 --context 16 --batch 2 --steps 1 \
                 --blocks 1 --out comma --data comma.csv --leave-out";
    let train = |columns| train.split(' ').filter(|arg| !arg.is_empty()).chain([columns]).collect::<Vec<_>>();
    for wrong in ["", "a,", "a\nd"] {
        fails(here, &os(&train(wrong), &[]), 2, &["--leave-out", "double quotes"]);
    }
    fails(here, &os(&train("b, c"), &[]), 2, &["--leave-out", "\"b\""]);
    shown(here, &train("\"b, c\",3"));
    let config = std::fs::read_to_string(here.join("comma/config.toml")).unwrap();
    assert!(config.contains("left_out = [2, 3]") && config.matches("[[task.columns]]").count() == 1, "{config}");
}

fn os<'a>(args: &'a [&'a str], more: &[&'a [u8]]) -> Vec<&'a OsStr> {
    args.iter().map(OsStr::new).chain(more.iter().map(|bytes| OsStr::from_bytes(bytes))).collect()
}

#[test]
fn what_must_be_text_is_named_by_option_and_value() {
    let folder = folder();
    let here = folder.path();
    let data: &[u8] = b"t\xffext.txt";
    std::fs::copy(here.join("text.txt"), here.join(OsStr::from_bytes(data))).unwrap();
    let says = ["--data t\u{fffd}ext.txt", "UTF-8", "config.toml", "rename it"];
    fails(here, &os(&["train", "--task", "text", "--data"], &[data]), 2, &says);
    fails(here, &os(&["train", "--task", "series", "--data"], &[data]), 2, &says);
    let tokenizer = ["train", "--task", "text", "--data", "text.txt", "--tokenizer"];
    fails(here, &os(&tokenizer, &[data]), 2, &["--tokenizer t\u{fffd}ext.txt", "UTF-8"]);
    text_run(here, &["--out", "run", "--steps", "1"]);
    fails(here, &os(&["train", "--resume", "run", "--data"], &[data]), 2, &says);
    // What is not written down may have any name.
    ok(here, &os(&["eval", "run", "--data"], &[data]));
    fails(here, &os(&["generate", "run", "--prompt"], &[b"a\xffb"]), 2, &["--prompt", "a\u{fffd}b", "--prompt-file"]);
    // Of several such arguments the one that must be text, whichever way it is given.
    for value in
        [&[data, b"--steps", b"\xffx"][..], &[data, b"--steps=\xffx"], &[data, b"--steps", b"\xffx", b"--out", b"\xff"]]
    {
        let says = ["--steps: expected text in UTF-8, found ", "\u{fffd}x", "give it in UTF-8"];
        fails(here, &os(&["train", "--task", "text", "--data"], value), 2, &says);
    }
    let astray = fails(here, &os(&["train"], &[data]), 2, &["unexpected argument 't\u{fffd}ext.txt'"]);
    assert!(!astray.contains("begins with a dash"), "{astray}");
    for (args, says) in [
        (&["train", "--lengths", "-1"][..], ["--lengths", "'-1'", "whole number from 0"]),
        (&["train", "--lengths", "64,x"], ["--lengths", "'x'", "whole number from 0"]),
        (&["eval", "run", "--window", "-2"], ["--window", "'-2'", "whole number from 0"]),
        (&["train", "--steps", "-1"], ["--steps", "'-1'", "whole number from 1"]),
        (&["train", "--accumulate", "x"], ["--accumulate", "'x'", "whole number from 0"]),
        (&["train", "--dropout", "x"], ["--dropout", "'x'", "expected a number"]),
    ] {
        fails(here, args, 2, &says);
    }
}
