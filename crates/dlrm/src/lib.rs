//! dlrm.
