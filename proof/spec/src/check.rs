//! Visits every state within bounds, and finds the shortest history that breaks a property.

use crate::cases::Case;
use crate::model::{Action, Bounds, Protocol, State};
use crate::properties;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.init()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.enabled(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.after(state, &action))
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        properties::all(&self.bounds)
    }
}

/// A history: the states, each with the action that led to the next one.
pub type History = Vec<(State, Option<Action>)>;

/// The result of visiting every state.
#[derive(Debug)]
pub struct Visited {
    /// Different states.
    pub states: usize,
    /// Transitions into them.
    pub steps: usize,
    /// The largest distance of a state from the beginning, in steps.
    pub depth: usize,
    /// Whether every state was visited.
    pub exhausted: bool,
    /// Invariants that were violated, each with a history that ends in a violating state.
    pub violated: Vec<(&'static str, History)>,
    /// Things that should happen but never did.
    pub missing: Vec<&'static str>,
}

/// Visits every state of the right protocol within `bounds`.
pub fn every_state(bounds: Bounds, threads: usize) -> Visited {
    let protocol = Protocol { bounds, wrong: None };
    let checker = protocol.checker().threads(threads).spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let mut visited = Visited {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        exhausted: checker.is_done(),
        violated: Vec::new(),
        missing: Vec::new(),
    };
    for property in protocol.properties() {
        match (property.expectation, discoveries.remove(property.name)) {
            (Expectation::Sometimes, None) => visited.missing.push(property.name),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(history)) => visited.violated.push((property.name, history.into_vec())),
        }
    }
    visited
}

/// A counterexample.
#[derive(Debug)]
pub struct Found {
    /// The shortest history that breaks the property.
    pub history: History,
    /// Different states visited in the search.
    pub states: usize,
}

/// The shortest history in which the mistake of `case` breaks its property.
pub fn counterexample(case: &Case) -> Option<Found> {
    let protocol = Protocol { bounds: case.bounds, wrong: case.wrong };
    let mut found: Option<Found> = None;
    loop {
        let finish = HasDiscoveries::AllOf(BTreeSet::from([case.breaks]));
        let mut builder = protocol.checker().finish_when(finish);
        if let Some(found) = &found {
            // The checker visits some more states before it stops, and keeps the last history that it found. So it is
            // asked again for a shorter one, until there is none.
            builder = builder.target_max_depth(found.history.len());
        }
        let checker = builder.spawn_bfs().join();
        match checker.discovery(case.breaks) {
            Some(history) => found = Some(Found { history: history.into_vec(), states: checker.unique_state_count() }),
            None => return found,
        }
    }
}
