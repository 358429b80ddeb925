//! Pages of the manifest in the table: `v` version, `b` the digests, eight bytes each, `n` the token of the write.
//!
//! A page lies under its layout's epoch, so a new layout begins with an empty manifest. Reads are strongly consistent:
//! a digest that was cleared since must not be trusted.

use domain::fault::Fault;
use domain::manifest::ManifestPage;

use super::DynamoState;
use super::item::{bytes, get_bytes, get_number, get_text, number, token};
use super::table::{Range, Written};
use crate::keys::{self, SK};

impl DynamoState {
    pub(super) async fn read_manifest(&self, sync: &str, bits: u8) -> Result<Vec<ManifestPage>, Fault> {
        let layout = self.stored_head(sync).await?.layout.name(bits);
        let mut pages: Vec<_> =
            (0..ManifestPage::count(bits)).map(|number| ManifestPage::empty(number, bits)).collect();
        for item in self.table.query(&keys::manifest(sync, &layout), Range::All, true, usize::MAX).await? {
            let corrupt = || self.table.corrupt(format!("A page of the manifest of `{sync}`"));
            let number = get_text(&item, SK).and_then(|sk| usize::from_str_radix(sk, 16).ok());
            let page = number.and_then(|number| pages.get_mut(number)).ok_or_else(corrupt)?;
            let (digests, rest) = get_bytes(&item, "b").ok_or_else(corrupt)?.as_chunks::<8>();
            if !rest.is_empty() || digests.len() != page.digests.len() {
                return Err(corrupt());
            }
            page.version = get_number(&item, "v").ok_or_else(corrupt)?;
            page.digests = digests.iter().map(|digest| u64::from_le_bytes(*digest)).collect();
        }
        Ok(pages)
    }

    pub(super) async fn write_page(&self, sync: &str, bits: u8, page: &ManifestPage) -> Result<bool, Fault> {
        let layout = self.stored_head(sync).await?.layout.name(bits);
        let digests: Vec<u8> = page.digests.iter().flat_map(|digest| digest.to_le_bytes()).collect();
        let mine = token();
        let request =
            self.table.update(&keys::page(sync, &layout, page.number)).update_expression("SET v = :v, b = :b, n = :n");
        let request = if page.version == 0 {
            request.condition_expression("attribute_not_exists(v)")
        } else {
            request.condition_expression("v = :old").expression_attribute_values(":old", number(page.version))
        };
        let request = request
            .expression_attribute_values(":v", number(page.version + 1))
            .expression_attribute_values(":b", bytes(digests))
            .expression_attribute_values(":n", mine.clone());
        Ok(match self.table.write(request).await? {
            Written::Done(_) => true,
            Written::Refused(stored) => {
                stored.is_some_and(|stored| get_bytes(&stored, "n") == mine.as_b().ok().map(AsRef::as_ref))
            }
        })
    }
}
