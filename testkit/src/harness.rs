//! The harness of suites whose tests need what not every machine has. It takes the options of Rust's own and prints the
//! same lines, and a test that lacks something is ignored, with the reason. Such a suite has `harness = false` in
//! Cargo.toml, [`suite!`](crate::suite) in its `main.rs`, and the usual `#[test]` everywhere.

use std::{any::Any, fs, os::unix::process::parent_id, process::ExitCode, thread};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{needs::Missing, versions};

/// A test of the suite.
pub struct Test {
    /// The path of its module, from the crate on.
    pub module: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// Why it is run only where that is asked for.
    pub ignored: Option<&'static str>,
    /// Runs it.
    pub run: fn(),
}

inventory::collect!(Test);

/// How many tests of a suite run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtOnce {
    /// As many as there are processors.
    Processors,
    /// So many, because they wait more than they work.
    Waiting(usize),
}

/// What a suite is, beside its tests.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    pub at_once: AtOnce,
    /// The modules that are started first, because they take longest: nothing should wait for them alone at the end.
    pub first: &'static [&'static str],
    /// The modules that run on the newest programs too; all, where none is named.
    pub newest: &'static [&'static str],
}

/// Runs what the command line asks for, of all tests of the program.
///
/// A filter that matches nothing is an error, unless cargo gives it to all suites.
pub fn main(suite: Suite) -> ExitCode {
    if let Err(code) = versions::choose(&skipped_on_the_newest(suite.newest)) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    if let AtOnce::Waiting(count) = suite.at_once {
        arguments.test_threads.get_or_insert(count);
    }
    let mut trials: Vec<_> = inventory::iter::<Test>.into_iter().map(trial).collect();
    let is_late = |trial: &Trial| !suite.first.iter().any(|module| is_of(trial.name(), module));
    trials.sort_by_key(|trial| (is_late(trial), trial.name().to_owned()));
    let is_match = |trial: &Trial| !arguments.is_filtered_out(trial);
    let matches = trials.iter().any(is_match);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !matches && arguments.skip.is_empty() && !is_one_of_many() {
        eprintln!("no test matches");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn is_of(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
}

/// The options that leave out what has nothing to do with the versions of other programs.
fn skipped_on_the_newest(modules: &[&str]) -> Vec<String> {
    let names = inventory::iter::<Test>.into_iter().map(full_name);
    let others = names.filter(|name| !modules.is_empty() && !modules.iter().any(|module| is_of(name, module)));
    others.flat_map(|name| ["--skip".to_owned(), name]).collect()
}

fn full_name(test: &Test) -> String {
    test.module.split_once("::").map_or_else(String::new, |(_, module)| format!("{module}::")) + test.name
}

fn trial(test: &Test) -> Trial {
    let name = full_name(test);
    let (run, thread) = (test.run, thread::Builder::new().name(name.clone()));
    let runner = move || match thread.spawn(run).map_err(|error| Failed::from(error.to_string()))?.join() {
        Ok(()) => Ok(Completion::Completed),
        Err(panic) => match panic.downcast::<Missing>() {
            Ok(missing) => Ok(Completion::ignored_with(missing)),
            Err(panic) => Err(message(&*panic).into()),
        },
    };
    Trial::ignorable_test(name, runner).with_ignored_flag(test.ignored.is_some())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

/// Whether cargo runs this suite as one of many: then a filter is for all of them together.
fn is_one_of_many() -> bool {
    let line = fs::read_to_string(format!("/proc/{}/cmdline", parent_id())).unwrap_or_default();
    let words: Vec<_> = line.split('\0').collect();
    let is_cargo = words.iter().any(|word| ["test", "t"].contains(word));
    let named = words.iter().filter(|word| **word == "--test" || word.starts_with("--test=")).count();
    is_cargo && named != 1
}

/// Runs an asynchronous test, as `#[tokio::test]` does.
pub fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(test);
}

/// The `main` of a suite: `testkit::suite!(Processors)` or `testkit::suite!(Waiting(8), first: ["samples"])`, see [`Suite`].
/// A function that follows is called at the end.
#[macro_export]
macro_rules! suite {
    (
        $variant:ident $(($count:literal))?
        $(, first: [$($first:literal),*])? $(, newest: [$($newest:literal),*])? $(, then: $afterwards:path)?
    ) => {
        fn main() -> std::process::ExitCode {
            let code = $crate::harness::main($crate::harness::Suite {
                at_once: $crate::harness::AtOnce::$variant $(($count))?,
                first: &[$($($first),*)?],
                newest: &[$($($newest),*)?],
            });
            $($afterwards();)?
            code
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{root, source::Sources};

    #[test]
    fn no_test_is_lost_in_a_suite_with_this_harness() {
        let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let suites: Vec<_> = manifest
            .split("[[test]]\n")
            .skip(1)
            .filter(|table| table.lines().nth(1) == Some("harness = false"))
            .filter_map(|table| table.strip_prefix("name = \"")?.split('"').next())
            .collect();
        assert!(suites.len() >= 10, "{suites:?}");
        for suite in suites {
            let folder = root().join("tests").join(suite);
            let main = fs::read_to_string(folder.join("main.rs")).unwrap();
            assert!(main.contains("#[macro_use]\nextern crate testkit;\n"), "{suite}: `#[test]` is not the testkit's");
            assert!(main.contains("\nsuite!("), "{suite}");
            for (path, text) in Sources::read(&folder).texts() {
                assert!(!text.contains("tokio::test"), "{suite}/{}: never run; `#[test]` does", path.display());
            }
        }
    }
}
