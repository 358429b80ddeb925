//! From a record to a message: templates filled, values escaped, limits looked at.

use domain::finding::Finding;
use domain::ports::PreflightRequest;
use serde_json::{Map, Value};

use super::client::escape;
use super::config::Options;
use crate::template::{RecordFacts, Template, TemplatePart, unknown_field};
use clients::http::percent_encode;

/// Slack refuses longer texts.
const MAX_TEXT_CHARACTERS: usize = 40_000;
/// Slack refuses more blocks.
const MAX_BLOCKS: usize = 50;
/// Fields of a block that hold an address: values in them are percent-encoded.
const ADDRESSES: [&str; 4] = ["url", "image_url", "thumb_url", "title_url"];

/// A message with places for values.
#[derive(Debug)]
pub(super) struct SlackMessage {
    text: Template,
    blocks: Vec<Node>,
    unfurl_links: Option<bool>,
}

/// A piece of a block.
#[derive(Debug)]
enum Node {
    Text { template: Template, address: bool },
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
    Fixed(Value),
}

impl SlackMessage {
    /// Reads the options; the error is a sentence.
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let blocks = options.blocks.as_deref().unwrap_or_default();
        if blocks.len() > MAX_BLOCKS {
            return Err(format!("there are {} blocks, and Slack takes {MAX_BLOCKS}", blocks.len()));
        }
        if options.text.trim().is_empty() {
            return Err("`text` is empty".into());
        }
        let blocks = blocks.iter().map(|block| Node::read(block, false)).collect::<Result<_, _>>()?;
        Ok(Self { text: Template::parse(&options.text)?, blocks, unfurl_links: options.unfurl_links })
    }

    /// Templates that name what the mapping does not have.
    pub(super) fn findings(&self, need: PreflightRequest<'_>, about: &str) -> Vec<Finding> {
        let mut named: Vec<(&str, &str)> = self.text.fields().map(|field| ("`text`", field)).collect();
        self.blocks.iter().for_each(|block| block.named(&mut named));
        named.dedup();
        let unknown = named.into_iter().filter(|(_, name)| !need.fields.iter().any(|(field, _)| field == name));
        unknown.map(|(place, name)| unknown_field(about, place, name, need.fields)).collect()
    }

    /// The body of the message, without the channel; or why there can be none: a code and a sentence.
    pub(super) fn render(&self, facts: &RecordFacts<'_>) -> Result<Map<String, Value>, (&'static str, String)> {
        let text = fill(&self.text, facts, false);
        if text.trim().is_empty() {
            return Err(("no_text", "the text is empty once the record's values stand in it".into()));
        }
        let length = text.chars().count();
        if length > MAX_TEXT_CHARACTERS {
            return Err((
                "msg_too_long",
                format!("the text has {length} characters, and Slack takes {MAX_TEXT_CHARACTERS}"),
            ));
        }
        let mut body = Map::new();
        body.insert("text".into(), text.into());
        if !self.blocks.is_empty() {
            body.insert("blocks".into(), self.blocks.iter().map(|block| block.render(facts)).collect());
        }
        if let Some(unfurl) = self.unfurl_links {
            body.insert("unfurl_links".into(), unfurl.into());
        }
        Ok(body)
    }
}

impl Node {
    fn read(value: &Value, address: bool) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Node::Text { template: Template::parse(text)?, address },
            Value::Array(list) => {
                Node::List(list.iter().map(|one| Node::read(one, address)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let of = |(name, value): (&String, &Value)| {
                    Ok::<_, String>((name.clone(), Node::read(value, ADDRESSES.contains(&name.as_str()))?))
                };
                Node::Fields(fields.iter().map(of).collect::<Result<_, _>>()?)
            }
            fixed => Node::Fixed(fixed.clone()),
        })
    }

    fn named<'a>(&'a self, out: &mut Vec<(&'static str, &'a str)>) {
        match self {
            Node::Text { template, .. } => out.extend(template.fields().map(|field| ("a block", field))),
            Node::List(list) => list.iter().for_each(|one| one.named(out)),
            Node::Fields(fields) => fields.iter().for_each(|(_, one)| one.named(out)),
            Node::Fixed(_) => {}
        }
    }

    fn render(&self, facts: &RecordFacts<'_>) -> Value {
        match self {
            Node::Text { template, address } => fill(template, facts, *address).into(),
            Node::List(list) => list.iter().map(|one| one.render(facts)).collect(),
            Node::Fields(fields) => {
                Value::Object(fields.iter().map(|(name, one)| (name.clone(), one.render(facts))).collect())
            }
            Node::Fixed(value) => value.clone(),
        }
    }
}

/// The template's own text stays as it is: it may hold links and mentions that are meant.
fn fill(template: &Template, facts: &RecordFacts<'_>, address: bool) -> String {
    let write = |part: &TemplatePart| match part {
        TemplatePart::Text(text) => text.clone(),
        part if address => percent_encode(&facts.value(part)),
        part => escape(&facts.value(part)),
    };
    template.parts.iter().map(write).collect()
}
