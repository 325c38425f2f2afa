//! One operation: its route, its required access, and its description.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::MethodRouter;
use schemars::JsonSchema;

use crate::fault::FaultCode;
use crate::sidecar::context::SidecarContext;
use crate::sidecar::middleware::auth::RequiredAccess;
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::schema::{SchemaFn, schema_of};
use crate::sidecar::openapi::tag::OperationTag;
use crate::sidecar::response::media_type::APPLICATION_JSON;

/// A route with its description.
pub(in crate::sidecar) struct Operation {
    /// The method, in lower case as in the document.
    pub(in crate::sidecar) method: &'static str,
    /// The path. A name in braces matches one segment.
    pub(in crate::sidecar) path: &'static str,
    pub(in crate::sidecar) access: RequiredAccess,
    pub(in crate::sidecar) method_router: MethodRouter<Arc<SidecarContext>>,
    pub(in crate::sidecar) description: OperationDescription,
}

/// Returns an operation that reads. HEAD is included.
pub(in crate::sidecar) fn get<H, T>(
    path: &'static str,
    access: RequiredAccess,
    handler: H,
    description: OperationDescription,
) -> Operation
where
    H: Handler<T, Arc<SidecarContext>>,
    T: 'static,
{
    Operation::new("get", path, access, axum::routing::get(handler), description)
}

/// Returns an operation that creates or triggers something.
pub(in crate::sidecar) fn post<H, T>(
    path: &'static str,
    access: RequiredAccess,
    handler: H,
    description: OperationDescription,
) -> Operation
where
    H: Handler<T, Arc<SidecarContext>>,
    T: 'static,
{
    Operation::new("post", path, access, axum::routing::post(handler), description)
}

/// Returns an operation that sets something.
pub(in crate::sidecar) fn put<H, T>(
    path: &'static str,
    access: RequiredAccess,
    handler: H,
    description: OperationDescription,
) -> Operation
where
    H: Handler<T, Arc<SidecarContext>>,
    T: 'static,
{
    Operation::new("put", path, access, axum::routing::put(handler), description)
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        access: RequiredAccess,
        method_router: MethodRouter<Arc<SidecarContext>>,
        description: OperationDescription,
    ) -> Self {
        Self {
            method,
            path,
            access,
            method_router,
            description,
        }
    }
}

/// The description of an operation: its texts, parameters, body, responses and fault codes.
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
    pub(in crate::sidecar) is_deprecated: bool,
}

impl OperationDescription {
    /// Returns a description without parameters, body or responses.
    pub(in crate::sidecar) fn new(
        operation_id: &'static str,
        tag: OperationTag,
        summary: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            operation_id,
            tag,
            summary,
            description,
            parameters: Vec::new(),
            body: None,
            responses: Vec::new(),
            problem_codes: Vec::new(),
            problem_fields: Vec::new(),
            calls_worker: false,
            reads_query: true,
            needs_request_permit: true,
            is_deprecated: false,
        }
    }

    /// Adds a parameter.
    pub(in crate::sidecar) fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Sets the JSON body.
    pub(in crate::sidecar) fn body(mut self, body: RequestBodyDescription) -> Self {
        self.body = Some(body);
        self
    }

    /// Adds a response that is not a problem.
    pub(in crate::sidecar) fn response(mut self, response: ResponseDescription) -> Self {
        self.responses.push(response);
        self
    }

    /// Adds the operation's own fault codes.
    pub(in crate::sidecar) fn problem_codes(mut self, codes: &[FaultCode]) -> Self {
        self.problem_codes.extend(codes);
        self
    }

    /// Adds what comes with a request on the bus: the headers of deadline and trace, and the codes of an unreachable worker.
    pub(in crate::sidecar) fn calls_worker(mut self) -> Self {
        self.calls_worker = true;
        self
    }

    /// Adds a field to the operation's problem documents.
    pub(in crate::sidecar) fn problem_field(mut self, name: &'static str, schema: SchemaFn) -> Self {
        self.problem_fields.push((name, schema));
        self
    }

    /// Marks the operation as one that ignores its query.
    pub(in crate::sidecar) fn ignores_query(mut self) -> Self {
        self.reads_query = false;
        self
    }

    /// Marks the operation as deprecated.
    pub(in crate::sidecar) fn deprecated(mut self) -> Self {
        self.is_deprecated = true;
        self
    }

    /// Marks the operation as one that is not subject to the limit of requests in flight.
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
    /// Returns a required body with the schema of a type.
    pub(in crate::sidecar) fn new<T: JsonSchema>() -> Self {
        Self {
            schema: schema_of::<T>,
            examples: Vec::new(),
            is_required: true,
        }
    }

    /// Makes the body optional.
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

/// A named example.
pub(in crate::sidecar) struct NamedExample {
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) value: &'static str,
}

/// A response that is not a problem.
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
    /// Returns a JSON response with the schema of a type.
    pub(in crate::sidecar) fn json<T: JsonSchema>(status: u16, description: &'static str) -> Self {
        Self::new(status, description, APPLICATION_JSON, schema_of::<T>)
    }

    /// Returns a response of any media type.
    pub(in crate::sidecar) fn new(
        status: u16,
        description: &'static str,
        media_type: &'static str,
        schema: SchemaFn,
    ) -> Self {
        Self {
            status,
            description,
            media_type,
            schema,
            examples: Vec::new(),
            headers: Vec::new(),
            links: Vec::new(),
        }
    }

    /// Adds an example: JSON, or the text itself if the response is not JSON.
    pub(in crate::sidecar) fn example(mut self, name: &'static str, text: &'static str) -> Self {
        self.examples.push(NamedExample { name, value: text });
        self
    }

    /// Adds a header that the response always has.
    pub(in crate::sidecar) fn header(
        mut self,
        name: &'static str,
        description: &'static str,
        example: &'static str,
    ) -> Self {
        self.headers.push(ResponseHeader {
            name,
            description,
            example,
        });
        self
    }

    /// Adds a link to an operation that accepts values of the response.
    pub(in crate::sidecar) fn link(mut self, link: ResponseLink) -> Self {
        self.links.push(link);
        self
    }
}

/// A header of a response.
pub(in crate::sidecar) struct ResponseHeader {
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) description: &'static str,
    pub(in crate::sidecar) example: &'static str,
}

/// A link to another operation. Its parameters and the fields of its body are runtime expressions on the response.
pub(in crate::sidecar) struct ResponseLink {
    pub(in crate::sidecar) name: &'static str,
    pub(in crate::sidecar) operation_id: &'static str,
    pub(in crate::sidecar) parameters: &'static [(&'static str, &'static str)],
    pub(in crate::sidecar) request_body: &'static [(&'static str, &'static str)],
}
