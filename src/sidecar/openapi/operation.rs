//! One operation: how it is reached, who may use it, what it takes and what it answers.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::fault::FaultCode;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::response::json::APPLICATION_JSON;

/// Makes a schema; what has a name goes to the components.
pub(in crate::sidecar) type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// Returns the schema of a type.
pub(in crate::sidecar) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Returns the schema of any text.
pub(in crate::sidecar) fn text_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string"})
}

/// The noun an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sidecar) enum OperationTag {
    /// Orders, as the workers have them.
    Orders,
    /// The order log: every order and execution there was.
    OrderLog,
    /// What accounts hold.
    Positions,
    /// What rules have said and closed.
    Risk,
    /// What is in force.
    State,
    /// The router itself.
    Service,
}

impl OperationTag {
    /// Every tag, in the order of the document.
    pub(in crate::sidecar) const ALL: &'static [Self] = &[
        Self::Orders,
        Self::OrderLog,
        Self::Positions,
        Self::Risk,
        Self::State,
        Self::Service,
    ];

    /// Returns its name and what stands under it.
    pub(in crate::sidecar) fn name_and_description(self) -> (&'static str, &'static str) {
        match self {
            Self::Orders => ("Orders", "Submit, look up and cancel orders, as the workers have them."),
            Self::OrderLog => (
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
    pub(in crate::sidecar) access: RequiredAccess,
    pub(in crate::sidecar) route: MethodRouter<Arc<SidecarContext>>,
    pub(in crate::sidecar) about: OperationDescription,
}

macro_rules! methods {
    ($($name:ident: $doc:literal;)+) => {$(
        #[doc = $doc]
        pub(in crate::sidecar) fn $name<H, T>(
            path: &'static str,
            access: RequiredAccess,
            handler: H,
            about: OperationDescription,
        ) -> Operation
        where
            H: Handler<T, Arc<SidecarContext>>,
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
pub(in crate::sidecar) struct OperationDescription {
    pub(in crate::sidecar) operation_id: &'static str,
    pub(in crate::sidecar) tag: OperationTag,
    pub(in crate::sidecar) summary: &'static str,
    pub(in crate::sidecar) description: &'static str,
    pub(in crate::sidecar) parameters: Vec<Parameter>,
    pub(in crate::sidecar) body: Option<RequestBodyDescription>,
    pub(in crate::sidecar) responses: Vec<ResponseDescription>,
    pub(in crate::sidecar) problem_codes: Vec<FaultCode>,
    pub(in crate::sidecar) problem_fields: Vec<(&'static str, SchemaFn)>,
    pub(in crate::sidecar) calls_worker: bool,
    pub(in crate::sidecar) reads_query: bool,
    pub(in crate::sidecar) needs_request_permit: bool,
}

impl OperationDescription {
    /// Returns a description without parameters, body or answers.
    pub(in crate::sidecar) fn new(
        operation_id: &'static str,
        tag: OperationTag,
        summary: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            operation_id: operation_id,
            tag,
            summary,
            description: description,
            parameters: Vec::new(),
            body: None,
            responses: Vec::new(),
            problem_codes: Vec::new(),
            problem_fields: Vec::new(),
            calls_worker: false,
            reads_query: true,
            needs_request_permit: true,
        }
    }

    /// Adds a parameter.
    pub(in crate::sidecar) fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Sets the body, which is JSON.
    pub(in crate::sidecar) fn body(mut self, body: RequestBodyDescription) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds an answer that is no problem.
    pub(in crate::sidecar) fn response(mut self, answer: ResponseDescription) -> Self {
        self.responses.push(answer);
        self
    }

    /// Adds the codes that are the operation's own.
    pub(in crate::sidecar) fn problem_codes(mut self, codes: &[FaultCode]) -> Self {
        self.problem_codes.extend(codes);
        self
    }

    /// Adds what comes with a request on the bus: its deadline and trace, and the codes of a worker that is out of reach.
    pub(in crate::sidecar) fn calls_worker(mut self) -> Self {
        self.calls_worker = true;
        self
    }

    /// Adds a field to its problem documents.
    pub(in crate::sidecar) fn problem_field(mut self, name: &'static str, schema: SchemaFn) -> Self {
        self.problem_fields.push((name, schema));
        self
    }

    /// Says that it passes over whatever query it is given.
    pub(in crate::sidecar) fn ignores_query(mut self) -> Self {
        self.reads_query = false;
        self
    }

    /// Says that it is answered however much is under way.
    pub(in crate::sidecar) fn without_request_permit(mut self) -> Self {
        self.needs_request_permit = false;
        self
    }
}

/// The body of a request.
pub(in crate::sidecar) struct RequestBodyDescription {
    pub(in crate::sidecar) schema: SchemaFn,
    pub(in crate::sidecar) examples: Vec<NamedExample>,
    pub(in crate::sidecar) is_required: bool,
}

impl RequestBodyDescription {
    /// Returns the body of a type.
    pub(in crate::sidecar) fn new<T: JsonSchema>() -> Self {
        Self {
            schema: schema_of::<T>,
            examples: Vec::new(),
            is_required: true,
        }
    }

    /// Says that there need be none.
    pub(in crate::sidecar) fn optional(mut self) -> Self {
        self.is_required = false;
        self
    }

    /// Adds an example.
    pub(in crate::sidecar) fn example(mut self, name: &'static str, json: &'static str) -> Self {
        self.examples.push(NamedExample { name, value: json });
        self
    }
}

/// An example, by its name.
pub(in crate::sidecar) struct NamedExample {
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) value: &'static str,
}

/// An answer that is no problem.
pub(in crate::sidecar) struct ResponseDescription {
    pub(in crate::sidecar) status: u16,
    pub(in crate::sidecar) description: &'static str,
    pub(in crate::sidecar) media_type: &'static str,
    pub(in crate::sidecar) schema: SchemaFn,
    pub(in crate::sidecar) examples: Vec<NamedExample>,
    pub(in crate::sidecar) headers: Vec<ResponseHeader>,
    pub(in crate::sidecar) links: Vec<ResponseLink>,
}

impl ResponseDescription {
    /// Returns an answer of JSON.
    pub(in crate::sidecar) fn json<T: JsonSchema>(status: u16, description: &'static str) -> Self {
        Self::new(status, description, APPLICATION_JSON, schema_of::<T>)
    }

    /// Returns an answer of a media type of its own.
    pub(in crate::sidecar) fn new(
        status: u16,
        description: &'static str,
        media_type: &'static str,
        schema: SchemaFn,
    ) -> Self {
        Self {
            status,
            description: description,
            media_type,
            schema,
            examples: Vec::new(),
            headers: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Adds an example: JSON, or the text itself where the answer is no JSON.
    pub(in crate::sidecar) fn example(mut self, name: &'static str, text: &'static str) -> Self {
        self.examples.push(NamedExample { name, value: text });
        self
    }

    /// Adds a header that the answer always has.
    pub(in crate::sidecar) fn header(
        mut self,
        name: &'static str,
        description: &'static str,
        example: &'static str,
    ) -> Self {
        self.headers.push(ResponseHeader {
            name,
            description: description,
            example,
        });
        self
    }

    /// Adds what can be done next with what the answer tells.
    pub(in crate::sidecar) fn link(mut self, link: ResponseLink) -> Self {
        self.links.push(link);
        self
    }
}

/// A header of an answer.
pub(in crate::sidecar) struct ResponseHeader {
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) description: &'static str,
    pub(in crate::sidecar) example: &'static str,
}

/// What can be done next: an operation, and where in the answer its parameters and the fields of its body stand, as
/// runtime expressions.
pub(in crate::sidecar) struct ResponseLink {
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) operation_id: &'static str,
    pub(in crate::sidecar) parameters: &'static [(&'static str, &'static str)],
    pub(in crate::sidecar) request_body: &'static [(&'static str, &'static str)],
}
