//! What can be said about a webhook before anything is sent.

use domain::finding::Finding;
use domain::mode::Mode;
use domain::ports::PreflightRequest;

use super::WebhookDestination;
use super::encode::RequestShape;
use super::template::Template;
use crate::template::unknown_field;

/// Findings from the settings and the mapping alone.
pub(super) fn findings(webhook: &WebhookDestination, need: PreflightRequest<'_>) -> Vec<Finding> {
    let about = &webhook.about;
    let mut out = Vec::new();
    let deletes = need.mode == Mode::Mirror;
    let mut templates: Vec<(&Template, &str, bool)> =
        vec![(&webhook.upsert.url.template, "the URL", deletes && webhook.shares_url)];
    if deletes && !webhook.shares_url {
        templates.push((&webhook.delete.url.template, "the URL of deletes", true));
    }
    templates.extend(webhook.headers.templated.iter().map(|(_, template)| (template, "a header", deletes)));
    for (template, place, in_deletes) in templates {
        for name in template.fields() {
            match need.fields.iter().find(|(field, _)| field == name) {
                None => out.push(unknown_field(about, place, name, need.fields)),
                Some((_, false)) if in_deletes => out.push(Finding::error(
                    about,
                    format!("{place} names `{{{{{name}}}}}`, which a delete does not carry: it has the identifiers only"),
                    "use an identifier there, or give deletes their own `path` in the sync's `destination.options.delete`",
                )),
                Some(_) => {}
            }
        }
    }
    if let Some(size) = webhook.asked_batch_size
        && size > 1
        && webhook.limits.batch_records == 1
    {
        out.push(Finding::error(
            about,
            format!("`batch_size` is {size}, but the URL, a header or the body has a place for one record only"),
            "set `batch_size: 1`, or send records in a list without `{{field}}` templates",
        ));
    }
    if deletes && !webhook.tells_operation() {
        out.push(Finding::error(
            about,
            "mode mirror sends deletes, and nothing in the request would tell them from other records",
            "give them their own method or path in `destination.options.delete`, use body `records`, or name `$operation`",
        ));
    }
    let by_id = webhook.results.as_ref().is_some_and(|r| r.id.is_some());
    if by_id && !webhook.shape.carries_ids() {
        let what =
            format!("`results.id` matches results by an id that body {} does not carry", shape_name(&webhook.shape));
        out.push(Finding::error(about, what, "use body `records`, or take `id` out of `results` to match by position"));
    }
    out
}

fn shape_name(shape: &RequestShape) -> &'static str {
    match shape {
        RequestShape::Records => "`records`",
        RequestShape::Array => "`array`",
        RequestShape::Lines => "`lines`",
        RequestShape::Object => "`object`",
        RequestShape::Custom(_) => "without `$records`",
    }
}
