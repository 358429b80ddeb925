//! Compiling the mapping: every line against the model's columns and the destination's fields, so that
//! what can never work is found before a run begins.

use std::collections::BTreeMap;

use super::coerce::{self, Fit};
use super::field::{FieldProgram, OnNull, Source, ValueSteps};
use super::transform::TransformStep;
use super::validate::Check;
use crate::cells;
use crate::destination_schema::{DestinationField, DestinationSchema};
use crate::finding::{Finding, nearest};
use crate::layout::Field;
use crate::mode::Mode;
use crate::row::Column;
use crate::sync::{FieldMapping, Nulls, Sync, Transform, ValidationRule};
use crate::value::{Type, Value};

/// How many names a finding lists.
const LISTED: usize = 20;

/// The fields with their plans, in the order of the file, and everything that was found. Fields of lines
/// with an error are left out.
pub(super) fn compile(
    sync: &Sync,
    columns: &[Column],
    schema: &DestinationSchema,
) -> (Vec<(Field, FieldProgram)>, Vec<Finding>) {
    let mut findings = Vec::new();
    for key in &sync.model.key {
        if !columns.iter().any(|c| c.name == *key) {
            findings.push(Finding::error(
                "model.key",
                format!("the model has no column `{key}`"),
                suggest(key, "model", columns.iter().map(|c| &*c.name)),
            ));
        }
    }
    let fields = sync
        .mapping
        .iter()
        .filter_map(|line| Line::new(sync, line, columns, schema, &mut findings).compile())
        .collect();
    unmapped(sync, schema, &mut findings);
    (fields, findings)
}

/// Fields that a new record needs and no line maps.
fn unmapped(sync: &Sync, schema: &DestinationSchema, findings: &mut Vec<Finding>) {
    if sync.mode == Mode::Update {
        return;
    }
    for field in schema.fields.iter().flatten().filter(|f| f.required && !f.read_only) {
        if !sync.mapping.iter().any(|m| m.to == field.name) {
            let name = &field.name;
            let fix = format!("add a line `{{ from: column, to: {name} }}`, or a constant, or use mode update");
            findings.push(Finding::error(
                "mapping",
                format!("field `{name}` is required by the destination and not mapped"),
                fix,
            ));
        }
    }
}

/// "did you mean" and what there is.
fn suggest<'a>(name: &str, owner: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let count = known.clone().count();
    let mut fix = nearest(name, known.clone()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    fix.push_str(&format!("the {owner} has: {}", known.take(LISTED).collect::<Vec<_>>().join(", ")));
    if count > LISTED {
        fix.push_str(&format!(" and {} more", count - LISTED));
    }
    fix
}

/// One line while it is compiled.
struct Line<'a> {
    line: &'a FieldMapping,
    about: String,
    columns: &'a [Column],
    schema: &'a DestinationSchema,
    mode: Mode,
    rules: Vec<&'a ValidationRule>,
    findings: &'a mut Vec<Finding>,
    failed: bool,
}

impl<'a> Line<'a> {
    fn new(
        sync: &'a Sync,
        line: &'a FieldMapping,
        columns: &'a [Column],
        schema: &'a DestinationSchema,
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        let about = super::line(line);
        let rules = sync.validate.iter().filter(|r| r.field == line.to).collect();
        Self { line, about, columns, schema, mode: sync.mode, rules, findings, failed: false }
    }

    fn error(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.failed = true;
        self.findings.push(Finding::error(&self.about, what, fix));
    }

    fn compile(mut self) -> Option<(Field, FieldProgram)> {
        let line = self.line;
        let destination = self.destination();
        let constant = line.constant.as_ref().map(Given::new);
        let (column, given) = match (&line.from, &constant) {
            (Some(_), None) => self.column()?,
            (None, Some(constant)) => (0, constant.kind()),
            (None, None) => {
                self.error("the line has neither `from` nor `constant`", "name a column or give a constant");
                return None;
            }
            (Some(_), Some(_)) => {
                self.error("the line has both `from` and `constant`", "keep one of them");
                return None;
            }
        };

        let wanted = destination.and_then(|d| d.kind).filter(|kind| *kind != Type::Any);
        let (steps, kind) = self.steps(given, wanted)?;
        if !line.values.is_empty() && kind == Type::Bytes {
            self.error(
                "`values` compares text, and the column is bytes",
                "encode the column as text in the model's SQL",
            );
        }
        let mapped = if line.values.is_empty() { kind } else { Type::Text };
        // A constant, and what `values` gives, is looked at itself instead of its type.
        if line.from.is_some() && line.values.is_empty() {
            self.fit(mapped, wanted, given);
        }
        let kind = wanted.unwrap_or(mapped);
        let checks = self.checks(destination, kind);
        let refine = ValueSteps {
            steps,
            values: BTreeMap::new(),
            kind: Some(kind).filter(|k| *k != Type::Any),
            checks,
            buffer: String::new(),
        };
        self.finish(destination, constant, column, kind, refine)
    }

