//! The input of `titans memory`, checked, as arrays.

use super::super::tensors::{Tensors, index};
use crate::array::{self, ArrayTokens, owned};
use crate::error::{Error, Result};
use ndarray::{Array3, Array4, Ix3, Ix4, s};
use titans_kernel::Scalar;
use titans_kernel::memory::{Activation, Loss, MAX_LAYERS, MemorySpec, Network};

/// What the arrays do not say.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// b.
    pub chunk: usize,
    /// Tokens computed at once, 0 for a whole chunk; none: what suits the network and the chunk.
    pub compute_chunk: Option<usize>,
    /// φ.
    pub activation: Activation,
    /// The output's shape; by default residual where the file holds `gamma0`, else plain.
    pub network: Option<Network>,
    /// Scale of the inner loss.
    pub loss: Loss,
    /// Read the cotangents too.
    pub grad: bool,
}

/// Axes of k, for messages.
pub const K_AXES: &str = "[B, H, T, d_k]";
const GATE_AXES: &str = "[B, H, T]";

/// A piece of the parameters `[W^1 | … | W^L | γ]` of one memory, as a tensor of the files.
#[derive(Clone, Debug)]
pub struct Part {
    /// Name of the final weights, e.g. `w.0`; `s`-names, initial names and cotangents follow from it.
    pub(super) layer: Option<usize>,
    /// Where it starts.
    pub offset: usize,
    /// Its shape behind the axes B and H.
    pub shape: Vec<usize>,
}

impl Part {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Input name of the weights (`momentum = false`) or of their momentum.
    pub fn initial(&self, momentum: bool) -> String {
        let s = if momentum { "s" } else { "" };
        match self.layer {
            Some(l) => format!("{}0.{l}", if momentum { "s" } else { "w" }),
            None => format!("{s}gamma0"),
        }
    }

    /// Output name.
    pub fn last(&self, momentum: bool) -> String {
        let s = if momentum { "s" } else { "" };
        match self.layer {
            Some(l) => format!("{}.{l}", if momentum { "s" } else { "w" }),
            None => format!("{s}gamma"),
        }
    }

    fn axes(&self, batched: bool) -> String {
        let tail = if self.layer.is_some() { "in, out" } else { "d_v" };
        format!("{}H, {tail}]", if batched { "[B, " } else { "[" })
    }
}

/// How an initial tensor was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Not at all: zeros.
    Absent,
    /// One a head.
    Heads,
    /// One a sequence and head.
    Batched,
}

/// What the file says.
#[derive(Debug)]
pub struct Problem<T> {
    /// The memory.
    pub spec: MemorySpec,
    /// B, H, T.
    pub dims: [usize; 3],
    k: Array4<T>,
    v: Array4<T>,
    q: Array4<T>,
    /// α, θ, η.
    gates: [Array3<T>; 3],
    mask: Option<Array3<bool>>,
    /// State at the start `[B, H, 2 P]`.
    pub state: Array3<T>,
    /// The pieces of the parameters and how (weights, momentum) were given.
    pub parts: Vec<(Part, [Given; 2])>,
    /// With `--grad`.
    cotangents: Option<ProblemCotangents<T>>,
}

/// ProblemCotangents of y and of the final state; an absent one is 0.
#[derive(Debug)]
struct ProblemCotangents<T> {
    y: Option<Array4<T>>,
    state: Option<Array3<T>>,
}

impl<T: Scalar> Problem<T> {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// A tensor that is missing, of the wrong shape or type, not finite or out of range, by name.
    pub fn read(file: &Tensors<'_>, settings: &Settings) -> Result<Self> {
        let k = file.get::<T>("k", K_AXES)?;
        let &[b, h, t, d_k] = &k.shape[..] else {
            return Err(file.error("k", format!("expected 4 axes {K_AXES}, found shape {:?}", k.shape)));
        };
        if b * h * t * d_k == 0 {
            return Err(file.error("k", format!("expected at least one element, found shape {:?}", k.shape)));
        }
        let q = file.data("q", K_AXES, &[b, h, t, d_k])?;
        let widths = widths(file, [b, h], d_k)?;
        let v = values(file, [b, h, t], &widths)?;
        let spec = spec(file, settings, &widths)?;
        let parts = parts(&spec);
        super::names::check(file, &parts)?;
        let mut state = vec![T::ZERO; b * h * spec.state_len()];
        let parts = (parts.into_iter())
            .map(|part| initial(file, &spec, [b, h], &part, &mut state).map(|given| (part, given)))
            .collect::<Result<Vec<_>>>()?;
        let mask = match file.has("mask") {
            true => Some(owned(Ix3(b, h, t), file.mask("mask", GATE_AXES, &[b, h, t])?)?),
            false => None,
        };
        let mut problem = Self {
            dims: [b, h, t],
            k: owned(Ix4(b, h, t, d_k), k.data)?,
            v: owned(Ix4(b, h, t, spec.value_width()), v)?,
            q: owned(Ix4(b, h, t, d_k), q)?,
            gates: gates(file, [b, h, t])?,
            mask,
            state: owned(Ix3(b, h, spec.state_len()), state)?,
            spec,
            parts,
            cotangents: None,
        };
        if settings.grad {
            problem.cotangents = Some(problem.read_cotangents(file)?);
        }
        Ok(problem)
    }

