//! The seam to Python: plans made of plain data, and workers that scan without the interpreter's lock.

use crate::durations::Unit;
use crate::envelope::Envelope;
use crate::histogram::{Borders, Histogram, Values};
use crate::json::JsonReader;
use crate::labels::{Fixed, Mount, Router};
use crate::request::Prefix;
use crate::row::{Role, Row};
use crate::scan::{Counted, Plan, Reader, Scan};
use crate::source::{blocks_of_bytes, blocks_of_file};
use crate::tally::{Series, NO_BUCKET};
use crate::text::{compiled, TextReader};
use crate::walk::{part_pattern, Pattern, Rule, State, Transition, UrlMap};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::fs::File;
use std::sync::Arc;

fn refused(what: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(what.to_string())
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct PlanData {
    pattern: Option<String>,
    ends: Vec<u8>,
    columns: Vec<String>,
    keys: Vec<(String, String)>,
    envelopes: Vec<(String, String, String)>,
    duration_unit: String,
    cpu_unit: String,
    window_s: Option<(f64, f64)>,
    bucket_s: i64,
    borders: Option<Vec<u64>>,
    router: RouterData,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RouterData {
    mounts: Vec<MountData>,
    prefix: Vec<u8>,
    prefix_at_itself: bool,
    methods: Vec<String>,
    fixed: (u32, u32, u32, u32),
    uses_websocket: bool,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct MountData {
    prefix: String,
    domain: Option<String>,
    map: Option<MapData>,
}

/// By text, by pattern (its number, whether it takes the rest, the group of a slash, the child), rules.
type StateData = (Vec<(String, usize)>, Vec<(usize, bool, usize, usize)>, Vec<usize>);
/// Methods, strict, merge, websocket, plain up to, route.
type RuleData = (Option<Vec<String>>, bool, bool, bool, i64, Option<u32>);

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct MapData {
    states: Vec<StateData>,
    rules: Vec<RuleData>,
    /// None for those that only Python may match; whether they are known for ASCII only.
    patterns: Vec<(Option<String>, bool)>,
    merges: bool,
    merges_all: bool,
    refuses_merged: bool,
}

impl PlanData {
    fn plan(self) -> PyResult<Plan> {
        let roles = self.columns.iter().map(|name| role(name)).collect::<PyResult<Vec<Role>>>()?;
        let unit = |name: &str| Unit::named(name).ok_or_else(|| refused(format!("unknown unit {name:?}")));
        let reader = if let Some(pattern) = &self.pattern {
            Reader::Text(TextReader::new(pattern, roles.clone(), &self.ends).map_err(refused)?)
        } else {
            let keys = self.keys.iter().map(|(key, name)| Ok((key.clone(), role(name)?)));
            let reader = JsonReader::new(&keys.collect::<PyResult<Vec<_>>>()?);
            Reader::Json(reader.ok_or_else(|| refused("a key is within another"))?)
        };
        let borders = self.borders.map(|given| Borders::new(given).ok_or_else(|| refused("not borders")));
        if self.bucket_s < 0 || (self.bucket_s > 0 && !roles.contains(&Role::Time)) {
            return Err(refused("no time to make buckets of"));
        }
        Ok(Plan {
            reader,
            envelopes: self.envelopes.into_iter().map(envelope).collect::<PyResult<_>>()?,
            duration: unit(&self.duration_unit)?,
            cpu: unit(&self.cpu_unit)?,
            has_time: roles.contains(&Role::Time),
            window_s: self.window_s,
            bucket_s: self.bucket_s,
            borders: borders.transpose()?,
            router: self.router.router()?,
        })
    }
}

fn role(name: &str) -> PyResult<Role> {
    Role::named(name).ok_or_else(|| refused(format!("unknown role {name:?}")))
}

fn envelope((kind, text, more): (String, String, String)) -> PyResult<Envelope> {
    match kind.as_str() {
        "prefix" => {
            let pattern = compiled(&format!(r"\A(?:{text})")).map_err(refused)?;
            Ok(Envelope::Prefix { pattern, unless: more.bytes().next() })
        }
        "json" => Ok(Envelope::Json { key: text, end: more }),
        _ => Err(refused(format!("unknown envelope {kind:?}"))),
    }
}

impl RouterData {
    fn router(self) -> PyResult<Router> {
        if self.methods.len() > 64 || !self.methods.iter().all(|method| method.is_ascii()) {
            return Err(refused("too many methods, or odd ones"));
        }
        let methods = self.methods;
        let mounts = self.mounts.into_iter().map(|mount| mount.mount(&methods));
        let (unmatched, method_not_allowed, redirect, not_the_app) = self.fixed;
        Ok(Router {
            mounts: mounts.collect::<PyResult<_>>()?,
            prefix: Prefix { at: self.prefix, at_itself: self.prefix_at_itself },
            fixed: Fixed { unmatched, method_not_allowed, redirect, not_the_app },
            uses_websocket: self.uses_websocket,
            methods: methods.into_iter().map(String::into_bytes).collect(),
        })
    }
}

impl MountData {
    fn mount(self, methods: &[String]) -> PyResult<Mount> {
        Ok(Mount {
            prefix: self.prefix.into_bytes(),
            domain: self.domain.map(String::into_bytes),
            map: self.map.map(|map| map.map(methods)).transpose()?,
        })
    }
}

impl MapData {
    fn map(self, methods: &[String]) -> PyResult<UrlMap> {
        let mut patterns = Vec::new();
        for (pattern, ascii_only) in self.patterns {
            let regex = pattern.map(|pattern| part_pattern(&pattern)).transpose().map_err(refused)?;
            patterns.push(Pattern { regex, ascii_only });
        }
        let bits = |known: Vec<String>| {
            methods
                .iter()
                .enumerate()
                .filter(|(_, method)| known.contains(method))
                .map(|(bit, _)| 1 << bit)
                .sum()
        };
        let states = self.states.into_iter().map(|(by_text, by_pattern, rules)| State {
            by_text: by_text.into_iter().map(|(text, child)| (text.into_bytes(), child)).collect(),
            by_pattern: by_pattern
                .into_iter()
                .map(|(pattern, takes_rest, slash, child)| Transition { pattern, takes_rest, slash, child })
                .collect(),
            rules,
        });
        let rules = self.rules.into_iter().map(|(methods, strict, merge, websocket, plain_upto, route)| {
            Rule { methods: methods.map(bits), strict, merge, websocket, plain_upto, route }
        });
        Ok(UrlMap {
            states: states.collect(),
            rules: rules.collect(),
            patterns,
            merges: self.merges,
            merges_all: self.merges_all,
            refuses_merged: self.refuses_merged,
        })
    }
}

/// How to count the lines of a log; shared by workers.
#[pyclass(frozen, name = "Plan")]
struct PyPlan(Arc<Plan>);

#[pymethods]
impl PyPlan {
    /// Raises `ValueError` for a plan that is not understood.
    #[new]
    fn new(data: PlanData) -> PyResult<PyPlan> {
        Ok(PyPlan(Arc::new(data.plan()?)))
    }
}

/// What one thread scans with; it keeps its counts until they are taken.
#[pyclass]
struct Worker {
    plan: Arc<Plan>,
    scan: Scan,
    ask: Py<PyAny>,
    roles: Vec<Role>,
}

#[pymethods]
impl Worker {
    /// `ask` labels a head, the values of `roles` and whether it is a websocket, with a number.
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(plan: &PyPlan, ask: Py<PyAny>, roles: Vec<String>) -> PyResult<Worker> {
        let roles = roles.iter().map(|name| role(name)).collect::<PyResult<_>>()?;
        Ok(Worker { plan: plan.0.clone(), scan: Scan::new(&plan.0), ask, roles })
    }

    /// Scan a range of a file that Python has open: lines, those outside, the period, the residue with
    /// the numbers of its lines, and likewise the lines that do not fit.
    fn scan_file<'py>(
        &mut self,
        py: Python<'py>,
        descriptor: u32,
        offset: u64,
        length: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        py.detach(|| {
            // A descriptor of its own, for the file that is open, whatever name it has by now.
            let file = File::open(format!("/dev/fd/{descriptor}"))?;
            blocks_of_file(&file, offset, length, |block| self.block(block))
        })?;
        self.counted(py)
    }

    /// Scan lines in memory: as `scan_file`.
    #[allow(clippy::needless_pass_by_value)]
    fn scan_bytes<'py>(&mut self, py: Python<'py>, data: PyBackedBytes) -> PyResult<Bound<'py, PyTuple>> {
        py.detach(|| blocks_of_bytes(&data, |block| self.block(block)))?;
        self.counted(py)
    }

    /// How many series are held.
    fn __len__(&self) -> usize {
        self.scan.tally.len()
    }

    /// Take over what another worker of the same plan has counted.
    fn absorb(&mut self, other: &mut Worker) {
        self.scan.tally.absorb(&mut other.scan.tally, self.plan.borders.as_ref());
    }

    /// Hand over so many series: label, status, bucket, untimed, wall, cpu.
    fn take<'py>(&mut self, py: Python<'py>, most: usize) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let taken = self.scan.tally.take(most, self.plan.borders.as_ref());
        taken.into_iter().map(|series| told(py, &series)).collect()
    }

    /// Forget the labels that were asked for.
    fn forget(&mut self) {
        self.scan.memory.forget();
    }
}

