package jsonrpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"codexgateway.dev/pkg/errs"
)

// maxFieldPath bounds how much of a hostile member name an error repeats.
const maxFieldPath = 200

// Params decodes the params of a call into T, a struct with json tags. Params by
// position are those by name in the order of T's fields, which therefore only
// grow at the end. Absent and null params are {}. The error is an invalid_params
// that names the field as an RFC 6901 path: an unknown or repeated field, a value
// of the wrong type. Where T is a slice, it is the params by position themselves.
// Values nest at most [DefaultMaxDepth] deep.
func Params[T any](raw json.RawMessage) (T, error) {
	var v T
	text := bytes.Trim(raw, " \t\r\n")
	list := reflect.TypeFor[T]().Kind() == reflect.Slice
	switch {
	case depth(text) > DefaultMaxDepth: // of a frame it is known already, of another body not
		return v, errs.Param("", "The params are nested too deep.")
	case list && len(text) == 0:
		return v, nil
	case list:
	case len(text) == 0, string(text) == "null":
		text = []byte("{}")
	case text[0] == '[':
		var err error
		if text, err = named(text, reflect.TypeFor[T]()); err != nil {
			return v, err
		}
	case text[0] != '{':
		return v, errs.Param("", "The params must be an object or an array.")
	}
	if err := jsonv2.Unmarshal(text, &v, jsonv2.RejectUnknownMembers(true)); err != nil {
		var zero T
		return zero, paramError(err)
	}
	return v, nil
}

// named makes an object of an array: each value under the name of the field at
// its position.
func named(text []byte, t reflect.Type) ([]byte, error) {
	names := fieldNames(t)
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil, paramError(err)
	}
	out := make([]byte, 0, len(text)+64)
	for i := 0; dec.PeekKind() != jsontext.KindEndArray; i++ {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, paramError(err)
		}
		if i == len(names) {
			return nil, errs.Param("/"+strconv.Itoa(i), fmt.Sprintf("There are at most %d parameters.", len(names)))
		}
		out = append(appendString(append(out, ','), names[i]), ':')
		out = append(out, value...)
	}
	if len(out) == 0 {
		return []byte("{}"), nil
	}
	out[0] = '{'
	return append(out, '}'), nil
}

// fieldNames are the JSON names of a struct's fields, in order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
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
