use super::{
    Answers, ArrayCotangents, ArrayTokens, memory, memory_vjp, parameter, push, push_rows, set_parameter, weights,
};
use crate::device::cpu::Cpu;
use crate::model::{Head, Mode, Model, ModelConfig, Session};
use ndarray::{Array1, Array2, Array3, Array4, ArrayView3, Axis, Dimension, ShapeBuilder, array, s};
use titans_kernel::memory::{Form, Gates, Memory, MemorySpec, Read};

const DIMS: (usize, usize, usize) = (2, 3, 7);

/// The same numbers in every run, others for every seed, in (low, high).
fn numbers<D: Dimension>(shape: impl ShapeBuilder<Dim = D>, low: f64, high: f64, seed: u64) -> ndarray::Array<f64, D> {
    let mut state = seed;
    ndarray::Array::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * (state >> 11) as f64 / (1u64 << 53) as f64
    })
}

/// A batch of its own numbers.
struct ArrayCase {
    rows: [Array4<f64>; 3],
    gates: [Array3<f64>; 3],
    mask: Array3<bool>,
    state: Array3<f64>,
}

impl ArrayCase {
    fn new(spec: &MemorySpec) -> Self {
        let (b, h, t) = DIMS;
        let row = |width, seed| numbers((b, h, t, width), -0.7, 0.7, seed);
        let gate = |high, seed| numbers(DIMS, 0.0, high, seed);
        Self {
            rows: [row(spec.key_width(), 1), row(spec.value_width(), 2), row(spec.key_width(), 3)],
            gates: [gate(0.3, 4), gate(0.5, 5), gate(0.5, 6)],
            mask: Array3::from_shape_fn(DIMS, |(b, h, t)| (b + 2 * h + t) % 4 == 0),
            state: numbers((b, h, spec.state_len()), -0.5, 0.5, 7),
        }
    }

    fn tokens(&self) -> ArrayTokens<'_, f64> {
        let ([k, v, q], [alpha, theta, eta]) =
            (self.rows.each_ref().map(|x| x.view()), self.gates.each_ref().map(|x| x.view()));
        ArrayTokens { k, v, q, alpha, theta, eta, mask: Some(self.mask.view()) }
    }

    fn answers(&self, device: &Cpu<f64>, spec: &MemorySpec) -> Answers<f64> {
        memory(device, spec, Read::After, Form::Chunk, &self.tokens(), self.state.view()).unwrap()
    }
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} {b}");
}

#[test]
fn every_memory_of_a_batch_is_a_memory_of_its_own() {
    let device = Cpu::new(Some(2)).unwrap();
    let spec = MemorySpec::new(&[3, 4]).unwrap();
    let mut case = ArrayCase::new(&spec);
    case.state.slice_mut(s![.., .., spec.params()..]).fill(0.0); // a `Memory` starts without momentum
    let answers = case.answers(&device, &spec);
    let ([k, v, q], [alpha, theta, eta]) = (&case.rows, &case.gates);
    for (b, h) in [(0, 0), (1, 2)] {
        let state = case.state.slice(s![b, h, ..]);
        let w0 = state.slice(s![..spec.params()]).to_vec();
        let start = titans_kernel::memory::Start::Weights(&w0);
        let mut memory = Memory::of(spec.clone()).scalar::<f64>().start(start).build().unwrap();
        for t in 0..DIMS.2 {
            let row = |x: &Array4<f64>| x.slice(s![b, h, t, ..]).to_vec();
            let mut y = vec![0.0; spec.value_width()];
            let masked = case.mask[[b, h, t]];
            if masked {
                memory.read(&row(q), &mut y).unwrap();
            } else {
                let gates = Gates { alpha: alpha[[b, h, t]], theta: theta[[b, h, t]], eta: eta[[b, h, t]] };
                let surprise = memory.step(&row(k), &row(v), gates, &row(q), &mut y).unwrap();
                close(surprise, answers.surprise[[b, h, t]]);
            }
            y.iter().zip(answers.y.slice(s![b, h, t, ..])).for_each(|(&a, &b)| close(a, b));
        }
        let mut last = vec![0.0; spec.state_len()];
        memory.state(&mut last).unwrap();
        let w = weights(&spec, answers.state.slice(s![b, h, ..])).unwrap();
        assert!(w.len() == 1 && w[0] != Array2::from_shape_vec((3, 4), w0).unwrap());
        w[0].iter().zip(&last).for_each(|(&a, &b)| close(a, b));
    }
}

