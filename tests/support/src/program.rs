//! A program that a test starts, and that does not outlive it.

use std::process::{Child, Command, Output, Stdio};

use crate::eventually;

/// A running program; dropping it kills it.
#[derive(Debug)]
pub struct Program(Option<Child>);

impl Program {
    /// Starts it, without input.
    ///
    /// # Panics
    /// If there is no such program.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self(Some(command.stdin(Stdio::null()).spawn().unwrap()))
    }

    /// Its process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.as_mut().expect(THERE).try_wait().unwrap().is_some()
    }

    /// What it exited with, and what it said where that was piped. One that does not end within 20 seconds is killed,
    /// and the test fails.
    pub async fn end(mut self) -> Output {
        eventually("the program's end", async || self.has_ended()).await;
        self.0.take().expect(THERE).wait_with_output().unwrap()
    }

    fn child(&self) -> &Child {
        self.0.as_ref().expect(THERE)
    }
}

const THERE: &str = "it goes with `self`";

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that has ended is only collected.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a program to its end, which is to come within 20 seconds, and tells what it said: less than a pipe holds.
pub async fn run(command: &mut Command) -> Output {
    Program::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).end().await
}
