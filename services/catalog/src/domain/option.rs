//! Options of a product, and a variant's choice among them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// One dimension in which variants differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductOption {
    /// What it is called.
    pub name: String,
    /// What can be chosen.
    pub values: Vec<String>,
}

/// A variant's choice of one option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The option.
    pub name: String,
    /// The value.
    pub value: String,
}

/// What is wrong with options or with a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Two options have one name.
    #[error("two options are called {name:?}")]
    Repeated {
        /// The name.
        name: String,
    },
    /// An option is not chosen.
    #[error("no value is chosen of the option {name:?}: give one of {}", .values.join(", "))]
    Missing {
        /// The option.
        name: String,
        /// What could be chosen.
        values: Vec<String>,
    },
    /// A choice is of no option, or made twice.
    #[error("{name:?} is not an option of the product, or is chosen twice")]
    Unknown {
        /// What was chosen.
        name: String,
    },
    /// A value is not among the option's.
    #[error("{value:?} is not a value of the option {name:?}: give one of {}", .values.join(", "))]
    NotAValue {
        /// The option.
        name: String,
        /// The value.
        value: String,
        /// What could be chosen.
        values: Vec<String>,
    },
}

/// Whether the options make sense together.
pub fn check_options(options: &[ProductOption]) -> Result<(), OptionsError> {
    let mut seen = HashSet::new();
    match options.iter().find(|option| !seen.insert(option.name.as_str())) {
        Some(option) => Err(OptionsError::Repeated { name: option.name.clone() }),
        None => Ok(()),
    }
}

/// A variant's choices in the order of the options: exactly one value of each.
pub fn choose(options: &[ProductOption], choices: &[Choice]) -> Result<Vec<Choice>, OptionsError> {
    let mut chosen = Vec::with_capacity(options.len());
    for option in options {
        let choice = choices.iter().find(|choice| choice.name == option.name).ok_or_else(|| {
            OptionsError::Missing { name: option.name.clone(), values: option.values.clone() }
        })?;
        if !option.values.contains(&choice.value) {
            return Err(OptionsError::NotAValue {
                name: choice.name.clone(),
                value: choice.value.clone(),
                values: option.values.clone(),
            });
        }
        chosen.push(choice.clone());
    }
    let mut seen = HashSet::new();
    let extra = choices.iter().find(|choice| {
        !seen.insert(choice.name.as_str())
            || !options.iter().any(|option| option.name == choice.name)
    });
    match extra {
        Some(choice) => Err(OptionsError::Unknown { name: choice.name.clone() }),
        None => Ok(chosen),
    }
}

impl Choice {
    /// The choices as one text, the same for the same choices.
    pub fn key(choices: &[Self]) -> String {
        let values: Vec<(&str, &str)> =
            choices.iter().map(|choice| (choice.name.as_str(), choice.value.as_str())).collect();
        if values.is_empty() {
            return String::new();
        }
        // Texts always have a JSON form.
        serde_json::to_string(&values).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, values: &[&str]) -> ProductOption {
        ProductOption {
            name: name.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        }
    }

    fn choice(name: &str, value: &str) -> Choice {
        Choice { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_choice_takes_exactly_one_value_of_each_option() {
        let options = [option("size", &["S", "M"]), option("colour", &["red"])];
        assert_eq!(
            choose(&options, &[choice("colour", "red"), choice("size", "M")]).unwrap(),
            [choice("size", "M"), choice("colour", "red")]
        );
        assert!(matches!(
            choose(&options, &[choice("size", "M")]),
            Err(OptionsError::Missing { .. })
        ));
        assert!(matches!(
            choose(&options, &[choice("size", "L"), choice("colour", "red")]),
            Err(OptionsError::NotAValue { .. })
        ));
        for extra in [choice("size", "S"), choice("weight", "1")] {
            assert!(matches!(
                choose(&options, &[choice("size", "M"), choice("colour", "red"), extra]),
                Err(OptionsError::Unknown { .. })
            ));
        }
        assert_eq!(choose(&[], &[]).unwrap(), []);
    }

    #[test]
    fn options_have_different_names() {
        assert!(check_options(&[option("a", &["1"]), option("b", &["1"])]).is_ok());
        assert!(check_options(&[option("a", &["1"]), option("a", &["2"])]).is_err());
    }

    #[test]
    fn different_choices_have_different_keys() {
        assert_ne!(
            Choice::key(&[choice("a", "b\",\"c")]),
            Choice::key(&[choice("a", "b"), choice("c", "")])
        );
        assert_eq!(Choice::key(&[]), "");
    }
}
