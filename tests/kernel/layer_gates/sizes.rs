//! Sizes with and without, what is refused, and streams of another configuration.

use titans_kernel::memory::{
    Cotangents, Form, Gate, Gradients, Mask, MemorySpec, Outputs, Read, Record, Stream, Tokens, forward,
    forward_scratch_len, vjp, vjp_scratch_len,
};
use titans_kernel::{Error, Fault, Mat, MatMut, Portable};

const N: usize = 6;

fn spec(widths: &[usize], layer_gates: bool) -> MemorySpec {
    let spec = MemorySpec { chunk: 3, compute_chunk: 0, layer_gates, ..MemorySpec::new(widths).unwrap() };
    spec.validate().unwrap();
    spec
}

/// All lengths that a caller asks for.
fn lengths(spec: &MemorySpec) -> [usize; 6] {
    [
        forward_scratch_len(spec, Form::Chunk),
        forward_scratch_len(spec, Form::Token),
        vjp_scratch_len(spec),
        Stream::<f32>::len(spec),
        Stream::<f32>::scratch_len(spec),
        Stream::<f32>::saved_len(spec),
    ]
}

#[test]
fn one_layer_has_one_set_of_gates_and_more_need_what_they_add() {
    let [off, on] = [false, true].map(|on| lengths(&spec(&[5, 4], on)));
    assert_eq!(off, on);
    assert_eq!((spec(&[5, 4], true).gate_sets(), spec(&[5, 3, 4], true).gate_sets()), (1, 2));
    let [off, on] = [false, true].map(|on| lengths(&MemorySpec { layer_gates: on, ..spec(&[5, 7, 3, 5], false) }));
    // A piece of 3 tokens: 4 rows of A, G, Π η, and of 3 columns of C and P; a row of rates; two sets more.
    let (set, rates, row) = (4 * (3 + 2 * 3), 3, 3 + 2 * 3);
    // The token form keeps no rates.
    let more = [2 * (set + rates), 0, 4 * (set + rates), 2 * (row + rates), 2 * set, 4 * 2 * (row + rates)];
    assert_eq!(off.iter().zip(more).map(|(off, more)| off + more).collect::<Vec<_>>(), on);
}

/// Tokens with gates of so many values of so many layers.
fn tokens<'a>(pool: &'a [f64], [values, layers]: [usize; 2]) -> Tokens<'a, f64> {
    let rows = |width| Mat::new(&pool[..N * width], N, width).unwrap();
    let gate = Gate::strided_tokens(&pool[..values], layers).layers(layers, 1);
    Tokens { k: rows(4), v: rows(4), q: rows(4), alpha: gate, theta: gate, eta: Gate::tokens(pool), mask: Mask::Write }
}

#[test]
fn gates_of_another_number_of_layers_are_refused_before_anything_is_written() {
    let pool = [0.1; 64];
    let run = |spec: &MemorySpec, tokens: &Tokens<'_, f64>| {
        let (mut state, mut y) = (vec![0.25; spec.state_len()], vec![7.0; N * 4]);
        let mut scratch = vec![f64::NAN; forward_scratch_len(spec, Form::Chunk)];
        let out = MatMut::new(&mut y, N, 4).unwrap();
        let result = forward(
            &Portable,
            spec,
            Form::Chunk,
            Read::After,
            tokens,
            Outputs { state: &mut state, y: out, surprise: None, boundaries: None },
            &mut scratch,
        );
        assert!(result.is_ok() || y.iter().all(|&y| y == 7.0) && state.iter().all(|&s| s == 0.25));
        result.map(|_| ())
    };
    let (own, shared) = (spec(&[4, 5, 4], true), spec(&[4, 5, 4], false));
    run(&own, &tokens(&pool, [2 * N, 2])).unwrap();
    run(&own, &tokens(&pool, [N, 1])).unwrap();
    run(&shared, &tokens(&pool, [N, 1])).unwrap();
    let shape = |what, expected, found| Err(Error::Shape { what, expected, found });
    assert_eq!(run(&shared, &tokens(&pool, [2 * N, 2])), shape("alpha layers", 1, 2));
    assert_eq!(run(&own, &tokens(&pool, [3 * N, 3])), shape("alpha layers", 2, 3));
    assert_eq!(run(&own, &tokens(&pool, [2 * N - 1, 2])), shape("alpha", 2 * N, 2 * N - 1));
    let mut none = tokens(&pool, [2 * N, 2]);
    none.theta = Gate::tokens(&pool).layers(0, 1);
    assert_eq!(run(&own, &none), shape("theta layers", 2, 0));
    assert_eq!(none.check_values(0, 3), shape("theta layers", 1, 0));
    none.theta = Gate::tokens(&pool).layers(usize::MAX, 0);
    assert_eq!(none.check_values(0, 3), shape("theta layers", 4, usize::MAX));
    none.theta = Gate::tokens(&pool).layers(2, usize::MAX);
    assert!(run(&own, &none).is_err() && none.check_values(0, 3).is_err());
}

