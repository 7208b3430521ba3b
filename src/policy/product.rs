//! Product classes: what kind of product an offer or catalogue id names.

use crate::policy::role::{NameSet, NameTable};

/// The product class that the customer agreement was introduced for.
pub const AZURE_PLAN: &str = "azure_plan";

/// One way to name the products of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProductPattern {
    /// Exactly this ProductId, whatever its SKU.
    Product(String),
    /// Exactly this ProductId and SkuId.
    Sku(String, String),
    /// Every id that starts so; never used for a class that a shipped rule asks for.
    Prefix(String),
    /// A legacy offer: an id that is a GUID.
    LegacyOffer,
}

impl ProductPattern {
    /// Reads `ProductId`, `ProductId:SkuId`, `PREFIX*` or `<guid>`.
    pub fn parse(text: &str) -> Option<ProductPattern> {
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        if text == "<guid>" {
            return Some(ProductPattern::LegacyOffer);
        }
        if let Some(prefix) = text.strip_suffix('*') {
            return (plain(prefix) && !prefix.contains(':'))
                .then(|| ProductPattern::Prefix(prefix.to_owned()));
        }
        match text.split_once(':') {
            None => plain(text).then(|| ProductPattern::Product(text.to_owned())),
            Some((product, sku)) => (plain(product) && plain(sku) && !sku.contains(':'))
                .then(|| ProductPattern::Sku(product.to_owned(), sku.to_owned())),
        }
    }

    fn matches(&self, product: &str, sku: Option<&str>) -> bool {
        match self {
            ProductPattern::Product(id) => id.eq_ignore_ascii_case(product),
            // A request that leaves the SKU out may mean any of them.
            ProductPattern::Sku(id, wanted) => {
                id.eq_ignore_ascii_case(product) && sku.is_none_or(|sku| wanted.eq_ignore_ascii_case(sku))
            }
            ProductPattern::Prefix(prefix) => {
                product.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            }
            ProductPattern::LegacyOffer => crate::policy::id::Guid::parse(product).is_some(),
        }
    }
}

/// Every product class, by name.
#[derive(Clone, Debug, Default)]
pub struct Products {
    /// The names of the classes.
    pub classes: NameTable,
    /// What each class holds.
    pub patterns: Vec<(NameSet, ProductPattern)>,
}

impl Products {
    /// The classes of a `ProductId[:SkuId[:AvailabilityId]]`, compared without regard to case.
    ///
    /// Availability ids change and say nothing. Source: Partner Center, "Get a list of availabilities".
    pub fn classify(&self, id: &str) -> NameSet {
        let mut parts = id.split(':');
        let product = parts.next().unwrap_or(id);
        let sku = parts.next();
        let mut classes = NameSet::EMPTY;
        for (class, pattern) in &self.patterns {
            if pattern.matches(product, sku) {
                classes = classes.union(*class);
            }
        }
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products() -> Products {
        let mut products = Products::default();
        for (class, pattern) in [
            ("azure_plan", "DZH318Z0BPS6"),
            ("dev_test", "DZH318Z0BPS6:0002"),
            ("license", "CFQ7TTC0*"),
            ("legacy", "<guid>"),
        ] {
            let set = products.classes.intern(class).unwrap();
            products.patterns.push((set, ProductPattern::parse(pattern).unwrap()));
        }
        products
    }

    #[test]
    fn classes_go_by_product_and_sku() {
        let products = products();
        for (id, expected) in [
            ("DZH318Z0BPS6:0001:DZH318Z0BML6", vec!["azure_plan"]),
            ("dzh318z0bps6:0002:x", vec!["azure_plan", "dev_test"]),
            ("DZH318Z0BPS6", vec!["azure_plan", "dev_test"]),
            ("DZH318Z0BQ36:004G:DZH318Z08C0S", vec![]),
            ("DZH318Z0BPS60", vec![]),
            ("cfq7ttc0lh18:0001", vec!["license"]),
            ("031C9E47-4802-4248-838E-778FB1D2CC05", vec!["legacy"]),
            ("", vec![]),
        ] {
            let found: Vec<&str> = products.classes.of(products.classify(id)).collect();
            assert_eq!(found, expected, "{id}");
        }
    }

    #[test]
    fn patterns_are_exact() {
        for text in ["", "*", "a:b:c", "a:", ":b", "a*b", "a:b*", "a b"] {
            assert_eq!(ProductPattern::parse(text), None, "{text}");
        }
    }
}
