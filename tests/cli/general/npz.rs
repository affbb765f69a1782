//! `titans memory` over NumPy's `.npz` files.

use super::{Arrays, input, memory, write};
use crate::common::{fails, ok};
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// One array's file, as NumPy writes it.
fn npy(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let axes: String = shape.iter().map(|n| format!("{n},")).collect();
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({axes}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// The numbers of a row-major array, column-major.
fn fortran(shape: &[usize], x: &[f64]) -> Vec<f64> {
    let array = ArrayD::from_shape_vec(shape, x.to_vec()).unwrap();
    array.t().iter().copied().collect()
}

fn zipped(files: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Every second array column-major.
fn files(arrays: &Arrays) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (i, (name, (shape, x))) in arrays.iter().enumerate() {
        let columns = i % 2 == 1;
        let x = if columns { fortran(shape, x) } else { x.clone() };
        let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
        files.push((format!("{name}.npy"), npy("<f8", columns, shape, &bytes)));
    }
    files
}

fn read(path: &Path) -> Arrays {
    let mut archive = ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut arrays = Arrays::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).unwrap();
        let name = entry.name().strip_suffix(".npy").unwrap().to_owned();
        let array = ArrayD::<f64>::read_npy(entry).unwrap();
        arrays.insert(name, (array.shape().to_vec(), array.iter().copied().collect()));
    }
    arrays
}

#[test]
fn both_formats_give_the_same_numbers() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let mut arrays = input();
    arrays.insert("cot.y".into(), (vec![2, 2, 8, 3], vec![1.0; 96]));
    let expected = memory(&arrays, &["--grad"]);
    let mut files = files(&arrays);
    // What is no array is passed over, and a mask may be of booleans.
    files.push(("notes.txt".into(), b"of the experiment".to_vec()));
    files.push(("mask.npy".into(), npy("|b1", false, &[2, 2, 8], &[0; 32])));
    for (name, method) in [("in.npz", CompressionMethod::Stored), ("in", CompressionMethod::Deflated)] {
        std::fs::write(here.join(name), zipped(&files, method)).unwrap();
        ok(here, &["memory", name, "out.npz", "--grad"]);
        assert!(read(&here.join("out.npz")) == expected, "{name}");
        ok(here, &["memory", name, "out.safetensors", "--grad"]);
        assert!(super::read(&here.join("out.safetensors")) == expected, "{name}");
        let arrays = ok(here, &["inspect", name, "--json"]);
        assert!(arrays.contains("\"cot.y\"") && arrays.contains("\"BOOL\""), "{arrays}");
    }
    write(&here.join("in.safetensors"), &arrays);
    ok(here, &["memory", "in.safetensors", "again.NPZ", "--grad"]);
    assert!(read(&here.join("again.NPZ")) == expected);
    let archive = ZipArchive::new(std::fs::File::open(here.join("again.NPZ")).unwrap()).unwrap();
    assert!(String::from_utf8_lossy(archive.comment()).contains("\"widths\""));
    // The mask is looked at.
    files.last_mut().unwrap().1 = npy("|b1", false, &[2, 2, 8], &[1; 32]);
    std::fs::write(here.join("in.npz"), zipped(&files, CompressionMethod::Stored)).unwrap();
    ok(here, &["memory", "in.npz", "out.npz", "--grad"]);
    let masked = read(&here.join("out.npz"));
    assert!(masked["y"] != expected["y"] && masked["s.0"].1.iter().all(|&x| x == 0.0));
}

