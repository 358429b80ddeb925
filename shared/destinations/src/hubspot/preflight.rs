//! What can be known to be wrong before a record is sent, from the definitions of the account.

use std::sync::Arc;

use domain::destination_schema::{DestinationField, DestinationSchema};
use domain::equality::Equality;
use domain::fault::Fault;
use domain::finding::{Finding, nearest};
use domain::mode::Mode;
use domain::outcome::WriteError;
use domain::ports::PreflightRequest;
use domain::value::Type;

use super::HubSpotDestination;
use super::object;
use super::properties::{EMAIL, HubSpotProperty, Properties, RECORD_ID};

impl HubSpotDestination {
    /// The object's fields, and what stands in the way of this mapping.
    pub(super) async fn look(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let mut findings = self.api.http.look_at(&self.api.base, &self.about).await?;
        if findings.iter().any(Finding::is_error) {
            return Ok(DestinationSchema { findings, ..DestinationSchema::default() });
        }
        let properties = match object::properties(&self.api, &self.object).await {
            Ok(properties) => Arc::new(properties),
            Err(WriteError::Misconfigured { detail } | WriteError::Refused { detail, .. }) => {
                let fix = "use contacts, companies, deals, or a custom object's fully qualified name or id in destination.object";
                findings.push(Finding::error(
                    format!("object {}", self.object),
                    format!("HubSpot does not describe it: {detail}"),
                    fix,
                ));
                return Ok(DestinationSchema { findings, ..DestinationSchema::default() });
            }
            Err(other) => return Err(self.api.fault(other)),
        };
        self.known.set(&properties);
        let required = self.required(need, &mut findings).await?;
        let identifiers: Vec<&str> =
            need.fields.iter().filter(|(_, identifier)| *identifier).map(|(name, _)| name.as_str()).collect();
        findings.extend(self.identifier(need.mode, &identifiers, &properties));
        self.links(need, &properties, &mut findings).await?;
        let mut fields: Vec<DestinationField> =
            properties.all().into_iter().map(|p| p.field(required.contains(&p.name))).collect();
        for field in &mut fields {
            // It finds the record, and is not written.
            field.read_only &= !(field.name == RECORD_ID && identifiers.contains(&RECORD_ID));
            if field.name == EMAIL {
                field.equality = Equality::IgnoresCase;
            }
        }
        let linked = |name: &str| DestinationField {
            name: name.to_owned(),
            kind: Some(Type::Text),
            ..DestinationField::default()
        };
        fields.extend(
            self.options
                .associations
                .iter()
                .filter(|link| properties.get(&link.field).is_none())
                .map(|link| linked(&link.field)),
        );
        Ok(DestinationSchema { fields: Some(fields), findings })
    }

    /// The properties that a new record must have.
    async fn required(&self, need: PreflightRequest<'_>, findings: &mut Vec<Finding>) -> Result<Vec<String>, Fault> {
        let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Ok(match object::usual(&self.object) {
            custom if object::is_custom(custom) => {
                object::required(&self.api, custom).await.map_err(|e| self.api.fault(e))?
            }
            "deals" => of(&["dealname", "dealstage", "pipeline"]),
            "companies" => {
                let either = need.fields.iter().any(|(name, _)| name == "domain" || name == "name");
                if need.mode != Mode::Update && !either {
                    let fix = "map a column to one of them, or use mode update";
                    findings.push(Finding::error(
                        "mapping",
                        "a new company needs `domain` or `name`, and neither is mapped",
                        fix,
                    ));
                }
                Vec::new()
            }
            _ => Vec::new(),
        })
    }

