//! The little XML that S3 answers: the texts of elements by their names.

/// The texts of every element of this name, in their order, unescaped.
pub(super) fn texts<'x>(xml: &'x str, name: &str) -> impl Iterator<Item = String> + use<'x> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let from = rest.find(&open)? + open.len();
        let to = from + rest[from..].find(&close)?;
        let text = unescaped(&rest[from..to]);
        rest = &rest[to + close.len()..];
        Some(text)
    })
}

/// The text of the first element of this name.
pub(super) fn text(xml: &str, name: &str) -> Option<String> {
    texts(xml, name).next()
}

fn unescaped(text: &str) -> String {
    let named = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    named.replace("&#34;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_name() {
        let list = "<ListBucketResult><Contents><Key>a%2Fb</Key></Contents><Contents><Key>c &amp;lt; d</Key></Contents><KeyCount>2</KeyCount></ListBucketResult>";
        assert_eq!(texts(list, "Key").collect::<Vec<_>>(), ["a%2Fb", "c &lt; d"]);
        assert_eq!(text(list, "KeyCount").as_deref(), Some("2"));
        assert_eq!(text("<Error><Code>AccessDenied", "Code"), None, "it broke off");
    }
}
