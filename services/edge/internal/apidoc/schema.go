package apidoc

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"codexgateway.dev/pkg/errs"
)

// schemaOf derives a schema from a prototype. Raw JSON may be anything.
func schemaOf(prototype any) (*jsonschema.Schema, error) {
	return jsonschema.ForType(reflect.TypeOf(prototype), &jsonschema.ForOptions{
		TypeSchemas: map[reflect.Type]*jsonschema.Schema{reflect.TypeFor[json.RawMessage](): {}},
	})
}

// answerSchema is schemaOf for what the gateway sends.
func answerSchema(prototype any) (*jsonschema.Schema, error) {
	s, err := schemaOf(prototype)
	if err != nil {
		return nil, err
	}
	loosen(s)
	return s, nil
}

// answersSchema is answerSchema for an answer that has one of several shapes.
func answersSchema(prototypes []any) (*jsonschema.Schema, error) {
	all := make([]*jsonschema.Schema, len(prototypes))
	for i, p := range prototypes {
		var err error
		if all[i], err = answerSchema(p); err != nil {
			return nil, err
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	// Not oneOf: an answer may have the fields of two shapes.
	return &jsonschema.Schema{AnyOf: all}, nil
}

// requestSchema is schemaOf for a body that the gateway reads: nothing unknown
// may be in it.
func requestSchema(prototypes []any) (*jsonschema.Schema, error) { return schemaOf(prototypes[0]) }

// loosen makes the schema of a params struct that of a result: results gain
// fields over time, and their lists are never null.
func loosen(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if slices.Contains(s.Types, "array") {
		s.Types, s.Type = nil, "array"
	}
	if s.Type == "object" && s.Properties != nil {
		s.AdditionalProperties = nil
	}
	for _, p := range s.Properties {
		loosen(p)
	}
	loosen(s.Items)
}

func text(description string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Description: description}
}

func constant(v any) *jsonschema.Schema { return &jsonschema.Schema{Const: &v} }

func refTo(name string) *jsonschema.Schema {
	return &jsonschema.Schema{Ref: schemas + name}
}

// object is a schema of named members, all but those in optional required.
func object(order []string, members map[string]*jsonschema.Schema, optional ...string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: members, PropertyOrder: order}
	for _, name := range order {
		if !slices.Contains(optional, name) {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

// idSchema is the id of a call: byte for byte in its answer.
func idSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Types: []string{"string", "number", "null"}, Description: "The id of the call, as it was sent; null where it is not known."}
}

// registered are the errors that a request can have.
func registered() (numbers, codes []any) {
	for _, row := range errs.Registry {
		if row.Scope == errs.Request {
			numbers = append(numbers, row.RPC)
			codes = append(codes, row.Code)
		}
	}
	return numbers, codes
}

// rpcErrorSchema is the error object of JSON-RPC, with the codes of the registry.
func rpcErrorSchema() *jsonschema.Schema {
	numbers, codes := registered()
	data := object([]string{"code", "retryable", "request_id", "field"}, map[string]*jsonschema.Schema{
		"code":       {Type: "string", Enum: codes, Description: "The stable name of the error."},
		"retryable":  {Type: "boolean", Description: "Whether the same call may succeed later."},
		"request_id": text("The id of the request, for the operator."),
		"field":      text("The parameter at fault, as a JSON pointer (RFC 6901)."),
	}, "field")
	return object([]string{"code", "message", "data"}, map[string]*jsonschema.Schema{
		"code":    {Type: "integer", Enum: numbers},
		"message": text("One sentence for people."),
		"data":    data,
	})
}

// rpcAnswerSchema is an answer: a result or an error.
func rpcAnswerSchema(failure *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		object([]string{"jsonrpc", "id", "result"}, map[string]*jsonschema.Schema{
			"jsonrpc": constant("2.0"), "id": idSchema(), "result": {Description: "As the method's OpenRPC description says."},
		}),
		object([]string{"jsonrpc", "id", "error"}, map[string]*jsonschema.Schema{
			"jsonrpc": constant("2.0"), "id": idSchema(), "error": failure,
		}),
	}}
}
