//! A session is a stream with a buffer of its own.

use super::case::World;
use super::case::{ModelCase, Number, bits, buffer, whole};
use titans_kernel::model::{Mode, Session};

#[test]
fn a_session_is_a_stream_saved_forked_and_begun_anew() {
    const N: usize = 41;
    for case in [ModelCase::any(31), ModelCase::any(32), ModelCase::any(33)] {
        let mut world = World::<f32>::new(&case);
        let (model, fed) = (world.model(), case.input::<f32>(N));
        let (want, end) = whole(&model, Mode::On, &fed, N);
        let outputs = model.spec().outputs;
        let mut room = buffer(&model, 7);
        assert_eq!(room.len(), Session::<f32, Vec<f32>>::buffer_len(&model, 7));
        let mut lent = Session::new_in(model, Mode::On, 7, f32::kernel(), &mut room[..]).unwrap();
        let mut own = Session::new(model).unwrap();
        let mut y = vec![f32::NAN; outputs];
        let mut early = vec![0xaa; model.saved_len()];
        for t in 0..N {
            if t == 11 {
                assert_eq!(own.save(&mut early).unwrap(), early.len());
            }
            lent.step(fed.feed(t, 1), &mut y, None).unwrap();
            assert_eq!(bits(&y), want.outputs[t]);
            own.push(fed.feed(t, 1), None, None).unwrap();
        }
        let state = |session: &mut Session<'_, f32, Vec<f32>>| {
            let mut bytes = vec![0xaa; model.saved_len()];
            session.save(&mut bytes).unwrap();
            bytes
        };
        assert_eq!((own.place(), state(&mut own)), (lent.place(), end.clone()));

        let mut fork = own.clone();
        fork.load(&early).unwrap();
        fork.push(fed.feed(11, N - 11), None, None).unwrap();
        assert_eq!((state(&mut fork), state(&mut own)), (end.clone(), end.clone()));
        fork.reset(Mode::Frozen).unwrap();
        fork.push(fed.feed(0, N), None, None).unwrap();
        assert_eq!(state(&mut fork), whole(&model, Mode::Frozen, &fed, N).1);

        let (place, left) = (own.place(), own.into_buffer());
        let mut again = Session::attach(model, 64, place, f32::kernel(), left).unwrap();
        assert_eq!(state(&mut again), end);
        let short = Session::attach(model, 64, place, f32::kernel(), &mut again.into_buffer()[1..]).err();
        assert!(matches!(short, Some(titans_kernel::Error::Buffer { .. })));
    }
}
