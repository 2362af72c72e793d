//! Safe handles over HailoRT.
