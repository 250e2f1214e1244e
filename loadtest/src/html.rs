//! Documents in, one page that needs nothing else out.

use crate::document::Document;

/// The page; its script draws what it finds in `@DATA@`.
const PAGE: &str = include_str!("../report.html");
const PLACE: &str = "@DATA@";

/// The page with these documents in it.
///
/// # Errors
/// When they cannot be written as JSON.
pub(crate) fn page(documents: &[Document]) -> anyhow::Result<String> {
    // In a script element nothing but `<` can end or begin anything (HTML section 4.12.1.3).
    let data = serde_json::to_string(documents)?.replace('<', "\\u003c");
    let (before, after) = PAGE.split_once(PLACE).unwrap_or((PAGE, ""));
    Ok([before, &data, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_data_and_asks_nobody() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
        let links = ["http://", "https://", "src=", "@import", "url("];
        // The name of SVG's namespace is no link.
        let page = PAGE.replace("http://www.w3.org/2000/svg", "");
        assert!(links.iter().all(|link| !page.contains(link)));
    }

    #[test]
    fn no_text_of_a_document_ends_the_script() {
        let mut document = crate::document::tests::document();
        document.about = "</script><script>alert(1)".to_owned();
        let page = page(&[document]).unwrap();
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(page.contains("\\u003c/script>\\u003cscript>alert(1)"));
    }
}
