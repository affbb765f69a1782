//! libtitans
