//! A backward that is called wrongly names the argument, and every gradient stays as it was.

use super::case::{AttentionCase, CONTEXT, PERSISTENT, Q, Q_ROTATED, Sizes, TOKENS};
use crate::arithmetic::Portable;
use crate::ops::attention::{Answered, AttentionGradients, Keys, Queries, Span, vjp, vjp_scratch_len};
use crate::ops::check::poison;
use crate::view::{Mat, MatMut};
use std::string::{String, ToString};
use std::vec::Vec;

const SIZES: Sizes = Sizes { span: Span::Window(6), first: 9, n: 5, first_key: 2, c: 4, persistent: 2, context: true };
/// What the outputs hold before a call.
const BEFORE: f32 = 7.0;

/// What a call is given, and which of its pairs of gradients are there.
struct Call {
    span: Span,
    first: u64,
    y: [usize; 2],
    log_sum: usize,
    d_y: [usize; 2],
    /// Rows and columns of the gradients, in the order of [`AttentionCase::x`].
    d: [[usize; 2]; 8],
    persistent: bool,
    context: bool,
    scratch: usize,
}

impl Call {
    /// One that fits.
    fn new(case: &AttentionCase<f32>) -> Self {
        let Sizes { span, first, n, c, persistent, context, .. } = case.sizes;
        let d = core::array::from_fn(|i| [case.x[i].len() / c, c]);
        let scratch = vjp_scratch_len(span, n, persistent, context);
        Self { span, first, y: [n, c], log_sum: n, d_y: [n, c], d, persistent: true, context: true, scratch }
    }

    /// The message, if it is refused.
    fn run(&self, case: &AttentionCase<f32>, q: Mat<'_, f32>, keys: &Keys<'_, f32>) -> Option<String> {
        let mut d: [Vec<f32>; 8] = self.d.map(|[rows, cols]| std::vec![BEFORE; rows * cols]);
        let pool = std::vec![0.5; 64];
        let view = |[rows, cols]: [usize; 2]| Mat::new(&pool[..rows * cols], rows, cols).unwrap();
        let mut views = d.iter_mut().zip(self.d).map(|(d, [rows, cols])| MatMut::new(d, rows, cols).unwrap());
        let mut next = || views.next().unwrap();
        let (d_q, d_rotated) = (next(), next());
        let [persistent, context, tokens] = core::array::from_fn(|_| (next(), next()));
        let gradients = AttentionGradients {
            q: d_q,
            q_rotated: d_rotated,
            persistent: self.persistent.then_some(persistent),
            context: self.context.then_some(context),
            tokens,
        };
        let (rotated, log_sum, mut scratch) = (case.mat(Q_ROTATED), &pool[..self.log_sum], poison(self.scratch));
        let (y, d_y) = (view(self.y), view(self.d_y));
        let result = vjp(
            &Portable,
            self.span,
            Queries { first: self.first, q, q_rotated: rotated },
            keys,
            Answered { y, log_sum, d_y },
            gradients,
            &mut scratch,
        );
        let error = result.err()?.to_string();
        assert!(d.iter().flatten().all(|&x| x == BEFORE), "{error}: a gradient was written");
        Some(error)
    }
}

fn named(error: Option<String>, what: &str) {
    assert!(error.as_deref().is_some_and(|e| e.starts_with(what)), "{what}: {error:?}");
}

#[test]
fn a_backward_of_wrong_sizes_names_them_and_writes_no_gradient() {
    type Spoil = fn(&mut Call);
    let wrong: [(&str, Spoil); 25] = [
        ("configuration: attention window", |c| c.span = Span::Window(0)),
        ("configuration: attention window", |c| c.span = Span::Segment(0)),
        ("token keys, up to the last query", |c| c.first += 1),
        ("number of the first key", |c| c.first = 3),
        ("configuration: number of the last query", |c| c.first = u64::MAX),
        ("y", |c| c.y[0] -= 1),
        ("y", |c| c.y[1] += 1),
        ("log_sum", |c| c.log_sum -= 1),
        ("log_sum", |c| c.log_sum += 1),
        ("d_y", |c| c.d_y[0] += 1),
        ("d_y", |c| c.d_y[1] -= 1),
        ("d of q", |c| c.d[Q][0] -= 1),
        ("d of q", |c| c.d[Q][1] += 1),
        ("d of q_rotated", |c| c.d[Q_ROTATED][0] += 1),
        ("d of q_rotated", |c| c.d[Q_ROTATED][1] -= 1),
        ("d of persistent keys and values", |c| c.d[PERSISTENT][0] += 1),
        ("d of persistent keys and values", |c| c.d[PERSISTENT + 1][1] -= 1),
        ("d of persistent keys and values", |c| c.persistent = false),
        ("d of context keys and values", |c| c.d[CONTEXT][0] -= 1),
        ("d of context keys and values", |c| c.d[CONTEXT + 1][1] += 1),
        ("d of context keys and values", |c| c.context = false),
        ("d of token keys", |c| c.d[TOKENS][0] -= 1),
        ("d of token values", |c| c.d[TOKENS + 1][1] += 1),
        ("scratch", |c| c.scratch -= 1),
        ("scratch", |c| c.scratch = 0),
    ];
    let case = AttentionCase::<f32>::new(SIZES, 6);
    assert_eq!(Call::new(&case).run(&case, case.mat(Q), &case.keys()), None);
    for (name, spoil) in wrong {
        let mut call = Call::new(&case);
        spoil(&mut call);
        named(call.run(&case, case.mat(Q), &case.keys()), name);
    }
}

#[test]
fn a_backward_of_wrong_queries_and_keys_names_them_and_writes_no_gradient() {
    let case = AttentionCase::<f32>::new(SIZES, 6);
    let (q, good) = (case.mat(Q), case.keys());
    let (k, v) = good.tokens;
    let run = |q: Mat<'_, f32>, keys: Keys<'_, f32>| Call::new(&case).run(&case, q, &keys);
    named(run(q.sub(0, 2), good), "q");
    named(run(q.block(0, SIZES.n, 0, 2), good), "q");
    named(run(Mat::strided(&case.x[Q], 5, 4, 1, 5).unwrap(), good), "q column stride");
    named(run(q, Keys { tokens: (k, v.sub(0, 5)), ..good }), "token values");
    named(run(q, Keys { tokens: (k, v.t()), ..good }), "token values");
    named(run(q, Keys { context: Some((k.sub(0, 5), v)), ..good }), "context keys");
    named(run(q, Keys { context: Some((k, v.sub(0, 5))), ..good }), "context values");
    named(run(q, Keys { persistent: Some((k.sub(0, 2), v)), ..good }), "persistent values");
    named(run(q, Keys { first: 5, ..good }), "number of the first key");
    // A pair of gradients that no keys belong to is left alone.
    let before = Keys { persistent: None, ..good };
    assert_eq!(run(q, before), None);
}