    /// The tokens.
    pub fn tokens(&self) -> ArrayTokens<'_, T> {
        let [alpha, theta, eta] = self.gates.each_ref().map(|gate| gate.view());
        let mask = self.mask.as_ref().map(|mask| mask.view());
        ArrayTokens { k: self.k.view(), v: self.v.view(), q: self.q.view(), alpha, theta, eta, mask }
    }

    /// The cotangents, where gradients are asked for.
    pub fn cotangents(&self) -> Option<array::ArrayCotangents<'_, T>> {
        let ProblemCotangents { y, state } = self.cotangents.as_ref()?;
        Some(array::ArrayCotangents { y: y.as_ref().map(|y| y.view()), state: state.as_ref().map(|s| s.view()) })
    }

    fn read_cotangents(&self, file: &Tensors<'_>) -> Result<ProblemCotangents<T>> {
        let [b, h, t] = self.dims;
        let (axes, d_v) = ("[B, H, T, d_v]", self.spec.value_width());
        let y = match file.has("cot.y") {
            true => Some(owned(Ix4(b, h, t, d_v), file.data("cot.y", axes, &[b, h, t, d_v])?)?),
            false => None,
        };
        let mut state = None;
        for (part, momentum) in self.parts.iter().flat_map(|(part, _)| [(part, false), (part, true)]) {
            let name = format!("cot.{}", part.last(momentum));
            if file.has(&name) {
                let shape = [&[b, h], &part.shape[..]].concat();
                let data: Vec<T> = file.data(&name, &part.axes(true), &shape)?;
                let state = state.get_or_insert_with(|| vec![T::ZERO; b * h * self.spec.state_len()]);
                scatter(&self.spec, part, momentum, &data, state);
            }
        }
        if y.is_none() && state.is_none() {
            return Err(file.error("cot.y", "is missing, and so are all other cotangents: --grad needs one at least"));
        }
        let state = state.map(|state| owned(Ix3(b, h, self.spec.state_len()), state)).transpose()?;
        Ok(ProblemCotangents { y, state })
    }
}

/// The pieces of a memory's parameters.
fn parts(spec: &MemorySpec) -> Vec<Part> {
    let layer = |l| {
        let (i, o) = spec.layer(l);
        Part { layer: Some(l), offset: spec.layer_offset(l), shape: vec![i, o] }
    };
    let mut parts: Vec<Part> = (0..spec.layers()).map(layer).collect();
    if spec.gamma_len() > 0 {
        parts.push(Part { layer: None, offset: spec.layer_offset(spec.layers()), shape: vec![spec.gamma_len()] });
    }
    parts
}

/// d_0 … d_L from the shapes of w0.0, w0.1, …
fn widths(file: &Tensors<'_>, [b, h]: [usize; 2], d_k: usize) -> Result<Vec<usize>> {
    let mut widths = vec![d_k];
    for l in 0.. {
        let name = format!("w0.{l}");
        if l > 0 && !file.has(&name) {
            break;
        }
        if l == MAX_LAYERS {
            return Err(file.error(&name, format!("a memory has at most {MAX_LAYERS} layers")));
        }
        let axes = "[H, in, out] or [B, H, in, out]";
        let shape = file.shape(&name, axes)?;
        let (Some(&out), true) = (shape.last(), matches!(shape.len(), 3 | 4)) else {
            return Err(file.error(&name, format!("expected {axes}, found shape {shape:?}")));
        };
        let full = [b, h, widths[l], out];
        file.expect(
            &name,
            if shape.len() == 4 { "[B, H, in, out]" } else { "[H, in, out]" },
            &full[4 - shape.len()..],
            &shape,
        )?;
        widths.push(out);
    }
    Ok(widths)
}

/// v, as wide as the last layer's output.
fn values<T: Scalar>(file: &Tensors<'_>, [b, h, t]: [usize; 3], widths: &[usize]) -> Result<Vec<T>> {
    let (axes, layers) = ("[B, H, T, d_v]", widths.len() - 1);
    let (shape, out) = (file.shape("v", axes)?, widths[layers]);
    if let &[v_b, v_h, v_t, d_v] = &shape[..]
        && [v_b, v_h, v_t] == [b, h, t]
        && d_v != out
    {
        // The values say what the read-outs are to be: it is the layer that does not fit.
        let reason = format!("expected out = d_v = {d_v}, the width of v, found out = {out}");
        return Err(file.error(&format!("w0.{}", layers - 1), reason));
    }
    file.data("v", axes, &[b, h, t, out])
}

