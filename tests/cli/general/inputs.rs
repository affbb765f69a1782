//! What `titans memory` and `titans inspect` say of files that are nearly right.

use super::{input, write};
use crate::common::{fails, ok};
use tempfile::tempdir;

#[test]
fn a_name_that_is_no_input_is_refused_with_those_that_are() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    for (name, of) in [("alhpa", "alpha"), ("masks", "theta"), ("v0", "theta"), ("Y", "eta"), ("K", "alpha")] {
        let mut arrays = input();
        let moved = arrays.remove(of).unwrap();
        if of == "theta" {
            arrays.insert(of.into(), moved.clone());
        }
        arrays.insert(name.into(), moved);
        write(&here.join("in"), &arrays);
        let inputs = "expected k v q theta alpha eta mask, w0.0 w0.1 … s0.0 s0.1 … gamma0 sgamma0, and cot.y";
        fails(here, &["memory", "in", "out"], 2, &[format!("in: tensor {name}: is no input").as_str(), inputs]);
        assert!(!here.join("out").exists());
    }
    write(&here.join("in"), &input());
    ok(here, &["memory", "in", "out"]);
}

#[test]
fn one_array_without_a_name_is_no_input_and_no_output() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("k.npy"), [&b"\x93NUMPY\x01\x00"[..], &[0; 120]].concat()).unwrap();
    let says = ["k.npy: expected named arrays, an .npz (numpy.savez) or a .safetensors file, found a .npy"];
    fails(here, &["memory", "k.npy", "out"], 2, &says);
    fails(here, &["inspect", "k.npy"], 2, &says);
    write(&here.join("in"), &input());
    fails(here, &["memory", "in", "y.npy"], 2, &["y.npy: expected named arrays"]);
    assert!(!here.join("y.npy").exists());
}

#[test]
fn small_numbers_are_shown_as_what_they_are() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut arrays = input();
    arrays.insert("theta".into(), (vec![2, 2, 8], vec![2.5e-7; 32]));
    write(&here.join("in"), &arrays);
    let told = ok(here, &["inspect", "in"]);
    let theta = told.lines().find(|line| line.trim_start().starts_with("theta")).unwrap();
    assert!(theta.contains("2.500e-7 to 2.500e-7") && theta.contains("rms 2.500e-7"), "{theta}");
}