    /// What is wrong with the field that finds the record.
    fn identifier(&self, mode: Mode, identifiers: &[&str], properties: &Properties) -> Option<Finding> {
        let about = |name: &str, finding: Finding| Some(finding.on_field(name));
        if mode == Mode::Append {
            return None;
        }
        let name = match identifiers {
            [] => return None,
            [only] => *only,
            [_, second, ..] => {
                let fix = "mark one mapped field only as identifier; where it takes several columns, join them in the model's SQL";
                return about(
                    second,
                    Finding::error("", "HubSpot finds a record by one property, and there is another identifier", fix),
                );
            }
        };
        let contacts = object::usual(&self.object) == "contacts";
        if name == RECORD_ID {
            let fix = "use mode update, or an identifier with unique values";
            return (mode != Mode::Update).then(|| {
                Finding::error(
                    "",
                    format!("mode {mode} creates records, and HubSpot gives a new record its id itself"),
                    fix,
                )
                .on_field(name)
            });
        }
        if name == EMAIL && contacts {
            let what = "HubSpot takes no part of a request that upserts by `email`: one bad record refuses its whole batch, which is then sent again in halves";
            let fix = "better find contacts by a property of your own that requires unique values";
            return (mode != Mode::Update).then(|| Finding::warning("", what, fix).on_field(name));
        }
        // Which field there is not is the mapping's finding.
        let property = properties.get(name)?;
        if property.unique {
            return None;
        }
        let unique: Vec<&HubSpotProperty> =
            properties.all().into_iter().filter(|p| p.unique || (contacts && p.name == EMAIL)).collect();
        let names: Vec<&str> = unique.iter().map(|p| p.name.as_str()).collect();
        let near =
            nearest(name, names.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let fix = match names.is_empty() {
            true => "create a property that requires unique values (at most 10 to an object), and fill it with the model's key".to_owned(),
            false => format!("{near}these have unique values: {}", names.join(", ")),
        };
        about(
            name,
            Finding::error(
                "",
                format!("property `{name}` does not require unique values, so HubSpot finds no record by it"),
                fix,
            ),
        )
    }

    /// What is wrong with the links to other objects.
    async fn links(
        &self,
        need: PreflightRequest<'_>,
        properties: &Properties,
        findings: &mut Vec<Finding>,
    ) -> Result<(), Fault> {
        for link in &self.options.associations {
            let about = format!("destination.options.associations: {}", link.field);
            if properties.get(&link.field).is_some() {
                let fix =
                    "give the field another name in the mapping and in the association, such as the other object's";
                findings.push(Finding::error(
                    &about,
                    format!("`{}` is a property of {}, so it cannot hold the key of a link", link.field, self.object),
                    fix,
                ));
            }
            match need.fields.iter().find(|(name, _)| *name == link.field) {
                None => {
                    let near = nearest(&link.field, need.fields.iter().map(|(name, _)| name.as_str()));
                    let fix = near.map_or_else(
                        || format!("map a column to `{}`", link.field),
                        |near| format!("did you mean `{near}`?"),
                    );
                    findings.push(Finding::error(&about, "no line of the mapping gives its key", fix));
                }
                Some((_, true)) => findings.push(Finding::error(
                    &about,
                    "the key of a link cannot identify the record",
                    "mark another field as identifier",
                )),
                Some(_) => {}
            }
            match object::properties(&self.api, &link.to).await {
                Ok(other) => findings.extend(findable(&about, &link.to, &link.by, &other)),
                Err(WriteError::Misconfigured { detail } | WriteError::Refused { detail, .. }) => {
                    findings.push(Finding::error(
                        &about,
                        format!("HubSpot does not describe `{}`: {detail}", link.to),
                        "correct `to`",
                    ));
                }
                Err(error) => return Err(self.api.fault(error)),
            }
            match self.known.link_type(&self.api, &self.object, link).await {
                Ok(_) => {}
                Err(WriteError::Misconfigured { detail } | WriteError::Refused { detail, .. }) => {
                    findings.push(Finding::error(
                        &about,
                        detail,
                        "give `type_id` and `category`, as Settings → Objects → Associations shows them",
                    ));
                }
                Err(error) => return Err(self.api.fault(error)),
            }
        }
        Ok(())
    }
}

/// What is wrong with the property by which the other record is found.
fn findable(about: &str, to: &str, by: &str, other: &Properties) -> Option<Finding> {
    if by == RECORD_ID || (by == EMAIL && object::usual(to) == "contacts") {
        return None;
    }
    let names = |unique: bool| other.all().into_iter().filter(move |p| p.unique || !unique).map(|p| p.name.as_str());
    match other.get(by) {
        Some(property) if property.unique => None,
        Some(_) => {
            let listed = names(true).chain([RECORD_ID]).collect::<Vec<_>>().join(", ");
            Some(Finding::error(
                about,
                format!("property `{by}` of {to} does not require unique values"),
                format!("use one of: {listed}"),
            ))
        }
        None => {
            let fix = nearest(by, names(false))
                .map_or_else(|| "correct `by`".to_owned(), |near| format!("did you mean `{near}`?"));
            Some(Finding::error(about, format!("{to} have no property `{by}`"), fix))
        }
    }
}
