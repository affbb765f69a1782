//! A session stands behind the last good token after it refused one, with the bits of a session that never saw that
//! one, however it was fed, saved, forked or reset; and says which one it was.

use crate::cases::{KINDS, tiny};
use titans_host::Error;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Head, Kind, Mode, Model, ModelConfig, Session, Step, Taken};
use titans_kernel::memory::{Loss, Network};

/// A token that is harmless for ever, as the model forgets; and one that makes the memory run away when it comes again
/// and again.
const CALM: [u32; 5] = [0, 3, 5, 1, 6];
const HOT: u32 = 2;

/// A model whose memory diverges within some dozens of equal tokens: of the settings that such models had by default.
fn hot(kind: Kind) -> ModelConfig {
    let mut config = ModelConfig { theta_max: 4.0, theta_bias: 0.0, alpha_bias: -4.0, persistent: 0, ..tiny(kind) };
    (config.memory.chunk, config.memory.loss, config.memory.network) = (8, Loss::Sum, Some(Network::Plain));
    config
}

/// The same of the exact form, the default: every token its own gradient, pieces of several tokens, half the squared
/// error.
fn exact(kind: Kind) -> ModelConfig {
    let mut config = ModelConfig { theta_max: 20.0, theta_bias: 2.0, ..hot(kind) };
    (config.memory.chunk, config.memory.compute_chunk, config.memory.loss) = (1, 16, Loss::Half);
    config
}

fn session(config: ModelConfig) -> Session<f32> {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    Session::new(&device, &Model::new(&device, config, 1).unwrap(), Mode::On).unwrap()
}

fn bits(steps: &[Step<f32>]) -> Vec<u32> {
    steps.iter().flat_map(|s| s.logits.iter().chain(s.surprise.iter().flatten())).map(|x| x.to_bits()).collect()
}

/// Feeds the hot token alone until it is refused.
fn until_refused(session: &mut Session<f32>) -> Vec<Step<f32>> {
    let mut steps = Vec::new();
    while steps.len() < 3000 {
        let Taken { steps: more, refused } = session.take(&[HOT]).unwrap();
        steps.extend(more);
        if refused.is_some() {
            assert_eq!(refused, Some(session.position()));
            return steps;
        }
    }
    panic!("never refused");
}

#[test]
fn the_state_is_that_of_the_last_good_token_whatever_the_cut() {
    let kinds = || KINDS.into_iter().filter(|k| *k != Kind::Attention);
    for (kind, hot) in kinds().map(|kind| (kind, hot as fn(Kind) -> _)).chain(kinds().map(|kind| (kind, exact as _))) {
        let mut single = session(hot(kind));
        let want = until_refused(&mut single);
        let (state, good) = (single.save().unwrap(), want.len());
        assert!(good > 3, "{kind:?}: {good}");
        for before in [0, 1, good / 2, good] {
            let mut one = session(hot(kind));
            one.push(&vec![HOT; before]).unwrap();
            let n = good - before;
            let Taken { steps, refused } = one.take(&vec![HOT; n + 200]).unwrap();
            assert_eq!((steps.len(), refused), (n, Some(good as u64)), "{kind:?}");
            assert_eq!(bits(&steps), bits(&want[before..]), "{kind:?}");
            assert_eq!((one.position(), one.save().unwrap() == state), (good as u64, true), "{kind:?}");
            // Again, as an error; and on with something else.
            let error = one.push(&[HOT, 0]).unwrap_err();
            assert!(matches!(error, Error::Refused { token: 0, position } if position == good as u64), "{error}");
            assert!(error.to_string().contains(&format!("position {good}")), "{error}");
            let (mut never, mut loaded) = (session(hot(kind)), session(hot(kind)));
            never.push(&vec![HOT; good]).unwrap();
            loaded.load(&one.save().unwrap()).unwrap();
            let [a, b, c] = [&mut one, &mut never, &mut loaded].map(|s| s.take(&CALM).unwrap());
            assert_eq!((bits(&a.steps), a.refused), (bits(&b.steps), b.refused), "{kind:?}");
            assert_eq!((bits(&a.steps), a.refused), (bits(&c.steps), c.refused), "{kind:?}");
            assert_eq!(one.save().unwrap(), never.save().unwrap(), "{kind:?}");
        }
    }
}

