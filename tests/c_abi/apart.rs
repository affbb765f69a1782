//! Outputs of texts: apart from all that is read and from handles, and as long as their caller says.

use crate::support::expect;
use crate::texts::{Reader, TEXT, nothing};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use titans::titans_status::*;
use titans::*;

/// What is read overlaps nothing that is written, and a call that is refused writes nothing.
#[test]
fn outputs_that_overlap_are_refused_and_written_on_success_only() {
    let text = Reader::new();
    let position = || {
        let mut position = 7;
        // SAFETY: borrows.
        expect(unsafe { titans_text_position(text.0, &mut position, null_mut()) }, TITANS_OK);
        position
    };
    let mut read = nothing();
    read.tokens = 1234;
    let here = (&raw mut read).cast::<c_void>();
    // SAFETY: memory of this function, in arrangements that the library must refuse.
    unsafe {
        expect(titans_text_feed(text.0, here, size_of_val(&read), here.cast(), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_text_feed(text.0, null(), 5, here.cast(), null_mut()), TITANS_ERROR_NULL);
        let mut len = 77usize;
        let bytes = (&raw mut len).cast::<u8>();
        expect(
            titans_text_token(text.0, 65, bytes, size_of::<usize>(), bytes.cast(), null_mut()),
            TITANS_ERROR_OVERLAP,
        );
        let mut letter = 9u8;
        expect(titans_text_token(text.0, 65, &mut letter, 1, null_mut(), null_mut()), TITANS_ERROR_NULL);
        assert_eq!((len, letter), (77, 9));
        // Outputs in the handle itself.
        let own = text.0.cast::<u64>();
        expect(titans_text_position(text.0, own.add(2), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_text_vocabulary(text.0, own.add(2).cast(), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_text_token(text.0, 65, &mut letter, 1, own.add(2).cast(), null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_text_token(text.0, 65, own.cast(), 1, &mut len, null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_text_next(text.0, own.cast(), 256, null_mut()), TITANS_ERROR_OVERLAP);
        expect(titans_text_fork(text.0, own.cast(), null_mut()), TITANS_ERROR_OVERLAP);
        let (texts, bytes, lens) = ([text.0], [here.cast_const()], [size_of_val(&read)]);
        let all = |reads| titans_text_feed_all(texts.as_ptr(), bytes.as_ptr(), lens.as_ptr(), 1, 1, reads, null_mut());
        expect(all(here.cast()), TITANS_ERROR_OVERLAP);
        expect(all(lens.as_ptr().cast_mut().cast()), TITANS_ERROR_OVERLAP);
        // In the handle, where one of its numbers could be a structure's own size.
        let inside: Vec<_> = (0..size_of::<titans_text>() / 8).map(|word| all(own.add(word).cast())).collect();
        assert!(
            inside.iter().all(|s| [TITANS_ERROR_OVERLAP, TITANS_ERROR_STRUCT_SIZE].iter().any(|e| *s == *e as i32))
        );
        assert!(inside.contains(&(TITANS_ERROR_OVERLAP as i32)), "{inside:?}");
    }
    assert_eq!((read.tokens, position()), (1234, 0));
}

#[test]
fn what_is_told_of_several_texts_may_be_longer_than_this_library_knows() {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Longer {
        known: titans_text_read,
        tail: [u64; 2],
    }
    let texts = [Reader::new(), Reader::new(), Reader::new()];
    let mut reads = [Longer { known: nothing(), tail: [9; 2] }; 3];
    reads.iter_mut().for_each(|read| read.known.struct_size = size_of::<Longer>() as u32);
    let handles: Vec<_> = texts.iter().map(|text| text.0).collect();
    let (bytes, lens) = ([TEXT.as_ptr().cast::<c_void>(); 3], [5, 6, 7]);
    let all = |reads: &mut [Longer; 3]| {
        let at = reads.as_mut_ptr().cast();
        // SAFETY: borrows with their lengths.
        unsafe { titans_text_feed_all(handles.as_ptr(), bytes.as_ptr(), lens.as_ptr(), 3, 2, at, null_mut()) }
    };
    expect(all(&mut reads), TITANS_OK);
    for (read, len) in reads.iter().zip(lens) {
        assert_eq!(
            (read.known.tokens, read.known.struct_size as usize, read.tail),
            (len as u64, size_of::<Longer>(), [0; 2])
        );
    }
    reads[1].known.struct_size = 56;
    expect(all(&mut reads), TITANS_ERROR_STRUCT_SIZE);
    assert_eq!(reads[0].known.tokens, 5);
}