impl Worker {
    fn block(&mut self, block: &[u8]) -> PyResult<()> {
        let Worker { plan, scan, ask, roles } = self;
        scan.block(plan, block, &mut |row: &Row, websocket| {
            Python::attach(|py| {
                let values = roles.iter().map(|role| PyBytes::new(py, row.get(*role)));
                let head = PyTuple::new(py, values.collect::<Vec<_>>())?;
                ask.call1(py, (head, websocket))?.extract(py)
            })
        })
    }

    fn counted<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let counted = std::mem::take(&mut self.scan.counted);
        let residue = PyBytes::new(py, &counted.residue);
        let misfits = PyBytes::new(py, &counted.misfits);
        let Counted { lines, outside, first_s, last_s, numbers, misfit_numbers, .. } = counted;
        (lines, outside, first_s, last_s, residue, numbers, misfits, misfit_numbers).into_pyobject(py)
    }
}

fn told<'py>(py: Python<'py>, series: &Series) -> PyResult<Bound<'py, PyTuple>> {
    let key = series.key;
    let bucket_s = (key.bucket_s != NO_BUCKET).then_some(key.bucket_s);
    let (wall, cpu) = (values(py, &series.wall)?, values(py, &series.cpu)?);
    (key.label, key.status, bucket_s, series.untimed, wall, cpu).into_pyobject(py)
}

/// Values as a dictionary of counts, or as a histogram's parts.
fn values<'py>(py: Python<'py>, values: &Values) -> PyResult<Bound<'py, PyAny>> {
    match values {
        Values::Exact(counts) => {
            let made = PyDict::new(py);
            for (value, count) in counts.iter() {
                made.set_item(value, count)?;
            }
            Ok(made.into_any())
        }
        Values::Bounded(histogram) => Ok(parts(py, histogram)?.into_any()),
    }
}

/// Count, sum, minimum, maximum, and the buckets as numbers of 64 bits.
fn parts<'py>(py: Python<'py>, histogram: &Histogram) -> PyResult<Bound<'py, PyTuple>> {
    let Histogram { count, total_us, min_us, max_us, buckets } = histogram;
    let buckets: Vec<u8> = buckets.iter().flat_map(|count| count.to_ne_bytes()).collect();
    (count, total_us, min_us, max_us, PyBytes::new(py, &buckets)).into_pyobject(py)
}

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{PyPlan, Worker};
}
