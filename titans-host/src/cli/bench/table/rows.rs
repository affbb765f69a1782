//! Which rows the table has, and their goals.

use crate::device::cpu::Isa;

/// What a row measures. Deep memories have two layers with four times the width between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowKind {
    /// The chunk form, forward or with its backward.
    Chunk { dim: usize, deep: bool, chunk: usize, grad: bool },
    /// The exact form beside the chunk form, forward or with the backward.
    Exact { dim: usize, grad: bool },
    /// A stream of the exact form beside one whose every token is a piece.
    ExactStream { dim: usize },
    /// A residual network beside a plain one.
    Residual { dim: usize },
    /// A stream, one token a call.
    Stream { dim: usize, deep: bool },
    /// The token form over a whole sequence.
    Token { dim: usize },
    /// Two threads beside one.
    Threads { dim: usize },
    /// Long sequences beside short ones.
    Length { dim: usize },
    /// Sliding-window attention, forward or its backward.
    Attention { window: usize, grad: bool },
    /// A training step, with chunks of the text model's length or another.
    Train { chunk: Option<usize> },
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    pub name: String,
    pub isa: Isa,
    pub kind: RowKind,
    /// What should be reached at least; at most, for [`RowKind::Length`].
    pub goal: Option<f64>,
    /// Tokens a second that the project's reference machine, a Zen 5 at 280 GFLOP/s a core, should reach.
    pub reference: Option<f64>,
}

/// All rows for these instruction sets: the first has all of them, others what their arithmetic decides.
pub fn rows(isas: &[Isa]) -> Vec<TableRow> {
    let mut all = List(Vec::new());
    for (i, &isa) in isas.iter().enumerate() {
        for (chunk, goals) in [(64, [0.85, 0.88, 0.90, 0.93]), (16, [0.70, 0.80, 0.85, 0.88])] {
            for (dim, goal) in [64, 128, 256, 512].into_iter().zip(goals) {
                let kind = RowKind::Chunk { dim, deep: false, chunk, grad: false };
                all.push(isa, format!("linear/chunk{chunk}/d{dim}"), kind, goal);
            }
        }
        for (dim, goal) in [(64, 0.75), (256, 0.85)] {
            let kind = RowKind::Chunk { dim, deep: true, chunk: 64, grad: false };
            all.push(isa, format!("deep/chunk64/d{dim}"), kind, goal);
        }
        for (name, grad) in [("exact", false), ("exact-grad", true)] {
            for dim in [64, 128, 256] {
                all.push(isa, format!("{name}/d{dim}"), RowKind::Exact { dim, grad }, 0.90);
            }
        }
        for (dim, goal) in [(64, f64::NAN), (128, 1.2), (256, 1.4)] {
            all.push(isa, format!("exact-stream/d{dim}"), RowKind::ExactStream { dim }, goal);
        }
        for dim in [64, 256] {
            all.push(isa, format!("residual/chunk64/d{dim}"), RowKind::Residual { dim }, 0.90);
        }
        for (dim, reference) in [(64, 4.0e6), (128, 1.1e6), (256, 0.27e6)] {
            all.push(isa, format!("stream/linear/d{dim}"), RowKind::Stream { dim, deep: false }, 0.60);
            if let Some(row) = all.0.last_mut().filter(|_| isa == Isa::Avx512) {
                row.reference = Some(reference);
            }
        }
        for dim in [64, 256] {
            all.push(isa, format!("stream/deep/d{dim}"), RowKind::Stream { dim, deep: true }, 0.55);
        }
        for dim in [64, 128, 256] {
            all.push(isa, format!("token/linear/d{dim}"), RowKind::Token { dim }, f64::NAN);
        }
        for (name, deep) in [("linear", false), ("deep", true)] {
            for dim in [64, 256] {
                let kind = RowKind::Chunk { dim, deep, chunk: 64, grad: true };
                all.push(isa, format!("grad/{name}/d{dim}"), kind, 0.65);
            }
        }
        for (window, grad, goal) in [(64, false, 0.50), (256, false, f64::NAN), (64, true, f64::NAN)] {
            let name = if grad { "attention-grad" } else { "attention" };
            all.push(isa, format!("{name}/window{window}"), RowKind::Attention { window, grad }, goal);
        }
        if i == 0 {
            for dim in [64, 256] {
                all.push(isa, format!("threads/d{dim}"), RowKind::Threads { dim }, 1.9);
            }
            all.push(isa, "length/d64".into(), RowKind::Length { dim: 64 }, 1.03);
            all.push(isa, "train".into(), RowKind::Train { chunk: None }, 0.45);
            all.push(isa, "train/chunk32".into(), RowKind::Train { chunk: Some(32) }, f64::NAN);
        }
    }
    all.0
}

struct List(Vec<TableRow>);

impl List {
    /// Adds a row. Without wide vectors shares are to be 5 points lower; without fused multiply-adds, and for a goal
    /// that is no number, there is none.
    fn push(&mut self, isa: Isa, name: String, kind: RowKind, goal: f64) {
        let of_machine = matches!(kind, RowKind::Threads { .. } | RowKind::Length { .. } | RowKind::Residual { .. })
            || matches!(kind, RowKind::Exact { .. } | RowKind::ExactStream { .. });
        let goal = match isa {
            Isa::Portable => None,
            Isa::Avx2 if !of_machine => Some(goal - 0.05),
            Isa::Avx512 | Isa::Avx2 | Isa::Neon => Some(goal),
        };
        let goal = goal.filter(|goal| goal.is_finite());
        self.0.push(TableRow { name: format!("{}/{name}", isa.name()), isa, kind, goal, reference: None });
    }
}

#[cfg(test)]
mod tests {
    use super::rows;
    use crate::device::cpu::Isa;

    #[test]
    fn every_row_has_its_own_name_and_its_goal() {
        let all = rows(&[Isa::Avx512, Isa::Avx2]);
        let mut names: Vec<_> = all.iter().map(|row| row.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        let goal = |name: &str| all.iter().find(|row| row.name == name).unwrap().goal;
        assert_eq!(goal("avx512/linear/chunk64/d512"), Some(0.93));
        assert_eq!(goal("avx2/linear/chunk16/d64"), Some(0.70 - 0.05));
        assert_eq!((goal("avx2/residual/chunk64/d64"), goal("avx2/exact-stream/d256")), (Some(0.90), Some(1.4)));
        assert_eq!((goal("avx512/length/d64"), goal("avx512/token/linear/d64")), (Some(1.03), None));
        assert_eq!((goal("avx512/attention/window64"), goal("avx512/attention/window256")), (Some(0.50), None));
        assert!(!names.contains(&"avx2/train") && rows(&[Isa::Portable]).iter().all(|row| row.goal.is_none()));
    }
}