#[test]
fn bad_archives_and_arrays_are_named() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let good = files(&input());
    let refused = |bytes: &[u8], says: &[&str]| {
        std::fs::write(here.join("in.npz"), bytes).unwrap();
        fails(here, &["memory", "in.npz", "out.npz"], 2, &[&["in.npz: "], says].concat());
        assert!(!here.join("out.npz").exists());
    };
    let whole = zipped(&good, CompressionMethod::Deflated);
    for length in [0, 3, 4, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length], &["is no complete .npz file"]);
    }
    let mut damaged = zipped(&good, CompressionMethod::Stored);
    let at = damaged.windows(6).position(|w| w == b"\x93NUMPY").unwrap();
    damaged[at + 128 + 5] ^= 1; // a number of the first array
    refused(&damaged, &["array alpha", "checksum"]);
    let with = |name: &str, npy: Vec<u8>| {
        let mut files = good.clone();
        files.iter_mut().filter(|(file, _)| file.strip_suffix(".npy") == Some(name)).for_each(|f| f.1 = npy.clone());
        zipped(&files, CompressionMethod::Deflated)
    };
    refused(&with("k", npy("<f8", false, &[1 << 60], &[0; 8])), &["array k", "1152921504606846976"]);
    refused(&with("k", npy("<f8", false, &[1 << 50, 2], &[0; 8])), &["array k", "1125899906842624"]);
    refused(&with("k", npy("<f8", false, &[0, 1 << 60, 1 << 60], &[])), &["array k", "no array is so large"]);
    refused(&with("v", npy(">f8", false, &[2, 2, 8, 3], &[0; 768])), &["array v", "little-endian", ">f8"]);
    refused(&with("q", npy("<f2", false, &[2, 2, 8, 3], &[0; 192])), &["array q", "<f2", "float32"]);
    refused(&with("q", npy("|O", false, &[1], b"pickled")), &["array q", "|O"]);
    refused(&with("w0.0", b"no array at all".to_vec()), &["array w0.0", ".npy"]);
    refused(&with("k", npy("<i8", false, &[2, 2, 8, 3], &[0; 768])), &["tensor k", "I64", "F32 or F64"]);
    let mut lacks = good.clone();
    lacks.retain(|(name, _)| name != "theta.npy");
    refused(&zipped(&lacks, CompressionMethod::Stored), &["tensor theta", "missing"]);
    // Zeros that are many more than the file: refused by their shape, not by their weight.
    refused(&with("k", npy("<f8", false, &[2, 2, 1 << 20], &vec![0; 32 << 20])), &["tensor k", "4 axes"]);
    // What is not finite is not written, in this format either.
    let mut far = input();
    far.get_mut("theta").unwrap().1.fill(1e200);
    std::fs::write(here.join("in.npz"), zipped(&files(&far), CompressionMethod::Stored)).unwrap();
    std::fs::write(here.join("old.npz"), "before").unwrap();
    fails(here, &["memory", "in.npz", "old.npz", "--network", "plain"], 1, &["output y is not finite"]);
    assert_eq!(std::fs::read(here.join("old.npz")).unwrap(), b"before");
}

/// NumPy itself, where it is there.
#[test]
fn numpy_reads_and_writes_the_same() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let python = |program: &str| Command::new("python3").args(["-c", program]).current_dir(here).output();
    match python("import numpy") {
        Ok(output) if output.status.success() => {}
        Ok(output) => return println!("skipped: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return println!("skipped: python3: {error}"),
    }
    let run = |program: &str| {
        let output = python(program).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("
import numpy as np
rng = np.random.default_rng(0)
k = rng.standard_normal((2, 3, 20, 4))
k /= np.linalg.norm(k, axis=-1, keepdims=True)
v = np.asfortranarray(rng.standard_normal((2, 3, 20, 4)))
gate = lambda x: np.full((2, 3, 20), x)
np.savez_compressed('in.npz', **{'k': k, 'v': v, 'q': k, 'alpha': gate(0.01), 'theta': gate(0.5), 'eta': gate(0.3),
    'w0.0': np.zeros((3, 4, 4)), 'mask': gate(0) > 0})
");
    ok(here, &["memory", "in.npz", "out.npz"]);
    run("
import numpy as np
given, out = np.load('in.npz'), np.load('out.npz')
assert out['y'].shape == (2, 3, 20, 4) and out['y'].dtype == np.float64 and out['surprise'].shape == (2, 3, 20)
k, v, w = given['k'][1, 2], given['v'][1, 2], np.zeros((4, 4))
s = np.zeros((4, 4))
for t in range(20):
    s = 0.3 * s - 0.5 * np.outer(k[t], k[t] @ w - v[t])
    w = 0.99 * w + s
    assert np.allclose(k[t] @ w, out['y'][1, 2, t], atol=1e-12), t
assert np.allclose(w, out['w.0'][1, 2], atol=1e-12)
");
}
