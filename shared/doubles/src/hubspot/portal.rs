//! What an account holds: objects with their properties and records, links between records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::gate::{Gate, ReceivedRequest};
use super::property::{PropertyDefinition, PropertyType};

/// A record's properties by name; empty ones are not there.
pub type PropertyValues = BTreeMap<String, String>;

/// An object type with its records.
#[derive(Debug, Clone, Default)]
pub struct CrmObject {
    /// `0-1`, `2-77` …
    pub type_id: String,
    /// Its properties, by name.
    pub properties: BTreeMap<String, PropertyDefinition>,
    /// What a new record must have.
    pub required: Vec<String>,
    /// The records, by id. Changed by [`CrmObject::put`] and [`CrmObject::remove`] only.
    pub records: BTreeMap<u64, PropertyValues>,
    /// Where unique values are: by property, then by value.
    index: HashMap<String, HashMap<String, u64>>,
}

impl CrmObject {
    fn new(type_id: &str, properties: Vec<PropertyDefinition>) -> Self {
        let own = PropertyDefinition::new("hs_object_id", PropertyType::Number).read_only();
        let properties = properties.into_iter().chain([own]).map(|p| (p.name.clone(), p)).collect();
        Self { type_id: type_id.into(), properties, ..Self::default() }
    }

    /// The record that has this value of a property, as HubSpot compares it; contacts also by further addresses.
    pub fn find(&self, property: &str, value: &str) -> Option<u64> {
        let property = self.properties.get(property).filter(|p| p.is_unique())?;
        let value = if property.kind == PropertyType::Email { value.trim().to_lowercase() } else { value.to_owned() };
        self.index.get(&property.name)?.get(&value).copied()
    }

    pub fn put(&mut self, id: u64, fields: PropertyValues) {
        self.remove(id);
        for (property, value) in self.unique_values(&fields) {
            self.index.entry(property).or_default().insert(value, id);
        }
        self.records.insert(id, fields);
    }

    pub fn remove(&mut self, id: u64) {
        let Some(fields) = self.records.remove(&id) else { return };
        for (property, value) in self.unique_values(&fields) {
            if let Some(values) = self.index.get_mut(&property).filter(|values| values.get(&value) == Some(&id)) {
                values.remove(&value);
            }
        }
    }

    /// The values by which a record is found, each with its property; an address also among further ones.
    fn unique_values(&self, fields: &PropertyValues) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for property in self.properties.values().filter(|p| p.is_unique()) {
            let more = fields.get("hs_additional_emails").filter(|_| property.kind == PropertyType::Email);
            let values = fields
                .get(&property.name)
                .into_iter()
                .map(String::as_str)
                .chain(more.into_iter().flat_map(|all| all.split(';')));
            out.extend(values.filter(|value| !value.is_empty()).map(|value| (property.name.clone(), value.to_owned())));
        }
        out
    }

    /// The records by a property's value; those without one are left out.
    pub fn by(&self, property: &str) -> BTreeMap<String, PropertyValues> {
        self.records.values().filter_map(|fields| Some((fields.get(property)?.clone(), fields.clone()))).collect()
    }
}

/// A link between two records: from, to, and its type.
pub type Link = (String, u64, String, u64, u64);

#[derive(Debug)]
pub struct Portal {
    pub id: u64,
    /// The objects by name: `contacts`, `companies`, `deals`, and custom ones by their fully qualified name.
    pub objects: BTreeMap<String, CrmObject>,
    pub links: BTreeSet<Link>,
    /// Tokens, quota and faults: what stands before every request.
    pub gate: Gate,
    /// Every request, in order.
    pub requests: Vec<ReceivedRequest>,
    /// Inputs that wrote what was there already.
    pub idle_writes: u64,
    /// A request for links of which one cannot be made is refused as a whole.
    pub refuses_links_whole: bool,
    /// Results carry the trace id of their input. The documentation does not promise it.
    pub echoes_trace_ids: bool,
    last_id: u64,
}

