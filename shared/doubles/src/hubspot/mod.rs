//! HubSpot's CRM API as its documentation describes it.
