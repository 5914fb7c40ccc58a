package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"codexgateway.dev/pkg/errs"
)

// maxFieldPath bounds how much of a hostile member name an error repeats.
const maxFieldPath = 200

// Params decodes the params of a call into T, a struct with json tags. Absent
// and null params are {}. The error is an invalid_params that names the field
// as an RFC 6901 path: an unknown or repeated field, a value of the wrong type,
// and positional params, which this gateway does not take. Values nest at most
// [DefaultMaxDepth] deep.
func Params[T any](raw json.RawMessage) (T, error) {
	var v T
	text := bytes.Trim(raw, " \t\r\n")
	switch {
	case len(text) == 0, string(text) == "null":
		text = []byte("{}")
	case text[0] == '[':
		return v, errs.Param("", "The params must be an object: parameters are named, not positional.")
	case text[0] != '{':
		return v, errs.Param("", "The params must be an object.")
	case depth(text) > DefaultMaxDepth: // of a frame it is known already, of another body not
		return v, errs.Param("", "The params are nested too deep.")
	}
	if err := jsonv2.Unmarshal(text, &v, jsonv2.RejectUnknownMembers(true)); err != nil {
		var zero T
		return zero, paramError(err)
	}
	return v, nil
}

// paramError says what is wrong and where, without the decoder's Go vocabulary.
func paramError(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(syntactic.Err, jsontext.ErrDuplicateName) {
			return errs.Param(fieldPath(syntactic.JSONPointer), "This parameter is given twice.")
		}
		return errs.Param(fieldPath(syntactic.JSONPointer), "The params are not valid JSON.")
	}
	semantic, ok := errors.AsType[*jsonv2.SemanticError](err)
	if !ok {
		return errs.Wrap(errs.InvalidParams, "", err)
	}
	field := fieldPath(semantic.JSONPointer)
	if errors.Is(semantic.Err, jsonv2.ErrUnknownName) {
		return errs.Param(field, "There is no such parameter.")
	}
	return errs.Param(field, "This parameter must be "+want(semantic.GoType)+".")
}

func fieldPath(p jsontext.Pointer) string {
	if len(p) > maxFieldPath {
		p = p[:maxFieldPath]
	}
	return strings.ToValidUTF8(string(p), "") // the cut may be inside a character
}

// want names what a Go type looks like in JSON.
func want(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "of another type"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number in range"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "of another type"
	}
}