impl Default for Portal {
    /// An account with the usual properties of the standard objects, and no record.
    fn default() -> Self {
        let text = |name: &str| PropertyDefinition::new(name, PropertyType::Text);
        let lifecycle =
            [("subscriber", "Subscriber"), ("lead", "Lead"), ("opportunity", "Opportunity"), ("customer", "Customer")];
        let contacts = vec![
            PropertyDefinition::new("email", PropertyType::Email),
            text("firstname"),
            text("lastname"),
            text("phone"),
            text("hs_additional_emails").read_only(),
            PropertyDefinition::new("createdate", PropertyType::DateTime).read_only(),
            PropertyDefinition::new("lifecyclestage", PropertyType::Select).options(&lifecycle),
        ];
        let companies = vec![
            text("name"),
            text("domain"),
            text("city"),
            PropertyDefinition::new("numberofemployees", PropertyType::Number),
        ];
        let deals = vec![
            text("dealname"),
            PropertyDefinition::new("dealstage", PropertyType::Select)
                .options(&[("appointmentscheduled", "Appointment scheduled"), ("closedwon", "Closed won")]),
            PropertyDefinition::new("pipeline", PropertyType::Select).options(&[("default", "Sales")]),
            PropertyDefinition::new("amount", PropertyType::Number),
            PropertyDefinition::new("closedate", PropertyType::DateTime),
        ];
        let mut deals = CrmObject::new("0-3", deals);
        deals.required = ["dealname", "dealstage", "pipeline"].map(str::to_owned).to_vec();
        Self {
            id: 24_681,
            refuses_links_whole: false,
            objects: [
                ("contacts", CrmObject::new("0-1", contacts)),
                ("companies", CrmObject::new("0-2", companies)),
                ("deals", deals),
            ]
            .into_iter()
            .map(|(name, object)| (name.to_owned(), object))
            .collect(),
            links: BTreeSet::new(),
            gate: Gate::default(),
            requests: Vec::new(),
            idle_writes: 0,
            echoes_trace_ids: true,
            last_id: 100,
        }
    }
}

impl Portal {
    /// Adds a property to an object.
    pub fn define(&mut self, object: &str, property: PropertyDefinition) {
        if let Some(object) = self.objects.get_mut(object) {
            object.properties.insert(property.name.clone(), property);
        }
    }

    /// Adds a custom object with this fully qualified name (`p1_cars`).
    pub fn define_object(&mut self, name: &str, required: &[&str], properties: Vec<PropertyDefinition>) {
        let type_id = format!("2-{}", 76 + self.objects.len());
        let mut object = CrmObject::new(&type_id, properties);
        object.required = required.iter().map(|r| (*r).to_owned()).collect();
        self.objects.insert(name.to_owned(), object);
    }

    /// Adds a record as a user of the account would, unchecked, and gives its id.
    pub fn add(&mut self, object: &str, fields: &[(&str, &str)]) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if let Some(object) = self.objects.get_mut(object) {
            object.put(id, fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        }
        id
    }

    /// The next record id.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The object by any of its names.
    pub(super) fn resolve(&self, name: &str) -> Option<String> {
        let plural = |singular: &str| match singular {
            "contact" => "contacts",
            "company" => "companies",
            "deal" => "deals",
            _ => "",
        };
        let known = |(key, object): &(&String, &CrmObject)| {
            key.as_str() == name || object.type_id == name || key.as_str() == plural(name)
        };
        self.objects.iter().find(known).map(|(key, _)| key.clone())
    }

    /// Requests that were answered 429.
    pub fn refused(&self) -> usize {
        self.requests.iter().filter(|seen| seen.status == 429).count()
    }

    /// Requests of this operation (`upsert`, `read`, `properties` …) that were answered at all.
    pub fn count(&self, operation: &str) -> usize {
        self.requests.iter().filter(|seen| seen.operation == operation).count()
    }

    /// Forgets the requests; keeps records, quota and faults.
    pub fn forget(&mut self) {
        self.requests.clear();
        self.idle_writes = 0;
    }
}