/// A model of rows whose first map is so large that a row of 3e38 overflows, and whose memory is calm.
fn steep() -> Session<f32> {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    let config = ModelConfig { inputs: 3, head: Head::Regression, outputs: 3, tied: false, ..tiny(Kind::Mag) };
    let mut model = Model::new(&device, config, 1).unwrap();
    let first = model.params.iter().next().unwrap().id;
    let mut values = model.params.download(&device, first).unwrap();
    values.iter_mut().for_each(|x| *x *= 1000.0);
    device.write(&values, model.params.value_mut(first).unwrap()).unwrap();
    Session::new(&device, &model, Mode::On).unwrap()
}

/// Longer than what is logged, in pushes of any size, with forks and another mode on the way.
#[test]
fn what_came_long_before_a_refusal_is_not_lost() {
    const N: usize = 2600;
    let rows: Vec<f32> = (0..3 * N).map(|i| (i as f32 * 0.37).sin()).collect();
    let (bad, calm) = ([3e38f32; 3], &rows[..3 * 40]);
    let mut never = steep();
    never.push_rows(&rows).unwrap();
    let state = never.save().unwrap();
    let mut thawed = never.clone();
    for mode in [Mode::Frozen, Mode::On] {
        thawed.set_mode(mode).unwrap();
        thawed.push_rows(calm).unwrap();
    }
    let thawed = thawed.save().unwrap();
    never.push_rows(calm).unwrap();
    let longer = never.save().unwrap();
    for push in [1, 37, 600, 1023, 1024, 1025, N] {
        let mut one = steep();
        for rows in rows.chunks(3 * push) {
            one.push_rows(rows).unwrap();
        }
        let refused = one.take_rows(&bad).unwrap();
        assert_eq!((refused.steps.len(), refused.refused), (0, Some(N as u64)));
        assert!(one.save().unwrap() == state, "{push}");
        let (mut fork, mut frozen) = (one.clone(), one.clone());
        for session in [&mut one, &mut fork] {
            let taken = session.take_rows(&[calm, &bad, calm].concat()).unwrap();
            assert_eq!((taken.steps.len(), taken.refused), (40, Some(N as u64 + 40)));
            assert!(session.save().unwrap() == longer, "{push}");
        }
        for mode in [Mode::Frozen, Mode::On] {
            frozen.set_mode(mode).unwrap();
            assert!(frozen.push_rows(&[calm, &bad].concat()).is_err());
        }
        assert!(frozen.save().unwrap() == thawed, "{push}");
        one.reset().unwrap();
        let mut fresh = steep();
        assert_eq!((one.position(), one.save().unwrap() == fresh.save().unwrap()), (0, true));
        assert_eq!(bits(&one.push_rows(calm).unwrap()), bits(&fresh.push_rows(calm).unwrap()));
    }
}

#[test]
fn rows_of_numbers_are_refused_alike() {
    let config = ModelConfig { inputs: 3, head: Head::Regression, outputs: 3, tied: false, ..hot(Kind::Lmm) };
    let mut one = session(config.clone());
    let rows = [0.3f32, -1.0, 0.8].repeat(400);
    let Taken { steps, refused } = one.take_rows(&rows).unwrap();
    assert_eq!(refused, Some(steps.len() as u64));
    let mut never = session(config);
    assert_eq!(bits(&never.push_rows(&rows[..3 * steps.len()]).unwrap()), bits(&steps));
    assert_eq!(one.save().unwrap(), never.save().unwrap());
    let spoilt = [0.1, 0.2, 0.3, 0.1, f32::NAN, 0.3];
    assert!(one.push_rows(&spoilt).unwrap_err().to_string().contains("rows[4]"));
    assert_eq!(one.save().unwrap(), never.save().unwrap());
    assert!(matches!(one.push_rows(&rows[..3]), Err(Error::Refused { token: 0, .. })));
}
