//! The functions that are called in NVIDIA's libraries, found by name at run time. A library that lacks one is a
//! reason, never a panic: nothing is called before everything is there.

use libloading::Library;
use std::ffi::{c_char, c_int, c_uint, c_void};

/// A handle of the driver's or of a library's: a context, a stream, a module, a function, a pool.
pub(super) type Handle = *mut c_void;

/// What every call returns: 0 is success.
pub(super) type CallStatus = c_int;

/// A library's functions, and the library, which stays loaded as long as they do.
pub(super) trait Symbols: Sized {
    /// The name of the first function that is missing.
    fn load(library: Library) -> Result<Self, &'static str>;
}

macro_rules! symbols {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $symbol:literal($($arg:ty),*);)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name {
            $(pub $field: unsafe extern "C" fn($($arg),*) -> CallStatus,)*
            _library: Library,
        }

        impl Symbols for $name {
            fn load(library: Library) -> Result<Self, &'static str> {
                Ok(Self {
                    // SAFETY: the type is the documented signature of the function of this name, whose ABI NVIDIA keeps
                    // (a change gets another name); the library stays loaded beside it.
                    $($field: unsafe { library.get($symbol.as_bytes()) }.map(|found| *found).map_err(|_| $symbol)?,)*
                    _library: library,
                })
            }
        }
    };
}

symbols! {
    /// The driver, `libcuda.so.1`.
    DriverLibrary {
        init = "cuInit"(c_uint);
        version = "cuDriverGetVersion"(*mut c_int);
        error_name = "cuGetErrorName"(CallStatus, *mut *const c_char);
        device_count = "cuDeviceGetCount"(*mut c_int);
        device = "cuDeviceGet"(*mut c_int, c_int);
        device_name = "cuDeviceGetName"(*mut c_char, c_int, c_int);
        device_memory = "cuDeviceTotalMem_v2"(*mut usize, c_int);
        device_attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, c_int);
        device_pool = "cuDeviceGetDefaultMemPool"(*mut Handle, c_int);
        retain_context = "cuDevicePrimaryCtxRetain"(*mut Handle, c_int);
        release_context = "cuDevicePrimaryCtxRelease_v2"(c_int);
        set_context = "cuCtxSetCurrent"(Handle);
        create_stream = "cuStreamCreate"(*mut Handle, c_uint);
        destroy_stream = "cuStreamDestroy_v2"(Handle);
        wait_for_stream = "cuStreamSynchronize"(Handle);
        set_pool = "cuMemPoolSetAttribute"(Handle, c_int, *mut c_void);
        pool_attribute = "cuMemPoolGetAttribute"(Handle, c_int, *mut c_void);
        memory = "cuMemGetInfo_v2"(*mut usize, *mut usize);
        alloc = "cuMemAlloc_v2"(*mut u64, usize);
        free = "cuMemFree_v2"(u64);
        alloc_pooled = "cuMemAllocAsync"(*mut u64, usize, Handle);
        free_pooled = "cuMemFreeAsync"(u64, Handle);
        copy_to_device = "cuMemcpyHtoDAsync_v2"(u64, *const c_void, usize, Handle);
        copy_from_device = "cuMemcpyDtoHAsync_v2"(*mut c_void, u64, usize, Handle);
        copy_on_device = "cuMemcpyDtoDAsync_v2"(u64, u64, usize, Handle);
        fill_bytes = "cuMemsetD8Async"(u64, u8, usize, Handle);
        load_module = "cuModuleLoadData"(*mut Handle, *const c_void);
        unload_module = "cuModuleUnload"(Handle);
        module_function = "cuModuleGetFunction"(*mut Handle, Handle, *const c_char);
        begin_capture = "cuStreamBeginCapture_v2"(Handle, c_int);
        end_capture = "cuStreamEndCapture"(Handle, *mut Handle);
        instantiate = "cuGraphInstantiateWithFlags"(*mut Handle, Handle, u64);
        launch_graph = "cuGraphLaunch"(Handle, Handle);
        destroy_graph = "cuGraphDestroy"(Handle);
        destroy_executable = "cuGraphExecDestroy"(Handle);
        launch = "cuLaunchKernel"(
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
        );
    }
}

symbols! {
    /// Matrix products, `libcublas`.
    CublasLibrary {
        property = "cublasGetProperty"(c_int, *mut c_int);
        create = "cublasCreate_v2"(*mut Handle);
        destroy = "cublasDestroy_v2"(Handle);
        set_stream = "cublasSetStream_v2"(Handle, Handle);
        set_workspace = "cublasSetWorkspace_v2"(Handle, *mut c_void, usize);
        product = "cublasGemmStridedBatchedEx"(
            Handle, c_int, c_int, c_int, c_int, c_int,
            *const c_void, *const c_void, c_int, c_int, i64, *const c_void, c_int, c_int, i64,
            *const c_void, *mut c_void, c_int, c_int, i64, c_int, c_int, c_int
        );
    }
}

symbols! {
    /// The compiler, `libnvrtc`.
    NvrtcLibrary {
        version = "nvrtcVersion"(*mut c_int, *mut c_int);
        architecture_count = "nvrtcGetNumSupportedArchs"(*mut c_int);
        architectures = "nvrtcGetSupportedArchs"(*mut c_int);
        create = "nvrtcCreateProgram"(
            *mut Handle, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
        );
        destroy = "nvrtcDestroyProgram"(*mut Handle);
        compile = "nvrtcCompileProgram"(Handle, c_int, *const *const c_char);
        log_len = "nvrtcGetProgramLogSize"(Handle, *mut usize);
        log = "nvrtcGetProgramLog"(Handle, *mut c_char);
        code_len = "nvrtcGetCUBINSize"(Handle, *mut usize);
        code = "nvrtcGetCUBIN"(Handle, *mut c_char);
        ptx_len = "nvrtcGetPTXSize"(Handle, *mut usize);
        ptx = "nvrtcGetPTX"(Handle, *mut c_char);
    }
}
