//! Every function that can fail, given nothing: no pointers, a details structure that is none. The list is compared
//! with the documented one.

use crate::header::documented;
use crate::support::{details, expect};
use std::collections::BTreeSet;
use std::ptr::{null, null_mut};
use titans::*;
use titans_status::*;

type Call = fn(*mut titans_error_info) -> i32;

/// A name, the call with NULL and zeros everywhere, and what it answers.
macro_rules! calls {
    ($($name:ident($($argument:expr),* $(,)?) => $wanted:ident;)*) => {
        // SAFETY: NULL is found out before it is followed.
        vec![$((stringify!($name), (|info| unsafe { $name($($argument,)* info) }) as Call, $wanted)),*]
    };
}

fn freestanding() -> Vec<(&'static str, Call, titans_status)> {
    calls! {
        titans_memory_config_init(null_mut(), 0, 0) => TITANS_ERROR_ABI_VERSION;
        titans_memory_size(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_memory_saved_size(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_memory_parameters(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_memory_init(null_mut(), 0, null(), null(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_memory_attach(null_mut(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_memory_reset(null_mut(), null(), 0) => TITANS_ERROR_NULL;
        titans_memory_position(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_memory_clipped(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_memory_surprise(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_memory_weights(null_mut(), null_mut(), 0) => TITANS_ERROR_NULL;
        titans_memory_save(null_mut(), null_mut(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_memory_load(null_mut(), null(), 0) => TITANS_ERROR_NULL;
        titans_memory_read(null_mut(), 0, null(), 0, null_mut(), 0) => TITANS_ERROR_NULL;
        titans_memory_write(null_mut(), null(), null_mut(), 0, null_mut(), 0) => TITANS_ERROR_NULL;
        titans_memory_step(null_mut(), null(), 0, null(), 0, null(), 0, 0.0, 0.0, 0.0, null_mut(), 0, null_mut())
            => TITANS_ERROR_NULL;
        titans_model_open(null_mut(), 0, 0, null(), 0) => TITANS_ERROR_ABI_VERSION;
        titans_model_describe(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_model_describe_block(null(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_stream_config_init(null_mut(), 0, 0) => TITANS_ERROR_ABI_VERSION;
        titans_stream_size(null(), null(), null_mut()) => TITANS_ERROR_NULL;
        titans_stream_saved_size(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_stream_init(null_mut(), 0, null(), null(), null_mut()) => TITANS_ERROR_NULL;
        titans_stream_attach(null_mut(), 0, null(), null_mut()) => TITANS_ERROR_NULL;
        titans_stream_fork(null(), null_mut(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_stream_reset(null_mut(), null()) => TITANS_ERROR_NULL;
        titans_stream_read_only(null_mut(), null(), 0) => TITANS_ERROR_NULL;
        titans_stream_describe(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_stream_position(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_stream_waiting(null(), null_mut(), null_mut(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_stream_save(null_mut(), null(), null_mut(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_stream_load(null_mut(), null(), null(), 0) => TITANS_ERROR_NULL;
        titans_stream_push(null_mut(), null(), null(), 0, null_mut(), 0, null_mut(), 0) => TITANS_ERROR_NULL;
        titans_stream_push_rows(null_mut(), null(), null(), 0, null_mut(), 0, null_mut(), 0) => TITANS_ERROR_NULL;
        titans_stream_step(null_mut(), null(), 0, null_mut(), 0, null_mut(), 0) => TITANS_ERROR_NULL;
        titans_stream_step_row(null_mut(), null(), null(), 0, null_mut(), 0, null_mut(), 0) => TITANS_ERROR_NULL;
    }
}

#[cfg(feature = "host")]
fn hosted() -> Vec<(&'static str, Call, titans_status)> {
    calls! {
        titans_host_options_init(null_mut(), 0, 0) => TITANS_ERROR_ABI_VERSION;
        titans_host_open(null(), null(), null_mut()) => TITANS_ERROR_NULL;
        titans_host_view(null(), null_mut(), 0, 0) => TITANS_ERROR_NULL;
        titans_host_save_blob(null(), null()) => TITANS_ERROR_NULL;
        titans_text_config_init(null_mut(), 0, 0) => TITANS_ERROR_ABI_VERSION;
        titans_text_open(null(), null(), null_mut()) => TITANS_ERROR_NULL;
        titans_text_feed(null_mut(), null(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_text_feed_all(null(), null(), null(), 1, 1, null_mut()) => TITANS_ERROR_NULL;
        titans_text_vocabulary(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_text_token(null(), 0, null_mut(), 0, null_mut()) => TITANS_ERROR_NULL;
        titans_text_next(null(), null_mut(), 0) => TITANS_ERROR_NULL;
        titans_text_write(null_mut(), 0, 0, None, null_mut(), null_mut()) => TITANS_ERROR_NULL;
        titans_text_fork(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_text_reset(null_mut()) => TITANS_ERROR_NULL;
        titans_text_read_only(null_mut(), 0) => TITANS_ERROR_NULL;
        titans_text_position(null(), null_mut()) => TITANS_ERROR_NULL;
        titans_text_save(null_mut(), null()) => TITANS_ERROR_NULL;
        titans_text_load(null_mut(), null()) => TITANS_ERROR_NULL;
    }
}

#[cfg(not(feature = "host"))]
fn hosted() -> Vec<(&'static str, Call, titans_status)> {
    vec![]
}

#[test]
fn every_function_refuses_nothing_and_details_that_are_none() {
    let calls = [freestanding(), hosted()].concat();
    for (name, call, wanted) in &calls {
        assert_eq!(call(null_mut()), *wanted as i32, "{name}");
        let mut info = details();
        assert_eq!((call(&mut info), info.code), (*wanted as i32, *wanted as i32), "{name}");
        assert!(info.arg > 0, "{name} names the argument");
        let mut two = [details(), details()];
        let odd = (&raw mut two[0]).wrapping_byte_add(4);
        expect(call(odd), TITANS_ERROR_MISALIGNED);
        two[0].struct_size -= 8;
        expect(call(&mut two[0]), TITANS_ERROR_STRUCT_SIZE);
        assert!(two.iter().all(|info| info.code == 1 && info.arg == -1), "{name} wrote to details that are none");
    }
    // Those that cannot fail.
    let others = ["abi_version", "memory_align", "stream_align", "version_string", "status_name", "status_message"];
    let mut listed: BTreeSet<String> = calls.iter().map(|(name, ..)| (*name).to_owned()).collect();
    listed.extend(others.map(|name| format!("titans_{name}")));
    if cfg!(feature = "host") {
        listed.extend(["titans_host_close", "titans_text_close", "titans_host_error"].map(str::to_owned));
        assert_eq!(listed, documented().1);
    }
}
