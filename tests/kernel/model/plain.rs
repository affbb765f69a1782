//! Operations on rows, as plain loops.

pub type Rows = Vec<Vec<f64>>;

pub fn times(x: &Rows, w: &[f64], outputs: usize) -> Rows {
    let dot = |row: &Vec<f64>, o: usize| row.iter().enumerate().map(|(i, x)| x * w[i * outputs + o]).sum();
    x.iter().map(|row| (0..outputs).map(|o| dot(row, o)).collect()).collect()
}

pub fn rms(x: &Rows, weight: &[f64]) -> Rows {
    let d = weight.len();
    let piece = |x: &[f64]| {
        let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / d as f64 + 1e-6).sqrt();
        x.iter().zip(weight).map(|(x, w)| x * scale * w).collect::<Vec<_>>()
    };
    x.iter().map(|row| row.chunks(d).flat_map(piece).collect()).collect()
}

pub fn l2(x: &Rows, d: usize) -> Rows {
    let piece = |x: &[f64]| {
        let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() + 1e-6).sqrt();
        x.iter().map(|x| x * scale).collect::<Vec<_>>()
    };
    x.iter().map(|row| row.chunks(d).flat_map(piece).collect()).collect()
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

pub fn map(x: &Rows, f: impl Fn(f64) -> f64) -> Rows {
    x.iter().map(|row| row.iter().map(|&x| f(x)).collect()).collect()
}

pub fn zip(x: &Rows, y: &Rows, f: impl Fn(f64, f64) -> f64) -> Rows {
    x.iter().zip(y).map(|(x, y)| x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect()).collect()
}

pub fn plus(x: &Rows, bias: &[f64]) -> Rows {
    x.iter().map(|row| row.iter().zip(bias).map(|(x, b)| x + b).collect()).collect()
}
