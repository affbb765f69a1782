//! Sums over ranks have one order, and what rank 0 says is heard.

use super::circle::together;
use titans_host::train::ranks::share;
use titans_host::train::ranks::sum::all_reduce_sum;

/// Numbers of all sizes, so that every order of sums gives other bits.
fn numbers(rank: usize, len: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + rank * 104_729) % 1000) as f32 - 500.0;
    (0..len).map(|i| number(i) * 10f32.powi(((i + 3 * rank) % 7) as i32 - 3) / 3.0).collect()
}

#[test]
fn sums_go_by_the_order_of_the_ranks() {
    for size in 1..=5 {
        for len in [0, 1, 2, 3, 5, 7, 64, 1001] {
            let mut expected = numbers(0, len);
            for rank in 1..size {
                expected.iter_mut().zip(numbers(rank, len)).for_each(|(sum, x)| *sum += x);
            }
            let found = together(size, |ranks| {
                let mut x = numbers(titans_host::train::Collective::rank(ranks), len);
                all_reduce_sum(ranks, &mut x).unwrap();
                x
            });
            for x in found {
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&x), bits(&expected), "{size} ranks, {len} numbers");
            }
        }
    }
    let mut backwards = numbers(3, 1001);
    for rank in (0..3).rev() {
        backwards.iter_mut().zip(numbers(rank, 1001)).for_each(|(sum, x)| *sum += x);
    }
    let forwards = together(4, |ranks| {
        let mut x = numbers(titans_host::train::Collective::rank(ranks), 1001);
        all_reduce_sum(ranks, &mut x).unwrap();
        x
    });
    assert_ne!(forwards[0], backwards, "the order shows in these numbers");
}

#[test]
fn all_hear_rank_0_and_all_counts() {
    let heard = together(3, |ranks| {
        let rank = titans_host::train::Collective::rank(ranks);
        let text = share::text(ranks, if rank == 0 { "from rank 0: ä" } else { "ignored" }).unwrap();
        let said = share::json(ranks, &(rank == 0).then_some(7.5)).unwrap();
        (text, said, share::counts(ranks, [rank as u64, 10 + rank as u64]).unwrap())
    });
    for (text, said, counts) in heard {
        assert_eq!((text.as_str(), said), ("from rank 0: ä", Some(7.5)));
        assert_eq!(counts, [[0, 10], [1, 11], [2, 12]]);
    }
}

#[test]
fn processes_that_are_not_alike_are_told_apart() {
    let told = together(3, |ranks| {
        let rank = titans_host::train::Collective::rank(ranks);
        share::expect_alike(ranks, "titans 1 avx2").unwrap();
        share::expect_alike(ranks, if rank == 2 { "titans 1 neon" } else { "titans 1 avx2" }).unwrap_err().to_string()
    });
    for text in told {
        assert!(text.contains("titans 1 avx2 (rank 0) and titans 1 neon (rank 2)"), "{text}");
        assert!(text.contains("TITANS_ISA"), "{text}");
    }
}
