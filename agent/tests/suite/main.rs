//! The tests of the agent.

mod bootstrap;
mod common;
mod program;
mod publish;
mod with_istiod;
