//! Attention: every input has its gradient, over spans, groups of heads and optional inputs.

use super::{Machine, World};
use crate::device::{AttentionOp, Span};
use crate::tape::{Tape, Var};

#[test]
fn gradients_of_attention() {
    const BATCH: usize = 2;
    const TIME: usize = 7;
    let op = |[heads, kv_heads]: [usize; 2], persistent, span, rotary| AttentionOp {
        batch: BATCH,
        time: TIME,
        heads,
        kv_heads,
        width: 4,
        persistent,
        span,
        rotary,
    };
    for (op, context) in [
        (op([2, 1], 2, Span::Window(3), Some(100.0)), false),
        (op([2, 2], 0, Span::Window(100), None), false),
        (op([4, 2], 3, Span::Segment(3), Some(100.0)), true),
        (op([1, 1], 0, Span::Segment(4), Some(10_000.0)), true),
    ] {
        let (queries, keys) = (op.heads * op.width, op.kv_heads * op.width);
        let mut shapes: Vec<(&str, [usize; 2])> = vec![("q", [3, queries]), ("k", [3, keys]), ("v", [3, keys])];
        if op.persistent > 0 {
            shapes.extend([("pk", [op.persistent, keys]), ("pv", [op.persistent, keys])]);
        }
        if context {
            shapes.extend([("ck", [3, keys]), ("cv", [3, keys])]);
        }
        let shapes: Vec<(&str, &[usize])> = shapes.iter().map(|(name, shape)| (*name, &shape[..])).collect();
        World::new(&shapes).check(|world, tape| {
            let x = world.constant(BATCH * TIME * 3, 1.0);
            let map = |tape: &mut Tape<'_, Machine>, names: &[&str]| -> Vec<Var<Machine>> {
                names.iter().map(|name| tape.linear(&x, world.id(name), None).unwrap()).collect()
            };
            let tokens = map(tape, &["q", "k", "v"]);
            let context = if context { map(tape, &["ck", "cv"]) } else { vec![] };
            let persistent: Vec<_> = match op.persistent {
                0 => vec![],
                _ => ["pk", "pv"].iter().map(|name| tape.repeat(world.id(name), BATCH).unwrap()).collect(),
            };
            let pair = |x: &'_ [Var<Machine>]| -> Option<[Var<Machine>; 2]> {
                (!x.is_empty()).then(|| [x[0].clone(), x[1].clone()])
            };
            let (persistent, context) = (pair(&persistent), pair(&context));
            tape.attention(
                &op,
                &tokens[0],
                &tokens[1],
                &tokens[2],
                persistent.as_ref().map(<[_; 2]>::each_ref),
                context.as_ref().map(<[_; 2]>::each_ref),
            )
            .unwrap()
        });
    }
}