    /// Compiles what is left: `values`, the constant, the default and what a null does.
    fn finish(
        mut self,
        destination: Option<&DestinationField>,
        constant: Option<Given>,
        column: usize,
        kind: Type,
        mut refine: ValueSteps,
    ) -> Option<(Field, FieldProgram)> {
        let line = self.line;
        self.values(&mut refine, destination);
        refine.values.clone_from(&line.values);
        let source = match constant {
            Some(constant) => Source::Constant(self.given("constant", &constant, &mut refine)?),
            None => Source::Column(column, self.empty(destination, &mut refine)?),
        };
        self.case(kind);
        let field = Field { name: line.to.clone(), kind, identifier: line.identifier };
        (!self.failed).then(|| (field, FieldProgram { field: line.to.clone(), source, refine }))
    }

    /// The column's position and type.
    fn column(&mut self) -> Option<(usize, Type)> {
        let name = self.line.from.as_deref()?;
        let columns = self.columns;
        let found = columns.iter().position(|c| c.name == name);
        if found.is_none() {
            self.error(
                format!("the model has no column `{name}`"),
                suggest(name, "model", columns.iter().map(|c| &*c.name)),
            );
        }
        found.map(|at| (at, columns[at].kind))
    }

    /// The destination's field, where the destination says which it has.
    fn destination(&mut self) -> Option<&'a DestinationField> {
        let fields = self.schema.fields.as_ref()?;
        let to = &self.line.to;
        let Some(field) = fields.iter().find(|f| f.name == *to) else {
            let fix = suggest(to, "destination", fields.iter().filter(|f| !f.read_only).map(|f| &*f.name));
            self.error(format!("the destination has no field `{to}`"), fix);
            return None;
        };
        if field.read_only {
            self.error(
                format!("field `{to}` cannot be written"),
                "remove the line: the destination sets this field itself",
            );
        }
        if field.not_null
            && self.line.nulls == Some(Nulls::Clear)
            && self.line.default.is_none()
            && self.line.from.is_some()
        {
            self.error(
                format!("field `{to}` does not take null, and `nulls: clear` would send it"),
                "use `nulls: ignore` or give a `default`",
            );
        }
        Some(field)
    }

    fn steps(&mut self, kind: Type, wanted: Option<Type>) -> Option<(Vec<TransformStep>, Type)> {
        let line = self.line;
        let mut steps = Vec::new();
        let mut kind = kind;
        for (at, transform) in line.transform.iter().enumerate() {
            let last = at + 1 == line.transform.len() && line.values.is_empty();
            match TransformStep::compile(transform, kind, !last || wanted == Some(Type::Text)) {
                Ok((step, next)) => {
                    steps.push(step);
                    kind = next;
                }
                Err(problem) => {
                    self.error(problem.what, problem.fix);
                    return None;
                }
            }
        }
        Some((steps, kind))
    }

    /// The types, where they alone decide.
    fn fit(&mut self, kind: Type, wanted: Option<Type>, given: Type) {
        let Some(wanted) = wanted else { return };
        if coerce::fit(kind, wanted) != Fit::Never {
            return;
        }
        let (from, to) = (self.line.from.as_deref().unwrap_or_default(), &self.line.to);
        if kind == given {
            self.error(
                format!("column `{from}` is {given} and field `{to}` takes {wanted}"),
                coerce::mend(kind, wanted, from),
            );
        } else {
            let what =
                format!("column `{from}` is {given}, {kind} after its transforms, and field `{to}` takes {wanted}");
            self.error(what, format!("change the transforms, or cast the column to {wanted} in the model's SQL"));
        }
    }

    /// The destination's limits, then the file's rules.
    fn checks(&mut self, destination: Option<&DestinationField>, kind: Type) -> Vec<Check> {
        let mut out = destination.map(Check::of_field).unwrap_or_default();
        if self.line.identifier {
            out.push(Check::NotEmpty("must not be empty, because it identifies the record"));
        }
        for check in self.rules.iter().flat_map(|rule| Check::of_rule(rule)).collect::<Vec<_>>() {
            if check.suits(kind) {
                out.push(check);
            } else {
                self.error(
                    format!("the rule \"{}\" cannot hold for {kind}", check.sentence()),
                    "remove the rule, or bring the field to another type",
                );
            }
        }
        out
    }

    /// Every value that `values` can give, held against the field.
    fn values(&mut self, refine: &mut ValueSteps, destination: Option<&DestinationField>) {
        for (from, to) in &self.line.values {
            let Err(refusal) = refine.settle(to).map(|_| ()) else { continue };
            let allowed = destination.and_then(|d| d.one_of.as_ref()).filter(|allowed| !allowed.contains(to));
            match allowed {
                Some(allowed) => {
                    let owner = format!("field `{}`", self.line.to);
                    let fix = suggest(to, &owner, allowed.iter().map(String::as_str));
                    self.error(format!("`values` maps `{from}` to `{to}`, which the destination does not take"), fix);
                }
                None => self.error(
                    format!("`values` maps `{from}` to `{to}`, which {}", refusal.rule),
                    "change what `values` gives, or map another field",
                ),
            }
        }
    }

    /// A constant or a default as the cell that goes into the record.
    fn given(&mut self, what: &str, given: &Given, refine: &mut ValueSteps) -> Option<Vec<u8>> {
        let mut cell = Vec::new();
        match refine.apply(given.value()) {
            Ok(value) => cells::push(&mut cell, value),
            Err(refusal) => {
                let fix = match refine.values.is_empty() {
                    true => format!("give a {what} that does"),
                    false => {
                        format!("give a {what} that is one of the keys of `values`: it stands for the column's value")
                    }
                };
                let (kind, rule) = (refusal.got, refusal.rule);
                self.error(format!("the {what} ({kind}) {}", broken(&rule)), fix);
                return None;
            }
        }
        Some(cell)
    }

    /// What a null does.
    fn empty(&mut self, destination: Option<&DestinationField>, refine: &mut ValueSteps) -> Option<OnNull> {
        let line = self.line;
        if let Some(default) = &line.default {
            return Some(OnNull::Cell(self.given("default", &Given::new(default), refine)?));
        }
        if line.identifier {
            return Some(OnNull::Refuse("must not be null"));
        }
        if self.rules.iter().any(|r| r.required) {
            return Some(OnNull::Refuse("must not be null or empty"));
        }
        if self.mode == Mode::Append && destination.is_some_and(|d| d.required) {
            return Some(OnNull::Refuse("must not be null, because the destination needs it for a new record"));
        }
        let mut cell = Vec::new();
        cells::push(&mut cell, if line.nulls == Some(Nulls::Clear) { Value::Null } else { Value::Missing });
        Some(OnNull::Cell(cell))
    }

    /// Warns of identifiers that differ for us and are the same for the destination.
    fn case(&mut self, kind: Type) {
        let line = self.line;
        let one_case =
            line.transform.iter().any(|t| matches!(t, Transform::Lowercase | Transform::Uppercase | Transform::Sha256));
        if self.schema.equality(&line.to).may_ignore_case()
            && line.identifier
            && !one_case
            && matches!(kind, Type::Text | Type::Any)
        {
            self.findings.push(Finding::warning(
                &self.about,
                "the destination finds records by this field without regard to case, and the mapping keeps it",
                "add `transform: [trim, lowercase]`, so that two spellings cannot overwrite each other",
            ));
        }
    }
}