#[test]
fn values_out_of_range_are_named_by_entry_and_layer() {
    let mut pool = [0.1; 64];
    pool[2 * 4 + 1] = 1.5;
    let mut tokens = tokens(&pool, [2 * N, 2]);
    assert_eq!(tokens.check_values(0, 3), Err(Error::Range { what: "alpha", index: 9 }));
    tokens.alpha = Gate::tokens(&pool);
    tokens.eta = Gate::strided_chunks(&pool[6..], 2).layers(2, 1);
    assert_eq!(tokens.check_values(0, 3), Err(Error::Range { what: "eta", index: 3 }));
}

#[test]
fn gradients_of_gates_have_a_value_for_every_layer() {
    let (pool, spec) = ([0.1; 128], spec(&[4, 5, 4], true));
    let run = |lengths: [usize; 3]| {
        let boundaries = vec![0.1; spec.boundaries_len(N)];
        let mut rows = [(); 3].map(|()| vec![7.0; N * 4]);
        let ([alpha, theta, eta], mut state) = (&mut lengths.map(|n| vec![7.0; n]), vec![7.0; spec.state_len()]);
        let [k, v, q] = rows.each_mut().map(|x| MatMut::new(x, N, 4).unwrap());
        let gradients = Gradients { k, v, q, alpha, theta, eta, state: &mut state };
        let none = Cotangents { y: None, state: None };
        let (tokens, mut scratch) = (tokens(&pool, [2 * N, 2]), vec![f64::NAN; vjp_scratch_len(&spec)]);
        vjp(
            &Portable,
            &spec,
            Record { read: Read::After, tokens: &tokens, boundaries: &boundaries },
            none,
            gradients,
            &mut scratch,
        )
    };
    run([2 * N, 2 * N, N]).unwrap();
    assert_eq!(run([N, 2 * N, N]), Err(Error::Shape { what: "d_alpha", expected: 2 * N, found: N }));
    assert_eq!(run([2 * N, N, N]), Err(Error::Shape { what: "d_theta", expected: 2 * N, found: N }));
    assert_eq!(run([2 * N; 3]), Err(Error::Shape { what: "d_eta", expected: N, found: 2 * N }));
}

#[test]
fn a_stream_refuses_what_one_layer_alone_makes_run_away_and_stands_before_it() {
    for chunk in [1, 3] {
        let spec = MemorySpec { chunk, clip: None, layer_gates: true, ..MemorySpec::new(&[4, 5, 4]).unwrap() };
        for (gate, value) in
            [(0, -0.5), (0, 1.5), (0, f32::NAN), (1, -0.1), (1, 1e30), (1, f32::NAN), (2, 1.5), (2, f32::NAN)]
        {
            for layer in [0, 1] {
                let mut gates = [[0.1f32; 2 * N]; 3];
                gates[gate][2 * 4 + layer] = value;
                let x: Vec<f32> = (0..N * 4).map(|i| (i as f32 * 1.3).sin()).collect();
                let rows = Mat::new(&x, N, 4).unwrap();
                let [alpha, theta, eta] = gates.each_ref().map(|gate| Gate::strided_tokens(gate, 2).layers(2, 1));
                let tokens = Tokens { k: rows, v: rows, q: rows, alpha, theta, eta, mask: Mask::Write };
                let w0: Vec<f32> = (0..spec.params()).map(|i| (i as f32 * 0.7).cos()).collect();
                let mut block = vec![f32::NAN; Stream::<f32>::len(&spec)];
                let mut scratch = vec![f32::NAN; Stream::<f32>::scratch_len(&spec)];
                let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).unwrap();
                let mut y = vec![f32::NAN; N * 4];
                let out = MatMut::new(&mut y, N, 4).unwrap();
                let refused = stream.write(&Portable, &tokens, Some(out), None, &mut scratch);
                assert_eq!(
                    refused,
                    Err(Error::Diverged { token: 4 }),
                    "chunk {chunk}, gate {gate} = {value}, layer {layer}"
                );
                assert_eq!(stream.position(), 4);
                assert!(y[..16].iter().all(|y| y.is_finite()));
                let mut state = vec![f32::NAN; spec.state_len()];
                stream.state(&Portable, &mut state, &mut scratch).unwrap();
                assert!(state.iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn a_saved_stream_says_whether_layers_have_gates_of_their_own() {
    let saved = |spec: &MemorySpec| {
        let mut block = vec![f32::NAN; Stream::<f32>::len(spec)];
        let stream = Stream::new(spec, Read::After, &vec![0.5; spec.params()], &mut block).unwrap();
        let mut bytes = vec![0; Stream::<f32>::saved_len(spec)];
        stream.save(&mut bytes).unwrap();
        bytes
    };
    let (own, shared) = (spec(&[4, 5, 4], true), spec(&[4, 5, 4], false));
    for (mine, other, found) in [(&own, &shared, 0), (&shared, &own, 1)] {
        let mut block = vec![f32::NAN; Stream::<f32>::len(mine)];
        let mut stream = Stream::new(mine, Read::After, &vec![0.0; mine.params()], &mut block).unwrap();
        let what = "gates of every layer";
        assert_eq!(stream.load(&saved(other)), Err(Fault::Config.error(what, 1 - found, found)));
        stream.load(&saved(mine)).unwrap();
    }
    // One layer's gates are those of all.
    assert_eq!(saved(&spec(&[4, 3], true)), saved(&spec(&[4, 3], false)));
}