#[test]
fn strides_change_no_bit() {
    let device = Cpu::new(Some(1)).unwrap();
    let spec = MemorySpec::new(&[3, 5, 3]).unwrap();
    let mut case = ArrayCase::new(&spec);
    let expected = case.answers(&device, &spec);
    let cotangents = ArrayCotangents { y: Some(expected.y.view()), state: Some(expected.state.view()) };
    let vjp = |case: &ArrayCase| {
        memory_vjp(&device, &spec, Read::After, &case.tokens(), case.state.view(), &cotangents).unwrap()
    };
    let gradients = vjp(&case);
    let columns = |x: &Array3<f64>| Array3::from_shape_fn(x.raw_dim().f(), |at| x[at]);
    case.gates = case.gates.each_ref().map(columns);
    case.state = columns(&case.state);
    case.rows = case.rows.each_ref().map(|x| Array4::from_shape_fn(x.raw_dim().f(), |at| x[at]));
    case.mask = Array3::from_shape_fn(case.mask.raw_dim().f(), |at| case.mask[at]);
    assert!(!case.rows[0].is_standard_layout());
    assert_eq!(case.answers(&device, &spec), expected);
    assert_eq!(vjp(&case), gradients);
    let token = memory(&device, &spec, Read::After, Form::Token, &case.tokens(), case.state.view()).unwrap();
    token.y.iter().zip(&expected.y).for_each(|(&a, &b)| close(a, b));
}

/// ⟨d_y, y⟩ + ⟨d_state, state⟩ goes with the inputs as the gradients say.
#[test]
fn gradients_are_those_of_the_answers() {
    let device = Cpu::new(Some(1)).unwrap();
    let spec = MemorySpec::new(&[3, 5, 3]).unwrap();
    let mut case = ArrayCase::new(&spec);
    let (d_y, d_state) = (numbers(case.rows[1].raw_dim(), -1.0, 1.0, 8), numbers(case.state.raw_dim(), -1.0, 1.0, 9));
    let cotangents = ArrayCotangents { y: Some(d_y.view()), state: Some(d_state.view()) };
    let found = memory_vjp(&device, &spec, Read::After, &case.tokens(), case.state.view(), &cotangents).unwrap();
    let loss = |case: &ArrayCase| {
        let answers = case.answers(&device, &spec);
        (answers.y * &d_y).sum() + (answers.state * &d_state).sum()
    };
    let slope = |case: &mut ArrayCase, number: fn(&mut ArrayCase) -> &mut f64| {
        let (x, step) = (*number(case), 1e-4);
        let mut at = |steps: f64| {
            *number(case) = x + steps * step;
            loss(case)
        };
        let slope = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step);
        *number(case) = x;
        slope
    };
    type Number = fn(&mut ArrayCase) -> &mut f64;
    let all: [(f64, Number); 7] = [
        (found.k[[1, 2, 1, 2]], |case| &mut case.rows[0][[1, 2, 1, 2]]),
        (found.v[[1, 0, 1, 1]], |case| &mut case.rows[1][[1, 0, 1, 1]]),
        (found.q[[0, 2, 6, 0]], |case| &mut case.rows[2][[0, 2, 6, 0]]),
        (found.alpha[[0, 1, 3]], |case| &mut case.gates[0][[0, 1, 3]]),
        (found.theta[[1, 1, 2]], |case| &mut case.gates[1][[1, 1, 2]]),
        (found.eta[[1, 2, 4]], |case| &mut case.gates[2][[1, 2, 4]]),
        (found.state[[1, 1, 17]], |case| &mut case.state[[1, 1, 17]]),
    ];
    for (i, (gradient, number)) in all.into_iter().enumerate() {
        let slope = slope(&mut case, number);
        assert!(gradient != 0.0 && (gradient - slope).abs() < 1e-8, "{i}: {gradient} {slope}");
    }
    // A masked token's gates have none.
    assert!(case.mask[[0, 0, 0]] && found.theta[[0, 0, 0]] == 0.0);
}

