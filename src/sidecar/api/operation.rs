//! One operation: how it is reached, who may use it, what it takes and what it answers.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::parameter::Parameter;
use crate::fault::Code;
use crate::sidecar::auth::Access;
use crate::sidecar::context::Context;
use crate::sidecar::json::APPLICATION_JSON;

/// Makes a schema; what has a name goes to the components.
pub(in crate::sidecar) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Returns the schema of a type.
pub(in crate::sidecar) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Returns the schema of any text.
pub(in crate::sidecar) fn text(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string"})
}

/// The noun an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum Tag {
    /// Orders, as the workers have them.
    Orders,
    /// The order log: every order and execution there was.
    Log,
    /// What accounts hold.
    Positions,
    /// What rules have said and closed.
    Risk,
    /// What is in force.
    State,
    /// The router itself.
    Service,
}

impl Tag {
    /// Every tag, in the order of the document.
    pub(super) const ALL: &'static [Self] = &[
        Self::Orders,
        Self::Log,
        Self::Positions,
        Self::Risk,
        Self::State,
        Self::Service,
    ];

    /// Returns its name and what stands under it.
    pub(super) fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Orders => ("Orders", "Submit, look up and cancel orders, as the workers have them."),
            Self::Log => (
                "Order log",
                "Every order and execution there was, with exact totals, and notes on them.",
            ),
            Self::Positions => (
                "Positions",
                "What accounts hold, what it has cost and earned, and closing it.",
            ),
            Self::Risk => (
                "Risk",
                "What the risk rules have said, and the locks they and operators have closed.",
            ),
            Self::State => (
                "State",
                "What is in force: the mode, the trading state, the limits of the day.",
            ),
            Self::Service => ("Service", "The router itself: its health, its brokers, this document."),
        }
    }
}

/// A route with its description.
pub(in crate::sidecar) struct Operation {
    /// The method, in lower case as the document has it.
    pub(in crate::sidecar) method: &'static str,
    /// The path; a name in braces stands for one segment.
    pub(in crate::sidecar) path: &'static str,
    pub(in crate::sidecar) access: Access,
    pub(in crate::sidecar) route: MethodRouter<Arc<Context>>,
    pub(in crate::sidecar) about: Description,
}

macro_rules! methods {
    ($($name:ident: $doc:literal;)+) => {$(
        #[doc = $doc]
        pub(in crate::sidecar) fn $name<H, T>(
            path: &'static str,
            access: Access,
            handler: H,
            about: Description,
        ) -> Operation
        where
            H: Handler<T, Arc<Context>>,
            T: 'static,
        {
            let route = axum::routing::$name(handler);
            Operation { method: stringify!($name), path, access, route, about }
        }
    )+};
}

methods! {
    get: "Returns an operation that reads; HEAD comes with it.";
    post: "Returns an operation that makes or does something.";
    put: "Returns an operation that sets something.";
}

/// What an operation is, takes and answers.
pub(in crate::sidecar) struct Description {
    pub(super) id: &'static str,
    pub(super) tag: Tag,
    pub(super) summary: &'static str,
    pub(super) text: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) codes: Vec<Code>,
    pub(super) problem_fields: Vec<(&'static str, SchemaOf)>,
    pub(super) asks_worker: bool,
    pub(super) takes_query: bool,
    pub(super) needs_place: bool,
}

impl Description {
    /// Returns a description without parameters, body or answers.
    pub(super) fn new(id: &'static str, tag: Tag, summary: &'static str, text: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            text,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            codes: Vec::new(),
            problem_fields: Vec::new(),
            asks_worker: false,
            takes_query: true,
            needs_place: true,
        }
    }

    /// Adds a parameter.
    pub(super) fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Sets the body, which is JSON.
    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds an answer that is no problem.
    pub(super) fn answer(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// Adds the codes that are the operation's own.
    pub(super) fn codes(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// Adds what comes with a request on the bus: its deadline and trace, and the codes of a worker that is out of reach.
    pub(super) fn asks_worker(mut self) -> Self {
        self.asks_worker = true;
        self
    }

    /// Adds a field to its problem documents.
    pub(super) fn problem_field(mut self, name: &'static str, schema: SchemaOf) -> Self {
        self.problem_fields.push((name, schema));
        self
    }

    /// Says that it passes over whatever query it is given.
    pub(super) fn ignores_query(mut self) -> Self {
        self.takes_query = false;
        self
    }

    /// Says that it is answered however much is under way.
    pub(super) fn needs_no_place(mut self) -> Self {
        self.needs_place = false;
        self
    }
}

/// The body of a request.
pub(in crate::sidecar) struct Body {
    pub(super) schema: SchemaOf,
    pub(super) examples: Vec<Example>,
    pub(super) is_required: bool,
}

impl Body {
    /// Returns the body of a type.
    pub(super) fn of<T: JsonSchema>() -> Self {
        Self {
            schema: of::<T>,
            examples: Vec::new(),
            is_required: true,
        }
    }

    /// Says that there need be none.
    pub(super) fn optional(mut self) -> Self {
        self.is_required = false;
        self
    }

    /// Adds an example.
    pub(super) fn example(mut self, name: &'static str, json: &'static str) -> Self {
        self.examples.push(Example { name, text: json });
        self
    }
}

/// An example, by its name.
pub(in crate::sidecar) struct Example {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// An answer that is no problem.
pub(in crate::sidecar) struct Answer {
    pub(super) status: u16,
    pub(super) text: &'static str,
    pub(super) media_type: &'static str,
    pub(super) schema: SchemaOf,
    pub(super) examples: Vec<Example>,
    pub(super) headers: Vec<Header>,
    pub(super) links: Vec<Link>,
}

impl Answer {
    /// Returns an answer of JSON.
    pub(super) fn json<T: JsonSchema>(status: u16, text: &'static str) -> Self {
        Self::of(status, text, APPLICATION_JSON, of::<T>)
    }

    /// Returns an answer of a media type of its own.
    pub(super) fn of(status: u16, text: &'static str, media_type: &'static str, schema: SchemaOf) -> Self {
        Self {
            status,
            text,
            media_type,
            schema,
            examples: Vec::new(),
            headers: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Adds an example: JSON, or the text itself where the answer is no JSON.
    pub(super) fn example(mut self, name: &'static str, text: &'static str) -> Self {
        self.examples.push(Example { name, text });
        self
    }

    /// Adds a header that the answer always has.
    pub(super) fn header(mut self, name: &'static str, text: &'static str, example: &'static str) -> Self {
        self.headers.push(Header { name, text, example });
        self
    }

    /// Adds what can be done next with what the answer tells.
    pub(super) fn link(mut self, link: Link) -> Self {
        self.links.push(link);
        self
    }
}

/// A header of an answer.
pub(in crate::sidecar) struct Header {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) example: &'static str,
}

/// What can be done next: an operation, and where in the answer its parameters and the fields of its body stand, as
/// runtime expressions.
pub(in crate::sidecar) struct Link {
    pub(super) name: &'static str,
    pub(super) operation_id: &'static str,
    pub(super) parameters: &'static [(&'static str, &'static str)],
    pub(super) body: &'static [(&'static str, &'static str)],
}
