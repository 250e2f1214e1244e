//! Certificates in any order in, the shortest chain from one of them to a trusted root out.

use super::super::certificate::Certificate;
use super::super::statement::Anchor;

/// The chain from `leaf` to one of `anchors`, root last, by way of `others`. It is not checked
/// beyond who signed whom. Each certificate is looked at once, so that no more signatures are
/// checked than pairs of them that name each other.
pub(super) fn to_anchor(
    leaf: &Certificate,
    others: &[Certificate],
    anchors: &[Anchor],
) -> Option<Vec<Certificate>> {
    if anchors.iter().any(|anchor| anchor.certificate.der() == leaf.der()) {
        return Some(vec![leaf.clone()]);
    }
    let mut unseen: Vec<_> = others
        .iter()
        .filter(|other| other.der() != leaf.der() && !other.is_signed_by(other))
        .collect();
    let mut chains = std::collections::VecDeque::from([vec![leaf]]);
    while let Some(chain) = chains.pop_front() {
        let last = chain.last()?;
        let signed = |anchor: &&Anchor| last.is_signed_by(&anchor.certificate);
        if let Some(anchor) = anchors.iter().find(signed) {
            let root = std::iter::once(&anchor.certificate);
            return Some(chain.into_iter().chain(root).cloned().collect());
        }
        let (next, rest): (Vec<_>, Vec<_>) =
            unseen.into_iter().partition(|other| last.is_signed_by(other));
        unseen = rest;
        chains.extend(next.into_iter().map(|next| {
            let mut longer = chain.clone();
            longer.push(next);
            longer
        }));
    }
    None
}
