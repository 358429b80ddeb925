//! What HubSpot says of the objects a sync touches: properties, required ones, association types. Asked once and
//! kept for as long as the connection is open; preflight asks anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::outcome::WriteError;
use serde_json::Value;

use super::api::Api;
use super::config::{Association, Category};
use super::properties::Properties;

/// An association type: whose, and which.
pub(super) type LinkType = (Category, u64);

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct KnownObject {
    properties: Mutex<Option<Arc<Properties>>>,
    link_types: Mutex<HashMap<String, LinkType>>,
    /// Held while HubSpot is asked, so that writers who begin together ask once.
    asking: tokio::sync::Mutex<()>,
}

impl KnownObject {
    /// The properties of the sync's object, asked for where they are not known.
    pub(super) async fn properties(&self, api: &Api, object: &str) -> Result<Arc<Properties>, WriteError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let read = Arc::new(properties(api, object).await?);
        self.set(&read);
        Ok(read)
    }

    /// The properties of the sync's object, if they are known.
    pub(super) fn known(&self) -> Option<Arc<Properties>> {
        lock(&self.properties).clone()
    }

    /// Remembers properties that were asked for.
    pub(super) fn set(&self, properties: &Arc<Properties>) {
        *lock(&self.properties) = Some(Arc::clone(properties));
    }

    /// The type of a link: as configured, else the one without a label.
    pub(super) async fn link_type(&self, api: &Api, object: &str, link: &Association) -> Result<LinkType, WriteError> {
        if let Some(id) = link.type_id {
            return Ok((link.category, id));
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = lock(&self.link_types).get(&link.to) {
            return Ok(*known);
        }
        let answer = api.get(&api.associations(object, &link.to, "labels")).await?;
        let Some(id) = unlabelled(&answer.body) else {
            let detail = format!(
                "HubSpot names no association from {object} to {} without a label: give its `type_id`",
                link.to
            );
            return Err(WriteError::Misconfigured { detail });
        };
        lock(&self.link_types).insert(link.to.clone(), (Category::HubspotDefined, id));
        Ok((Category::HubspotDefined, id))
    }
}

/// The properties of an object.
pub(super) async fn properties(api: &Api, object: &str) -> Result<Properties, WriteError> {
    let answer = api.get(&api.properties(object)).await?;
    Properties::read(&answer.body).ok_or_else(|| WriteError::Unavailable {
        after: None,
        detail: format!("the properties of {object} cannot be read from the answer"),
    })
}

/// The properties that a new record of a custom object must have.
pub(super) async fn required(api: &Api, object: &str) -> Result<Vec<String>, WriteError> {
    let answer = api.get(&api.schema(object)).await?;
    let listed = answer.body.get("requiredProperties").and_then(Value::as_array).into_iter().flatten();
    Ok(listed.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// True for the names that custom objects have: `p123_cars`, `2-456`.
pub(super) fn is_custom(object: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let qualified = object
        .strip_prefix('p')
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(portal, name)| digits(portal) && !name.is_empty());
    qualified || object.strip_prefix("2-").is_some_and(digits)
}

/// A standard object by its usual name: types have several.
pub(super) fn usual(object: &str) -> &str {
    match object {
        "contact" | "0-1" => "contacts",
        "company" | "0-2" => "companies",
        "deal" | "0-3" => "deals",
        other => other,
    }
}

fn unlabelled(body: &Value) -> Option<u64> {
    let all = body.get("results")?.as_array()?;
    let ours = |one: &&Value| {
        one.get("label").is_none_or(Value::is_null)
            && one.get("category").and_then(Value::as_str).is_none_or(|category| category == "HUBSPOT_DEFINED")
    };
    all.iter().find(ours)?.get("typeId")?.as_u64()
}

/// What the mutexes hold is whole at any time, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn custom_objects_are_known_by_their_names() {
        for (object, custom) in [
            ("p123_cars", true),
            ("2-456", true),
            ("contacts", false),
            ("0-1", false),
            ("products", false),
            ("p_x", false),
            ("2-", false),
        ] {
            assert_eq!(is_custom(object), custom, "{object}");
        }
        assert_eq!((usual("0-2"), usual("deal"), usual("2-9")), ("companies", "deals", "2-9"));
    }

    #[test]
    fn the_link_without_a_label_is_the_usual_one() {
        let one = |category: &str, id: u64, label: Value| json!({ "category": category, "typeId": id, "label": label });
        let body = json!({ "results": [one("HUBSPOT_DEFINED", 1, json!("Primary")), one("USER_DEFINED", 36, json!("Billing")), one("HUBSPOT_DEFINED", 279, Value::Null)] });
        assert_eq!(unlabelled(&body), Some(279));
        assert_eq!(unlabelled(&json!({ "results": [] })), None);
    }
}
