//! Stores and queues. Nothing outside this folder names one of them.
