//! Preflight: what the object is like, by its describe. Not here: comparing types, which the mapping does.

use domain::destination_schema::{DestinationField, DestinationSchema};
use domain::equality::Equality;
use domain::finding::{Finding, nearest};
use domain::mode::Mode;
use domain::outcome::WriteError;
use domain::ports::PreflightRequest;
use domain::value::Type;
use serde::Deserialize;
use serde_json::Value;

use super::SalesforceDestination;
use super::encode::{ID, Lookup};

/// An object as Salesforce describes it; what is not needed is left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectDescription {
    #[serde(default)]
    pub(super) key_prefix: Option<String>,
    #[serde(default = "yes")]
    createable: bool,
    #[serde(default = "yes")]
    updateable: bool,
    #[serde(default = "yes")]
    deletable: bool,
    fields: Vec<SObjectField>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SObjectField {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    createable: bool,
    updateable: bool,
    nillable: bool,
    defaulted_on_create: bool,
    external_id: bool,
    id_lookup: bool,
    case_sensitive: bool,
    length: usize,
    precision: u32,
    scale: u32,
    restricted_picklist: bool,
    picklist_values: Vec<Pick>,
    reference_to: Vec<String>,
    relationship_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Pick {
    value: String,
    active: bool,
}

impl SObjectField {
    fn required(&self) -> bool {
        self.createable && !self.nillable && !self.defaulted_on_create && self.kind != "boolean"
    }

    fn kind(&self) -> Option<Type> {
        Some(match self.kind.as_str() {
            "boolean" => Type::Bool,
            "int" | "long" => Type::Int,
            "double" | "currency" | "percent" => Type::Decimal,
            "date" => Type::Date,
            "datetime" => Type::Timestamp,
            "time" => Type::Time,
            "base64" => Type::Bytes,
            _ => Type::Text,
        })
    }

    fn is_key(&self) -> bool {
        self.external_id || self.id_lookup
    }

    /// Compounds are written by their parts.
    fn is_compound(&self) -> bool {
        matches!(self.kind.as_str(), "address" | "location")
    }

    fn describe(&self, mode: Mode) -> DestinationField {
        let kind = self.kind();
        let writable = match mode {
            Mode::Append => self.createable,
            Mode::Update => self.updateable,
            Mode::Upsert | Mode::Mirror => self.createable || self.updateable,
        };
        let number = matches!(kind, Some(Type::Decimal));
        let picks = self.restricted_picklist && self.kind == "picklist";
        DestinationField {
            name: self.name.clone(),
            kind,
            // The id finds a record, and is never written itself.
            read_only: self.is_compound() || !(writable || mode == Mode::Update && self.name == ID),
            required: self.required(),
            not_null: !self.nillable && self.kind != "boolean",
            max_length: (kind == Some(Type::Text) && self.length > 0 && self.picklist_values.is_empty())
                .then_some(self.length),
            precision: (number && self.precision > 0).then_some((self.precision, self.scale)),
            range: (self.kind == "int").then_some((i64::from(i32::MIN), i64::from(i32::MAX))),
            one_of: picks.then(|| self.picklist_values.iter().filter(|p| p.active).map(|p| p.value.clone()).collect()),
            equality: match kind {
                Some(Type::Text) if self.name != ID && !self.case_sensitive => Equality::IgnoresCase,
                _ => Equality::Exact,
            },
        }
    }
}

impl SalesforceDestination {
    /// Describes an object; `None` when there is none of that name.
    pub(super) async fn describe(&self, object: &str) -> Result<Option<ObjectDescription>, WriteError> {
        let Some(reply) = self.session.find(&format!("/sobjects/{object}/describe")).await? else { return Ok(None) };
        let unreadable =
            |_| WriteError::Misconfigured { detail: format!("the description of {object} cannot be read") };
        serde_json::from_slice(&reply.body).map(Some).map_err(unreadable)
    }

    pub(super) async fn schema(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, WriteError> {
        let Some(object) = self.describe(&self.object).await? else {
            return Ok(DestinationSchema { findings: vec![self.no_object().await?], ..DestinationSchema::default() });
        };
        let mut schema = DestinationSchema::default();
        let mut fields: Vec<DestinationField> = object.fields.iter().map(|f| f.describe(need.mode)).collect();
        self.object_findings(&object, need.mode, &mut schema.findings);
        for (name, _) in need.fields {
            let Some(lookup) = Lookup::of(name) else { continue };
            let Some(reference) =
                object.fields.iter().find(|f| f.relationship_name.as_deref() == Some(lookup.relationship))
            else {
                continue;
            };
            // The parent is given, in another way.
            fields.iter_mut().filter(|f| f.name == reference.name).for_each(|f| f.required = false);
            let (field, finding) = self.parent(name, lookup, reference, need.mode).await?;
            fields.push(field);
            schema.findings.extend(finding);
        }
        let relationships = object.fields.iter().filter_map(|f| f.relationship_name.as_deref());
        for (name, _) in need.fields {
            if let Some(lookup) = Lookup::of(name).filter(|_| !fields.iter().any(|f| f.name == *name)) {
                let known: Vec<&str> = relationships.clone().collect();
                let fix = nearest(lookup.relationship, known.iter().copied()).map_or_else(
                    || format!("it has {}", known.join(", ")),
                    |n| format!("did you mean `{n}.{}`?", lookup.field),
                );
                schema.findings.push(Finding::error(
                    about(name),
                    format!("{} has no relationship `{}`", self.object, lookup.relationship),
                    fix,
                ));
            }
        }
        self.identifier(&object, need, &mut schema.findings);
        schema.fields = Some(fields);
        Ok(schema)
    }

    fn object_findings(&self, object: &ObjectDescription, mode: Mode, findings: &mut Vec<Finding>) {
        let needs = [
            (mode != Mode::Update && !object.createable, "create"),
            (mode != Mode::Append && !object.updateable, "update"),
            (mode == Mode::Mirror && !object.deletable, "delete"),
        ];
        for (_, what) in needs.into_iter().filter(|(missing, _)| *missing) {
            let text = format!("the user may not {what} records of {}, which mode {mode} does", self.object);
            findings.push(Finding::error(
                &self.about,
                text,
                "give the user's profile or permission set that right, or use another mode",
            ));
        }
    }

    /// Findings about the identifier.
    fn identifier(&self, object: &ObjectDescription, need: PreflightRequest<'_>, findings: &mut Vec<Finding>) {
        let identifiers: Vec<&str> =
            need.fields.iter().filter(|(_, identifier)| *identifier).map(|(name, _)| name.as_str()).collect();
        if need.mode == Mode::Append {
            return;
        }
        let [name] = identifiers[..] else {
            let what = format!(
                "mode {} finds records by exactly one field, and the mapping has {} identifiers",
                need.mode,
                identifiers.len()
            );
            findings.push(Finding::error("mapping", what, "mark one external id as `identifier: true`"));
            return;
        };
        let Some(field) = object.fields.iter().find(|f| f.name == name) else { return };
        let keys: Vec<&str> = object.fields.iter().filter(|f| f.external_id).map(|f| f.name.as_str()).collect();
        let others = || {
            if keys.is_empty() {
                format!("make a field of {} an external id", self.object)
            } else {
                format!("use one of {}", keys.join(", "))
            }
        };
        if name == ID && need.mode != Mode::Update {
            findings.push(Finding::error(
                about(name),
                format!("mode {} cannot find records by `{ID}`", need.mode),
                format!("use mode update, or {}", others()),
            ));
        } else if name != ID && !field.is_key() {
            findings.push(Finding::error(
                about(name),
                "it is not an external id, so records cannot be found by it",
                others(),
            ));
        } else if name != ID && !field.external_id && need.mode != Mode::Update {
            findings.push(Finding::warning(
                about(name),
                "it can be looked up by and is not an external id; collections may refuse it",
                others(),
            ));
        }
    }

    /// A parent's external id as a field of the object.
    async fn parent(
        &self,
        name: &str,
        lookup: Lookup<'_>,
        reference: &SObjectField,
        mode: Mode,
    ) -> Result<(DestinationField, Option<Finding>), WriteError> {
        let unknown = DestinationField { name: name.to_owned(), ..DestinationField::default() };
        let error = |what: String, fix: String| Ok((unknown.clone(), Some(Finding::error(about(name), what, fix))));
        let parents = reference.reference_to.join(", ");
        let parent = match (lookup.parent, reference.reference_to.as_slice()) {
            (Some(parent), all) if all.iter().any(|a| a == parent) => parent,
            (Some(parent), _) => {
                return error(
                    format!("`{}` refers to {parents}, never to {parent}", reference.name),
                    "name one of those".into(),
                );
            }
            (None, [one]) => one.as_str(),
            (None, _) => {
                let fix = format!("name which, as `Account:{}.{}`", lookup.relationship, lookup.field);
                return error(format!("`{}` may refer to {parents}", reference.name), fix);
            }
        };
        let Some(described) = self.describe(parent).await? else {
            return error(format!("the user sees no object {parent}"), "give the user the right to read it".into());
        };
        let keys: Vec<&str> =
            described.fields.iter().filter(|f| f.is_key() && f.name != ID).map(|f| f.name.as_str()).collect();
        match described.fields.iter().find(|f| f.name == lookup.field) {
            Some(key) if key.is_key() => {
                let of_parent = key.describe(mode);
                let own = reference.describe(mode);
                let field = DestinationField {
                    name: name.to_owned(),
                    read_only: own.read_only,
                    required: false,
                    not_null: own.not_null,
                    ..of_parent
                };
                Ok((field, None))
            }
            Some(_) => error(
                format!("`{}` of {parent} is not an external id", lookup.field),
                format!("use one of {}", keys.join(", ")),
            ),
            None => {
                let near = nearest(lookup.field, keys.iter().copied())
                    .map(|n| format!("did you mean `{n}`? "))
                    .unwrap_or_default();
                error(
                    format!("{parent} has no field `{}`", lookup.field),
                    format!("{near}its external ids are {}", keys.join(", ")),
                )
            }
        }
    }

    async fn no_object(&self) -> Result<Finding, WriteError> {
        let reply = self.session.get("/sobjects").await?;
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let names: Vec<&str> = json
            .get("sobjects")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|o| o.get("name")?.as_str())
            .collect();
        let fix = nearest(&self.object, names).map_or_else(
            || "check the name, and the user's right to see it".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Ok(Finding::error(&self.about, format!("the org has no object `{}`", self.object), fix))
    }
}

fn about(name: &str) -> String {
    format!("mapping: {name}")
}
