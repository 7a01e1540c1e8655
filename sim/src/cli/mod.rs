//! Arguments, and which command they choose.

mod bench;
mod input;
mod mistake;
mod output;
mod output_file;
mod play;
mod run;
mod snapshot;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Held = 0,
    Failed = 1,
    NotUnderstood = 2,
    Fault = 3,
}

impl Exit {
    /// How a command ends of which one part ended like this and another like `other`: a fault outweighs all, and what
    /// was not understood outweighs no failure that was seen.
    fn and(self, other: Self) -> Self {
        let weight = |exit| match exit {
            Self::Held => 0,
            Self::NotUnderstood => 1,
            Self::Failed => 2,
            Self::Fault => 3,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

/// A proxyless gRPC service mesh in one deterministic process.
#[derive(Debug, Parser)]
#[command(name = "hermesh", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 everything held, 1 an expectation failed, 2 input not understood, 3 a fault of Hermesh.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Play scenarios and check what they expect
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Measure Hermesh itself
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the JSON Schema of scenario files
    Schema,
    /// Print what makes a shell complete the command line of Hermesh
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

const RUN_HELP: &str = "\
Examples:
  hermesh run examples/grpc-echo/tutorial.yaml
  hermesh run tests/ --seeds 1000            every scenario of a folder, with seeds 1 to 1000
  hermesh run rollback.yaml --seed 7 --trace rollback.jsonl
  hermesh run rollback.yaml --snapshot rollback.snap     fails if anything has changed since
  kustomize build . | hermesh run smoke.yaml   where smoke.yaml says `apply: -`

The same scenario, seed and version give the same run, byte by byte; --verify makes sure of it.

Exit codes: 0 everything held, 1 an expectation failed, 2 input not understood, 3 a fault of Hermesh.";

const COMPLETIONS_HELP: &str = "\
Examples:
  hermesh completions bash > ~/.local/share/bash-completion/completions/hermesh
  hermesh completions fish > ~/.config/fish/completions/hermesh.fish
  hermesh completions zsh > _hermesh         in a folder of $fpath";

#[derive(Debug, Args)]
struct RunArgs {
    /// Scenario files, folders of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The seed of all random choices; before the scenario's own, which is 1 if it names none
    #[arg(long, value_name = "N", env = "HERMESH_SEED")]
    seed: Option<u64>,
    /// Run this many seeds, one after the other from the seed on; ten that do not hold are enough
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Run twice, on two threads, and compare every byte of both traces, down to the bytes on the wire
    #[arg(long)]
    verify: bool,
    /// Write everything that happened as JSON Lines; needs a single scenario and seed
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the results as JUnit XML, for CI systems: a suite for each run, a case for each step
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Compare what came of each step, and every configuration in use, with this file; it is written if there is none.
    /// Needs a single scenario and seed
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Write the snapshot anew
    #[arg(long, requires = "snapshot")]
    update_snapshot: bool,
    /// Who carries the packets between pods
    #[arg(long, value_enum, value_name = "NETWORK", default_value_t = Network::Simulated)]
    network: Network,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Network {
    /// Hermesh's own, which behaves as Linux does
    Simulated,
    /// That of the crate turmoil, an independent judge of the first; slower, see docs/network.md
    Turmoil,
}

impl From<Network> for hermesh::engine::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Simulated => Self::Simulated,
            Network::Turmoil => Self::Turmoil,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line a step, and why a step failed
    Human,
    /// One JSON object, see docs/report.md
    Json,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Hosts only: pods that call one another over mutual TLS
    Sim(SimArgs),
    /// The tutorial, within the process and as a process of its own
    Tutorial(TutorialArgs),
    /// Injected pods with agents, probes, istiod and traffic
    Mesh(MeshArgs),
}

#[derive(Debug, Args)]
struct SimArgs {
    /// How many pods
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_000))]
    pods: u32,
    /// Simulated seconds
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Connections that each pod opens to others
    #[arg(long, default_value_t = 5, value_name = "C", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    connections: u32,
    /// Calls a second that each pod makes; time passes in milliseconds, so there cannot be more than one in each
    #[arg(long, default_value_t = 1, value_name = "R", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    rps: u32,
    /// How often to measure; medians are printed
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MeshArgs {
    /// How many pods
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pods: u32,
    /// Simulated seconds after all pods are ready
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Calls a second that each pod makes by xDS
    #[arg(long, default_value_t = 1, value_name = "R", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    rps: u32,
    /// How often to measure; medians are printed
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct TutorialArgs {
    /// The scenario
    #[arg(default_value = "examples/grpc-echo/tutorial.yaml", value_name = "FILE")]
    file: PathBuf,
    /// How often to measure; medians are printed
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Does what the command line asks.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let exit = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Bench(BenchCommand::Sim(args)) => bench::sim(&args),
        Command::Bench(BenchCommand::Tutorial(args)) => bench::tutorial(&args),
        Command::Bench(BenchCommand::Mesh(args)) => bench::mesh(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hermesh", &mut script);
            output::out(&String::from_utf8_lossy(&script));
            Exit::Held
        }
        Command::Schema => {
            output::json(&hermesh::scenario::schema());
            Exit::Held
        }
    };
    let exit = match output::loss() {
        Some(error) => {
            output::err(&format!("hermesh: what it printed is not whole: {error}\n"));
            exit.and(Exit::NotUnderstood)
        }
        None => exit,
    };
    ExitCode::from(exit as u8)
}

/// Shows help, or what is wrong with the arguments; the latter as JSON where the report would be.
#[expect(clippy::disallowed_methods, reason = "the arguments are those of this program, not of a container")]
fn usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let asks_for_json = arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
        || arguments.iter().any(|argument| argument == "--format=json");
    if error.use_stderr() && asks_for_json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message).to_owned();
        return ExitCode::from(mistake::not_understood(&[mistake::Mistake::Arguments(message)], Format::Json) as u8);
    }
    let _reader_gone = error.print();
    ExitCode::from(if error.use_stderr() { Exit::NotUnderstood } else { Exit::Held } as u8)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
