//! A Kubernetes label selector: labels in, whether they are selected out.

use std::collections::BTreeMap;

/// All requirements of `matchLabels` and `matchExpressions`; none selects everything
/// (Kubernetes API, `LabelSelector`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) key: String,
    pub(super) operator: Operator,
    pub(super) values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    In,
    /// Holds also where the key is absent, as in Kubernetes.
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether nothing can be selected by both: one demands a value that the other excludes.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.requirements
            .iter()
            .any(|a| other.requirements.iter().any(|b| a.excludes(b) || b.excludes(a)))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }

    fn excludes(&self, other: &Self) -> bool {
        self.key == other.key
            && match (self.operator, other.operator) {
                (Operator::In, Operator::In) => {
                    !self.values.iter().any(|value| other.values.contains(value))
                }
                (Operator::In, Operator::NotIn) => {
                    self.values.iter().all(|value| other.values.contains(value))
                }
                (Operator::In | Operator::Exists, Operator::DoesNotExist) => true,
                _ => false,
            }
    }
}