#[test]
fn arrays_of_other_shapes_are_named() {
    let device = Cpu::<f64>::new(Some(1)).unwrap();
    let spec = MemorySpec::new(&[3, 4]).unwrap();
    let case = ArrayCase::new(&spec);
    let error = |tokens: &ArrayTokens<'_, f64>, state: ArrayView3<'_, f64>| {
        memory(&device, &spec, Read::After, Form::Chunk, tokens, state).unwrap_err().to_string()
    };
    let state = case.state.view();
    let mut tokens = case.tokens();
    tokens.k.slice_axis_inplace(Axis(3), (..2).into());
    assert!(error(&tokens, state).contains("k: expected shape [B, H, T, d_k] = [2, 3, 7, 3], found [2, 3, 7, 2]"));
    let mut tokens = case.tokens();
    tokens.eta.slice_axis_inplace(Axis(2), (1..).into());
    assert!(error(&tokens, state).contains("eta: expected shape [B, H, T] = [2, 3, 7], found [2, 3, 6]"));
    let mut tokens = case.tokens();
    tokens.v = tokens.q;
    assert!(error(&tokens, state).contains("v: expected"));
    let mut tokens = case.tokens();
    tokens.mask = Some(case.mask.slice(s![..1, .., ..]));
    assert!(error(&tokens, state).contains("mask: expected"));
    assert!(error(&case.tokens(), case.state.slice(s![.., .., 1..])).contains("the state: expected"));
    let none = ArrayTokens {
        k: case.rows[0].slice(s![.., .., ..0, ..]),
        v: case.rows[1].slice(s![.., .., ..0, ..]),
        q: case.rows[2].slice(s![.., .., ..0, ..]),
        alpha: case.gates[0].slice(s![.., .., ..0]),
        theta: case.gates[1].slice(s![.., .., ..0]),
        eta: case.gates[2].slice(s![.., .., ..0]),
        mask: None,
    };
    assert!(error(&none, state).contains("at least one element"));
    let d_y = case.rows[0].view();
    let cotangents = ArrayCotangents { y: Some(d_y), state: None };
    let found = memory_vjp(&device, &spec, Read::After, &case.tokens(), state, &cotangents).unwrap_err().to_string();
    assert!(found.contains("the cotangent of y: expected"), "{found}");
    assert!(weights(&spec, case.state.slice(s![0, 0, 1..])).unwrap_err().to_string().contains("24 numbers"));
    assert!(weights(&spec, case.state.slice(s![0, 0, ..;-1])).unwrap_err().to_string().contains("stride -1"));
}

#[test]
fn sessions_take_ids_and_rows_of_any_stride() {
    let device = Cpu::<f64>::new(Some(1)).unwrap();
    let small = ModelConfig { width: 8, blocks: 1, heads: 1, head_width: 8, feed_forward: 8, ..ModelConfig::default() };
    let mut model = Model::new(&device, ModelConfig { vocabulary: 9, ..small.clone() }, 3).unwrap();
    let mut session = Session::new(&device, &model, Mode::On).unwrap();
    let steps = session.clone().push(&[1, 5, 8]).unwrap();
    let ids = array![8, 0, 5, 0, 1];
    let logits = push(&mut session, ids.slice(s![..;-2])).unwrap();
    assert_eq!(logits.dim(), (3, 9));
    assert!(logits.rows().into_iter().zip(&steps).all(|(row, step)| row == Array1::from(step.logits.clone())));
    assert_eq!(push(&mut session, ids.slice(s![..0])).unwrap().dim(), (0, 9));
    assert!(push(&mut session, array![9].view()).unwrap_err().to_string().contains("below 9"));
    assert_eq!(session.position(), 3);
    // Another parameter, another model; what is refused changes nothing.
    let embedding = parameter(&model.params, "embedding.weight").unwrap().to_owned();
    assert!(set_parameter(&mut model.params, &device, "embedding.weight", embedding.t()).is_err());
    assert_eq!(parameter(&model.params, "embedding.weight").unwrap(), embedding);
    let square = Array2::from_shape_fn((8, 8), |(i, j)| (8 * i + j) as f64);
    let name = "blocks.0.feed_forward.down.weight";
    set_parameter(&mut model.params, &device, name, square.t().into_dyn()).unwrap();
    assert_eq!(parameter(&model.params, name).unwrap(), square.t().into_dyn());

    let series = ModelConfig { inputs: 2, outputs: 3, head: Head::Regression, tied: false, ..small };
    let model = Model::new(&device, series, 3).unwrap();
    let mut session = Session::new(&device, &model, Mode::On).unwrap();
    let rows = array![[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6]];
    let steps = session.clone().push_rows(&[0.1, -0.4, 0.2, 0.5, 0.3, 0.6]).unwrap();
    let predicted = push_rows(&mut session, rows.t()).unwrap();
    assert!(predicted.rows().into_iter().zip(&steps).all(|(row, step)| row == Array1::from(step.logits.clone())));
    let wide = push_rows(&mut session, rows.view()).unwrap_err().to_string();
    assert!(wide.contains("numbers of a row") && wide.contains('2') && wide.contains('3'), "{wide}");
    assert_eq!((predicted.dim(), session.position()), ((3, 3), 3));
}
