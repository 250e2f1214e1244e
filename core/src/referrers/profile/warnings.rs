//! Profiles in, what can hardly be meant by them out.

use super::{IN_TOTO, Kind, Profile, Profiles};
use crate::findings::{self, Format};

impl Profiles {
    /// What can hardly be meant: profiles, or entries of them, that nothing can match. One sentence
    /// each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.0.iter().flat_map(Profile::warnings).collect();
        if self.0.iter().all(|profile| profile.kind == Kind::Vex) {
            warnings.push("no profile is of kind `findings`: no image has a report".to_owned());
        }
        warnings
    }
}

impl Profile {
    fn warnings(&self) -> Vec<String> {
        let name = &self.name;
        let mut warnings = Vec::new();
        let of_kind = |format: &Format| (*format == Format::OpenVex) == (self.kind == Kind::Vex);
        if !self.formats.is_empty() && !self.formats.iter().any(of_kind) {
            warnings.push(format!(
                "profile `{name}` can match nothing: none of its `formats` is of its kind"
            ));
        }
        let is_read = |predicate: &String| match self.kind {
            Kind::Findings => findings::REPORT_PREDICATES.contains(&predicate.as_str()),
            Kind::Vex => findings::is_openvex(predicate),
        };
        for predicate in self.predicate_types.iter().filter(|predicate| !is_read(predicate)) {
            warnings.push(format!(
                "profile `{name}`: a statement of predicate type `{predicate}` is never read as \
                 one of its kind"
            ));
        }
        let statements_only = self.artifact_types.iter().all(|known| known == IN_TOTO);
        if statements_only
            && !self.predicate_types.is_empty()
            && !self.predicate_types.iter().any(is_read)
        {
            warnings.push(format!(
                "profile `{name}` can match nothing: none of its `predicateTypes` is read"
            ));
        }
        warnings
    }
}