/// A rule as the end of "the constant …".
fn broken(rule: &str) -> String {
    match rule.strip_prefix("must ") {
        Some(rest) => format!("does not fit: it must {rest}"),
        None => rule.strip_suffix(": cast it in SQL").unwrap_or(rule).to_owned(),
    }
}

/// A constant or default out of the sync file.
enum Given {
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(String),
    Text(String),
    Json(String),
    Null,
}

impl Given {
    fn new(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Given::Null,
            serde_json::Value::Bool(v) => Given::Bool(*v),
            serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(v), ..) => Given::Int(v),
                (None, Some(v), _) => Given::Decimal(v.to_string()),
                (None, None, Some(v)) => Given::Float(v),
                (None, None, None) => Given::Decimal(n.to_string()),
            },
            serde_json::Value::String(v) => Given::Text(v.clone()),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Given::Json(json.to_string()),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Given::Bool(v) => Value::Bool(*v),
            Given::Int(v) => Value::Int(*v),
            Given::Float(v) => Value::Float(*v),
            Given::Decimal(v) => Value::Decimal(v),
            Given::Text(v) => Value::Text(v),
            Given::Json(v) => Value::Json(v),
            Given::Null => Value::Null,
        }
    }

    fn kind(&self) -> Type {
        match self {
            Given::Bool(_) => Type::Bool,
            Given::Int(_) => Type::Int,
            Given::Float(_) => Type::Float,
            Given::Decimal(_) => Type::Decimal,
            Given::Text(_) => Type::Text,
            Given::Json(_) => Type::Json,
            Given::Null => Type::Any,
        }
    }
}