fn spec(file: &Tensors<'_>, settings: &Settings, widths: &[usize]) -> Result<MemorySpec> {
    let mut spec = MemorySpec::new(widths)?;
    spec.activation = settings.activation;
    spec.loss = settings.loss;
    (spec.chunk, spec.clip) = (settings.chunk, None);
    spec.network = match settings.network {
        Some(network) => network,
        None if file.has("gamma0") => Network::Residual,
        None => Network::Plain,
    };
    spec.compute_chunk = settings.compute_chunk.unwrap_or(spec.usual_compute_chunk());
    if spec.wide() && !spec.compute_chunk.is_multiple_of(spec.chunk) {
        let (n, b) = (spec.compute_chunk, spec.chunk);
        return Err(Error::usage(format!(
            "--compute-chunk: expected up to --chunk {b} or a multiple of it, found {n}"
        )));
    }
    let useless = ["gamma0", "sgamma0"].into_iter().find(|name| file.has(name));
    if let (Network::Plain, Some(name)) = (spec.network, useless) {
        return Err(file.error(name, "is of no use to --network plain; leave it out or ask for --network residual"));
    }
    if spec.network.is_residual() && spec.key_width() != spec.value_width() {
        let (k, v) = (spec.key_width(), spec.value_width());
        return Err(Error::usage(format!("--network residual needs values as wide as keys, found {v} and {k}")));
    }
    spec.validate()?;
    Ok(spec)
}

/// Copies the initial weights and momentum of one part into the states of all memories.
fn initial<T: Scalar>(
    file: &Tensors<'_>,
    spec: &MemorySpec,
    [b, h]: [usize; 2],
    part: &Part,
    state: &mut [T],
) -> Result<[Given; 2]> {
    let mut given = [Given::Absent; 2];
    for momentum in [false, true] {
        let name = part.initial(momentum);
        if !file.has(&name) {
            continue;
        }
        let heads = [&[h], &part.shape[..]].concat();
        let batched = file.shape(&name, "")?.len() == heads.len() + 1;
        let shape = if batched { [&[b], &heads[..]].concat() } else { heads };
        let data: Vec<T> = file.data(&name, &part.axes(batched), &shape)?;
        let data = if batched { data } else { data.repeat(b) };
        scatter(spec, part, momentum, &data, state);
        given[usize::from(momentum)] = if batched { Given::Batched } else { Given::Heads };
    }
    Ok(given)
}

/// Writes `data [n, part]` into `state [n, 2 P]`.
fn scatter<T: Copy>(spec: &MemorySpec, part: &Part, momentum: bool, data: &[T], state: &mut [T]) {
    let from = part.offset + if momentum { spec.params() } else { 0 };
    for (state, data) in state.chunks_exact_mut(spec.state_len()).zip(data.chunks_exact(part.len())) {
        state[from..from + data.len()].copy_from_slice(data);
    }
}

/// Reads `[B, H, part]` out of a state.
pub fn gather<T: Copy>(spec: &MemorySpec, part: &Part, momentum: bool, state: &Array3<T>) -> Vec<T> {
    let from = part.offset + if momentum { spec.params() } else { 0 };
    state.slice(s![.., .., from..from + part.len()]).iter().copied().collect()
}

/// α, θ, η, each in its range; α and η are 0 where the file has none.
fn gates<T: Scalar>(file: &Tensors<'_>, shape: [usize; 3]) -> Result<[Array3<T>; 3]> {
    let mut gates = [(); 3].map(|()| Array3::from_elem(shape, T::ZERO));
    for (gate, name) in gates.iter_mut().zip(["alpha", "theta", "eta"]) {
        if name != "theta" && !file.has(name) {
            continue; // a memory that never forgets, or has no momentum
        }
        let data: Vec<T> = file.data(name, GATE_AXES, &shape)?;
        let range = if name == "theta" { 0.0..=f64::MAX } else { 0.0..=1.0 };
        if let Some(i) = data.iter().position(|x| !range.contains(&x.to_f64())) {
            let rule = if name == "theta" { "0 or more" } else { "0 to 1" };
            let (at, x) = (index(&shape, i), data[i].to_f64());
            return Err(file.error(name, format!("expected {rule}, found {x} at {at}; pass gates, not logits")));
        }
        *gate = owned(Ix3(shape[0], shape[1], shape[2]), data)?;
    }
    Ok(gates)
}
